"""Small models of every family, in transformers and as a ModelSpec, with every weight random: norms and biases too."""

from typing import Any

import torch
from newer import BASE, CONTEXT, GROUPED, SIZES, UNBIASED, VOCAB
from newer import LLAMA as LLAMA_LIKE
from newer import NEWER as BEFORE
from newest import NEWEST
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    GPTJForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    OPTConfig,
    OPTForCausalLM,
)
from variations import PARTS, part_with_head

from gptcalc.spec.model import ModelSpec, parse_model

GPT2 = {"n_embd": 60, "n_layer": 3, "n_head": 6, "vocab_size": VOCAB, "n_positions": CONTEXT}
OPT = {
    "hidden_size": 60,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "ffn_dim": 53,
    "vocab_size": VOCAB,
    "max_position_embeddings": CONTEXT,
    "word_embed_proj_dim": 60,
}
LLAMA = GROUPED | {"tie_word_embeddings": False}
NEOX = BASE | {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.4}}
LLAMA3_SCALING = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}

NEOX_LIKE = SIZES | {"position": "rotary", "d_rotary": 4, "activation": "gelu", "tied": False, "parallel_residual": True}
OPT_LIKE = SIZES | {"n_position": CONTEXT + 2, "activation": "relu"}

OLDER: dict[str, tuple[type, Any, dict[str, Any]]] = {
    "openai-gpt": (
        OpenAIGPTLMHeadModel,
        OpenAIGPTConfig(**GPT2),
        SIZES | {"d_ff": None, "norm_placement": "post", "final_norm": False},
    ),
    "gpt2": (GPT2LMHeadModel, GPT2Config(**GPT2, n_inner=53), SIZES),
    "opt": (OPTForCausalLM, OPTConfig(**OPT), OPT_LIKE),
    "opt, 350m": (
        OPTForCausalLM,
        OPTConfig(**OPT | {"do_layer_norm_before": False, "word_embed_proj_dim": 14}),
        OPT_LIKE | {"norm_placement": "post", "final_norm": False, "d_embedding": 14},
    ),
    "opt, projected, pre-norm": (OPTForCausalLM, OPTConfig(**OPT | {"word_embed_proj_dim": 14}), OPT_LIKE | {"d_embedding": 14}),
    "opt, untied, without biases": (
        OPTForCausalLM,
        OPTConfig(**OPT, enable_bias=False, tie_word_embeddings=False),
        OPT_LIKE | UNBIASED | {"tied": False},
    ),
    "opt, norms without weights": (
        OPTForCausalLM,
        OPTConfig(**OPT, layer_norm_elementwise_affine=False),
        OPT_LIKE | {"norm_weight": False, "norm_bias": False},
    ),
    "gpt_neox": (GPTNeoXForCausalLM, GPTNeoXConfig(**NEOX), NEOX_LIKE),
    "gpt_neox, sequential": (
        GPTNeoXForCausalLM,
        GPTNeoXConfig(**NEOX, use_parallel_residual=False),
        NEOX_LIKE | {"parallel_residual": False},
    ),
    "gptj": (
        GPTJForCausalLM,
        GPTJConfig(**GPT2, rotary_dim=8, n_inner=53, tie_word_embeddings=False),
        SIZES
        | {"position": "rotary", "d_rotary": 8, "rotary_pairs": "neighbours", "parallel_residual": True, "shared_norm": True}
        | {"attention_bias": False, "attention_output_bias": False, "tied": False, "head_bias": True},
    ),
    "llama": (LlamaForCausalLM, LlamaConfig(**LLAMA), LLAMA_LIKE),
    "llama, tied, biases": (
        LlamaForCausalLM,
        LlamaConfig(**LLAMA | {"tie_word_embeddings": True}, attention_bias=True, mlp_bias=True),
        LLAMA_LIKE | {"attention_bias": True, "attention_output_bias": True, "mlp_bias": True, "tied": True},
    ),
    "llama, one key-value head": (LlamaForCausalLM, LlamaConfig(**LLAMA | {"num_key_value_heads": 1}), LLAMA_LIKE | {"n_kv_head": 1}),
    "llama, linear scaling": (
        LlamaForCausalLM,
        LlamaConfig(**LLAMA, rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}),
        LLAMA_LIKE | {"rope_theta": 500.0, "rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    ),
    "llama, llama3 scaling": (
        LlamaForCausalLM,
        LlamaConfig(**LLAMA, rope_parameters=LLAMA3_SCALING | {"rope_theta": 50.0}),
        LLAMA_LIKE | {"rope_theta": 50.0, "rope_scaling": LLAMA3_SCALING},
    ),
    "mistral, window": (
        MistralForCausalLM,
        MistralConfig(**LLAMA, sliding_window=7),
        LLAMA_LIKE | {"sliding_window": 7},
    ),
}


NEWER = BEFORE | NEWEST
FAMILIES = [*OLDER, *NEWER]


def oracle(family: str) -> tuple[torch.nn.Module, ModelSpec]:
    """The model in transformers with every parameter drawn at random, and its spec."""
    if family in NEWER:
        model_type, settings, fields = NEWER[family]
        config = AutoConfig.for_model(model_type, **settings)
        config._attn_implementation = config._experts_implementation = "eager"
        part = config.model_type in PARTS
        model = (part_with_head(config.model_type, config) if part else AutoModelForCausalLM.from_config(config)).eval()
    else:
        kind, config, fields = OLDER[family]
        config._attn_implementation = "eager"
        model = kind(config).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn_like(parameter) * (0.2 if parameter.ndim > 1 else 0.3))
            if ("norm" in name or "ln_" in name) and not fields.get("norm_weight_plus_one"):
                parameter += 1.0
        for name, buffer in model.named_buffers():
            if "correction" in name:
                buffer.copy_(torch.randn_like(buffer) * 0.1)
    return model, parse_model({"name": family} | fields)


def random_tokens(batch: int = 2, length: int = 17) -> torch.Tensor:
    return torch.randint(VOCAB, (batch, length), generator=torch.Generator().manual_seed(1))
