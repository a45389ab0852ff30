"""GGUF files written as llama.cpp's converter writes them, of transformers' own classes: names by gguf's own mapping of them."""

from math import prod
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import gptcalc as gc
from gptcalc.run.witness import witness

BASE = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2}
BASE |= {"vocab_size": 128, "max_position_embeddings": 256, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}
KEYS = {"embedding_length": 64, "feed_forward_length": 96, "attention.head_count": 4, "attention.head_count_kv": 2}
KEYS |= {"context_length": 256, "block_count": 4, "attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 10000.0}
EXPERTS = {"num_experts": 8, "num_local_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
OF_EXPERTS = {"expert_count": 8, "expert_used_count": 2, "expert_feed_forward_length": 32}
HEADED = BASE | {"head_dim": 16}
HEADS = {"attention.key_length": 16, "attention.value_length": 16}
DELTA = {"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
OF_DELTA = {"ssm.state_size": 8, "ssm.group_count": 2, "ssm.time_step_rank": 4, "ssm.inner_size": 32, "ssm.conv_kernel": 4}
OF_DELTA |= {"full_attention_interval": 4}
MAMBA2 = {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_n_groups": 2, "mamba_d_state": 16, "mamba_expand": 2, "mamba_d_conv": 4}
OF_MAMBA2 = {"ssm.conv_kernel": 4, "ssm.state_size": 16, "ssm.group_count": 2, "ssm.time_step_rank": 8, "ssm.inner_size": 128}
LATENT = {"q_lora_rank": 24, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16}
OF_LATENT = {"attention.q_lora_rank": 24, "attention.kv_lora_rank": 16, "rope.dimension_count": 8, "attention.key_length_mla": 24}
OF_LATENT |= {"attention.value_length_mla": 16, "attention.key_length": 24, "attention.value_length": 16, "attention.head_count_kv": 1}
MIXED = ["mamba", "attention", "mamba", "attention"]
OF_MIXED = {"attention.head_count_kv": [0, 2, 0, 2]}

CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "llama": ("llama", BASE, KEYS),
    "llama, biases": ("llama", BASE | {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}, KEYS),
    "llama, experts": ("mixtral", BASE | EXPERTS, KEYS | {"expert_count": 8, "expert_used_count": 2}),
    "qwen2": ("qwen2", BASE, KEYS),
    "qwen2moe": (
        "qwen2_moe",
        BASE | EXPERTS | {"shared_expert_intermediate_size": 48},
        KEYS | OF_EXPERTS | {"expert_shared_feed_forward_length": 48},
    ),
    "qwen3": ("qwen3", HEADED, KEYS | HEADS),
    "qwen3moe": ("qwen3_moe", HEADED | EXPERTS, KEYS | HEADS | OF_EXPERTS),
    "gemma2": ("gemma2", HEADED, KEYS | HEADS | {"attention.sliding_window": 64}),
    "gemma3": ("gemma3_text", HEADED, KEYS | HEADS | {"attention.sliding_window": 64}),
    "phi3": ("phi3", BASE, KEYS),
    "olmo2": ("olmo2", BASE, KEYS),
    "olmoe": ("olmoe", BASE | EXPERTS, KEYS | {"expert_count": 8, "expert_used_count": 2}),
    "starcoder2": ("starcoder2", BASE, KEYS | {"attention.layer_norm_epsilon": 1e-5}),
    "stablelm": ("stablelm", BASE | {"use_qkv_bias": True}, KEYS | {"attention.layer_norm_epsilon": 1e-5}),
    "command-r": ("cohere", BASE | {"use_qk_norm": True}, KEYS | {"attention.layer_norm_epsilon": 1e-5}),
    "granite": ("granite", BASE, KEYS),
    "granitemoe": ("granitemoe", BASE | EXPERTS, KEYS | {"expert_count": 8, "expert_used_count": 2}),
    "glm4": ("glm4", HEADED, KEYS | HEADS),
    "smollm3": ("smollm3", BASE, KEYS),
    "seed_oss": ("seed_oss", HEADED, KEYS | HEADS),
    "ernie4_5": ("ernie4_5", HEADED, KEYS | HEADS),
    "hunyuan-dense": ("hunyuan_v1_dense", HEADED, KEYS | HEADS),
    "minimax-m2": (
        "minimax_m2",
        HEADED | EXPERTS | {"intermediate_size": 32},
        KEYS | HEADS | OF_EXPERTS,
    ),
    "gpt-oss": (
        "gpt_oss",
        HEADED | EXPERTS | {"intermediate_size": 32},
        KEYS | HEADS | OF_EXPERTS | {"attention.sliding_window": 64},
    ),
    "glm4moe": (
        "glm4_moe",
        HEADED | EXPERTS | {"n_routed_experts": 8, "n_shared_experts": 1, "first_k_dense_replace": 1, "use_qk_norm": True},
        KEYS | HEADS | OF_EXPERTS | {"expert_shared_count": 1, "leading_dense_block_count": 1},
    ),
    "deepseek2": (
        "deepseek_v3",
        BASE | EXPERTS | LATENT | {"n_routed_experts": 8, "n_shared_experts": 1, "first_k_dense_replace": 1, "num_key_value_heads": 4},
        KEYS | OF_EXPERTS | OF_LATENT | {"expert_shared_count": 1, "leading_dense_block_count": 1},
    ),
    "qwen3next": (
        "qwen3_next",
        HEADED | EXPERTS | DELTA | {"shared_expert_intermediate_size": 48, "full_attention_interval": 4},
        KEYS | HEADS | OF_EXPERTS | OF_DELTA | {"expert_shared_feed_forward_length": 48},
    ),
    "qwen35": ("qwen3_5_text", HEADED | DELTA | {"full_attention_interval": 4}, KEYS | HEADS | OF_DELTA),
    "mamba": (
        "mamba",
        {"hidden_size": 64, "num_hidden_layers": 4, "vocab_size": 128, "state_size": 8, "time_step_rank": 4, "expand": 2},
        KEYS | {"ssm.conv_kernel": 4, "ssm.inner_size": 128, "ssm.state_size": 8, "ssm.time_step_rank": 4, "attention.head_count": 0},
    ),
    "mamba2": (
        "mamba2",
        {"hidden_size": 64, "num_hidden_layers": 4, "vocab_size": 128, "state_size": 16, "num_heads": 8, "head_dim": 16, "n_groups": 2},
        KEYS | OF_MAMBA2 | {"attention.head_count": 0},
    ),
    "falcon-h1": (
        "falcon_h1",
        HEADED | MAMBA2 | {"mamba_d_ssm": 128, "mamba_rms_norm": True},
        KEYS | HEADS | OF_MAMBA2,
    ),
    "granitehybrid": (
        "granitemoehybrid",
        BASE | MAMBA2 | {"layer_types": MIXED, "num_local_experts": 0, "shared_intermediate_size": 96},
        KEYS | OF_MAMBA2 | OF_MIXED,
    ),
    "lfm2": (
        "lfm2",
        BASE | {"layer_types": ["conv", "full_attention"] * 2, "block_auto_adjust_ff_dim": False, "conv_L_cache": 3},
        KEYS | OF_MIXED | {"shortconv.l_cache": 3},
    ),
    "nemotron_h": (
        "nemotron_h",
        HEADED
        | {"hybrid_override_pattern": "M-*-", "mamba_num_heads": 8, "mamba_head_dim": 16, "n_groups": 2, "ssm_state_size": 16}
        | {"layers_block_type": None},
        KEYS | HEADS | OF_MAMBA2 | {"attention.head_count_kv": [0, 0, 2, 0], "feed_forward_length": [0, 96, 0, 96]},
    ),
}


SPELT = {"self_attn.sinks": "attn_sinks.weight", ".e_score_correction_bias": "exp_probs_b.bias"}


def tensors_of(model: Any, arch: str, layers: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes as the converter has them: experts and joined matrices taken apart where its architectures have them so."""
    names = gguf.get_tensor_name_map({name: one for one, name in gguf.MODEL_ARCH_NAMES.items()}[arch], layers)
    found: dict[str, tuple[int, ...]] = {}
    tied = model.config.tie_word_embeddings
    for name, one in model.state_dict().items():
        if name == "lm_head.weight" and tied:
            continue
        shape = tuple(size for size in one.shape if size != 1) if "conv" in name else tuple(one.shape)
        for theirs, size in apart(name, shape, arch):
            found[named(names, theirs)] = size or (1,)
    return found


def apart(name: str, shape: tuple[int, ...], arch: str) -> list[tuple[str, tuple[int, ...]]]:
    if name.endswith("experts.gate_up_proj"):
        both = (shape[0], shape[2] // 2, shape[1]) if arch == "gpt-oss" else (shape[0], shape[1] // 2, shape[2])
        return [(name.replace("gate_up_proj", part) + ".weight", both) for part in ("gate_proj", "up_proj")]
    if name.endswith("experts.gate_up_proj_bias"):
        return [(name.replace("gate_up_proj_bias", part) + ".bias", (shape[0], shape[1] // 2)) for part in ("gate_proj", "up_proj")]
    if name.endswith("experts.down_proj"):
        return [(f"{name}.weight", (shape[0], shape[2], shape[1]) if arch == "gpt-oss" else shape)]
    if name.endswith("experts.down_proj_bias"):
        return [(name.replace("_bias", ".bias"), shape)]
    if name.endswith("in_proj_qkvz.weight"):
        gate = 32
        return [(name.replace("in_proj_qkvz", "in_proj_qkv"), (shape[0] - gate, shape[1])), (name.replace("qkvz", "z"), (gate, shape[1]))]
    if name.endswith("shared_expert_gate.weight"):
        return [(name, shape[1:])]
    if name.endswith("block_sparse_moe.input_linear.weight"):
        stem = name.replace("input_linear.weight", "experts")
        return [(f"{stem}.{part}.weight", (shape[0], shape[1] // 2, shape[2])) for part in ("w1", "w3")]
    if name.endswith("block_sparse_moe.output_linear.weight"):
        return [(name.replace("output_linear", "experts.w2"), shape)]
    if name.endswith("shared_mlp.input_linear.weight"):
        return [(name.replace("input_linear", part), (shape[0] // 2, shape[1])) for part in ("gate_proj", "up_proj")]
    if name.endswith("shared_mlp.output_linear.weight"):
        return [(name.replace("output_linear", "down_proj"), shape)]
    if name.endswith((".A_log", ".D")) and len(shape) == 1 and arch in ("mamba2", "falcon-h1", "nemotron_h", "granitehybrid"):
        return [(name, (*shape, 1))]
    return [(name, shape)]


MORE = {
    "linear_attn.in_proj_qkv": "attn_qkv",
    "linear_attn.in_proj_z": "attn_gate",
    "linear_attn.in_proj_ba": "ssm_ba",
    "linear_attn.in_proj_a": "ssm_alpha",
    "linear_attn.in_proj_b": "ssm_beta",
    "block_sparse_moe.router": "ffn_gate_inp",
    **{f"block_sparse_moe.experts.{part}_proj": f"ffn_{part}_exps" for part in ("gate", "up", "down")},
    "block_sparse_moe.experts.w1": "ffn_gate_exps",
    "block_sparse_moe.experts.w2": "ffn_down_exps",
    "block_sparse_moe.experts.w3": "ffn_up_exps",
    "shared_mlp.gate_proj": "ffn_gate",
    "shared_mlp.up_proj": "ffn_up",
    "shared_mlp.down_proj": "ffn_down",
}
"""What the converter renames by hand."""


def named(names: Any, theirs: str) -> str:
    for end, ours in SPELT.items():
        if theirs.endswith(end):
            return f"blk.{theirs.split('.')[2]}.{ours}"
    theirs = theirs.replace(".dt_bias", ".dt_proj.bias")
    for end, ours in MORE.items():
        if f".{end}." in theirs:
            return f"blk.{theirs.split('.')[2]}.{ours}.{theirs.rpartition('.')[2]}"
    suffixes = (".weight", ".bias")
    found = names.get_name(theirs, suffixes) or names.get_name(theirs.replace("model.layers", "backbone.layers"), suffixes)
    assert found is not None, theirs
    return str(found)


def file_of(path: Path, arch: str, keys: dict[str, Any], tensors: dict[str, tuple[int, ...]]) -> Path:
    import numpy as np

    writer = gguf.GGUFWriter(path, arch)
    for name, value in keys.items():
        add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, list: writer.add_array}[type(value)]
        add(f"{arch}.{name}", value)
    for number, (name, shape) in enumerate(tensors.items()):
        quantized = len(shape) > 1 and shape[-1] % 32 == 0 and number % 2
        if quantized:
            raw = np.zeros((*shape[:-1], shape[-1] // 32 * 34), np.uint8)
            writer.add_tensor(name, raw, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(name, np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("case", CASES)
def test_a_file_of_a_class_is_read_exactly(case: str, tmp_path: Path) -> None:
    model_type, config, keys = CASES[case]
    arch = case.partition(",")[0]
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **config))
    tensors = tensors_of(model, arch, config["num_hidden_layers"])
    path = file_of(tmp_path / "model.gguf", arch, keys, tensors)
    spec = gc.model(path)
    assert gc.params(spec).value == sum(one.numel() for one in model.parameters())
    found = witness(spec, str(path))
    assert found.compared.differences == ()
    assert found.ok
    buffers = sum(prod(shape) for name, shape in tensors.items() if "exp_probs_b" in name)
    assert found.compared.parameters == sum(map(prod, tensors.values())) - buffers
    assert gc.memory(spec, mode="inference", seq=64).to_dict()["weights"] == found.compared.bytes
