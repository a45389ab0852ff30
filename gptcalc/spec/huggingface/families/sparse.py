"""Like Llama with windows and experts, in most with a dense layer first: AFMoE, Kolibri, Laguna, MiMo V2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gptcalc.spec.huggingface.families.llama import MLP_UNBIASED, UNBIASED
from gptcalc.spec.huggingface.family import ABSENT, Config, Fields, Key, sizes, variant, written
from gptcalc.spec.huggingface.handlers import factor, flag, head_width_needed, heads, nothing, only, read_elsewhere, size, standard
from gptcalc.spec.huggingface.layers import (
    ATTENTION,
    Layer,
    always,
    angles_by_kind,
    attentions,
    every,
    experts_in,
    experts_listed,
    from_key,
    unrotated_beside_windows,
)
from gptcalc.spec.huggingface.mixture import DEEPSEEK_ROUTER, SIGMOID, everywhere, first_dense, mixture, past, shares

AFMOE = variant(
    MLP_UNBIASED,
    "afmoe",
    "AfmoeForCausalLM",
    "AFMoE",
    defaults=sizes(V=200192, d=2048, F=6144, H=16, T=16384, rms_norm_eps=1e-5),
    keys={
        "head_dim": Key(128, head_width_needed),
        "layer_types": Key(
            None,
            attentions(every(from_key("global_attn_every_n_layers")), full=lambda config: {"position": "none"}),
        ),
        "mup_enabled": Key(False, lambda key, config: {"embedding_scale": config.size("hidden_size") ** 0.5} if config.flag(key) else {}),
        **read_elsewhere(global_attn_every_n_layers=4, sliding_window=1024, moe_intermediate_size=1408, num_experts_per_tok=6),
        **read_elsewhere(num_shared_experts=2, route_scale=1.0, num_dense_layers=1),
        # The score correction is among this class's parameters, though it is not trained.
        "num_experts": Key(
            64,
            experts_in(
                past("num_dense_layers"), mixture(shared=shares("num_shared_experts"), scale="route_scale", router_bias=True, **SIGMOID)
            ),
        ),
    },
    fixed={"norm_placement": "sandwich", "qk_norm": "head", "attention_gate": "channel"},
)

KOLIBRI1 = variant(
    UNBIASED,
    "kolibri1",
    "Kolibri1ForCausalLM",
    "Kolibri",
    without="intermediate_size",
    defaults=sizes(V=128000, d=2560, L=50, H=48, T=262144),
    keys={
        **heads(4, 128),
        "layer_types": Key(None, attentions(every(5), full=unrotated_beside_windows)),
        **read_elsewhere(sliding_window=513, moe_intermediate_size=512, shared_expert_intermediate_size=512, num_experts_per_tok=6),
        "norm_topk_prob": Key(False, nothing),
        "num_local_experts": Key(
            384,
            everywhere(
                mixture(
                    "num_local_experts",
                    shared=from_key("shared_expert_intermediate_size"),
                    normalised="norm_topk_prob",
                    router_correction="logit",
                    **SIGMOID,
                )
            ),
        ),
    },
    fixed={"norm_placement": "sandwich", "qk_norm": "head"},
    aliases={"num_experts": "num_local_experts"},
)


def _heads_of_each(config: Config) -> list[int]:
    value = config["num_attention_heads_per_layer"]
    if value is None:
        return [config.size("num_attention_heads")] * config.layers
    if not isinstance(value, list) or len(value) != config.layers or not all(type(entry) is int and entry > 0 for entry in value):
        raise config.refuse("num_attention_heads_per_layer", f"must be a list of {config.layers} whole numbers above zero")
    return value


def _laguna_layers(key: str, config: Config) -> Fields:
    """Layers differ in their windows, their angles and their number of heads."""
    read = attentions(always("full"), full=_LAGUNA_ANGLES("full_attention"), sliding=_LAGUNA_ANGLES("sliding_attention"))
    layers: Any = read(key, config)[ATTENTION]
    return {
        ATTENTION: [
            Layer(layer.kind, {**layer.fields, "n_head": n_head, "n_kv_head": config.size("num_key_value_heads")})
            for layer, n_head in zip(layers, _heads_of_each(config), strict=True)
        ]
    }


_LAGUNA_ANGLES = angles_by_kind(
    {"full_attention": 500000.0, "sliding_attention": 10000.0}, {"full_attention": 0.5, "sliding_attention": 1.0}
)

LAGUNA = variant(
    UNBIASED,
    "laguna",
    "LagunaForCausalLM",
    "Laguna",
    without="rope_scaling",
    defaults=sizes(V=100352, d=2048, F=8192, L=40, H=48, T=131072),
    keys={
        "num_key_value_heads": Key(8, size()),
        "head_dim": Key(128, size("d_head")),
        "attention_bias": Key(False, flag("attention_bias", "attention_output_bias")),
        "layer_types": Key(None, _laguna_layers),
        "gating": Key(True, only(True, "per-head", why="the gate is one for each head")),
        **read_elsewhere(rope_parameters=None, partial_rotary_factor=ABSENT, rope_theta=ABSENT, sliding_window=512),
        **read_elsewhere(num_attention_heads_per_layer=None, moe_intermediate_size=512, shared_expert_intermediate_size=512),
        **read_elsewhere(num_experts_per_tok=8, num_experts=256, moe_routed_scaling_factor=1.0),
        "moe_router_logit_softcapping": Key(0.0, only(0.0, 0, why="the routers' logits would be capped")),
        "moe_apply_router_weight_on_input": Key(False, only(False, why="the model's code does not")),
        "mlp_layer_types": Key(
            None,
            experts_listed(
                mixture(
                    shared=from_key("shared_expert_intermediate_size"),
                    scale="moe_routed_scaling_factor",
                    router_bias=True,
                    **SIGMOID,
                ),
                first_dense,
            ),
        ),
    },
    fixed={"qk_norm": "head", "attention_gate": "head"},
)


def _value_scale(key: str, config: Config) -> Fields:
    return {} if config[key] is None else factor("value_scale")(key, config)


def _mimo_layers(config: Config) -> Fields:
    """Windowed layers have twice the key-value heads, and sinks."""
    return {"n_kv_head": 2 * config.size("num_key_value_heads"), "attention_sinks": True}


def _tokens_before(key: str, config: Config) -> Fields:
    """What SGLang's code calls the window: the tokens before a query, without its own."""
    if config[key] not in (None, ABSENT):
        config.size(key, least=0)
    return {}


