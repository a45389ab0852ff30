"""DeepSeek, and those that have its latent attention or its router."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gptcalc.spec.huggingface.families.llama import LLAMA, MLP_UNBIASED, UNBIASED
from gptcalc.spec.huggingface.family import ABSENT, Config, Fields, Key, sizes, variant, written
from gptcalc.spec.huggingface.handlers import (
    COMPUTED_HEAD_WIDTH,
    HEAD_IF_GIVEN,
    agrees,
    factor,
    flag,
    kv_heads,
    nothing,
    only,
    optional_size,
    read_elsewhere,
    size,
    unread,
)
from gptcalc.spec.huggingface.layers import attentions, experts_in, experts_listed
from gptcalc.spec.huggingface.mixture import DEEPSEEK_ROUTER, mixture, past, shares
from gptcalc.spec.huggingface.rotary import given_angles, scaling_of


def _angles(key: str, config: Config) -> Fields:
    return latent_angles(key, given_angles(key, config), config)


def latent_angles(key: str, given: Mapping[str, Any], config: Config) -> Fields:
    """The rotated channels are apart from the others: their number is a key of its own."""
    inside = dict(given)
    theta = config.number("rope_theta", inside.pop("rope_theta", config["rope_theta"]))
    if inside.pop("partial_rotary_factor", 1.0) not in (None, 1, 1.0):
        raise config.refuse("partial_rotary_factor", "is not understood: qk_rope_head_dim says how many channels rotate")
    scaling = scaling_of(key, inside, config)
    return {"rope_theta": theta, **({"rope_scaling": scaling} if scaling else {})}


def _whole_head(key: str, config: Config) -> Fields:
    rotated = config.size("qk_rope_head_dim")
    return {"d_rotary": rotated, "d_head": config.size(key) + rotated}


def _all_heads(key: str, config: Config) -> Fields:
    """Every head has its own keys and values: the code does not read the key, but for a ratio that must be one."""
    kv_heads(key, config)
    if config[key] is not None and config.size(key) != config.size("num_attention_heads"):
        raise config.refuse(key, f"{config.size(key)} is not num_attention_heads {config.size('num_attention_heads')}")
    return {}


def _value_head(key: str, config: Config) -> Fields:
    width = config.size(key)
    return {"d_head_value": width}


def _epsilon(key: str, config: Config) -> Fields:
    """The norms of the latents keep the default of their code, whatever the key says."""
    given = config.number(key, config[key])
    return {"norm_epsilon": given} if given == 1e-6 else {"norm_epsilon": given, "latent_norm_epsilon": 1e-6}


LATENT: dict[str, Key] = {
    "rms_norm_eps": Key(1e-6, _epsilon),
    "num_key_value_heads": Key(None, _all_heads),
    "head_dim": Key(ABSENT, agrees(lambda config: config.size("qk_rope_head_dim"), "qk_rope_head_dim")),
    "qk_head_dim": Key(
        ABSENT, agrees(lambda config: config.size("qk_nope_head_dim") + config.size("qk_rope_head_dim"), "the sum of its two parts")
    ),
    "kv_lora_rank": Key(512, size("kv_lora_rank")),
    "q_lora_rank": Key(1536, optional_size("q_lora_rank")),
    "qk_nope_head_dim": Key(128, _whole_head),
    "qk_rope_head_dim": Key(64, nothing),
    "v_head_dim": Key(128, _value_head),
    "attention_bias": Key(False, flag("attention_bias", "attention_output_bias")),
    "rope_parameters": Key(None, _angles),
}

YOUTU = variant(
    UNBIASED,
    "youtu",
    "YoutuForCausalLM",
    "Youtu",
    defaults=sizes(V=128256, d=2048, F=6144, H=16, K=16, T=131072, tie_word_embeddings=True),
    keys={
        **LATENT,
        "rope_interleave": Key(True, lambda key, config: {"rotary_pairs": "neighbours" if config.flag(key) else "halves"}),
    },
)


def _depth_scale(key: str, config: Config) -> Fields:
    """Each sublayer's output is multiplied by this over the square root of the depth."""
    return {} if config[key] is None else {"residual_scale": config.number(key, config[key]) / config.layers**0.5}


