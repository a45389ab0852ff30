"""What the devices of a layout send in a step, kind by kind, and what of it the work beside it hides.

t tensor, c context parallel; replicas: data times context parallel. Seconds.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.formulas.cluster.collectives import Network, collective, send
from gptcalc.formulas.time.kernels import most, pick
from gptcalc.spec.recipe import Layout

if TYPE_CHECKING:
    from gptcalc.spec.stack import StackSpec


class Traffic(NamedTuple):
    """One kind of communication in a step, of the busiest device: its seconds, and those that nothing hides."""

    name: str
    ranks: Any
    total: Any
    exposed: Any


def exposed(stack: "StackSpec", seconds: Any, cover: Any) -> Any:
    """What `cover` seconds of computing do not hide, and what the hidden rest costs them."""
    left = most((seconds - cover, 0.0))
    return left + stack.contention * (seconds - left)


def gathered(net: Network, q: dict[str, Any], stack: "StackSpec", replicas: Any, t: Any, compute: int, recomputed: bool) -> dict[str, Any]:
    """ZeRO-3: the weights of a block are gathered before it runs, forward and backward, and its gradients are scattered behind."""
    block, outside = q["parameters block"], q["parameters embedding"] + q["parameters head"]
    gather = collective(net, "all_gather", compute * block, replicas, t)
    scatter = collective(net, "reduce_scatter", stack.gradient_bytes * block, replicas, t)
    back = (2 if recomputed else 1) * gather + scatter
    share = stack.overlap.gather
    ends = collective(net, "all_gather", compute * outside, replicas, t)
    ends = ends + collective(net, "reduce_scatter", stack.gradient_bytes * outside, replicas, t)
    return {
        "forward": exposed(stack, gather, share * q["block forward"]),
        "backward": exposed(stack, back, share * (q["block backward"] + q["block recompute"])),
        "outside": ends,
        "total": gather + back,
    }


def ring(net: Network, q: dict[str, Any], share: float, c: Any, t: Any) -> dict[str, Any]:
    """Ring attention: keys and values go round once forward, they and their gradients once backward, under the attention itself."""
    once = (c - 1) * send(net, q["keys and values"], t)
    under = share * q["attention"] / 3
    return {"forward": most((once - under, 0.0)), "backward": most((2 * once - 2 * under, 0.0)), "total": 3 * once}


def between(net: Network, q: dict[str, Any], stack: "StackSpec", layout: Layout) -> dict[str, Any]:
    """One send of a micro-batch's hidden state to the next stage."""
    t, apart = layout.tp, layout.tp * layout.cp * layout.dp
    size = q["hidden state"]
    divided = pick(layout.sequence_parallel, size / t, size / t if stack.scatter_gather else size)
    seconds = send(net, divided, apart)
    if stack.scatter_gather:
        seconds = seconds + pick(layout.sequence_parallel, 0.0, collective(net, "all_gather", size, t))
    seconds = pick(layout.pp > 1, seconds, 0.0)
    return {"total": seconds, "exposed": (1 - stack.overlap.pipeline) * seconds}


def once_a_step(
    net: Network, stack: "StackSpec", own: Any, replicas: Any, shards: Any, t: Any, zero: Any, compute: int, cover: tuple[Any, Any]
) -> dict[str, Any]:
    """Once a step: ZeRO 0 an all-reduce of the gradients, 1 and 2 a scatter of them and a gather of the new weights; where ZeRO-3
    shards in each node alone, an all-reduce of a shard's gradients between nodes."""
    reduce = collective(net, "all_reduce", stack.gradient_bytes * own, replicas, t)
    scatter = collective(net, "reduce_scatter", stack.gradient_bytes * own, replicas, t)
    gather = collective(net, "all_gather", compute * own, replicas, t)
    backward, forward = cover
    plain = exposed(stack, reduce, stack.overlap.data * backward)
    divided = exposed(stack, scatter, stack.overlap.data * backward) + exposed(stack, gather, stack.overlap.gather * forward)
    across = collective(net, "all_reduce", stack.gradient_bytes * own / shards, replicas / shards, t * shards)
    across_left = exposed(stack, across, stack.overlap.data * backward)
    return {
        "total": pick(zero == 3, across, pick(zero == 0, reduce, scatter + gather)),
        "exposed": pick(zero == 3, across_left, pick(zero == 0, plain, divided)),
    }
