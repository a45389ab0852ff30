"""The forward pass of any `ModelSpec`, in plain NumPy, float32 or float64. Executes the spec; reads no formula.

B sequences, T tokens (queries), C keys (the same T), d width, H heads, K key-value heads, Q width of a head, F width of the MLP,
V vocabulary, e width of the embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from gptcalc.errors import GptcalcError
from gptcalc.reference.attention import attention, hidden_keys
from gptcalc.reference.cache import Cache, Kept, can_be_cached
from gptcalc.reference.kernels import ACTIVATIONS, softcap, unbuffered
from gptcalc.reference.mixers import mixer
from gptcalc.reference.mlp import mlp, mlp_beside_experts
from gptcalc.reference.parts import Context, Parts, linear, norm, residual
from gptcalc.reference.positions import alibi, rotary_tables, sinusoids
from gptcalc.reference.tally import Array, Tally, at, path_of
from gptcalc.reference.weights import LABELS, UNNORMED, Weights, check_weights, random_weights
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.shape import block_path, shape_of

Progress = Callable[[int, int], None]
"""Called after each layer with the number of layers done and of all layers."""


@unbuffered()
def forward(
    spec: ModelSpec,
    weights: Weights,
    tokens: ArrayLike,
    tally: Tally | None = None,
    progress: Progress | None = None,
    source: ArrayLike | None = None,
    cache: Cache | None = None,
) -> Array:
    """Logits of the next token at every position: [B, T] ints -> [B, T, V], in the weights' dtype.

    `tally`, where given, receives the FLOP of every operation and the parameters held. V counts padding rows of the vocabulary too.
    `source`, [B, S] ints, is what the encoder reads in a model that has one. `cache` has what is kept of the tokens of earlier calls, which
    these follow, and takes theirs.
    Raises GptcalcError for weights that do not fit the spec, tokens outside the vocabulary, and sequences longer than n_ctx.

    >>> from gptcalc.spec.model import parse_model
    >>> tiny = parse_model({"name": "tiny", "n_layer": 2, "d_model": 8, "n_head": 2, "vocab_size": 16, "n_ctx": 4})
    >>> forward(tiny, random_weights(tiny, seed=0), [[3, 1, 4]]).shape
    (1, 3, 16)
    """
    check_weights(spec, weights)
    start = 0 if cache is None else cache.length
    ids = _checked_tokens(spec, tokens, room=start)
    rest, layers = _by_layer(weights, spec.n_layer)
    if spec.query_scale_from is not None and start + ids.shape[1] > spec.query_scale_from:
        scaled = f"{spec.name} scales queries from position {spec.query_scale_from} on, unlike this pass"
        raise GptcalcError(f"{start + ids.shape[1]} tokens cannot be run: {scaled}")
    if tally is not None:
        tally.hold(weights)
    kinds = spec.kinds or {"": spec}
    stack = list(enumerate(spec.layers or [""] * spec.n_layer))
    encoder = [(number, kind) for number, kind in stack if not kinds[kind].causal]
    decoder = stack[len(encoder) :]
    if bool(encoder) != (source is not None):
        raise GptcalcError("source is the sequence that an encoder reads: a model with an encoder needs it, no other has a use for it")

    def run(x: Array, numbered: list[tuple[int, str]], memory: Array | None) -> Array:
        picks: list[Array] = []
        shared: dict[int | None, tuple[Array, Array, int]] = {}
        own = _per_layer(spec, rest, x, ids) if spec.own_embedding is not None else None  # [B, T, L, p]
        contexts = {
            kind: _context(kind, kinds[kind], start, x.shape[1], x.dtype)._replace(picks=picks, shared=shared)
            for kind in {kind for _, kind in numbered}
        }
        for number, kind in numbered:
            kept = None if cache is None else cache.layers[number]
            x = block(x, layers[number], contexts[kind], memory, kept, None if own is None else own[:, :, number])  # [B, T, d] -> [B, T, d]
            if progress is not None:
                progress(number + 1, len(layers))
        return x

    memory = run(_embedded(spec, rest, _checked_tokens(spec, source), tally), encoder, None) if source is not None else None
    x = run(_embedded(spec, rest, ids, tally, start), decoder, memory)
    if cache is not None:
        cache.length += ids.shape[1]

    if spec.final_norm:
        x = norm(x, rest, "final_norm", spec)
    if spec.d_embedding is not None and spec.head_transform == "none":
        x = linear(x, rest, "head/project_out")  # [B, T, d] -> [B, T, e]
    if spec.head_transform != "none":
        x = linear(x, rest, "head/transform")  # [B, T, d] -> [B, T, o]
        at(x, "head/activation")
        ACTIVATIONS[spec.head_transform](x)
        x = norm(x, rest, "head/norm", spec)
    head = {"weight": rest["embedding/token"]["weight"].T} | rest.get("head/output", {})
    logits = linear(x, {"head/output": head}, "head/output")  # [B, T, o] -> [B, T, V]
    if spec.logit_scale != 1:
        logits *= spec.logit_scale
    if spec.logit_softcap is not None:
        softcap(logits, spec.logit_softcap)
    return logits.view(np.ndarray)


def _embedded(spec: ModelSpec, parts: Parts, ids: Array, tally: Tally | None, start: int = 0) -> Array:
    """[B, T] -> [B, T, e] -> [B, T, d], with positions where they are added here."""
    x = parts["embedding/token"]["weight"][ids]
    if tally is not None:
        x = tally.counted(x)
    if spec.embedding_scale != 1:
        at(x, "embedding/scale")
        x *= spec.embedding_scale
    if spec.d_embedding is not None and not spec.projected_last:
        x = linear(x, parts, "embedding/project_in")
    T, shape = ids.shape[1], shape_of(spec)
    at(x, "embedding/position")
    if spec.position == "learned":
        first = start + shape.n_position - spec.n_ctx  # OPT's table has two rows before position 0
        x += parts["embedding/position"]["weight"][first : first + T]
    if spec.position == "sinusoidal":
        x += sinusoids(start + T, x.shape[-1], x.dtype)[start:]
    if spec.n_token_type is not None:
        at(x, "embedding/token_type")
        x += parts["embedding/token_type"]["weight"][0]
    if spec.embedding_norm:
        x = norm(x, parts, "embedding/norm", spec)
    return linear(x, parts, "embedding/project_in") if spec.d_embedding is not None and spec.projected_last else x


def block(
    x: Array, layer: Parts, context: Context, memory: Array | None = None, kept: Kept | None = None, own: Array | None = None
) -> Array:
    """One layer: its sublayers, each with its norms and its residual sum, one after the other or side by side.

    A second attention reads `memory`, an encoder's output, where there is one. `own` [B, T, p] is the layer's own embedding of the tokens,
    where layers have one.

    [B, T, d] -> [B, T, d]
    """
    spec, path = context.spec, context.path

    def before(x: Array, sublayer: str) -> Array:
        return (
            x if spec.norm_placement in ("post", *UNNORMED.get(sublayer, ("output",))) else norm(x, layer, f"{path}/{sublayer}/norm", spec)
        )

    def add(x: Array, change: Array, sublayer: str) -> Array:
        if spec.norm_placement in ("sandwich", "output") or (spec.norm_placement, sublayer) == ("mlp_sandwich", "mlp"):
            change = norm(change, layer, f"{path}/{sublayer}/output_norm", spec)
        x = residual(x, change, f"{path}/{sublayer}/residual", spec)
        return norm(x, layer, f"{path}/{sublayer}/norm", spec) if spec.norm_placement == "post" else x

    for group in context.shape.stack:
        source, shared = x, None
        for name in group:
            if name == "idle_cross_attention":
                continue
            label = LABELS.get(name, name)
            read = shared if shared is not None and spec.shared_norm else before(source, label)
            shared = read
            if name == "mlp_beside_experts":
                x = add(x, mlp_beside_experts(source, read, layer, context), label)
            else:
                x = add(x, _sublayer(name, read, layer, context, memory, kept), label)
    return _closed(x, layer, context, own)


def _sublayer(name: str, x: Array, layer: Parts, context: Context, memory: Array | None, kept: Kept | None) -> Array:
    if name in ("attention", "latent_attention"):
        return attention(x, layer, context, kept=kept)
    if name == "cross_attention":
        assert memory is not None
        return attention(x, layer, context, memory)
    return mlp(x, layer, context) if name in ("mlp", "experts") else mixer(name).mix(x, layer, context, kept)


def _closed(x: Array, layer: Parts, context: Context, own: Array | None) -> Array:
    """The end of a layer that mixes its own embedding of each token in, or scales what it puts out."""
    spec, path = context.spec, f"{context.path}/per_layer"
    if own is not None:
        gate = linear(x, layer, f"{path}/gate")  # [B, T, d] -> [B, T, p]
        at(x, f"{path}/activation")
        ACTIVATIONS[spec.activation](gate)
        at(x, f"{path}/product")
        gate *= own
        mixed = norm(linear(gate, layer, f"{path}/projection"), layer, f"{path}/norm", spec)  # [B, T, p] -> [B, T, d]
        x = residual(x, mixed, f"{path}/residual", spec)
    if spec.block_scaled:
        at(x, f"{context.path}/mlp/scale")
        x *= layer.get(f"{context.path}/mlp/scale", {}).get("scalar", 1.0)
    return x


def _per_layer(spec: ModelSpec, parts: Parts, x: Array, ids: Array) -> Array:
    """Each token's embeddings for all layers, of a table and of the embedding x: [B, T], [B, T, d] -> [B, T, L, p]."""
    assert spec.own_embedding is not None
    path, p = "embedding/per_layer", spec.own_embedding.width
    shape = (*ids.shape, spec.n_layer, p)
    projected = linear(x, parts, f"{path}/projection")  # [B, T, d] -> [B, T, L*p]
    projected *= spec.d_model**-0.5
    projected = norm(projected.reshape(shape), parts, f"{path}/norm", spec)
    at(x, f"{path}/token")
    looked_up = np.multiply(parts[f"{path}/token"]["weight"][ids].reshape(shape), np.asarray(p**0.5, x.dtype), out=np.empty_like(projected))
    at(x, f"{path}/sum")
    projected += looked_up
    projected *= 2**-0.5
    return projected


