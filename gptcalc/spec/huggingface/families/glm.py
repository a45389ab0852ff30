"""GLM, and Solar Open, which began as GLM 4.5."""

from __future__ import annotations

from gptcalc.spec.huggingface.families.deepseek import DEEPSEEK_V3, SIGMOID_EXPERTS
from gptcalc.spec.huggingface.families.llama import UNBIASED
from gptcalc.spec.huggingface.family import Key, sizes, variant
from gptcalc.spec.huggingface.handlers import (
    HEAD_IF_GIVEN,
    flag,
    head_width_needed,
    heads,
    nothing,
    read_elsewhere,
    standard,
    unread,
    unread_head_width,
)
from gptcalc.spec.huggingface.layers import experts_in, experts_listed
from gptcalc.spec.huggingface.mixture import DEEPSEEK_ROUTER, MTP, everywhere, first_dense, mixture, past, shares
from gptcalc.spec.huggingface.rotary import rotary_keys

GLM = variant(
    UNBIASED,
    "glm",
    "GlmForCausalLM",
    "GLM",
    defaults=sizes(V=151552, F=13696, L=40, T=131072),
    keys={
        **heads(2, 128),
        "attention_bias": Key(True, flag("attention_bias")),
        **standard(rms_norm_eps=0.00000015625),
        **rotary_keys(share=0.5, odd_up=True),
    },
    fixed={"rotary_pairs": "neighbours"},
)

GLM4 = variant(GLM, "glm4", "Glm4ForCausalLM", "GLM 4", fixed={"norm_placement": "sandwich"})

GLM4_MOE = variant(
    UNBIASED,
    "glm4_moe",
    "Glm4MoeForCausalLM",
    "GLM 4.5",
    defaults=sizes(V=151552, F=10944, L=46, H=96, T=131072, rms_norm_eps=1e-5),
    keys={
        **heads(8),
        "attention_bias": Key(False, flag("attention_bias")),
        "use_qk_norm": Key(False, lambda key, config: {"qk_norm": "head"} if config.flag(key) else {}),
        **rotary_keys(share=0.5, odd_up=True),
        **read_elsewhere(moe_intermediate_size=1408, num_experts_per_tok=8, n_shared_experts=1, routed_scaling_factor=1.0, n_group=1),
        **read_elsewhere(topk_group=1, norm_topk_prob=True, first_k_dense_replace=1),
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
    defaults=sizes(V=196608, L=48, H=64, moe_intermediate_size=1280),
    keys={
        "head_dim": Key(128, head_width_needed),
        **rotary_keys(1000000.0, share=1.0, odd_up=True),
        "partial_rotary_factor": Key(1.0, nothing),
        "n_routed_experts": Key(128, everywhere(mixture("n_routed_experts", shared=shares("n_shared_experts"), **DEEPSEEK_ROUTER))),
    },
)

GLM4_MOE_LITE = variant(
    DEEPSEEK_V3,
    "glm4_moe_lite",
    "Glm4MoeLiteForCausalLM",
    "GLM 4.7 Flash",
    without="first_k_dense_replace head_dim num_nextn_predict_layers",
    defaults=sizes(V=154880, d=2048, F=10240, L=47, H=20, K=20, T=202752, rms_norm_eps=1e-5)
    | {"q_lora_rank": 768, "v_head_dim": 256, "qk_nope_head_dim": 192, "moe_intermediate_size": 1536}
    | {"n_group": 1, "topk_group": 1, "num_experts_per_tok": 4, "routed_scaling_factor": 1.8},
    keys={
        "n_routed_experts": Key(64, nothing),
        "mlp_layer_types": Key(None, experts_listed(SIGMOID_EXPERTS, first_dense)),
    },
    aliases={"num_local_experts": "n_routed_experts", "head_dim": "qk_rope_head_dim"},
)

SARVAM_MOE = variant(
    GLM4_MOE,
    "sarvam_moe",
    "SarvamMoEForCausalLM Glm4MoeForCausalLM",
    "Sarvam",
    defaults=sizes(V=262144, F=8192, L=19, H=64, K=4, rms_norm_eps=1e-6, moe_intermediate_size=1024, num_experts_per_tok=6)
    | {"routed_scaling_factor": 2.5, "use_qk_norm": True},
    keys={
        "head_dim": Key(64, head_width_needed),
        **rotary_keys(8000000.0, share=1.0, odd_up=True),
        "score_function": unread("the model's code scores by a sigmoid", "sigmoid"),
        "moe_router_enable_expert_bias": unread("a correction of scores, which is no parameter", True),
    },
    aliases={"num_experts": "n_routed_experts", "num_shared_experts": "n_shared_experts", "use_qkv_bias": "attention_bias"},
)

# --- The language models of GLM's models of images -------------------------------------------------------------------------------------

GLM4V = variant(
    GLM4,
    "glm4v_text",
    "Glm4vForConditionalGeneration Glm4vTextModel Glm4vModel Glm46VForConditionalGeneration",
    "GLM 4.1V",
    defaults=sizes(T=32768, rms_norm_eps=1e-5),
    keys={
        **standard(num_key_value_heads=2),
        "head_dim": unread_head_width(),
        "attention_bias": unread("the code has biases of queries, keys and values, and no others", True),
        **rotary_keys(share=1.0, odd_up=True, sections=True),
    },
    fixed={"attention_bias": True},
)

GLM_OCR = variant(
    GLM4V,
    "glm_ocr_text",
    "GlmOcrForConditionalGeneration GlmOcrTextModel GlmOcrModel",
    "GLM-OCR",
    defaults=sizes(V=59392, d=1024, F=4096, L=16, H=16, K=8, T=131072),
    keys={"head_dim": HEAD_IF_GIVEN, "attention_bias": unread("the code has no biases", False)},
    fixed={"attention_bias": False},
)

GLM4V_MOE = variant(
    GLM4_MOE,
    "glm4v_moe_text",
    "Glm4vMoeForConditionalGeneration Glm4vMoeTextModel Glm4vMoeModel",
    "GLM 4.5V",
    defaults=sizes(V=151424, T=65536, attention_bias=True),
    keys={"use_qk_norm": unread("the code has no norms of heads", False), **rotary_keys(share=0.5, odd_up=True, sections=True)},
)

FAMILIES = (GLM, GLM4, GLM4_MOE, SOLAR_OPEN, GLM4_MOE_LITE, SARVAM_MOE, GLM4V, GLM_OCR, GLM4V_MOE)
