"""What the ranks of one block send each other for every micro-batch, and which matmul could hide it: tensor and expert parallelism.

t tensor, g expert parallel; N tokens of a micro-batch on one rank, d their width, k the experts of each. Seconds.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.spec.recipe import NARROW, PRECISIONS, Layout
from gptcalc.symbols import Quantity
from gptcalc.time.collectives import Network, collective
from gptcalc.time.kernels import many
from gptcalc.time.local import PARTS, PHASES, Local

if TYPE_CHECKING:
    from gptcalc.spec.shape import Shape
    from gptcalc.spec.stack import StackSpec

TENSOR, EXPERT = "tensor parallel", "expert parallel"


class Cover(NamedTuple):
    """The matmul beside a collective: of an operation's in a phase, the first or the second."""

    path: str
    phase: str
    which: int = 0


class Sent(NamedTuple):
    """One collective: its seconds, and how often an average block has it (less than once where layers differ, then of kind `block`)."""

    kind: str
    seconds: Quantity
    cover: Cover | None = None
    often: Quantity = 1
    block: str = ""


Sends = dict[tuple[str, str], list[Sent]]  # by part and phase


def sends(one: Local, net: Network, stack: "StackSpec", layout: Layout) -> Sends:
    """Every collective of an average block, of the embedding and of the head.

    Megatron's column-row pairs: an all-reduce behind attention and behind the MLP, forward and backward (Shoeybi et al. 2019,
    arXiv:1909.08053), one for both where they add up to one residual; with sequence parallelism a gather before and a scatter behind
    each, and the input is gathered again for the weight gradients (Korthikanti et al. 2022, arXiv:2205.05198, 4.2.2).
    """
    w, t, parallel = one.work, layout.tp, layout.sequence_parallel
    reduce, gather, scatter = _three(one, net, stack, t)
    found: Sends = {(part, phase): [] for part in PARTS for phase in PHASES}
    layers = sum(kind.n_layer for _, kind in w.shape.blocks)
    for path, shape in w.shape.blocks:
        for phase, several in _block(one, net, stack, layout, path, shape).items():
            found["block", phase] += [sent._replace(often=shape.n_layer / layers, block=path) for sent in several]
    if w.recipe.checkpoint_every:
        found["block", "recompute"] = [
            sent._replace(cover=sent.cover and sent.cover._replace(phase="recompute")) for sent in found["block", "forward"]
        ]
    if many(t):
        logits = Sent(TENSOR, 3 * collective(net, "all_reduce", 4 * w.batch * w.seq, t))  # maximum, sum of exponentials, the right token's
        behind = Cover("head/output", "backward", 1)
        found["embedding", "forward"] = [Sent(TENSOR, scatter if parallel else reduce)]
        found["embedding", "backward"] = [Sent(TENSOR, gather)] if parallel else []
        found["head", "forward"] = [logits, Sent(TENSOR, gather)] if parallel else [logits]
        again = [Sent(TENSOR, gather, Cover("head/output", "backward"))] if parallel else []
        found["head", "backward"] = [*again, Sent(TENSOR, scatter if parallel else reduce, behind)]
    return found


def _of_hidden_state(
    one: Local,
    net: Network,
    operation: str,
    ranks: Quantity,
    copies: Quantity = 1,
    stride: Quantity = 1,
    crossing: Quantity | None = None,
    each: Quantity | None = None,
) -> Quantity:
    """A collective of the hidden state of every token that a tensor-parallel region has, or of `copies` of it; `each`: bytes of an
    element where they are not those it is computed in."""
    w = one.work
    size = copies * (each or PRECISIONS[w.recipe.precision].compute) * w.batch * w.seq * w.shape.d_model
    return collective(net, operation, size, ranks, stride, crossing)


def _three(one: Local, net: Network, stack: "StackSpec", t: Quantity) -> tuple[Any, Any, Any]:
    """Seconds of an all-reduce of the hidden state, of a gather and of a scatter. Sums are in 16 bits; what is gathered may be narrower."""
    narrow = stack.narrow_bytes if one.work.recipe.precision in NARROW else None
    gather = _of_hidden_state(one, net, "all_gather", t, each=narrow)
    return _of_hidden_state(one, net, "all_reduce", t), gather, _of_hidden_state(one, net, "reduce_scatter", t)


