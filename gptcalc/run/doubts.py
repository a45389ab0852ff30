"""What of a step decides how far its time may be off, read from the plan and the bill of it."""

from typing import TYPE_CHECKING

from gptcalc.run.pace import Step
from gptcalc.symbols import Quantity
from gptcalc.time.breakdown import StepTime
from gptcalc.time.kernels import ceil

if TYPE_CHECKING:
    from gptcalc.spec.cluster import ClusterSpec
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.recipe import Recipe


def step_of(model: "ModelSpec", recipe: "Recipe", timed: StepTime, place: "ClusterSpec", *, many: bool, power: object) -> Step:
    """What of a step decides how far it may be off; of arrays, of the place where it is most."""
    if not many:
        return Step()
    from gptcalc.spec.recipe import NARROW
    from gptcalc.spec.shape import shape_of
    from gptcalc.time.launches import unaligned_heads

    layout = recipe.layout
    attention = _most(timed.kinds.get("attention", 0.0) / timed.value) if recipe.attention_kernel == "flash" else 0.0
    exposed = _most(sum(one.exposed for one in timed.traffic) / timed.value)
    nodes = ceil(layout.tp * layout.pp * layout.dp * layout.cp, place.node)
    single = _most((recipe.accumulate == 1) & (layout.dp > 1) & (layout.zero < 2) & (nodes > 1))
    narrow = recipe.precision in NARROW and bool(_most((layout.zero == 3) & (layout.tp > 1)))
    odd = recipe.attention_kernel == "eager" and unaligned_heads(shape_of(model))
    return Step(float(attention), float(exposed), odd, power is not None, narrow, bool(single))


def _most(value: Quantity) -> float:
    return value.max() if hasattr(value, "max") else value
