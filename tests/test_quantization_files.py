"""What files say of their quantization: keys that are refused by name, files beside a config.json, and what commands make of them."""

import json
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from stored import CASES, DENSE, REST, expected, group, linear, nvfp4, packed, size

import gptcalc as gc
from gptcalc.footprint.quantized import stored_bytes
from gptcalc.spec.files import load_model

REFUSED = [
    ({"quant_method": "fp8", "bogus": 1}, "quantization_config.bogus"),
    ({"quant_method": "awq", "w_bit": 3}, "quantization_config.w_bit"),
    ({"quant_method": "awq", "w_bit": 4, "bits": 8}, "w_bit"),
    ({"quant_method": "fp8", "dequantize": True}, "dequantize"),
    ({"quant_method": "fp8", "ignored_layers": "lm_head"}, "ignored_layers"),
    ({"quant_method": "fp8", "weight_block_size": [128]}, "weight_block_size"),
    ({"quant_method": "fp8", "activation_scheme": 3}, "activation_scheme"),
    ({"quant_method": "hqq"}, "hqq"),
    ({"quant_method": "gptq", "dynamic": {"+:.*up.*": {"bits": 8}, "-:.*": {}}}, "dynamic"),
    ({"quant_method": "gptq", "dynamic": {"-:.*tower_of_some.*": {}}}, "tower_of_some"),
    ({"quant_method": "gptq", "dynamic": {"+:.*up_proj": {"bogus": 8}}}, "bogus"),
    ({"quant_method": "gptq", "dynamic": {"+:.*up_proj": 8}}, "dynamic"),
    ({"quant_method": "gptq", "modules_in_block_to_quantize": [3]}, "modules_in_block_to_quantize"),
    ({"quant_method": "exl3"}, "exl3"),
    ({"quant_method": "auto-round", "bits": 4, "packing_format": "auto_round:llm_compressor"}, "packing_format"),
    ({"quant_method": "bitnet", "quantization_mode": "online"}, "quantization_mode"),
    ({"quant_method": "torchao", "quant_type": {}}, "torchao"),
    ({"quant_method": "modelopt", "quant_algo": "W4A16_AWQ"}, "W4A16_AWQ"),
    ({"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 32}, "group_size"),
    ({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"}, "quantized_layers"),
    ({"quant_method": "modelopt", "quant_algo": "NVFP4", "config_groups": {"a": {"weights": {"num_bits": 8}}}}, "config_groups"),
    (packed("marlin-24", group(4, "int", group_size=128)), "marlin-24"),
    (packed("pack-quantized", group(3, "int", group_size=128)), "num_bits"),
    (packed("float-quantized", group(8, "float") | {"targets": ["Embedding"]}), "targets"),
    (packed("float-quantized", group(8, "float"), ignore=["model.layers.0.self_attn"]), "ignore"),
    (packed("float-quantized", group(8, "float"), quantization_status="initialized"), "quantization_status"),
    (packed("float-quantized", group(8, "float"), sparsity_config={"format": "sparse-24-bitmask"}), "sparsity_config"),
    (packed("float-quantized", group(8, "float"), ignore=["re:(a+)+b"]), "repeats too much"),
    ({"group_size": 64, "bits": 4, "mode": "affine", "extra": 1}, "extra"),
    ({"group_size": 64, "bits": 7}, "bits"),
    (packed("float-quantized", group(8, "float", bogus=1)), "weights.bogus"),
    (packed("float-quantized", group(8, "float") | {"input_activations": {"bogus": 1}}), "input_activations.bogus"),
    (packed("float-quantized", group(8, "float"), kv_cache_scheme={"num_bits": 8, "bogus": 1}), "kv_cache_scheme.bogus"),
]


@pytest.mark.parametrize(("quantization", "named"), REFUSED, ids=str)
def test_what_is_not_understood_is_refused_by_its_key(quantization: dict[str, Any], named: str) -> None:
    with pytest.raises(gc.GptcalcError) as refused:
        load_model(DENSE | {"quantization_config": quantization})
    assert named in str(refused.value)
    assert "\n" not in str(refused.value)


TOWERS = [
    "model.vision_tower",
    "model.multi_modal_projector",
    "vision_tower*",
    "mm_projector*",
    "re:.*vision_tower.*",
    "mtp.layers.0*",
    "visual",
]


def test_names_of_towers_change_nothing_and_a_wrapper_s_prefix_is_none() -> None:
    form = CASES["modelopt NVFP4"][0]
    plain = size(DENSE, form | {"ignore": ["lm_head", "model.layers.1.self_attn*"]})
    for prefix in ("language_model.model.layers.1.self_attn*", "model.language_model.layers.1.self_attn*"):
        assert size(DENSE, form | {"ignore": ["language_model.lm_head", prefix, *TOWERS]}) == plain


def folder(path: Path, config: dict[str, Any], name: str, beside: dict[str, Any]) -> Path:
    (path / "config.json").write_text(json.dumps(config), "utf-8")
    (path / name).write_text(json.dumps(beside), "utf-8")
    return path


NVIDIA = {
    "producer": {"name": "modelopt", "version": "0.33.0"},
    "quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8", "group_size": 16, "exclude_modules": ["lm_head"]},
}
BESIDE = [
    ("hf_quant_config.json", NVIDIA, NVIDIA["quantization"] | {"quant_method": "modelopt"}),
    ("quantize_config.json", {"bits": 4, "group_size": 64, "desc_act": False}, {"quant_method": "gptq", "bits": 4, "group_size": 64}),
    ("quant_config.json", {"w_bit": 4, "q_group_size": 64, "zero_point": True}, {"quant_method": "awq", "bits": 4, "group_size": 64}),
]


@pytest.mark.parametrize(("name", "beside", "inside"), BESIDE, ids=[name for name, _, _ in BESIDE])
def test_a_file_beside_the_config_is_read(name: str, beside: dict[str, Any], inside: dict[str, Any], tmp_path: Path) -> None:
    place = folder(tmp_path, DENSE, name, beside)
    for source in (place, place / "config.json"):
        assert stored_bytes(load_model(source)).value == size(DENSE, inside)


@pytest.mark.parametrize(
    ("beside", "named"),
    [
        ({"quantization": {"quant_algo": "W4A16_AWQ"}}, "hf_quant_config.json.quant_algo"),
        ({"quantization": {"quant_algo": "NVFP4", "bogus": 1}}, "hf_quant_config.json.bogus"),
        ({"quantization": {"quant_algo": "NVFP4", "exclude_modules": ["tower"]}}, "hf_quant_config.json: tower"),
        ({"quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP3"}}, "hf_quant_config.json.kv_cache_quant_algo"),
        ({"quantization": 4}, "hf_quant_config.json"),
        ({"bits": 4}, "hf_quant_config.json"),
        ({"quantization": {"quant_algo": "NVFP4"}, "bogus": 1}, "bogus"),
    ],
    ids=str,
)
def test_a_file_beside_the_config_is_refused_by_its_name(beside: dict[str, Any], named: str, tmp_path: Path) -> None:
    with pytest.raises(gc.GptcalcError) as refused:
        load_model(folder(tmp_path, DENSE, "hf_quant_config.json", beside))
    assert named in str(refused.value)


def test_two_files_must_agree(run: Any, tmp_path: Path) -> None:
    own = {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head"]}
    assert load_model(folder(tmp_path, DENSE | {"quantization_config": own}, "hf_quant_config.json", NVIDIA)).quantization is not None
    folder(tmp_path, DENSE | {"quantization_config": own | {"quant_algo": "FP8"}}, "hf_quant_config.json", NVIDIA)
    with pytest.raises(gc.GptcalcError, match=r"quantization_config and hf_quant_config.json beside it contradict: quant_algo"):
        load_model(tmp_path)
    with pytest.raises(gc.GptcalcError, match="describes a quantization, not a model"):
        load_model(tmp_path / "hf_quant_config.json")


def test_commands_take_the_file_beside_the_config(run: Any, tmp_path: Path) -> None:
    place = folder(tmp_path, DENSE, "hf_quant_config.json", NVIDIA)
    document = json.loads(run("memory", place, "--mode", "inference", "-f", "json").out)
    by_hand = expected(DENSE, nvfp4, lambda name: name != "lm_head")
    assert document["result"]["weights"] == by_hand
    assert document["inputs"]["quantization"] == {"method": "nvfp4", "bits": 4.5, "cache": "fp8"}
    assert "in nvfp4, as stored: 4.5 bits a weight, its cache meant for fp8" in run("memory", place, "--mode", "inference").out
    assert "cache meant" not in run("memory", place, "--mode", "inference", "--kv-precision", "fp8").out
    assert "not held as in its file (nvfp4)" in run("memory", place, "--seq", "64").out.splitlines()[0]
    assert json.loads(run("infer", place, "-f", "json").out)["result"]["memory"]["weights"] == by_hand


def test_forms_and_bits_must_agree() -> None:
    fields = load_model(DENSE).model_dump(exclude_unset=True)
    forms = [{"element": 4, "scale": 8, "group": 16}]
    assert load_model(fields | {"quantization": {"method": "mine", "bits": 4.5, "forms": forms}}).quantization is not None
    with pytest.raises(gc.GptcalcError, match=r"4 bits are those of none of its forms"):
        load_model(fields | {"quantization": {"method": "mine", "bits": 4, "forms": forms}})


def gptq(bits: int, k: int, n: int) -> int:
    """Elements, a scale in 16 bits and a zero point for each group of 32, and an int32 for each input."""
    return (bits * k * n + (16 + bits) * n * ceil(k / 32) + 32 * k) // 8


@pytest.mark.parametrize(
    ("more", "width"),
    [
        ({"dynamic": {r"-:.*\.mlp\.down_proj": {}, r"+:.*\.0\..*": {"bits": 8}}}, lambda n: 8 if ".0." in n else 4),
        (
            {"dynamic": {r"-:.*\.mlp\.down_proj": {}, r".*\.self_attn\..*": {"bits": 8, "desc_act": True}}},
            lambda n: 8 if "self" in n else 4,
        ),
        ({"modules_in_block_to_quantize": [["self_attn.q_proj", "self_attn.k_proj"], ["mlp.up_proj"]]}, lambda n: 4),
    ],
    ids=["dynamic", "dynamic attention", "some modules"],
)
def test_gptq_of_chosen_modules(more: dict[str, Any], width: Callable[[str], int]) -> None:
    listed = [name for one in more.get("modules_in_block_to_quantize", ()) for name in one]
    quantized = {
        name: size
        for name, size in linear(DENSE).items()
        if name != "lm_head" and (name.endswith(tuple(listed)) if listed else not name.endswith("down_proj"))
    }
    by_hand = REST + sum(gptq(width(name), k, n) if name in quantized else 2 * k * n for name, (k, n) in linear(DENSE).items())
    assert size(DENSE, {"quant_method": "gptq", "bits": 4, "group_size": 32, **more}) == by_hand
