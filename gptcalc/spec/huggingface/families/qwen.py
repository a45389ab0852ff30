"""Qwen, and Mellum, which began as Qwen 3."""

from __future__ import annotations

from collections.abc import Callable

from gptcalc.spec.huggingface.families.llama import UNBIASED
from gptcalc.spec.huggingface.family import ABSENT, Config, Fields, Key, sizes, variant, written
from gptcalc.spec.huggingface.handlers import (
    HEAD_IF_GIVEN,
    divides,
    flag,
    head_width_needed,
    heads,
    kv_heads_needed,
    nothing,
    optional_size,
    read_elsewhere,
    standard,
    unread,
    unread_head_width,
)
from gptcalc.spec.huggingface.layers import always, angles_by_kind, attentions, experts_in, experts_listed, from_key, window_or_none
from gptcalc.spec.huggingface.mixture import MTP, mixture
from gptcalc.spec.huggingface.rotary import rotary_keys

_QWEN_WINDOW = read_elsewhere(use_sliding_window=False, sliding_window=4096, max_window_layers=28)


def _qwen_window(config: Config) -> int | None:
    if config.flag("use_sliding_window"):
        return window_or_none(config)
    raise config.refuse("layer_types", "has windowed layers and use_sliding_window is false")


def _qwen_rule(config: Config) -> object:
    first = config.size("max_window_layers", least=0)
    windowed = config.flag("use_sliding_window") and config["sliding_window"] is not None
    return lambda i: "sliding" if windowed and i >= first else "full"


QWEN2 = variant(
    UNBIASED,
    "qwen2",
    "Qwen2ForCausalLM",
    "Qwen 2",
    defaults=sizes(V=151936, F=22016, K=32, T=32768),
    keys={
        "head_dim": HEAD_IF_GIVEN,
        "attention_bias": unread("Qwen 2's code has biases of queries, keys and values, and no others", True),
        **_QWEN_WINDOW,
        "layer_types": Key(None, attentions(_qwen_rule, window=_qwen_window)),  # type: ignore[arg-type]
        "use_mrope": unread("the model's code has no multimodal positions", False),
    },
    fixed={"attention_bias": True},
)

QWEN3 = variant(
    QWEN2,
    "qwen3",
    "Qwen3ForCausalLM",
    "Qwen 3",
    keys={"head_dim": Key(128, head_width_needed), **standard(attention_bias=False)},
    fixed={"qk_norm": "head"},
)


def qwen_sparse(config: Config, layer: int) -> bool:
    dense = config["mlp_only_layers"]
    if dense is not None and (not isinstance(dense, list) or not all(type(entry) is int for entry in dense)):
        raise config.refuse("mlp_only_layers", f"must be a list of layers, not {written(dense)}")
    if layer in (dense or ()) or config.size("num_experts", least=0) == 0:
        return False
    return (layer + 1) % config.size("decoder_sparse_step") == 0


_QWEN_EXPERTS = read_elsewhere(decoder_sparse_step=1, mlp_only_layers=None, norm_topk_prob=False, max_window_layers=28)


def _window_of_qwen3(key: str, config: Config) -> Fields:
    """One window for every layer."""
    return optional_size("sliding_window")(key, config) if config.flag("use_sliding_window") else {}


