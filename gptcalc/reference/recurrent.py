"""What recurrent mixers have in common: the convolution before them, and the few steps that are no plain ufunc.

B sequences, T tokens, X tokens of the convolution.
"""

from __future__ import annotations

import numpy as np

from gptcalc.reference.cache import Kept
from gptcalc.reference.kernels import silu
from gptcalc.reference.parts import Parts
from gptcalc.reference.tally import Array, at, moved, one_each, one_pair


def convolved(x: Array, layer: Parts, path: str, kept: Kept | None, *, activated: bool = True) -> Array:
    """Each channel over the last X tokens, then SiLU: [B, T, channels] -> [B, T, channels].

    X - 1 more outputs are computed than are kept, as a padded convolution does; of one token with what is kept, one more.
    """
    part = layer[path]
    X, T = part["weight"].shape[1], x.shape[1]
    if kept is not None and kept.tail is not None:
        x = moved(lambda plain: np.pad(np.concatenate([kept.tail, plain], axis=1), ((0, 0), (1, 0), (0, 0))), x)
    else:
        x = moved(lambda plain: np.pad(plain, ((0, 0), (X - 1, X - 1 if kept is None else 0), (0, 0))), x)
    if kept is not None:
        kept.tail = np.array(x.view(np.ndarray)[:, x.shape[1] - X + 1 :])
    at(x, path)
    places = np.arange(x.shape[1] - X + 1)[:, None] + np.arange(X)
    windows = moved(lambda plain: plain[:, places].swapaxes(2, 3)[..., None, :], x)  # [B, T', channels, 1, X]
    y = (windows @ part["weight"][..., None])[..., 0, 0]
    if "bias" in part:
        y += part["bias"]
    y = moved(np.ascontiguousarray, y[:, :T] if kept is None else y[:, -T:])
    if activated:
        silu(y)
    return y


def padded(x: Array, chunk: int) -> Array:
    """[B, T, ...] with zeros behind it, up to whole chunks."""
    return moved(lambda plain: np.pad(plain, ((0, 0), (0, -plain.shape[1] % chunk), *((0, 0),) * (plain.ndim - 2))), x)


def in_chunks(x: Array, chunk: int) -> Array:
    """[B, T, h, ...] -> [B, h, n, C, ...]"""
    x = padded(x, chunk).swapaxes(1, 2)
    return moved(np.ascontiguousarray, x.reshape(*x.shape[:2], -1, chunk, *x.shape[3:]))


def repeated(x: Array, times: int) -> Array:
    """[B, T, groups, ...], each group for all the heads that share it."""
    return moved(lambda plain: np.repeat(plain, times, axis=2), x)


def _cumulative(x: Array) -> Array:
    return np.cumsum(x, axis=-1)


cumulative = one_each(_cumulative)
"""Each element with all before it on the last axis: 1 FLOP for each."""


def _solve(matrix: Array, right: Array) -> Array:
    unit = np.tril(matrix, -1) + np.eye(matrix.shape[-1], dtype=matrix.dtype)
    return np.linalg.solve(unit, right)


solved = one_pair(_solve)
"""Of unit lower triangles and right sides: one FLOP for each number of the result, as torch's counter counts none."""
