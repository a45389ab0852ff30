"""Model types with a mixture of experts in every layer."""

from __future__ import annotations

from typing import Any

from gptcalc.spec.huggingface.family import ABSENT, Config, Family, Fields, Key, because, variant, written
from gptcalc.spec.huggingface.handlers import (
    ACTIVATIONS,
    divides,
    flag,
    head_width_needed,
    kv_heads_needed,
    nothing,
    only,
    optional_size,
    size,
    standard,
    unread,
    unread_head_width,
)
from gptcalc.spec.huggingface.layers import (
    attentions,
    every,
)
from gptcalc.spec.huggingface.lineages import GRANITE, OLMO2, SINKS_AND_WINDOWS
from gptcalc.spec.huggingface.llama import (
    HEAD_IF_GIVEN,
    LLAMA,
    MISTRAL,
    MLP_UNBIASED,
    NO_BIAS,
    ROOMY,
    UNBIASED,
)
from gptcalc.spec.huggingface.mixture import EXPERT_KEYS, everywhere, mixture, shares
from gptcalc.spec.huggingface.rotary import rope, rotary_keys

# --- Mixtral and its kin: experts in every layer ------------------------------------------------------------------------------------

_MIXTRAL = mixture("num_local_experts")
MIXTRAL = variant(
    MISTRAL,
    "mixtral",
    "MixtralForCausalLM",
    "Mixtral",
    defaults={"rms_norm_eps": 1e-5, "sliding_window": None, "rope_theta": 1000000.0},
    keys={"num_local_experts": Key(8, everywhere(_MIXTRAL)), **EXPERT_KEYS},
    aliases={"num_experts": "num_local_experts"},
)


def _turned_of_minimax(key: str, config: Config) -> Fields:
    """`rotary_dim` says how many channels turn, where nothing else does."""
    fields = rope(partly=True, odd_up=True)(key, config)
    given = (config["rope_scaling"] or config[key] or {}).get("partial_rotary_factor", config.data.get("partial_rotary_factor"))
    if given is not None or config["rotary_dim"] in (None, ABSENT):
        return fields
    return {**fields, "d_rotary": config.size("rotary_dim")}


MINIMAX_M2 = variant(
    UNBIASED,
    "minimax_m2",
    "MiniMaxM2ForCausalLM",
    "MiniMax M2",
    defaults={
        "vocab_size": 200064,
        "hidden_size": 3072,
        "intermediate_size": 1536,
        "num_hidden_layers": 62,
        "num_attention_heads": 48,
        "max_position_embeddings": 196608,
    },
    keys={
        "num_key_value_heads": Key(8, kv_heads_needed),
        "head_dim": Key(128, head_width_needed),
        "num_local_experts": Key(256, everywhere(mixture("num_local_experts", router_score="sigmoid"))),
        "num_experts_per_tok": Key(8, nothing),
        **rotary_keys(5000000.0, share=1.0),
        "rope_parameters": Key(None, _turned_of_minimax),
        "rotary_dim": Key(ABSENT, nothing),
        "scoring_func": unread("the model's code scores by a sigmoid", "sigmoid"),
        "use_qk_norm": unread("the model's code always has it", True),
        "qk_norm_type": unread("the model's code normalises all heads as one row", "per_layer"),
        "use_routing_bias": unread("a correction of scores, which is no parameter", True),
        "attn_type_list": unread("every layer attends in full"),
    },
    fixed={"qk_norm": "full"},
    aliases={"num_experts": "num_local_experts"},
)

OLMOE = variant(
    MLP_UNBIASED,
    "olmoe",
    "OlmoeForCausalLM",
    "OLMoE",
    defaults={
        "vocab_size": 50304,
        "hidden_size": 2048,
        "intermediate_size": 2048,
        "num_hidden_layers": 16,
        "num_attention_heads": 16,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
    },
    keys={
        "head_dim": unread_head_width(),  # the norms are as wide as the model, whatever the heads are
        **standard(clip_qkv=None),
        "num_experts": Key(64, everywhere(mixture(normalised="norm_topk_prob"))),
        "num_experts_per_tok": Key(8, nothing),
        "norm_topk_prob": Key(False, nothing),
    },
    fixed={"qk_norm": "full"},
    aliases={"num_local_experts": "num_experts"},
)

FLEX_OLMO = variant(
    OLMO2,
    "flex_olmo",
    "FlexOlmoForCausalLM",
    "FlexOlmo",
    defaults={"vocab_size": 100352, "max_position_embeddings": 4096, "rms_norm_eps": 1e-6, "rope_theta": 500000.0},
    keys={
        "num_experts": Key(7, everywhere(mixture(normalised="norm_topk_prob"))),
        "num_experts_per_tok": Key(5, nothing),
        "norm_topk_prob": Key(False, nothing),
    },
    aliases={"num_local_experts": "num_experts"},
)

