"""Layouts as arrays: the kernels are timed once for each distinct set of the sizes that they see, and the rest is array arithmetic."""

from typing import Any

from gptcalc.errors import GptcalcError
from gptcalc.spec.options import check_layouts
from gptcalc.spec.recipe import Layout
from gptcalc.symbols import distinct
from gptcalc.time.kernels import ceil
from gptcalc.time.local import Local
from gptcalc.time.quantities import Plan, local_of, quantities

SEEN = ("tp", "cp", "ep", "sequence_parallel", "sharded", "batch", "seq", "layers", "alone")
"""What the kernels of a stage depend on."""

STAGES = ("pp", "virtual_stages")
"""... and which layers it has, where they differ."""


def numbers_of(plan: Plan) -> tuple[dict[str, Any], Local, Layout, Any]:
    """The quantities of a plan, its layout and number of micro-batches: numbers, or arrays of one shape.

    Raises GptcalcError for arrays whose shapes do not go together.
    """
    layout = plan.recipe.layout
    sizes = {name: getattr(layout, name) for name in ("tp", "pp", "dp", "cp", "ep", "virtual_stages", "zero", "sequence_parallel")}
    sizes |= {"batch": plan.batch, "seq": plan.seq, "micro_batches": plan.micro_batches}
    if not any(hasattr(size, "dtype") for size in sizes.values()):
        one = local_of(plan, layout, plan.batch, plan.seq)
        alone = layout.tp * layout.pp * layout.dp * layout.cp == 1
        return quantities(plan, one, layout, ceil(plan.model.n_layer, layout.pp), alone=alone), one, layout, plan.micro_batches
    import numpy as np

    try:
        flat = dict(zip(sizes, np.broadcast_arrays(*(np.asarray(size, dtype=np.float64) for size in sizes.values())), strict=True))
    except ValueError:
        raise GptcalcError(
            "arrays of different lengths: " + ", ".join(f"{name} {np.shape(size)}" for name, size in sizes.items())
        ) from None
    flat["layers"] = ceil(plan.model.n_layer, flat["pp"])
    flat["sharded"] = np.where(flat["zero"] == 3, 1.0, 0.0)
    flat["alone"] = np.where(flat["tp"] * flat["pp"] * flat["dp"] * flat["cp"] == 1, 1.0, 0.0)
    shape = flat["tp"].shape
    seen = (*SEEN, *STAGES) if plan.model.layers else SEEN
    groups, which = distinct([flat[name].ravel() for name in seen])
    check_layouts(groups.shape[1])
    which = which.reshape(shape)
    found: list[dict[str, float]] = []
    known: dict[tuple[int, ...], Local] = {}
    for group in groups.T:
        here = {name: int(size) for name, size in zip(seen, group, strict=True)}
        parallel = bool(here["sequence_parallel"])
        fixed = Layout(tp=here["tp"], cp=here["cp"], ep=here["ep"], sequence_parallel=parallel, zero=3 * here["sharded"])
        key = tuple(here[name] for name in SEEN[:-2])
        fixed = fixed._replace(pp=here.get("pp", 1), virtual_stages=here.get("virtual_stages", 1))
        if key not in known:
            known[key] = local_of(plan, fixed, here["batch"], here["seq"])
        found.append(quantities(plan, known[key], fixed, here["layers"], alone=bool(here["alone"])))
    names = list(dict.fromkeys(name for numbers in found for name in numbers))
    stacked = {name: np.array([numbers.get(name, 0.0) for numbers in found], dtype=np.float64)[which] for name in names}
    together: dict[str, Any] = {name: flat[name] for name in ("tp", "pp", "dp", "cp", "ep", "virtual_stages", "zero")}
    layout = layout._replace(**together, sequence_parallel=flat["sequence_parallel"] == 1)
    return stacked, next(iter(known.values())), layout, flat["micro_batches"]
