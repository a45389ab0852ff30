"""What `plan` answers: the plans chosen, each with the whole answer of `train`, and what became of the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from shlex import join
from typing import TYPE_CHECKING, Any, Literal

from gptcalc.node import plain

if TYPE_CHECKING:
    from gptcalc.run.answer import Capacity, Run
    from gptcalc.search.weighing import Found
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec

By = Literal["time", "cost", "memory"]

LAYOUT = ("tp", "pp", "dp", "cp", "ep", "virtual_stages", "sequence_parallel", "zero", "batch", "global_batch", "seq")
RECIPE = ("precision", "optimizer", "recompute", "attention_kernel", "runtime", "compiled", "dropout", "stack", "cluster")


@dataclass(frozen=True)
class Choice:
    """One plan. `options` are those of `train` that make it, and `run` its answer; `tokens_known`: of a whole run, not of one step."""

    model: str
    options: Mapping[str, Any]
    run: Run
    within_error_of_best: bool
    tokens_known: bool

    @property
    def layout(self) -> dict[str, Any]:
        """The sizes, those that follow included."""
        i = self.run.inputs
        alone = {"sequence_parallel": self.options["sequence_parallel"], "zero": self.options["zero"]}
        return {name: plain(i.get(name, self.options.get(name, alone.get(name, 1)))) for name in LAYOUT}

    @property
    def pipeline(self) -> float:
        """Seconds of a step that stages wait for each other."""
        return float(sum(leaf.value for path, leaf in self.run.parts.leaves() if path.startswith("pipeline/")))

    @property
    def sending(self) -> float:
        """Seconds of a step that are sent and nothing hides."""
        return float(sum(one["exposed"] for one in self.run.communication))

    @property
    def memory(self) -> Capacity:
        """Of the fullest stage; every plan's step is timed, so that it has one."""
        assert self.run.memory is not None
        return self.run.memory

    @property
    def peak(self) -> float:
        return float(self.memory["peak_allocated"])

    @property
    def room(self) -> float:
        return float(self.memory["room"])

    @property
    def cost(self) -> float | None:
        return self.run.cost_usd if self.tokens_known else None

    @property
    def time(self) -> float | None:
        return self.run.time if self.tokens_known else None

    def command(self, model: str | None = None) -> str:
        """What explains it; `model`: the argument of that name as a shell reads it."""
        words = []
        for name, value in self.options.items():
            option = f"--{name.replace('_', '-')}"
            if name in ("sequence_parallel", "dropout") and value is not None:
                words.append(option if value else option.replace("--", "--no-", 1))
            elif isinstance(value, bool):
                words += [option] if value else []
            elif value is not None and (value != 1 or name not in ("tp", "pp", "cp", "ep", "virtual_stages")):
                words += [option, str(value)]
        return f"gptcalc train {model or self.model} {join(words)}"

    def to_dict(self) -> dict[str, Any]:
        """Every layout and recipe field, then what it comes to: seconds, bytes, USD."""
        run, memory = self.run, self.memory
        return {
            "device": run.device,
            "count": plain(run.count),
            **self.layout,
            "micro_batches": plain(run.inputs["accumulate"]),
            **{name: plain(run.inputs.get(name, self.options.get(name))) for name in RECIPE},
            "step_time": run.step_time,
            "tokens_per_second": run.tokens_per_second,
            "mfu": run.mfu,
            "peak_allocated": plain(memory["peak_allocated"]),
            "device_memory": plain(memory["room"]),
            "cost_usd": self.cost,
            "time": self.time,
            "within_error_of_best": self.within_error_of_best,
            "pipeline_time": self.pipeline,
            "exposed_communication_time": self.sending,
            "command": self.command(),
        }

    def assumed(self) -> list[dict[str, Any]]:
        """Communication that the stack's shares of overlap hide under computing: seconds, and of the step."""
        found = [(one["name"], one["total"] - one["exposed"]) for one in self.run.communication]
        step = self.run.step_time
        return [{"term": name, "hidden": hidden, "share_of_step": hidden / step} for name, hidden in found if hidden > 0.001 * step]


@dataclass(frozen=True)
class Asked:
    """What is looked for. `sizes`: what is held of a layout; `fixed`: of everything else. Seconds, USD."""

    model: ModelSpec
    devices: tuple[DeviceSpec, ...]
    counts: tuple[int, ...]
    global_batch: int
    seq: int
    tokens: int | None
    by: By
    top: int
    deadline: float | None
    budget: float | None
    sizes: Mapping[str, Any]
    fixed: Mapping[str, Any]

    @property
    def limited(self) -> bool:
        return self.deadline is not None or self.budget is not None


@dataclass(frozen=True)
class Plans:
    """The answer. `curve`: the best plan of each device and count, where there are several; `assumes`: whether the shares of overlap of
    the first plan's stack were compared with no step of its device; `change`: the cheapest that makes `nearest` fit."""

    asked: Asked
    found: Found
    space: dict[str, Any]
    plans: list[Choice]
    spread: float
    curve: list[Choice] = field(default_factory=list)
    assumes: bool = False
    nearest: Choice | None = None
    nearest_count: int | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        """Whether there is a plan, and the first meets the deadline and the budget."""
        return bool(self.plans) and not self.missed(self.plans[0])

    def missed(self, one: Choice) -> list[str]:
        """What a plan does not meet."""
        found = []
        if self.asked.deadline is not None and (one.time is None or one.time > self.asked.deadline):
            found.append("deadline")
        if self.asked.budget is not None and (one.cost is None or one.cost > self.asked.budget):
            found.append("budget")
        return found

    def to_dict(self) -> dict[str, Any]:
        found = self.found
        return {
            "considered": found.considered,
            "legal": found.legal,
            "fit": found.fit,
            "plans": [one.to_dict() for one in self.plans],
            "lost": found.lost(),
            "space": self.space,
            "curve": [one.to_dict() for one in self.curve],
            "spread": self.spread,
            "least_excess": found.least_excess,
            "nearest": None if self.nearest is None else self.nearest.to_dict(),
            "nearest_count": self.nearest_count,
            "assumed": self.plans[0].assumed() if self.plans and self.assumes else [],
            "meets": self.fits,
            "interrupted": found.interrupted,
            "notes": self.notes,
        }
