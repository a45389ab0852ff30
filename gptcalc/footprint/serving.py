"""Memory of serving a model on one device: weights as they are quantized, the keys and values of every token, and one pass's activations.

B sequences of C tokens; other letters in `spec.shape`. On one of t tensor-parallel ranks H, K, F and V are the rank's own.
"""

from typing import Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.footprint.breakdown import fullest, mixed, nodes
from gptcalc.footprint.quantized import AsStored, as_stored
from gptcalc.node import Node
from gptcalc.spec.cache import CACHE_LAYOUTS, LEAST, CacheLayout, cache_layout
from gptcalc.spec.letters import symbolic
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.options import check_word
from gptcalc.spec.recipe import Layout
from gptcalc.spec.shape import Shape, shape_of
from gptcalc.symbols import Symbol, ceiling, is_one, maximum, minimum, product, quotient
from gptcalc.table.operations import operations
from gptcalc.table.sharding import on_stage, roles_of, shard_of
from gptcalc.table.sublayers import Kept, sublayers_of


class Stored(NamedTuple):
    """How one weight is stored: bits an element, scale bits and elements that share a scale (0: a row of the matrix)."""

    bits: int
    scale_bits: int = 0
    group: int | None = None


class Cached(NamedTuple):
    """How the cache is stored: bits of an element, tokens of a page, and what is kept."""

    bits: int
    block: int
    layout: CacheLayout


STORED = "stored"
"""The precision of a quantized model's own file: see `quantized`. What the file leaves as it is has 16 bits."""

WEIGHTS = {
    "fp32": Stored(32),
    "tf32": Stored(32),
    "fp16": Stored(16),
    "bf16": Stored(16),
    "amp-fp16": Stored(32),
    "amp-bf16": Stored(32),
    "fp8": Stored(8, 32, 128 * 128),  # DeepSeek-AI 2024, arXiv:2412.19437, 3.3.2: an fp32 scale for each 128 x 128 block
    "int8": Stored(8, 16, 0),  # Dettmers et al. 2022, arXiv:2208.07339: an fp16 scale for each row
    "int4": Stored(4, 20, 128),  # Frantar et al. 2022 (GPTQ), arXiv:2210.17323: an fp16 scale and a 4-bit zero for each group of 128
    "fp4": Stored(4, 8, 16),  # NVFP4: an fp8 scale for 16 values (NVIDIA 2025, Introducing NVFP4)
}
"""Only the matrices of the blocks are quantized; embeddings, head, norms and biases stay in 16 bits, as GPTQ, AWQ and vLLM keep them."""

MOST_PREFILL = 8192
"""Prompt tokens that a server reads in one pass, unless a single prompt is longer: SGLang's chunked_prefill_size and vLLM's
max_num_batched_tokens are so many by default on GPUs of 80 GB; transformers reads a prompt whole."""

CACHE_BITS = {"fp32": 32, "fp16": 16, "bf16": 16, "fp8": 8, "int8": 8, "int4": 4}


class Serving(NamedTuple):
    """`bill` is the peak: weights, KV cache, activations."""

    breakdown: Node[Any]
    letters: dict[str, Any]  # what the formulas' letters stand for
    whole_cache: Any  # bytes of the cache of an engine that keeps what no window sees any more
    least_cache: Any  # bytes of what attention reads again

    @property
    def value(self) -> Any:
        """The peak."""
        return self.breakdown.value


