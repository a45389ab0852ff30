"""Small models of the families after Llama, in transformers and as spec fields: experts, latents, norms of heads, mixed layers, ALiBi."""

from typing import Any

VOCAB, CONTEXT, WINDOW = 61, 19, 7

BASE = {
    "hidden_size": 60,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "intermediate_size": 53,
    "vocab_size": VOCAB,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": 0,
}
GROUPED = BASE | {"num_key_value_heads": 3, "head_dim": 8}
SIZES = {"n_layer": 3, "d_model": 60, "n_head": 6, "d_ff": 53, "vocab_size": VOCAB, "n_ctx": CONTEXT}
UNBIASED = {"attention_bias": False, "attention_output_bias": False, "mlp_bias": False}
SWIGLU = UNBIASED | {"position": "rotary", "norm": "rmsnorm", "norm_epsilon": 1e-6, "activation": "silu", "gated": True, "tied": False}
LLAMA = SIZES | SWIGLU | {"n_kv_head": 3, "d_head": 8}
LAYERNORM = SIZES | {"position": "rotary", "tied": False, "n_kv_head": 3, "d_head": 8}

LOCAL_GLOBAL = ["sliding_attention", "sliding_attention", "full_attention"]
MIXED = {"layout": ["local*2", "global"], "blocks": {"local": {"sliding_window": WINDOW}, "global": {}}}

DEEPSEEK = BASE | {
    "num_key_value_heads": 6,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "moe_intermediate_size": 17,
    "n_shared_experts": 2,
    "kv_lora_rank": 12,
    "q_lora_rank": 11,
    "qk_nope_head_dim": 10,
    "qk_rope_head_dim": 4,
    "v_head_dim": 9,
    "first_k_dense_replace": 1,
    "n_group": 4,
    "topk_group": 2,
    "routed_scaling_factor": 1.5,
    "tie_word_embeddings": False,
}
LATENT = SIZES | SWIGLU | {"d_head": 14, "d_rotary": 4, "d_head_value": 9, "kv_lora_rank": 12, "q_lora_rank": 11}
LATENT |= {"rotary_pairs": "neighbours"}
DEEPSEEK_EXPERTS = {"n_expert": 8, "n_expert_per_token": 3, "d_expert": 17, "d_shared_expert": 34, "router_scale": 1.5}

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
LONGROPE = {
    "rope_type": "longrope",
    "long_factor": [1.5, 2.5, 3.5, 4.5, 5.5],
    "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4],
    "original_max_position_embeddings": 8,
}


def dense_first(**experts: Any) -> dict[str, Any]:
    return {"layout": ["dense", "moe*2"], "blocks": {"dense": {}, "moe": experts}}


