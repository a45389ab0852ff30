"""Rows that several mixers have: the convolution before a recurrence, and the gated norm after it."""

from typing import Any

from gptcalc.spec.shape import Shape
from gptcalc.table.operation import Operation, Weights
from gptcalc.table.sublayers import Run

SILU = 4  # negate, exponential, add one, divide
SOFTPLUS = 3  # exponential, add one, logarithm
CONVOLUTION = "a causal convolution of each channel, padded as torch's: X - 1 more outputs than tokens, in decode one more"


def convolution(path: str, s: Shape[Any], run: Run, channels: Any, *, bias: bool, activated: bool = True) -> Operation[Any]:
    """Each channel over the last X tokens."""
    m: Any = s.mixer
    X = m.d_conv
    outputs = 2 * run.seq if run.decode else run.seq + X - 1
    weights: Weights = (("weight", (channels, X)), *((("bias", (channels,)),) if bias else ()))
    other = (((run.batch, outputs, channels),) if bias else ()) + (((SILU, run.batch, run.seq, channels),) if activated else ())
    return Operation(path, "convolution", s.n_layer, weights, (2, run.batch, outputs, channels, X), other, CONVOLUTION)


def gated_norm(path: str, runs: Any, rows: Any, width: Any, weight: Any) -> Operation[Any]:
    """An RMSNorm with a weight, times SiLU of a gate."""
    # each element: square, sum, divide, weight, SiLU, product; each row: divide by the width, add epsilon, square root
    other = ((4 + SILU + 1, rows, width), (3, rows))
    return Operation(path, "norm", runs, (("weight", (weight,)),), (), other, "Zhang & Sennrich 2019, arXiv:1910.07467, times a gate")
