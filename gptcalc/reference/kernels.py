"""The elementwise half of a forward pass, in steps that are each one visible ufunc.

| kernel    | steps, each 1 FLOP per element                                                   | per row, besides              |
|-----------|----------------------------------------------------------------------------------|-------------------------------|
| LayerNorm | sum, subtract, square, sum, divide, weight, bias: 7 (5 without the last two)     | 2 divisions by d, + eps, sqrt |
| RMSNorm   | square, sum, divide, weight: 4 (3 without weight)                                | division by d, + eps, sqrt    |
| softmax   | max, subtract, exp, sum, divide: 5                                               |                               |
| sink      |                                                                                  | max, subtract, exp, add       |
| sigmoid   | negate, exp, + 1, reciprocal: 4                                                  |                               |
| softcap   | divide, tanh, multiply: 3                                                        |                               |
| relu      | max with 0: 1                                                                    |                               |
| relu²     | max with 0, square: 2                                                            |                               |
| silu      | negate, exp, + 1, divide: 4 (clamped: min before it, 5)                          |                               |
| gelu      | scale, erf, + 1, times x, times 0.5: 5                                           |                               |
| gelu_sigm | scale, exp, + 1, divide: 4                                                       |                               |
| gelu_tanh | square, scale, + 1, times x, scale, tanh, + 1, times x, times 0.5: 9             |                               |

Large arrays are worked through in blocks of rows that stay in the processor's cache: several times faster, the same count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from gptcalc.reference.tally import Array, one_each

BLOCK_BYTES = 512 * 1024
"""One block of rows: with a temporary of its size it stays in a core's own cache."""


