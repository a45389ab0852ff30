"""What is timed: a step of a model by a recipe, on devices that a cluster joins, under a stack of software."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gptcalc.spec.cluster import ClusterSpec
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.grids import Sizes
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.recipe import Recipe
    from gptcalc.spec.stack import StackSpec
    from gptcalc.symbols import Quantity


class StepPlan(NamedTuple):
    """The sizes of `recipe.layout`, `batch`, `seq` and `micro_batches` are numbers, or arrays along axes of their own (`spec.grids`)."""

    model: ModelSpec
    device: DeviceSpec
    recipe: Recipe
    cluster: ClusterSpec
    stack: StackSpec
    batch: Quantity
    seq: Quantity
    micro_batches: Quantity

    def on_grid(self, sizes: Sizes) -> StepPlan:
        """The same of other sizes."""
        return self._replace(recipe=self.recipe._replace(layout=sizes.layout), batch=sizes.batch, seq=sizes.seq, micro_batches=sizes.m)
