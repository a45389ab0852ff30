"""The time of one training step, on one device or many: what each computes, what it sends that nothing hides, and where it waits.

t tensor, p pipeline (v chunks a stage), D data, c context, g expert parallel; m micro-batches a step, L layers. Seconds.
Everything after the kernels is plain arithmetic on floats or arrays of them.
"""

from collections.abc import Callable
from typing import NamedTuple

from gptcalc.spec.grids import places, varies
from gptcalc.spec.legality import stage_sizes
from gptcalc.spec.options import distinct_words
from gptcalc.spec.recipe import NARROW, PRECISIONS
from gptcalc.symbols import Condition, Quantity, is_one, is_zero, pick
from gptcalc.table.sharding import shards_of
from gptcalc.time.block import EXPERT, TENSOR
from gptcalc.time.breakdown import WAITING, StepTime, idle, kernel_by_kernel, longest_first, together
from gptcalc.time.collectives import collective, log2, network_of
from gptcalc.time.kernels import ceil, most, settled
from gptcalc.time.local import Local, local
from gptcalc.time.plan import StepPlan
from gptcalc.time.quantities import Part, Stage, stage_of
from gptcalc.time.stage import accumulation, update_kernels, update_seconds
from gptcalc.time.traffic import Crossing, Gathers, Group, Ring, Traffic, between, gathered, once_a_step, ring

TEXTS = {
    "communication/tensor parallel": "m*L/p blocks and the ends: of each collective what the matmuls beside it do not hide",
    "communication/expert parallel": "m*L/p blocks: of two exchanges of k copies of a token forward, two backward, what nothing hides",
    "communication/context parallel": "m*L/p rings of c - 1 sends forward and recomputed, two backward: what attention does not hide",
    "communication/sharded weights": "m*L/p gathers forward, gathers and a scatter backward: what a block's computing does not hide",
    "communication/between stages": "2*m*v sends of a micro-batch's hidden state",
    "communication/data parallel": "a stage's gradients reduced, under ZeRO-2 m times: what the backward pass does not hide",
    "communication/between slices": "a share of the step for every doubling of the slices, as the stack has it",
    "communication/embedding's two ends": "an all-reduce of V*d/t gradients between the first stage and the last",
    "pipeline/imbalance": "m*(the slowest stage - the mean of all)",
    "pipeline/bubble": "(all stages - the slowest + 2*(p - 1) sends) / v",
    "accumulation": "(m - 1) additions of a stage's gradients",
    "optimizer": "passes over a stage's parameters, divided under ZeRO",
}
"""How each part of the bill that is no kernel comes about."""


def step_time(plan: StepPlan, *, by_kernel: bool = False) -> StepTime:
    """One step of a layout: its seconds by kind of kernel and by what waits, or on one device `by_kernel`.

    Units: seconds.   Raises: GptcalcError for contradictory recipes.
    Source: pipeline Narayanan et al. 2021, arXiv:2104.04473, 2.2; ZeRO Rajbhandari et al. 2020, arXiv:1910.02054; FSDP Zhao et al.
    2023, arXiv:2304.11277; context parallelism Liu et al. 2023, arXiv:2310.01889; the rest in `stage` and `collectives`.
    """
    one = local(plan)
    q, of = _reckoned(plan, one)
    L, p, m = plan.model.n_layer, plan.recipe.layout.pp, plan.micro_batches
    kinds: dict[str, Quantity] = {}
    for part, often in ((q.embedding, 1), (q.block, L), (q.head, 1)):
        for kind, seconds in part.kinds.items():
            kinds[kind] = kinds.get(kind, 0.0) + m / p * often * seconds
    kinds = longest_first(kinds)
    traffic, adding = _traffic(plan, q, of), (m - 1) * of.adding
    if by_kernel:
        items, texts = kernel_by_kernel(one, L, q.clock, m, update_kernels(one, of.updated))
    else:
        items = {f"compute/{kind}": seconds for kind, seconds in kinds.items()}
        texts = TEXTS | dict.fromkeys(items, "m/p of the model's kernels of this kind, at the clock that their power allows")
        items |= {f"communication/{sent.name}": sent.exposed for sent in traffic}
        items |= {"pipeline/imbalance": of.imbalance, "pipeline/bubble": of.bubble}
        items |= {"accumulation": adding, "optimizer": of.update}
    items["accumulation"] = kinds["accumulation"] = adding
    items[WAITING] = kinds[WAITING] = idle(of.total, items)
    kinds["optimizer"] = of.update
    shown = (WAITING,) if by_kernel else ()
    items, kinds = ({name: own for name, own in group.items() if name in shown or not is_zero(own)} for group in (items, kinds))
    return StepTime(items, texts, [sent for sent in traffic if not is_zero(sent.total)], kinds, of.stages, of.hop.exposed)