def serving_memory(
    model: ModelSpec,
    batch: Any,
    seq: Any,
    precision: str,
    kv_precision: str | None,
    layout: Layout,
    *,
    group_size: int | None = None,
    block_size: int = 1,
    prefill: Any = None,
    layout_of_cache: str | None = None,
) -> Serving:
    """What serving `batch` sequences of `seq` tokens each (prompt and answer) takes on the fullest device.

    `block_size` tokens of cache are allotted at a time (paging), as `layout_of_cache` says (`spec.cache`); `prefill` tokens
    are in one pass at most (where left out, what `one_pass` takes of `batch` prompts of `seq`).

    Units: bytes.   Raises: GptcalcError for unknown precisions and impossible divisions.   Source: in each part.
    """
    if precision == STORED and group_size is not None:
        raise GptcalcError(f"a group size of {group_size} means nothing for weights as they are stored", hint="give --precision int4")
    stored = Stored(16) if precision == STORED else stored_as(precision, group_size)
    file = _file_of(model, layout) if precision == STORED else None
    kv = cache_precision(precision, kv_precision)
    shape: Shape[Any] = shape_of(model)
    if model.own_embedding is not None and layout.pp != 1:
        raise GptcalcError(f"which pipeline stage of {model.name} has its embeddings of each layer is not known", hint="leave out --pp")
    sizes = Cached(CACHE_BITS[kv], block_size, cache_layout(layout_of_cache))
    pad = not is_one(layout.tp)
    tokens = one_pass(batch, seq) if prefill is None else minimum(prefill, product((batch, seq)))
    found = []
    for role in roles_of(layout):
        shard = shard_of(shape, layout, seq, role, pad=pad, layers=model.layers)
        items = _items(shard.shape, role, batch, seq, tokens, stored, sizes, file)
        if role in ("first", "only"):
            items |= {f"weights/{tower.name}": in_bytes(max(stored.bits, 16), tower.parameters) for tower in model.towers}
        letters = symbolic(shape, identities=layout.tp == 1 and layout.pp == 1)
        numbers = shard.shape.letters | {"B": batch, "C": seq, "N": tokens}
        B, C = Symbol.letter("B"), Symbol.letter("C")
        text = _items(letters, role, B, C, Symbol.letter("N"), stored, sizes, file)
        breakdown = nodes("serving", {path: (size, text.get(path)) for path, size in items.items()})
        least, whole = (
            kv_cache(shard.shape, batch, seq, kv_bits=sizes.bits, block=block_size, windows=windows) for windows in (True, False)
        )
        found.append(Serving(breakdown, numbers, whole, least))
    _, index = fullest([one.value for one in found])
    if isinstance(index, int):
        return found[index]
    breakdowns = [{path: node.value for path, node in one.breakdown.leaves()} for one in found]
    return found[0]._replace(breakdown=mixed("serving", breakdowns, index)) if len(found) > 1 else found[0]


def one_pass(batch: Any, prompt: Any) -> Any:
    """The most prompt tokens in one pass of a server that reads `batch` prompts.

    >>> one_pass(1, 30720), one_pass(64, 4096), one_pass(2, 512)
    (30720, 8192, 1024)
    """
    return minimum(product((batch, prompt)), maximum(MOST_PREFILL, prompt))


def stored_as(precision: str, group_size: int | None) -> Stored:
    """How a precision stores weights.

    Raises GptcalcError for one that none does, and for a group size where there are no groups.
    """
    check_word("precision", precision, WEIGHTS)
    stored = WEIGHTS[precision]
    if group_size is None:
        return stored
    if precision != "int4":
        raise GptcalcError(
            f"a group size of {group_size} means nothing with precision {precision}", hint="int4 has groups, of 128 as a rule"
        )
    return stored._replace(group=group_size)


def group_of(precision: str, group_size: int | None) -> int | None:
    """Elements that share a scale; None where there are no scales, or one for each row, or what the file has."""
    return None if precision == STORED else stored_as(precision, group_size).group or None


def cache_precision(precision: str, kv_precision: str | None) -> str:
    """The type of the cache: that of fp32 and fp16 weights and bf16 beside others, unless it is given.

    Raises GptcalcError for one that there is not.
    """
    if kv_precision is None:
        return "fp32" if precision != STORED and stored_as(precision, None).bits == 32 else "fp16" if precision == "fp16" else "bf16"
    check_word("cache precision", kv_precision, CACHE_BITS)
    return kv_precision