def _block(one: Local, net: Network, stack: "StackSpec", layout: Layout, path: str, shape: "Shape[Any]") -> dict[str, list[Sent]]:
    attention = f"{path}/attention/query_key_value", f"{path}/attention/output"
    inner = f"{path}/mlp/experts" if shape.switches.experts else f"{path}/mlp"
    mlp = f"{inner}/up", f"{inner}/down"
    forward: list[Sent] = []
    backward: list[Sent] = []
    divided = shape.switches.experts and many(layout.ep)
    pairs = [attention] if divided else [attention, mlp]
    if divided and shape.switches.shared_expert and layout.sequence_parallel:  # without, its output is added up with what comes back
        pairs.append((f"{path}/mlp/shared/up", f"{path}/mlp/shared/down"))
    # both outputs before they are reduced; with one norm the inputs' gradients too
    added = shape.switches.parallel_residual and not divided
    if many(layout.tp):
        reduce, gather, scatter = _three(one, net, stack, layout.tp)
        for column, row in pairs:
            first = (column, row) == attention
            enters, leaves = first or not (added and shape.switches.shared_norm), not (added and first)
            # of the row's output gradient; of the input once more, under the input gradient; of that gradient, under the weight's
            again = Sent(TENSOR, gather, Cover(column, "backward"))
            behind = Cover(column, "backward", 1)
            if layout.sequence_parallel:
                forward += [Sent(TENSOR, gather, Cover(column, "forward"))] * enters
                forward += [Sent(TENSOR, scatter, Cover(row, "forward"))] * leaves
                backward += [Sent(TENSOR, gather)] * leaves + [again, Sent(TENSOR, scatter, behind)] * enters
            else:
                forward += [Sent(TENSOR, reduce, Cover(row, "forward"))] * leaves
                backward += [Sent(TENSOR, reduce, behind)] * enters
    if divided:
        there, back = _experts(one, net, stack, layout, shape, mlp)
        forward += there
        backward += back
    return {"forward": forward, "backward": backward}


def _experts(
    one: Local, net: Network, stack: "StackSpec", layout: Layout, shape: "Shape[Any]", mlp: tuple[str, str]
) -> tuple[list[Sent], list[Sent]]:
    """k copies of each token go to the ranks that have its experts, and their outputs come back; gradients go and come the same way.

    With sequence parallelism each tensor-parallel rank sends its own tokens and the copies are gathered where they arrive; without, each
    sends all of them, and what comes back is added up once (GShard: Lepikhin et al. 2020, arXiv:2006.16668; Megatron-LM,
    megatron/core/transformer/moe/token_dispatcher.py). Routing is taken as even.
    """
    t, k = layout.tp, shape.n_expert_per_token
    own = k / t if layout.sequence_parallel else k
    crossing = None if stack.dispatch_nodes is None else min(1.0, stack.dispatch_nodes / k)
    narrow = 1 if stack.dispatch_bytes is None else stack.dispatch_bytes / PRECISIONS[one.work.recipe.precision].compute
    out, home = (Sent(EXPERT, _of_hidden_state(one, net, "all_to_all", layout.ep, own * part, t, crossing)) for part in (narrow, 1))
    if not many(t):
        return [out, home], [out, home]
    column, row = mlp
    if not layout.sequence_parallel:
        reduce = Sent(TENSOR, _of_hidden_state(one, net, "all_reduce", t))
        return [out, home, reduce], [out, home, reduce]
    gather, scatter = (_of_hidden_state(one, net, name, t, k) for name in ("all_gather", "reduce_scatter"))
    forward = [out, Sent(TENSOR, gather, Cover(column, "forward")), Sent(TENSOR, scatter, Cover(row, "forward")), home]
    return forward, [out, Sent(TENSOR, gather), Sent(TENSOR, scatter, Cover(column, "backward", 1)), home]


def cover_of(
    sent: Sent,
    phase: str,
    matmuls: Mapping[tuple[str, str], list[Quantity]],
    layers: Mapping[tuple[str, str], Quantity],
    stack: "StackSpec",
) -> Quantity:
    """Seconds of computing that a collective can hide under: of the matmul beside it, or of half a layer for each of two exchanges."""
    if sent.kind == EXPERT:
        return stack.overlap.expert * layers[sent.block, phase] / 2
    if sent.cover is None:
        return 0.0
    found = matmuls.get((sent.cover.path, sent.cover.phase), [])
    share = stack.overlap.tensor_backward if sent.cover.phase == "backward" else stack.overlap.tensor_forward
    return share * found[sent.cover.which] if len(found) > sent.cover.which else 0.0
