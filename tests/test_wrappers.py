"""Files of models around a language model: what the outer file says holds for the language model, and what is left out is said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gptcalc import memory
from gptcalc.errors import GptcalcError
from gptcalc.footprint.quantized import stored_bytes
from gptcalc.run.verify import counted_parameters
from gptcalc.spec.files import load_model
from gptcalc.spec.huggingface import FAMILIES
from gptcalc.spec.huggingface.wrappers import WRAPPERS
from gptcalc.table.flops import flops
from gptcalc.table.params import language_model, params

DEPLOYED: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "deployed.json").read_text())["files"]


@pytest.mark.parametrize("name", DEPLOYED)
def test_files_as_deployed(name: str) -> None:
    spec = load_model(DEPLOYED[name]["config"])
    assert language_model(spec).value == DEPLOYED[name]["parameters"]
    assert bool(spec.left_out or spec.towers) == ("text_config" in DEPLOYED[name]["config"])


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
    assert (language_model(spec).value, spec.unread) == (7_615_616_512, ())


def test_a_model_within_a_model_within_a_model() -> None:
    text = SMALL | {"num_key_value_heads": 2}
    spec = load_model({"model_type": "qwen2_5_omni", "thinker_config": {"text_config": text, "audio_config": {}}})
    assert (spec.n_layer, spec.tied) == (2, False)
    assert [entry.partition(" ")[0] for entry in spec.left_out] == ["talker_config", "token2wav_config", "vision_config", "audio_config"]


def test_a_head_of_the_outer_files_sizes() -> None:
    config = {"model_type": "ovis2", "tie_word_embeddings": False, "text_config": SMALL, "hidden_size": 64, "vocab_size": 1000}
    assert language_model(load_model(config)).value == params(load_model(SMALL | {"model_type": "qwen2"})).value
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
    config = {"model_type": "fast_vlm", "text_config": SMALL | {"x": float("inf")}}
    path.write_text(json.dumps(config))
    told = json.loads(run("params", str(path), "--format", "json").out)
    assert told["inputs"]["left_out"] == told["result"]["left_out"] == ["vision_config (timm_wrapper)"]
    assert told["inputs"]["unread"] == told["result"]["unread"] == ["x"]
    read = json.loads(run("import", str(path), "--format", "json").out)["result"]
    assert (read["left_out"], read["unread"]) == (["vision_config (timm_wrapper)"], ["x"])
    for command in (["params"], ["flops", "--seq", "128"], ["memory", "--mode", "inference", "--seq", "128"]):
        lines = run(command[0], str(path), *command[1:]).out.splitlines()
        assert "left out: vision_config" in lines[0]
        assert any(line.startswith("note: keys that the model's class does not read") and line.endswith(": x") for line in lines)


def test_what_is_left_out_is_said_of_each_of_several_models(run: Callable[..., Any], tmp_path: Path) -> None:
    """In the words of each format; CSV has cells alone, and its notes go where all that is no data goes."""
    path = tmp_path / "llava.json"
    config = {"model_type": "llava", "text_config": SMALL | {"model_type": "llama", "x": 1}}
    path.write_text(json.dumps(config))
    notes = ["note: llava: the language model alone; left out of the file: vision tower (clip_vision_model), projector (llava)"]
    notes += ["note: llava: keys that the model's class does not read, so they change nothing: x"]
    for command in (["compare", "gpt2", str(path)], ["verify", str(path)]):
        told = json.loads(run(*command, "--format", "json").out)["inputs"]["files"]
        assert [(one["left_out"], one["unread"]) for one in told] == [(["vision tower (clip_vision_model)", "projector (llava)"], ["x"])]
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


@pytest.mark.parametrize(
    ("vision", "tower"),
    [
        # Of the published files of the 2B, the 4B, the 32B and the 8B (github.com/QwenLM/Qwen3-VL), built by transformers 5.24.
        ({"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "out_hidden_size": 2048}, 406_957_056),
        ({"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "out_hidden_size": 2560}, 415_347_712),
        ({"out_hidden_size": 5120}, 595_266_800),
        ({"out_hidden_size": 4096}, 576_388_336),
    ],
)
def test_a_tower_is_beside_the_language_model(vision: dict[str, Any], tower: int, run: Callable[..., Any], tmp_path: Path) -> None:
    """Qwen3-VL: of the 8B, 8,190,735,360 of 8,767,123,696 parameters are the language model's."""
    deepstack = {"deepstack_visual_indexes": [5, 11, 17]} if "depth" in vision else {}
    config = DEPLOYED["qwen3-vl-8b"]["config"] | {"vision_config": vision | deepstack}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    told = json.loads(run("params", path, "--format", "json").out)
    found = told["result"]
    assert (found["language_model"], found["value"]) == (8_190_735_360, 8_190_735_360 + tower)
    assert {part["name"]: part["value"] for part in found["parts"]}["vision tower"] == tower
    assert found["left_out"] == told["inputs"]["left_out"] == []
    first = run("params", path).out.splitlines()[0]
    assert f"{8_190_735_360 + tower:,} parameters" in first
    assert f"language model 8,190,735,360, vision tower {tower:,}" in first