QWEN3_MOE = variant(
    QWEN3,
    "qwen3_moe",
    "Qwen3MoeForCausalLM",
    "Qwen 3",
    without="layer_types",
    defaults=sizes(d=2048, F=6144, L=24),
    keys={
        **heads(4),
        **_QWEN_EXPERTS,
        "sliding_window": Key(4096, _window_of_qwen3),
        **read_elsewhere(moe_intermediate_size=768, num_experts_per_tok=8),
        "num_local_experts": Key(
            128, experts_in(qwen_sparse, mixture("num_local_experts", width="moe_intermediate_size", normalised="norm_topk_prob"))
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
    defaults=sizes(V=151936, d=2048, F=5632, L=24, H=16, T=32768),
    keys={
        **heads(16),
        "qkv_bias": Key(True, flag("attention_bias")),
        **_QWEN_EXPERTS,
        "layer_types": Key(None, attentions(_alternate, window=_window_of_qwen2)),
        **read_elsewhere(use_sliding_window=False, sliding_window=4096, moe_intermediate_size=1408),
        **read_elsewhere(shared_expert_intermediate_size=5632, num_experts_per_tok=4),
        "num_experts": Key(
            60,
            experts_in(
                qwen_sparse,
                mixture(
                    width="moe_intermediate_size",
                    shared=from_key("shared_expert_intermediate_size"),
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
    defaults=sizes(V=98304, d=2304, F=7168, L=28, T=131072),
    keys={
        "num_key_value_heads": Key(4, kv_heads_needed),
        "layer_types": Key(
            None, attentions(always("full"), full=_MELLUM_ANGLES("full_attention"), sliding=_MELLUM_ANGLES("sliding_attention"))
        ),
        **read_elsewhere(rope_parameters=None, sliding_window=1024, moe_intermediate_size=896, num_experts_per_tok=8),
        **read_elsewhere(norm_topk_prob=True, num_local_experts=64),
        "mlp_layer_types": Key(
            None,
            experts_listed(mixture("num_local_experts", width="moe_intermediate_size", normalised="norm_topk_prob"), always("moe")),
        ),
    },
    aliases={"num_experts": "num_local_experts"},
    harmless=MTP,
)

# --- The language models of Qwen's models of images and sound, which have the tensors of Qwen 2 and 3 ----------------------------------

QWEN2_VL = variant(
    QWEN2,
    "qwen2_vl_text",
    "Qwen2VLForConditionalGeneration Qwen2VLTextModel Qwen2VLModel",
    "Qwen 2 VL",
    defaults=sizes(V=152064, d=8192, F=29568, L=80, K=8, rms_norm_eps=1e-5, max_window_layers=80),
    keys={"num_attention_heads": Key(64, divides), "head_dim": unread_head_width(), **rotary_keys(1000000.0, sections=True)},
)

QWEN25_VL = variant(QWEN2_VL, "qwen2_5_vl_text", "Qwen2_5_VLForConditionalGeneration Qwen2_5_VLTextModel Qwen2_5_VLModel", "Qwen 2.5 VL")

QWEN25_OMNI = variant(
    QWEN2,
    "qwen2_5_omni_text",
    "Qwen2_5OmniThinkerForConditionalGeneration Qwen2_5OmniThinkerTextModel Qwen2_5OmniModel",
    "Qwen 2.5 Omni",
    defaults=sizes(V=152064, d=3584, F=18944, L=28, H=28, K=4, sliding_window=32768, tie_word_embeddings=True),
    keys=rotary_keys(1000000.0, sections=True),
)

_NO_WINDOW = {
    "sliding_window": unread("the model's code has no window"),
    "use_sliding_window": unread("the model's code has no window", False),
    "max_window_layers": Key(ABSENT, nothing),
}

QWEN3_VL = variant(
    QWEN3,
    "qwen3_vl_text",
    "Qwen3VLForConditionalGeneration Qwen3VLTextModel Qwen3VLModel",
    "Qwen 3 VL",
    without="layer_types",
    defaults=sizes(T=128000),
    keys={**_NO_WINDOW, **rotary_keys(500000.0, sections=True)},
)

QWEN3_VL_MOE = variant(
    QWEN3_MOE,
    "qwen3_vl_moe_text",
    "Qwen3VLMoeForConditionalGeneration Qwen3VLMoeTextModel Qwen3VLMoeModel",
    "Qwen 3 VL",
    defaults=sizes(F=5632, H=16, K=16, T=128000, tie_word_embeddings=True, moe_intermediate_size=1408, num_experts_per_tok=4),
    keys={
        **_NO_WINDOW,
        **rotary_keys(500000.0, sections=True),
        **standard(head_dim=None),
        "num_local_experts": Key(60, experts_in(qwen_sparse, mixture("num_local_experts", width="moe_intermediate_size"))),
        "norm_topk_prob": unread("the model's code always divides by the sum", True),
    },
)

QWEN3_OMNI_MOE = variant(
    QWEN3_MOE,
    "qwen3_omni_moe_text",
    "Qwen3OmniMoeThinkerForConditionalGeneration Qwen3OmniMoeThinkerTextModel Qwen3OmniMoeForConditionalGeneration",
    "Qwen 3 Omni",
    defaults=sizes(V=3584, F=18944, L=28, H=28, norm_topk_prob=True),
    keys={
        **_NO_WINDOW,
        "sliding_window": Key(None, nothing),  # the code makes a window of it nowhere
        "head_dim": HEAD_IF_GIVEN,
        **rotary_keys(1000000.0, sections=True),
    },
)

FAMILIES = (QWEN2, QWEN3, QWEN3_MOE, QWEN2_MOE, MELLUM, QWEN2_VL, QWEN25_VL, QWEN25_OMNI, QWEN3_VL, QWEN3_VL_MOE, QWEN3_OMNI_MOE)
