"""Files of models around a language model: what the outer file says holds for the language model, and what is left out is said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gptcalc.errors import GptcalcError
from gptcalc.footprint.quantized import stored_bytes
from gptcalc.spec.files import load_model
from gptcalc.spec.huggingface import FAMILIES
from gptcalc.spec.huggingface.wrappers import WRAPPERS
from gptcalc.table.params import params

DEPLOYED: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "deployed.json").read_text())["files"]


@pytest.mark.parametrize("name", DEPLOYED)
def test_files_as_deployed(name: str) -> None:
    spec = load_model(DEPLOYED[name]["config"])
    assert params(spec).value == DEPLOYED[name]["parameters"]
    assert bool(spec.left_out) == ("text_config" in DEPLOYED[name]["config"])


def test_the_outer_file_says_how_the_language_model_is_stored() -> None:
    """Devstral Small 2: the blocks' 22.23 B weights at 8 bits, embedding and head of 5,120 x 131,072 in 16."""
    total = stored_bytes(load_model(DEPLOYED["devstral-small-2-24b"]["config"])).value
    weights, outside = 22_230_220_800 - 2 * 40 * 5120, 2 * 5120 * 131072
    assert weights + 2 * outside <= total <= 1.001 * (weights + 2 * outside)


SMALL = {
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "num_hidden_layers": 2,
    "intermediate_size": 128,
    "vocab_size": 1000,
}


@pytest.mark.parametrize(
    ("model_type", "outer", "inner", "tied"),
    [
        # Seen in the classes of transformers 5.24, built with each pair.
        ("llava_next", None, True, False),
        ("llava_next", True, False, True),
        ("mistral3", None, False, True),
        ("mistral3", False, True, False),
        ("internvl", None, False, True),
        ("llava", None, True, True),
        ("llava", False, True, True),
        ("llava", True, False, True),
        ("llava", None, None, False),
        ("vibevoice", True, False, False),
        ("vibevoice", False, True, True),
        ("qwen2_audio", True, True, False),
        ("perception_lm", None, True, True),
        ("perception_lm", False, True, False),
    ],
)
def test_who_ties(model_type: str, outer: bool | None, inner: bool | None, tied: bool) -> None:
    text = SMALL | ({} if inner is None else {"tie_word_embeddings": inner})
    config = {"model_type": model_type, "text_config": text} | ({} if outer is None else {"tie_word_embeddings": outer})
    assert load_model(config).tied is tied


def test_absent_is_not_empty() -> None:
    """LLaVA's Mistral 3: the class's own start is 40 layers 5,120 wide; of a part that is given, Mistral's 32 of 4,096."""
    absent, empty = load_model({"model_type": "mistral3"}), load_model({"model_type": "mistral3", "text_config": {}})
    assert (absent.n_layer, absent.d_model, absent.d_head) == (40, 5120, 128)
    assert (empty.n_layer, empty.d_model) == (32, 4096)


def test_keys_beside_the_wrappers_own() -> None:
    """The first files of Qwen 2 VL: 7,615,616,512 parameters in the language model of the 7B."""
    config = {
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "max_window_layers": 28,
        "model_type": "qwen2_vl",
        "num_attention_heads": 28,
        "num_hidden_layers": 28,
        "num_key_value_heads": 4,
        "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
        "vision_config": {"depth": 32, "embed_dim": 1280},
        "vision_token_id": 151654,
        "vocab_size": 152064,
    }
    spec = load_model(config)
    assert (params(spec).value, spec.unread) == (7_615_616_512, ())


def test_a_model_within_a_model_within_a_model() -> None:
    text = SMALL | {"num_key_value_heads": 2}
    spec = load_model({"model_type": "qwen2_5_omni", "thinker_config": {"text_config": text, "audio_config": {}}})
    assert (spec.n_layer, spec.tied) == (2, False)
    assert [entry.partition(" ")[0] for entry in spec.left_out] == ["talker_config", "token2wav_config", "vision_config", "audio_config"]


def test_a_head_of_the_outer_files_sizes() -> None:
    config = {"model_type": "ovis2", "tie_word_embeddings": False, "text_config": SMALL, "hidden_size": 64, "vocab_size": 1000}
    assert params(load_model(config)).value == params(load_model(SMALL | {"model_type": "qwen2"})).value
    with pytest.raises(GptcalcError, match="vocab_size"):
        load_model(config | {"vocab_size": 999})


@pytest.mark.parametrize("model_type", sorted(name for name, wrapper in WRAPPERS.items() if wrapper.text not in FAMILIES))
def test_a_language_model_that_is_not_known_is_named(model_type: str) -> None:
    if WRAPPERS[model_type].text in WRAPPERS:
        return
    with pytest.raises(GptcalcError, match=WRAPPERS[model_type].text):
        load_model({"model_type": model_type})


def test_what_is_left_out_is_said(run: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    config = DEPLOYED["qwen3-vl-8b"]["config"]
    path.write_text(json.dumps(config | {"text_config": config["text_config"] | {"x": float("inf")}}))
    told = json.loads(run("params", str(path), "--format", "json").out)
    assert told["inputs"]["left_out"] == told["result"]["left_out"] == ["vision_config (qwen3_vl)"]
    assert told["inputs"]["unread"] == told["result"]["unread"] == ["x"]
    read = json.loads(run("import", str(path), "--format", "json").out)["result"]
    assert (read["left_out"], read["unread"]) == (["vision_config (qwen3_vl)"], ["x"])
    for command in (["params"], ["flops", "--seq", "128"], ["memory", "--mode", "inference", "--seq", "128"]):
        lines = run(command[0], str(path), *command[1:]).out.splitlines()
        assert "left out: vision_config" in lines[0]
        assert any(line.startswith("note: keys that the model's class does not read") and line.endswith(": x") for line in lines)


def test_what_is_left_out_is_said_of_each_of_several_models(run: Callable[..., Any], tmp_path: Path) -> None:
    """In the words of each format; CSV has cells alone, and its notes go where all that is no data goes."""
    path = tmp_path / "llava.json"
    config = {"model_type": "llava", "text_config": SMALL | {"model_type": "llama", "x": 1}}
    path.write_text(json.dumps(config))
    notes = ["note: llava: the language model alone; left out of the file: vision_config (clip_vision_model)"]
    notes += ["note: llava: keys that the model's class does not read, so they change nothing: x"]
    for command in (["compare", "gpt2", str(path)], ["verify", str(path)]):
        told = json.loads(run(*command, "--format", "json").out)["inputs"]["files"]
        assert [(one["left_out"], one["unread"]) for one in told] == [(["vision_config (clip_vision_model)"], ["x"])]
        for form in ("table", "markdown"):
            assert [line.strip() for line in run(*command, "--format", form).out.splitlines() if line.startswith("note: llava")] == notes
        ran = run(*command, "--format", "csv")
        assert ran.err.splitlines() == notes
        assert "note" not in ran.out
    assert "files" not in json.loads(run("compare", "gpt2", "--format", "json").out)["inputs"]


def test_a_class_by_the_name_that_files_have() -> None:
    """Qwen2.5-Omni was published before its class had its name in transformers."""
    thinker = {"architectures": ["Qwen2OmniNaViTThinkerForConditionalGeneration"], "model_type": "qwen2_5_omni_thinker"}
    thinker["text_config"] = {"hidden_size": 3584, "num_attention_heads": 28, "num_key_value_heads": 4}  # type: ignore[assignment]
    config = {"model_type": "qwen2_5_omni", "architectures": ["Qwen2_5OmniModel"], "thinker_config": thinker}
    assert params(load_model(config)).value == 7_615_616_512
