"""Mamba, Mamba-2, and models whose layers are partly such recurrences: Bamba, Granite 4, Falcon-H1, Nemotron 3, Jamba, Qwen 3.5, LFM2."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gptcalc.spec.huggingface.families.granite import GRANITEMOESHARED
from gptcalc.spec.huggingface.families.llama import LLAMA, NO_WINDOW, UNBIASED
from gptcalc.spec.huggingface.families.qwen import QWEN3, QWEN3_MOE, qwen_sparse
from gptcalc.spec.huggingface.family import ABSENT, MOST_LAYERS, Config, Family, Fields, Key, because, sizes, variant, written
from gptcalc.spec.huggingface.handlers import (
    HEAD_IF_GIVEN,
    activation,
    epsilon,
    factor,
    flag,
    head_width_needed,
    kv_heads,
    kv_heads_needed,
    nothing,
    only,
    read_elsewhere,
    size,
    standard,
    unread,
)
from gptcalc.spec.huggingface.layers import ATTENTION, Layer, always, experts_in, from_key
from gptcalc.spec.huggingface.mixture import DEEPSEEK_ROUTER, everywhere, mixture, past
from gptcalc.spec.huggingface.recurrent import (
    DELTA_KEYS,
    LINEAR,
    MAMBA2_KEYS,
    alone,
    as_built,
    delta_net,
    expanded,
    grouped,
    last_of,
    mamba,
    mamba2,
    mixers,
    mixers_of_rule,
    silu_only,
    step_limits,
)
from gptcalc.spec.huggingface.rotary import rotary_keys

_LOGITS = because("of how many tokens a call returns logits", "num_logits_to_keep logits_to_keep")
_SCAN = because(
    "which code computes the same numbers, or how weights are drawn before training",
    """use_mambapy use_associative_scan time_step_scale time_step_min time_step_max time_step_init_scheme time_step_floor
    rescale_prenorm_residual residual_in_fp32""",
)
_LFM_UNREAD = """block_dim block_mlp_init_scale block_norm_eps block_out_init_scale block_use_swiglu block_use_xavier_init conv_dim
    conv_dim_out conv_use_xavier_init num_heads theta"""
UNLIMITED = 2**20
"""Tokens of a sequence of a class that has no limit and no table of positions."""

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

# --- Bamba, Granite 4, Falcon-H1 --------------------------------------------------------------------------------------------------------


def _bamba_rule(config: Config) -> Callable[[int], str]:
    given = config["attn_layer_indices"]
    if given is not None and (not isinstance(given, list) or not all(type(entry) is int for entry in given)):
        raise config.refuse("attn_layer_indices", f"must be a list of layers, not {written(given)}")
    return lambda i: "full" if i in (given or ()) else "linear"


BAMBA = variant(
    LLAMA,
    "bamba",
    "BambaForCausalLM",
    "Bamba",
    defaults=sizes(V=128000, F=14336, K=8, T=262144, rms_norm_eps=1e-5),
    keys={
        **standard(num_attention_heads=32),
        "num_key_value_heads": Key(8, kv_heads),
        "head_dim": HEAD_IF_GIVEN,
        **MAMBA2_KEYS,
        **rotary_keys(10000.0, share=0.5),
        "attn_layer_indices": Key(None, mixers_of_rule(mamba2(expanded()), _bamba_rule)),
        "layer_types": Key(ABSENT, as_built(_bamba_rule)),
        "layers_block_type": Key(ABSENT, as_built(_bamba_rule)),
        "partial_rotary_factor": Key(0.5, nothing),
    },
    harmless=because("part of a loss in training", "z_loss_coefficient") | _LOGITS,
)


def _positions(key: str, config: Config) -> Fields:
    if config[key] not in (None, "rope", "nope"):
        raise config.refuse(key, f"{written(config[key])} is not understood", "known: rope")
    return {} if config[key] == "rope" else {"position": "none", "d_rotary": None, "rope_scaling": None}


def _granite_experts(key: str, config: Config) -> Fields:
    """Without experts the shared MLP is the MLP."""
    if config.size(key, least=0) == 0:
        config.sources["d_ff"] = "shared_intermediate_size"
        return {"d_ff": config.size("shared_intermediate_size")}
    return mixture("num_local_experts", shared=lambda config: config.size("shared_intermediate_size", least=0))(config)


GRANITEMOEHYBRID = variant(
    GRANITEMOESHARED,
    "granitemoehybrid",
    "GraniteMoeHybridForCausalLM",
    "Granite 4",
    keys={
        **MAMBA2_KEYS,
        "shared_intermediate_size": Key(1024, nothing),
        "num_local_experts": Key(8, _granite_experts),
        "layer_types": Key(None, mixers(mamba2(expanded()), always("linear"))),
        "position_embedding_type": Key(None, _positions),
    },
    aliases={"layers_block_type": "layer_types"},
)

_MULTIPLIERS = {
    **dict.fromkeys(
        ("key_multiplier", "attention_out_multiplier", "attention_in_multiplier", "ssm_in_multiplier", "ssm_out_multiplier"), 1.0
    ),
    "mlp_multipliers": None,
    "ssm_multipliers": None,
}


def _multipliers(key: str, config: Config) -> Fields:
    """Falcon-H1 multiplies in many places, which changes logits and no count."""
    odd = [name for name in _MULTIPLIERS if any(one != 1 for one in _numbers(name, config))]
    return {"unexecuted": (f"Falcon-H1's {odd[0]}",)} if odd else {}


def _numbers(name: str, config: Config) -> list[Any]:
    given = config[name]
    found = given if isinstance(given, list) else [1.0 if given is None else given]
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in found):
        raise config.refuse(name, f"must be numbers, not {written(given)}")
    return found


def _falcon_width(config: Config) -> int:
    return expanded()(config) if config["mamba_d_ssm"] is None else config.size("mamba_d_ssm")


def _falcon_norm(config: Config) -> str:
    if not config.flag("mamba_rms_norm"):
        return "none"
    return "before_gate" if config.flag("mamba_norm_before_gate") else "gated"


def _beside(key: str, config: Config) -> Fields:
    """A mixer beside attention in every layer, of the same norm's output."""
    silu_only(config)
    mixer = mamba2(_falcon_width, "projectors_bias", norm=_falcon_norm)(config)
    return {**mixer, "composition": (("mamba2", "attention"), "mlp"), "shared_norm": True}


