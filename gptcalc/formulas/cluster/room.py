"""Whether a run fits in its devices' memory: one answer, or arrays of them for arrays of layouts."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.recipe import Recipe


def room_of(model: "ModelSpec", device: "DeviceSpec", recipe: "Recipe", batch: Any, seq: Any) -> dict[str, Any]:
    """Whether the recipe fits, by `memory`'s own rule; `change` is the cheapest that would."""
    from gptcalc.formulas.memory.fit import cheapest
    from gptcalc.formulas.memory.layouts import in_groups
    from gptcalc.formulas.memory.reserve import reserve

    layout = recipe.layout
    if hasattr(layout.zero, "dtype") or hasattr(layout.sequence_parallel, "dtype"):
        return _room_of_each(model, device, recipe, batch, seq)
    answer = in_groups(model, recipe, batch, seq)
    room = device.memory - reserve(answer.value, answer.logits, answer.phases["before_forward"]["weights"].value).apart
    left = room - answer.value
    fits = left >= 0
    found = {"peak_allocated": answer.value, "room": room, "left": left, "stage": answer.role, "stages": answer.stages}
    if hasattr(fits, "all"):
        return found | {"fits": bool(fits.all()), "change": None}
    change = None if fits else cheapest(model, recipe, batch, seq, room, timed=True)
    return found | {"fits": fits, "change": change and change._asdict()}


def _room_of_each(model: "ModelSpec", device: "DeviceSpec", recipe: "Recipe", batch: Any, seq: Any) -> dict[str, Any]:
    """The same for arrays of what a layout switches on and off: one kind of layout at a time."""
    import numpy as np

    names = ("tp", "pp", "dp", "cp", "ep", "virtual_stages", "micro_batches", "zero", "sequence_parallel")
    sizes = {name: getattr(recipe.layout, name) for name in names} | {"batch": batch, "seq": seq, "accumulate": recipe.accumulate}
    given = {name: np.asarray(size, dtype=np.float64) for name, size in sizes.items() if size is not None}
    arrays = dict(zip(given, np.broadcast_arrays(*given.values()), strict=True))
    found = {name: np.zeros(arrays["tp"].shape) for name in ("peak_allocated", "room", "left")}
    for zero in range(4):
        for parallel in (False, True):
            here = (arrays["zero"] == zero) & (arrays["sequence_parallel"] == parallel)
            if here.any():
                one = {name: array[here] for name, array in arrays.items()}
                batch, seq, accumulate = (one.pop(name) for name in ("batch", "seq", "accumulate"))
                layout = recipe.layout._replace(**(one | {"zero": zero, "sequence_parallel": parallel}))
                part = room_of(model, device, recipe._replace(layout=layout, accumulate=accumulate), batch, seq)
                for name, array in found.items():
                    array[here] = part[name]
    return found | {"stage": None, "stages": {}, "fits": bool((found["left"] >= 0).all()), "change": None}