def _value_head_of_minicpm(key: str, config: Config) -> Fields:
    if config[key] is None:
        return {"d_head_value": config.size("hidden_size") // config.size("num_attention_heads")}
    return _value_head(key, config)


def _width_scale(key: str, config: Config) -> Fields:
    return {} if config[key] is None else {"logit_scale": config.number(key, config[key]) / config.size("hidden_size")}


MINICPM3 = variant(
    LLAMA,
    "minicpm3",
    "MiniCPM3ForCausalLM",
    "MiniCPM 3",
    defaults=sizes(V=73448, d=2560, F=6400, L=62, H=40, K=40, T=32768, rms_norm_eps=1e-5, tie_word_embeddings=True),
    keys={
        **LATENT,
        "kv_lora_rank": Key(256, size("kv_lora_rank")),
        "q_lora_rank": Key(768, optional_size("q_lora_rank")),
        "qk_nope_head_dim": Key(64, _whole_head),
        "qk_rope_head_dim": Key(32, nothing),
        "v_head_dim": Key(None, _value_head_of_minicpm),
        "scale_emb": Key(12, factor("embedding_scale")),
        "scale_depth": Key(1.4, _depth_scale),
        "dim_model_base": Key(256, _width_scale),
    },
)

_ROUTER: dict[str, Any] = {"width": "moe_intermediate_size", "shared": shares("n_shared_experts"), "scale": "routed_scaling_factor"}


def _experts_of_v2(config: Config) -> Fields:
    method = config["topk_method"]
    if method not in ("greedy", "group_limited_greedy"):
        raise config.refuse("topk_method", f"{written(method)} is not understood")
    return mixture("n_routed_experts", normalised=False, groups=method == "group_limited_greedy", **_ROUTER)(config)


_EXPERTS: dict[str, Key] = {
    **read_elsewhere(num_experts_per_tok=8, n_shared_experts=1, routed_scaling_factor=2.5, n_group=8, topk_group=4),
    **read_elsewhere(norm_topk_prob=True, moe_intermediate_size=2048),
    "moe_layer_freq": unread("every layer after the dense ones has experts", 1),
}

DEEPSEEK_V2 = variant(
    LLAMA,
    "deepseek_v2",
    "DeepseekV2ForCausalLM",
    "DeepSeek V2",
    defaults={"vocab_size": 102400},
    keys={
        **LATENT,
        **_EXPERTS,
        "mlp_bias": Key(False, only(False, why="the shared experts would have biases and the routed ones none")),
        "norm_topk_prob": Key(False, only(False, why="the model's code does not divide by the sum")),
        **read_elsewhere(num_experts_per_tok=None, n_shared_experts=2, routed_scaling_factor=1.0, n_group=None, topk_group=None),
        **read_elsewhere(topk_method="greedy", moe_intermediate_size=1407, first_k_dense_replace=0),
        "n_routed_experts": Key(64, experts_in(past("first_k_dense_replace"), _experts_of_v2)),
        "scoring_func": unread("the model's code scores by a softmax", "softmax"),
    },
    fixed={"mlp_bias": False, "rotary_pairs": "neighbours"},
    aliases={"num_experts": "n_routed_experts"},
)


def _must_be_listed(config: Config) -> Callable[[int], str]:
    def rule(layer: int) -> str:
        raise config.refuse("mlp_layer_types", "is missing: the model's code needs the kind of each layer")

    return rule


# DeepSeek-OCR 2's language model: Llama's attention, and the experts of DeepSeek V2.
DEEPSEEK_OCR2 = variant(
    LLAMA,
    "deepseek_ocr2_text",
    "DeepseekOcr2ForConditionalGeneration DeepseekOcr2TextModel DeepseekOcr2Model",
    "DeepSeek-OCR 2",
    defaults={"vocab_size": 102400},
    keys={
        "mlp_bias": Key(False, only(False, why="the shared experts would have biases and the routed ones none")),
        **read_elsewhere(num_experts_per_tok=None, n_shared_experts=2, routed_scaling_factor=1.0, n_group=None, topk_group=None),
        **read_elsewhere(topk_method="greedy", moe_intermediate_size=1407, n_routed_experts=64),
        "mlp_layer_types": Key(None, experts_listed(_experts_of_v2, _must_be_listed)),
        "head_dim": COMPUTED_HEAD_WIDTH,
    },
    fixed={"mlp_bias": False},
    aliases={"num_experts": "n_routed_experts"},
)

SIGMOID_EXPERTS = mixture("n_routed_experts", normalised="norm_topk_prob", groups=True, router_score="sigmoid", **_ROUTER)


def further_tokens(key: str, config: Config) -> Fields:
    """Counted apart, outside the total."""
    return {"n_mtp": config.size(key)} if config[key] else {}


DEEPSEEK_V3 = variant(
    YOUTU,
    "deepseek_v3",
    "DeepseekV3ForCausalLM",
    "DeepSeek V3",
    defaults=sizes(V=129280, d=7168, F=18432, L=61, H=128, K=128, T=4096, tie_word_embeddings=False),
    keys={
        **_EXPERTS,
        "first_k_dense_replace": Key(3, nothing),
        "n_routed_experts": Key(256, experts_in(past("first_k_dense_replace"), SIGMOID_EXPERTS)),
        "topk_method": unread("the model's code corrects scores", "noaux_tc"),
        "scoring_func": unread("the model's code scores by a sigmoid", "sigmoid"),
        "num_nextn_predict_layers": Key(1, further_tokens),
    },
    aliases={"num_local_experts": "n_routed_experts", "num_mtp_layers": "num_nextn_predict_layers"},
)


SARVAM_MLA = variant(
    DEEPSEEK_V3,
    "sarvam_mla",
    "SarvamMLAForCausalLM DeepseekV3ForCausalLM",
    "Sarvam",
    defaults=sizes(V=262144, d=4096, F=16384, L=32, H=64, num_key_value_heads=None, n_routed_experts=128, q_lora_rank=None)
    | {"n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "num_nextn_predict_layers": 0},
    aliases={"num_experts": "n_routed_experts", "num_shared_experts": "n_shared_experts"},
)


def dense_between(config: Config) -> Callable[[int], str]:
    """Dense layers first, and then experts in every so many layers."""
    first, step = config.size("first_k_dense_replace", least=0), config.size("moe_layer_freq")
    return lambda i: "dense" if i < first or i % step else "moe"


AXK1 = variant(
    DEEPSEEK_V3,
    "axk1",
    "AXK1ForCausalLM",
    "A.X K1",
    without="num_nextn_predict_layers",
    defaults=sizes(V=163840, H=64, K=64, T=32768, n_routed_experts=192),
    keys={
        "q_lora_rank": Key(1536, size("q_lora_rank")),
        "n_routed_experts": Key(192, nothing),
        **read_elsewhere(first_k_dense_replace=1, moe_layer_freq=1),
        "mlp_layer_types": Key(
            None,
            experts_listed(
                mixture(
                    "n_routed_experts",
                    normalised="norm_topk_prob",
                    groups=True,
                    router_score="sigmoid",
                    norm_placement="mlp_sandwich",
                    **_ROUTER,
                ),
                dense_between,
            ),
        ),
    },
)

DOTS1 = variant(
    MLP_UNBIASED,
    "dots1",
    "Dots1ForCausalLM",
    "dots.llm1",
    defaults=sizes(V=152064, d=4608, F=10944, L=62, K=32),
    keys={
        "head_dim": HEAD_IF_GIVEN,
        **read_elsewhere(moe_intermediate_size=1408, num_experts_per_tok=None, n_shared_experts=None, routed_scaling_factor=1.0),
        **read_elsewhere(n_group=1, topk_group=1, norm_topk_prob=False, first_k_dense_replace=0, sliding_window=4096),
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
            None,
            experts_in(past("first_k_dense_replace"), mixture("n_routed_experts", shared=shares("n_shared_experts"), **DEEPSEEK_ROUTER)),
        ),
        "scoring_func": unread("the model's code scores by a sigmoid", "noaux_tc", "sigmoid"),
        "moe_layer_freq": unread("every layer after the first has experts", 1),
    },
    fixed={"qk_norm": "head"},
    aliases={"num_local_experts": "n_routed_experts"},
)

FAMILIES = (YOUTU, MINICPM3, DEEPSEEK_V2, DEEPSEEK_OCR2, DEEPSEEK_V3, SARVAM_MLA, AXK1, DOTS1)