def _mimo_window(config: Config) -> int:
    before = config["sliding_window_size"]
    return config.size("sliding_window") if before in (None, ABSENT) else config.size("sliding_window_size", least=0) + 1


def _mimo_experts(config: Config) -> Fields:
    """A factor of null, as the published file has it, is one."""
    scale = "" if config["routed_scaling_factor"] is None else "routed_scaling_factor"
    return mixture("n_routed_experts", **{**DEEPSEEK_ROUTER, "scale": scale})(config)


_MIMO_ANGLES = angles_by_kind(
    {"full_attention": 5000000.0, "sliding_attention": 10000.0}, {"full_attention": 0.334, "sliding_attention": 0.334}
)

MIMO_V2 = variant(
    UNBIASED,
    "mimo_v2_flash",
    "MiMoV2FlashForCausalLM",
    "MiMo V2",
    without="rope_scaling",
    defaults=sizes(V=152576, F=16384, L=48, H=64, T=131072, rms_norm_eps=1e-5),
    keys={
        "num_key_value_heads": Key(4, size("n_kv_head")),
        "head_dim": Key(192, size("d_head")),
        "v_head_dim": Key(128, size("d_head_value")),
        "attention_bias": Key(False, flag("attention_bias")),
        "sliding_window_size": Key(ABSENT, _tokens_before),
        "layer_types": Key(
            None,
            attentions(
                lambda config: lambda i: "full" if i == 0 or not (i + 1) % 6 else "sliding",
                full=_MIMO_ANGLES("full_attention"),
                sliding=lambda config: {**_MIMO_ANGLES("sliding_attention")(config), **_mimo_layers(config)},
                window=_mimo_window,
            ),
        ),
        "attention_value_scale": Key(0.707, _value_scale),
        **read_elsewhere(rope_parameters=None, partial_rotary_factor=ABSENT, rope_theta=ABSENT),
        **read_elsewhere(sliding_window=129, moe_intermediate_size=2048, num_experts_per_tok=8, n_routed_experts=256),
        **read_elsewhere(routed_scaling_factor=1.0, n_group=1, topk_group=1, norm_topk_prob=True),
        "mlp_layer_types": Key(
            None,
            experts_listed(_mimo_experts, first_dense),
        ),
    },
    aliases={"num_local_experts": "n_routed_experts"},
)


