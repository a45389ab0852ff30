"""Two tiny models whose matrices are listed by hand, and what each quantization method writes of one, tensor by tensor."""

from collections.abc import Callable
from math import ceil
from typing import Any

from gptcalc.footprint.quantized import stored_bytes
from gptcalc.spec.files import load_model

D, F, HEADS, KV, Q, V, LAYERS, E, EXPERT = 192, 320, 3, 1, 64, 100, 3, 4, 96
DENSE: dict[str, Any] = {
    "model_type": "qwen3",
    "hidden_size": D,
    "intermediate_size": F,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV,
    "head_dim": Q,
    "vocab_size": V,
    "tie_word_embeddings": False,
}
MIXTURE = DENSE | {
    "model_type": "qwen3_moe",
    "num_experts": E,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": EXPERT,
    "mlp_only_layers": [1],
}

Sizes = dict[str, tuple[int, int]]


def mlp(name: str, width: int) -> Sizes:
    return {f"{name}.gate_proj": (D, width), f"{name}.up_proj": (D, width), f"{name}.down_proj": (width, D)}


def linear(config: dict[str, Any]) -> Sizes:
    """Inputs and outputs of every linear module, by the names that transformers gives them (experts each its own, as in files)."""
    found: Sizes = {"lm_head": (D, V)}
    for layer in range(LAYERS):
        attention = {"q_proj": (D, HEADS * Q), "k_proj": (D, KV * Q), "v_proj": (D, KV * Q), "o_proj": (HEADS * Q, D)}
        found |= {f"model.layers.{layer}.self_attn.{name}": size for name, size in attention.items()}
        place = f"model.layers.{layer}.mlp"
        if config is DENSE or layer == 1:
            found |= mlp(place, F)
        else:
            found[f"{place}.gate"] = (D, E)
            for expert in range(E):
                found |= mlp(f"{place}.experts.{expert}", EXPERT)
    return found


REST = 2 * (V * D + D + LAYERS * (2 * D + 2 * Q))  # 16 bits: embedding and norms

Tensors = list[tuple[int, int]]  # elements and the bits of one


def nvfp4(k: int, n: int) -> Tensors:
    return [(k * n, 4), (n * ceil(k / 16), 8), (1, 32), (1, 32)]  # weight, weight_scale, weight_scale_2, input_scale


def fp8(k: int, n: int) -> Tensors:
    return [(k * n, 8), (1, 32), (1, 32)]  # weight, weight_scale, input_scale


def blocks(k: int, n: int) -> Tensors:
    return [(k * n, 8), (ceil(k / 128) * ceil(n / 128), 32)]


def int4(k: int, n: int) -> Tensors:
    return [(k * n, 4), (n * ceil(k / 32), 16), (2, 64)]  # weight_packed, weight_scale, weight_shape


def expected(config: dict[str, Any], form: Callable[[int, int], Tensors], quantized: Callable[[str], bool]) -> int:
    size = REST
    for name, (k, n) in linear(config).items():
        size += sum(count * bits for count, bits in form(k, n)) // 8 if quantized(name) and not name.endswith("mlp.gate") else 2 * k * n
    return size


def size(config: dict[str, Any], quantization: dict[str, Any]) -> int:
    return int(stored_bytes(load_model(config | {"quantization_config": quantization})).value)


def group(bits: int, kind: str, **more: Any) -> dict[str, Any]:
    return {"targets": ["Linear"], "weights": {"num_bits": bits, "type": kind, "symmetric": True, "dynamic": False, **more}}


def packed(form: str, one: dict[str, Any], **more: Any) -> dict[str, Any]:
    status = {"quantization_status": "compressed", "kv_cache_scheme": None, "global_compression_ratio": None}
    return {"quant_method": "compressed-tensors", "format": form, "config_groups": {"group_0": one}, **status, **more}


FP8_ACTIVATIONS = {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": True}
CASES: dict[str, tuple[dict[str, Any], Callable[[int, int], Tensors]]] = {
    "modelopt NVFP4": ({"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16}, nvfp4),
    "modelopt W4A16_NVFP4": ({"quant_method": "modelopt", "quant_algo": "W4A16_NVFP4"}, lambda k, n: nvfp4(k, n)[:3]),
    "modelopt FP8": ({"producer": {"name": "modelopt", "version": "0.31.0"}, "quant_algo": "FP8", "kv_cache_scheme": "FP8"}, fp8),
    "modelopt MXFP8": ({"quant_method": "modelopt", "quant_algo": "MXFP8"}, lambda k, n: [(k * n, 8), (n * ceil(k / 32), 8)]),
    "int4 in groups": (packed("pack-quantized", group(4, "int", group_size=32, strategy="group")), int4),
    "int4 in groups, not symmetric": (
        packed("pack-quantized", group(4, "int", group_size=32, strategy="group") | {}) | {"config_groups": {"0": {
            "targets": ["Linear"], "weights": {"num_bits": 4, "type": "int", "symmetric": False, "group_size": 32, "actorder": "group"}}}},
        lambda k, n: [*int4(k, n), (n * ceil(k / 32), 4), (k, 32)],
    ),
    "int8 by channel": (packed("int-quantized", group(8, "int", strategy="channel")), lambda k, n: [(k * n, 8), (n, 16)]),
    "fp8 by channel": (
        packed("float-quantized", group(8, "float", strategy="channel") | {"input_activations": FP8_ACTIVATIONS}),
        lambda k, n: [(k * n, 8), (n, 16)],
    ),
    "fp8 static": (
        packed("float-quantized", group(8, "float", strategy="tensor") | {"input_activations": {"num_bits": 8, "dynamic": False}}),
        lambda k, n: [(k * n, 8), (1, 16), (1, 16)],
    ),
    "fp8 in blocks": (
        packed("float-quantized", group(8, "float", strategy="block", block_structure=[128, 128])),
        lambda k, n: [(k * n, 8), (ceil(k / 128) * ceil(n / 128), 16)],
    ),
    "nvfp4 packed": (
        packed(
            "nvfp4-pack-quantized",
            group(4, "float", group_size=16, strategy="tensor_group") | {"input_activations": {"num_bits": 4, "dynamic": "local"}},
        ),
        nvfp4,
    ),
    "mxfp4 packed": (
        packed("mxfp4-pack-quantized", group(4, "float", group_size=32, scale_dtype="torch.uint8")),
        lambda k, n: [(k * n, 4), (n * ceil(k / 32), 8)],
    ),
}  # fmt: skip
