"""A folder's own safetensors files against the formulas: agreeing, differing, cut and hostile ones, all written by the library itself."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
    "tie_word_embeddings": False,
}
LAYER = {
    "input_layernorm": (32,),
    "self_attn.q_proj": (32, 32),
    "self_attn.k_proj": (16, 32),
    "self_attn.v_proj": (16, 32),
    "self_attn.o_proj": (32, 32),
    "post_attention_layernorm": (32,),
    "mlp.gate_proj": (48, 32),
    "mlp.up_proj": (48, 32),
    "mlp.down_proj": (32, 48),
}
OUTSIDE = {"model.embed_tokens.weight": (100, 32), "model.norm.weight": (32,), "lm_head.weight": (100, 32)}
SHAPES = OUTSIDE | {f"model.layers.{layer}.{name}.weight": shape for layer in range(2) for name, shape in LAYER.items()}
TOTAL = sum(int(np.prod(shape)) for shape in SHAPES.values())


def folder(path: Path, shapes: dict[str, tuple[int, ...]] = SHAPES, config: dict[str, Any] = CONFIG) -> Path:
    (path / "config.json").write_text(json.dumps(config))
    save_file({name: np.zeros(shape, np.float16) for name, shape in shapes.items()}, path / "model.safetensors")
    return path


def in_shards(path: Path) -> Path:
    names = sorted(SHAPES)
    (path / "config.json").write_text(json.dumps(CONFIG))
    places = {}
    for number, part in enumerate((names[:9], names[9:])):
        file = f"model-0000{number + 1}-of-00002.safetensors"
        save_file({name: np.zeros(SHAPES[name], np.float16) for name in part}, path / file)
        places |= dict.fromkeys(part, file)
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return path


@pytest.mark.parametrize("written", [folder, in_shards])
def test_files_that_agree(written: Callable[[Path], Path], run: Callable[..., Any], tmp_path: Path) -> None:
    ran = run("params", written(tmp_path), "--check", "-f", "json")
    found = json.loads(ran.out)["result"]["checkpoint"]
    assert (ran.code, found["ok"], found["differences"]) == (0, True, [])
    assert (found["parameters"], found["bytes"], found["types"]) == (TOTAL, 2 * TOTAL, {"F16": TOTAL})
    assert found["files"] == (2 if written is in_shards else 1)


def test_tensors_that_differ_are_named(run: Callable[..., Any], tmp_path: Path) -> None:
    shapes = SHAPES | {"model.layers.1.mlp.up_proj.weight": (47, 32), "model.layers.1.self_attn.strange.weight": (3, 5)}
    del shapes["model.norm.weight"]
    ran = run("params", folder(tmp_path, shapes), "--check")
    assert ran.code == 1
    for told in ("model.layers.1.mlp.up_proj.weight", "47 x 32", "48 x 32", "self_attn.strange.weight", "3 x 5", "norm.weight"):
        assert told in ran.out
    found = json.loads(run("params", tmp_path, "--check", "-f", "json").out)["result"]["checkpoint"]
    assert sorted(one["tensor"] for one in found["differences"]) == [
        "model.layers.1.mlp.up_proj.weight",
        "model.layers.1.self_attn.strange.weight",
        "norm.weight",
    ]


def test_what_is_no_parameter_of_the_language_model_is_beside_it(run: Callable[..., Any], tmp_path: Path) -> None:
    text = {key: value for key, value in CONFIG.items() if key not in ("model_type", "tie_word_embeddings")}
    config = {"model_type": "llava", "text_config": text | {"model_type": "llama"}}
    shapes = {(f"language_model.{name}"): shape for name, shape in SHAPES.items()}
    shapes |= {"vision_tower.vision_model.embeddings.class_embedding": (7,), "multi_modal_projector.linear_1.weight": (4, 7)}
    shapes |= {"language_model.model.layers.0.self_attn.rotary_emb.inv_freq": (4,)}
    found = json.loads(run("params", folder(tmp_path, shapes, config), "--check", "-f", "json").out)["result"]["checkpoint"]
    assert found["ok"]
    assert found["beside"] == {"buffers": {"tensors": 1, "elements": 4}, "towers and projectors": {"tensors": 2, "elements": 35}}


def test_experts_one_by_one_and_a_tied_head_that_is_there_again(run: Callable[..., Any], tmp_path: Path) -> None:
    config = CONFIG | {"model_type": "qwen3_moe", "num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
    config |= {"head_dim": 8, "tie_word_embeddings": True}
    shapes = {name: shape for name, shape in SHAPES.items() if ".mlp." not in name}
    for layer in range(2):
        for norm in ("q_norm", "k_norm"):
            shapes[f"model.layers.{layer}.self_attn.{norm}.weight"] = (8,)
        shapes[f"model.layers.{layer}.mlp.gate.weight"] = (3, 32)
        for expert in range(3):
            for name, shape in {"gate_proj": (24, 32), "up_proj": (24, 32), "down_proj": (32, 24)}.items():
                shapes[f"model.layers.{layer}.mlp.experts.{expert}.{name}.weight"] = shape
    ran = run("params", folder(tmp_path, shapes, config), "--check", "-f", "json")
    found = json.loads(ran.out)["result"]
    assert found["checkpoint"]["ok"], found["checkpoint"]["differences"]
    assert found["checkpoint"]["parameters"] == found["value"] == sum(int(np.prod(shape)) for shape in shapes.values()) - 3200
    del shapes["model.layers.1.mlp.experts.2.up_proj.weight"]
    found = json.loads(run("params", folder(tmp_path, shapes, config), "--check", "-f", "json").out)["result"]["checkpoint"]
    assert [one["tensor"] for one in found["differences"]] == ["layers.1.mlp.experts.2.up_proj.weight"]


def _index(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    file = path / "model.safetensors.index.json"
    places = json.loads(file.read_text())
    change(places)
    file.write_text(json.dumps(places))


def _cut(size: int) -> Callable[[Path], None]:
    def cut(path: Path) -> None:
        file = path / "model-00001-of-00002.safetensors"
        file.write_bytes(file.read_bytes()[:size])

    return cut


def _header(data: bytes) -> Callable[[Path], object]:
    return lambda path: (path / "model-00002-of-00002.safetensors").write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_cut(0), "cut"),
        (_cut(5), "cut"),
        (_cut(300), "cut"),
        (_cut(5000), "cut"),
        (_header((2**62).to_bytes(8, "little") + b"{}"), "too large"),
        (_header((10**9).to_bytes(8, "little") + b"{" * 64), "cut or no safetensors"),
        (_header((64).to_bytes(8, "little") + b"[" * 64), "cut or no safetensors"),
        (_header(b"GGUF" + bytes(64)), "cut or no safetensors"),
        (lambda path: (path / "model-00002-of-00002.safetensors").unlink(), "names model-00002-of-00002.safetensors, which is not"),
        (lambda path: _index(path, lambda found: found.clear()), "weight_map"),
        (lambda path: _index(path, lambda found: found["weight_map"].update(x="../../x.safetensors")), "beside it"),
        (lambda path: _index(path, lambda found: found["weight_map"].update(x=3)), "beside it"),
        (lambda path: _index(path, lambda found: found["weight_map"].update(x="model-00001-of-00002.safetensors")), "'x' is in"),
        (lambda path: _index(path, lambda found: found["weight_map"].pop("lm_head.weight")), "does not name tensor 'lm_head.weight'"),
        (lambda path: (path / "model.safetensors.index.json").write_text("{"), "not valid JSON"),
    ],
)
def test_files_that_cannot_be_read_are_one_line(
    spoil: Callable[[Path], object], said: str, run: Callable[..., Any], tmp_path: Path
) -> None:
    spoil(in_shards(tmp_path))
    ran = run("params", tmp_path, "--check")
    assert ran.code == 2
    assert said in ran.err
    assert ran.err.startswith("error: ")
    assert len([line for line in ran.err.splitlines() if not line.startswith("hint: ")]) == 1


def test_a_packed_file_is_compared_by_its_bytes(run: Callable[..., Any], tmp_path: Path) -> None:
    """Blocks of 128 x 128 in 8 bits with fp32 scales: each of these matrices is one block, or two."""
    config = CONFIG | {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    tensors: dict[str, Any] = {}
    for name, shape in SHAPES.items():
        packed = "_proj" in name
        tensors[name] = np.zeros(shape, np.uint8 if packed else np.float16)
        if packed:
            tensors[name.replace(".weight", ".weight_scale_inv")] = np.zeros((1, 1), np.float32)
    save_file(tensors, tmp_path / "model.safetensors")
    found = json.loads(run("params", tmp_path, "--check", "-f", "json").out)["result"]["checkpoint"]
    assert found["bytes"] == found["predicted_bytes"] == sum(array.nbytes for array in tensors.values())
    assert (found["ok"], found["packed"]) == (True, 14)