def _flint_sparse(config: Config, layer: int) -> bool:
    dense = [0, 1] if config["mlp_only_layers"] is None else config["mlp_only_layers"]
    if not isinstance(dense, list):
        raise config.refuse("mlp_only_layers", f"must be a list of layers, not {written(dense)}")
    return layer not in dense and (layer + 1) % config.size("decoder_sparse_step") == 0


FLINT = variant(
    UNBIASED,
    "flint",
    "FlintForCausalLM",
    "Flint",
    defaults=sizes(V=150144, d=2048, F=6144, L=49, T=262144),
    keys={
        **heads(4, 128),
        "attention_bias": Key(False, flag("attention_bias", "attention_output_bias")),
        "layer_types": Key(
            None,
            attentions(
                lambda config: lambda i: "full" if i < 2 or i % 4 == 1 or i == config.layers - 1 else "sliding",
                full=lambda config: {"position": "none"},
            ),
        ),
        **read_elsewhere(sliding_window=513, moe_intermediate_size=512, shared_expert_intermediate_size=1024, num_experts_per_tok=6),
        **read_elsewhere(norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=None),
        "num_experts": Key(
            256,
            experts_in(_flint_sparse, mixture(shared=from_key("shared_expert_intermediate_size"), normalised="norm_topk_prob", **SIGMOID)),
        ),
    },
    fixed={"qk_norm": "head", "attention_sinks": True},
)

_BEAM_ANGLES = angles_by_kind({"full_attention": 10000.0, "sliding_attention": 10000.0})


def _beam_angles(kind: str) -> Callable[[Config], Fields]:
    """A kind of layer whose entry is null has no positions; left out, that is the full layers."""

    def read(config: Config) -> Fields:
        given = config["rope_parameters"]
        if (given is None and kind == "full_attention") or (isinstance(given, dict) and given.get(kind, 0) is None):
            return {"position": "none"}
        if isinstance(given, dict) and kind not in given:
            raise config.refuse("rope_parameters", f"has no {kind}")
        return _BEAM_ANGLES(kind)(config)

    return read


BEAM = variant(
    UNBIASED,
    "beam",
    "BeamForCausalLM",
    "Beam",
    without="rope_scaling",
    defaults=sizes(V=151936, d=5120, F=20480, L=52, H=48, T=8192),
    keys={
        **heads(8, 128),
        "attention_bias": Key(False, flag("attention_bias", "attention_output_bias")),
        **read_elsewhere(rope_parameters=None, partial_rotary_factor=ABSENT, rope_theta=ABSENT, sliding_window=512),
        "layer_types": Key(
            None,
            attentions(
                lambda config: lambda i: "sliding" if (i + 1) % 6 and i != config.layers - 1 else "full",
                full=_beam_angles("full_attention"),
                sliding=_beam_angles("sliding_attention"),
            ),
        ),
        **standard(final_logit_softcapping=30.0),
        **read_elsewhere(moe_intermediate_size=2560, num_experts_per_tok=8, num_experts=256, norm_topk_prob=True),
        **read_elsewhere(n_group=8, topk_group=4, routed_scaling_factor=2.5),
        "mlp_layer_types": Key(None, experts_listed(mixture(**DEEPSEEK_ROUTER), lambda config: lambda i: "dense" if i < 3 else "moe")),
    },
    fixed={
        "qk_norm": "head",
        "attention_gate": "channel_biased",
        "norm_placement": "sandwich",
        "unexecuted": ("residuals are weighed by how deep they are, and queries without positions by where they stand",),
    },
)

FAMILIES = (AFMOE, KOLIBRI1, LAGUNA, MIMO_V2, FLINT, BEAM)