def _context(kind: str, spec: ModelSpec, start: int, queries: int, dtype: DTypeLike) -> Context:
    """What the layers of one kind share for the queries from `start` on; `spec` is the kind's own."""
    shape, length = shape_of(spec), start + queries
    rotary = rotary_tables(spec, shape, length, dtype).of_positions(start) if spec.position == "rotary" else None
    bias = alibi(shape.n_head, length, dtype) if spec.position == "alibi" else None
    hidden = hidden_keys(length, shape.sliding_window, spec.window_chunks)[start:] if spec.causal else None
    index_rotary = None
    if spec.indexer is not None:
        paired = spec.model_copy(update={"rotary_pairs": spec.indexer.rotary_pairs})
        index_rotary = rotary_tables(paired, shape, length, dtype).of_positions(start)
    return Context(block_path(kind), spec, shape, hidden, rotary, bias, index_rotary=index_rotary)


def generate(spec: ModelSpec, weights: Weights, tokens: ArrayLike, n_new: int) -> Array:
    """Append the likeliest next token n_new times: [B, T] -> [B, T + n_new]. Each pass has the last token alone, where a cache can be kept.

    Raises GptcalcError as `forward` does, and for a negative n_new.
    """
    if n_new < 0:
        raise GptcalcError(f"n_new {n_new} is below zero")
    ids = _checked_tokens(spec, tokens, room=n_new)
    cache = Cache(spec) if can_be_cached(spec) else None
    for _ in range(n_new):
        unread = ids if cache is None else ids[:, cache.length :]
        last = forward(spec, weights, unread, cache=cache)[:, -1, : spec.vocab_size]  # padding rows of the vocabulary are no tokens
        ids = np.concatenate([ids, last.argmax(axis=-1)[:, None]], axis=1)
    return ids