FALCON_H1 = variant(
    LLAMA,
    "falcon_h1",
    "FalconH1ForCausalLM",
    "Falcon-H1",
    defaults=sizes(V=128000, F=14336, T=8192, rms_norm_eps=1e-5),
    keys={
        **standard(num_attention_heads=32),
        "num_key_value_heads": Key(8, kv_heads),
        "head_dim": HEAD_IF_GIVEN,
        **MAMBA2_KEYS,
        **read_elsewhere(mamba_d_ssm=1024, mamba_rms_norm=False, mamba_norm_before_gate=True, projectors_bias=False),
        "layer_types": Key(ABSENT, as_built(always("hybrid"))),
        "layers_block_type": Key(ABSENT, as_built(always("hybrid"))),
        **read_elsewhere(**_MULTIPLIERS),
        "key_multiplier": Key(1.0, _multipliers),
        "lm_head_multiplier": Key(1.0, factor("logit_scale")),
        **standard(embedding_multiplier=1.0),
        "mamba_n_heads": Key(128, _beside),
    },
    harmless=_LOGITS | because("names a parameter that the class makes whatever it says", "mamba_use_mlp"),
)

# --- Nemotron-H and Nemotron 3 -----------------------------------------------------------------------------------------------------------

_LETTERS = {"M": "linear", "E": "moe", "*": "full", "-": "mlp"}
_NEMOTRON = {**LINEAR, "moe": "moe", "mlp": "mlp"}


def _nemotron_kinds(config: Config) -> list[str]:
    given, pattern = config["layers_block_type"], config["hybrid_override_pattern"]
    if given is not None:
        if not isinstance(given, list) or not given or not all(isinstance(one, str) and one in _NEMOTRON for one in given):
            raise config.refuse("layers_block_type", f"must be a list of {', '.join(_NEMOTRON)}, not {written(given)}")
        return [_NEMOTRON[one] for one in given]
    if pattern is ABSENT:
        return ["linear", "moe", "full", "mlp"]
    if not isinstance(pattern, str) or not pattern or not set(pattern) <= set(_LETTERS):
        raise config.refuse("hybrid_override_pattern", f"must be of the letters {' '.join(_LETTERS)}, not {written(pattern)}")
    return [_LETTERS[letter] for letter in pattern]


def _nemotron_layers(key: str, config: Config) -> Fields:
    """Each layer is one sublayer."""
    kinds = _nemotron_kinds(config)
    if len(kinds) > MOST_LAYERS:
        raise config.refuse(key, f"names {len(kinds):,} layers: at most {MOST_LAYERS:,}")
    given = config.data.get("num_hidden_layers")
    if given is not None and given != len(kinds):
        config.unread["num_hidden_layers"] = f"{written(given)} contradicts the list of layers, which has {len(kinds)}"
    columns: dict[str, Fields] = {"full": {"composition": ("attention",)}, "mlp": {"composition": ("mlp",)}}
    if "linear" in kinds:
        columns["linear"] = {**_nemotron_mixer(config), "composition": ("mamba2",)}
    if "moe" in kinds:
        columns["moe"] = {**_nemotron_experts(config), "composition": ("mlp",)}
    config.sources["n_layer"] = "hybrid_override_pattern" if config["layers_block_type"] is None else "layers_block_type"
    return {"n_layer": len(kinds), ATTENTION: [Layer(kind, columns[kind]) for kind in kinds]}


