"""What the devices of a layout send in a step, kind by kind, and what of it the work beside it hides.

t tensor, c context parallel; replicas: data times context parallel. Seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.spec.recipe import Layout
from gptcalc.symbols import Quantity, pick
from gptcalc.time.collectives import Network, collective, send, waiting_of_ranks
from gptcalc.time.kernels import most, settled

if TYPE_CHECKING:
    from gptcalc.spec.stack import StackSpec
    from gptcalc.time.quantities import Stage


class Traffic(NamedTuple):
    """One kind of communication in a step, of the busiest device: its seconds, and those that nothing hides."""

    name: str
    ranks: Quantity
    total: Quantity
    exposed: Quantity


@dataclass(frozen=True)
class Crossing:
    """Seconds of what is sent, and those of them that nothing hides."""

    total: Quantity
    exposed: Quantity


class Group(NamedTuple):
    """Who has the same parameters: `replicas` ranks, `stride` devices apart, of which ZeRO-3 divides them over `shards`."""

    replicas: Quantity
    shards: Quantity
    stride: Quantity


def exposed(stack: "StackSpec", seconds: Quantity, cover: Quantity) -> Quantity:
    """What `cover` seconds of computing do not hide, and what the hidden rest costs them."""
    left = most((seconds - cover, 0.0))
    return left + stack.contention * (seconds - left)


@dataclass(frozen=True)
class Gathers:
    """ZeRO-3 in one micro-batch: seconds that a block waits, forward and backward; of all its collectives; of those outside blocks."""

    forward: Quantity = 0.0
    backward: Quantity = 0.0
    total: Quantity = 0.0
    outside: Quantity = 0.0


@dataclass(frozen=True)
class Ring:
    """Ring attention of one block: seconds that it waits, forward and backward, and those of all sends."""

    forward: Quantity
    backward: Quantity
    total: Quantity


def gathered(net: Network, q: "Stage", stack: "StackSpec", dense: Group, experts: Group, compute: int, *, recomputed: bool) -> Gathers:
    """ZeRO-3: the weights of a block are gathered before it runs, forward and backward, and its gradients are scattered behind."""
    block = [(dense, q.block.parameters), (experts, q.experts)]
    outside = [(dense, q.embedding.parameters + q.head.parameters)]
    gather = _of_all(net, "all_gather", compute, block)
    again = 2 if recomputed and stack.regathers else 1
    back = again * gather + _of_all(net, "reduce_scatter", stack.gradient_bytes, block)
    share, ranks = stack.overlap.gather, waiting_of_ranks(net, dense.shards, dense.stride)
    return Gathers(
        forward=exposed(stack, gather, share * q.block.forward) + ranks,
        backward=exposed(stack, back, share * (q.block.backward + q.block.recompute)) + (again + 1) * ranks,
        outside=_of_all(net, "all_gather", compute, outside) + _of_all(net, "reduce_scatter", stack.gradient_bytes, outside),
        total=gather + back + (again + 2) * ranks,
    )


def _of_all(net: Network, operation: str, each: int, parameters: Sequence[tuple[Group, Quantity]]) -> Quantity:
    """A collective of every shard of some parameters, `each` bytes of one; one group after another."""
    total: Quantity = 0.0
    for group, size in parameters:
        total = total + pick(settled(size > 0), collective(net, operation, each * size, group.shards, group.stride), 0.0)
    return total


def ring(net: Network, q: "Stage", share: float, c: Quantity, t: Quantity) -> Ring:
    """Ring attention: keys and values go round forward and where attention is computed again, they and their gradients backward.

    Source: Liu et al. 2023, arXiv:2310.01889, 3: each round under the attention to what the one before brought.
    """
    once, again = (c - 1) * send(net, q.keys_and_values, farthest(net, t, c)), q.attention.again
    forward, backward, recompute = (
        most((rounds * once - share * under, 0.0))
        for rounds, under in ((1, q.attention.forward), (2, q.attention.backward), (1, q.attention.recompute))
    )
    return Ring(forward, backward + again * recompute, (3 + again) * once)


def farthest(net: Network, stride: Quantity, ranks: Quantity) -> Quantity:
    """How far apart the neighbours are that set the pace of a chain of ranks `stride` devices apart: where it leaves a node, in another."""
    return pick(stride * ranks > net.node, most((stride, net.node)), stride)


def between(net: Network, q: "Stage", stack: "StackSpec", layout: Layout) -> Crossing:
    """One send of a micro-batch's hidden state to the next stage."""
    t, apart = layout.tp, farthest(net, layout.tp * layout.cp * layout.dp, layout.pp)
    size = q.hidden_state
    divided = pick(layout.sequence_parallel, size / t, size / t if stack.scatter_gather else size)
    seconds = send(net, divided, apart)
    if stack.scatter_gather:
        seconds = seconds + pick(layout.sequence_parallel, 0.0, collective(net, "all_gather", size, t))
    seconds = pick(settled(layout.pp > 1), seconds, 0.0)
    return Crossing(seconds, (1 - stack.overlap.pipeline) * seconds)


def once_a_step(
    net: Network,
    stack: "StackSpec",
    own: Sequence[tuple[Group, Any]],
    zero: int,
    compute: int,
    cover: tuple[Quantity, Quantity],
    m: Quantity,
    layers: Quantity,
) -> Crossing:
    """Once a step: ZeRO-0 an all-reduce of the gradients, 1 and 2 a scatter of them and a gather of the new weights; where ZeRO-3
    shards in each node alone, an all-reduce of a shard's gradients between nodes. ZeRO-2 has room for its shard of gradients alone,
    so that it scatters those of each of the m micro-batches (Rajbhandari et al. 2020, arXiv:1910.02054, 5.2)."""
    backward, forward = cover
    under = stack.overlap.data * backward
    if zero in (0, 3):
        groups = [(group._replace(shards=group.replicas), size) for group, size in own]
        if zero == 3:
            groups = [(Group(0, group.replicas // group.shards, group.stride * group.shards), size / group.shards) for group, size in own]
        reduce = _of_all(net, "all_reduce", stack.gradient_bytes, groups)
        return Crossing(reduce, exposed(stack, reduce, under))
    whole = [(group._replace(shards=group.replicas), size) for group, size in own]
    scatter, gather = _of_all(net, "reduce_scatter", stack.gradient_bytes, whole), _of_all(net, "all_gather", compute, whole)
    often = m if zero == 2 else 1
    left = often * exposed(stack, scatter, under) + exposed(stack, gather, stack.overlap.gather * forward)
    if zero == 2:  # block by block, as ZeRO-3
        ranks = (often + 1) * layers * waiting_of_ranks(net, whole[0][0].shards, whole[0][0].stride)
        return Crossing(often * scatter + gather + ranks, left + ranks)
    return Crossing(often * scatter + gather, left)
