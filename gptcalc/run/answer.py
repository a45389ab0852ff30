"""What `train` answers: `Run`, its parts, and how it serialises. Each may be an array where an input is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from gptcalc.node import Node, brief, plain
from gptcalc.shown import frame, shown
from gptcalc.symbols import Quantity

if TYPE_CHECKING:
    from gptcalc.time.plan import StepPlan


class Kernel(TypedDict):
    """The kernels of one kind: their seconds in a step and what share of it that is."""

    kind: str
    time: Any
    share: Any


class Ends(TypedDict):
    """A number that is known between two values; None: nothing is said of that end."""

    low: Any
    likely: Any
    high: Any


class Pass(TypedDict):
    """Seconds of a micro-batch on a stage."""

    forward: Any
    backward: Any


class Pipeline(TypedDict):
    """What the stages take by their role, and the seconds between two of them."""

    stages: dict[str, Pass]
    between: Any


class Capacity(TypedDict):
    """Whether a run fits, in bytes: `room` is what a program can allocate on the device. `fits` None: that cannot be said."""

    peak_allocated: Any
    room: Any
    left: Any
    stage: str | None
    stages: Mapping[str, Any]
    fits: bool | None
    change: dict[str, Any] | None
    lower_bound: bool


OF_STEP = ("count", "step_time", "tokens_per_second", "steps", "mfu", "hfu", "mfu_causal", "hfu_causal", "time", "flops")
ARRAYS = (*OF_STEP, "device_hours", "cost_usd", "energy_kwh", "co2_kg")
"""Of a run: all are arrays where one input is."""


@shown
class Run(NamedTuple):
    """One run on one kind of device. Base units: seconds, FLOP, USD; energy in kWh, CO2 in kg. None: an input for it is not known."""

    device: str
    device_kind: str  # gpu, tpu, ...
    count: Any
    precision: str
    calibrated: bool  # steps were compared on this very device, alone or under this stack
    lower_bound: bool  # of the time: code that nobody has
    spread: float | None  # the time of a step is expected within this share; None: for a stated MFU, and of a lower bound
    step_time: Any
    tokens_per_second: Any
    steps: Any
    mfu: Any
    hfu: Any
    mfu_causal: Any
    hfu_causal: Any
    time: Any
    device_hours: Any
    cost_usd: Any
    energy_kwh: Any
    co2_kg: Any
    flops: Any
    kernels: list[Kernel]
    ranges: dict[str, Ends]
    drivers: list[dict[str, Any]]
    communication: list[dict[str, Any]]
    pipeline: Pipeline | None
    memory: Capacity | None
    goodput: dict[str, Any] | None
    notes: list[str]
    parts: Node[Any]
    inputs: dict[str, Any]
    plan: StepPlan | None = None  # what was timed; None for a stated MFU

    def to_frame(self) -> Any:
        """A pandas DataFrame of the parts; GptcalcError where pandas is not installed."""
        return frame(self)

    @property
    def value(self) -> Quantity:
        """Seconds."""
        seconds: Quantity = self.time
        return seconds

    @property
    def fits(self) -> bool:
        """False where the recipe does not fit in the device's memory; true where it may, and where an MFU is stated instead of a recipe."""
        return self.memory is None or self.memory["fits"] is not False

    def __repr__(self) -> str:
        fits = "" if self.fits else ", does not fit"
        return f"Run({brief(self.time)} s on {brief(self.count)} {self.device}, {brief(self.step_time)} s a step{fits})"

    def to_dict(self) -> dict[str, Any]:
        """The run as the command line's JSON has it."""
        fields = {name: plain(value) for name, value in self._asdict().items() if name not in ("parts", "inputs", "plan")}
        known = {name for name, ends in self.ranges.items() if all(end is not None for end in ends.values())}
        ranges, bounds = ({name: ends for name, ends in fields["ranges"].items() if (name in known) is both} for both in (True, False))
        return fields | {"ranges": ranges, "bounds": bounds, "parts": self.parts.to_dict()}
