"""How long one training step takes on one device: its kernels, at the clock that their power allows, beside the processor that starts them.

The device's work and the processor's run side by side; in each segment of a step (embedding, blocks, head; forward and backward;
optimizer) the later of the two decides. Seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.node import Node
from gptcalc.symbols import pick
from gptcalc.table.operations import operations
from gptcalc.time.kernels import Kernel, ceil, most, sustained_clock
from gptcalc.time.launches import Work, launches, parameters, pass_of

if TYPE_CHECKING:
    from gptcalc.spec.runtime import Host

SEGMENTS = tuple((phase, part) for phase, parts in (("forward", "ebh"), ("backward", "hbe")) for part in parts)
"""Forward and backward through (e)mbedding, (b)locks and (h)ead with the loss."""

WAITING = "waiting for the processor"

FULL_CLOCK = ("fp32", "tf32")
"""Arithmetic whose kernels draw too little power to lower the clock."""


class StepTime(NamedTuple):
    """`node` is the bill of a whole step, `kinds` the seconds of each kind of kernel in it."""

    node: Node[Any]
    kinds: dict[str, Any]

    @property
    def value(self) -> Any:
        return self.node.value


def longest_first(kinds: dict[str, Any]) -> dict[str, Any]:
    """What takes most time first, in all places of an array together.

    >>> longest_first({"norm": 1.0, "matmul": 3.0})
    {'matmul': 3.0, 'norm': 1.0}
    """
    return dict(sorted(kinds.items(), key=lambda item: -float(item[1].sum() if hasattr(item[1], "sum") else item[1])))


def idle(total: Any, items: Mapping[str, Any]) -> Any:
    """What of a step no item of its bill accounts for: the device waits. Rounding of sums is none."""
    rest = total - sum(items.values())
    return pick(rest > 1e-9 * total, rest, 0.0)


def step_time(work: Work, host: Host | None, *, micro_batches: Any = 1) -> StepTime:
    """One step of `micro_batches` forward and backward passes and an optimizer update.

    Units: seconds.   Raises: GptcalcError where the device lacks the arithmetic.   Source: of kernels, presets/kernels; of the clock,
    `sustained_clock`; of the processor's part, the runtime's preset.
    """
    kernels = launches(work)
    busy = sum(kernel.runs * kernel.arithmetic for kernel in kernels)
    whole = sum(kernel.seconds(work.chip) for kernel in kernels)
    clock = 1.0 if work.arithmetic in FULL_CLOCK else sustained_clock(work.chip, busy, whole - busy)
    timed = [(kernel, kernel.seconds(work.chip, clock)) for kernel in kernels]
    adding = _accumulation(work)
    device = finished = 0.0
    processor: Any = 0.0
    for phase, part in SEGMENTS:
        device = sum((seconds for kernel, seconds in timed if _in(kernel, phase, part)), 0.0)
        processor = processor + _host_seconds(work, host, kernels, phase, part)
        finished = most((finished + device, processor))
    micro_device = sum((seconds for kernel, seconds in timed if kernel.phase != "optimizer"), 0.0)
    later = most((micro_device + adding, processor))
    finished = finished + (micro_batches - 1) * later
    update = sum((seconds for kernel, seconds in timed if kernel.phase == "optimizer"), 0.0)
    total = most((finished + update, micro_batches * processor + _optimizer_host(work, host)))
    items, texts = _bill(timed, micro_batches)
    kinds = _by_kind(timed, micro_batches)
    if not (isinstance(micro_batches, int) and micro_batches == 1):
        items["accumulation"] = kinds["accumulation"] = (micro_batches - 1) * adding
    items[WAITING] = kinds[WAITING] = idle(total, items)
    return StepTime(tree_of("step", items, texts), kinds)


def _in(kernel: Kernel, phase: str, part: str) -> bool:
    where = "e" if kernel.path.startswith("embedding") else "b" if kernel.path.startswith("block") else "h"
    return where == part and (kernel.phase == phase or (phase == "backward" and kernel.phase == "recompute"))


def _host_seconds(work: Work, host: Host | None, kernels: Iterable[Kernel], phase: str, part: str) -> Any:
    """The processor's time: per operation forward (its Python code) and again under recomputation, per kernel backward.

    Compiled code has only its kernels to start.
    """
    if host is None:
        return 0.0
    if work.recipe.compiled:
        return host.generated * sum(kernel.runs for kernel in kernels if _in(kernel, phase, part))
    paths = [path for path in work.implementation.operations if _in(Kernel(path, phase, ""), phase, part)]
    calls = sum(work.of_block(path).shape.n_layer if path.startswith("block") else 1 for path in paths)
    if phase == "forward":
        return calls * host.operation
    started = sum(kernel.runs for kernel in kernels if kernel.phase == "backward" and _in(kernel, phase, part))
    every, layers = work.recipe.checkpoint_every, work.shape.n_layer
    again = host.operation * calls * (ceil(layers, every) / layers) if every and part == "b" else 0.0
    return started * host.launch + again


def _optimizer_host(work: Work, host: Host | None) -> Any:
    if host is None:
        return 0.0
    tensors = sum(row.runs * len(row.weights) for row in operations(work.shape, 1, 1, 1))
    return host.optimizer + host.tensor * tensors


def _accumulation(work: Work) -> Any:
    """Adding one micro-batch's gradients to those of the earlier ones."""
    rows = {row.path: row for row in operations(work.shape, 1, 1, 1)}
    letters = work.letters | {"P": parameters(rows)}
    return sum(pass_of(work.chip, one, letters, "accumulation").seconds(work.chip) for one in work.pieces.accumulate)


def kind_of(kernel: Kernel) -> str:
    """What a kernel is called in the table of kinds."""
    return (kernel.piece or kernel.kind).replace("_", " ")


def _bill(timed: list[tuple[Kernel, Any]], micro_batches: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Seconds of each part, and the kernels that they are the sum of, in words."""
    items: dict[str, Any] = {}
    texts: dict[str, list[str]] = {}
    for kernel, seconds in timed:
        times = 1 if kernel.phase == "optimizer" else micro_batches
        path = "optimizer" if kernel.phase == "optimizer" else f"{kernel.phase}/{kernel.path}/{kind_of(kernel)}"
        items[path] = items.get(path, 0.0) + times * seconds
        texts.setdefault(path, []).append(kernel.text)
    return items, {path: "; ".join(words) for path, words in texts.items()}


def _by_kind(timed: list[tuple[Kernel, Any]], micro_batches: Any) -> dict[str, Any]:
    """Which kernels take the time, over all operations."""
    found: dict[str, Any] = {}
    for kernel, seconds in timed:
        name = kind_of(kernel)
        found[name] = found.get(name, 0.0) + (1 if kernel.phase == "optimizer" else micro_batches) * seconds
    return found


def tree_of(name: str, items: dict[str, Any], texts: dict[str, str], above: str = "") -> Node[Any]:
    """A bill as a tree of seconds: each parent the sum of its parts; a leaf's formula names the kernels of one run."""
    below: dict[str, dict[str, Any]] = {}
    for path, value in items.items():
        head, _, rest = path.partition("/")
        below.setdefault(head, {})[rest] = value
    parts = []
    for head, inner in below.items():
        path = above + head
        leaf = list(inner) == [""]
        parts.append(Node(head, inner[""], "s", texts.get(path, "")) if leaf else tree_of(head, inner, texts, f"{path}/"))
    total = parts[0].value
    for part in parts[1:]:
        total = total + part.value
    return Node(name, total, "s", parts=tuple(parts))