def step_times(plan: StepPlan, *, by_kernel: bool = False) -> StepTime:
    """`step_time`, whichever of the sizes are arrays that broadcast against each other: by open grids."""
    layout = plan.recipe.layout
    recipe = plan.recipe
    if not varies(layout, plan.batch, plan.seq, plan.micro_batches, recipe.recompute):
        return step_time(plan, by_kernel=by_kernel)
    import numpy as np

    words, which = distinct_words(recipe.recompute)
    differ = bool(plan.model.layers)
    shape, found = places(layout, plan.batch, plan.seq, plan.micro_batches, layers_differ=differ, apart=(which,))
    word = np.broadcast_to(which, shape).ravel()
    each = []
    with np.errstate(all="ignore"):  # a grid has places that nobody asks for, and some of these cannot be divided
        for place in found:
            own = plan._replace(recipe=recipe._replace(recompute=words[int(word[place.here[0]])]))
            each.append((place, step_time(own.on_grid(place.sizes), by_kernel=by_kernel)))
    return together(each, shape)


class Seconds(NamedTuple):
    """A step in all; and of it what stages wait for each other, what is sent and nothing hides, and what is computed again."""

    total: Quantity
    waiting: Quantity
    sending: Quantity
    again: Quantity


def step_seconds(plan: StepPlan, one: Local) -> Seconds:
    """The seconds of `step_time` without its breakdown, of sizes that broadcast: the structure of their steps is one (`spec.grids`).
    `one`: what `local` says of them."""
    q, of = _reckoned(plan, one)
    m, often = plan.micro_batches, plan.model.n_layer / plan.recipe.layout.pp
    sending: Quantity = 0.0
    for traffic in _traffic(plan, q, of):
        sending = sending + traffic.exposed
    return Seconds(of.total, of.imbalance + of.bubble, sending, m * often * q.block.recompute)


def _reckoned(plan: StepPlan, one: Local) -> "tuple[Stage, _Terms]":
    layout = plan.recipe.layout
    alone = all(is_one(size) for size in (layout.tp, layout.pp, layout.dp, layout.cp))
    q = stage_of(plan, one, stage_sizes(plan.model.n_layer, layout.pp, layout.virtual_stages)[1], alone=alone)
    return q, _terms(plan, q, one)


class _Terms(NamedTuple):
    """The seconds that a step is put together from. `wait` and `turns`: of a block, for sharded weights and for ring attention."""

    wait: Gathers
    turns: Ring
    hop: Crossing
    once: Crossing
    stages: dict[str, tuple[Quantity, Quantity]]
    imbalance: Quantity
    bubble: Quantity
    adding: Quantity
    ends_apart: Quantity
    update: Quantity
    updated: Quantity  # parameters
    slices: Quantity
    total: Quantity