NEWER: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "qwen2": ("qwen2", GROUPED | {"tie_word_embeddings": True}, LLAMA | {"attention_bias": True, "tied": True}),
    "qwen3": ("qwen3", GROUPED, LLAMA | {"qk_norm": "head"}),
    "gemma": (
        "gemma",
        GROUPED,
        LLAMA | {"activation": "gelu_tanh", "tied": True, "norm_weight_plus_one": True, "embedding_scale": 60**0.5},
    ),
    "gemma2": (
        "gemma2",
        GROUPED
        | {"layer_types": LOCAL_GLOBAL, "sliding_window": WINDOW, "query_pre_attn_scalar": 20, "attn_logit_softcapping": 5.0}
        | {"final_logit_softcapping": 8.0},
        LLAMA
        | MIXED
        | {"activation": "gelu_tanh", "tied": True, "norm_weight_plus_one": True, "embedding_scale": 60**0.5}
        | {"norm_placement": "sandwich", "attention_scale": 20**-0.5, "attention_softcap": 5.0, "logit_softcap": 8.0},
    ),
    "gemma3": (
        "gemma3_text",
        GROUPED
        | {"layer_types": LOCAL_GLOBAL, "sliding_window": WINDOW, "query_pre_attn_scalar": 20}
        | {
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
            }
        },
        LLAMA
        | {"activation": "gelu_tanh", "tied": True, "norm_weight_plus_one": True, "embedding_scale": 60**0.5}
        | {"norm_placement": "sandwich", "attention_scale": 20**-0.5, "qk_norm": "head"}
        | {
            "layout": ["local*2", "global"],
            "blocks": {
                "local": {"sliding_window": WINDOW, "rope_theta": 100.0},
                "global": {"rope_theta": 1e6, "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
            },
        },
    ),
    "mixtral": (
        "mixtral",
        GROUPED | {"num_local_experts": 5, "num_experts_per_tok": 2},
        LLAMA | {"norm_epsilon": 1e-5, "rope_theta": 1e6, "n_expert": 5, "n_expert_per_token": 2},
    ),
    "qwen2_moe": (
        "qwen2_moe",
        BASE
        | {"num_key_value_heads": 3, "moe_intermediate_size": 17, "shared_expert_intermediate_size": 23, "num_experts": 5}
        | {"num_experts_per_tok": 2, "mlp_only_layers": [0]},
        SIZES
        | SWIGLU
        | {"n_kv_head": 3, "attention_bias": True}
        | dense_first(n_expert=5, n_expert_per_token=2, d_expert=17, d_shared_expert=23, shared_expert_gate=True, router_normalised=False),
    ),
    "qwen3_moe": (
        "qwen3_moe",
        GROUPED | {"moe_intermediate_size": 17, "num_experts": 5, "num_experts_per_tok": 2, "norm_topk_prob": True},
        LLAMA | {"qk_norm": "head", "n_expert": 5, "n_expert_per_token": 2, "d_expert": 17},
    ),
    "deepseek_v2": (
        "deepseek_v2",
        DEEPSEEK | {"topk_method": "group_limited_greedy"},
        LATENT | dense_first(**DEEPSEEK_EXPERTS, router_normalised=False, n_router_group=4, n_router_group_per_token=2),
    ),
    "deepseek_v2, whole queries": (
        "deepseek_v2",
        DEEPSEEK | {"q_lora_rank": None, "topk_method": "greedy"},
        LATENT | {"q_lora_rank": None} | dense_first(**DEEPSEEK_EXPERTS, router_normalised=False),
    ),
    "deepseek_v3": (
        "deepseek_v3",
        DEEPSEEK,
        LATENT | dense_first(**DEEPSEEK_EXPERTS, router_score="sigmoid", n_router_group=4, n_router_group_per_token=2),
    ),
    "deepseek_v3, yarn": (
        "deepseek_v3",
        DEEPSEEK | {"rope_parameters": YARN | {"mscale": 1.0, "mscale_all_dim": 0.7, "rope_theta": 100.0}},
        LATENT
        | {"rope_theta": 100.0, "rope_scaling": YARN | {"mscale": 1.0, "mscale_all_dim": 0.7}}
        | dense_first(**DEEPSEEK_EXPERTS, router_score="sigmoid", n_router_group=4, n_router_group_per_token=2),
    ),
    "llama4": (
        "llama4_text",
        GROUPED
        | {"num_local_experts": 5, "num_experts_per_tok": 2, "intermediate_size_mlp": 31, "interleave_moe_layer_step": 2}
        | {"no_rope_layers": [1, 0, 1], "attention_chunk_size": WINDOW, "layer_types": None, "tie_word_embeddings": False}
        | {"use_qk_norm": True, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
        LLAMA
        | {"norm_epsilon": 1e-5, "rotary_pairs": "neighbours", "d_ff": 31, "layout": ["dense", "moe", "dense"]}
        | {
            "blocks": {
                "dense": {"qk_norm": "l2", "qk_norm_after_rotary": True, "sliding_window": WINDOW, "window_chunks": True},
                "moe": {"position": "none", "n_expert": 5, "n_expert_per_token": 2, "d_expert": 53, "d_shared_expert": 53}
                | {"router_score": "sigmoid", "router_normalised": False, "router_weighs_input": True},
            }
        },
    ),
    "qwen3, yarn": (
        "qwen3",
        GROUPED | {"rope_parameters": YARN | {"rope_theta": 100.0}},
        LLAMA | {"qk_norm": "head", "rope_theta": 100.0, "rope_scaling": YARN},
    ),
    "qwen3, yarn to the fraction": (
        "qwen3",
        GROUPED | {"rope_parameters": YARN | {"rope_theta": 100.0, "truncate": False, "beta_fast": 4, "attention_factor": 1.3}},
        LLAMA
        | {"qk_norm": "head", "rope_theta": 100.0}
        | {"rope_scaling": YARN | {"truncate": False, "beta_fast": 4, "attention_factor": 1.3}},
    ),
    "phi3, longrope": (
        "phi3",
        BASE | {"num_key_value_heads": 3, "original_max_position_embeddings": 8} | {"rope_parameters": LONGROPE | {"rope_theta": 10000.0}},
        SIZES | SWIGLU | {"n_kv_head": 3, "norm_epsilon": 1e-5, "rope_scaling": LONGROPE},
    ),
    "qwen2, dynamic": (
        "qwen2",
        GROUPED | {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 100.0}},
        LLAMA | {"attention_bias": True, "rope_theta": 100.0, "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
    ),
    "gpt_oss": (
        "gpt_oss",
        GROUPED
        | {"num_local_experts": 5, "num_experts_per_tok": 2, "sliding_window": WINDOW, "layer_types": LOCAL_GLOBAL}
        | {"rope_parameters": {"rope_type": "default", "rope_theta": 150.0}},
        LLAMA
        | MIXED
        | {"attention_bias": True, "attention_output_bias": True, "mlp_bias": True, "router_bias": True, "attention_sinks": True}
        | {"activation": "silu_clamped", "norm_epsilon": 1e-5, "n_expert": 5, "n_expert_per_token": 2, "rope_theta": 150.0},
    ),
    "olmo": ("olmo", GROUPED, LLAMA | {"norm": "layernorm", "norm_weight": False, "norm_bias": False, "norm_epsilon": 1e-5}),
    "olmo, clipped": (
        "olmo",
        GROUPED | {"clip_qkv": 0.5},
        LLAMA | {"norm": "layernorm", "norm_weight": False, "norm_bias": False, "norm_epsilon": 1e-5, "qkv_clip": 0.5},
    ),
    "olmo2": ("olmo2", GROUPED, LLAMA | {"norm_epsilon": 1e-5, "norm_placement": "output", "qk_norm": "full"}),
    "cohere": (
        "cohere",
        GROUPED | {"use_qk_norm": True, "logit_scale": 0.25},
        LLAMA
        | {"norm": "layernorm", "norm_bias": False, "norm_epsilon": 1e-5, "qk_norm": "heads", "tied": True, "logit_scale": 0.25}
        | {"rope_theta": 500000.0}
        | {"parallel_residual": True, "shared_norm": True, "rotary_pairs": "neighbours"},
    ),
    "cohere2": (
        "cohere2",
        GROUPED | {"layer_types": LOCAL_GLOBAL, "sliding_window": WINDOW, "logit_scale": 0.25},
        LLAMA
        | {"norm": "layernorm", "norm_bias": False, "norm_epsilon": 1e-5, "tied": True, "logit_scale": 0.25}
        | {"parallel_residual": True, "shared_norm": True, "rotary_pairs": "neighbours"}
        | {"layout": ["local*2", "global"], "blocks": {"local": {"sliding_window": WINDOW}, "global": {"position": "none"}}},
    ),
    "falcon, one key-value head": (
        "falcon",
        {"hidden_size": 60, "num_hidden_layers": 3, "num_attention_heads": 6, "vocab_size": VOCAB, "ffn_hidden_size": 53},
        SIZES | UNBIASED | {"n_kv_head": 1, "position": "rotary", "activation": "gelu", "parallel_residual": True, "shared_norm": True},
    ),
    "falcon, new decoder": (
        "falcon",
        {"hidden_size": 60, "num_hidden_layers": 3, "num_attention_heads": 6, "vocab_size": VOCAB, "ffn_hidden_size": 53}
        | {"new_decoder_architecture": True, "num_kv_heads": 3},
        SIZES | UNBIASED | {"n_kv_head": 3, "position": "rotary", "activation": "gelu", "parallel_residual": True},
    ),
    "phi": (
        "phi",
        BASE | {"partial_rotary_factor": 0.4},
        SIZES | {"position": "rotary", "d_rotary": 4, "parallel_residual": True, "shared_norm": True, "tied": False, "head_bias": True},
    ),
    "phi3": ("phi3", BASE | {"num_key_value_heads": 3}, SIZES | SWIGLU | {"n_kv_head": 3, "norm_epsilon": 1e-5}),
    "bloom": (
        "bloom",
        {"hidden_size": 60, "n_layer": 3, "n_head": 6, "vocab_size": VOCAB},
        SIZES | {"d_ff": None, "position": "alibi", "embedding_norm": True},
    ),
    "mpt": (
        "mpt",
        {"d_model": 60, "n_heads": 6, "n_layers": 3, "vocab_size": VOCAB, "expansion_ratio": 4, "max_seq_len": CONTEXT},
        SIZES | UNBIASED | {"d_ff": None, "position": "alibi", "norm_bias": False, "activation": "gelu"},
    ),
    "granite": (
        "granite",
        GROUPED | {"embedding_multiplier": 3.0, "residual_multiplier": 0.3, "attention_multiplier": 0.2, "logits_scaling": 4.0},
        LLAMA | {"embedding_scale": 3.0, "residual_scale": 0.3, "attention_scale": 0.2, "logit_scale": 0.25},
    ),
    "granitemoe": (
        "granitemoe",
        GROUPED | {"num_local_experts": 5, "num_experts_per_tok": 2},
        LLAMA | {"attention_scale": 1.0, "n_expert": 5, "n_expert_per_token": 2},
    ),
    "stablelm": (
        "stablelm",
        BASE | {"num_key_value_heads": 3, "qk_layernorm": True, "partial_rotary_factor": 0.4},
        SIZES | SWIGLU | {"norm": "layernorm", "norm_epsilon": 1e-5, "n_kv_head": 3, "d_rotary": 4, "qk_norm": "heads"},
    ),
    "stablelm, parallel": (
        "stablelm",
        BASE | {"num_key_value_heads": 3, "use_parallel_residual": True, "use_qkv_bias": True, "partial_rotary_factor": 0.4},
        SIZES
        | SWIGLU
        | {"norm": "layernorm", "norm_epsilon": 1e-5, "n_kv_head": 3, "d_rotary": 4, "attention_bias": True}
        | {"parallel_residual": True, "shared_norm": True},
    ),
    "glm": (
        "glm",
        GROUPED | {"partial_rotary_factor": 0.5, "attention_bias": True},
        LLAMA | {"norm_epsilon": 1.5625e-7, "d_rotary": 4, "rotary_pairs": "neighbours", "attention_bias": True},
    ),
    "glm4": (
        "glm4",
        GROUPED | {"partial_rotary_factor": 0.5, "attention_bias": True},
        LLAMA
        | {"norm_epsilon": 1.5625e-7, "d_rotary": 4, "rotary_pairs": "neighbours", "attention_bias": True}
        | {"norm_placement": "sandwich"},
    ),
    "glm4_moe": (
        "glm4_moe",
        GROUPED
        | {"n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 17, "n_shared_experts": 1, "use_qk_norm": True}
        | {"first_k_dense_replace": 1, "partial_rotary_factor": 0.5, "routed_scaling_factor": 2.5},
        LLAMA
        | {"norm_epsilon": 1e-5, "d_rotary": 4, "qk_norm": "head"}
        | dense_first(n_expert=8, n_expert_per_token=3, d_expert=17, d_shared_expert=17, router_score="sigmoid", router_scale=2.5),
    ),
    "starcoder2": (
        "starcoder2",
        BASE | {"num_key_value_heads": 3, "sliding_window": WINDOW},
        SIZES | {"n_kv_head": 3, "position": "rotary", "sliding_window": WINDOW},
    ),
    "gpt_neo": (
        "gpt_neo",
        {"hidden_size": 60, "num_layers": 4, "num_heads": 6, "vocab_size": VOCAB, "intermediate_size": 53, "window_size": WINDOW}
        | {"max_position_embeddings": CONTEXT, "attention_types": [[["global", "local"], 2]]},
        SIZES
        | {"n_layer": 4, "attention_bias": False, "attention_scale": 1.0, "layout": ["global", "local", "..."]}
        | {"blocks": MIXED["blocks"]},
    ),
    "codegen": (
        "codegen",
        {
            "n_embd": 64,
            "n_layer": 3,
            "n_head": 8,
            "vocab_size": VOCAB,
            "rotary_dim": 4,
            "n_positions": CONTEXT,
            "tie_word_embeddings": False,
        },
        SIZES
        | {"d_model": 64, "n_head": 8, "d_ff": None, "position": "rotary", "d_rotary": 4, "rotary_pairs": "neighbours", "tied": False}
        | {"attention_bias": False, "attention_output_bias": False, "parallel_residual": True, "shared_norm": True, "head_bias": True},
    ),
    "gpt_bigcode": (
        "gpt_bigcode",
        {"n_embd": 60, "n_layer": 3, "n_head": 6, "n_inner": 53, "vocab_size": VOCAB, "n_positions": CONTEXT},
        SIZES | {"n_kv_head": 1},
    ),
    "ernie4_5": (
        "ernie4_5",
        GROUPED | {"tie_word_embeddings": True},
        LLAMA | {"norm_epsilon": 1e-5, "rope_theta": 500000.0, "rotary_pairs": "neighbours", "tied": True},
    ),
    "helium": (
        "helium",
        BASE | {"num_key_value_heads": 3, "head_dim": 10},
        SIZES | SWIGLU | {"n_kv_head": 3, "norm_epsilon": 1e-8, "rope_theta": 100000.0, "rotary_pairs": "neighbours"},
    ),
    "minicpm3": (
        "minicpm3",
        {name: value for name, value in DEEPSEEK.items() if not name.startswith(("n_", "moe", "first", "topk", "routed", "num_experts"))}
        | {"scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 30},
        LATENT
        | {"rotary_pairs": "halves", "embedding_scale": 12.0, "residual_scale": 1.4 / 3**0.5, "logit_scale": 0.5, "norm_epsilon": 1e-5},
    ),
    "dots1": (
        "dots1",
        GROUPED
        | {"n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 17, "n_shared_experts": 2, "n_group": 1}
        | {"first_k_dense_replace": 1, "routed_scaling_factor": 2.5, "norm_topk_prob": True, "topk_group": 1},
        LLAMA
        | {"qk_norm": "head"}
        | dense_first(n_expert=8, n_expert_per_token=3, d_expert=17, d_shared_expert=34, router_score="sigmoid", router_scale=2.5),
    ),
    "granitemoeshared": (
        "granitemoeshared",
        GROUPED | {"num_local_experts": 5, "num_experts_per_tok": 2, "shared_intermediate_size": 23, "attention_multiplier": 0.3},
        LLAMA | {"attention_scale": 0.3, "n_expert": 5, "n_expert_per_token": 2, "d_shared_expert": 23},
    ),
    "minimax_m2": (
        "minimax_m2",
        GROUPED | {"num_local_experts": 5, "num_experts_per_tok": 2, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
        LLAMA | {"qk_norm": "full", "n_expert": 5, "n_expert_per_token": 2, "router_score": "sigmoid"},
    ),
    "nemotron": (
        "nemotron",
        GROUPED | {"partial_rotary_factor": 0.5, "hidden_act": "relu2"},
        LLAMA
        | {"norm": "layernorm", "norm_epsilon": 1e-5, "norm_weight_plus_one": True, "d_rotary": 4, "activation": "relu_squared"}
        | {"gated": False},
    ),
    "persimmon": (
        "persimmon",
        BASE | {"qk_layernorm": True, "partial_rotary_factor": 0.4, "hidden_act": "relu2"},
        SIZES | {"position": "rotary", "d_rotary": 4, "activation": "relu_squared", "tied": False, "qk_norm": "head", "qk_norm_bias": True},
    ),
    "smollm3": (
        "smollm3",
        GROUPED
        | {
            "no_rope_layers": [1, 1, 0],
            "tie_word_embeddings": False,
            "head_dim": 10,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
        LLAMA | {"d_head": 10, "layout": ["rope*2", "nope"], "blocks": {"rope": {}, "nope": {"position": "none"}}},
    ),
    "olmoe": (
        "olmoe",
        BASE | {"num_key_value_heads": 3, "num_experts": 5, "num_experts_per_tok": 2},
        SIZES
        | SWIGLU
        | {"norm_epsilon": 1e-5, "n_kv_head": 3, "qk_norm": "full", "n_expert": 5, "n_expert_per_token": 2}
        | {"router_normalised": False},
    ),
    "exaone4": (
        "exaone4",
        GROUPED | {"layer_types": LOCAL_GLOBAL, "sliding_window": WINDOW, "tie_word_embeddings": False},
        LLAMA
        | {"norm_epsilon": 1e-5, "norm_placement": "output", "qk_norm": "head", "layout": ["local*2", "global"]}
        | {"blocks": {"local": {"sliding_window": WINDOW}, "global": {"position": "none"}}},
    ),
    "hunyuan": (
        "hunyuan_v1_dense",
        GROUPED | {"tie_word_embeddings": False},
        LLAMA | {"norm_epsilon": 1e-5, "qk_norm": "head", "qk_norm_after_rotary": True},
    ),
    "seed_oss": ("seed_oss", GROUPED | {"tie_word_embeddings": False}, LLAMA | {"attention_bias": True}),
    "arcee": ("arcee", GROUPED, LLAMA | {"norm_epsilon": 1e-5, "activation": "relu_squared", "gated": False}),
}