PHIMOE = variant(
    MLP_UNBIASED,
    "phimoe",
    "PhimoeForCausalLM",
    "Phi 3.5 MoE",
    defaults={
        "vocab_size": 32064,
        "intermediate_size": 6400,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1000000.0,
    },
    keys={
        "head_dim": HEAD_IF_GIVEN,
        "sliding_window": Key(None, optional_size("sliding_window")),
        "lm_head_bias": Key(False, flag("head_bias")),
        "num_local_experts": Key(16, everywhere(mixture("num_local_experts", normalised=False))),
        **EXPERT_KEYS,
        "original_max_position_embeddings": Key(ABSENT, nothing),
    },
    fixed={"norm": "layernorm", "norm_bias": True},
)

GRANITEMOE = variant(
    GRANITE,
    "granitemoe",
    "GraniteMoeForCausalLM",
    "Granite MoE",
    keys={"mlp_bias": NO_BIAS, "num_local_experts": Key(8, everywhere(mixture("num_local_experts"))), **EXPERT_KEYS},
    fixed={"mlp_bias": False},
)
GRANITEMOESHARED = variant(
    GRANITEMOE,
    "granitemoeshared",
    "GraniteMoeSharedForCausalLM",
    "Granite MoE",
    keys={
        "num_local_experts": Key(
            8, everywhere(mixture("num_local_experts", shared=lambda config: config.size("shared_intermediate_size", least=0)))
        ),
        "shared_intermediate_size": Key(0, nothing),
    },
)
GRANITEMOE_SWA = variant(
    GRANITEMOESHARED,
    "granitemoe_swa",
    "GraniteMoeSWAForCausalLM",
    "Granite MoE",
    keys=SINKS_AND_WINDOWS,
    fixed={"attention_sinks": True},
)

ARIA = variant(
    LLAMA,
    "aria_text",
    "AriaTextForCausalLM",
    "Aria",
    defaults={"intermediate_size": 4096},
    keys={
        "hidden_act": Key("silu", only("silu", "swish", why="the shared experts would have another activation than the routed ones")),
        "mlp_bias": Key(False, only(False, why="the shared experts would have biases and the routed ones none")),
        "moe_num_experts": Key(
            8, everywhere(mixture("moe_num_experts", "moe_topk", shared=shares("moe_num_shared_experts", "intermediate_size")))
        ),
        "moe_topk": Key(2, nothing),
        "moe_num_shared_experts": Key(2, nothing),
    },
    fixed={"mlp_bias": False, "activation": "silu"},
)

GPT_OSS = variant(
    ROOMY,
    "gpt_oss",
    "GptOssForCausalLM",
    "gpt-oss",
    without="mlp_bias",
    defaults={
        "vocab_size": 201088,
        "hidden_size": 2880,
        "intermediate_size": 2880,
        "num_hidden_layers": 36,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "attention_bias": True,
        "rope_theta": 150000.0,
        "rope_parameters": {
            "rope_type": "yarn",
            "factor": 32.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "truncate": False,
            "original_max_position_embeddings": 4096,
        },
    },
    keys={
        # The experts' code has its own activation, a clamped SiLU, and does not read the key.
        "hidden_act": Key("silu", only("silu", why="the experts' code has an activation of its own")),
        "swiglu_alpha": Key(1.702, only(1.702, why="the experts' activation would be another")),
        "swiglu_limit": Key(7.0, only(7.0, 7, why="the experts' activation would be another")),
        "sliding_window": Key(128, nothing),
        "layer_types": Key(None, attentions(every(2))),
        "num_local_experts": Key(128, everywhere(mixture("num_local_experts", router_bias=True))),
        "num_experts_per_tok": Key(4, nothing),
        "experts_per_token": unread("num_experts_per_tok says so", 4),
        "initial_context_length": unread("the scaling of rotary positions says so", 4096),
    },
    fixed={"attention_sinks": True, "activation": "silu_clamped"},
    aliases={"num_experts": "num_local_experts"},
)


def _one_number(key: str, config: Config) -> Fields:
    """Hunyuan's files may give a number for each layer."""
    value = config[key]
    if isinstance(value, list) and value and len(set(map(str, value))) > 1:
        raise config.refuse(key, "differs from layer to layer")
    if isinstance(value, list):
        raise config.refuse(key, "must be one number for all layers")
    return {}


HUNYUAN_MOE = variant(
    MLP_UNBIASED,
    "hunyuan_v1_moe",
    "HunYuanMoEV1ForCausalLM",
    "Hunyuan",
    defaults={"vocab_size": 290943, "rms_norm_eps": 1e-5},
    keys={
        "head_dim": Key(None, head_width_needed),
        "moe_topk": Key(1, _one_number),
        "num_experts": Key(1, everywhere(mixture(k="moe_topk", shared=lambda config: config.size("intermediate_size")))),
        "use_qk_norm": unread("the model's code always has it", True),
    },
    fixed={"qk_norm": "head", "qk_norm_after_rotary": True},
    aliases={"num_experts_per_tok": "moe_topk", "num_local_experts": "num_experts"},
)