def _terms(plan: StepPlan, q: Stage, one: Local) -> _Terms:
    net, stack, compute = network_of(plan.cluster, plan.device, reached=plan.stack.network_share), plan.stack, weight_bytes(plan)
    layout, m, L = plan.recipe.layout, plan.micro_batches, plan.model.n_layer
    t, p, v, c, zero = layout.tp, layout.pp, layout.virtual_stages, layout.cp, layout.zero
    sizes = stage_sizes(L, p, v)
    layers, replicas, single = sizes[1], layout.dp * c, settled(p == 1)

    # What one block and the parts outside the blocks wait for, forward and backward.
    shards, experts = shards_of(layout), layout.ep
    groups = Group(replicas, shards, t), Group(most((1, replicas // experts)), most((1, shards // experts)), t * experts)
    wait = gathered(net, q, stack, *groups, compute, recomputed=plan.recipe.checkpoint_every > 0) if zero == 3 else Gathers()
    turns = ring(net, q, stack.overlap.context, c, t)
    block_forward = q.block.forward + wait.forward + turns.forward
    block_backward = q.block.backward + q.block.recompute + wait.backward + turns.backward
    ends = q.embedding.both + q.head.both

    # The pipeline: the slowest stage sets the pace, the others pass once, in chunks.
    beyond = q.beyond
    stages = {}
    ends_of = (("first", beyond.first, q.embedding), ("middle", beyond.middle, None), ("last", beyond.last, q.head))
    for (role, extra, part), own_layers in zip(ends_of, sizes, strict=True):
        pair = own_layers * block_forward + extra.forward, own_layers * block_backward + extra.backward
        stages[role] = (pair[0] + part.forward, pair[1] + part.backward) if part else pair
    device_sum = L * (block_forward + block_backward) + ends + wait.outside
    processor = q.embedding.host + q.block.host + q.head.host
    slow_device = most([sum(both) for both in stages.values()])
    slow_host = q.block.host + most((q.embedding.host, q.head.host))
    hop = between(net, q, stack, layout)
    host_sum = q.block.host * (L / layers) + q.embedding.host + q.head.host

    # Once a step: gradients, the weights that each updated, the two ends' common embedding.
    own = list(zip(groups, _held(plan, q, layers, single), strict=True))
    divided = [(group.shards if zero == 3 else group.replicas, size) for group, size in own]
    adding = accumulation(one, sum(size / (ranks if zero >= 2 else 1) for ranks, size in divided), stack)
    updated = sum(size / (ranks if zero >= 1 else 1) for ranks, size in divided)
    update = update_seconds(one, updated) + q.products / (divided[0][0] if zero >= 1 else 1)
    last_backward = layers * block_backward + pick(single, q.head.backward, 0.0)
    once = once_a_step(net, stack, own, zero, compute, (last_backward, layers * block_forward), m, layers)
    apart = t * replicas * most((1, p - 1))
    ends_apart = pick(settled(p > 1), collective(net, "all_reduce", stack.gradient_bytes * q.token_embedding, 2, apart), 0.0)
    ends_apart = ends_apart if plan.model.tied else 0.0 * ends_apart
    tail = once.exposed + ends_apart + update

    total: Quantity = 0.0
    bubble: Quantity = 0.0
    imbalance: Quantity = 0.0
    if single is not False:
        first = _segments(q, layers, block_forward, block_backward, wait.outside)
        total = most((first + (m - 1) * most((device_sum + adding, processor)) + tail, m * processor + q.host_update))
    if single is not True:  # what has few axes first: of arrays the last two additions alone are of every place
        slow = most((slow_device + wait.outside, slow_host))
        others = most((device_sum - wait.outside, host_sum)) - most((slow_device, slow_host))
        waits = (others + (p - 1) * hop.exposed * 2) / v
        piped = (m * slow + (m - 1) * adding + tail) + m * (2 * hop.exposed) * v + waits
        if not is_zero(q.host_update):
            piped = most((piped, (m - 1) * slow_host + host_sum + q.host_update))
        total, bubble = pick(single, total, piped), pick(single, 0.0, waits)
        imbalance = pick(single, 0.0, m * (slow_device - (device_sum - wait.outside) / p))
    nodes = ceil(t * p * replicas, net.node)
    apart = stack.slices * log2(nodes) * total if stack.slices else 0.0
    return _Terms(wait, turns, hop, once, stages, imbalance, bubble, adding, ends_apart, update, updated, apart, total + apart)


def weight_bytes(plan: StepPlan) -> int:
    """Bytes of a weight that ZeRO gathers."""
    narrow = plan.recipe.precision in NARROW
    return plan.stack.narrow_weight_bytes if narrow else PRECISIONS[plan.recipe.precision].compute


def _held(plan: StepPlan, q: Stage, layers: Quantity, single: Condition) -> tuple[Quantity, Quantity]:
    """The parameters of the stage that has most, and of its experts."""
    blocks = layers * q.block.parameters
    first, last = blocks + q.embedding.parameters, blocks + q.head.parameters + (q.token_embedding if plan.model.tied else 0)
    beyond = q.beyond
    of_stages = first + beyond.first.parameters, last + beyond.last.parameters, blocks + beyond.middle.parameters
    whole = first + q.head.parameters
    return pick(single, whole, most(of_stages)), layers * q.experts + beyond.experts


def _traffic(plan: StepPlan, q: Stage, of: _Terms) -> list[Traffic]:
    layout, m, L = plan.recipe.layout, plan.micro_batches, plan.model.n_layer
    p, v = layout.pp, layout.virtual_stages

    def in_all(of_part: Callable[[Part], Quantity]) -> Quantity:
        whole: Quantity = m / p * (of_part(q.embedding) + L * of_part(q.block) + of_part(q.head))
        return whole

    found = [
        Traffic(TENSOR, layout.tp, in_all(lambda part: part.tensor.total), in_all(lambda part: part.tensor.exposed)),
        Traffic(EXPERT, layout.ep, in_all(lambda part: part.expert.total), in_all(lambda part: part.expert.exposed)),
    ]
    turns = of.turns.forward + of.turns.backward
    found.append(Traffic("context parallel", layout.cp, m * L / p * of.turns.total, m * L / p * turns))
    gathers = [L / p * seconds + of.wait.outside for seconds in (of.wait.total, of.wait.forward + of.wait.backward)]
    found.append(Traffic("sharded weights", shards_of(layout), *(m * seconds for seconds in gathers)))
    found.append(Traffic("between stages", p, 2 * m * v * of.hop.total, 2 * m * v * of.hop.exposed))
    found.append(Traffic("data parallel", layout.dp * layout.cp, of.once.total, of.once.exposed))
    found.append(Traffic("between slices", ceil(layout.tp * p * layout.dp * layout.cp, plan.cluster.node), of.slices, of.slices))
    found.append(Traffic("embedding's two ends", pick(p > 1, 2, 1), of.ends_apart, of.ends_apart))
    return found


def _segments(q: Stage, layers: Quantity, forward: Quantity, backward: Quantity, outer: Quantity) -> Quantity:
    """The first micro-batch of one stage: device and processor side by side, in each segment the later of the two decides."""
    finished: Quantity = 0.0
    processor: Quantity = 0.0
    for device, host in (
        (q.embedding.forward + outer, q.embedding.host_forward),
        (layers * forward, q.block.host_forward),
        (q.head.forward, q.head.host_forward),
        (q.head.backward, q.head.host_backward),
        (layers * backward, q.block.host_backward),
        (q.embedding.backward, q.embedding.host_backward),
    ):
        processor = processor + host
        finished = most((finished + device, processor))
    return finished
