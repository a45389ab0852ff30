"""A step's seconds part by part, as they are shown: by kernel on one device, by kind and by what waits on many; of arrays place by place.

- `kernel_by_kernel`: the kernels of one device, by phase and operation.
- `together`, `chosen_of`: those of several grids of one array of layouts, and of several stacks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

from gptcalc.node import Node, tree_of
from gptcalc.symbols import FloatArray, Quantity, pick
from gptcalc.time.traffic import Traffic

if TYPE_CHECKING:
    from gptcalc.spec.grids import Place
    from gptcalc.time.kernels import Kernel
    from gptcalc.time.local import Local

WAITING = "waiting for the processor"


@dataclass(frozen=True)
class StepTime:
    """Seconds of a step by path, and in words where they come from; by kind of kernel; of a micro-batch on the first, a middle and the
    last stage, forward and backward; of one send from stage to stage that nothing hides."""

    items: Mapping[str, Quantity]
    texts: dict[str, str]
    traffic: list[Traffic]
    kinds: Mapping[str, Quantity]
    stages: Mapping[str, tuple[Quantity, Quantity]]
    between: Quantity

    @cached_property
    def node(self) -> Node[Any]:
        """The breakdown as a tree."""
        return tree_of("step", "s", self.items, self.texts)

    @property
    def value(self) -> Quantity:
        total: Quantity = self.node.value
        return total


def longest_first(kinds: Mapping[str, Quantity]) -> dict[str, Quantity]:
    """What takes most time first, in all places of an array together.

    >>> longest_first({"norm": 1.0, "matmul": 3.0})
    {'matmul': 3.0, 'norm': 1.0}
    """
    return dict(sorted(kinds.items(), key=lambda item: -float(item[1].sum() if hasattr(item[1], "sum") else item[1])))


def idle(total: Quantity, items: Mapping[str, Quantity]) -> Quantity:
    """What of a step no item of its breakdown accounts for: the device waits. Rounding of sums is none."""
    rest = total - sum(items.values())
    return pick(rest > 1e-9 * total, rest, 0.0)


def kind_of(kernel: Kernel) -> str:
    """What a kernel is called in the table of kinds."""
    return (kernel.piece or kernel.kind).replace("_", " ")


def kernel_by_kernel(
    one: Local, layers: Quantity, clock: Quantity, m: Quantity, update: Iterable[Kernel]
) -> tuple[dict[str, Quantity], dict[str, str]]:
    """Seconds of the kernels of `layers` blocks and the ends in m micro-batches, and of the optimizer's, by phase and operation; and what
    the kernels of one run are in words."""
    items: dict[str, Quantity] = {}
    words: dict[str, list[str]] = {}
    placed = [(f"{kernel.phase}/{kernel.path}/{kind_of(kernel)}", kernel, m * one.repeats(kernel, layers)) for kernel in one.kernels]
    placed += [("optimizer", kernel, layers) for kernel in one.products]
    placed += [("optimizer", kernel, 1) for kernel in update]
    for path, kernel, times in placed:
        items[path] = items.get(path, 0.0) + times * kernel.seconds(one.work.chip, clock)
        words.setdefault(path, []).append(kernel.text)
    return items, {path: "; ".join(several) for path, several in words.items()}


def together(found: list[tuple[Place, StepTime]], shape: tuple[int, ...]) -> StepTime:
    """The breakdowns of all grids, place by place; what one grid has nothing of is zero there."""
    import numpy as np

    size = prod(shape)
    first = found[0][1]
    items: dict[str, FloatArray] = {}
    kinds: dict[str, FloatArray] = {}
    texts: dict[str, str] = {}
    traffic = {one.name: [np.full(size, value) for value in (1.0, 0.0, 0.0)] for _, each in found for one in each.traffic}
    stages = {role: (np.zeros(size), np.zeros(size)) for role in first.stages}
    between = np.zeros(size)
    for place, each in found:
        texts |= each.texts
        for whole, own in ((items, each.items), (kinds, each.kinds)):
            for name, seconds in own.items():
                whole.setdefault(name, np.zeros(size))[place.here] = place.take(seconds)
        for one in each.traffic:
            for array, value in zip(traffic[one.name], one[1:], strict=True):
                array[place.here] = place.take(value)
        for role, pair in each.stages.items():
            for array, value in zip(stages[role], pair, strict=True):
                array[place.here] = place.take(value)
        between[place.here] = place.take(each.between)
    items, kinds = ({name: array.reshape(shape) for name, array in whole.items()} for whole in (items, kinds))
    sent = [Traffic(name, *(array.reshape(shape) for array in arrays)) for name, arrays in traffic.items()]
    pairs = {role: (one.reshape(shape), other.reshape(shape)) for role, (one, other) in stages.items()}
    return StepTime(items, texts, sent, longest_first(kinds), pairs, between.reshape(shape))


def chosen_of(which: Any, found: Sequence[StepTime]) -> StepTime:
    """Of breakdowns of the same arrays of layouts the one that each place has."""
    one = found[0]
    for number, other in enumerate(found[1:], start=1):
        one = _either(which == number, other, one)
    return one


def _either(where: Quantity, yes: StepTime, no: StepTime) -> StepTime:
    """The one or the other, place by place; what one of them has nothing of is zero there."""

    def of(a: Mapping[str, Quantity], b: Mapping[str, Quantity]) -> dict[str, Quantity]:
        return {name: pick(where, a.get(name, 0.0), b.get(name, 0.0)) for name in {**b, **a}}

    sent = {name: Traffic(name, 1, 0.0, 0.0) for each in (no, yes) for name in (one.name for one in each.traffic)}
    firsts, others = (sent | {one.name: one for one in each.traffic} for each in (yes, no))
    stages = ((role, pair, no.stages[role]) for role, pair in yes.stages.items())
    return StepTime(
        of(yes.items, no.items),
        yes.texts | no.texts,
        [Traffic(name, *(pick(where, x, y) for x, y in zip(firsts[name][1:], others[name][1:], strict=True))) for name in sent],
        of(yes.kinds, no.kinds),
        {role: (pick(where, one[0], other[0]), pick(where, one[1], other[1])) for role, one, other in stages},
        pick(where, yes.between, no.between),
    )
