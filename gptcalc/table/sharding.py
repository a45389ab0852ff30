"""One device's share of a model: which of its numbers are divided by which parallel size, and what cannot be divided.

t tensor parallel, p pipeline stages, v interleaved chunks a stage, c context parallel, D data parallel. Of the D times c ranks with the
same weights g divide the experts (expert parallel): each has all tokens of 1/g of them, as many as before where routing is even.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.spec.legality import stage_sizes
from gptcalc.spec.options import check_word
from gptcalc.spec.recipe import Layout
from gptcalc.spec.shape import Shape
from gptcalc.symbols import ceiling, differ, is_one, maximum, minimum, pick
from gptcalc.table.sublayers import sublayers_of

VOCABULARY_MULTIPLE = 128
"""Megatron-LM pads the vocabulary to a multiple of this times t (megatron/training/arguments.py, make_vocab_size_divisible_by)."""

ROLES = ("first", "middle", "last", "only")


class Shard(NamedTuple):
    """`shape` holds a rank's own heads, widths, vocabulary rows and layers; `padding` is vocabulary rows that no token has."""

    shape: Shape[Any]
    padding: Any
    seq: Any  # tokens of a sequence that this rank has
    seq_outside: Any  # ... outside the tensor-parallel regions (divided again by sequence parallelism)
    layers_in_flight: Any  # layers whose activations stand at once, each for one micro-batch
    batches_in_flight: Any  # micro-batches that the first layer of the stage has seen, and the last has not given back
    role: str


def stage_layers(layers: Sequence[str], p: int, v: int, stage: int) -> tuple[str, ...]:
    """The kinds of the layers of one stage, counted from 0: of v chunks every p-th from its own, else a run of ceil(L/p).

    Where layers do not divide every run is as long as the longest, and the last one ends with the model.

    >>> stage_layers("abcdefgh", 2, 2, 1)
    ('c', 'd', 'g', 'h')
    >>> stage_layers("abcde", 2, 1, 1)
    ('c', 'd', 'e')
    """
    if v > 1:
        size = ceiling(len(layers), p * v)
        missing = size * p * v - len(layers)
        starts = [chunk * size for chunk in range(p * v)] + [len(layers)]
        if missing == 2:  # from the ends: every later chunk begins a layer sooner
            starts[1:-1] = [start - 1 for start in starts[1:-1]]
        elif missing:  # from the last stage's chunks, the last of them first
            lengths = [size] * (p * v)
            for chunk in range(p * v - 1, -1, -p):
                lengths[chunk] -= (short := min(missing, size))
                missing -= short
            starts = [sum(lengths[:chunk]) for chunk in range(p * v + 1)]
        return tuple(layer for chunk in range(stage, p * v, p) for layer in layers[starts[chunk] : starts[chunk + 1]])
    size = ceiling(len(layers), p)
    start = min(stage * size, len(layers) - size)
    return tuple(layers[start : start + size])


def stage_of(role: str, p: int) -> int:
    """The number of a stage of a role: of the middle ones the second, which has most micro-batches in flight."""
    return {"first": 0, "middle": 1, "last": p - 1, "only": 0}[role]


