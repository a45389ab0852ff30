"""How far the time of a step may be from its likely value: by what was compared with measurements, and what never was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.ranges import Range, exactly
from gptcalc.spec.legality import has_experts
from gptcalc.time.kernels import least, most

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.stack import StackSpec

UNCALIBRATED = 0.2
"""How far the time on a chip without measured steps may be off. FlashAttention's five GPT runs on A100 (its training/README.md) come out
2 to 10 % too fast without their communication; younger chips differ more from the H100 that lends its constants."""

EXPERTS_SPREAD = 0.25
"""The same of experts, whose common matmul still gets faster from release to release (presets/runs/tables/experts.yaml)."""

UNCALIBRATED_CLUSTER = 0.25
"""The same on many devices, where the network's share and what hides under what were not measured either."""


class Pace(NamedTuple):
    """`factor` multiplies the likely time; its high end is None where only a lower bound of the time is known.

    `spread`: the share that the time is expected within, either way; None for a lower bound. `calibrated`: steps were compared on this
    very device, alone or under this stack.
    """

    factor: Range
    spread: float | None
    calibrated: bool
    lower_bound: bool
    notes: list[str]

    def times(self, value: Any) -> Range:
        """A quantity that is proportional to the time."""
        if self.factor.known:
            return exactly(value)
        low, _, high = self.factor
        return Range(value * low, value, None if high is None else value * high)

    def over(self, value: Any) -> Range:
        """A quantity that is proportional to its inverse, such as a rate."""
        if self.factor.known:
            return exactly(value)
        low, _, high = self.factor
        return Range(None if high is None else value / high, value, value / low)

    def share(self, value: Any) -> Range:
        """A share of the peak: no more than all of it, unless it is likely to be counted as more."""
        low, _, high = whole = self.over(value)
        return whole if whole.known else Range(low, value, least((high, most((value, 1.0)))))


def stated_pace(mfu: Range, device: DeviceSpec) -> Pace:
    """The interval of the time that follows from an MFU that the user states."""
    factor = exactly(1.0) if mfu.known else Range(mfu.likely / mfu.high, 1.0, mfu.likely / mfu.low)
    return Pace(factor, None, device.calibrated, False, [])


def pace_of(model: ModelSpec, device: DeviceSpec, software: StackSpec | None, runtime: str, *, chosen: bool = False) -> Pace:
    """The interval of a step's time; `software` is that of many devices, None where one works alone; `chosen`: the runtime was asked for.

    On a chip that CUDA does not drive and nobody measured the time may be longer or shorter by a factor (`DeviceSpec.unmeasured_factor`).
    """
    measured = software is not None and device.name in software.measured_on
    calibrated = device.calibrated or measured
    narrowest = 0.0 if software is None else max(software.spread, EXPERTS_SPREAD if has_experts(model) else 0.0)
    spread = narrowest
    if not measured:
        unknown = UNCALIBRATED if software is None else UNCALIBRATED_CLUSTER
        spread = max(narrowest, device.constants["step_spread"].value if device.calibrated else unknown)
    low, high = 1 - spread, 1 + spread
    notes = []
    factor = None if measured else device.unmeasured_factor
    if factor is not None:
        spread = factor - 1
        low, high = 1 / factor, factor
        notes.append(
            f"uncalibrated: peaks of {device.name}, all else as measured on an H100: the time may be {factor:g} times as long, or as short"
        )
    elif not calibrated:
        notes.append(f"uncalibrated: peaks of {device.name}, constants measured on an H100; the time may be {spread:.0%} off")
    elif software is not None and not _bounded(model, software, runtime):
        notes.append(f"the step's time on {device.name} is expected within {spread:.0%}")
    if not _bounded(model, software, runtime):
        return Pace(Range(low, 1.0, high), spread, calibrated, False, notes)
    low = 1.0 if calibrated else low
    return Pace(Range(low, 1.0, None), None, calibrated, True, [_why_bounded(model, software, runtime, chosen=chosen), *notes])


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


def _why_bounded(model: ModelSpec, software: StackSpec | None, runtime: str, *, chosen: bool) -> str:
    if software is not None and software.compared and software.defaults.get("runtime") == runtime:
        odd = " and ".join(NAMES[name] for name in features(model) if name not in software.compared)
        return f"a lower bound on the time: {software.title} was compared with no published step of a model with {odd}"
    if chosen:
        return "a lower bound on the time: runtime ideal fuses everything that can be, as no code does"
    return f"no runtime here has {model.name}'s own code: ideal, everything fused, a lower bound on the time"


NAMES = {"dense": "plain MLPs", "experts": "experts", "latent": "latent attention"}
