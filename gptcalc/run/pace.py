"""How far the time of a step may be from its likely value: by what was compared with measurements, and what never was."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gptcalc.ranges import Range, exactly
from gptcalc.spec.legality import has_experts
from gptcalc.symbols import Quantity
from gptcalc.time.kernels import least, most

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.stack import StackSpec

UNCALIBRATED = 0.2
"""How far the time on a chip without measured steps may be off. FlashAttention's five GPT runs on A100 (its training/README.md) come out
2 to 10 % too fast without their communication; younger chips differ more from the H100 that lends its constants."""

UNTIMED = 0.25
"""The same of a family's own code of which no step was ever timed: its passes over memory are those of other families that were."""

EXPERTS_SPREAD = 0.25
"""The same of experts, whose common matmul still gets faster from release to release (presets/runs/tables/experts.yaml)."""

UNCALIBRATED_CLUSTER = 0.25
"""The same on many devices, where the network's share and what hides under what were not measured either."""

OLDER_ATTENTION, SLOWER_LINKS = 1.7, 0.6
"""Where software and chip were never measured together, by how much of attention's share and of exposed communication's a step may be
longer still: the errors of 260 published steps before their software was described, 96 of 100 of which are within."""

LINKS_OF_A_SITE = 0.5
"""The same of exposed communication's share where they were: a site's links may be slower (13 trials for BLOOM took 14 to 26 % longer)."""

COMPARED_EXPERTS, ODD, SINGLE = 0.18, 0.2, 0.4
"""Shares, either way, of experts where their exchanges were compared; of a power that is held, of 8-bit gathers under tensor parallelism
and of heads that are not aligned; of a step of one micro-batch over several nodes (two steps, 16 and 28 % too fast)."""


class Pace(NamedTuple):
    """`factor` multiplies the likely time; its high end is None where only a lower bound of the time is known.

    `spread`: the share that the time is expected within, either way, before what may make it longer still; None for a lower bound.
    `calibrated`: steps were compared on this very device, alone or under this stack.
    """

    factor: Range
    spread: float | None
    calibrated: bool
    lower_bound: bool
    notes: list[str]

    def times(self, value: Quantity) -> Range:
        """A quantity that is proportional to the time."""
        if self.factor.known:
            return exactly(value)
        low, _, high = self.factor
        return Range(value * low, value, None if high is None else value * high)

    def over(self, value: Quantity) -> Range:
        """A quantity that is proportional to its inverse, such as a rate."""
        if self.factor.known:
            return exactly(value)
        low, _, high = self.factor
        return Range(None if high is None else value / high, value, value / low)

    def share(self, value: Quantity) -> Range:
        """A share of the peak: no more than all of it, unless it is likely to be counted as more."""
        low, _, high = whole = self.over(value)
        return whole if whole.known else Range(low, value, least((high, most((value, 1.0)))))


def stated_pace(mfu: Range, device: DeviceSpec) -> Pace:
    """The interval of the time that follows from an MFU that the user states."""
    factor = exactly(1.0) if mfu.known else Range(mfu.likely / mfu.high, 1.0, mfu.likely / mfu.low)
    return Pace(factor, None, device.calibrated, False, [])


class Step(NamedTuple):
    """What of a step decides how far it may be off: shares of it, from 0 to 1, and what of its recipe was never compared.

    `attention`: the share of attention's kernel, where its generation was not said; `exposed`: of communication that nothing hides;
    `tensor`: of that, tensor parallelism's. `odd_heads`: explicit attention over heads whose width is no multiple of 8; `capped`: power is
    held below the TDP; `narrow`: matmuls in 8 bits or fewer beside gathered weights and tensor parallelism; `single`: one micro-batch of
    a step on several nodes, whose gradients no other hides.
    """

    attention: float = 0.0
    exposed: float = 0.0
    odd_heads: bool = False
    capped: bool = False
    narrow: bool = False
    single: bool = False