def row_blocks(x: Array) -> Iterator[Array]:
    """Views of a contiguous array, block after block: [..., width] -> [rows, width]."""
    flat = x.reshape(-1, x.shape[-1])
    step = max(1, BLOCK_BYTES // (x.shape[-1] * x.itemsize))
    return (flat[start : start + step] for start in range(0, len(flat), step))


@contextmanager
def unbuffered() -> Iterator[None]:
    """Inside, NumPy does not copy the one number per row of `x - mean` into a buffer first, which takes longer than the subtraction."""
    before = np.setbufsize(16)  # in elements: the smallest
    try:
        yield
    finally:
        np.setbufsize(before)


# Norms


def normalise(x: Array, part: dict[str, Array], *, centred: bool, epsilon: float) -> Array:
    """LayerNorm (centred) or RMSNorm of the last axis, then the norm's weight and bias where it has them: [..., d] -> [..., d]."""
    out = np.empty_like(x)
    width = x.shape[-1]
    for rows, result in zip(row_blocks(x), row_blocks(out), strict=True):
        source = rows
        if centred:
            mean = np.add.reduce(rows, axis=-1, keepdims=True)  # [t, d] -> [t, 1]
            mean /= width
            source = np.subtract(rows, mean, out=result)
        squares = np.square(source)
        deviation = np.add.reduce(squares, axis=-1, keepdims=True)  # [t, d] -> [t, 1]
        deviation /= width
        deviation += epsilon
        np.sqrt(deviation, out=deviation)
        np.divide(source, deviation, out=result)
        if "weight" in part:
            result *= part["weight"]
        if "bias" in part:
            result += part["bias"]
    return out


# Softmax


def softmax(x: Array, sink: Any = None) -> Array:
    """Softmax of the last axis, in place: [..., C]. A sink is one more logit, whose share is dropped."""
    largest = np.maximum.reduce(x, axis=-1, keepdims=True)
    if sink is not None:
        largest = np.maximum(largest, sink)
    x -= largest
    np.exp(x, out=x)
    total = np.add.reduce(x, axis=-1, keepdims=True)
    if sink is not None:
        total += np.exp(np.subtract(sink, largest))
    x /= total
    return x


def sigmoid(x: Array) -> None:
    """1 / (1 + exp(-x)), in place."""
    with np.errstate(over="ignore"):
        np.negative(x, out=x)
        np.exp(x, out=x)
        x += 1
        np.reciprocal(x, out=x)


def softplus(x: Array) -> None:
    """log(1 + exp(x)), in place; far above zero that is x."""
    np.exp(np.minimum(x.view(np.ndarray), 80), out=x)
    x += 1
    np.log(x, out=x)


def softcap(x: Array, cap: float) -> None:
    """cap * tanh(x / cap), in place."""
    x /= cap
    np.tanh(x, out=x)
    x *= cap


# Activations, in place


def relu(x: Array) -> None:
    np.maximum(x, 0, out=x)


def relu_squared(x: Array) -> None:
    np.maximum(x, 0, out=x)
    np.square(x, out=x)


def silu(x: Array) -> None:
    with np.errstate(over="ignore"):  # exp(-x) = inf far below zero: x / inf is the right answer, 0
        e = np.exp(np.negative(x))
        e += 1
        x /= e


def gelu_sigmoid(x: Array) -> None:
    with np.errstate(over="ignore"):
        e = np.exp(x * -1.702)
        e += 1
        x /= e


SILU_LIMIT = 7.0
"""gpt-oss clamps both projections before it multiplies them."""


def silu_clamped(x: Array) -> None:
    np.minimum(x, SILU_LIMIT, out=x)
    gelu_sigmoid(x)


def gelu(x: Array) -> None:
    t = erf(x * math.sqrt(0.5))
    t += 1
    x *= t
    x *= 0.5


def gelu_tanh(x: Array) -> None:
    t = np.square(x)
    t *= 0.044715
    t += 1
    t *= x
    t *= math.sqrt(2 / math.pi)
    np.tanh(t, out=t)
    t += 1
    x *= t
    x *= 0.5


def xielu(x: Array, alpha_p: float, alpha_n: float) -> None:
    """Two sides with a learned slope each, joined at zero; b is the second side's slope, with the half that both sides share added."""
    square = np.square(x)
    square *= alpha_p
    curved = np.exp(np.minimum(x, 0))
    curved -= 1
    curved -= x
    curved *= alpha_n + 0.5
    np.copyto(curved, square, where=np.greater(x, 0).view(np.ndarray))
    x *= 0.5
    x += curved


ACTIVATIONS: dict[str, Callable[[Array], None]] = {
    "relu": relu,
    "relu_squared": relu_squared,
    "silu": silu,
    "silu_clamped": silu_clamped,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "gelu_sigmoid": gelu_sigmoid,
}


# The error function, which NumPy lacks: a Taylor series around the nearest of many grid points, whose values come from math.erf.

GRID = 32  # grid points per unit
EDGE = 6  # erf(6) is 1 to the last bit of a float64
TERMS = {np.dtype(np.float32): 5, np.dtype(np.float64): 9}


@one_each
def erf(x: Array) -> Array:
    """The error function of a float32 or float64 array, to within 1e-7 or 1e-15.

    >>> float(erf(np.array([0.5]))[0]), math.erf(0.5)
    (0.520499877813..., 0.520499877813...)
    """
    x = np.clip(x, -EDGE, EDGE)
    nearest = np.rint(np.fmax(x, -EDGE) * GRID)  # fmax: a NaN has some nearest point, and stays NaN by its step
    step = x - nearest / GRID
    point = nearest.astype(np.int32) + EDGE * GRID
    *others, last = _taylor(x.dtype)
    result: Array = last[point]
    for coefficient in reversed(others):
        result *= step
        result += coefficient[point]
    return result


@cache
def _taylor(dtype: np.dtype[Any]) -> Array:
    """Coefficients of erf(a + step) in powers of step at every grid point a, [terms, points]: Hermite polynomials H times a Gaussian."""
    a = np.arange(-EDGE * GRID, EDGE * GRID + 1) / GRID
    rows = [np.array([math.erf(value) for value in a])]
    gauss = 2 / math.sqrt(math.pi) * np.exp(-a * a)
    before, hermite = np.zeros_like(a), np.ones_like(a)
    for n in range(TERMS[dtype] - 1):
        rows.append((-1) ** n * hermite * gauss / math.factorial(n + 1))
        before, hermite = hermite, 2 * a * hermite - 2 * n * before
    table: Array = np.array(rows)
    return table.astype(dtype, copy=False)
