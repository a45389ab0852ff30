"""What is run, and what decides its step on one stage: seconds, bytes and parameters by name."""

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.spec.recipe import PRECISIONS, Layout, Recipe
from gptcalc.time.collectives import network_of
from gptcalc.time.differing import beyond_average
from gptcalc.time.kernels import ceil
from gptcalc.time.local import PARTS, PHASES, Local, local
from gptcalc.time.stage import host_seconds, host_update, orthogonalised, times

if TYPE_CHECKING:
    from gptcalc.spec.cluster import ClusterSpec
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.stack import StackSpec


class Plan(NamedTuple):
    """What is run, where, and by which software; the sizes of `recipe.layout`, `batch`, `seq` and `micro_batches` may be arrays."""

    model: "ModelSpec"
    device: "DeviceSpec"
    recipe: Recipe
    cluster: "ClusterSpec"
    stack: "StackSpec"
    batch: Any
    seq: Any
    micro_batches: Any


def local_of(plan: Plan, layout: Layout, batch: int, seq: int) -> Local:
    """The kernels of a plan on one device."""
    return local(plan.model, plan.device, plan.recipe._replace(layout=layout, accumulate=1), layout, batch, seq)


def quantities(plan: Plan, one: Local, layout: Layout, layers: int, *, alone: bool) -> dict[str, float]:
    """What decides a step, of one stage of `layers` blocks, as plain numbers by name: seconds, bytes, parameters.

    Source: `stage`.
    """
    from gptcalc.spec.runtime import load_runtime

    net, host = network_of(plan.cluster, plan.device), load_runtime(plan.recipe.runtime).host
    measured = times(one, net, plan.stack, layers, layout, alone=alone)
    found = {f"host {part} {phase}": host_seconds(one, host, part, phase, layers) for part in PARTS for phase in PHASES[:2]}
    for (part, phase), seconds in measured.compute.items():
        found[f"{part} {phase}"] = seconds + measured.waiting[part, phase]
    for part, kind in measured.total:
        found[f"{kind} exposed {part}"] = measured.exposed[part, kind]
        found[f"{kind} total {part}"] = measured.total[part, kind]
    for part in PARTS:
        found[f"parameters {part}"] = one.parameters[part]
    found["parameters experts"] = one.experts
    for (part, kind), seconds in measured.kinds.items():
        found[f"kind/{part}/{kind}"] = seconds
    w = one.work
    compute = PRECISIONS[plan.recipe.precision].compute
    for phase in PHASES:
        core = (k for k in one.kernels if k.path.endswith("/core") and k.phase == phase)
        found[f"attention {phase}"] = sum(k.seconds(w.chip, measured.clock) for k in core)
    every = plan.recipe.checkpoint_every
    found["attention again"] = 0 if plan.recipe.recompute == "none" else ceil(layers, every) / layers if every > 1 else 1
    found["hidden state"] = compute * w.batch * w.seq * w.shape.d_model
    kinds = [kind for _, kind in w.shape.blocks]
    widths = sum(kind.n_layer * (kind.d_kv + kind.d_value) for kind in kinds) / sum(kind.n_layer for kind in kinds)
    found["keys and values"] = compute * w.batch * w.seq * widths
    found["token embedding"] = w.shape.vocab_size * w.shape.d_embedding
    found["products"] = orthogonalised(one, layers, measured.clock)
    if plan.model.layers:
        beyond = beyond_average(one, measured, plan.model.layers, layers, layout)
        found |= {f"beyond {name}": value for name, value in beyond.items()}
    found["host update"] = host_update(one, host, layers)
    return found