def _nemotron_mixer(config: Config) -> Fields:
    silu_only(config)
    heads, least = config.size("mamba_num_heads"), config["time_step_min"]
    sizes: Fields = {
        "kind": "mamba2",
        "n_head": heads,
        "d_head": config.size("mamba_head_dim"),
        "n_group": grouped(config, "n_groups", heads),
    }
    sizes |= {"d_state": config.size("ssm_state_size"), "d_conv": config.size("conv_kernel"), "chunk": config.size("chunk_size")}
    sizes |= {"bias": config.flag("use_bias"), "output_bias": config.flag("use_bias"), "conv_bias": config.flag("use_conv_bias")}
    return {"mixer": sizes | ({"step_least": config.number("time_step_min", least)} if least else {})}


def _nemotron_experts(config: Config) -> Fields:
    shared = from_key("moe_shared_expert_intermediate_size")
    found = mixture("n_routed_experts", shared=shared, **DEEPSEEK_ROUTER)(config)
    return found if config["moe_latent_size"] is None else found | {"d_expert_latent": config.size("moe_latent_size")}


_OLD = {"mamba_n_groups": "n_groups", "mamba_d_conv": "conv_kernel", "mamba_conv_bias": "use_conv_bias", "mamba_chunk_size": "chunk_size"}

NEMOTRON_H = variant(
    UNBIASED,
    "nemotron_h",
    "NemotronHForCausalLM",
    "Nemotron",
    without="num_hidden_layers hidden_act rms_norm_eps rope_parameters rope_scaling rope_theta partial_rotary_factor",
    defaults=sizes(V=131072, F=21504, T=4096),
    keys={
        "num_hidden_layers": Key(ABSENT, nothing),
        "num_key_value_heads": Key(8, kv_heads),
        "head_dim": Key(128, head_width_needed),
        "layers_block_type": Key(None, _nemotron_layers),
        "hybrid_override_pattern": Key(ABSENT, nothing),
        "layer_norm_epsilon": Key(1e-5, epsilon),
        "mlp_hidden_act": Key("relu2", activation()),
        "mlp_bias": Key(False, flag("mlp_bias")),
        "tie_word_embeddings": Key(False, nothing),
        "sliding_window": Key(None, only(None, why="the model's code has no window, and its cache would have one")),
        **read_elsewhere(ssm_state_size=128, mamba_num_heads=128, mamba_head_dim=64, mamba_hidden_act="silu", n_groups=8, conv_kernel=4),
        **read_elsewhere(
            use_conv_bias=True, chunk_size=128, time_step_min=0.001, use_bias=False, n_routed_experts=8, num_experts_per_tok=2
        ),
        **read_elsewhere(moe_intermediate_size=7688, moe_shared_expert_intermediate_size=7688, moe_latent_size=None),
        **read_elsewhere(norm_topk_prob=True, n_group=1, topk_group=1, routed_scaling_factor=1.0),
    },
    fixed={"gated": False, "position": "none", "tied": False},
    aliases={"layer_types": "layers_block_type", "num_local_experts": "n_routed_experts", "mamba_dt_min": "time_step_min", **_OLD},
    harmless=_LOGITS
    | because(
        "how weights are drawn before training, a kernel's own, or not read",
        """time_step_max time_step_floor time_step_limit mamba_dt_max mamba_dt_limit mamba_dt_init_floor rescale_prenorm_residual expand
        mamba_expand use_mamba_kernels mamba_proj_bias n_shared_experts moe_shared_expert_overlap""",
    )
    | because("in what type a stream or a state stands", "residual_in_fp32 mamba_ssm_cache_dtype")
    | because(
        "modules that predict further tokens: counted apart, outside the total",
        "num_nextn_predict_layers mtp_layers_block_type mtp_hybrid_override_pattern",
    ),
)

# --- Mamba alone, and Jamba --------------------------------------------------------------------------------------------------------------

_ALONE: Fields = {"family": "Mamba", "norm": "rmsnorm", "norm_bias": False, "position": "none", "n_head": 1, "n_ctx": UNLIMITED}