def _file_of(model: ModelSpec, layout: Layout) -> AsStored:
    """How the model's file stores it.

    Raises GptcalcError for pipeline stages of layers that are not stored alike: which stage has which is not known.
    """
    file = as_stored(model)
    if layout.pp != 1 and not file.alike:
        raise GptcalcError(
            "pipeline stages of layers that are not quantized alike are not counted: which stage has which is not known",
            hint="leave out --pp, or give --precision",
        )
    return file


def _items(
    s: Shape[Any],
    role: str,
    batch: Any,
    seq: Any,
    tokens: Any,
    stored: Stored,
    cached: Cached,
    file: AsStored | None,
) -> dict[str, Any]:
    items: dict[str, Any] = {}
    for row in operations(s, 1, 1, 1):
        if not on_stage(row.path, role):
            continue
        for name, shape in row.weights:
            if file is not None:
                path = f"weights/{row.path}"
                items[path] = items.get(path, 0) + file.size(row, name, shape)
                continue
            quantized = row.in_block and row.kind == "matmul" and name == "weight"
            items |= _weight(
                f"weights/{row.path}", items, row.runs, shape, stored if quantized else Stored(max(stored.bits, 16)), quantized
            )
    if s.switches.tied and role == "last":
        copy = next(row for row in operations(s, 1, 1, 1) if row.path == "embedding/token")
        sizes = (
            in_bytes(max(stored.bits, 16), product((s.vocab_size, s.d_embedding))) if file is None else file.size(copy, *copy.weights[0])
        )
        items["weights/head/output"] = sizes
    width = 4 if stored.bits == 32 else 2
    items["kv cache"] = kv_cache(s, batch, seq, kv_bits=cached.bits, block=cached.block, layout=cached.layout)
    if any(kind.mixer is not None for _, kind in s.blocks):
        items["state"] = state(s, batch, width=cached.layout.state or width)
    items |= _activations(s, role, batch, tokens, width)
    return items


def _weight(path: str, items: dict[str, Any], runs: Any, shape: Any, stored: Stored, quantized: bool) -> dict[str, Any]:
    elements = product((runs, *shape))
    found = {path: items.get(path, 0) + in_bytes(stored.bits, elements)}
    if quantized and stored.group is not None:
        groups = product((runs, *shape[:-2], shape[-1])) if stored.group == 0 else ceiling(elements, stored.group)
        scales = path.replace("weights/", "weights/scales/")
        found[scales] = items.get(scales, 0) + in_bytes(stored.scale_bits, groups)
    return found


def kv_cache(
    s: Shape[Any],
    batch: Any,
    seq: Any,
    *,
    kv_bits: int = 16,
    block: int = 1,
    windows: bool = True,
    layout: CacheLayout = CACHE_LAYOUTS[LEAST],
) -> Any:
    """Keys and values of every token that can still be seen: 2·L·K·Q elements a token, of the kv heads, not the heads.

    Latent attention keeps the latent and the rotated channels that all heads share, whole on every device. Each kind of block has its own
    window, and its own cache, of which `layout` says what is kept; without `windows` all of it. A decoder's layers also
    keep what they read of the encoder, counted as long as the sequence.

    Units: bytes.   Source: Shazeer 2019, arXiv:1911.02150; Kwon et al. 2023 (paging), arXiv:2309.06180; DeepSeek-AI 2024,
    arXiv:2405.04434, section 2.1.

    >>> from gptcalc.spec.files import load_model
    >>> kv_cache(shape_of(load_model("gpt3-175b")), 1, 2048) / 2**30
    9.0
    >>> kv_cache(shape_of(load_model("llama2-70b")), 1, 4096) / 2**30
    1.25
    """
    layout = layout if windows else layout._replace(windows="whole")
    return sum((_cache_of_kind(kind, batch, seq, kv_bits, block, layout) for _, kind in s.blocks), 0)


