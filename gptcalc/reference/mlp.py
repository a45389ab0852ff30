"""The MLP of one layer: one MLP, or the experts that a router chooses for each token, and the shared expert beside them.

t tokens, d width, F inner width, E experts, k experts of a token.
"""

from __future__ import annotations

import numpy as np

from gptcalc.reference.kernels import ACTIVATIONS, SILU_LIMIT, normalise, row_blocks, sigmoid, softmax, xielu
from gptcalc.reference.parts import Context, Parts, linear, norm
from gptcalc.reference.tally import Array, at
from gptcalc.spec.model import ModelSpec


def mlp(x: Array, layer: Parts, context: Context) -> Array:
    """[B, T, d] -> [B, T, d]"""
    path = f"{context.path}/mlp"
    if context.spec.n_expert is None:
        return _inner(x, layer, path, context.spec)
    return _experts(x.reshape(-1, x.shape[-1]), layer, path, context.spec).reshape(x.shape)


def mlp_beside_experts(x: Array, into_mlp: Array, layer: Parts, context: Context) -> Array:
    """One MLP of `into_mlp`, and experts of x, which has not been normalised, behind norms of their own: [B, T, d] -> [B, T, d]."""
    spec, path = context.spec, f"{context.path}/mlp"
    dense = norm(_inner(into_mlp, layer, path, spec), layer, f"{path}/dense_norm", spec)
    flat = x.reshape(-1, x.shape[-1])
    given = norm(flat, layer, f"{path}/experts_norm", spec)
    at(x, f"{path}/router_norm")
    routed = normalise(flat, layer[f"{path}/router_norm"], centred=False, epsilon=spec.norm_epsilon)
    routed *= spec.d_model**-0.5
    chosen = _experts(given, layer, path, spec, routed).reshape(x.shape)
    chosen = norm(chosen, layer, f"{path}/experts_output_norm", spec)
    at(x, f"{path}/sum")
    return np.add(dense, chosen, out=chosen)


def _inner(x: Array, parts: Parts, path: str, spec: ModelSpec) -> Array:
    """[..., d] -> [..., F] -> [..., d]. Gated: the activation of one projection times the other."""
    up = linear(x, parts, f"{path}/up")
    inner = linear(x, parts, f"{path}/gate") if spec.gated else up
    at(x, f"{path}/activation")
    for rows in row_blocks(inner):
        if spec.activation == "xielu":
            xielu(rows, *(float(np.logaddexp(0, parts[f"{path}/activation"][name][0])) for name in ("alpha_p", "alpha_n")))
        else:
            ACTIVATIONS[spec.activation](rows)
    if spec.gated:
        at(x, f"{path}/product")
        if spec.activation == "silu_clamped":
            np.minimum(up, SILU_LIMIT, out=up)
            np.maximum(up, -SILU_LIMIT, out=up)
            up += 1
        inner *= up
    if spec.inner_norm:
        inner = norm(inner, parts, f"{path}/inner_norm", spec)
    return linear(inner, parts, f"{path}/down")


def _experts(x: Array, layer: Parts, path: str, spec: ModelSpec, routed: Array | None = None) -> Array:
    """[t, d] -> [t, d]: the outputs of the chosen experts, each times its score, and the shared expert's.

    `routed` is what the router reads where it is not x.
    """
    scores = linear(x if routed is None else routed, layer, f"{path}/router")  # [t, d] -> [t, E]
    at(x, f"{path}/routing")
    logits = np.array(scores) if spec.router_correction == "logit" else None
    if spec.router_score == "sigmoid":
        sigmoid(scores)
    else:
        softmax(scores)
    chosen = _chosen(scores.view(np.ndarray) if logits is None else logits, layer[f"{path}/router"].get("correction"), spec)  # [t, k]
    shares = scores[np.arange(len(x))[:, None], chosen]  # [t, k]
    if spec.router_normalised:
        shares /= np.add.reduce(shares, axis=-1, keepdims=True)
    if spec.router_scale != 1:
        shares *= spec.router_scale
    if spec.mlp_beside_experts:
        shares *= layer[f"{path}/routing"]["scale"][chosen]
    given_to = x if spec.d_expert_latent is None else linear(x, layer, f"{path}/latent_down")  # [t, d] -> [t, d or latent]
    total = np.empty_like(given_to)
    total[...] = 0
    own = {part: arrays for part, arrays in layer.items() if part.startswith(f"{path}/experts/")}
    for expert in np.unique(chosen).tolist():
        rows, place = np.nonzero(chosen == expert)
        weights = {part: {name: array[expert] for name, array in arrays.items()} for part, arrays in own.items()}
        share, given = shares[rows, place][:, None], given_to[rows]
        if spec.router_weighs_input:
            at(x, f"{path}/experts/sum")
            given *= share
        y = _inner(given, weights, f"{path}/experts", spec)
        at(x, f"{path}/experts/sum")
        if not spec.router_weighs_input:
            y *= share
        total[rows] += y
    if spec.d_expert_latent is not None:
        total = linear(total, layer, f"{path}/latent_up")
    if spec.d_shared_expert is not None:
        y = _inner(x, layer, f"{path}/shared", spec)
        if spec.shared_expert_gate:
            share = linear(x, layer, f"{path}/shared/scale")  # [t, d] -> [t, 1]
            sigmoid(share)
            y *= share
        at(x, f"{path}/shared/sum")
        total += y
    return total


def _chosen(scores: Array, correction: Array | None, spec: ModelSpec) -> Array:
    """The k experts of each token, by score: [t, E] -> [t, k]. Choosing is not counted.

    Where experts are in groups, only those of the best groups may be chosen: by their best expert, or with sigmoid scores by the sum of
    their best two. A correction has its say in the choice and nowhere else; it is of the scores, or of the logits that stand here instead.

    Source: DeepSeek-AI 2024, arXiv:2405.04434 and arXiv:2412.19437, as released.
    """
    scores = scores if correction is None else scores + correction
    groups = spec.n_router_group or 1
    if groups > 1:
        grouped = np.sort(scores.reshape(len(scores), groups, -1), axis=-1)  # [t, groups, E / groups]
        best = grouped[..., -2:].sum(axis=-1) if spec.router_score == "sigmoid" else grouped[..., -1]
        kept = np.argsort(-best, axis=-1, kind="stable")[:, : spec.n_router_group_per_token or 1]
        open_ = np.zeros(best.shape, dtype=bool)
        np.put_along_axis(open_, kept, True, axis=-1)
        scores = np.where(np.repeat(open_, scores.shape[-1] // groups, axis=-1), scores, -np.inf)
    return np.argsort(-scores, axis=-1, kind="stable")[:, : spec.n_expert_per_token]