def shard_of(shape: Shape[Any], layout: Layout, seq: Any, role: str, *, pad: Any, layers: Sequence[str] = ()) -> Shard:
    """What one device of a stage of this role has; `layers` are the kinds of all layers, where they differ.

    The first stage of 1F1B holds as many micro-batches as there are stages (Narayanan et al. 2021, arXiv:2104.04473, 2.2), so the
    activations of L layers whatever p is; interleaving multiplies them by 1 + (p - 1)/(p·v) (Korthikanti et al. 2022, 4.2.3).

    Raises GptcalcError for every division that leaves a rest, naming both numbers.
    """
    t, c = layout.tp, layout.cp
    if shape.kinds and not (isinstance(layout.pp, int) and isinstance(layout.virtual_stages, int)):
        raise GptcalcError("arrays of pipeline sizes need layers that are all alike", hint="give one number of stages at a time")
    rows = shape.vocab_size
    multiple = VOCABULARY_MULTIPLE * t
    padded = pick(pad, ceiling(rows, multiple) * multiple, rows)
    seq_local = seq if is_one(c) else seq // c
    outside = seq_local // t if layout.sequence_parallel and not is_one(t) else seq_local
    v = layout.virtual_stages
    first, middle, last = stage_sizes(shape.n_layer, layout.pp, v)
    own = {"first": first, "middle": middle, "last": last, "only": middle}[role]
    divided: dict[str, Shape[Any]] = {"": shape} | dict(shape.kinds)
    if not is_one(t):
        divided = {name: reduce(lambda own, one: one.divided(own, t), sublayers_of(kind), kind) for name, kind in divided.items()}
    kinds = tuple((name, divided[name]) for name, _ in shape.kinds)
    if kinds and layout.pp != 1:
        here = stage_layers(layers, layout.pp, layout.virtual_stages, stage_of(role, layout.pp))
        kinds = tuple((name, kind._replace(n_layer=here.count(name))) for name, kind in kinds)
    local = _as_in_kinds(divided[""], shape, kinds)._replace(n_layer=own, vocab_size=pick(pad, padded // t, rows), kinds=kinds)
    chunks = _in_flight(layout, role)
    chunk_layers = ceiling(shape.n_layer, layout.pp * v)
    short = _missing_in_flight(layout, role, v * chunk_layers - own, chunk_layers)
    batches = 1 if role == "only" else {"first": layout.pp, "middle": layout.pp - 1, "last": 1}[role]
    return Shard(local, padded - rows, seq_local, outside, chunks * chunk_layers - short, batches, role)


def _as_in_kinds(main: Shape[Any], shape: Shape[Any], kinds: Sequence[tuple[str, Shape[Any]]]) -> Shape[Any]:
    """The numbers beside the kinds: a letter that all kinds share stands for what the kinds that use it have of it."""
    shared: dict[str, Any] = {}
    for (_, before), (_, after) in zip(shape.kinds, kinds, strict=True):
        for name in ("n_head", "n_kv_head", "d_ff", "d_expert", "d_shared_expert"):
            old, new, mine = getattr(before, name), getattr(after, name), getattr(main, name)
            if not differ(old, getattr(shape, name)) and differ(new, old) and not differ(mine, old):
                shared[name] = new
    return main._replace(**shared)


def _in_flight(layout: Layout, role: str) -> Any:
    """Chunks of layers whose activations a stage holds at once; without interleaving a chunk is the stage.

    Rank r of p warms up with p - r - 1 micro-batches, or 2(p - r - 1) + (v - 1)p chunks where stages are interleaved, and holds one more.
    """
    p, v = layout.pp, layout.virtual_stages
    if role == "only":
        return 1
    behind = {"first": p - 1, "middle": p - 2, "last": 0}[role]
    chunks = pick(v == 1, behind + 1, 2 * behind + (v - 1) * p + 1)
    return chunks if layout.micro_batches is None else minimum(chunks, layout.micro_batches * v)


def _missing_in_flight(layout: Layout, role: str, missing: Any, chunk: Any) -> Any:
    """Layers fewer in flight where a stage has `missing` ones: of the first stage its first chunk is short, which is in flight for
    2p - 1 micro-batches; of the last its last chunk, for one, and then those before it, for p each."""
    p = layout.pp
    if role == "first":
        often = 2 * p - 1
        return missing * (often if layout.micro_batches is None else minimum(often, layout.micro_batches))
    once = minimum(missing, chunk)
    return once + (missing - once) * p if role == "last" else 0


def roles_of(layout: Layout) -> tuple[str, ...]:
    """The kinds of stage that a pipeline has; arrays of sizes have all three."""
    if not isinstance(layout.stage, str) or layout.stage != "worst":
        check_word("stage", layout.stage, (*ROLES[:3], "worst"))
        if is_one(layout.pp):
            raise GptcalcError(
                f"stage '{layout.stage}' of 1 pipeline stage: there is one stage only", hint="leave --stage out, or give --pp"
            )
        if layout.stage == "middle" and isinstance(layout.pp, int) and layout.pp == 2:
            raise GptcalcError("2 pipeline stages have no middle stage: a first and a last one")
        return (layout.stage,)
    if is_one(layout.pp):
        return ("only",)
    return ("first", "last") if isinstance(layout.pp, int) and layout.pp == 2 else ("first", "middle", "last")


def on_stage(path: str, role: str) -> bool:
    """Whether a stage has an operation: the embedding is on the first, the head and the final norm on the last."""
    if path.startswith("block"):
        return True
    if path.startswith("embedding/"):
        return role in ("first", "only")
    return role in ("last", "only")


def shards_of(layout: Layout) -> Any:
    """Over how many of the ranks with the same weights ZeRO-3 divides them: all, or those that stand in one node or slice.

    >>> shards_of(Layout(tp=2, dp=512)), shards_of(Layout(tp=2, dp=512, shard_within=256))
    (512, 128)
    """
    replicas = layout.dp * layout.cp
    return replicas if layout.shard_within is None else minimum(replicas, maximum(1, layout.shard_within // layout.tp))
