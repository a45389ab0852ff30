"""Models with recurrent mixers, random weights: logits, parameters and FLOPs are those of transformers' own code."""

import logging
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

import gptcalc as gc
from gptcalc.reference import Tally, forward, load_state_dict
from gptcalc.spec.files import load_model

BASE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 256,
}
DELTA = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 6,
    "linear_value_head_dim": 8,
    "linear_conv_kernel_dim": 4,
    "head_dim": 8,
}
EXPERTS = {"num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 17, "shared_expert_intermediate_size": 19}
MAMBA = {
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_n_groups": 2,
    "mamba_d_state": 6,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "mamba_chunk_size": 16,
}
KIMI = {
    **{"kv_lora_rank": 12, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 6, "num_key_value_heads": 4},
    **{"num_experts": 6, "num_experts_per_token": 2, "moe_intermediate_size": 17, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0},
    "topk_group": 1,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "qwen3_next": BASE | DELTA | EXPERTS,
    "qwen3_5_text": BASE | DELTA,
    "qwen3_5_moe_text": {k: v for k, v in (BASE | DELTA | EXPERTS).items() if k != "intermediate_size"},
    "bamba": BASE | MAMBA | {"attn_layer_indices": [1, 3]},
    "granitemoehybrid": BASE
    | MAMBA
    | {
        "layer_types": ["mamba", "attention", "mamba", "mamba"],
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "shared_intermediate_size": 21,
        "residual_multiplier": 0.5,
        "embedding_multiplier": 3.0,
        "logits_scaling": 2.0,
        "attention_multiplier": 0.3,
    },
    "falcon_h1": BASE | MAMBA | {"mamba_d_ssm": 64, "mamba_rms_norm": True},
    "nemotron_h": {k: v for k, v in BASE.items() if "layers" not in k}
    | {
        "hybrid_override_pattern": "ME*-",
        "mamba_num_heads": 8,
        "mamba_head_dim": 8,
        "n_groups": 2,
        "ssm_state_size": 6,
        "head_dim": 8,
        "n_routed_experts": 5,
        "moe_intermediate_size": 17,
        "moe_shared_expert_intermediate_size": 19,
        "moe_latent_size": 20,
        "chunk_size": 16,
        "pad_token_id": 0,
    },
    "mamba": {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 3, "state_size": 5, "time_step_rank": 3},
    "falcon_mamba": {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 3, "state_size": 5, "time_step_rank": 3},
    "mamba2": {
        "vocab_size": 64,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "state_size": 5,
        "num_heads": 8,
        "head_dim": 8,
        "n_groups": 2,
        "chunk_size": 16,
    },
    "jamba": BASE
    | {"num_experts": 4, "num_experts_per_tok": 2, "attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 5, "mamba_dt_rank": 3},
    "lfm2": BASE | {"layer_types": ["conv", "full_attention", "conv", "full_attention"], "block_multiple_of": 8, "conv_bias": True},
    "lfm3": BASE
    | {"layer_types": ["conv", "full_attention", "sliding_attention", "conv"], "head_dim": 8, "sliding_window": 128, "pad_token_id": 0}
    | {"conv_L_cache": 5, "bos_token_id": 0, "eos_token_id": 0},
    "olmo_hybrid": BASE
    | {"layer_types": ["linear_attention", "full_attention"] * 2, "linear_key_head_dim": 6, "linear_value_head_dim": 8, "pad_token_id": 0}
    | {"rope_parameters": {"rope_type": "default", "rope_theta": None}, "eos_token_id": 0},
    "kimi_linear": BASE
    | KIMI
    | {
        "linear_attn_config": {"head_dim": 6, "num_heads": 3, "short_conv_kernel_size": 3, "kda_layers": [1, 3, 4], "full_attn_layers": [2]}
    },
    "bailing_hybrid": BASE | KIMI | {"head_dim": 6, "layer_group_size": 2, "first_k_dense_replace": 1, "n_group": 2, "topk_group": 1},
    "bailing_hybrid, free": BASE | KIMI | {"head_dim": 6, "layer_group_size": 2, "q_lora_rank": 12, "kda_safe_gate": False, "n_group": 1},
    "lfm2_moe": BASE
    | {
        "layer_types": ["conv", "full_attention", "conv", "full_attention"],
        "num_experts": 5,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 17,
        "num_dense_layers": 1,
    },
}


@pytest.mark.parametrize("model_type", CONFIGS)
def test_logits_parameters_and_flops_are_those_of_the_class(model_type: str) -> None:
    logging.disable(logging.WARNING)
    config = AutoConfig.for_model(model_type.partition(",")[0], **CONFIGS[model_type])
    config._attn_implementation = config._experts_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config).eval().double()  # the solve inside a chunk loses half of fp32's digits in either code
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn_like(parameter) * (0.2 if parameter.ndim > 1 else 0.3))
            if "norm" in name and (not model_type.startswith("qwen") or "linear_attn" in name):
                parameter += 1
        for name, buffer in model.named_buffers():
            if "correction" in name or "expert_bias" in name:
                buffer.copy_(torch.randn_like(buffer) * 0.1)
    spec = load_model(config.to_dict())
    tokens = torch.randint(64, (2, 70), generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        expected = model(input_ids=tokens, use_cache=False).logits.numpy()
    angles = sum(sum(flops.values()) for module, flops in counter.get_flop_counts().items() if re.search(r"rotary_emb$", module))
    tally = Tally()
    logits = forward(spec, load_state_dict(spec, model.state_dict()), tokens.numpy(), tally)
    assert np.abs(expected).max() > 1
    assert np.allclose(logits, expected, rtol=1e-4, atol=1e-4)
    assert sum(tally.matmul.values()) == counter.get_total_flops() - angles
    assert gc.params(spec).value == sum(parameter.numel() for parameter in model.parameters())
    assert gc.flops(spec, batch=2, seq=70).value == counter.get_total_flops() - angles
