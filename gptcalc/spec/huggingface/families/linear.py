"""Models of delta networks and attention, Qwen 3 Next and 3.5 and OLMo Hybrid, and of short convolutions and attention, LFM 2 and 3."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gptcalc.spec.huggingface.families.gemma4 import angles_under
from gptcalc.spec.huggingface.families.llama import NO_WINDOW, UNBIASED
from gptcalc.spec.huggingface.families.olmo import OLMO2
from gptcalc.spec.huggingface.families.qwen import QWEN3, QWEN3_MOE, qwen_sparse
from gptcalc.spec.huggingface.family import ABSENT, Config, Fields, Key, because, sizes, variant, written
from gptcalc.spec.huggingface.handlers import (
    HEAD_IF_GIVEN,
    epsilon,
    flag,
    head_width_needed,
    kv_heads,
    kv_heads_needed,
    nothing,
    read_elsewhere,
    size,
    unread,
)
from gptcalc.spec.huggingface.layers import ATTENTION, Layer, experts_in, from_key, listed
from gptcalc.spec.huggingface.mixture import everywhere, mixture, past
from gptcalc.spec.huggingface.recurrent import (
    DELTA_KEYS,
    delta_net,
    last_of,
    mixers,
    silu_only,
)
from gptcalc.spec.huggingface.rotary import rope, rotary_keys

_LFM_UNREAD = """block_dim block_mlp_init_scale block_norm_eps block_out_init_scale block_use_swiglu block_use_xavier_init conv_dim
    conv_dim_out conv_use_xavier_init num_heads theta"""
# --- Qwen 3 Next, 3.5 and 3.6 ----------------------------------------------------------------------------------------------------------

_LINEAR = {
    **DELTA_KEYS,
    "full_attention_interval": Key(ABSENT, nothing),
    "layer_types": Key(None, mixers(delta_net, last_of("full_attention_interval", 4))),
}
_SHARED: dict[str, Any] = {
    "width": "moe_intermediate_size",
    "shared": from_key("shared_expert_intermediate_size"),
    "shared_expert_gate": True,
}
_GATED: Fields = {"attention_gate": "channel", "norm_weight_plus_one": True}

QWEN3_NEXT = variant(
    QWEN3_MOE,
    "qwen3_next",
    "Qwen3NextForCausalLM",
    "Qwen 3 Next",
    without="use_sliding_window max_window_layers sliding_window",
    defaults=sizes(d=2048, F=5632, L=48, H=16, K=2, Q=256, num_experts_per_tok=10, moe_intermediate_size=512, norm_topk_prob=True),
    keys={
        **_LINEAR,
        **rotary_keys(10000.0, share=0.25),
        "sliding_window": NO_WINDOW,
        "shared_expert_intermediate_size": Key(512, nothing),
        "num_local_experts": Key(512, experts_in(qwen_sparse, mixture("num_local_experts", normalised="norm_topk_prob", **_SHARED))),
    },
    fixed=_GATED,
)

_QWEN35_ROPE = rotary_keys(10000.0, share=0.25, sections=True)

QWEN35 = variant(
    QWEN3,
    "qwen3_5_text",
    "Qwen3_5ForCausalLM Qwen3_5TextModel Qwen3_5ForConditionalGeneration Qwen3_5Model",
    "Qwen 3.5",
    without="use_sliding_window max_window_layers sliding_window use_mrope",
    defaults=sizes(V=248320, d=4096, F=12288, L=32, H=16, K=4, Q=256),
    keys={**_LINEAR, **_QWEN35_ROPE, "num_key_value_heads": Key(4, kv_heads_needed), "sliding_window": NO_WINDOW},
    fixed=_GATED,
)

QWEN35_MOE = variant(
    QWEN3_NEXT,
    "qwen3_5_moe_text",
    "Qwen3_5MoeForCausalLM Qwen3_5MoeTextModel Qwen3_5MoeForConditionalGeneration Qwen3_5MoeModel",
    "Qwen 3.5",
    without="decoder_sparse_step mlp_only_layers norm_topk_prob",
    defaults=sizes(V=248320, L=40, num_experts_per_tok=8),
    keys={
        **_QWEN35_ROPE,
        "intermediate_size": Key(ABSENT, nothing),
        "norm_topk_prob": unread("the model's code always divides by the sum", True),
        "num_local_experts": Key(256, everywhere(mixture("num_local_experts", **_SHARED))),
    },
    fixed=_GATED,
)

# --- LFM2 ---------------------------------------------------------------------------------------------------------------------------------

_CONV = {"conv": "linear", "full_attention": "full", "attention": "full"}


def _short_conv(config: Config) -> Fields:
    return {"mixer": {"kind": "short_conv", "d_conv": config.size("conv_L_cache"), "bias": config.flag("conv_bias")}}


def _lfm2_rule(config: Config) -> Callable[[int], str]:
    given = config["full_attn_idxs"]
    if given is not None and (not isinstance(given, list) or not all(type(entry) is int for entry in given)):
        raise config.refuse("full_attn_idxs", f"must be a list of layers, not {written(given)}")
    return lambda i: "full" if given is None or i in given else "linear"


def _lfm2_width(key: str, config: Config) -> Fields:
    """Two thirds of what is given, times a factor, up to a multiple; as it is given where the file says so."""
    width = config.size(key)
    if config.flag("block_auto_adjust_ff_dim"):
        width = int(2 * width / 3)
        if config["block_ffn_dim_multiplier"] is not None:
            multiple = config.size("block_multiple_of")
            width = int(config.number("block_ffn_dim_multiplier", config["block_ffn_dim_multiplier"]) * width)
            width = -(-width // multiple) * multiple
    if width < 1:
        raise config.refuse(key, f"{config.size(key)} leaves an MLP no channel")
    return {"d_ff": width}


LFM2 = variant(
    UNBIASED,
    "lfm2",
    "Lfm2ForCausalLM",
    "LFM 2",
    without="hidden_act rms_norm_eps",
    defaults=sizes(V=65536, d=2560, K=8, T=128000, tie_word_embeddings=True),
    keys={
        "num_key_value_heads": Key(8, kv_heads_needed),
        "head_dim": HEAD_IF_GIVEN,
        "intermediate_size": Key(12288, _lfm2_width),
        **read_elsewhere(block_multiple_of=256, block_auto_adjust_ff_dim=True, conv_bias=False, conv_L_cache=3),
        "block_ffn_dim_multiplier": Key(1.0, lambda key, config: {}),
        "norm_eps": Key(1e-5, epsilon),
        **rotary_keys(1000000.0),
        "full_attn_idxs": Key(None, lambda key, config: {}),
        "layer_types": Key(None, mixers(_short_conv, _lfm2_rule, _CONV)),
    },
    fixed={"qk_norm": "head", "activation": "silu"},
    aliases={"tie_embedding": "tie_word_embeddings", "block_ff_dim": "intermediate_size"},
    harmless=because("the code does not read it", _LFM_UNREAD),
)


def _listed_only(config: Config) -> Callable[[int], str]:
    def missing(layer: int) -> str:
        raise config.refuse("layer_types", "is missing: the class has no rule for the kinds of its layers")

    return missing


LFM2_MOE = variant(
    LFM2,
    "lfm2_moe",
    "Lfm2MoeForCausalLM",
    "LFM 2",
    without="block_multiple_of block_auto_adjust_ff_dim block_ffn_dim_multiplier full_attn_idxs",
    defaults=sizes(d=2048),
    keys={
        "intermediate_size": Key(7168, size("d_ff")),
        "layer_types": Key(None, mixers(_short_conv, _listed_only, _CONV)),
        **read_elsewhere(moe_intermediate_size=1792, num_dense_layers=2, num_experts_per_tok=4, use_expert_bias=True, norm_topk_prob=True),
        **read_elsewhere(routed_scaling_factor=1.0),
        "num_experts": Key(
            32,
            experts_in(
                past("num_dense_layers"),
                mixture(width="moe_intermediate_size", normalised="norm_topk_prob", scale="routed_scaling_factor", router_score="sigmoid"),
            ),
        ),
    },
    harmless=because("the code does not read it", "theta"),
)


_LFM3_ANGLES: Mapping[str, Mapping[str, Any]] = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
    "full_attention": {"rope_type": "proportional", "rope_theta": 1_000_000.0, "partial_rotary_factor": 0.5},
}


def _lfm3_layers(key: str, config: Config) -> Fields:
    """Convolutions, and attention to all or to a window, each kind with angles of its own."""
    known = {"conv": "linear", "full_attention": "full", "sliding_attention": "sliding"}
    kinds = listed(key, config, known, lambda i: "full" if i % 4 == 2 else "linear" if i % 4 or not i else "sliding")
    columns: dict[str, Fields] = {"linear": _short_conv(config), "full": {}, "sliding": {}}
    if "full" in kinds:
        columns["full"] = angles_under("full_attention", config, _LFM3_ANGLES)
    if "sliding" in kinds:
        columns["sliding"] = {**angles_under("sliding_attention", config, _LFM3_ANGLES), "sliding_window": config.size("sliding_window")}
    return {ATTENTION: [Layer(kind, columns[kind]) for kind in kinds]}


LFM3 = variant(
    LFM2,
    "lfm3",
    "Lfm3ForCausalLM",
    "LFM 3",
    without="""block_multiple_of block_auto_adjust_ff_dim block_ffn_dim_multiplier full_attn_idxs rope_scaling rope_theta
        partial_rotary_factor""",
    defaults=sizes(V=128000, d=2048, L=24, H=16, K=4, conv_L_cache=7),
    keys={
        "intermediate_size": Key(7680, size("d_ff")),
        "head_dim": Key(128, head_width_needed),
        "attention_bias": Key(False, flag("attention_bias", "attention_output_bias")),
        **read_elsewhere(rope_parameters=None, sliding_window=256),
        "layer_types": Key(None, _lfm3_layers),
        "use_sandwich_norm": Key(True, lambda key, config: {"norm_placement": "sandwich"} if config.flag(key) else {}),
        "use_attention_gate": Key(True, lambda key, config: {"attention_gate": "head_sigmoid"} if config.flag(key) else {}),
    },
    aliases={"rms_norm_eps": "norm_eps"},
)

# --- OLMo Hybrid --------------------------------------------------------------------------------------------------------------------------


def _olmo_layers(key: str, config: Config) -> Fields:
    """DeltaNet with norms before sublayers, and attention with norms on outputs; the class needs one layer of each kind."""
    last = config.layers - 1
    kinds = listed(key, config, _LINEAR_WORDS, lambda i: "full" if i % 4 == 3 or i == last < 3 else "linear")
    if len(set(kinds)) < 2:
        raise config.refuse(key, "must have layers of both kinds, linear_attention and full_attention")
    silu_only(config)
    linear: Fields = {**_olmo_delta(config), "norm_placement": "pre"}
    return {ATTENTION: [Layer(kind, linear if kind == "linear" else {}) for kind in kinds]}


_LINEAR_WORDS = {"linear_attention": "linear", "full_attention": "full"}


def _olmo_delta(config: Config) -> Fields:
    def given(key: str, usual: int) -> int:
        return usual if config[key] is None else config.size(key)

    heads = config.size("num_attention_heads")
    keys, values = given("linear_num_key_heads", heads), given("linear_num_value_heads", heads)
    if values % keys:
        raise config.refuse("linear_num_value_heads", f"{values} is not a multiple of linear_num_key_heads {keys}")
    width = given("linear_key_head_dim", int(0.75 * config.size("hidden_size") / keys))
    if width < 1:
        raise config.refuse("linear_num_key_heads", f"{keys} leaves a head of keys no channel")
    sizes: Fields = {"kind": "delta_net", "n_head": values, "n_key_head": keys, "d_key": width, "norm_epsilon": 1e-5}
    sizes |= {"d_head": given("linear_value_head_dim", 2 * width), "d_conv": config.size("linear_conv_kernel_dim")}
    return {"mixer": sizes | {"negative": config.flag("linear_allow_neg_eigval")}}


def _olmo_angles(key: str, config: Config) -> Fields:
    """Released models have a base of null, and no angles."""
    given = config[key]
    if isinstance(given, dict) and "rope_theta" in given and given["rope_theta"] is None:
        return {"position": "none"}
    return rope()(key, config)


OLMO_HYBRID = variant(
    OLMO2,
    "olmo_hybrid",
    "OlmoHybridForCausalLM",
    "OLMo",
    defaults=sizes(V=100352, d=3840, H=30, T=65536, rms_norm_eps=1e-6),
    keys={
        "num_key_value_heads": Key(None, kv_heads),
        "rope_parameters": Key(None, _olmo_angles),
        **read_elsewhere(linear_num_key_heads=None, linear_num_value_heads=None, linear_key_head_dim=None, linear_value_head_dim=None),
        **read_elsewhere(linear_conv_kernel_dim=4, linear_allow_neg_eigval=True),
        "layer_types": Key(None, _olmo_layers),
    },
    harmless=because(
        "how weights are drawn before training", "linear_a_log_min linear_a_log_max linear_dt_min linear_dt_max linear_dt_init_floor"
    ),
)

FAMILIES = (QWEN3_NEXT, QWEN35, QWEN35_MOE, LFM2, LFM2_MOE, LFM3, OLMO_HYBRID)
