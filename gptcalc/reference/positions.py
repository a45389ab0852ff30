"""Positions: rotary tables, ALiBi's slopes, the sinusoids of the first Transformer.

A rotation takes 3 FLOP per rotated channel (times cos, partner times sin, add); making the tables is not counted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from gptcalc.reference.rope_scaling import rotary_frequencies, table_factor
from gptcalc.reference.tally import Array
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.shape import Shape


class Rotary(NamedTuple):
    """Tables of rotary positions. Channel i becomes x[i]·cos[i] + x[partner[i]]·sin[i]; the minus sign of a rotation is in `sin`."""

    cos: Array  # [T, 1, R]
    sin: Array  # [T, 1, R]
    partner: Array  # [R]

    def of_positions(self, start: int) -> Rotary:
        """The same without the positions before `start`."""
        return self._replace(cos=self.cos[start:], sin=self.sin[start:])


def rotary_tables(spec: ModelSpec, shape: Shape[int], length: int, dtype: DTypeLike) -> Rotary:
    """The tables of positions 0 to length - 1.

    Raises GptcalcError for a rope_scaling that cannot be executed.
    """
    R = shape.d_rotary
    channel = np.arange(R)
    if spec.rotary_pairs == "neighbours":
        partner, pair, first = channel ^ 1, channel // 2, channel % 2 == 0
    else:
        partner, pair, first = (channel + R // 2) % R, channel % (R // 2), (channel < R // 2) == (spec.rotary_pairs == "halves")
    angles = np.outer(np.arange(length), rotary_frequencies(spec, R, length)[pair])[:, None, :]  # [T, 1, R]
    factor = table_factor(spec)
    cos, sin = factor * np.cos(angles), factor * np.sin(angles)
    return Rotary(cos.astype(dtype), np.where(first, -sin, sin).astype(dtype), partner)


def rotate(x: Array, table: Rotary) -> None:
    """Turn the first R channels of every head by their position, in place: [B, T, H, Q]."""
    rotated = x[..., : len(table.partner)]
    turned = rotated[..., table.partner]
    turned *= table.sin
    rotated *= table.cos
    rotated += turned


def alibi(n_head: int, length: int, dtype: DTypeLike) -> Array:
    """What is added to the scores of every head, by key: [H, C]. Only differences between keys matter to a softmax.

    Slopes are powers of two for heads that are a power of two, with every second slope of twice as many heads after them for the rest.

    Source: Press et al. 2021, arXiv:2108.12409, section 3 and its published code.

    >>> alibi(2, 3, np.float64).tolist()
    [[0.0, 0.0625, 0.125], [0.0, 0.00390625, 0.0078125]]
    """
    power = 1 << (n_head.bit_length() - 1)
    slopes = [2.0 ** (-8 * (i + 1) / power) for i in range(power)]
    slopes += [2.0 ** (-4 * (i + 1) / power) for i in range(0, 2 * (n_head - power), 2)]
    bias: Array = np.outer(slopes, np.arange(length))
    return bias.astype(dtype)


def sinusoids(length: int, width: int, dtype: DTypeLike) -> Array:
    """Sines and cosines in turn, of wavelengths from 2 pi to 10000 * 2 pi: [T, d].

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5.

    >>> sinusoids(2, 2, np.float64).round(3).tolist()
    [[0.0, 1.0], [0.841, 0.54]]
    """
    channel = np.arange(width)
    angles = np.arange(length)[:, None] / 10000.0 ** ((channel - channel % 2) / width)
    table: Array = np.where(channel % 2, np.cos(angles), np.sin(angles))
    return table.astype(dtype)
