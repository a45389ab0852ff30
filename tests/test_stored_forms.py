"""Bytes of quantized files, tensor by tensor as each method writes them, for two tiny models whose matrices are listed by hand."""

import fnmatch
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stored import CASES, DENSE, HEADS, KV, LAYERS, MIXTURE, REST, D, E, F, Q, Tensors, V, expected, fp8, linear, nvfp4, size

import gptcalc as gc
from gptcalc.footprint.quantized import stored_bytes
from gptcalc.spec.files import load_model

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
    r"re:.*layers\.\d+\.mlp\.experts\.\d+\.up_proj",
    r"re:.*layers\.\d\.self_attn",
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
    for some in (names[1:], [r"re:.*layers\.0\.mlp\.experts\.(2|3)\..*"]):
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


def test_mlx_leaves_matrices_whose_groups_would_not_be_full() -> None:
    """128 divides the 320 inputs of the MLP's last matrix as little as the 192 of all others."""
    model = load_model(DENSE | {"quantization": {"group_size": 128, "bits": 4}})
    assert stored_bytes(model).value == 2 * gc.params(model).value


def test_mlx_does_not_say_which_routers_it_quantizes(run: Any, tmp_path: Path) -> None:
    """Parameters are counted all the same, and every precision that is asked for."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(MIXTURE | {"quantization": {"group_size": 64, "bits": 4}}), "utf-8")
    with pytest.raises(gc.GptcalcError, match="mlp/router quantized is not said"):
        stored_bytes(load_model(path))
    assert "mlp/router quantized is not said" in run("params", path).out
    assert "stored_bytes" not in json.loads(run("params", path, "-f", "json").out)["result"]
    assert "--precision" in run("memory", path, "--mode", "inference").err
    assert run("memory", path, "--mode", "inference", "--precision", "bf16").out


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
