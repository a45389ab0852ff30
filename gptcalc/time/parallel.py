"""The time of one training step on many devices: what each computes, what it sends that nothing hides, and where it waits.

t tensor, p pipeline (v chunks a stage), D data, c context, g expert parallel; m micro-batches a step, L layers. Seconds.
Everything after the kernels is plain arithmetic on floats or arrays of them.
"""

from typing import Any, NamedTuple

from gptcalc.node import Node
from gptcalc.spec.recipe import PRECISIONS, Layout
from gptcalc.table.sharding import shards_of
from gptcalc.time.arrays import numbers_of
from gptcalc.time.block import EXPERT, TENSOR
from gptcalc.time.collectives import collective, network_of
from gptcalc.time.differing import BEYOND
from gptcalc.time.kernels import ceil, most, pick
from gptcalc.time.local import PARTS, PHASES, Local
from gptcalc.time.quantities import Plan
from gptcalc.time.stage import accumulation, update_kernels
from gptcalc.time.step import WAITING, idle, longest_first, tree_of
from gptcalc.time.traffic import Group, Traffic, between, gathered, once_a_step, ring

SEGMENTS = (("forward", PARTS), ("backward", PARTS[::-1]))


TEXTS = {
    "communication/tensor parallel": "m*L/p blocks and the ends: of each collective what the matmuls beside it do not hide",
    "communication/expert parallel": "m*L/p blocks: of two exchanges of k copies of a token forward, two backward, what nothing hides",
    "communication/context parallel": "m*L/p rings of c - 1 sends forward and recomputed, two backward: what attention does not hide",
    "communication/sharded weights": "m*L/p gathers forward, gathers and a scatter backward: what a block's computing does not hide",
    "communication/between stages": "2*m*v sends of a micro-batch's hidden state",
    "communication/data parallel": "a stage's gradients reduced, under ZeRO-2 m times: what the backward pass does not hide",
    "communication/embedding's two ends": "an all-reduce of V*d/t gradients between the first stage and the last",
    "pipeline/imbalance": "m*(the slowest stage - the mean of all)",
    "pipeline/bubble": "(all stages - the slowest + 2*(p - 1) sends) / v",
    "accumulation": "(m - 1) additions of a stage's gradients",
    "optimizer": "passes over a stage's parameters, divided under ZeRO",
}
"""How each part of the bill that is no kernel comes about."""


class ParallelTime(NamedTuple):
    """`node` is the bill, `stages` the seconds of a micro-batch forward and backward on the first, a middle and the last stage."""

    node: Node[Any]
    traffic: list[Traffic]
    kinds: dict[str, Any]
    stages: dict[str, tuple[Any, Any]]
    between: Any  # of one send from stage to stage, exposed

    @property
    def value(self) -> Any:
        return self.node.value


def parallel_step(plan: Plan) -> ParallelTime:
    """One step of a layout; with every size 1 that of `step_time`.

    Units: seconds.   Raises: GptcalcError for impossible divisions and contradictory recipes.
    Source: pipeline Narayanan et al. 2021, arXiv:2104.04473, 2.2; ZeRO Rajbhandari et al. 2020, arXiv:1910.02054; FSDP Zhao et al.
    2023, arXiv:2304.11277; context parallelism Liu et al. 2023, arXiv:2310.01889; the rest in `stage` and `collectives`.
    """
    q, one, layout, micro_batches = numbers_of(plan)
    return _bill(plan, q, layout, micro_batches, _terms(plan, q, one, layout, micro_batches))


def either(where: Any, yes: ParallelTime, no: ParallelTime) -> ParallelTime:
    """Of two times of the same arrays of layouts the one or the other, place by place."""
    leaves, others = dict(yes.node.leaves()), dict(no.node.leaves())
    items = {path: pick(where, leaf.value, others[path].value) for path, leaf in leaves.items()}
    kinds = {kind: pick(where, seconds, no.kinds[kind]) for kind, seconds in yes.kinds.items()}
    traffic = [
        Traffic(a.name, pick(where, a.ranks, b.ranks), pick(where, a.total, b.total), pick(where, a.exposed, b.exposed))
        for a, b in zip(yes.traffic, no.traffic, strict=True)
    ]
    stages = {
        role: (pick(where, pair[0], no.stages[role][0]), pick(where, pair[1], no.stages[role][1])) for role, pair in yes.stages.items()
    }
    texts = {path: leaf.formula for path, leaf in leaves.items()}
    return ParallelTime(tree_of("step", items, texts), traffic, kinds, stages, pick(where, yes.between, no.between))


