"""Bytes of quantized files, tensor by tensor as each method writes them, for two tiny models whose matrices are listed by hand."""

import fnmatch
import json
import re
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any

import pytest

import gptcalc as gc
from gptcalc.formulas.memory.quantized import stored_bytes
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
KEPT: dict[str, tuple[list[str], Callable[[str], bool]]] = {
    "nothing": ([], lambda name: False),
    "the head": (["lm_head"], lambda name: name == "lm_head"),
    "attention of one layer": (["lm_head", "*layers.1.self_attn*"], lambda name: name == "lm_head" or "layers.1.self_attn" in name),
    "each by name": ([f"model.layers.{n}.self_attn.q_proj" for n in range(LAYERS)], lambda name: name.endswith("q_proj")),
}


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("config", [DENSE, MIXTURE], ids=["dense", "mixture"])
def test_each_method_is_as_its_tensors_are(config: dict[str, Any], case: str, kept: str) -> None:
    quantization, form = CASES[case]
    names, is_kept = KEPT[kept]
    if quantization.get("quant_method") == "compressed-tensors":
        names = ["re:" + fnmatch.translate(name) if "*" in name else name for name in names]
    assert size(config, quantization | {"ignore": names}) == expected(config, form, lambda name: not is_kept(name))


PATTERNS = [
    "re:.*self_attn.*",
    r"re:.*mlp\.(gate|up|gate_up|down)_proj.*",
    r"re:model\.layers\.[12]\..*down_proj",
    "re:.*experts.*",
    "re:.*lm_head",
    "*self_attn*",
    "model.layers.1*",
    "model.layers.2.*",
    "*mlp*",
    "*.q_proj",
    "model.layers.0.mlp.experts.*.up_proj",
    "*",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_keep_what_they_match(pattern: str) -> None:
    """Python's own matching of the names that the modules have."""
    tried = re.compile(pattern.removeprefix("re:") if pattern.startswith("re:") else fnmatch.translate(pattern))
    found = size(MIXTURE, CASES["modelopt NVFP4"][0] | {"ignore": [pattern]})
    assert found == expected(MIXTURE, nvfp4, lambda name: not tried.match(name))


def test_experts_that_are_all_named_are_kept_and_some_are_refused() -> None:
    names = [f"model.layers.0.mlp.experts.{expert}.up_proj" for expert in range(E)]
    found = size(MIXTURE, CASES["modelopt FP8"][0] | {"ignore": names})
    assert found == expected(MIXTURE, fp8, lambda name: name not in names)
    for some in (names[1:], [r"re:.*layers\.0\.mlp\.experts\.[01]\..*"]):
        with pytest.raises(gc.GptcalcError, match="experts of one layer that are stored unlike"):
            size(MIXTURE, CASES["int4 in groups"][0] | {"ignore": some})


def test_each_module_with_a_form_of_its_own() -> None:
    forms: dict[str, Callable[[int, int], Tensors]] = {"FP8": fp8, "NVFP4": nvfp4}
    layers = {}
    for name in linear(MIXTURE):
        if "self_attn" in name:
            layers[name] = {"quant_algo": "FP8"}
        elif "experts.0" in name:
            layers[name.partition(".0.")[0] + ".0.mlp.experts" if "layers.0" in name else "model.layers.2.mlp.experts"] = {
                "quant_algo": "NVFP4",
                "group_size": 16,
            }
    layers["lm_head"] = {"quant_algo": "NVFP4", "group_size": 16}
    quantization = {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": layers, "exclude_modules": ["mtp*"]}
    by_hand = REST
    for name, (k, n) in linear(MIXTURE).items():
        algorithm = "FP8" if "self_attn" in name else "NVFP4" if "experts" in name or name == "lm_head" else None
        by_hand += 2 * k * n if algorithm is None else sum(count * bits for count, bits in forms[algorithm](k, n)) // 8
    assert size(MIXTURE, quantization) == by_hand
    assert load_model(MIXTURE | {"quantization_config": quantization}).quantization.said["widths"] == [4.5, 8]


def mlx(k: int, n: int) -> Tensors:
    return [(k * n, 4), (n * k // 64, 16), (n * k // 64, 16)]  # weight, scales, biases


@pytest.mark.parametrize("tied", [False, True])
def test_mlx_quantizes_the_embedding_too(tied: bool) -> None:
    form = {"group_size": 64, "bits": 4}
    config = DENSE | {"tie_word_embeddings": tied}
    matrices = {name: size for name, size in linear(DENSE).items() if not (tied and name == "lm_head")}
    by_hand = REST - 2 * V * D + sum(count * bits for k, n in [*matrices.values(), (D, V)] for count, bits in mlx(k, n)) // 8
    model = load_model(config | {"quantization": form, "quantization_config": form})
    assert stored_bytes(model).value == by_hand
    assert gc.infer(model, prompt=8, output=2).room.to_dict()["weights"] == by_hand
    named = form | {"model.layers.0.self_attn.q_proj": {"group_size": 32, "bits": 8}, "model.layers.1.mlp.up_proj": False}
    more = sum(count * bits for count, bits in [(D * HEADS * Q, 8), (D * HEADS * Q // 32, 32)]) // 8
    changed = [linear(DENSE)[name] for name in named if "." in name]
    less = sum(count * bits for k, n in changed for count, bits in mlx(k, n)) // 8
    assert stored_bytes(load_model(config | {"quantization": named})).value == by_hand - less + more + 2 * D * F


def test_mlx_does_not_say_which_routers_it_quantizes() -> None:
    with pytest.raises(gc.GptcalcError, match="mlp/router quantized is not said"):
        stored_bytes(load_model(MIXTURE | {"quantization": {"group_size": 64, "bits": 4}}))


def test_a_head_that_gptq_quantizes() -> None:
    plain, with_head = (size(DENSE, {"quant_method": "gptq", "bits": 4, "group_size": 64, "lm_head": head}) for head in (False, True))
    assert with_head - plain == D * V // 2 + D // 64 * V * 20 // 8 + 4 * D - 2 * D * V


def test_auto_round_names_layers_of_their_own() -> None:
    extra = {"model.layers.0.self_attn.k_proj": {"bits": 16, "data_type": "float"}, ".*layers\\.1\\.mlp.*": {"bits": 8, "group_size": 32}}
    found = size(DENSE, {"quant_method": "auto-round", "bits": 4, "group_size": 64, "sym": True, "iters": 200, "extra_config": extra})
    by_hand = REST + 2 * D * V + 2 * D * KV * Q
    for name, (k, n) in linear(DENSE).items():
        bits, width = (8, 32) if "layers.1.mlp" in name else (4, 64)
        if name not in ("lm_head", "model.layers.0.self_attn.k_proj"):
            by_hand += (k * n * bits + k // width * n * (16 + bits)) // 8
    assert found == by_hand


def test_bitnet_is_as_large_as_its_file() -> None:
    """Hugging Face microsoft/bitnet-b1.58-2B-4T: model.safetensors of 1.18 GB; the defaults of its class are its config."""
    form = {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline"}
    model = load_model({"model_type": "bitnet", "tie_word_embeddings": True, "quantization_config": form})
    assert stored_bytes(model).value == pytest.approx(1.18e9, rel=5e-3)


def test_awq_has_two_names_for_its_numbers() -> None:
    own = size(DENSE, {"quant_method": "awq", "w_bit": 4, "q_group_size": 64, "zero_point": True, "version": "GEMM"})
    assert own == size(DENSE, {"quant_method": "awq", "bits": 4, "group_size": 64})


REFUSED = [
    ({"quant_method": "fp8", "bogus": 1}, "quantization_config.bogus"),
    ({"quant_method": "awq", "w_bit": 3}, "quantization_config.w_bit"),
    ({"quant_method": "awq", "w_bit": 4, "bits": 8}, "w_bit"),
    ({"quant_method": "fp8", "dequantize": True}, "dequantize"),
    ({"quant_method": "fp8", "ignored_layers": "lm_head"}, "ignored_layers"),
    ({"quant_method": "fp8", "weight_block_size": [128]}, "weight_block_size"),
    ({"quant_method": "fp8", "activation_scheme": 3}, "activation_scheme"),
    ({"quant_method": "hqq"}, "hqq"),
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
