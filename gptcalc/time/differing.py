"""Pipelines of layers that differ: what each stage has beyond its number of average blocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gptcalc.footprint.states import of_experts
from gptcalc.spec.recipe import Layout
from gptcalc.spec.shape import block_path
from gptcalc.symbols import Quantity, pick
from gptcalc.table.operations import operations
from gptcalc.table.sharding import stage_layers
from gptcalc.time.kernels import many, most
from gptcalc.time.launches import parameters
from gptcalc.time.local import Local
from gptcalc.time.stage import Times


@dataclass(frozen=True)
class Extra:
    """What one stage has beyond its number of average blocks: seconds of a micro-batch, and parameters."""

    forward: Quantity = 0.0
    backward: Quantity = 0.0
    parameters: Quantity = 0.0


@dataclass(frozen=True)
class Beyond:
    """The same of each kind of stage; `experts`: their parameters on the stage that has most."""

    first: Extra = Extra()
    middle: Extra = Extra()
    last: Extra = Extra()
    experts: Quantity = 0.0


def beyond_average(one: Local, measured: Times, order: Sequence[str], layout: Layout) -> Beyond:
    """What the first, the slowest middle and the last stage have beyond their number of average blocks; `order`: the kinds of all layers.

    Units: seconds, parameters.   Source: of a layer of each kind, `times`.
    """
    of_block = {path: _of_block(one, measured, path, layout) for path, _ in one.work.shape.blocks}
    of_layer = [of_block[block_path(name)] for name in order]
    average = [sum(several) / len(order) for several in zip(*of_layer, strict=True)]
    stages = []
    for stage in range(layout.pp):
        own = [of_block[block_path(name)] for name in stage_layers(order, layout.pp, layout.virtual_stages, stage)]
        stages.append(
            [sum(several) - len(own) * mean for several, mean in zip(zip(*own or [(0.0,) * 4], strict=True), average, strict=True)]
        )
    middle, *others = stages[1:-1] or stages[:1]
    for several in others:
        slower = several[0] + several[1] > middle[0] + middle[1]
        middle = [pick(slower, new, old) for new, old in zip(several, middle, strict=True)]
    first, between, last = (Extra(*several[:3]) for several in (stages[0], middle, stages[-1]))
    return Beyond(first, between, last, most([several[-1] for several in stages]))


def _of_block(one: Local, measured: Times, path: str, layout: Layout) -> tuple[Any, Any, Any, Any]:
    """One layer of a kind: seconds forward and backward, parameters, and those of experts that few ranks have copies of."""
    rows = {row.path: row._replace(runs=1) for row in operations(one.work.shape, 1, 1, 1) if row.path.startswith(f"{path}/")}
    apart = {name: row for name, row in rows.items() if many(layout.ep) and of_experts(name)}
    dense = {name: row for name, row in rows.items() if name not in apart}
    backward = measured.of_kind[path, "backward"] + measured.of_kind[path, "recompute"]
    return measured.of_kind[path, "forward"], backward, parameters(dense), parameters(apart) // layout.ep
