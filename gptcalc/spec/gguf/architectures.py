"""What a GGUF file's metadata and tensors say of its model, as the keys that the model's class in transformers reads.

Source: gguf-py, constants.py (keys and tensors of each architecture), and llama.cpp, convert_hf_to_gguf.py (what they are made of).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.spec.gguf.header import Header
from gptcalc.spec.reading import shown

MODEL_TYPES = {
    **{name: name for name in ("llama", "qwen2", "qwen3", "gemma", "gemma2", "phi3", "gpt2", "gptj", "falcon", "bloom", "mpt", "stablelm")},
    **{name: name for name in ("starcoder2", "olmo", "olmo2", "olmoe", "cohere2", "granite", "granitemoe", "glm4", "nemotron", "arcee")},
    **{name: name for name in ("mamba", "mamba2", "jamba", "nemotron_h", "lfm2", "dots1", "ernie4_5", "exaone", "exaone4", "smollm3")},
    **{name: name for name in ("seed_oss", "apertus", "bitnet", "dbrx", "afmoe", "phimoe", "mistral4")},
    **{"qwen2moe": "qwen2_moe", "qwen3moe": "qwen3_moe", "qwen2vl": "qwen2", "qwen3vl": "qwen3", "qwen3vlmoe": "qwen3_moe"},
    **{"qwen3next": "qwen3_next", "qwen35": "qwen3_5_text", "qwen35moe": "qwen3_5_moe_text", "gemma3": "gemma3_text"},
    **{"phi2": "phi", "gptneox": "gpt_neox", "starcoder": "gpt_bigcode", "command-r": "cohere", "gpt-oss": "gpt_oss"},
    **{"glm4moe": "glm4_moe", "deepseek2": "deepseek_v3", "granitehybrid": "granitemoehybrid", "nemotron_h_moe": "nemotron_h"},
    **{"falcon-h1": "falcon_h1", "lfm2moe": "lfm2_moe", "ernie4_5-moe": "ernie4_5_moe", "hunyuan-dense": "hunyuan_v1_dense"},
    **{"hunyuan-moe": "hunyuan_v1_moe", "minimax-m2": "minimax_m2", "llama4": "llama4_text", "mistral3": "ministral3"},
}
"""The architecture of a file: the model type of its class."""

KEYS: dict[str, tuple[str, ...]] = {
    "embedding_length": ("hidden_size", "n_embd", "d_model"),
    "feed_forward_length": ("intermediate_size_mlp", "intermediate_size", "n_inner", "ffn_hidden_size"),
    "attention.head_count": ("num_attention_heads", "n_head", "n_heads"),
    "attention.head_count_kv": ("num_key_value_heads", "num_kv_heads"),
    "attention.key_length": ("head_dim",),
    "context_length": ("max_position_embeddings", "n_positions", "max_seq_len"),
    "attention.layer_norm_rms_epsilon": ("rms_norm_eps", "norm_eps", "layer_norm_epsilon"),
    "attention.layer_norm_epsilon": ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps"),
    "rope.freq_base": ("rope_theta", "rotary_emb_base"),
    "attention.sliding_window": ("sliding_window",),
    "expert_count": ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"),
    "expert_used_count": ("num_experts_per_tok", "moe_topk", "moe_k"),
    "expert_feed_forward_length": ("moe_intermediate_size",),
    "expert_shared_feed_forward_length": (
        "shared_expert_intermediate_size",
        "moe_shared_expert_intermediate_size",
        "shared_intermediate_size",
    ),
    "expert_shared_count": ("n_shared_experts", "moe_num_shared_experts", "num_shared_experts", "num_shared_expert"),
    "leading_dense_block_count": ("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index"),
    "expert_weights_scale": ("routed_scaling_factor",),
    "expert_weights_norm": ("norm_topk_prob",),
    "expert_group_count": ("n_group",),
    "expert_group_used_count": ("topk_group",),
    "moe_latent_size": ("moe_latent_size",),
    "interleave_moe_layer_step": ("interleave_moe_layer_step",),
    "full_attention_interval": ("full_attention_interval",),
    "attention.q_lora_rank": ("q_lora_rank",),
    "attention.kv_lora_rank": ("kv_lora_rank",),
    "attn_logit_softcapping": ("attn_logit_softcapping",),
    "final_logit_softcapping": ("final_logit_softcapping",),
    "embedding_scale": ("embedding_multiplier",),
    "residual_scale": ("residual_multiplier",),
    "attention.scale": ("attention_multiplier",),
    "logit_scale": ("logits_scaling", "logit_scale"),
    "use_parallel_residual": ("use_parallel_residual",),
    "shortconv.l_cache": ("conv_L_cache",),
    "ssm.conv_kernel": ("mamba_d_conv", "conv_kernel", "linear_conv_kernel_dim"),
}
"""What a file says: what classes call it, of which each has at most one."""

BIASES = {
    "attention_bias": ("attn_q.bias", "attn_qkv.bias"),
    "use_qkv_bias": ("attn_q.bias", "attn_qkv.bias"),
    "qkv_bias": ("attn_q.bias", "attn_qkv.bias"),
    "mlp_bias": ("ffn_up.bias",),
    "use_bias": ("attn_q.bias", "attn_output.bias", "ssm_in.bias"),
    "bias": ("attn_qkv.bias", "attn_output.bias"),
    "use_qk_norm": ("attn_q_norm.weight",),
    "qk_layernorm": ("attn_q_norm.weight",),
    "mamba_rms_norm": ("ssm_norm.weight",),
    "mamba_conv_bias": ("ssm_conv1d.bias",),
    "mamba_proj_bias": ("ssm_in.bias",),
    "use_conv_bias": ("ssm_conv1d.bias",),
    "conv_bias": ("shortconv.conv.bias",),
}
"""Switches of classes that follow from whether some layer has a tensor."""


class Reading(NamedTuple):
    """A file under way to a config: its architecture's own metadata, its tensors' names below a layer, and the keys that its class has."""

    header: Header
    name: str
    keys: frozenset[str]
    below: frozenset[str]
    where: str

    def get(self, key: str, default: Any = None) -> Any:
        return self.header.values.get(f"{self.name}.{key}", default)

    def number(self, key: str) -> int:
        """A number that the architecture cannot be without."""
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise GptcalcError(f"{self.where}: {self.name}.{key} must be a whole number above zero, not {shown(str(value))}")
        return value

    def layers_with(self, *tensors: str) -> list[int]:
        """The layers that have any of some tensors."""
        return [layer for layer in range(self.blocks) if any(f"blk.{layer}.{name}" in self.header.tensors for name in tensors)]

    @property
    def blocks(self) -> int:
        """Without those that predict further tokens."""
        return self.number("block_count") - int(self.get("nextn_predict_layers", 0) or 0)


def model_type_of(header: Header, where: str) -> tuple[str, str]:
    """The architecture of a file, and the model type of its class.

    Raises GptcalcError, with the tensors' number and bytes, for an architecture that is not known.
    """
    name = header.values.get("general.architecture")
    if not isinstance(name, str):
        raise GptcalcError(f"{where}: says no general.architecture; {header.told}")
    if name == "clip" or header.values.get("general.type") == "mmproj":
        raise GptcalcError(
            f"{where}: is a projector's file (mmproj): towers without their language model; {header.told}",
            hint="give the language model's own .gguf file",
        )
    if name == "llama" and header.values.get("llama.expert_count"):
        return name, "mixtral"
    if name == "deepseek2" and not any(".exp_probs_b" in tensor for tensor in header.tensors):
        return name, "deepseek_v2"
    if name not in MODEL_TYPES:
        raise GptcalcError(f"{where}: architecture '{shown(name)}' is not one that gptcalc reads from GGUF; {header.told}")
    return name, MODEL_TYPES[name]


def config_of(header: Header, where: str, keys_of: Callable[[str], frozenset[str]]) -> dict[str, Any]:
    """A file as the config of its class, whose keys `keys_of` a model type says.

    Raises GptcalcError for what the file does not say, and for what differs from layer to layer where its class has one number for all.
    """
    name, model_type = model_type_of(header, where)
    below = frozenset(tensor.split(".", 2)[2] for tensor in header.tensors if tensor.startswith("blk.") and tensor.count(".") > 1)
    r = Reading(header, name, keys_of(model_type), below, where)
    embedding = header.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise GptcalcError(f"{where}: has no embedding 'token_embd.weight'; {header.told}")
    config: dict[str, Any] = {"model_type": model_type, "vocab_size": embedding.shape[0]}
    config["tie_word_embeddings"] = "output.weight" not in header.tensors
    layers = next(key for key in ("num_hidden_layers", "n_layer", "n_layers") if key in r.keys)
    config[layers] = r.blocks
    for key, called in KEYS.items():
        value, own = r.get(key), next((one for one in called if one in r.keys), None)
        if value is not None and own is not None and own not in config:
            config[own] = _single(value, key, r)
    for switch, tensors in BIASES.items():
        if switch in r.keys:
            config[switch] = any(tensor in below for tensor in tensors)
    if "moe_intermediate_size" not in r.keys and r.get("expert_feed_forward_length"):
        config["intermediate_size"] = r.get("expert_feed_forward_length")
    for special in (_latent, _mixers, _layers, _hybrid):
        config |= special(r)
    return {key: value for key, value in config.items() if key in r.keys or key == "model_type"}


def _single(value: Any, key: str, r: Reading) -> Any:
    """One number for all layers; of kinds of layer that have it not, zero stands in a list."""
    if not isinstance(value, list):
        return value
    found = {one for one in value if one}
    if len(found) > 1:
        raise GptcalcError(f"{r.where}: {r.name}.{key} differs from layer to layer, which its class in transformers does not have")
    return next(iter(found), 0)


def _latent(r: Reading) -> dict[str, Any]:
    if not r.get("attention.kv_lora_rank") or "kv_lora_rank" not in r.keys:
        return {}
    rope, whole = r.number("rope.dimension_count"), r.get("attention.key_length_mla") or r.number("attention.key_length")
    value = r.get("attention.value_length_mla") or r.number("attention.value_length")
    heads = {"num_key_value_heads": r.number("attention.head_count"), "q_lora_rank": r.get("attention.q_lora_rank")}
    return heads | {"qk_rope_head_dim": rope, "qk_nope_head_dim": whole - rope, "v_head_dim": value, "head_dim": rope}


def _mixers(r: Reading) -> dict[str, Any]:
    """Sizes of recurrences: `time_step_rank` is the number of heads wherever there are any."""
    if not r.get("ssm.inner_size"):
        return {}
    inner, state = r.number("ssm.inner_size"), r.number("ssm.state_size")
    heads, groups = r.get("ssm.time_step_rank", 0), r.get("ssm.group_count", 1)
    if "linear_num_value_heads" in r.keys:
        key = {"linear_num_key_heads": groups, "linear_key_head_dim": state}
        return key | {"linear_num_value_heads": heads, "linear_value_head_dim": inner // max(1, heads)}
    d = r.number("embedding_length")
    if r.name in ("mamba", "jamba"):
        found = {"mamba_dt_rank": heads, "time_step_rank": heads, "mamba_d_state": state, "state_size": state}
        return found | {"mamba_expand": inner // d, "expand": inner // d, "intermediate_size": r.get("feed_forward_length") or inner}
    each = inner // max(1, heads)
    found = {"mamba_n_heads": heads, "mamba_num_heads": heads, "num_heads": heads, "mamba_d_state": state, "ssm_state_size": state}
    found |= {"state_size": state, "mamba_n_groups": groups, "n_groups": groups, "mamba_d_head": each, "mamba_head_dim": each}
    found |= {"mamba_d_ssm": inner, "mamba_expand": inner // d, "expand": inner // d}
    return found | ({"head_dim": each} if r.name == "mamba2" else {})


def _layers(r: Reading) -> dict[str, Any]:
    """Which layers are of which kind, as the tensors say; expert layers at even distances."""
    found: dict[str, Any] = {}
    attending = r.layers_with("attn_q.weight", "attn_qkv.weight")
    if r.name in ("granitehybrid", "lfm2", "lfm2moe", "jamba"):
        full, other = ("full_attention", "conv") if r.name.startswith("lfm2") else ("attention", "mamba")
        kinds = [full if layer in attending else other for layer in range(r.blocks)]
        found |= {"layer_types": kinds, "layers_block_type": kinds, "block_auto_adjust_ff_dim": False}
    sparse = r.layers_with("ffn_gate_inp.weight")
    if r.name == "jamba":
        step = sparse[1] - sparse[0] if len(sparse) > 1 else r.blocks
        found |= {"expert_layer_period": step, "expert_layer_offset": sparse[0] if sparse else 0}
        found |= {} if sparse else {"num_experts": 1}
    if r.name.startswith("granite") and not sparse:
        found |= {"num_local_experts": 0, "shared_intermediate_size": r.get("feed_forward_length")}
    if r.name == "glm4moe":
        found |= {"n_shared_experts": r.get("expert_shared_count", 1)}
    return found


def _hybrid(r: Reading) -> dict[str, Any]:
    """Nemotron-H: each layer is one sublayer."""
    if "hybrid_override_pattern" not in r.keys:
        return {}
    kinds = {"M": r.layers_with("ssm_in.weight"), "*": r.layers_with("attn_q.weight"), "E": r.layers_with("ffn_gate_inp.weight")}
    at = {layer: letter for letter, layers in kinds.items() for layer in layers}
    return {"hybrid_override_pattern": "".join(at.get(layer, "-") for layer in range(r.blocks))}
