"""A model's arrays by name: which ones a spec has, and random ones. Matrices are stored [in, out]."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from gptcalc.errors import GptcalcError
from gptcalc.reference.mixers import Shapes, mixer
from gptcalc.reference.tally import Array
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.shape import block_path, shape_of

Weights: TypeAlias = Mapping[str, Array]
"""Name -> array: `embedding.token.weight` [V, e], `block.0.attention.query.weight` [d, H*Q], `block.0.attention.norm.bias` [d], ..."""


def weight_shapes(spec: ModelSpec) -> Shapes:
    """Name and shape of every array that the model has, in the order in which a forward pass meets them.

    >>> from gptcalc.spec.model import parse_model
    >>> tiny = parse_model({"name": "tiny", "n_layer": 2, "d_model": 8, "n_head": 2, "vocab_size": 16, "n_ctx": 4})
    >>> weight_shapes(tiny)["block.1.mlp.up.weight"]
    (8, 32)
    """
    check_executed(spec)
    before, blocks, after = _parts(spec)
    shapes = dict(before)
    for layer, kind in enumerate(spec.layers or [""] * spec.n_layer):
        shapes |= {f"{block_path(kind)}.{layer}.{name}": shape for name, shape in blocks[kind].items()}
    return shapes | after


def shapes_by_kind(spec: ModelSpec) -> Iterator[tuple[str, tuple[int, ...], int]]:
    """Name and shape of every array, those of a layer once for all layers of its kind, without a number; and how many of it there are.

    >>> from gptcalc.spec.model import parse_model
    >>> tiny = parse_model({"name": "tiny", "n_layer": 2, "d_model": 8, "n_head": 2, "vocab_size": 16, "n_ctx": 4})
    >>> next(one for one in shapes_by_kind(tiny) if "mlp.up" in one[0])
    ('block.mlp.up.weight', (8, 32), 2)
    """
    check_executed(spec)
    before, blocks, after = _parts(spec)
    yield from ((name, shape, 1) for name, shape in before.items())
    for kind, shapes in blocks.items():
        layers = spec.kinds[kind].n_layer if kind else spec.n_layer
        yield from ((f"{block_path(kind)}.{name}", shape, layers) for name, shape in shapes.items())
    yield from ((name, shape, 1) for name, shape in after.items())


NOT_EXECUTED: dict[str, Callable[[ModelSpec], bool]] = {
    "compressed attention": lambda kind: kind.compressed is not None,
    "several residual streams": lambda kind: kind.streams is not None,
    "gates of norms and from latents": lambda kind: kind.norm_gate_rank is not None or kind.attention_gate == "latent",
    "a norm of the rotated key": lambda kind: kind.latent_rotary_norm,
    "a difference of two attentions": lambda kind: kind.differential,
    "masks made of values": lambda kind: kind.value_masks,
}


def check_executed(spec: ModelSpec) -> None:
    """Raises GptcalcError for a model that has a part that the forward pass has not, naming it."""
    for what, has in NOT_EXECUTED.items():
        if any(has(kind) for kind in (spec, *spec.kinds.values())):
            raise GptcalcError(f"{spec.name} has {what}, which the forward pass here has not", hint="its counts do not depend on it")


def _parts(spec: ModelSpec) -> tuple[Shapes, dict[str, Shapes], Shapes]:
    """The arrays before the blocks, those of one layer of each kind, and those behind the blocks."""
    s = shape_of(spec)
    before: Shapes = {"embedding.token.weight": (s.vocab_size, s.d_embedding)}
    width = s.d_embedding if spec.projected_last else s.d_model
    if spec.d_embedding is not None:
        before |= _linear("embedding.project_in", s.d_embedding, s.d_model, bias=spec.projected_last)
    if spec.position == "learned":
        before |= {"embedding.position.weight": (s.n_position, width)}
    if spec.rotary_table:
        before |= {"embedding.angles.weight": (s.n_position, s.d_head)}
    if spec.n_token_type is not None:
        before |= {"embedding.token_type.weight": (spec.n_token_type, width)}
    if spec.embedding_norm:
        before |= _norm("embedding.norm", spec, width)
    if spec.own_embedding is not None:
        width = spec.n_layer * spec.own_embedding.width
        before |= {"embedding.per_layer.token.weight": (spec.own_embedding.vocab_size, width)}
        before |= _linear("embedding.per_layer.projection", s.d_model, width, bias=False)
        before |= _norm("embedding.per_layer.norm", spec, spec.own_embedding.width)
    after: Shapes = {}
    if spec.final_norm:
        after |= _norm("final_norm", spec, s.d_model)
    if spec.d_embedding is not None and spec.head_transform == "none":
        after |= _linear("head.project_out", s.d_model, s.d_embedding, bias=False)
    if spec.head_transform != "none":
        after |= _linear("head.transform", s.d_model, s.d_output, spec.head_transform_bias) | _norm("head.norm", spec, s.d_output)
    if not spec.tied:
        after |= {"head.output.weight": (s.d_output, s.vocab_size)}
    if spec.head_bias:
        after |= {"head.output.bias": (s.vocab_size,)}
    return before, {kind: _block(own) for kind, own in (spec.kinds or {"": spec}).items()}, after


def _linear(name: str, n_in: int, n_out: int, bias: bool) -> Shapes:
    weight: Shapes = {f"{name}.weight": (n_in, n_out)}
    return weight | {f"{name}.bias": (n_out,)} if bias else weight


def _norm(name: str, spec: ModelSpec, *shape: int) -> Shapes:
    has = {"weight": spec.norm_weight, "bias": spec.norm_bias and spec.norm == "layernorm"}
    return {f"{name}.{kind}": shape for kind in has if has[kind]}


UNNORMED = {"attention": ("output", "mlp_pre")}
"""Where norms stand that leave a sublayer without one before it."""

LABELS = {
    "latent_attention": "attention",
    "idle_cross_attention": "cross_attention",
    "experts": "mlp",
    "mlp_beside_experts": "mlp",
    "compressed_attention": "attention",
}
"""What a sublayer's arrays are named after, where it is not the sublayer's own name."""


def _block(spec: ModelSpec) -> Shapes:
    """The arrays of one layer of a kind."""
    shapes: Shapes = {}
    for group in shape_of(spec).stack:
        for place, name in enumerate(group):
            path = LABELS.get(name, name)
            if not (spec.norm_placement in UNNORMED.get(path, ("output",)) or (spec.shared_norm and place)):
                shapes |= _norm(f"{path}.norm", spec, spec.d_model)
            if path.endswith("attention"):
                shapes |= _attention(path, spec)
            else:
                shapes |= _mlp(path, spec) if path == "mlp" else mixer(name).weights(path, spec)
            if spec.norm_placement in ("sandwich", "output") or (spec.norm_placement, path) == ("mlp_sandwich", "mlp"):
                shapes |= _norm(f"{path}.output_norm", spec, spec.d_model)
    return shapes | _per_layer(spec)


def _per_layer(spec: ModelSpec) -> Shapes:
    if spec.own_embedding is None:
        return {}
    d, p = spec.d_model, spec.own_embedding.width
    gate, back = _linear("per_layer.gate", d, p, bias=False), _linear("per_layer.projection", p, d, bias=False)
    return gate | back | _norm("per_layer.norm", spec, d)


def _attention(path: str, spec: ModelSpec) -> Shapes:
    s, bias = shape_of(spec), spec.attention_bias
    d, heads, kv_heads = s.d_model, s.n_head * s.d_head, s.n_kv_head * s.d_head
    shapes: Shapes = {}
    if spec.kv_lora_rank is not None:
        if spec.q_lora_rank is None:
            shapes |= _linear(f"{path}.query", d, heads, bias=False)
        else:
            shapes |= _linear(f"{path}.query_down", d, spec.q_lora_rank, bias)
            shapes |= _norm(f"{path}.query_norm", spec, spec.q_lora_rank)
            shapes |= _linear(f"{path}.query_up", spec.q_lora_rank, heads, bias=False)
        shapes |= _linear(f"{path}.key_value_down", d, spec.kv_lora_rank + s.d_rotary, bias)
        shapes |= _norm(f"{path}.key_value_norm", spec, spec.kv_lora_rank)
        from_latent = s.n_head * (s.d_head - s.d_rotary + s.d_head_value)
        shapes |= _linear(f"{path}.key_value_up", spec.kv_lora_rank, from_latent, bias=False)
        if spec.indexer is not None and not spec.indexer.shared:
            n, i = spec.indexer.n_head, spec.indexer.d_head
            shapes |= _linear(f"{path}.indexer.query", s.q_lora_rank, n * i, bias=False) | _linear(f"{path}.indexer.key", d, i, bias=False)
            shapes |= {f"{path}.indexer.key_norm.weight": (i,), f"{path}.indexer.key_norm.bias": (i,)}
            shapes |= _linear(f"{path}.indexer.weights", d, n, bias=False)
    else:
        shapes |= _linear(f"{path}.query", d, heads, bias)
        shapes |= {} if spec.shares_keys else _linear(f"{path}.key", d, kv_heads, bias and spec.key_bias)
        if not spec.shares_keys and not spec.keys_are_values:
            shapes |= _linear(f"{path}.value", d, s.n_kv_head * s.d_head_value, bias)
        if spec.indexer is not None and not spec.indexer.shared:
            n, i = spec.indexer.n_head, spec.indexer.d_head
            shapes |= _linear(f"{path}.indexer.query", d, n * i, bias=False) | _linear(f"{path}.indexer.key", d, i, bias=False)
            shapes |= {f"{path}.indexer.query_norm.weight": (i,), f"{path}.indexer.key_norm.weight": (i,)}
    if spec.qk_norm not in ("none", "l2"):
        for name, n_head in (("query", s.n_head), ("key", s.n_kv_head))[: 1 if spec.shares_keys else 2]:
            shape = {"head": (s.d_head,), "heads": (n_head, s.d_head), "full": (n_head * s.d_head,)}[spec.qk_norm]
            shapes |= {f"{path}.{name}_norm.{kind}": shape for kind in ("weight", "bias")[: 1 + spec.qk_norm_bias]}
    if spec.attention_sinks:
        shapes |= {f"{path}.softmax.sink": (s.n_head,)}
    if spec.attention_gate != "none":
        shapes |= _linear(f"{path}.gate", d, s.n_head * (1 if spec.attention_gate.startswith("head") else s.d_head_value), bias=False)
        shapes |= {f"{path}.gate.bias": (s.n_head,)} if spec.attention_gate == "channel_biased" else {}
    if spec.inner_norm:
        shapes |= _norm(f"{path}.inner_norm", spec, s.n_head * s.d_head_value)
    return shapes | _linear(f"{path}.output", s.n_head * s.d_head_value, d, spec.attention_output_bias)


def _mlp(path: str, spec: ModelSpec) -> Shapes:
    s = shape_of(spec)
    shapes: Shapes = {}
    if spec.n_expert is None:
        shapes |= _inner(path, spec, s.d_ff)
    else:
        shapes |= _linear(f"{path}.router", s.d_model, spec.n_expert, spec.router_bias)
        inside = spec.d_model if spec.d_expert_latent is None else spec.d_expert_latent
        if spec.d_expert_latent is not None:
            shapes |= _linear(f"{path}.latent_down", s.d_model, inside, spec.mlp_bias)
            shapes |= _linear(f"{path}.latent_up", inside, s.d_model, spec.mlp_bias)
        shapes |= {name: (spec.n_expert, *shape) for name, shape in _inner(f"{path}.experts", spec, s.d_expert, inside).items()}
        if spec.mlp_beside_experts:
            shapes |= _inner(path, spec, s.d_ff) | {f"{path}.router_norm.weight": (s.d_model,), f"{path}.routing.scale": (spec.n_expert,)}
            for name in ("dense_norm", "experts_norm", "experts_output_norm"):
                shapes |= _norm(f"{path}.{name}", spec, s.d_model)
        if spec.d_shared_expert is not None:
            shapes |= _inner(f"{path}.shared", spec, spec.d_shared_expert)
        if spec.shared_expert_gate:
            shapes |= _linear(f"{path}.shared.scale", s.d_model, 1, bias=False)
    return shapes


def _inner(path: str, spec: ModelSpec, width: int, outer: int | None = None) -> Shapes:
    outer = outer or spec.d_model
    shapes = _linear(f"{path}.gate", outer, width, spec.mlp_bias) if spec.gated else {}
    if spec.activation == "xielu":
        shapes |= {f"{path}.activation.alpha_p": (1,), f"{path}.activation.alpha_n": (1,)}
    if spec.inner_norm:
        shapes |= _norm(f"{path}.inner_norm", spec, width)
    return shapes | _linear(f"{path}.up", outer, width, spec.mlp_bias) | _linear(f"{path}.down", width, outer, spec.mlp_bias)


def buffer_shapes(spec: ModelSpec) -> Shapes:
    """Arrays that a checkpoint may bring and that are no parameters: corrections of routers (DeepSeek V3), scales of layers (Gemma 4)."""
    routers = (name for name in weight_shapes(spec) if name.endswith("mlp.router.weight"))
    kinds = spec.kinds or {"": spec}
    found: Shapes = {}
    for name in routers:
        own = kinds[name.partition(".")[0].removeprefix("block").strip()]
        if own.router_score == "sigmoid" and own.n_expert is not None:
            found[name.replace(".weight", ".correction")] = (own.n_expert,)
    if spec.block_scaled:
        for layer, kind in enumerate(spec.layers or [""] * spec.n_layer):
            found[f"{block_path(kind)}.{layer}.mlp.scale.scalar"] = (1,)
    return found


def random_weights(spec: ModelSpec, seed: int = 0, dtype: DTypeLike = np.float32) -> dict[str, Array]:
    """Random arrays for every weight, scaled so that activations stay near one; float32 or float64.

    Raises GptcalcError for another dtype.
    """
    dtype = floating(dtype)
    generator = np.random.default_rng(seed)
    weights: dict[str, Array] = {}
    for name, shape in weight_shapes(spec).items():
        array: Array = generator.standard_normal(shape, dtype=dtype)
        if name.startswith("embedding.") and "project" not in name:
            array *= 0.5
        elif len(shape) > 1 and not name.endswith((".bias", "norm.weight")):
            array *= 1 / math.sqrt(shape[-2])
        else:
            array *= 0.1
            if name.endswith("norm.weight"):
                array += 1
        weights[name] = array
    return weights


def check_weights(spec: ModelSpec, weights: Weights) -> None:
    """Raises GptcalcError, naming the array and both shapes, unless the arrays are exactly those that the spec has, all of one dtype."""
    shapes = weight_shapes(spec)
    for name, shape in shapes.items():
        if name not in weights:
            raise GptcalcError(f"weight '{name}' of shape {shape} is missing")
        if weights[name].shape != shape:
            raise GptcalcError(f"weight '{name}' has shape {weights[name].shape}, and the model needs {shape}")
    buffers = buffer_shapes(spec)
    for name, array in weights.items():
        if name not in shapes and buffers.get(name) != array.shape:
            raise GptcalcError(f"weight '{name}' of shape {array.shape} belongs to no part of the model")
    dtypes = sorted({str(array.dtype) for array in weights.values()})
    if len(dtypes) > 1:
        raise GptcalcError(f"weights are of one dtype, not of {' and '.join(dtypes)}")
    floating(dtypes[0])


def floating(dtype: Any) -> np.dtype[Any]:
    """float32 or float64 as a dtype; GptcalcError for any other."""
    if dtype not in (np.float32, np.float64, "float32", "float64"):
        raise GptcalcError(f"the forward pass runs in float32 or float64, not in {getattr(dtype, '__name__', dtype)}")
    result: np.dtype[Any] = np.dtype(dtype)
    return result
