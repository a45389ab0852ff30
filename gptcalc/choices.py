"""The words that options take: one list each, read by the formulas and by the command line."""

from typing import Literal

Attention = Literal["full", "causal", "half"]
Phase = Literal["forward", "backward", "training", "decode"]
Recompute = Literal["none", "selective", "full"]
Format = Literal["table", "json", "csv", "markdown", "html", "svg"]

BYTES_PER_WEIGHT = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "amp-bf16": 4, "amp-fp16": 4, "fp8": 1, "int8": 1, "int4": 0.5, "fp4": 0.5}
"""Bytes that one stored weight takes; amp keeps fp32 weights under autocast, and the scales of int8, int4 and fp4 come on top."""

Precision = Literal["fp32", "tf32", "fp16", "bf16", "amp-bf16", "amp-fp16", "fp8", "int8", "int4", "fp4"]

USUAL_SEQ = "what it was trained with, or its longest up to 8192"
"""How long a sequence is where nobody says it."""
