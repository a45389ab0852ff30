"""Pictures in memory and in serving: their tokens by the wrapper's rule, their tower's time, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

import gptcalc as gc

QWEN3_VL: dict[str, Any] = {
    "model_type": "qwen3_vl",
    "tie_word_embeddings": False,
    "text_config": {
        **{"model_type": "qwen3_vl_text", "hidden_size": 4096, "num_hidden_layers": 36, "num_attention_heads": 32},
        **{"num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 12288, "vocab_size": 151936},
    },
    "vision_config": {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16, "out_hidden_size": 4096},
}
"""Qwen/Qwen3-VL-8B-Instruct, config.json, by its sizes."""


@pytest.mark.parametrize(
    ("config", "size", "tokens"),
    [
        (QWEN3_VL, "1024x1024", 961),  # 31 x 31 of 32 pixels: the class's area ends at 28 * 28 * 1280
        (QWEN3_VL, "640x480", 300),
        ({"model_type": "gemma3"}, "3000x2000", 256),
        ({"model_type": "llava"}, "100x100", 576),  # (336 / 14) squared
        ({"model_type": "internvl"}, "448x448", 258),
        ({"model_type": "qwen2_5_vl"}, "56x56", 4),
    ],
)
def test_tokens_of_a_picture(config: dict[str, Any], size: str, tokens: int) -> None:
    text = gc.memory(config, mode="inference", seq=100).to_dict()
    seen = gc.memory(config, mode="inference", seq=100, images=3, image_size=size)
    assert seen.inputs["image_tokens"] == 3 * tokens
    assert seen.to_dict()["kv_cache_per_sequence"] >= text["kv_cache_per_sequence"]


def test_the_cache_has_room_for_every_token_of_a_picture() -> None:
    found = gc.memory(QWEN3_VL, mode="inference", seq=1000, images=2, image_size="640x480").to_dict()
    assert found["kv_cache"] == (1000 + 600) * 36 * 2 * 8 * 128 * 2


def test_the_tower_is_part_of_the_prefill() -> None:
    """At least its own arithmetic: 27 layers of 12 matrices' worth of 1152 x 1152 and 4304, at an H100's 989.4 TFLOP/s."""
    plain = gc.infer(QWEN3_VL, device="h100-80gb", prompt=400, output=2)
    seen = gc.infer(QWEN3_VL, device="h100-80gb", prompt=100, output=2, images=1, image_size="640x480")
    of_tower = sum(one["time"] for one in seen.to_dict()["operations"]["prefill"] if one["operation"].startswith("vision tower"))
    patches = 4 * 300
    least = 2 * patches * 27 * (4 * 1152**2 + 2 * 1152 * 4304) / 989.4e12
    assert least < of_tower < 20 * least
    assert seen.point.prefill_time == pytest.approx(plain.point.prefill_time + of_tower, rel=0.15)
    assert seen.point.per_token == plain.point.per_token
    assert "towers of images" in seen.certainty.text
    assert seen.request.inputs["image_tokens"] == 300


def test_the_command_line(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(QWEN3_VL))
    ran = run("infer", path, "--images", "2", "--image-size", "640x480")
    assert ran.code == 0
    assert "600 of them of 2 pictures" in " ".join(ran.out.split())
    ran = run("memory", path, "--mode", "inference", "--images", "2", "-f", "json")
    assert json.loads(ran.out)["inputs"]["image_tokens"] == 2 * 961


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["gpt2", "--images", "1"], "no tower"),
        (["qwen.json", "--image-size", "1x1"], "without pictures"),
        (["qwen.json", "--images", "1", "--image-size", "big"], "no size of a picture"),
        (["qwen.json", "--images", "1", "--image-size", "0x4"], "no size of a picture"),
        (["qwen.json", "--images", "1", "--image-size", "5000x10"], "200 times"),
        (["qwen.json", "--images", "0"], "0"),
        (["aria.json", "--images", "1"], "is not known"),
        (["qwen.json", "--images", "1", "--server", "vllm"], "under load"),
    ],
)
def test_pictures_that_cannot_be_counted_are_refused(arguments: list[str], says: str, run: Any, tmp_path: Path) -> None:
    (tmp_path / "qwen.json").write_text(json.dumps(QWEN3_VL))
    (tmp_path / "aria.json").write_text(json.dumps({"model_type": "cohere2_vision"}))
    name, *rest = arguments
    model = str(tmp_path / name) if name.endswith(".json") else name
    ran = run("infer", model, *rest)
    assert ran.code == 2
    assert says in ran.err
    assert ran.err.count("\n") <= 2
