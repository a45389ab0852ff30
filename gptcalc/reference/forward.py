"""The forward pass of any `ModelSpec`, in plain NumPy, float32 or float64. Executes the spec; reads no formula.

B sequences, T tokens (queries), C keys (the same T), d width, H heads, K key-value heads, Q width of a head, F width of the MLP,
V vocabulary, e width of the embedding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from gptcalc.errors import GptcalcError
from gptcalc.reference.kernels import ACTIVATIONS, Rotary, normalise, rotary_tables, rotate, row_blocks, softmax, unbuffered
from gptcalc.reference.tally import Array, Tally, at, path_of
from gptcalc.reference.weights import Weights, check_weights, random_weights
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.shape import Shape, shape_of

Parts = dict[str, dict[str, Array]]
"""Path of an operation -> its arrays, "weight" and "bias", where it has any."""

Progress = Callable[[int, int], None]
"""Called after each layer with the number of layers done and of all layers."""


class Context(NamedTuple):
    """What every layer of one pass shares."""

    spec: ModelSpec
    shape: Shape[int]
    hidden: Array  # [T, C] bool: the keys that a query must not see
    rotary: Rotary | None


@unbuffered()
def forward(spec: ModelSpec, weights: Weights, tokens: ArrayLike, tally: Tally | None = None, progress: Progress | None = None) -> Array:
    """Logits of the next token at every position: [B, T] ints -> [B, T, V], in the weights' dtype.

    `tally`, where given, receives the FLOP of every operation and the parameters held. V counts padding rows of the vocabulary too.
    Raises GptcalcError for weights that do not fit the spec, tokens outside the vocabulary, and sequences longer than n_ctx.

    >>> from gptcalc.spec.model import parse_model
    >>> tiny = parse_model({"name": "tiny", "n_layer": 2, "d_model": 8, "n_head": 2, "vocab_size": 16, "n_ctx": 4})
    >>> forward(tiny, random_weights(tiny, seed=0), [[3, 1, 4]]).shape
    (1, 3, 16)
    """
    check_weights(spec, weights)
    ids = _checked_tokens(spec, tokens)
    shape = shape_of(spec)
    rest, layers = _by_layer(weights, shape.n_layer)
    T = ids.shape[1]

    table = rest["embedding/token"]["weight"]
    x = table[ids]  # [B, T] -> [B, T, e]
    if tally is not None:
        tally.hold(weights)
        x = tally.counted(x)
    if spec.switches.projected_embedding:
        x = linear(x, rest, "embedding/project_in")  # [B, T, e] -> [B, T, d]
    if spec.position == "learned":
        at(x, "embedding/position")
        first = shape.n_position - spec.n_ctx  # OPT's table has two rows before position 0
        x += rest["embedding/position"]["weight"][first : first + T]

    rotary = rotary_tables(spec, shape, T, x.dtype) if spec.position == "rotary" else None
    context = Context(spec, shape, hidden_keys(T, shape.sliding_window), rotary)
    for done, layer in enumerate(layers, start=1):
        x = block(x, layer, context)  # [B, T, d] -> [B, T, d]
        if progress is not None:
            progress(done, len(layers))

    if spec.final_norm:
        x = norm(x, rest, "final_norm", spec)
    if spec.switches.projected_embedding:
        x = linear(x, rest, "head/project_out")  # [B, T, d] -> [B, T, e]
    head = rest.get("head/output", {})
    logits = linear(x, {"head/output": {"weight": table.T} | head}, "head/output")  # [B, T, e] -> [B, T, V]
    return logits.view(np.ndarray)


def block(x: Array, layer: Parts, context: Context) -> Array:
    """One layer: attention and MLP, each with its norm and its residual sum, one after the other or side by side. [B, T, d] -> [B, T, d]"""
    spec = context.spec
    if spec.norm_placement == "post":
        x = norm(residual(x, attention(x, layer, context), "block/attention/residual"), layer, "block/attention/norm", spec)
        return norm(residual(x, mlp(x, layer, spec), "block/mlp/residual"), layer, "block/mlp/norm", spec)
    before_attention = norm(x, layer, "block/attention/norm", spec)
    attended = attention(before_attention, layer, context)
    if spec.parallel_residual:
        before_mlp = before_attention if spec.shared_norm else norm(x, layer, "block/mlp/norm", spec)
        x = residual(x, attended, "block/attention/residual")
    else:
        x = residual(x, attended, "block/attention/residual")
        before_mlp = norm(x, layer, "block/mlp/norm", spec)
    return residual(x, mlp(before_mlp, layer, spec), "block/mlp/residual")


def attention(x: Array, layer: Parts, context: Context) -> Array:
    """Causal self-attention with H query heads, each group of H / K of them sharing one head of keys and values: [B, T, d] -> [B, T, d]."""
    B, T, _ = x.shape
    H, K, Q = context.shape.n_head, context.shape.n_kv_head, context.shape.d_head
    q = linear(x, layer, "block/attention/query").reshape(B, T, H, Q)  # [B, T, d] -> [B, T, H*Q] -> [B, T, H, Q]
    k = linear(x, layer, "block/attention/key").reshape(B, T, K, Q)  # [B, T, d] -> [B, T, K*Q] -> [B, T, K, Q]
    v = linear(x, layer, "block/attention/value").reshape(B, T, K, Q)
    if context.rotary is not None:
        at(x, "block/attention/rotary")
        rotate(q, context.rotary)
        rotate(k, context.rotary)
    mixed = np.empty_like(q)
    for sequence in range(B):
        for head in range(H):
            kv = sequence, slice(None), head * K // H
            attend(q[sequence, :, head], k[kv], v[kv], context, mixed[sequence, :, head])
    return linear(mixed.reshape(B, T, H * Q), layer, "block/attention/output")  # [B, T, H*Q] -> [B, T, d]


def attend(q: Array, k: Array, v: Array, context: Context, mixed: Array) -> None:
    """One head of one sequence: queries [T, Q], keys and values [C, Q] -> mixed [T, Q]. Computes the full square of T x C scores."""
    at(q, "block/attention/scores")
    scores = q @ k.T  # [T, Q] @ [Q, C] -> [T, C]
    last = 0
    for rows in row_blocks(scores):
        first, last = last, last + len(rows)
        at(q, "block/attention/scores")
        rows *= 1 / math.sqrt(q.shape[-1])
        rows[:, last:] = -np.inf  # no query of this block sees these keys; a mask over all keys would take as long as the exponentials
        nearest = slice(0 if context.spec.sliding_window else first, last)
        np.copyto(rows[:, nearest], -np.inf, where=context.hidden[first:last, nearest])
        at(q, "block/attention/softmax")
        softmax(rows)
    at(q, "block/attention/mix")
    np.matmul(scores, v, out=mixed)  # [T, C] @ [C, Q] -> [T, Q]


def mlp(x: Array, layer: Parts, spec: ModelSpec) -> Array:
    """[B, T, d] -> [B, T, F] -> [B, T, d]. Gated: the activation of one projection times the other."""
    up = linear(x, layer, "block/mlp/up")
    inner = linear(x, layer, "block/mlp/gate") if spec.gated else up
    at(x, "block/mlp/activation")
    for rows in row_blocks(inner):
        ACTIVATIONS[spec.activation](rows)
    if spec.gated:
        at(x, "block/mlp/product")
        inner *= up
    return linear(inner, layer, "block/mlp/down")


def linear(x: Array, parts: Parts, path: str) -> Array:
    """[..., in] @ [in, out] + [out] -> [..., out]"""
    at(x, path)
    y = x @ parts[path]["weight"]
    if "bias" in parts[path]:
        y += parts[path]["bias"]
    return y


def norm(x: Array, parts: Parts, path: str, spec: ModelSpec) -> Array:
    at(x, path)
    return normalise(x, parts.get(path, {}), centred=spec.norm == "layernorm", epsilon=spec.norm_epsilon)


def residual(x: Array, change: Array, path: str) -> Array:
    at(x, path)
    return np.add(x, change, out=change)


def hidden_keys(length: int, window: int) -> Array:
    """Where a query must not look, bool [T, C]: at later keys, and with a window W at those that are W or more before it.

    >>> hidden_keys(3, window=2).astype(int).tolist()
    [[0, 1, 1], [0, 0, 1], [1, 0, 0]]
    """
    query, key = np.ogrid[:length, :length]  # [T, 1], [1, C]
    return (key > query) | (key <= query - (window or length))


def generate(spec: ModelSpec, weights: Weights, tokens: ArrayLike, n_new: int) -> Array:
    """Append the likeliest next token n_new times: [B, T] -> [B, T + n_new]. Everything is computed anew for each token.

    Raises GptcalcError as `forward` does, and for a negative n_new.
    """
    if n_new < 0:
        raise GptcalcError(f"n_new {n_new} is below zero")
    ids = _checked_tokens(spec, tokens, room=n_new)
    for _ in range(n_new):
        last = forward(spec, weights, ids)[:, -1, : spec.vocab_size]  # padding rows of the vocabulary are no tokens
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
    tally = Tally()
    forward(spec, random_weights(spec, seed=0, dtype=dtype), tokens, tally, progress)
    return tally


def _by_layer(weights: Weights, n_layer: int) -> tuple[Parts, list[Parts]]:
    """The arrays outside the layers, and those of each layer, by path."""
    rest: Parts = {}
    layers: list[Parts] = [{} for _ in range(n_layer)]
    for name, array in weights.items():
        parts = layers[int(name.split(".")[1])] if name.startswith("block.") else rest
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
