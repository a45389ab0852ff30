"""What stands in the place of attention, each kind in a file of its own name: its arrays, and its part of the forward pass."""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Protocol, TypeAlias, cast

from gptcalc.reference.cache import Kept
from gptcalc.reference.parts import Context, Parts
from gptcalc.reference.tally import Array
from gptcalc.spec.model import ModelSpec

Shapes: TypeAlias = dict[str, tuple[int, ...]]


class MixerFile(Protocol):
    NAMES: str
    """What transformers calls its arrays: lines as in `layouts`."""

    def weights(self, path: str, spec: ModelSpec) -> Shapes: ...

    def mix(self, x: Array, layer: Parts, context: Context, kept: Kept | None) -> Array: ...


@functools.cache
def mixer(name: str) -> MixerFile:
    return cast(MixerFile, import_module(f"gptcalc.reference.{name}"))
