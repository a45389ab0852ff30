"""A NumPy forward pass that executes any `ModelSpec` and tallies what it did: the formulas' independent witness."""

from gptcalc.reference.cache import Cache
from gptcalc.reference.checkpoints import load_state_dict
from gptcalc.reference.forward import count, forward, generate
from gptcalc.reference.tally import Tally
from gptcalc.reference.twin import twin
from gptcalc.reference.weights import Weights, random_weights

__all__ = ["Cache", "Tally", "Weights", "count", "forward", "generate", "load_state_dict", "random_weights", "twin"]