def _attention_of_dbrx(key: str, config: Config) -> Fields:
    given = _inner(key, config, {"kv_n_heads", "clip_qkv", "attn_pdrop", "rope_theta"})
    theta = config.number(f"{key}.rope_theta", given.get("rope_theta", 10000.0))
    kv = given.get("kv_n_heads", 1)
    if type(kv) is not int or kv < 1:
        raise config.refuse(f"{key}.kv_n_heads", f"must be a whole number above zero, not {written(kv)}")
    if "rope_theta" not in given:
        raise config.refuse(f"{key}.rope_theta", "is missing: the model's code fails without it")
    clip = given.get("clip_qkv")
    return {"n_kv_head": kv, "rope_theta": theta, **({} if clip is None else {"qkv_clip": config.number(f"{key}.clip_qkv", clip)})}


def _experts_of_dbrx(key: str, config: Config) -> Fields:
    given = _inner(
        key,
        config,
        {
            "ffn_act_fn",
            "ffn_hidden_size",
            "moe_num_experts",
            "moe_top_k",
            "moe_jitter_eps",
            "moe_loss_weight",
            "moe_normalize_expert_weights",
            "uniform_expert_assignment",
            "hidden_size",
        },
    )
    sizes = {"n_expert": ("moe_num_experts", 4), "n_expert_per_token": ("moe_top_k", 1), "d_expert": ("ffn_hidden_size", 3584)}
    fields: Fields = {}
    for field, (name, default) in sizes.items():
        value = given.get(name, default)
        if type(value) is not int or value < 1:
            raise config.refuse(f"{key}.{name}", f"must be a whole number above zero, not {written(value)}")
        fields[field] = value
    act = (given.get("ffn_act_fn") or {"name": "silu"}).get("name")
    if act not in ACTIVATIONS:
        raise config.refuse(f"{key}.ffn_act_fn", f"{written(act)} is an activation that gptcalc does not know")
    if given.get("moe_normalize_expert_weights", 1.0) not in (None, 1, 1.0):
        raise config.refuse(f"{key}.moe_normalize_expert_weights", "must be 1 or null")
    normalised = given.get("moe_normalize_expert_weights", 1.0) is not None
    return {**fields, "activation": ACTIVATIONS[act], "router_normalised": normalised}


_ABOUT = because(
    "of any config",
    """
    model_type return_dict architectures _name_or_path dtype id2label label2id problem_type output_hidden_states output_attentions
    chunk_size_feed_forward is_encoder_decoder transformers_version""",
)


def _inner(key: str, config: Config, known: set[str]) -> dict[str, Any]:
    given = config[key] or {}
    if not isinstance(given, dict):
        raise config.refuse(key, f"must be a mapping, not {written(given)}")
    for name in given:
        if name not in known and name not in _ABOUT:
            raise config.refuse(f"{key}.{name}", "is a key that gptcalc does not understand")
    return given


DBRX = Family(
    "dbrx",
    ("DbrxForCausalLM",),
    {
        "d_model": Key(2048, size("d_model")),
        "n_heads": Key(16, divides),
        "n_layers": Key(24, size("n_layer")),
        "max_seq_len": Key(2048, size("n_ctx")),
        "vocab_size": Key(32000, size("vocab_size")),
        "attn_config": Key(None, _attention_of_dbrx),
        "ffn_config": Key(None, _experts_of_dbrx),
        "tie_word_embeddings": Key(
            False, lambda key, config: only(False, why="DBRX's head is a matrix of its own")(key, config) | {"tied": False}
        ),
        "rope_parameters": Key(None, only(None, {"rope_theta": 10000.0, "rope_type": "default"}, why="DBRX's base is in attn_config")),
        "num_key_value_heads": Key(ABSENT, nothing),
        "head_dim": unread_head_width(),
    },
    {
        "family": "DBRX",
        "position": "rotary",
        "norm_bias": False,
        "attention_bias": False,
        "attention_output_bias": False,
        "mlp_bias": False,
        "gated": True,
    },
    {"num_attention_heads": "n_heads", "hidden_size": "d_model", "num_hidden_layers": "n_layers", "max_position_embeddings": "max_seq_len"},
)

FAMILIES = (
    MIXTRAL, MINIMAX_M2, OLMOE, FLEX_OLMO, PHIMOE, GRANITEMOE, GRANITEMOESHARED, GRANITEMOE_SWA, ARIA, GPT_OSS, HUNYUAN_MOE, DBRX,
)  # fmt: skip
