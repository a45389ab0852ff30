"""Mamba and Mamba 2, and models of them and attention: Bamba, Granite 4, Falcon-H1, Jamba."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gptcalc.spec.huggingface.families.granite import GRANITEMOESHARED
from gptcalc.spec.huggingface.families.llama import LLAMA, UNBIASED
from gptcalc.spec.huggingface.family import ABSENT, Config, Family, Fields, Key, because, sizes, variant, written
from gptcalc.spec.huggingface.handlers import (
    HEAD_IF_GIVEN,
    epsilon,
    factor,
    kv_heads,
    nothing,
    read_elsewhere,
    standard,
)
from gptcalc.spec.huggingface.layers import always, experts_in
from gptcalc.spec.huggingface.mixture import mixture
from gptcalc.spec.huggingface.recurrent import (
    MAMBA2_KEYS,
    alone,
    as_built,
    expanded,
    grouped,
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
    rescale_prenorm_residual residual_in_fp32 _is_quantized""",
)
UNLIMITED = 2**20
"""Tokens of a sequence of a class that has no limit and no table of positions."""

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
    defaults=sizes(V=32768, d=4096, L=64, state_size=128, tie_word_embeddings=False),
    keys={
        **read_elsewhere(n_groups=8, chunk_size=256, head_dim=64),
        "time_step_limit": Key((0.0, math.inf), lambda key, config: {}),
        "time_step_rank": Key("auto", lambda key, config: {}),  # a head's step comes from the projection
        "num_heads": Key(128, alone(_mamba2_mixer, "mamba2")),
    },
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

FAMILIES = (MAMBA, FALCON_MAMBA, MAMBA2, BAMBA, GRANITEMOEHYBRID, FALCON_H1, JAMBA)
