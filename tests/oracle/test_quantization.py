"""Which modules transformers stores in fp8, and in how many bytes: its own replacement of linear layers, on the meta device."""

from typing import Any

import pytest

from gptcalc.footprint.quantized import stored_bytes
from gptcalc.spec.files import load_model

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZES: dict[str, Any] = {
    "hidden_size": 192,
    "intermediate_size": 320,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "head_dim": 64,
    "vocab_size": 100,
    "tie_word_embeddings": False,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 96, "mlp_only_layers": [1]}
LISTS: list[list[str] | None] = [
    None,
    ["lm_head", "q_proj"],
    ["lm_head", "model.layers.0.self_attn.q_proj", "model.layers.2.mlp"],
    ["lm_head", "model.layers.1"],
    ["lm_head", "model.layers.*.self_attn"],
    ["lm_head", ".*mlp.*"],
    ["lm_head", r"model\.layers\.[02]\.self_attn\.(k|v)_proj", "o_proj"],
]


@pytest.mark.parametrize("kept", LISTS, ids=str)
@pytest.mark.parametrize(
    ("model_type", "form"),
    [
        ("qwen3", {"weight_block_size": [128, 128]}),
        ("qwen3", {"weight_block_size": [128, 128], "scale_fmt": "ue8m0"}),
        ("qwen3", {"weight_block_size": None, "activation_scheme": "static"}),
        ("qwen3_moe", {"weight_block_size": [32, 128]}),  # static scales, and blocks across gate and up, are of its fused experts alone
    ],
    ids=str,
)
def test_fp8(model_type: str, form: dict[str, Any], kept: list[str] | None) -> None:
    from transformers.integrations.finegrained_fp8 import FP8Experts, FP8Linear, replace_with_fp8_linear
    from transformers.quantizers.base import HfQuantizer
    from transformers.utils.quantization_config import FineGrainedFP8Config

    sizes = SIZES | (EXPERTS if model_type == "qwen3_moe" else {})
    config = transformers.AutoConfig.for_model(model_type, **sizes)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    asked = FineGrainedFP8Config(**form, modules_to_not_convert=kept)
    skipped = HfQuantizer.get_modules_to_not_convert(model, asked.modules_to_not_convert)
    replace_with_fp8_linear(model, modules_to_not_convert=skipped, quantization_config=asked)
    size = 0
    for module in model.modules():
        fp8 = isinstance(module, FP8Linear | FP8Experts)
        for name, parameter in module.named_parameters(recurse=False):
            size += parameter.numel() * (parameter.element_size() if fp8 and name != "bias" else 2)
    given = {"quant_method": "fp8", **form} | ({} if kept is None else {"modules_to_not_convert": kept})
    assert stored_bytes(load_model({"model_type": model_type, **sizes, "quantization_config": given})).value == size
