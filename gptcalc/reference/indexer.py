"""Which keys each query reads: those that an indexer scores highest, or that the one of an earlier layer has chosen.

B sequences, T queries, C keys, n heads of the indexer, i their width, R rotated channels, J chosen keys.
"""

from __future__ import annotations

import numpy as np

from gptcalc.reference.kernels import normalise
from gptcalc.reference.parts import Context, Parts, linear
from gptcalc.reference.positions import rotate
from gptcalc.reference.tally import Array, at

EPSILON = 1e-6
"""Of the norm of its keys, whatever the model's is (DeepSeek V3.2, GLM-5 as released)."""


def index_keys(x: Array, layer: Parts, context: Context) -> Array:
    """One normalised and rotated key of each token: [B, T, d] -> [B, T, i]."""
    path = f"{context.attention}/indexer"
    key = linear(x, layer, f"{path}/key")
    at(x, f"{path}/key_norm")
    assert context.spec.indexer is not None
    own = context.spec.indexer.block is None
    key = normalise(key, layer[f"{path}/key_norm"], centred=own, epsilon=EPSILON if own else context.spec.norm_epsilon)
    _turn(key[:, :, None], context, path)
    return key


def choose(x: Array, latent: Array, keys: Array, layer: Parts, context: Context) -> Array:
    """The j best keys of each query, int [B, 1, T, j]: by the heads' products with a key, each above zero, weighed and added up.

    `latent` [B, T, q] is what its queries come from, `keys` [B, C, i] are those of all tokens.
    """
    spec, path = context.spec, f"{context.attention}/indexer"
    assert spec.indexer is not None
    (B, T, _), n, i, C = x.shape, spec.indexer.n_head, spec.indexer.d_head, keys.shape[1]
    q = linear(latent, layer, f"{path}/query").reshape(B, T, n, i)
    _turn(q, context, path)
    weights = linear(x, layer, f"{path}/weights")  # [B, T, n]
    weights *= n**-0.5
    at(x, f"{path}/scores")
    scores = q @ keys.swapaxes(1, 2)[:, None]  # [B, T, n, i] @ [B, 1, i, C] -> [B, T, n, C]
    scores *= i**-0.5
    np.maximum(scores, 0, out=scores)
    total = (weights[:, :, None] @ scores)[:, :, 0]  # [B, T, 1, n] @ [B, T, n, C] -> [B, T, C]
    best = np.where(context.hidden, -np.inf, np.asarray(total))  # type: ignore[arg-type]  # of causal layers, which have it
    return np.argsort(-best, axis=-1, kind="stable")[:, None, :, : min(spec.indexer.top_k, C)]


def choose_blocks(x: Array, keys: Array, layer: Parts, context: Context) -> Array:
    """The keys of the best blocks of each query, int [B, n, T, j], each head of the indexer for as many heads of attention; -1 for none.

    A block is as good as its best key; a query's own block comes first. `keys` [B, C, i] are those of all tokens.
    """
    spec, path = context.spec, f"{context.attention}/indexer"
    assert spec.indexer is not None
    (B, T, _), n, C, size = x.shape, spec.indexer.n_head, keys.shape[1], spec.indexer.block or 1
    q = linear(x, layer, f"{path}/query").reshape(B, T, n, spec.indexer.d_head)
    at(x, f"{path}/query_norm")
    q = normalise(q, layer[f"{path}/query_norm"], centred=False, epsilon=spec.norm_epsilon)
    _turn(q, context, path)
    at(x, f"{path}/scores")
    scores = q.swapaxes(1, 2) @ keys.swapaxes(1, 2)[:, None]  # [B, n, T, i] @ [B, 1, i, C] -> [B, n, T, C]
    blocks = -(-C // size)
    padded = np.full((B, n, T, blocks * size), -np.inf)
    padded[..., :C] = np.where(context.hidden, -np.inf, np.asarray(scores))  # type: ignore[arg-type]
    best = padded.reshape(B, n, T, blocks, size).max(axis=-1)
    _count(scores)
    own = np.broadcast_to((np.arange(C - T, C) // size)[:, None], (B, n, T, 1))
    np.put_along_axis(best, own, np.inf, axis=-1)
    chosen = np.argsort(-best, axis=-1, kind="stable")[..., : min(spec.indexer.top_k, blocks)]
    there = np.take_along_axis(best, chosen, axis=-1) > -np.inf
    found = chosen[..., None] * size + np.arange(size)  # [B, n, T, blocks, size]
    return np.where(there[..., None] & (found < C), found, -1).reshape(B, n, T, -1)


def _count(scores: Array) -> None:
    """Each score is looked at once for the best of its block."""
    np.maximum.reduce(scores, axis=-1)


def _turn(heads: Array, context: Context, path: str) -> None:
    """Rotates R channels of heads [B, T, n, i] in place: the first, or the last."""
    spec, R = context.spec, context.shape.d_rotary
    assert spec.indexer is not None
    assert context.index_rotary is not None
    at(heads, f"{path}/rotary")
    rotate(heads[..., -R:] if spec.indexer.rotary_last else heads[..., :R], context.index_rotary)