class _Terms(NamedTuple):
    """The seconds that a step is put together from. `wait` and `turns`: of a block, for sharded weights and for ring attention."""

    wait: dict[str, Any]
    turns: dict[str, Any]
    hop: dict[str, Any]
    once: dict[str, Any]
    stages: dict[str, tuple[Any, Any]]
    imbalance: Any
    bubble: Any
    adding: Any
    ends_apart: Any
    update: Any
    total: Any


def _terms(plan: Plan, q: dict[str, Any], one: Local, layout: Layout, m: Any) -> _Terms:
    net, stack, compute = network_of(plan.cluster, plan.device), plan.stack, PRECISIONS[plan.recipe.precision].compute
    L, t, p, v, c, zero = plan.model.n_layer, layout.tp, layout.pp, layout.virtual_stages, layout.cp, layout.zero
    layers, replicas, sharded = ceil(L, p), layout.dp * c, pick(zero == 3, 1.0, 0.0)

    # What one block and the parts outside the blocks wait for, forward and backward.
    shards, experts = shards_of(layout), layout.ep
    groups = Group(replicas, shards, t), Group(replicas // experts, most((1, shards // experts)), t * experts)
    wait = gathered(net, q, stack, *groups, compute, plan.recipe.checkpoint_every > 0)
    turns = ring(net, q, stack.overlap.context, c, t)
    block_forward = q["block forward"] + sharded * wait["forward"] + turns["forward"]
    block_backward = q["block backward"] + q["block recompute"] + sharded * wait["backward"] + turns["backward"]
    outer = sharded * wait["outside"]
    ends = sum(q[f"{part} {phase}"] for part in ("embedding", "head") for phase in ("forward", "backward"))

    # The pipeline: the slowest stage sets the pace, the others pass once, in chunks.
    beyond = {key: q.get(f"beyond {key}", 0.0) for key in BEYOND}
    stages = {}
    for role, part in (("first", "embedding"), ("middle", None), ("last", "head")):
        pair = layers * block_forward + beyond[f"{role} forward"], layers * block_backward + beyond[f"{role} backward"]
        stages[role] = (pair[0] + q[f"{part} forward"], pair[1] + q[f"{part} backward"]) if part else pair
    device_sum = L * (block_forward + block_backward) + ends + outer
    host = {part: sum(q[f"host {part} {phase}"] for phase in PHASES[:2]) for part in PARTS}
    processor = sum(host.values(), 0.0)
    slow_device = most([sum(both) for both in stages.values()])
    slow_host = host["block"] + most((host["embedding"], host["head"]))
    slow = pick(p == 1, most((device_sum, processor)), most((slow_device + outer, slow_host)))
    hop = between(net, q, stack, layout)
    host_sum = host["block"] * (L / layers) + host["embedding"] + host["head"]
    others = most((device_sum - outer, host_sum)) - most((slow_device, slow_host))
    bubble = pick(p == 1, 0.0, (others + (p - 1) * hop["exposed"] * 2) / v)

    # Once a step: gradients, the weights that each updated, the two ends' common embedding.
    own = list(zip(groups, _held(plan, q, layers, p, beyond), strict=True))
    divided = [(pick(zero == 3, group.shards, group.replicas), size) for group, size in own]
    adding = accumulation(one, sum(size / pick(zero >= 2, ranks, 1) for ranks, size in divided), stack)
    update = update_kernels(one, sum(size / pick(zero >= 1, ranks, 1) for ranks, size in divided))
    update = update + q["products"] / pick(zero >= 1, divided[0][0], 1)
    last_backward = layers * block_backward + pick(p == 1, q["head backward"], 0.0)
    once = once_a_step(net, stack, own, zero, compute, (last_backward, layers * block_forward), m)
    apart = t * replicas * most((1, p - 1))
    ends_apart = pick(p > 1, collective(net, "all_reduce", stack.gradient_bytes * q["token embedding"], 2, apart), 0.0)
    ends_apart = ends_apart if plan.model.tied else 0.0 * ends_apart
    tail = once["exposed"] + ends_apart + update

    first = _segments(q, layers, block_forward, block_backward, outer)
    alone = most((first + (m - 1) * most((device_sum + adding, processor)) + tail, m * processor + q["host update"]))
    piped = m * (slow + 2 * v * hop["exposed"]) + bubble + (m - 1) * adding + tail
    total = pick(p == 1, alone, most((piped, (m - 1) * slow_host + host_sum + q["host update"])))
    imbalance = pick(p == 1, 0.0, m * (slow_device - (device_sum - outer) / p))
    return _Terms(wait, turns, hop, once, stages, imbalance, bubble, adding, ends_apart, update, total)


def _held(plan: Plan, q: dict[str, Any], layers: Any, p: Any, beyond: dict[str, Any]) -> tuple[Any, Any]:
    """The parameters of the stage that has most, and of its experts."""
    blocks = layers * q["parameters block"]
    first, last = blocks + q["parameters embedding"], blocks + q["parameters head"] + (q["token embedding"] if plan.model.tied else 0)
    of_stages = first + beyond["first parameters"], last + beyond["last parameters"], blocks + beyond["middle parameters"]
    whole = first + q["parameters head"]
    return pick(p == 1, whole, most(of_stages)), layers * q["parameters experts"] + beyond["experts"]


def _traffic(plan: Plan, q: dict[str, Any], layout: Layout, m: Any, of: _Terms) -> list[Traffic]:
    L, p, v = plan.model.n_layer, layout.pp, layout.virtual_stages
    often, found = {"embedding": 1, "block": L, "head": 1}, []
    for kind, ranks in ((TENSOR, layout.tp), (EXPERT, layout.ep)):
        entire, left = (m / p * sum(often[part] * q[f"{kind} {which} {part}"] for part in PARTS) for which in ("total", "exposed"))
        found.append(Traffic(kind, ranks, entire, left))
    found.append(Traffic("context parallel", layout.cp, *(m * L / p * seconds for seconds in (of.turns["total"], _both(of.turns)))))
    gathers = (L / p * seconds + of.wait["outside"] for seconds in (of.wait["total"], _both(of.wait)))
    found.append(Traffic("sharded weights", shards_of(layout), *(m * pick(layout.zero == 3, 1.0, 0.0) * one for one in gathers)))
    found.append(Traffic("between stages", p, *(2 * m * v * of.hop[which] for which in ("total", "exposed"))))
    found.append(Traffic("data parallel", layout.dp * layout.cp, of.once["total"], of.once["exposed"]))
    found.append(Traffic("embedding's two ends", pick(p > 1, 2, 1), of.ends_apart, of.ends_apart))
    return found


def _both(seconds: dict[str, Any]) -> Any:
    return seconds["forward"] + seconds["backward"]


def _bill(plan: Plan, q: dict[str, Any], layout: Layout, m: Any, of: _Terms) -> ParallelTime:
    L, p = plan.model.n_layer, layout.pp
    kinds: dict[str, Any] = {}
    for name, seconds in q.items():
        if name.startswith("kind/"):
            _, part, kind = name.split("/", 2)
            kinds[kind] = kinds.get(kind, 0.0) + m / p * (L if part == "block" else 1) * seconds
    kinds = longest_first(kinds)
    items = {f"compute/{kind}": seconds for kind, seconds in kinds.items()}
    texts = TEXTS | dict.fromkeys(items, "m/p of the model's kernels of this kind, at the clock that their power allows")
    traffic = _traffic(plan, q, layout, m, of)
    items |= {f"communication/{one.name}": one.exposed for one in traffic}
    items |= {"pipeline/imbalance": of.imbalance, "pipeline/bubble": of.bubble}
    items |= {"accumulation": (m - 1) * of.adding, "optimizer": of.update}
    items[WAITING] = idle(of.total, items)
    kinds["optimizer"], kinds[WAITING] = of.update, items[WAITING]
    items, kinds = ({name: seconds for name, seconds in one.items() if not _nothing(seconds)} for one in (items, kinds))
    traffic = [one for one in traffic if not _nothing(one.total)]
    return ParallelTime(tree_of("step", items, texts), traffic, kinds, of.stages, of.hop["exposed"])


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