def pace_of(
    model: ModelSpec, device: DeviceSpec, software: StackSpec | None, runtime: str, *, chosen: bool = False, step: Step | None = None
) -> Pace:
    """The interval of a step's time; `software` is that of many devices, None where one works alone; `chosen`: the runtime was asked for.

    On a chip that CUDA does not drive and nobody measured the time may be longer or shorter by a factor (`DeviceSpec.unmeasured_factor`).
    Where software and chip were never measured together older code is slower and links may be: the interval reaches further up.

    Source: the published steps of presets/runs/tables, each table predicted with what was fitted on the others ('replicate tables').
    """
    step = step or Step()
    measured = software is not None and device.name in software.measured_on
    calibrated = device.calibrated or measured
    longer = 0.0
    if software is None:
        spread = device.constants["step_spread"].value if device.calibrated else UNCALIBRATED
    elif measured:
        spread, longer = _compared(model, software, step)
    else:
        spread = max(software.spread, UNCALIBRATED_CLUSTER)
        longer = OLDER_ATTENTION * step.attention + SLOWER_LINKS * step.exposed
    notes = []
    if software is None and calibrated and not _bounded(model, None, runtime) and not _timed(model, runtime):
        spread = max(spread, UNTIMED)
        notes.append(f"no step of {model.family} in the code of {runtime} was ever timed: its time is expected within {spread:.0%}")
    low, high = 1 - spread, 1 + spread + longer
    factor = None if measured else device.unmeasured_factor
    if factor is not None:
        spread = factor - 1
        low, high = 1 / factor, max(factor, high)
        notes.append(
            f"uncalibrated: peaks of {device.name}, all else as measured on an H100: the time may be {factor:g} times as long, or as short"
        )
    elif not calibrated:
        notes.append(f"uncalibrated: peaks of {device.name}, constants measured on an H100; the time may be {spread:.0%} off")
    elif software is not None and not _bounded(model, software, runtime):
        above = f", or up to {high - 1:.0%} longer" if longer > 0.005 else ""
        together = "" if measured else f"; {software.title} was never compared with a step on it"
        notes.append(f"the step's time on {device.name} is expected within {spread:.0%}{above}{together}")
    if not _bounded(model, software, runtime):
        return Pace(Range(low, 1.0, high), spread, calibrated, False, notes)
    low = 1.0 if calibrated else low
    return Pace(Range(low, 1.0, None), None, calibrated, True, [_why_bounded(model, software, runtime, chosen=chosen), *notes])


def _compared(model: ModelSpec, software: StackSpec, step: Step) -> tuple[float, float]:
    """How far a step may be off either way where its software and chip were compared, and how much further up."""
    spread = software.spread
    if has_experts(model):
        spread = max(spread, COMPARED_EXPERTS if "experts" in software.compared else EXPERTS_SPREAD)
    if step.capped or step.narrow or step.odd_heads:
        spread = max(spread, ODD)
    if step.single:
        spread = max(spread, SINGLE)
    return spread, LINKS_OF_A_SITE * step.exposed


def features(model: ModelSpec) -> list[str]:
    """What of a model decides whether the steps that a stack was compared on say anything about it."""
    switches = [model.switches, *(kind.switches for kind in model.kinds.values())]
    found = ["experts"] if has_experts(model) else ["dense"]
    return found + (["latent"] if any(one.latent for one in switches) else [])


def _bounded(model: ModelSpec, software: StackSpec | None, runtime: str) -> bool:
    """Whether the runtime is code that nobody has, and no published steps of the stack say how near it comes."""
    from gptcalc.spec.runtime import load_runtime

    compared = software.compared if software is not None and software.defaults.get("runtime") == runtime else ()
    return load_runtime(runtime).lower_bound and not set(features(model)) <= set(compared)


def _timed(model: ModelSpec, runtime: str) -> bool:
    """Whether a step of the runtime's code for this family was compared with its time."""
    from gptcalc.spec.runtime import implementation_of, load_runtime

    return implementation_of(load_runtime(runtime), model.family, model.switches, model.name).timed


def _why_bounded(model: ModelSpec, software: StackSpec | None, runtime: str, *, chosen: bool) -> str:
    if software is not None and software.compared and software.defaults.get("runtime") == runtime:
        odd = " and ".join(NAMES[name] for name in features(model) if name not in software.compared)
        return f"a lower bound on the time: {software.title} was compared with no published step of a model with {odd}"
    if chosen:
        return "a lower bound on the time: runtime ideal fuses everything that can be, as no code does"
    return f"no runtime here has {model.name}'s own code: ideal, everything fused, a lower bound on the time"


NAMES = {"dense": "plain MLPs", "experts": "experts", "latent": "latent attention"}
