"""The time of one forward pass: its kernels at the clock that their power allows, each with what bounds it."""

from __future__ import annotations

from typing import Any, NamedTuple

from gptcalc.node import Node, plain, tree_of
from gptcalc.serve.forward import Launch
from gptcalc.serve.work import Work
from gptcalc.symbols import is_zero, pick
from gptcalc.time.chip import Chip
from gptcalc.time.kernels import FULL_CLOCK, most, sustained_clock

BOUNDS = ("compute", "bandwidth", "launch", "communication")
SENT = ("all-reduce", "all-gather")
HOST = "waiting for the processor"
LAUNCHING = "launching kernels"


class Timed(NamedTuple):
    """One operation: seconds of all its runs, FLOPs and bytes of all its runs, and the seconds that each bound alone would take."""

    path: str
    kind: str
    seconds: Any
    flops: Any
    n_bytes: Any
    alone: dict[str, Any]
    runs: Any
    text: str

    @property
    def bound(self) -> str:
        """What takes the longest."""
        return max(self.alone, key=lambda name: float(_mean(self.alone[name])))


class Phase(NamedTuple):
    """Seconds of one forward pass. With an array of contexts the last axis counts decode steps."""

    seconds: Any
    clock: Any
    operations: list[Timed]
    host: Any

    @property
    def mean(self) -> Any:
        """Over the steps."""
        return _mean(self.seconds)

    @property
    def recurring(self) -> float:
        """The share of recurrences in it; of arrays the largest."""
        share = sum((one.seconds for one in self.operations if one.kind == "recurrence"), 0.0) / self.seconds
        return float(share.max() if hasattr(share, "max") else share)

    def breakdown(self, name: str) -> Node[Any]:
        """Mean seconds of each operation, as a tree whose total is `mean`."""
        items: dict[str, Any] = {}
        texts: dict[str, str] = {}
        for one in self.operations:
            path = one.path
            items[path] = items.get(path, 0.0) + _mean(one.seconds)
            texts[path] = "; ".join(filter(None, (texts.get(path, ""), one.text)))
        busy = sum((one.seconds for one in self.operations), 0.0)
        if not is_zero(self.host):
            items[HOST] = _mean(most((self.host - busy, 0.0)))
        return tree_of(name, "s", items, texts)

    def by_bound(self, *, of: str = "") -> dict[str, Any]:
        """Seconds by what bounds the operations that take them; `of` one kind of kernel."""
        found: dict[str, Any] = dict.fromkeys(BOUNDS, 0.0)
        for one in self.operations:
            if of and one.kind != of:
                continue
            largest = most(one.alone.values())
            left: Any = 1.0
            for name, seconds in one.alone.items():
                here = pick(seconds >= largest, left, 0.0)
                found[name] = found[name] + _mean(here * one.seconds)
                left = left - here
        if not is_zero(self.host):
            found["launch"] = found["launch"] + _mean(most((self.host - sum((one.seconds for one in self.operations), 0.0), 0.0)))
        return found

    @property
    def bound(self) -> str:
        """Of which kind the operations are that take the most time."""
        seconds = self.by_bound()
        return max(seconds, key=lambda name: float(_mean(seconds[name])))

    def to_list(self) -> list[dict[str, Any]]:
        """Operations as JSON has them, in order of execution; `time` is the mean over the steps, intensity FLOP per byte."""
        return [
            {
                "operation": one.path,
                "kind": one.kind,
                "runs": one.runs,
                "time": plain(_mean(one.seconds)),
                "share": plain(_mean(one.seconds) / self.mean),
                "bound": one.bound,
                "flops": plain(_mean(one.flops)),
                "bytes": plain(_mean(one.n_bytes)),
                "intensity": plain(_mean(one.flops) / _mean(one.n_bytes)) if one.kind not in SENT and _mean(one.n_bytes) else 0.0,
            }
            for one in self.operations
        ]


def timed(work: Work, launches: list[Launch]) -> Phase:
    """The kernels one after another; where Python starts each of them, the later of device and processor decides.

    Units: seconds.   Source: of the clock, `kernels.sustained_clock`; of the processor's time, presets/runtimes.
    """
    chip = work.chip
    clock: Any = 1.0
    if work.plain not in FULL_CLOCK:
        busy = sum((one.kernel.runs * one.kernel.arithmetic for one in launches), 0.0)
        whole = sum((one.kernel.seconds(chip) for one in launches), 0.0)
        clock = sustained_clock(chip, busy, whole - busy)
    operations = [_operation(chip, one, clock) for one in launches]
    host = _host(work, operations)
    sent = sum((one.runs for one in operations if one.kind in SENT), 0)
    launching = work.server.launching * sum(kind.n_layer for _, kind in work.shape.blocks) + work.server.messaging * sent
    if launching:
        operations.append(Timed(LAUNCHING, "launch", launching, 0, 0, {"launch": launching}, 1, ""))
    device = sum((one.seconds for one in operations), 0.0)
    return Phase(most((device, host)), clock, operations, host)


def _operation(chip: Chip, launch: Launch, clock: Any) -> Timed:
    kernel, runs = launch.kernel, launch.kernel.runs
    alone = (
        {"communication": runs * (kernel.memory + kernel.fixed)}
        if kernel.kind in SENT
        else {"compute": runs * kernel.arithmetic / clock, "bandwidth": runs * kernel.memory, "launch": runs * kernel.fixed}
    )
    seconds = kernel.seconds(chip, clock)
    return Timed(kernel.path, kernel.kind, seconds, runs * launch.flops, runs * launch.n_bytes, alone, runs, kernel.text)


def _host(work: Work, operations: list[Timed]) -> float:
    """The processor's time, where Python calls each operation of each layer."""
    if work.server.host is None:
        return 0.0
    from gptcalc.spec.runtime import load_runtime

    host = load_runtime(work.server.host).host
    assert host is not None
    layers = {block: kind.n_layer for block, kind in work.shape.blocks}
    return float(
        sum(layers.get(path.split("/")[0], 1) for path in {one.path for one in operations}) * host.operation * work.server.host_share
    )


def _mean(value: Any) -> Any:
    """Over the last axis, the steps, where there is one."""
    return value.mean(axis=-1) if hasattr(value, "ndim") and value.ndim else value