def count(spec: ModelSpec, batch: int, seq: int, dtype: DTypeLike = np.float32, progress: Progress | None = None) -> Tally:
    """Run random weights on random tokens, `batch` sequences of `seq` tokens, and count: parameters, and FLOP by operation.

    Raises GptcalcError for sequences longer than n_ctx.

    >>> from gptcalc.spec.model import parse_model
    >>> tiny = parse_model({"name": "tiny", "n_layer": 2, "d_model": 8, "n_head": 2, "vocab_size": 16, "n_ctx": 4})
    >>> tally = count(tiny, batch=1, seq=3)
    >>> tally.parameters["embedding/token"], tally.matmul["head/output"], tally.other["block/mlp/residual"]
    (128, 768, 48)
    """
    tokens = np.random.default_rng(0).integers(spec.vocab_size, size=(batch, seq))
    source = tokens if any(not kind.causal for kind in spec.kinds.values()) else None
    tally = Tally()
    forward(spec, random_weights(spec, seed=0, dtype=dtype), tokens, tally, progress, source)
    return tally


def _by_layer(weights: Weights, n_layer: int) -> tuple[Parts, list[Parts]]:
    """The arrays outside the layers, and those of each layer, by path."""
    rest: Parts = {}
    layers: list[Parts] = [{} for _ in range(n_layer)]
    for name, array in weights.items():
        parts = layers[int(name.split(".")[1])] if name.startswith("block") else rest
        parts.setdefault(path_of(name), {})[name.rsplit(".", 1)[1]] = array
    return rest, layers


def _checked_tokens(spec: ModelSpec, tokens: ArrayLike, room: int = 0) -> Array:
    try:
        ids: np.ndarray[Any, Any] = np.asarray(tokens)
    except ValueError:  # rows of different lengths
        raise GptcalcError("tokens are a table of whole numbers, all sequences of one length") from None
    if ids.ndim != 2 or 0 in ids.shape or not np.issubdtype(ids.dtype, np.integer):
        raise GptcalcError(f"tokens are a table [B, T] of whole numbers, not an array of shape {ids.shape} and dtype {ids.dtype}")
    if ids.min() < 0 or ids.max() >= spec.vocab_size:
        raise GptcalcError(f"token {ids.max() if ids.min() >= 0 else ids.min()} is outside the vocabulary of {spec.vocab_size}")
    if ids.shape[1] + room > spec.n_ctx:
        raise GptcalcError(f"{ids.shape[1] + room} positions do not fit n_ctx {spec.n_ctx}")
    return ids
