"""A model's arrays by name: which ones a spec has, and random ones. Matrices are stored [in, out]."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from gptcalc.errors import GptcalcError
from gptcalc.reference.tally import Array
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.shape import shape_of

Shapes: TypeAlias = dict[str, tuple[int, ...]]

Weights: TypeAlias = Mapping[str, Array]
"""Name -> array: `embedding.token.weight` [V, e], `block.0.attention.query.weight` [d, H*Q], `block.0.attention.norm.bias` [d], ..."""


def weight_shapes(spec: ModelSpec) -> Shapes:
    """Name and shape of every array that the model has, in the order in which a forward pass meets them.

    >>> from gptcalc.spec.model import parse_model
    >>> tiny = parse_model({"name": "tiny", "n_layer": 2, "d_model": 8, "n_head": 2, "vocab_size": 16, "n_ctx": 4})
    >>> weight_shapes(tiny)["block.1.mlp.up.weight"]
    (8, 32)
    """
    s, on = shape_of(spec), spec.switches
    d, F, V = s.d_model, s.d_ff, s.vocab_size
    heads, kv_heads = s.n_head * s.d_head, s.n_kv_head * s.d_head

    def linear(name: str, n_in: int, n_out: int, bias: bool) -> Shapes:
        weight: Shapes = {f"{name}.weight": (n_in, n_out)}
        return weight | {f"{name}.bias": (n_out,)} if bias else weight

    def norm(name: str) -> Shapes:
        has = {"weight": on.norm_weight, "bias": on.norm_bias and on.norm == "layernorm"}
        return {f"{name}.{kind}": (d,) for kind in has if has[kind]}

    shapes: Shapes = {"embedding.token.weight": (V, s.d_embedding)}
    if on.projected_embedding:
        shapes |= linear("embedding.project_in", s.d_embedding, d, bias=False)
    if on.position == "learned":
        shapes |= {"embedding.position.weight": (s.n_position, d)}
    for layer in range(s.n_layer):
        attention, mlp = f"block.{layer}.attention", f"block.{layer}.mlp"
        shapes |= norm(f"{attention}.norm")
        shapes |= linear(f"{attention}.query", d, heads, on.attention_bias)
        shapes |= linear(f"{attention}.key", d, kv_heads, on.attention_bias)
        shapes |= linear(f"{attention}.value", d, kv_heads, on.attention_bias)
        shapes |= linear(f"{attention}.output", heads, d, on.attention_output_bias)
        if not on.shared_norm:
            shapes |= norm(f"{mlp}.norm")
        if on.gated:
            shapes |= linear(f"{mlp}.gate", d, F, on.mlp_bias)
        shapes |= linear(f"{mlp}.up", d, F, on.mlp_bias)
        shapes |= linear(f"{mlp}.down", F, d, on.mlp_bias)
    if on.final_norm:
        shapes |= norm("final_norm")
    if on.projected_embedding:
        shapes |= linear("head.project_out", d, s.d_embedding, bias=False)
    if not on.tied:
        shapes |= {"head.output.weight": (s.d_embedding, V)}
    if on.head_bias:
        shapes |= {"head.output.bias": (V,)}
    return shapes


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
        elif len(shape) == 2:
            array *= 1 / math.sqrt(shape[0])
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
    for name, array in weights.items():
        if name not in shapes:
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
