"""What of a step decides how far its time may be off, read from the plan and the bill of it."""

from typing import TYPE_CHECKING

from gptcalc.run.pace import Step
from gptcalc.symbols import Quantity
from gptcalc.time.block import TENSOR
from gptcalc.time.breakdown import StepTime
from gptcalc.time.kernels import ceil
from gptcalc.time.step import step_times

if TYPE_CHECKING:
    from gptcalc.spec.cluster import ClusterSpec
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.recipe import Recipe
    from gptcalc.time.plan import StepPlan


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


LINK_MATTERS = 0.1
"""The share of a step that tensor parallelism sends, from which on the fast link of another site decides."""


def slower_link(plan: "StepPlan", timed: StepTime) -> list[str]:
    """How a step moves where the fast link has half of its rate, as some sites' have; nothing for arrays, and where little is sent on it.

    Source: 41 trials for BLOOM ask for 0.4 of the rate of a DGX A100's link, which the same shapes reach on Selene within 2 %.
    """
    sent = sum(one.total for one in timed.traffic if one.name == TENSOR)
    if not isinstance(timed.value, int | float) or not isinstance(sent, int | float) or sent < LINK_MATTERS * timed.value:
        return []
    longer = step_times(plan._replace(cluster=_halved(plan.cluster))).value / timed.value - 1
    return [f"on a fast link of half the rate ({plan.cluster.link.name}) a step would take {longer:.0%} longer"]


def _halved(place: "ClusterSpec") -> "ClusterSpec":
    """A cluster whose fast link has half its rate; pieces that fill a ring grow with the root of what each takes."""
    link = place.link
    costs = {
        name: {n: one.model_copy(update={"bandwidth": one.bandwidth / 2, "root": one.root * 2**0.5}) for n, one in by_ranks.items()}
        for name, by_ranks in link.collectives.items()
    }
    short = None if link.short is None else link.short.model_copy(update={"bandwidth": link.short.bandwidth / 2})
    slower = link.model_copy(update={"send": link.send / 2, "collectives": costs, "short": short})
    return place.model_copy(update={"link": slower})


def _most(value: Quantity) -> float:
    return value.max() if hasattr(value, "max") else value
