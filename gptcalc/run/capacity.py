"""Whether a run fits in its devices' memory: one answer, or arrays of them for arrays of layouts."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gptcalc.run.answer import Capacity
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.recipe import Recipe
    from gptcalc.symbols import Quantity


def capacity_of(model: "ModelSpec", device: "DeviceSpec", recipe: "Recipe", batch: "Quantity", seq: "Quantity") -> "Capacity":
    """Whether the recipe fits, by `memory`'s own rule (`fits` None: that cannot be said); `change` is the cheapest that would."""
    from gptcalc.footprint.arrays import peaks_of
    from gptcalc.footprint.fit import cheapest, said
    from gptcalc.footprint.reserve import reserve

    peak = peaks_of(model, recipe, batch, seq)
    room = device.memory - reserve(peak.value, peak.logits, peak.trained, device).apart
    fits = said(peak.value, peak.high, room, lower_bound=peak.lower_bound)
    one = peak.role is not None
    change = None
    if fits is False and isinstance(batch, int) and isinstance(seq, int) and one:
        change = cheapest(model, recipe, batch, seq, room, timed=True)
    return {
        "peak_allocated": peak.value,
        "room": room if one else 0.0 * peak.value + room,
        "left": room - peak.value,
        "stage": peak.role,
        "stages": peak.stages,
        "fits": fits,
        "change": change and change._asdict(),
        "lower_bound": peak.lower_bound,
    }
