"""Rotary frequencies, and the ways to stretch them beyond the context that a model was first trained for, as transformers computes them."""

from __future__ import annotations

import math

import numpy as np

from gptcalc.errors import GptcalcError
from gptcalc.reference.tally import Array
from gptcalc.spec.model import ModelSpec


def rotary_frequencies(spec: ModelSpec, width: int, length: int = 1) -> Array:
    """Radians per position of each pair of channels, float64 [width / 2], for a sequence of so many tokens.

    'dynamic' scaling begins beyond n_ctx, where no sequence here goes.

    Source: Su et al. 2021 (RoFormer), arXiv:2104.09864; Peng et al. 2023 (YaRN), arXiv:2309.00071; Ding et al. 2024 (LongRoPE),
    arXiv:2402.13753; transformers' modeling_rope_utils for each.
    Raises GptcalcError for any other rope_scaling, and for one without the numbers that it needs.
    """
    frequency: Array = spec.rope_theta ** (-np.arange(0, width, 2) / width)
    kind = scaling_kind(spec)
    if kind in ("default", "dynamic"):
        return frequency
    if kind == "proportional":  # the first pairs of the whole head turn, the others stand still
        turning = int(_number(spec, "partial_rotary_factor") * width // 2)
        return np.where(np.arange(width // 2) < turning, frequency, 0.0)
    if kind == "linear":
        return frequency / _number(spec, "factor")
    if kind == "llama3":
        low, high = _number(spec, "low_freq_factor"), _number(spec, "high_freq_factor")
        turns = _number(spec, "original_max_position_embeddings") * frequency / (2 * math.pi)  # in the original context
        keep = np.clip((turns - low) / (high - low), 0, 1)  # few turns: slowed down by the factor; many: kept; between: blended
        return keep * frequency + (1 - keep) * frequency / _number(spec, "factor")
    if kind == "yarn":
        keep = _kept_by_yarn(spec, width)
        return keep * frequency + (1 - keep) * frequency / _number(spec, "factor")
    if kind == "longrope":
        long = length > _number(spec, "original_max_position_embeddings")
        factors = np.asarray((spec.rope_scaling or {}).get("long_factor" if long else "short_factor"), dtype=np.float64)
        if factors.shape != frequency.shape:
            raise GptcalcError(f"rope_scaling 'longrope' needs {width // 2} factors, not an array of shape {factors.shape}")
        return frequency / factors
    known = "known: default, linear, dynamic, llama3, yarn, longrope, proportional; no count depends on it"
    raise GptcalcError(f"rope_scaling of type {kind!r} cannot be executed", hint=known)


def table_factor(spec: ModelSpec) -> float:
    """What cosines and sines are multiplied by, so that attention stays as sharp over a longer context."""
    kind, scaling = scaling_kind(spec), spec.rope_scaling or {}
    if kind not in ("yarn", "longrope"):
        return 1.0
    if scaling.get("attention_factor") is not None:
        return _number(spec, "attention_factor")
    if kind == "longrope":
        original = _number(spec, "original_max_position_embeddings")
        factor = spec.n_ctx / original if scaling.get("factor") is None else _number(spec, "factor")
        return 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
    if scaling.get("mscale") and scaling.get("mscale_all_dim"):
        return _sharpened(spec, _number(spec, "mscale")) / _sharpened(spec, _number(spec, "mscale_all_dim"))
    return _sharpened(spec, 1.0)


def score_scale(spec: ModelSpec, width: int) -> float:
    """What scores of heads of so many channels are multiplied by. DeepSeek sharpens them where YaRN stretches its latent attention."""
    scale = 1 / math.sqrt(width) if spec.attention_scale is None else spec.attention_scale
    stretched = spec.kv_lora_rank is not None and scaling_kind(spec) == "yarn" and bool((spec.rope_scaling or {}).get("mscale_all_dim"))
    return scale * _sharpened(spec, _number(spec, "mscale_all_dim")) ** 2 if stretched else scale


def scaling_kind(spec: ModelSpec) -> object:
    scaling = spec.rope_scaling or {}
    return scaling.get("rope_type", scaling.get("type", "default"))


def _kept_by_yarn(spec: ModelSpec, width: int) -> Array:
    """How much of its frequency each pair keeps: all where it turns often in the original context, none where it hardly turns."""
    scaling = spec.rope_scaling or {}
    original = _number(spec, "original_max_position_embeddings")

    def pair_with(turns: float) -> float:
        return width * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(spec.rope_theta))

    low = pair_with(_number(spec, "beta_fast") if scaling.get("beta_fast") else 32.0)
    high = pair_with(_number(spec, "beta_slow") if scaling.get("beta_slow") else 1.0)
    if scaling.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    kept: Array = 1 - np.clip((np.arange(width // 2) - low) / (high - low or 0.001), 0, 1)
    return kept


def _sharpened(spec: ModelSpec, weight: float) -> float:
    factor = _number(spec, "factor")
    return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1


def _number(spec: ModelSpec, name: str) -> float:
    value = (spec.rope_scaling or {}).get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise GptcalcError(f"rope_scaling needs a positive number '{name}', not {value!r}"[:120])
    return float(value)
