"""Model types with a mixture of experts in some layers and one MLP in the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gptcalc.spec.huggingface.family import ABSENT, Config, Fields, Key, because, variant, written
from gptcalc.spec.huggingface.handlers import (
    flag,
    head_width_needed,
    kv_heads_needed,
    nothing,
    only,
    optional_size,
    size,
    unread,
)
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
)
from gptcalc.spec.huggingface.lineages import COHERE2, QWEN3
from gptcalc.spec.huggingface.llama import (
    EXAONE4,
    HEAD_IF_GIVEN,
    MLP_UNBIASED,
    ROOMY,
    UNBIASED,
    unrotated_beside_windows,
)
from gptcalc.spec.huggingface.mixture import DEEPSEEK_ROUTER, MTP, SIGMOID, after, everywhere, mixture, past, shares
from gptcalc.spec.huggingface.rotary import rotary_keys

# --- Experts in some layers ---------------------------------------------------------------------------------------------------------


def _qwen_sparse(config: Config, layer: int) -> bool:
    dense = config["mlp_only_layers"]
    if dense is not None and (not isinstance(dense, list) or not all(type(entry) is int for entry in dense)):
        raise config.refuse("mlp_only_layers", f"must be a list of layers, not {written(dense)}")
    if layer in (dense or ()) or config.size("num_experts", least=0) == 0:
        return False
    return (layer + 1) % config.size("decoder_sparse_step") == 0


_QWEN_EXPERTS = {
    "decoder_sparse_step": Key(1, nothing),
    "mlp_only_layers": Key(None, nothing),
    "norm_topk_prob": Key(False, nothing),
    "max_window_layers": Key(28, nothing),
}


def _window_of_qwen3(key: str, config: Config) -> Fields:
    """One window for every layer."""
    return optional_size("sliding_window")(key, config) if config.flag("use_sliding_window") else {}


QWEN3_MOE = variant(
    QWEN3,
    "qwen3_moe",
    "Qwen3MoeForCausalLM",
    "Qwen 3",
    without="layer_types",
    defaults={"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 24},
    keys={
        "num_key_value_heads": Key(4, kv_heads_needed),
        "head_dim": HEAD_IF_GIVEN,
        **_QWEN_EXPERTS,
        "sliding_window": Key(4096, _window_of_qwen3),
        "moe_intermediate_size": Key(768, nothing),
        "num_experts_per_tok": Key(8, nothing),
        "num_local_experts": Key(
            128, experts_in(_qwen_sparse, mixture("num_local_experts", width="moe_intermediate_size", normalised="norm_topk_prob"))
        ),
    },
    aliases={"num_experts": "num_local_experts"},
)


def _alternate(config: Config) -> Callable[[int], str]:
    first = config.size("max_window_layers", least=0)
    return lambda i: "sliding" if config.flag("use_sliding_window") and (i + 1) % 2 and i < first else "full"


def _window_of_qwen2(config: Config) -> int | None:
    if config.flag("use_sliding_window"):
        return config.size("sliding_window")
    raise config.refuse("layer_types", "has windowed layers and use_sliding_window is false")


QWEN2_MOE = variant(
    UNBIASED,
    "qwen2_moe",
    "Qwen2MoeForCausalLM",
    "Qwen 2",
    defaults={
        "vocab_size": 151936,
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "max_position_embeddings": 32768,
    },
    keys={
        "num_key_value_heads": Key(16, kv_heads_needed),
        "head_dim": HEAD_IF_GIVEN,
        "qkv_bias": Key(True, flag("attention_bias")),
        **_QWEN_EXPERTS,
        "use_sliding_window": Key(False, nothing),
        "sliding_window": Key(4096, nothing),
        "layer_types": Key(None, attentions(_alternate, window=_window_of_qwen2)),
        "moe_intermediate_size": Key(1408, nothing),
        "shared_expert_intermediate_size": Key(5632, nothing),
        "num_experts_per_tok": Key(4, nothing),
        "num_experts": Key(
            60,
            experts_in(
                _qwen_sparse,
                mixture(
                    width="moe_intermediate_size",
                    shared=lambda config: config.size("shared_expert_intermediate_size"),
                    normalised="norm_topk_prob",
                    shared_expert_gate=True,
                ),
            ),
        ),
    },
)

_MELLUM_ANGLES = angles_by_kind({"full_attention": 500000.0, "sliding_attention": 10000.0})
MELLUM = variant(
    QWEN3,
    "mellum",
    "MellumForCausalLM",
    "Mellum",
    without="use_sliding_window max_window_layers rope_scaling",
    defaults={
        "vocab_size": 98304,
        "hidden_size": 2304,
        "intermediate_size": 7168,
        "num_hidden_layers": 28,
        "max_position_embeddings": 131072,
    },
    keys={
        "num_key_value_heads": Key(4, kv_heads_needed),
        "rope_parameters": Key(None, nothing),
        "sliding_window": Key(1024, nothing),
        "layer_types": Key(
            None, attentions(always("full"), full=_MELLUM_ANGLES("full_attention"), sliding=_MELLUM_ANGLES("sliding_attention"))
        ),
        "moe_intermediate_size": Key(896, nothing),
        "num_experts_per_tok": Key(8, nothing),
        "norm_topk_prob": Key(True, nothing),
        "num_local_experts": Key(64, nothing),
        "mlp_layer_types": Key(
            None,
            experts_listed(mixture("num_local_experts", width="moe_intermediate_size", normalised="norm_topk_prob"), always("moe")),
        ),
    },
    aliases={"num_experts": "num_local_experts"},
    harmless=MTP,
)


GLM4_MOE = variant(
    UNBIASED,
    "glm4_moe",
    "Glm4MoeForCausalLM",
    "GLM 4.5",
    defaults={
        "vocab_size": 151552,
        "intermediate_size": 10944,
        "num_hidden_layers": 46,
        "num_attention_heads": 96,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
    },
    keys={
        "num_key_value_heads": Key(8, kv_heads_needed),
        "head_dim": HEAD_IF_GIVEN,
        "attention_bias": Key(False, flag("attention_bias")),
        "use_qk_norm": Key(False, lambda key, config: {"qk_norm": "head"} if config.flag(key) else {}),
        **rotary_keys(share=0.5, odd_up=True),
        "moe_intermediate_size": Key(1408, nothing),
        "num_experts_per_tok": Key(8, nothing),
        "n_shared_experts": Key(1, nothing),
        "routed_scaling_factor": Key(1.0, nothing),
        "n_group": Key(1, nothing),
        "topk_group": Key(1, nothing),
        "norm_topk_prob": Key(True, nothing),
        "first_k_dense_replace": Key(1, nothing),
        "n_routed_experts": Key(
            128,
            experts_in(past("first_k_dense_replace"), mixture("n_routed_experts", shared=shares("n_shared_experts"), **DEEPSEEK_ROUTER)),
        ),
        "topk_method": unread("the model's code corrects scores", "noaux_tc"),
        "scoring_func": unread("the model's code scores by a sigmoid", "sigmoid"),
    },
    aliases={"num_local_experts": "n_routed_experts"},
    harmless=MTP,
)

SOLAR_OPEN = variant(
    GLM4_MOE,
    "solar_open",
    "SolarOpenForCausalLM",
    "Solar Open",
    without="intermediate_size first_k_dense_replace use_qk_norm num_nextn_predict_layers num_mtp_layers",
    defaults={"vocab_size": 196608, "num_hidden_layers": 48, "num_attention_heads": 64, "moe_intermediate_size": 1280},
    keys={
        "head_dim": Key(128, head_width_needed),
        **rotary_keys(1000000.0, share=1.0, odd_up=True),
        "partial_rotary_factor": Key(1.0, nothing),
        "n_routed_experts": Key(128, everywhere(mixture("n_routed_experts", shared=shares("n_shared_experts"), **DEEPSEEK_ROUTER))),
    },
)


def _shared_of_dots(config: Config) -> int:
    return shares("n_shared_experts")(config)


DOTS1 = variant(
    MLP_UNBIASED,
    "dots1",
    "Dots1ForCausalLM",
    "dots.llm1",
    defaults={
        "vocab_size": 152064,
        "hidden_size": 4608,
        "intermediate_size": 10944,
        "num_hidden_layers": 62,
        "num_key_value_heads": 32,
    },
    keys={
        "head_dim": HEAD_IF_GIVEN,
        "moe_intermediate_size": Key(1408, nothing),
        "num_experts_per_tok": Key(None, nothing),
        "n_shared_experts": Key(None, nothing),
        "routed_scaling_factor": Key(1.0, nothing),
        "n_group": Key(1, nothing),
        "topk_group": Key(1, nothing),
        "norm_topk_prob": Key(False, nothing),
        "first_k_dense_replace": Key(0, nothing),
        "sliding_window": Key(4096, nothing),
        "max_window_layers": Key(62, nothing),
        "layer_types": Key(
            None,
            attentions(
                lambda config: (
                    lambda i: (
                        "sliding" if config["sliding_window"] is not None and i >= config.size("max_window_layers", least=0) else "full"
                    )
                )
            ),
        ),
        "n_routed_experts": Key(
            None, experts_in(past("first_k_dense_replace"), mixture("n_routed_experts", shared=_shared_of_dots, **DEEPSEEK_ROUTER))
        ),
        "scoring_func": unread("the model's code scores by a sigmoid", "noaux_tc", "sigmoid"),
        "moe_layer_freq": unread("every layer after the first has experts", 1),
    },
    fixed={"qk_norm": "head"},
    aliases={"num_local_experts": "n_routed_experts"},
)

EXAONE_MOE = variant(
    EXAONE4,
    "exaone_moe",
    "ExaoneMoeForCausalLM",
    "EXAONE MoE",
    keys={
        "first_k_dense_replace": Key(1, nothing),
        "moe_intermediate_size": Key(1024, nothing),
        "num_experts": Key(64, nothing),
        "num_experts_per_tok": Key(8, nothing),
        "num_shared_experts": Key(1, nothing),
        "norm_topk_prob": Key(True, nothing),
        "routed_scaling_factor": Key(2.5, nothing),
        "n_group": Key(1, nothing),
        "topk_group": Key(1, nothing),
        "mlp_layer_types": Key(
            None, experts_listed(mixture(shared=shares("num_shared_experts"), **DEEPSEEK_ROUTER), after("first_k_dense_replace"))
        ),
    },
    fixed={"norm_placement": "pre"},
    harmless=MTP,
)

HY_V3 = variant(
    ROOMY,
    "hy_v3",
    "HYV3ForCausalLM",
    "Hunyuan 3",
    defaults={
        "vocab_size": 120832,
        "intermediate_size": 13312,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 11158840.0,
    },
    keys={
        "num_key_value_heads": Key(8, kv_heads_needed),
        "head_dim": Key(128, head_width_needed),
        "mlp_bias": Key(False, only(False, why="the shared experts would have biases and the routed ones none")),
        "moe_intermediate_size": Key(1536, nothing),
        "num_experts": Key(192, nothing),
        "num_experts_per_tok": Key(8, nothing),
        "num_shared_experts": Key(1, nothing),
        "router_scaling_factor": Key(2.826, nothing),
        "mlp_layer_types": Key(
            None,
            experts_listed(
                mixture(shared=shares("num_shared_experts"), scale="router_scaling_factor", **SIGMOID),
                lambda config: lambda i: "moe" if i else "dense",
            ),
        ),
    },
    fixed={"qk_norm": "head", "mlp_bias": False},
    aliases={"num_local_experts": "num_experts"},
    harmless={"enable_moe_fp32_combine": "the same sum, computed in fp32"},
)


def _mimo_layers(config: Config) -> Fields:
    """Windowed layers have twice the key-value heads, and sinks."""
    return {"n_kv_head": 2 * config.size("num_key_value_heads"), "attention_sinks": True}


_MIMO_ANGLES = angles_by_kind(
    {"full_attention": 5000000.0, "sliding_attention": 10000.0}, {"full_attention": 0.334, "sliding_attention": 0.334}
)
MIMO_V2 = variant(
    UNBIASED,
    "mimo_v2_flash",
    "MiMoV2FlashForCausalLM",
    "MiMo V2",
    without="rope_scaling",
    defaults={
        "vocab_size": 152576,
        "intermediate_size": 16384,
        "num_hidden_layers": 48,
        "num_attention_heads": 64,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
    },
    keys={
        "num_key_value_heads": Key(4, size("n_kv_head")),
        "head_dim": Key(192, lambda key, config: size("d_head")(key, config)),
        "v_head_dim": Key(128, size("d_head_value")),
        "attention_bias": Key(False, flag("attention_bias")),
        "attention_value_scale": Key(0.707, nothing),
        "rope_parameters": Key(None, nothing),
        "partial_rotary_factor": Key(ABSENT, nothing),
        "rope_theta": Key(ABSENT, nothing),
        "sliding_window": Key(129, nothing),
        "sliding_window_size": unread("sliding_window says so"),
        "layer_types": Key(
            None,
            attentions(
                lambda config: lambda i: "full" if i == 0 or not (i + 1) % 6 else "sliding",
                full=_MIMO_ANGLES("full_attention"),
                sliding=lambda config: {**_MIMO_ANGLES("sliding_attention")(config), **_mimo_layers(config)},
            ),
        ),
        "moe_intermediate_size": Key(2048, nothing),
        "num_experts_per_tok": Key(8, nothing),
        "n_routed_experts": Key(256, nothing),
        "routed_scaling_factor": Key(1.0, nothing),
        "n_group": Key(1, nothing),
        "topk_group": Key(1, nothing),
        "norm_topk_prob": Key(True, nothing),
        "mlp_layer_types": Key(
            None,
            experts_listed(mixture("n_routed_experts", **DEEPSEEK_ROUTER), lambda config: lambda i: "moe" if i else "dense"),
        ),
    },
    aliases={"num_local_experts": "n_routed_experts"},
)

KOLIBRI1 = variant(
    UNBIASED,
    "kolibri1",
    "Kolibri1ForCausalLM",
    "Kolibri",
    without="intermediate_size",
    defaults={
        "vocab_size": 128000,
        "hidden_size": 2560,
        "num_hidden_layers": 50,
        "num_attention_heads": 48,
        "max_position_embeddings": 262144,
    },
    keys={
        "num_key_value_heads": Key(4, kv_heads_needed),
        "head_dim": Key(128, head_width_needed),
        "sliding_window": Key(513, nothing),
        "layer_types": Key(None, attentions(every(5), full=unrotated_beside_windows)),
        "moe_intermediate_size": Key(512, nothing),
        "shared_expert_intermediate_size": Key(512, nothing),
        "num_experts_per_tok": Key(6, nothing),
        "norm_topk_prob": Key(False, nothing),
        "num_local_experts": Key(
            384,
            everywhere(
                mixture(
                    "num_local_experts",
                    shared=lambda config: config.size("shared_expert_intermediate_size"),
                    normalised="norm_topk_prob",
                    **SIGMOID,
                )
            ),
        ),
    },
    fixed={"norm_placement": "sandwich", "qk_norm": "head"},
    aliases={"num_experts": "num_local_experts"},
)


def _ernie_sparse(config: Config, layer: int) -> bool:
    last = config["moe_layer_end_index"]
    if type(last) is not int:
        raise config.refuse("moe_layer_end_index", f"must be a whole number, not {written(last)}")
    last = config.layers - 1 if last == -1 else last
    return (layer + 1) % config.size("moe_layer_interval") == 0 and config.size("moe_layer_start_index", least=0) <= layer <= last


ERNIE45_MOE = variant(
    UNBIASED,
    "ernie4_5_moe",
    "Ernie4_5_MoeForCausalLM",
    "ERNIE 4.5",
    defaults={
        "vocab_size": 103424,
        "hidden_size": 2560,
        "intermediate_size": 12288,
        "num_hidden_layers": 28,
        "num_attention_heads": 20,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "rope_theta": 500000.0,
    },
    keys={
        "num_key_value_heads": Key(4, kv_heads_needed),
        "head_dim": HEAD_IF_GIVEN,
        "use_bias": Key(False, only(False, why="the shared experts would have biases and the routed ones none")),
        "moe_intermediate_size": Key(1536, nothing),
        "moe_k": Key(6, nothing),
        "moe_num_shared_experts": Key(2, nothing),
        "moe_layer_start_index": Key(1, nothing),
        "moe_layer_end_index": Key(-1, nothing),
        "moe_layer_interval": Key(1, nothing),
        # The score correction is among this class's parameters, though it is not trained.
        "moe_num_experts": Key(
            64,
            experts_in(
                _ernie_sparse,
                mixture("moe_num_experts", "moe_k", "moe_intermediate_size", shared=shares("moe_num_shared_experts"), router_bias=True),
            ),
        ),
    },
    fixed={"rotary_pairs": "neighbours"},
    aliases={"num_experts": "moe_num_experts", "num_experts_per_tok": "moe_k"},
    harmless={"moe_norm_min": "keeps a division from zero"},
)


def _shared_of_cohere(key: str, config: Config) -> Fields:
    strategy = config[key]
    if strategy not in ("average", "sum"):
        raise config.refuse(key, f"must be 'average' or 'sum', not {written(strategy)}")
    return {}


def _cohere_score(config: Config) -> Fields:
    score = config["expert_selection_fn"]
    if score not in ("softmax", "sigmoid"):
        raise config.refuse("expert_selection_fn", f"must be 'softmax' or 'sigmoid', not {written(score)}")
    shared = shares("num_shared_experts", "intermediate_size")
    return mixture(shared=shared, normalised="norm_topk_prob" if score == "sigmoid" else True, router_score=score)(config)


def _cohere_mlp(key: str, config: Config) -> Fields:
    kinds = config[key]
    dense = config.data.get("first_k_dense_replace", 0)
    if dense not in (0, None) or (isinstance(kinds, list) and "dense" in kinds):
        raise config.refuse(key, "with dense layers is not understood: they rotate as the others do not")
    return experts_listed(_cohere_score, always("moe"))(key, config)


COHERE2_MOE = variant(
    COHERE2,
    "cohere2_moe",
    "Cohere2MoeForCausalLM",
    "Command A MoE",
    keys={
        "head_dim": Key(128, head_width_needed),
        "sliding_window_pattern": Key(4, nothing),
        "num_experts": Key(8, nothing),
        "num_experts_per_tok": Key(2, nothing),
        "num_shared_experts": Key(0, nothing),
        "shared_expert_combination_strategy": Key("average", _shared_of_cohere),
        "expert_selection_fn": Key("softmax", nothing),
        "norm_topk_prob": Key(True, nothing),
        "first_k_dense_replace": Key(ABSENT, nothing),
        "prefix_dense_sliding_window_pattern": Key(1, nothing),
        "prefix_dense_intermediate_size": Key(None, nothing),
        "rms_norm_eps": Key(None, only(None, why="the norms would be RMSNorm")),
        "mlp_layer_types": Key(None, _cohere_mlp),
    },
)


AFMOE = variant(
    MLP_UNBIASED,
    "afmoe",
    "AfmoeForCausalLM",
    "AFMoE",
    defaults={
        "vocab_size": 200192,
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_attention_heads": 16,
        "max_position_embeddings": 16384,
        "rms_norm_eps": 1e-5,
    },
    keys={
        "head_dim": Key(128, head_width_needed),
        "global_attn_every_n_layers": Key(4, nothing),
        "sliding_window": Key(1024, nothing),
        "layer_types": Key(
            None,
            attentions(every(from_key("global_attn_every_n_layers")), full=lambda config: {"position": "none"}),
        ),
        "mup_enabled": Key(False, lambda key, config: {"embedding_scale": config.size("hidden_size") ** 0.5} if config.flag(key) else {}),
        "moe_intermediate_size": Key(1408, nothing),
        "num_experts_per_tok": Key(6, nothing),
        "num_shared_experts": Key(2, nothing),
        "route_scale": Key(1.0, nothing),
        "num_dense_layers": Key(1, nothing),
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
            Layer(layer.kind, {**layer.fields, "n_head": heads, "n_kv_head": config.size("num_key_value_heads")})
            for layer, heads in zip(layers, _heads_of_each(config), strict=True)
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
    defaults={
        "vocab_size": 100352,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 40,
        "num_attention_heads": 48,
        "max_position_embeddings": 131072,
    },
    keys={
        "num_key_value_heads": Key(8, size()),
        "head_dim": Key(128, size("d_head")),
        "attention_bias": Key(False, flag("attention_bias", "attention_output_bias")),
        "rope_parameters": Key(None, nothing),
        "partial_rotary_factor": Key(ABSENT, nothing),
        "rope_theta": Key(ABSENT, nothing),
        "sliding_window": Key(512, nothing),
        "num_attention_heads_per_layer": Key(None, nothing),
        "layer_types": Key(None, _laguna_layers),
        "gating": Key(True, only(True, "per-head", why="the gate is one for each head")),
        "moe_intermediate_size": Key(512, nothing),
        "shared_expert_intermediate_size": Key(512, nothing),
        "num_experts_per_tok": Key(8, nothing),
        "num_experts": Key(256, nothing),
        "moe_routed_scaling_factor": Key(1.0, nothing),
        "moe_router_logit_softcapping": Key(0.0, only(0.0, 0, why="the routers' logits would be capped")),
        "moe_apply_router_weight_on_input": Key(False, only(False, why="the model's code does not")),
        "mlp_layer_types": Key(
            None,
            experts_listed(
                mixture(
                    shared=lambda config: config.size("shared_expert_intermediate_size"),
                    scale="moe_routed_scaling_factor",
                    router_bias=True,
                    **SIGMOID,
                ),
                lambda config: lambda i: "moe" if i else "dense",
            ),
        ),
    },
    fixed={"qk_norm": "head", "attention_gate": "head"},
)

# --- Llama 4 ------------------------------------------------------------------------------------------------------------------------


def _llama4_layers(key: str, config: Config) -> Fields:
    """Layers that rotate attend within chunks; the others see everything, and are not rotated."""
    value, period = config["no_rope_layers"], config.size("no_rope_layer_interval")
    rotated = value or [int((i + 1) % period != 0) for i in range(config.layers)]
    if not isinstance(rotated, list) or len(rotated) != config.layers or not all(entry in (0, 1) for entry in rotated):
        raise config.refuse("no_rope_layers", f"must be a list of {config.layers} entries, 1 where a layer rotates and 0 where it does not")
    kinds = config[key] or ["chunked_attention" if entry else "full_attention" for entry in rotated]
    if kinds != ["chunked_attention" if entry else "full_attention" for entry in rotated]:
        raise config.refuse(key, "contradicts no_rope_layers: the layers that rotate are those that attend within chunks")
    chunked: Fields = {
        "sliding_window": config.size("attention_chunk_size"),
        "window_chunks": True,
        **({"qk_norm": "l2", "qk_norm_after_rotary": True} if config.flag("use_qk_norm") else {}),
    }
    return {ATTENTION: [Layer("chunked", chunked) if entry else Layer("full", {"position": "none"}) for entry in rotated]}


def _llama4_sparse(config: Config, layer: int) -> bool:
    given = config["moe_layers"]
    if given is None:
        return (layer + 1) % config.size("interleave_moe_layer_step") == 0
    if not isinstance(given, list) or not all(type(entry) is int for entry in given):
        raise config.refuse("moe_layers", f"must be a list of layers, not {written(given)}")
    return layer in given


LLAMA4 = variant(
    MLP_UNBIASED,
    "llama4_text",
    "Llama4ForCausalLM",
    "Llama 4",
    without="intermediate_size sliding_window max_sequence_length rope_interleaved",
    defaults={
        "vocab_size": 202048,
        "hidden_size": 5120,
        "num_hidden_layers": 48,
        "num_attention_heads": 40,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
    },
    keys={
        "intermediate_size": Key(8192, nothing),
        "intermediate_size_mlp": Key(16384, size("d_ff")),
        "num_experts_per_tok": Key(1, nothing),
        "moe_layers": Key(None, nothing),
        "interleave_moe_layer_step": Key(1, nothing),
        "num_local_experts": Key(
            16,
            experts_in(
                _llama4_sparse,
                mixture(
                    "num_local_experts",
                    shared=lambda config: config.size("intermediate_size"),
                    normalised=False,
                    router_score="sigmoid",
                    router_weighs_input=True,
                ),
            ),
        ),
        "use_qk_norm": Key(True, nothing),
        "no_rope_layers": Key(None, nothing),
        "no_rope_layer_interval": Key(4, nothing),
        "attention_chunk_size": Key(8192, nothing),
        "layer_types": Key(None, _llama4_layers),
        "for_llm_compressor": unread("a way to store the experts", False),
    },
    fixed={"rotary_pairs": "neighbours"},
    harmless=because("scales queries past 8,192 positions: no weights", "attn_temperature_tuning floor_scale attn_scale"),
)

FAMILIES = (
    QWEN3_MOE, QWEN2_MOE, MELLUM, GLM4_MOE, SOLAR_OPEN, DOTS1, EXAONE_MOE, HY_V3, MIMO_V2, KOLIBRI1, ERNIE45_MOE, COHERE2_MOE, AFMOE,
    LAGUNA, LLAMA4,
)  # fmt: skip