MAMBA = Family(
    "mamba",
    ("MambaForCausalLM",),
    {
        **standard(vocab_size=50280, hidden_size=768, num_hidden_layers=32),
        "layer_norm_epsilon": Key(1e-5, epsilon),
        **standard(tie_word_embeddings=True),
        **read_elsewhere(state_size=16, conv_kernel=4, expand=2, use_bias=False, use_conv_bias=True, hidden_act="silu"),
        "time_step_rank": Key("auto", alone(mamba(), "mamba")),
    },
    _ALONE,
    harmless=_SCAN | because("follows from the width and its factor", "intermediate_size"),
)

FALCON_MAMBA = variant(
    MAMBA,
    "falcon_mamba",
    "FalconMambaForCausalLM",
    "Falcon Mamba",
    keys={
        "mixer_rms_eps": Key(1e-6, nothing),
        "time_step_rank": Key(
            "auto",
            alone(mamba(norms="plain", norm_epsilon=lambda config: config.number("mixer_rms_eps", config["mixer_rms_eps"])), "mamba"),
        ),
    },
    harmless=because("which code computes the same", "use_falcon_mambapy"),
)


def _mamba2_mixer(config: Config) -> Fields:
    count, head = config.size("num_heads"), config.size("head_dim")
    inner = expanded("expand")(config)
    if count * head != inner:
        raise config.refuse("expand", f"times hidden_size is {inner}, and num_heads times head_dim {count * head}")
    bias = config.flag("use_bias")
    sizes: Fields = {"kind": "mamba2", "n_head": count, "d_head": head, "n_group": grouped(config, "n_groups", count)}
    sizes |= {"d_state": config.size("state_size"), "d_conv": config.size("conv_kernel"), "chunk": config.size("chunk_size")}
    sizes |= {"bias": bias, "output_bias": bias, "conv_bias": config.flag("use_conv_bias"), **step_limits(config)}
    return {"mixer": sizes}


MAMBA2 = variant(
    MAMBA,
    "mamba2",
    "Mamba2ForCausalLM",
    "Mamba 2",
    without="time_step_rank",
    defaults=sizes(V=32768, d=4096, L=64, state_size=128, tie_word_embeddings=False),
    keys={
        **read_elsewhere(n_groups=8, chunk_size=256, head_dim=64),
        "time_step_limit": Key((0.0, math.inf), lambda key, config: {}),
        "num_heads": Key(128, alone(_mamba2_mixer, "mamba2")),
    },
    harmless=because("not read where the step comes from the projection", "time_step_rank"),
)


def _jamba_rule(config: Config) -> Callable[[int], str]:
    period, offset = config.size("attn_layer_period"), config.size("attn_layer_offset", least=0)
    return lambda i: "full" if i % period == offset else "linear"


def _jamba_sparse(config: Config, layer: int) -> bool:
    period, offset = config.size("expert_layer_period"), config.size("expert_layer_offset", least=0)
    return layer % period == offset and config.size("num_experts") > 1


JAMBA = variant(
    UNBIASED,
    "jamba",
    "JambaForCausalLM",
    "Jamba",
    without="rope_parameters rope_scaling rope_theta partial_rotary_factor rope_interleaved",
    defaults=sizes(V=65536, F=14336, K=8, T=262144),
    keys={
        "num_key_value_heads": Key(8, kv_heads),
        "head_dim": HEAD_IF_GIVEN,
        **read_elsewhere(attn_layer_period=8, attn_layer_offset=4, expert_layer_period=2, expert_layer_offset=1, num_experts_per_tok=2),
        "num_experts": Key(16, experts_in(_jamba_sparse, mixture(normalised=False))),
        **read_elsewhere(mamba_d_state=16, mamba_d_conv=4, mamba_expand=2, mamba_conv_bias=True, mamba_proj_bias=False),
        "mamba_dt_rank": Key("auto", mixers_of_rule(mamba("mamba_", norms="weighted"), _jamba_rule)),
        "layer_types": Key(ABSENT, as_built(_jamba_rule)),
        "layers_block_type": Key(ABSENT, as_built(_jamba_rule)),
    },
    fixed={"position": "none"},
    aliases={"num_local_experts": "num_experts"},
    harmless=_SCAN
    | _LOGITS
    | because("which kernel computes the same numbers", "use_mamba_kernels")
    | because("says it again", "layers_num_experts"),
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
    raise config.refuse("layer_types", "is missing: the class has no rule for the kinds of its layers")


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

FAMILIES = (
    *(QWEN3_NEXT, QWEN35, QWEN35_MOE, BAMBA, GRANITEMOEHYBRID, FALCON_H1, NEMOTRON_H),
    *(MAMBA, FALCON_MAMBA, MAMBA2, JAMBA, LFM2, LFM2_MOE),
)
