"""What stands in memory at each moment of a training step: groups of bytes, and how many times each of them stands."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

from gptcalc.footprint.linear import Linear
from gptcalc.spec.paths import Part
from gptcalc.symbols import is_one


class Group:
    """Bytes that come and go together, by their path in the breakdown."""

    def __init__(self, items: Mapping[str, Any] | None = None) -> None:
        self.items = dict(items or {})

    @cached_property
    def total(self) -> Any:
        return sum(self.items.values())

    def add(self, path: str, size: Any) -> None:
        """Bytes that come beside the others."""
        self.items[path] = size
        vars(self).pop("total", None)


Standing = list[tuple[Group, Any]]  # and how many times each


class Moment(NamedTuple):
    """What stands at a point of a step, at work on a part of the model; `layer`: which of the layers that may be the fullest."""

    standing: Standing
    part: Part = "block"
    layer: str = ""

    @property
    def total(self) -> Any:
        flying: Any = 0  # what is linear apart: sums of plain numbers are quicker
        alike: dict[Any, Any] = {}  # ... and of arrays those of one shape, before they make larger ones
        for group, times in self.standing:
            amount = group.total if is_one(times) else times * group.total
            if isinstance(amount, Linear):
                flying = flying + amount
            else:
                shape = getattr(amount, "shape", ())
                alike[shape] = alike[shape] + amount if shape in alike else amount
        total = sum(alike.values())
        return total + flying if isinstance(flying, Linear) else total

    @property
    def breakdown(self) -> dict[str, Any]:
        items: dict[str, Any] = {}
        for group, times in self.standing:
            for path, size in group.items.items():
                amount = times * size
                items[path] = items[path] + amount if path in items else amount
        return items


class Held(NamedTuple):
    """What stands throughout a step, and what does while a block is at work."""

    weights: Group
    optimizer: Group
    resident: Group  # gradients that stay
    gathered: Group  # weights of a block, out of their shards
    reduced: Group  # gradients of a block, before they are scattered
    unpacked: Group  # a matrix, out of its 4 bits
    update: Group  # what the optimizer needs beside its state

    @property
    def throughout(self) -> Standing:
        return [(group, 1) for group in (self.weights, self.optimizer, self.resident)]


class OfOperation(NamedTuple):
    """What one run of an operation has of each kind."""

    saved: Group  # for the backward pass
    recomputed: Group  # ... where its block is computed again
    once: Group  # ... that all layers have together
    copies: Group  # of its weights, in 16 bits, until the forward pass ends
    cached: Group  # ... that stand throughout
    transient: Group  # in its backward pass
    momentary: Group  # in its forward pass
    gradients: Group
    fresh: Group  # gradients that are added to those that stand already


class Step(NamedTuple):
    """`moments` by phase and name."""

    moments: dict[str, dict[str, Moment]]
    blocks_done: Moment  # the end of the last block, forward
    held: Held
    token_gradients: Group  # of the token embedding
    trained: Any = 0  # bytes of those weights that are trained

    @property
    def values(self) -> dict[str, list[Any]]:
        """The bytes at each moment, phase by phase."""
        return {phase: [moment.total for moment in moments.values()] for phase, moments in self.moments.items()}
