"""The small parts that every layer is made of, and what the layers of one kind share in one pass."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gptcalc.reference.kernels import normalise
from gptcalc.reference.positions import Rotary
from gptcalc.reference.tally import Array, at
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.shape import Shape

Parts = dict[str, dict[str, Array]]
"""Path of an operation -> its arrays, "weight" and "bias", where it has any."""


class Context(NamedTuple):
    """What the layers of one kind share in one pass."""

    path: str  # "block", or "block moe" where layers differ
    spec: ModelSpec
    shape: Shape[int]
    hidden: Array | None  # [T, C] bool: the keys that a query must not see; None where it sees all
    rotary: Rotary | None
    alibi: Array | None  # [H, C]
    sublayer: str = "attention"  # or "cross_attention"
    first: int = 0  # the position of the first key: those before it are no longer kept
    # By window: the keys and values of the last layer of this pass that has its own, and the position of the first.
    shared: dict[int | None, tuple[Array, Array, int]] | None = None
    index_rotary: Rotary | None = None  # of an indexer, whose channels may pair otherwise
    picks: list[Array] | None = (
        None  # the keys that the last indexer of this pass has chosen, [B, groups, T, j]: all kinds of layer have one list
    )

    @property
    def attention(self) -> str:
        return f"{self.path}/{self.sublayer}"

    def from_key(self, first: int) -> Context:
        """The same without the keys before a position."""
        if not first:
            return self
        hidden = None if self.hidden is None else self.hidden[:, first:]
        return self._replace(hidden=hidden, alibi=None if self.alibi is None else self.alibi[:, first:], first=first)


def linear(x: Array, parts: Parts, path: str) -> Array:
    """[..., in] @ [in, out] + [out] -> [..., out]"""
    at(x, path)
    y = x @ parts[path]["weight"]
    if "bias" in parts[path]:
        y += parts[path]["bias"]
    return y


def norm(x: Array, parts: Parts, path: str, spec: ModelSpec, epsilon: float | None = None) -> Array:
    at(x, path)
    return normalise(x, parts.get(path, {}), centred=spec.norm == "layernorm", epsilon=epsilon or spec.norm_epsilon)


def residual(x: Array, change: Array, path: str, spec: ModelSpec) -> Array:
    at(x, path)
    if spec.residual_scale != 1:
        change *= spec.residual_scale
    return np.add(x, change, out=change)
