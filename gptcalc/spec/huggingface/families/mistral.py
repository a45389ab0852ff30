"""Mistral, Ministral and Mixtral: Llama without biases, with a window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gptcalc.spec.huggingface.families.deepseek import DEEPSEEK_V3, latent_angles
from gptcalc.spec.huggingface.families.llama import UNBIASED
from gptcalc.spec.huggingface.family import ABSENT, Config, Fields, Key, sizes, variant, written
from gptcalc.spec.huggingface.handlers import agrees, head_width_needed, nothing, optional_size, unread
from gptcalc.spec.huggingface.layers import always, attentions, experts_in, window_or_none
from gptcalc.spec.huggingface.mixture import EXPERT_KEYS, everywhere, mixture, past, shares
from gptcalc.spec.huggingface.rotary import given_angles, rope


def _same_layers(key: str, config: Config) -> Fields:
    """The code makes every layer alike, windowed or not: a list that says so changes nothing, another is a different model."""
    value = config[key]
    expected = "full_attention" if config["sliding_window"] is None else "sliding_attention"
    if value is not ABSENT and value is not None and value != [expected] * config.layers:
        raise config.refuse(key, f"differs from what the model's code builds, {expected} in every layer")
    return {}


MISTRAL = variant(
    UNBIASED,
    "mistral",
    "MistralForCausalLM",
    "Mistral",
    defaults=sizes(F=14336, K=8, T=4096 * 32),
    keys={"sliding_window": Key(4096, optional_size("sliding_window")), "layer_types": Key(ABSENT, _same_layers)},
)

_MINISTRAL3_ROPE = {
    "type": "yarn",
    "rope_theta": 1000000.0,
    "factor": 16.0,
    "original_max_position_embeddings": 16384,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "mscale_all_dim": 1.0,
    "mscale": 1.0,
    "llama_4_scaling_beta": 0.1,
}


def _scaled_beyond(key: str, config: Config) -> Fields:
    return rope()(key, config) | _scaled_queries(given_angles(key, config))


def _scaled_queries(given: Mapping[str, Any]) -> Fields:
    """Queries are scaled by how many times the original context stands before them."""
    original = given.get("original_max_position_embeddings")
    return {"query_scale_from": original} if given.get("llama_4_scaling_beta") and type(original) is int and original > 0 else {}


MINISTRAL3 = variant(
    MISTRAL,
    "ministral3",
    "Ministral3ForCausalLM",
    "Ministral",
    defaults=sizes(V=131072, L=34, Q=128, T=262144, rms_norm_eps=1e-5, sliding_window=None),
    keys={"rope_parameters": Key(_MINISTRAL3_ROPE, _scaled_beyond)},
)


def _all_or_none(config: Config) -> object:
    return always("full" if config["sliding_window"] is None else "sliding")(config)


MINISTRAL = variant(
    UNBIASED,
    "ministral",
    "MinistralForCausalLM",
    "Ministral",
    defaults=sizes(F=14336, K=8, T=4096 * 32),
    keys={
        "head_dim": Key(None, head_width_needed),
        "sliding_window": Key(4096, nothing),
        "layer_types": Key(None, attentions(_all_or_none, window=window_or_none)),  # type: ignore[arg-type]
    },
)

MIXTRAL = variant(
    MISTRAL,
    "mixtral",
    "MixtralForCausalLM",
    "Mixtral",
    defaults={"rms_norm_eps": 1e-5, "sliding_window": None, "rope_theta": 1000000.0},
    keys={"num_local_experts": Key(8, everywhere(mixture("num_local_experts"))), **EXPERT_KEYS},
    aliases={"num_experts": "num_local_experts"},
)

_MISTRAL4_ROPE = {**_MINISTRAL3_ROPE, "rope_theta": 10000.0, "factor": 128.0, "original_max_position_embeddings": 8192}


def _whole_head(config: Config) -> int:
    return config.size("qk_nope_head_dim") + config.size("qk_rope_head_dim")


def _of_whole_heads(key: str, config: Config) -> Fields:
    """The share is of a whole head, of which `qk_rope_head_dim` says the same again."""
    given = dict(given_angles(key, config))
    share = given.pop("partial_rotary_factor", None)
    rotated, whole = config.size("qk_rope_head_dim"), _whole_head(config)
    turned = int(whole * (rotated / whole if share is None else config.number("partial_rotary_factor", share)))
    if turned + turned % 2 != rotated:
        raise config.refuse("partial_rotary_factor", f"{written(share)} of {whole} channels is not qk_rope_head_dim {rotated}")
    odd = {"unexecuted": (f"the angles of {turned} channels turn {rotated}",)} if turned % 2 else {}
    return latent_angles(key, given, config) | odd | _scaled_queries(given)


def _groups_by_two(key: str, config: Config) -> Fields:
    if config[key] in (None, 1):
        return {}
    return {"unexecuted": ("its router chooses groups of experts by the sum of their best two shares of a softmax",)}


_mistral4_experts = mixture(
    "n_routed_experts",
    width="moe_intermediate_size",
    shared=shares("n_shared_experts"),
    normalised="norm_topk_prob",
    scale="routed_scaling_factor",
    groups=True,
)

MISTRAL4 = variant(
    DEEPSEEK_V3,
    "mistral4",
    "Mistral4ForCausalLM",
    "Mistral 4",
    without="num_nextn_predict_layers",
    defaults=sizes(V=131072, d=4096, F=12288, L=36, H=32, K=32, T=1048576, n_routed_experts=128, routed_scaling_factor=1.0)
    | {"kv_lora_rank": 256, "q_lora_rank": 1024, "qk_nope_head_dim": 64, "topk_group": 1, "num_experts_per_tok": 4}
    | {"first_k_dense_replace": 0},
    keys={
        "rope_parameters": Key(_MISTRAL4_ROPE, _of_whole_heads),
        "n_group": Key(1, _groups_by_two),
        "head_dim": Key(ABSENT, agrees(_whole_head, "the sum of its two parts")),
        "n_routed_experts": Key(128, experts_in(past("first_k_dense_replace"), _mistral4_experts)),
        "scoring_func": unread("the model's code scores by a softmax", "softmax"),
        "topk_method": unread("the model's code does not read it"),
    },
)

FAMILIES = (MISTRAL, MINISTRAL3, MINISTRAL, MIXTRAL, MISTRAL4)