def test_a_tower_stands_in_memory_and_not_in_the_arithmetic() -> None:
    config = {"model_type": "llava", "text_config": SMALL | {"model_type": "llama"}}
    alone, whole = load_model(SMALL | {"model_type": "llama"}), load_model(config)
    towers = 303_507_456 + 1024 * 64 + 64 + 64 * 64 + 64  # CLIP's large tower at 336 pixels, and two matrices with biases
    assert params(whole).value - params(alone).value == towers
    weights = [memory(one, mode="inference", seq=64).to_dict()["weights"] for one in (alone, whole)]
    assert weights[1] - weights[0] == 2 * towers
    assert flops(whole).value == flops(alone).value
    assert counted_parameters(whole) == counted_parameters(alone)


@pytest.mark.parametrize(
    ("vision", "said"),
    [
        ({"model_type": "vit"}, "'vit' is not one that gptcalc knows"),
        ({"hidden_size": -3}, "hidden_size must be a whole number"),
        ({"hidden_size": 1.5}, "hidden_size must be a whole number"),
        ({"num_hidden_layers": True}, "num_hidden_layers must be a whole number"),
        ({"patch_size": 2**70}, "patch_size must be"),
        ([], "vision_config must be a mapping"),
    ],
)
def test_a_tower_that_is_not_known_is_left_out_and_said(vision: Any, said: str) -> None:
    spec = load_model({"model_type": "llava", "text_config": SMALL | {"model_type": "llama"}, "vision_config": vision})
    assert spec.towers == ()
    assert spec.left_out
    assert "left out: vision_config" in spec.name
    assert any(said in note for note in spec.notes)
    assert params(spec).value == language_model(spec).value


def test_a_tower_in_a_preset() -> None:
    fields = {"name": "mine", "n_layer": 2, "d_model": 8, "n_head": 2, "vocab_size": 16, "n_ctx": 4}
    tower = {"name": "vision tower", "kind": "own", "tensors": {"patches/weight": [1, 12, 8], "layers/mlp/up/weight": [3, 8, 32]}}
    alone, whole = load_model(fields), load_model(fields | {"towers": [tower]})
    assert params(whole).value - params(alone).value == 12 * 8 + 3 * 8 * 32
    assert params(whole, n_layer=[1, 2]).value.tolist()[1] == params(whole).value
    for bad in ({"name": "head"}, {"name": "a/b"}, {"tensors": {"x": [1]}}, {"tensors": {"x": [0, 3]}}, {"tensors": {"x": [1, 2**60]}}):
        with pytest.raises(GptcalcError):
            load_model(fields | {"towers": [tower | bad]})


def test_a_width_that_towers_share_is_not_changed_alone() -> None:
    config = {"model_type": "qwen3_vl", "text_config": {"hidden_size": 4096}, "vision_config": {"out_hidden_size": 4096}}
    assert load_model(config).towers
    with pytest.raises(ValueError, match="width of the projectors"):
        load_model(config, {"d_model": 2048})
    assert load_model(config, {"n_layer": 3}).n_layer == 3


def test_a_tower_whose_sizes_are_not_in_the_file_is_left_out(run: Callable[..., Any], tmp_path: Path) -> None:
    """What Llama 4's class would take is of no published tower: the language model alone, and said."""
    path = tmp_path / "config.json"
    text = {"model_type": "llama4_text", "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    text |= {"hidden_size": 64, "intermediate_size": 48, "intermediate_size_mlp": 96, "vocab_size": 100, "num_local_experts": 4}
    path.write_text(json.dumps({"model_type": "llama4", "text_config": text}))
    model = load_model(path)
    assert model.towers == ()
    assert any(name.startswith("vision_config") for name in model.left_out)
    assert "no published tower" in run("params", path).out
    path.write_text(json.dumps({"model_type": "llama4", "text_config": text, "vision_config": {"hidden_size": 32}}))
    assert load_model(path).towers


def test_granite_speech_is_whole() -> None:
    """Its Q-Former reads the width that its own config says, whatever the encoder's is: transformers 5.24's class."""
    assert params(load_model({"model_type": "granite_speech"})).value == 6990441514
