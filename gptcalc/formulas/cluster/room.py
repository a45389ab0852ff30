"""Whether a run fits in its devices' memory: one answer, or arrays of them for arrays of layouts."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gptcalc.formulas.memory.phases import Training
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.recipe import Recipe


SIZES = ("tp", "pp", "dp", "cp", "ep", "virtual_stages", "micro_batches", "zero", "sequence_parallel")


def room_of(model: "ModelSpec", device: "DeviceSpec", recipe: "Recipe", batch: Any, seq: Any) -> dict[str, Any]:
    """Whether the recipe fits, by `memory`'s own rule (`fits` None: that cannot be said); `change` is the cheapest that would."""
    from gptcalc.formulas.memory.fit import cheapest, said
    from gptcalc.formulas.memory.layouts import in_groups

    sizes = {name: getattr(recipe.layout, name) for name in SIZES} | {"batch": batch, "seq": seq, "accumulate": recipe.accumulate}
    if any(hasattr(size, "dtype") for size in sizes.values()):
        return _room_of_each(model, device, recipe, sizes)
    answer = in_groups(model, recipe, batch, seq)
    found = _room(device, answer)
    fits = said(answer.value, answer.high, found["room"], lower_bound=answer.lower_bound)
    change = cheapest(model, recipe, batch, seq, found["room"], timed=True) if fits is False else None
    more = {"stage": answer.role, "stages": answer.stages, "fits": fits, "change": change and change._asdict()}
    return found | more | {"lower_bound": answer.lower_bound}


def _room(device: "DeviceSpec", answer: "Training") -> dict[str, Any]:
    from gptcalc.formulas.memory.reserve import reserve

    room = device.memory - reserve(answer.value, answer.logits, answer.trained, device).apart
    return {"peak_allocated": answer.value, "room": room, "left": room - answer.value}


def _room_of_each(model: "ModelSpec", device: "DeviceSpec", recipe: "Recipe", sizes: dict[str, Any]) -> dict[str, Any]:
    """The same for arrays: of each different layout once, one kind of what a layout switches on and off at a time."""
    import numpy as np

    from gptcalc.formulas.cluster.arrays import distinct
    from gptcalc.formulas.memory.fit import said
    from gptcalc.formulas.memory.layouts import in_groups

    given = {name: np.asarray(size, dtype=np.float64) for name, size in sizes.items() if size is not None}
    broadcast = np.broadcast_arrays(*given.values())
    rows, which = distinct([array.ravel() for array in broadcast])
    arrays = dict(zip(given, rows, strict=True))
    found = {name: np.zeros(rows.shape[1]) for name in ("peak_allocated", "high", "room", "left")}
    lower_bound = False
    for zero in range(4):
        for parallel in (False, True):
            here = (arrays["zero"] == zero) & (arrays["sequence_parallel"] == parallel)
            if here.any():
                one = {name: array[here] for name, array in arrays.items()}
                batch, seq, accumulate = (one.pop(name) for name in ("batch", "seq", "accumulate"))
                layout = recipe.layout._replace(**(one | {"zero": zero, "sequence_parallel": parallel}))
                answer = in_groups(model, recipe._replace(layout=layout, accumulate=accumulate), batch, seq)
                lower_bound = answer.lower_bound
                part = _room(device, answer) | {"high": answer.high}
                for name, array in found.items():
                    array[here] = part[name]
    fits = said(found["peak_allocated"], found.pop("high"), found["room"], lower_bound=lower_bound)
    shape = broadcast[0].shape
    return {name: array[which].reshape(shape) for name, array in found.items()} | {
        "stage": None,
        "stages": {},
        "fits": fits,
        "change": None,
        "lower_bound": lower_bound,
    }
