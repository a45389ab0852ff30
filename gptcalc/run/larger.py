"""Where no batch is asked for: the micro-batch that a run's devices have room for, and what the run takes with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gptcalc.run.answer import Run
from gptcalc.run.request import run_of
from gptcalc.spec.plan import RunOptions
from gptcalc.spec.recipe import Layout, Recipe

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec

MOST = 2**16
"""Sequences: beyond this a step gains nothing."""

WORTH = 0.98
"""A run that a larger batch makes less than this much shorter is not worth another option."""


def larger_batch(model: ModelSpec, device: DeviceSpec, run: Run, asked: RunOptions) -> Run | None:
    """The same run with the largest micro-batch that fits; None where that is no other, or saves next to no time.

    `asked`: what `run` was made with. A global batch that they state stays: the micro-batch then divides it.
    """
    from gptcalc.footprint.arrays import peaks_of
    from gptcalc.footprint.serving import largest

    i = run.inputs
    if run.memory is None or run.memory["fits"] is False:
        return None
    layout = Layout(**{name: i[name] for name in Layout._fields if name in i})
    recipe = Recipe(layout=layout, **{name: i[name] for name in Recipe._fields if name in i})
    of_rank = i["global_batch"] // layout.dp if asked.global_batch is not None else None

    def fits(n: int) -> bool:
        pieces = recipe.accumulate if of_rank is None else of_rank // n
        divided = layout._replace(micro_batches=None if layout.pp == 1 else pieces)
        answer = peaks_of(model, recipe._replace(accumulate=pieces, layout=divided), n, i["seq"])
        return bool(answer.value <= run.memory["room"]) if run.memory else False

    if of_rank is None:
        most = largest(fits, limit=MOST)
    else:
        most = max(n for n in range(1, min(of_rank, 1024) + 1) if n == 1 or (of_rank % n == 0 and fits(n)))
    if most <= 1:
        return None
    found = run_of(model, device, asked._replace(batch=most))
    return found if found.fits and found.time < WORTH * run.time else None
