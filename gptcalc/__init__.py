"""gptcalc: parameters, FLOPs, memory, time and cost of GPT-style language models, exact and with the working shown."""

__version__ = "0.1.0"
