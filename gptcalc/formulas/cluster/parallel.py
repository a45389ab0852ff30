"""The time of one training step on many devices: what each computes, what it sends that nothing hides, and where it waits.

t tensor, p pipeline (v chunks a stage), D data, c context, g expert parallel; m micro-batches a step, L layers. Seconds.
Everything after the kernels is plain arithmetic on floats or arrays of them.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.formulas.cluster.block import EXPERT, TENSOR
from gptcalc.formulas.cluster.collectives import collective, network_of
from gptcalc.formulas.cluster.differing import BEYOND, beyond_average
from gptcalc.formulas.cluster.stage import (
    PARTS,
    PHASES,
    Local,
    accumulation,
    host_seconds,
    host_update,
    local,
    orthogonalised,
    times,
    update_kernels,
)
from gptcalc.formulas.cluster.traffic import Group, Traffic, between, gathered, once_a_step, ring
from gptcalc.formulas.node import Node
from gptcalc.formulas.time.kernels import ceil, least, most, pick
from gptcalc.formulas.time.step import WAITING, tree_of
from gptcalc.spec.recipe import PRECISIONS, Layout, Recipe

if TYPE_CHECKING:
    from gptcalc.spec.cluster import ClusterSpec
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.stack import StackSpec

SEGMENTS = (("forward", PARTS), ("backward", PARTS[::-1]))


TEXTS = {
    "communication/tensor parallel": "m*L/p blocks and the ends: of each collective what the matmuls beside it do not hide",
    "communication/expert parallel": "m*L/p blocks: of two exchanges of k copies of a token forward, two backward, what nothing hides",
    "communication/context parallel": "m*L/p rings of c - 1 sends, twice as long backward: what attention does not hide",
    "communication/sharded weights": "m*L/p gathers forward, gathers and a scatter backward: what a block's computing does not hide",
    "communication/between stages": "2*m*v sends of a micro-batch's hidden state",
    "communication/data parallel": "one reduction of a stage's gradients: what the last micro-batch's backward pass does not hide",
    "communication/embedding's two ends": "an all-reduce of V*d/t gradients between the first stage and the last",
    "pipeline/imbalance": "m*(the slowest stage - the mean of all)",
    "pipeline/bubble": "(all stages - the slowest + 2*(p - 1) sends) / v",
    "accumulation": "(m - 1) additions of a stage's gradients",
    "optimizer": "passes over a stage's parameters, divided under ZeRO",
}
"""How each part of the bill that is no kernel comes about."""


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


class ParallelTime(NamedTuple):
    """`node` is the bill, `stages` the seconds of a micro-batch forward and backward on the first, a middle and the last stage."""

    node: Node[Any]
    traffic: list[Traffic]
    kinds: dict[str, Any]
    stages: dict[str, tuple[Any, Any]]
    between: Any  # of one send from stage to stage, exposed
    clock: Any

    @property
    def value(self) -> Any:
        return self.node.value

    @property
    def by_kind(self) -> list[dict[str, Any]]:
        """Which kernels take the time, the longest first; `time` in seconds."""
        found = [{"kind": name, "time": time, "share": time / self.value} for name, time in self.kinds.items()]
        return sorted(found, key=lambda one: _longest((one["kind"], one["time"])))


def parallel_step(plan: Plan) -> ParallelTime:
    """One step of a layout; with every size 1 that of `step_time`.

    Units: seconds.   Raises: GptcalcError for impossible divisions and contradictory recipes.
    Source: pipeline Narayanan et al. 2021, arXiv:2104.04473, 2.2; ZeRO Rajbhandari et al. 2020, arXiv:1910.02054; FSDP Zhao et al.
    2023, arXiv:2304.11277; context parallelism Liu et al. 2023, arXiv:2310.01889; the rest in `stage` and `collectives`.
    """
    from gptcalc.formulas.cluster.arrays import numbers_of

    q, one, layout, batch, micro_batches = numbers_of(plan)
    return _combine(plan, q, one, layout, batch, micro_batches)


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
    found["attention"] = sum(k.seconds(w.chip, measured.clock) for k in one.kernels if k.path.endswith("/core"))
    found["hidden state"] = compute * w.batch * w.seq * w.shape.d_model
    found["keys and values"] = 2 * compute * w.batch * w.seq * w.shape.d_kv
    found["token embedding"] = w.shape.vocab_size * w.shape.d_embedding
    found["products"] = orthogonalised(one, layers, measured.clock)
    if plan.model.layers:
        beyond = beyond_average(one, measured, plan.model.layers, layers, layout)
        found |= {f"beyond {name}": value for name, value in beyond.items()}
    found["host update"] = host_update(one, host, layers)
    found["clock"] = measured.clock
    return found


def _combine(plan: Plan, q: dict[str, Any], one: Local, layout: Layout, batch: Any, m: Any) -> ParallelTime:
    net, stack, compute = network_of(plan.cluster, plan.device), plan.stack, PRECISIONS[plan.recipe.precision].compute
    overlap, L = stack.overlap, plan.model.n_layer
    t, p, v, c, g, zero = layout.tp, layout.pp, layout.virtual_stages, layout.cp, layout.ep, layout.zero
    layers, replicas = ceil(L, p), layout.dp * c
    traffic: list[Traffic] = []

    # What one block and the parts outside the blocks wait for, forward and backward.
    sharded = pick(zero == 3, 1.0, 0.0)
    shards = least((replicas, most((1, net.node // t)))) if stack.shard_in_node else replicas
    dense, experts = Group(replicas, shards, t), Group(replicas // g, most((1, shards // g)), t * g)
    wait = gathered(net, q, stack, dense, experts, compute, plan.recipe.checkpoint_every > 0)
    turns = ring(net, q, overlap.context, c, t)
    block_forward = q["block forward"] + sharded * wait["forward"] + turns["forward"]
    block_backward = q["block backward"] + q["block recompute"] + sharded * wait["backward"] + turns["backward"]
    outer = sharded * wait["outside"]
    ends = {part: q[f"{part} forward"] + q[f"{part} backward"] for part in ("embedding", "head")}

    # The pipeline: the slowest stage sets the pace, the others pass once, in chunks.
    beyond = {key: q.get(f"beyond {key}", 0.0) for key in BEYOND}
    blocks = layers * q["parameters block"]
    last = blocks + q["parameters head"] + (q["token embedding"] if plan.model.tied else 0)
    held = [blocks + q["parameters embedding"] + beyond["first parameters"], last + beyond["last parameters"]]
    held.append(blocks + beyond["middle parameters"])
    whole = blocks + q["parameters embedding"] + q["parameters head"]
    own = [(dense, pick(p == 1, whole, most(held))), (experts, layers * q["parameters experts"] + beyond["experts"])]
    forward, backward = layers * block_forward, layers * block_backward
    more = {"first": "embedding", "middle": None, "last": "head"}
    stages = {}
    for role, part in more.items():
        own_forward, own_backward = forward + beyond[f"{role} forward"], backward + beyond[f"{role} backward"]
        stages[role] = (own_forward + q[f"{part} forward"], own_backward + q[f"{part} backward"]) if part else (own_forward, own_backward)
    device_sum = L * (block_forward + block_backward) + ends["embedding"] + ends["head"] + outer
    processor = sum((q[f"host {part} {phase}"] for part in PARTS for phase in PHASES[:2]), 0.0)
    of_blocks = q["host block forward"] + q["host block backward"]
    slow_device = most([sum(pair) for pair in stages.values()])
    slow = pick(p == 1, most((device_sum, processor)), most((slow_device + outer, of_blocks)))
    hop = between(net, q, stack, layout)
    adding = accumulation(one, sum(size / pick(zero >= 2, group.replicas, 1) for group, size in own), stack)
    divided = [(pick(zero == 3, group.shards, group.replicas), size) for group, size in own]
    update = update_kernels(one, sum(size / pick(zero >= 1, ranks, 1) for ranks, size in divided))
    update = update + q["products"] / pick(zero >= 1, divided[0][0], 1)
    bubble = ((device_sum - slow_device - outer) + (p - 1) * hop["exposed"] * 2) / v
    piped = m * (slow + 2 * v * hop["exposed"]) + pick(p == 1, 0.0, bubble) + (m - 1) * adding

    # Once a step: gradients, the weights that each updated, the two ends' common embedding.
    last_backward = backward + pick(p == 1, q["head backward"], 0.0)
    once = once_a_step(net, stack, own, zero, compute, (last_backward, layers * block_forward))
    ends_apart = pick(p > 1, collective(net, "all_reduce", stack.gradient_bytes * q["token embedding"], 2, t * replicas), 0.0)
    ends_apart = ends_apart if plan.model.tied else 0.0 * ends_apart
    tail = once["exposed"] + ends_apart

    first = _segments(q, layers, block_forward, block_backward, outer)
    later = most((device_sum + adding, processor))
    alone = most((first + (m - 1) * later + tail + update, m * processor + q["host update"]))
    total = pick(p == 1, alone, piped + tail + update)

    kinds: dict[str, Any] = {}
    for name, seconds in q.items():
        if name.startswith("kind/"):
            _, part, kind = name.split("/", 2)
            kinds[kind] = kinds.get(kind, 0.0) + m / p * (L if part == "block" else 1) * seconds
    often = {"embedding": 1, "block": L, "head": 1}
    kinds = dict(sorted(kinds.items(), key=_longest))
    items = {f"compute/{kind}": seconds for kind, seconds in kinds.items()}
    texts = TEXTS | dict.fromkeys(items, "m/p of the model's kernels of this kind, at the clock that their power allows")
    for kind, ranks in ((TENSOR, t), (EXPERT, g)):
        open_, entire = (m / p * sum(often[part] * q[f"{kind} {which} {part}"] for part in PARTS) for which in ("exposed", "total"))
        traffic.append(Traffic(kind, ranks, entire, open_))
    traffic.append(Traffic("context parallel", c, m * L / p * turns["total"], m * L / p * (turns["forward"] + turns["backward"])))
    fsdp = m * sharded * (L / p * (wait["forward"] + wait["backward"]) + wait["outside"])
    traffic.append(Traffic("sharded weights", shards, m * sharded * (L / p * wait["total"] + wait["outside"]), fsdp))
    traffic.append(Traffic("between stages", p, 2 * m * v * hop["total"], 2 * m * v * hop["exposed"]))
    traffic.append(Traffic("data parallel", replicas, once["total"], once["exposed"]))
    traffic.append(Traffic("embedding's two ends", pick(p > 1, 2, 1), ends_apart, ends_apart))
    items |= {f"communication/{one.name}": one.exposed for one in traffic}
    items["pipeline/imbalance"] = pick(p == 1, 0.0, m * (slow_device + outer - (device_sum - outer) / p - outer))
    items["pipeline/bubble"] = pick(p == 1, 0.0, bubble)
    items["accumulation"] = (m - 1) * adding
    items["optimizer"] = update
    rest = total - sum(items.values())
    items[WAITING] = pick(rest > 1e-9 * total, rest, 0.0)
    kinds["optimizer"], kinds[WAITING] = update, items[WAITING]
    items, kinds = ({name: seconds for name, seconds in one.items() if not _nothing(seconds)} for one in (items, kinds))
    return ParallelTime(
        tree_of("step", items, texts), [one for one in traffic if not _nothing(one.total)], kinds, stages, hop["exposed"], q["clock"]
    )


def _longest(item: tuple[str, Any]) -> float:
    """A key that puts what takes most time first, in all places of an array together."""
    _, seconds = item
    return -float(seconds.sum() if hasattr(seconds, "sum") else seconds)


def _nothing(seconds: Any) -> bool:
    return isinstance(seconds, int | float) and seconds == 0


def _segments(q: dict[str, Any], layers: Any, forward: Any, backward: Any, outer: Any) -> Any:
    """The first micro-batch of one stage: device and processor side by side, in each segment the later of the two decides."""
    device = {("block", "forward"): layers * forward, ("block", "backward"): layers * backward, ("embedding", "forward"): outer}
    finished: Any = 0.0
    processor: Any = 0.0
    for phase, parts in SEGMENTS:
        for part in parts:
            here = device.get((part, phase), 0.0)
            if part != "block":
                here = here + q[f"{part} {phase}"]
            processor = processor + q[f"host {part} {phase}"]
            finished = most((finished + here, processor))
    return finished
