"""What `memory` answers: the phases or the breakdown, what is held apart, the verdict; and how it serialises."""

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.footprint.fit import Verdict
from gptcalc.footprint.phases import PHASES, Training
from gptcalc.footprint.reserve import Reserve
from gptcalc.footprint.serving import Serving
from gptcalc.node import Node, brief, plain
from gptcalc.shown import frame, shown
from gptcalc.spec.recipe import Recipe
from gptcalc.units import binary

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec


FITS = {True: "fits", False: "does not fit", None: "may fit"}


def _bytes(value: Any) -> str:
    return f"{brief(value)} B" if hasattr(value, "shape") else binary(value)


@shown
class TrainingMemory(NamedTuple):
    """`peak` is the breakdown of the fullest phase."""

    training: Training
    apart: Reserve
    recipe: Recipe
    verdict: Verdict | None = None
    device: "DeviceSpec | None" = None
    batch: Any = 1

    def to_frame(self) -> Any:
        """A pandas DataFrame of the parts; GptcalcError where pandas is not installed."""
        return frame(self)

    @property
    def value(self) -> Any:
        """Bytes at the peak."""
        return self.training.value

    def __repr__(self) -> str:
        fits = "" if self.verdict is None else f", {FITS[self.verdict.fits]} on {self.verdict.device}"
        return f"TrainingMemory({_bytes(self.value)} at the peak{fits})"

    @property
    def peak(self) -> Node[Any]:
        return self.training.phases[self.training.peak]

    def to_dict(self) -> dict[str, Any]:
        phases = self.training.phases
        result: dict[str, Any] = {"peak_allocated": plain(self.value), "lower_bound": self.training.lower_bound}
        if not isinstance(self.training.unsettled, int) or self.training.unsettled:
            result["peak_interval"] = [plain(self.value), plain(self.training.high)]
        if isinstance(self.training.peak, str):
            result |= {"peak_phase": self.training.peak, "peak_moment": self.training.when[self.training.peak]}
            result["parts"] = [part.to_dict() for part in self.peak.parts]
        result["phases"] = {name: plain(phases[name].value) for name in PHASES}
        result |= {"reserved_estimate": plain(self.apart.likely), "reserved_interval": [plain(self.apart.low), plain(self.apart.high)]}
        result |= {"cublas_workspaces": self.apart.workspace, "device_context": self.apart.context, "stage": plain(self.training.role)}
        if self.verdict:
            result |= self.verdict.to_dict()
        return result


@shown
class ServingMemory(NamedTuple):
    """`limits` holds max_batch and max_context where there is a device; `each` is what one token and one sequence of the whole model
    take. `usual`: the length of the sequences was not given."""

    serving: Serving
    apart: Reserve
    limits: dict[str, Any]
    inputs: dict[str, Any]
    each: dict[str, Any]
    usual: bool = False

    def to_frame(self) -> Any:
        """A pandas DataFrame of the parts; GptcalcError where pandas is not installed."""
        return frame(self)

    @property
    def value(self) -> Any:
        """Bytes at the peak."""
        return self.serving.value

    def __repr__(self) -> str:
        fits = f", {FITS[self.limits['fits']]} on {self.limits['device']}" if self.limits else ""
        return f"ServingMemory({_bytes(self.value)} at the peak{fits})"

    @property
    def peak(self) -> Node[Any]:
        return self.serving.breakdown

    def to_dict(self) -> dict[str, Any]:
        parts = {part.name: plain(part.value) for part in self.peak.parts}
        return {
            "peak_allocated": plain(self.value),
            "weights": parts["weights"],
            "kv_cache": parts["kv cache"],
            "state": parts.get("state", 0),
            "activations": parts["activations"],
            "kv_cache_without_windows": plain(self.serving.whole_cache),
            "kv_cache_least": plain(self.serving.least_cache),
            **self.each,
            "max_batch": None,
            "max_context": None,
            "cublas_workspaces": self.apart.workspace,
            "device_context": self.apart.context,
            "parts": [part.to_dict() for part in self.peak.parts],
            **self.limits,
        }


def settings(answer: TrainingMemory | ServingMemory) -> dict[str, Any]:
    """What an answer was computed for, defaults included."""
    if isinstance(answer, ServingMemory):
        return answer.inputs | ({"device": answer.limits["device"]} if answer.limits else {})
    layout = answer.recipe.layout._asdict()
    used = {name: plain(value) for name, value in {**answer.recipe._asdict(), **layout}.items() if name != "layout"}
    return used | {"batch": plain(answer.batch)} | ({"device": answer.verdict.device} if answer.verdict else {})
