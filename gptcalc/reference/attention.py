"""Causal self-attention of one layer: projections, plain or through latents, then each head on its own.

B sequences, T tokens (queries), C keys (the same T), d width, H heads, K key-value heads, Q width of a query or key head, Z of a value
head, R rotated channels of a head.
"""

from __future__ import annotations

import numpy as np

from gptcalc.reference.cache import Kept
from gptcalc.reference.indexer import choose, choose_blocks, index_keys
from gptcalc.reference.kernels import normalise, row_blocks, sigmoid, softcap, softmax, softplus
from gptcalc.reference.parts import Context, Parts, linear, norm
from gptcalc.reference.positions import rotate
from gptcalc.reference.rope_scaling import score_scale
from gptcalc.reference.tally import Array, at


def attention(x: Array, layer: Parts, context: Context, memory: Array | None = None, kept: Kept | None = None) -> Array:
    """H query heads, each group of H / K of them sharing one head of keys and values: [B, T, d] -> [B, T, d].

    Keys and values come from x too, or from `memory`, an encoder's output: then every query sees all of it. `kept` has those of earlier
    tokens, and takes the new ones.
    """
    B, T, _ = x.shape
    H, K, Z = context.shape.n_head, context.shape.n_kv_head, context.shape.d_head_value
    if memory is not None:
        context = context._replace(sublayer="cross_attention", hidden=None)
    q, k, v = _from_latents(x, layer, context, kept) if context.spec.kv_lora_rank else _projected(x, memory, layer, context, kept)
    if context.spec.shares_keys:
        assert context.shared is not None
        k, v, first = context.shared[context.spec.sliding_window]
        context = context.from_key(first)
    elif context.shared is not None:
        context.shared[context.spec.sliding_window] = k, v, 0 if kept is None else kept.first
    if kept is not None and not context.spec.shares_keys:
        context = context.from_key(kept.first)
        kept.forget()
    mixed = np.empty_like(q, shape=(B, T, H, Z))
    seen = _seen(B, T, k.shape[1], context)
    # of one head after the other: fresh memory for each would take longer
    scores = np.empty_like(q, shape=(T, k.shape[1]) if seen is None else seen.shape[2:])
    sinks = layer.get(f"{context.attention}/softmax", {}).get("sink", [None] * H)
    for sequence in range(B):
        for head in range(H):
            kv = sequence, slice(None), head * K // H
            bias = None if context.alibi is None else context.alibi[head]
            one = (q[sequence, :, head], k[kv], v[kv], context, scores, mixed[sequence, :, head], bias, sinks[head])
            attend(*one) if seen is None else attend_in_windows(seen[sequence, head * seen.shape[1] // H], *one)
    if context.spec.attention_gate != "none":
        own = layer[f"{context.attention}/gate"]
        gate = linear(x, {f"{context.attention}/gate": {"weight": own["weight"]}}, f"{context.attention}/gate").reshape(B, T, H, -1)
        if "bias" in own:
            gate += own["bias"][:, None]  # [B, T, H, Z] + [H, 1]
        (softplus if context.spec.attention_gate == "head" else sigmoid)(gate)
        mixed *= gate
    if context.spec.inner_norm:
        mixed = norm(mixed.reshape(B, T, H * Z), layer, f"{context.attention}/inner_norm", context.spec)
    return linear(mixed.reshape(B, T, H * Z), layer, f"{context.attention}/output")  # [B, T, H*Z] -> [B, T, d]


def _seen(sequences: int, queries: int, keys: int, context: Context) -> Array | None:
    """The keys that each query is multiplied with, where it sees a window or what an indexer has chosen; else None.

    [B, groups, T, keys]: of each sequence and group of heads. -1 is no key.
    """
    if context.spec.indexer is not None:
        assert context.picks
        return context.picks[-1] if context.picks[-1].shape[-1] < keys else None
    seen = visible_keys(queries, keys, context) if context.hidden is not None else None
    return None if seen is None else np.broadcast_to(seen, (sequences, 1, *seen.shape))


def _projected(x: Array, memory: Array | None, layer: Parts, context: Context, kept: Kept | None) -> tuple[Array, Array, Array]:
    """Queries [B, T, H, Q], keys [B, C, K, Q] and values [B, C, K, Z], normalised and rotated where the model does so."""
    s, spec, path = context.shape, context.spec, context.attention
    widths = {"query": (s.n_head, s.d_head), "key": (s.n_kv_head, s.d_head), "value": (s.n_kv_head, s.d_head_value)}
    heads = {}
    for name, (n_head, width) in widths.items():
        if (spec.shares_keys and name != "query") or (spec.keys_are_values and name == "value"):
            continue
        source = x if memory is None or name == "query" else memory
        y = linear(source, layer, f"{path}/{name}")  # [B, T, d] -> [B, T, heads * width]
        if spec.qkv_clip is not None:
            np.minimum(y, spec.qkv_clip, out=y)
            np.maximum(y, -spec.qkv_clip, out=y)
        if name == "value" and spec.value_scale != 1:
            y *= spec.value_scale
        heads[name] = y.reshape(*y.shape[:2], n_head, width)
    if spec.keys_are_values and not spec.shares_keys:
        heads["value"] = heads["key"]
    if spec.value_norm and not spec.shares_keys:
        at(x, f"{path}/value_norm")
        heads["value"] = normalise(heads["value"], {}, centred=False, epsilon=spec.norm_epsilon)
    if spec.qk_norm_after_rotary:
        _rotate(heads, context)
    if spec.qk_norm != "none":
        for name in ("query",) if spec.shares_keys else ("query", "key"):
            heads[name] = _normed_heads(heads[name], layer, f"{path}/{name}_norm", context)
    if not spec.qk_norm_after_rotary:
        _rotate(heads, context)
    if spec.shares_keys:
        return heads["query"], heads["query"], heads["query"]  # keys and values are another layer's
    if spec.indexer is not None and not spec.indexer.shared:
        own = heads["key"], heads["value"], index_keys(x, layer, context)
        k, v, keys = own if kept is None else kept.extend(own, None)
        assert context.picks is not None
        context.picks[:] = [choose_blocks(x, keys, layer, context)]
        return heads["query"], k, v
    pair = heads["key"], heads["value"]
    k, v = pair if kept is None else kept.extend(pair, spec.sliding_window)
    return heads["query"], k, v


def _rotate(heads: dict[str, Array], context: Context) -> None:
    if context.rotary is not None:
        at(heads["query"], f"{context.attention}/rotary")
        for name in ("query", "key"):
            if name in heads:
                rotate(heads[name], context.rotary)


def _normed_heads(x: Array, layer: Parts, path: str, context: Context) -> Array:
    """Each head, or all heads as one row: [B, T, H, Q] -> [B, T, H, Q]."""
    spec = context.spec
    at(x, path)
    parts = layer.get(path, {})
    flat = x.reshape(*x.shape[:2], -1) if spec.qk_norm == "full" else x
    centred = spec.norm == "layernorm" and spec.qk_norm != "l2"
    if spec.qk_norm != "heads":
        return normalise(flat, parts, centred=centred, epsilon=spec.norm_epsilon).reshape(x.shape)
    normed = normalise(x, {}, centred=centred, epsilon=spec.norm_epsilon)
    normed *= parts["weight"]  # [H, Q]
    if "bias" in parts:
        normed += parts["bias"]
    return normed


def _from_latents(x: Array, layer: Parts, context: Context, kept: Kept | None) -> tuple[Array, Array, Array]:
    """Queries [B, T, H, Q], keys [B, C, H, Q] and values [B, C, H, Z]. The last R channels of a head turn; keys have them in common."""
    B, T, _ = x.shape
    s, spec, path = context.shape, context.spec, context.attention
    still = s.d_head - s.d_rotary
    if spec.q_lora_rank is None:
        q = linear(x, layer, f"{path}/query")  # [B, T, d] -> [B, T, H*Q]
    else:
        queries = norm(linear(x, layer, f"{path}/query_down"), layer, f"{path}/query_norm", spec, spec.latent_norm_epsilon)
        q = linear(queries, layer, f"{path}/query_up")  # [B, T, q] -> [B, T, H*Q]
    q = q.reshape(B, T, s.n_head, s.d_head)
    down = linear(x, layer, f"{path}/key_value_down")  # [B, T, d] -> [B, T, c + R]
    turning = down[..., None, s.kv_lora_rank :]  # [B, T, 1, R]
    latent = norm(down[..., : s.kv_lora_rank], layer, f"{path}/key_value_norm", spec, spec.latent_norm_epsilon)
    assert context.rotary is not None
    if spec.latent_turns:
        at(x, f"{path}/rotary")
        rotate(q[..., still:], context.rotary)
        rotate(turning, context.rotary)
    if spec.indexer is not None and not spec.indexer.shared:
        keys = index_keys(x, layer, context)
        latent, turning, keys = (latent, turning, keys) if kept is None else kept.extend((latent, turning, keys), spec.sliding_window)
        assert context.picks is not None
        context.picks[:] = [choose(x, queries, keys, layer, context)]
    elif kept is not None:
        latent, turning = kept.extend((latent, turning), spec.sliding_window)
    C = latent.shape[1]
    up = linear(latent, layer, f"{path}/key_value_up").reshape(B, C, s.n_head, still + s.d_head_value)
    k = np.empty_like(q, shape=(B, C, s.n_head, s.d_head))
    k[..., :still] = up[..., :still]
    k[..., still:] = turning
    return q, k, up[..., still:]


def attend(q: Array, k: Array, v: Array, context: Context, scores: Array, mixed: Array, bias: Array | None, sink: Array | None) -> None:
    """One head of one sequence: queries [T, Q], keys [C, Q], values [C, Z] -> mixed [T, Z], by way of all the T x C scores."""
    spec, path = context.spec, context.attention
    scale = score_scale(spec, q.shape[-1])
    earlier = len(k) - len(q)  # keys before the first query's own
    at(q, f"{path}/scores")
    np.matmul(q, k.T, out=scores)  # [T, Q] @ [Q, C] -> [T, C]
    last = 0
    for rows in row_blocks(scores):
        first, last = last, last + len(rows)
        at(q, f"{path}/scores")
        rows *= scale
        if spec.attention_softcap is not None:
            softcap(rows, spec.attention_softcap)
        if bias is not None:
            rows += bias
        if context.hidden is not None:
            rows[
                :, earlier + last :
            ] = -np.inf  # no query of these rows sees these keys; a mask over all keys would take as long as the exponentials
            nearest = slice(earlier + first, earlier + last)
            np.copyto(rows[:, nearest], -np.inf, where=context.hidden[first:last, nearest])
        at(q, f"{path}/softmax")
        softmax(rows, sink)
    at(q, f"{path}/mix")
    np.matmul(scores, v, out=mixed)  # [T, C] @ [C, Z] -> [T, Z]


def visible_keys(queries: int, keys: int, context: Context) -> Array | None:
    """The W of the C keys that each of the last T positions is multiplied with, int [T, W], where a window is shorter than the sequence."""
    W = context.spec.sliding_window
    if W is None or keys <= W:
        return None
    query = np.arange(keys - queries, keys)
    first = (context.first + query) // W * W - context.first if context.spec.window_chunks else query - W + 1
    return np.clip(first, 0, keys - W)[:, None] + np.arange(W)


def attend_in_windows(
    seen: Array, q: Array, k: Array, v: Array, context: Context, scores: Array, mixed: Array, bias: Array | None, sink: Array | None
) -> None:
    """One head of one sequence, each query with the W keys `seen` from it alone: T x W scores."""
    spec, path = context.spec, context.attention
    scale = score_scale(spec, q.shape[-1])
    assert context.hidden is not None
    last = 0
    for rows in row_blocks(scores):
        first, last = last, last + len(rows)
        keys = seen[first:last]  # [t, W]
        where = np.arange(first, last)[:, None], keys
        at(q, f"{path}/scores")
        np.matmul(q[first:last, None], k[keys].swapaxes(1, 2), out=rows[:, None])  # [t, 1, Q] @ [t, Q, W] -> [t, 1, W]
        rows *= scale
        if spec.attention_softcap is not None:
            softcap(rows, spec.attention_softcap)
        if bias is not None:
            rows += bias[keys]
        np.copyto(rows, -np.inf, where=context.hidden[where] | (keys < 0))
        at(q, f"{path}/softmax")
        softmax(rows, sink)
        at(q, f"{path}/mix")
        np.matmul(rows[:, None], v[keys], out=mixed[first:last, None])  # [t, 1, W] @ [t, W, Z] -> [t, 1, Z]


def hidden_keys(length: int, window: int, chunks: bool = False) -> Array:
    """Where a query must not look, bool [T, C]: at later keys, and with a window W at those that are W or more before it.

    With chunks, windows lie side by side: a query must not look at keys before its own.

    >>> hidden_keys(3, window=2).astype(int).tolist()
    [[0, 1, 1], [0, 0, 1], [1, 0, 0]]
    """
    query, key = np.ogrid[:length, :length]  # [T, 1], [1, C]
    if chunks:
        return (key > query) | (key // window < query // window)
    return (key > query) | (key <= query - (window or length))