def _cache_of_kind(s: Shape[Any], batch: Any, seq: Any, kv_bits: int, block: int, layout: CacheLayout) -> Any:
    if s.switches.compressed_attention:
        return _cache_of_entries(s, batch, seq, layout.kept(seq, s.sliding_window, block, chunks=False), kv_bits)
    total: Any = 0
    for kept in _kept(s):
        if isinstance(kept.token, int) and not kept.token:
            continue
        seen = layout.kept(seq, kept.window, block, chunks=s.switches.window_chunks)
        each = s.d_attention + s.d_mixed if layout.expanded and s.switches.latent else kept.token
        total = total + in_bytes(kv_bits, product((s.n_layer, each, batch, seen)))
    return total


def state(s: Shape[Any], batch: Any, *, width: int = 2) -> Any:
    """What recurrences and convolutions keep of `batch` sequences, however long they are; elements that are not in fp32 have `width` bytes.

    Units: bytes.   Source: the sublayers' own (`table.sublayers`).
    """
    total: Any = 0
    for _, kind in s.blocks:
        for kept in _kept(kind):
            if not (isinstance(kept.sequence, int) and not kept.sequence):
                total = total + product((4 if kept.fp32 else width, kind.n_layer, batch, kept.sequence))
    return total


def _kept(s: Shape[Any]) -> list[Kept]:
    return [kept for one in sublayers_of(s) for kept in one.state(s)]


def _cache_of_entries(s: Shape[Any], batch: Any, seq: Any, seen: Any, kv_bits: int) -> Any:
    """DeepSeek V4: one key of each token that the window still has, and all entries; of the tokens that are no entry yet what will be one,
    and where entries overlap the last one's half, whose gates are in fp32. The indexer has entries of its own.
    """
    if not s.switches.compressed:
        return in_bytes(kv_bits, product((s.n_layer, s.d_kv, batch, seen)))
    made, waiting = quotient(seq, s.compression)
    width = s.d_kv + s.d_index_head
    if not s.switches.indexer:
        return in_bytes(kv_bits, product((s.n_layer, batch, s.d_kv * (seen + made + 2 * waiting))))
    overlap = s.compression * minimum(made, 1)
    halves = 4 * product((s.n_layer, batch, width, overlap))  # the gates
    return in_bytes(kv_bits, product((s.n_layer, batch, s.d_kv * seen + width * (made + 4 * waiting + overlap)))) + halves


def _activations(s: Shape[Any], role: str, batch: Any, tokens: Any, width: int) -> dict[str, Any]:
    """The fullest moment of a pass: the residual stream beside what the MLP or the attention holds at once, or the head's logits.

    The head runs on the last token of each sequence only; sampling reads its logits in fp32.
    """
    first, *rest = (_widest(kind) for _, kind in s.blocks)
    widest = first
    for other in rest:
        widest = maximum(widest, other)
    streams = 1 + s.n_stream if s.switches.streams else 2
    block = width * product((tokens, streams * s.d_model + widest))
    if role not in ("last", "only"):
        return {"activations/block": block}
    logits = (width + 4) * product((batch, s.vocab_size))
    return {"activations/block": block, "activations/logits of the last tokens": logits}


def _widest(s: Shape[Any]) -> Any:
    """Channels of a token that one sublayer of a block holds at once, the widest of them."""
    first, *rest = (one.width(s) for one in reversed(sublayers_of(s)))
    for other in rest:
        first = maximum(first, other)
    return first


def in_bytes(bits: int, elements: Any) -> Any:
    """The bytes of so many elements of so many bits.

    >>> in_bytes(16, 10), in_bytes(4, 5)
    (20, 3)
    """
    return (bits // 8) * elements if bits % 8 == 0 else ceiling(bits * elements, 8)


def largest(fits: Any, limit: int = 2**40) -> int:
    """The largest whole number that fits, by doubling and halving; 0 where not even 1 does.

    >>> largest(lambda n: n * n <= 50)
    7
    """
    low, high = 0, 1
    while high <= limit and fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
