"""Kimi Delta Attention beside latent attention: Kimi Linear, Ling 3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gptcalc.spec.huggingface.families.deepseek import DEEPSEEK_V3, SIGMOID_EXPERTS
from gptcalc.spec.huggingface.family import ABSENT, Config, Fields, Key, Unread, sizes, variant, written
from gptcalc.spec.huggingface.handlers import agrees, nothing, read_elsewhere, unread
from gptcalc.spec.huggingface.layers import ATTENTION, Layer, experts_listed, listed
from gptcalc.spec.huggingface.mixture import MTP, after
from gptcalc.spec.huggingface.recurrent import silu_only

_KINDS = {"linear_attention": "linear", "full_attention": "full"}
_NESTED = {"head_dim": "linear_head_dim", "num_heads": "linear_num_heads", "short_conv_kernel_size": "linear_conv_kernel_dim"}


def _untied(key: str, config: Config) -> Fields:
    """The head is a matrix of its own, whatever the file says."""
    if config.flag(key):
        config.unread[key] = "true contradicts the model's code, whose head is a matrix of its own"
    return {"tied": False}


def _layers(of_layers: Callable[[Config], list[str]], mixer: Callable[[Config], Fields]) -> Any:
    def read(key: str, config: Config) -> Fields:
        kinds = of_layers(config)
        own = mixer(config) if "linear" in kinds else {}
        silu_only(config)
        return {ATTENTION: [Layer(kind, own if kind == "linear" else {}) for kind in kinds]}

    return read


# --- Kimi Linear --------------------------------------------------------------------------------------------------------------------------


def _inside(config: Config) -> dict[str, Any]:
    """What checkpoints say of linear layers, before the flat keys."""
    given = config["linear_attn_config"]
    if given in (None, ABSENT):
        return {}
    if not isinstance(given, dict):
        raise config.refuse("linear_attn_config", f"must be a mapping, not {written(given)}")
    for name in given:
        if name not in (*_NESTED, "full_attn_layers", "kda_layers"):
            config.unread[f"linear_attn_config.{name}"] = ""
    return given


def _kimi_kinds(config: Config) -> list[str]:
    inside = _inside(config)
    if config["layer_types"] is not None or not {"full_attn_layers", "kda_layers"} <= inside.keys():
        return listed("layer_types", config, _KINDS, lambda i: "full" if i and i % 4 == 0 else "linear")
    kinds = [""] * config.layers
    for name, kind in (("full_attn_layers", "full"), ("kda_layers", "linear")):
        for layer in inside[name] if isinstance(inside[name], list) else [0]:
            if type(layer) is not int or not 1 <= layer <= len(kinds):
                raise config.refuse(
                    "linear_attn_config", f"has {name} {written(inside[name])}, which must be layers from 1 to {len(kinds)}"
                )
            kinds[layer - 1] = kind
    if "" in kinds:
        raise config.refuse(
            "linear_attn_config", f"does not name layer {kinds.index('') + 1}, neither in full_attn_layers nor in kda_layers"
        )
    return kinds


def _kimi_mixer(config: Config) -> Fields:
    inside = _inside(config)
    found: dict[str, int] = {}
    for name, flat in _NESTED.items():
        value = inside.get(name, config[flat])
        if type(value) is not int or value < 1:
            raise config.refuse(flat, f"must be a whole number above zero, not {written(value)}")
        found[name] = value
    width = found["head_dim"]
    sizes: Fields = {"kind": "kimi_delta", "n_head": found["num_heads"], "d_head": width, "d_conv": found["short_conv_kernel_size"]}
    return {"mixer": sizes | {"rank": width}}


_ALIASES = {
    **{"model_max_length": "max_position_embeddings", "moe_renormalize": "norm_topk_prob", "num_expert_group": "n_group"},
    **{"num_experts": "n_routed_experts", "num_experts_per_token": "num_experts_per_tok", "num_shared_experts": "n_shared_experts"},
    "num_local_experts": "n_routed_experts",
}
_OVERWRITTEN = Key(ABSENT, Unread(agrees(lambda config: config.size("qk_rope_head_dim"), "qk_rope_head_dim")))

KIMI_LINEAR = variant(
    DEEPSEEK_V3,
    "kimi_linear",
    "KimiLinearForCausalLM",
    "Kimi",
    without="""rope_interleave rope_parameters rope_scaling rope_theta partial_rotary_factor num_nextn_predict_layers topk_method
        scoring_func""",
    defaults=sizes(V=163840, d=2304, F=9216, L=27, H=32, K=32, T=1048576, rms_norm_eps=1e-5, q_lora_rank=None)
    | {"moe_intermediate_size": 1024, "routed_scaling_factor": 2.446, "n_group": 1, "topk_group": 1},
    keys={
        "head_dim": _OVERWRITTEN,
        "tie_word_embeddings": Key(False, _untied),
        "linear_attn_config": Key(ABSENT, nothing),
        **read_elsewhere(linear_head_dim=128, linear_num_heads=32, linear_conv_kernel_dim=4),
        "layer_types": Key(None, _layers(_kimi_kinds, _kimi_mixer)),
        "first_k_dense_replace": Key(1, nothing),
        "n_routed_experts": Key(256, nothing),
        "mlp_layer_types": Key(None, experts_listed(SIGMOID_EXPERTS, after("first_k_dense_replace"))),
        "mla_use_nope": unread("the model's code has no angles", True),
        "moe_router_activation_func": unread("the model's code scores by a sigmoid", "sigmoid"),
        "use_grouped_topk": unread("the model's code chooses in groups", True),
        "rope_theta": unread("the model's code has no angles"),
        "rope_scaling": unread("the model's code has no angles"),
    },
    fixed={"latent_turns": False},
    aliases=_ALIASES,
    harmless=MTP,
)

# --- Ling 3 -------------------------------------------------------------------------------------------------------------------------------


def _ling_kinds(config: Config) -> list[str]:
    period = config.size("layer_group_size")
    return listed("layer_types", config, _KINDS, lambda i: "linear" if (i + 1) % period else "full")


def _ling_mixer(config: Config) -> Fields:
    """A file that the library has written says its sizes again, and its `head_dim` is by then another one."""

    def given(key: str, usual: str) -> int:
        return config.size(usual if config[key] is ABSENT else key)

    sizes: Fields = {"kind": "kimi_delta", "n_head": given("linear_num_heads", "num_attention_heads")}
    sizes |= {"d_head": given("linear_head_dim", "head_dim"), "d_conv": given("linear_conv_kernel_dim", "short_conv_kernel_size")}
    if config.flag("kda_safe_gate"):
        bound = config["kda_lower_bound"]
        if isinstance(bound, bool) or not isinstance(bound, int | float) or not bound < 0:
            raise config.refuse("kda_lower_bound", f"must be a number below zero, not {written(bound)}")
        sizes["least"] = float(bound)
    return {"mixer": sizes}


BAILING_HYBRID = variant(
    DEEPSEEK_V3,
    "bailing_hybrid",
    "BailingHybridForCausalLM",
    "Ling",
    without="rope_interleave topk_method scoring_func",
    defaults=sizes(V=157184, d=2560, F=6144, L=42, H=32, K=32, T=262144, rope_theta=6000000.0, q_lora_rank=None)
    | {"moe_intermediate_size": 768},
    keys={
        "head_dim": Key(128, nothing),
        "tie_word_embeddings": Key(False, _untied),
        **read_elsewhere(short_conv_kernel_size=4, layer_group_size=6, kda_safe_gate=True, kda_lower_bound=-5.0),
        **{key: Key(ABSENT, nothing) for key in ("linear_head_dim", "linear_num_heads", "linear_conv_kernel_dim")},
        "layer_types": Key(None, _layers(_ling_kinds, _ling_mixer)),
        "first_k_dense_replace": Key(2, nothing),
        "n_routed_experts": Key(512, nothing),
        "mlp_layer_types": Key(None, experts_listed(SIGMOID_EXPERTS, after("first_k_dense_replace"))),
    },
    fixed={"attention_gate": "head_sigmoid", "rotary_pairs": "neighbours"},
    aliases=_ALIASES,
    harmless={"mtp_loss_scaling_factor": "of a loss in training"},
)

FAMILIES = (KIMI_LINEAR, BAILING_HYBRID)
