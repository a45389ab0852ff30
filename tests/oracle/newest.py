"""Small models as in `newer`, of classes with a rule of their own for a step that others have too, and of parts of models of images."""

from typing import Any

from newer import BASE, DEEPSEEK, DEEPSEEK_EXPERTS, GROUPED, LATENT, LLAMA, LOCAL_GLOBAL, SIZES, SWIGLU, WINDOW, dense_first

PLAIN = {"rope_type": "default", "rope_theta": 10000.0}
SECTIONS = PLAIN | {"mrope_section": [2, 1, 1]}
LATENT_1E2 = LATENT | {"norm_epsilon": 1e-2, "latent_norm_epsilon": 1e-6}
SIGMOID = {"router_score": "sigmoid"}
MISTRAL_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "mscale": 1.0, "mscale_all_dim": 1.0}
GROUPS = {"n_router_group": 4, "n_router_group_per_token": 2}
EXPERTS = {"num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 17}
FIVE = {"n_expert": 5, "n_expert_per_token": 2, "d_expert": 17}
UNSHARED = {name: value for name, value in DEEPSEEK.items() if not name.startswith(("n_", "moe", "first", "topk", "routed", "num_experts"))}

NEWEST: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "mimo_v2_flash": (
        "mimo_v2_flash",
        GROUPED
        | {"num_key_value_heads": 1, "v_head_dim": 7, "layer_types": LOCAL_GLOBAL, "sliding_window": WINDOW, "attention_value_scale": 0.3}
        | {"n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 17}
        | {"mlp_layer_types": ["dense", "sparse", "sparse"]}
        | {
            "rope_parameters": {
                "full_attention": {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5},
                "sliding_attention": {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 0.5},
            }
        },
        LLAMA
        | {"n_kv_head": 1, "d_head_value": 7, "d_rotary": 4, "norm_epsilon": 1e-5, "value_scale": 0.3}
        | {"layout": ["first", "local", "global"]}
        | {
            "blocks": {
                "first": {"sliding_window": WINDOW, "n_kv_head": 2, "attention_sinks": True, "rope_theta": 100.0},
                "local": {"sliding_window": WINDOW, "n_kv_head": 2, "attention_sinks": True, "rope_theta": 100.0}
                | {"n_expert": 8, "n_expert_per_token": 3, "d_expert": 17, **SIGMOID},
                "global": {"rope_theta": 500.0, "n_expert": 8, "n_expert_per_token": 3, "d_expert": 17, **SIGMOID},
            }
        },
    ),
    "hunyuan, a larger base": (
        "hunyuan_v1_moe",
        GROUPED
        | {"tie_word_embeddings": False, "num_experts": 5, "moe_topk": [2, 2, 2]}
        | {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 1.0, "alpha": 27.0}},
        LLAMA
        | {"norm_epsilon": 1e-5, "qk_norm": "head", "qk_norm_after_rotary": True, "rope_theta": 10000.0 * 27.0 ** (8 / 6)}
        | {"n_expert": 5, "n_expert_per_token": 2, "d_expert": 53, "d_shared_expert": 53},
    ),
    "hyperclovax": (
        "hyperclovax",
        GROUPED | {"hidden_size": 48, "logits_scaling": 0.25, "attention_multiplier": 0.2, "use_post_norm": True},
        LLAMA | {"d_model": 48, "logit_scale": 0.25, "attention_scale": 0.2, "norm_placement": "sandwich"},
    ),
    "nanochat": (
        "nanochat",
        BASE | {"num_key_value_heads": 3, "hidden_size": 48, "final_logit_softcapping": 9.0},
        SIZES
        | SWIGLU
        | {"d_model": 48, "n_kv_head": 3, "activation": "relu_squared", "gated": False, "norm_weight": False, "embedding_norm": True}
        | {"qk_norm": "l2", "qk_norm_after_rotary": True, "rotary_pairs": "halves_back", "logit_softcap": 9.0},
    ),
    "kolibri1": (
        "kolibri1",
        {name: value for name, value in GROUPED.items() if name != "intermediate_size"}
        | EXPERTS
        | {"shared_expert_intermediate_size": 23, "sliding_window": WINDOW, "layer_types": LOCAL_GLOBAL, "norm_topk_prob": True},
        LLAMA
        | {"d_ff": None, "norm_placement": "sandwich", "qk_norm": "head", "layout": ["local*2", "global"]}
        | {"blocks": {"local": {"sliding_window": WINDOW}, "global": {"position": "none"}}}
        | FIVE
        | {"d_shared_expert": 23, "router_score": "sigmoid", "router_correction": "logit"},
    ),
    "deepseek_v3, another epsilon": (
        "deepseek_v3",
        DEEPSEEK | {"rms_norm_eps": 1e-2},
        LATENT_1E2 | dense_first(**DEEPSEEK_EXPERTS, **SIGMOID, **GROUPS),
    ),
    "deepseek_v2, another epsilon": (
        "deepseek_v2",
        DEEPSEEK | {"rms_norm_eps": 1e-2, "topk_method": "greedy"},
        LATENT_1E2 | dense_first(**DEEPSEEK_EXPERTS, router_normalised=False),
    ),
    "deepseek_ocr2_text": (
        "deepseek_ocr2_text",
        BASE
        | {"num_key_value_heads": 3, "n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 17, "n_shared_experts": 2}
        | {"hidden_size": 48, "mlp_layer_types": ["dense", "sparse", "sparse"], "routed_scaling_factor": 1.5},
        LLAMA | {"d_model": 48} | dense_first(**DEEPSEEK_EXPERTS, router_normalised=False),
    ),
    "glm4_moe_lite": (
        "glm4_moe_lite",
        {name: value for name, value in DEEPSEEK.items() if name != "first_k_dense_replace"} | {"rms_norm_eps": 1e-2},
        LATENT_1E2 | dense_first(**DEEPSEEK_EXPERTS, **SIGMOID, **GROUPS),
    ),
    "youtu, another epsilon": ("youtu", UNSHARED | {"rms_norm_eps": 1e-2}, LATENT_1E2),
    "minicpm3, another epsilon": (
        "minicpm3",
        UNSHARED | {"rms_norm_eps": 1e-2, "scale_emb": 1, "scale_depth": 3**0.5, "dim_model_base": 60},
        LATENT_1E2 | {"rotary_pairs": "halves"},
    ),
    "hy_v3, no shared expert": (
        "hy_v3",
        GROUPED | EXPERTS | {"num_shared_experts": 0, "router_scaling_factor": 1.5},
        LLAMA
        | {"norm_epsilon": 1e-5, "rope_theta": 11158840.0, "qk_norm": "head"}
        | dense_first(**FIVE, d_shared_expert=53, router_scale=1.5, **SIGMOID),
    ),
    "axk1": (
        "axk1",
        {name: value for name, value in DEEPSEEK.items() if name != "first_k_dense_replace"},
        LATENT | dense_first(**DEEPSEEK_EXPERTS, **SIGMOID, **GROUPS, norm_placement="mlp_sandwich"),
    ),
    "mistral4": (
        "mistral4",
        DEEPSEEK
        | {"n_group": 1, "topk_group": 1, "rms_norm_eps": 1e-2, "qk_nope_head_dim": 12}
        | {"rope_parameters": MISTRAL_YARN | {"rope_theta": 100.0, "llama_4_scaling_beta": 0.1}},
        LATENT_1E2 | {"d_head": 16, "rope_theta": 100.0, "rope_scaling": MISTRAL_YARN} | dense_first(**DEEPSEEK_EXPERTS),
    ),
    "sarvam_mla": (
        "sarvam_mla",
        DEEPSEEK | {"q_lora_rank": None},
        LATENT | {"q_lora_rank": None} | dense_first(**DEEPSEEK_EXPERTS, **SIGMOID, **GROUPS),
    ),
    "sarvam_moe": (
        "sarvam_moe",
        GROUPED
        | {"n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 17, "n_shared_experts": 1, "use_qkv_bias": True},
        LLAMA
        | {"rope_theta": 8000000.0, "qk_norm": "head", "attention_bias": True}
        | dense_first(n_expert=8, n_expert_per_token=3, d_expert=17, d_shared_expert=17, router_scale=2.5, **SIGMOID),
    ),
    "exaone": ("exaone", GROUPED | {"rms_norm_eps": 1e-6}, LLAMA | {"rope_theta": 500000.0}),
    "apertus1p5_text": (
        "apertus1p5_text",
        GROUPED | {"rope_parameters": PLAIN},
        LLAMA | {"norm_epsilon": 1e-5, "qk_norm": "head", "activation": "xielu", "gated": False},
    ),
    "cosmos3_edge_text": (
        "cosmos3_edge_text",
        GROUPED | {"rope_parameters": SECTIONS, "tie_word_embeddings": True},
        LLAMA | {"norm_epsilon": 1e-5, "activation": "relu_squared", "gated": False},
    ),
    "qwen2_vl_text": (
        "qwen2_vl_text",
        BASE | {"hidden_size": 48, "num_key_value_heads": 3, "rope_parameters": SECTIONS},
        LLAMA | {"d_model": 48, "norm_epsilon": 1e-5, "attention_bias": True},
    ),
    "qwen2_5_vl_text": (
        "qwen2_5_vl_text",
        BASE | {"hidden_size": 48, "num_key_value_heads": 3, "rope_scaling": {"type": "mrope", "mrope_section": [2, 1, 1]}},
        LLAMA | {"d_model": 48, "norm_epsilon": 1e-5, "attention_bias": True, "rope_theta": 1e6},
    ),
    "qwen2_5_omni_text": (
        "qwen2_5_omni_text",
        GROUPED | {"rope_parameters": SECTIONS, "tie_word_embeddings": True},
        LLAMA | {"attention_bias": True, "tied": True},
    ),
    "qwen3_vl_text": (
        "qwen3_vl_text",
        GROUPED | {"rope_parameters": SECTIONS | {"mrope_interleaved": True}, "attention_bias": True},
        LLAMA | {"qk_norm": "head", "attention_bias": True, "attention_output_bias": True},
    ),
    "qwen3_vl_moe_text": (
        "qwen3_vl_moe_text",
        GROUPED | EXPERTS | {"rope_parameters": SECTIONS, "mlp_only_layers": [0]},
        LLAMA | {"qk_norm": "head", "tied": True} | dense_first(**FIVE),
    ),
    "qwen3_omni_moe_text": (
        "qwen3_omni_moe_text",
        GROUPED | EXPERTS | {"rope_parameters": SECTIONS, "norm_topk_prob": False},
        LLAMA | {"qk_norm": "head", **FIVE, "router_normalised": False},
    ),
    "glm4v_text": (
        "glm4v_text",
        BASE
        | {"hidden_size": 48, "num_key_value_heads": 3}
        | {"rope_parameters": PLAIN | {"mrope_section": [1, 1, 0], "partial_rotary_factor": 0.5}},
        LLAMA
        | {"d_model": 48, "norm_epsilon": 1e-5, "attention_bias": True, "norm_placement": "sandwich"}
        | {"rotary_pairs": "neighbours", "d_rotary": 4},
    ),
    "glm_ocr_text": (
        "glm_ocr_text",
        GROUPED | {"rope_parameters": SECTIONS},
        LLAMA | {"norm_epsilon": 1e-5, "norm_placement": "sandwich", "rotary_pairs": "neighbours"},
    ),
    "glm4v_moe_text": (
        "glm4v_moe_text",
        GROUPED
        | {"n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 17, "n_shared_experts": 1}
        | {"rope_parameters": PLAIN | {"mrope_section": [1, 1, 0], "partial_rotary_factor": 0.5}},
        LLAMA
        | {"norm_epsilon": 1e-5, "d_rotary": 4, "attention_bias": True}
        | dense_first(n_expert=8, n_expert_per_token=3, d_expert=17, d_shared_expert=17, **SIGMOID),
    ),
    "granite_swa": (
        "granite_swa",
        GROUPED
        | {"layer_types": LOCAL_GLOBAL, "sliding_window": WINDOW, "layer_rope_theta": [50.0, 0, 700.0], "attention_multiplier": 0.3},
        LLAMA
        | {"norm_epsilon": 1e-5, "tied": True, "attention_scale": 0.3, "attention_sinks": True, "layout": ["a", "b", "c"]}
        | {
            "blocks": {
                "a": {"sliding_window": WINDOW, "rope_theta": 50.0},
                "b": {"sliding_window": WINDOW, "position": "none"},
                "c": {"rope_theta": 700.0},
            }
        },
    ),
    "granite_docling_text": (
        "granite_docling_text",
        BASE | {"num_key_value_heads": 3, "hidden_size": 48},
        LLAMA
        | {"d_model": 48, "norm_epsilon": 1e-5, "tied": True, "embedding_scale": 12.0, "residual_scale": 0.263}
        | {"attention_scale": 0.015625, "logit_scale": 0.25},
    ),
    "paddleocr_vl_text": (
        "paddleocr_vl_text",
        GROUPED | {"rope_parameters": SECTIONS},
        LLAMA | {"norm_epsilon": 1e-5, "tied": True},
    ),
}
