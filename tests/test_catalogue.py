"""Presets: every published total comes out, names are found however they are written, and nothing else is read."""

from pathlib import Path

import pytest

from gptcalc.errors import GptcalcError
from gptcalc.spec import catalogue
from gptcalc.spec.entries import family_models, folded
from gptcalc.spec.files import load_model
from gptcalc.spec.model import Published
from gptcalc.spec.reading import read_text, read_yaml
from gptcalc.table.params import params, views

BUNDLED = sorted((catalogue.bundled_folder() / "models").glob("*.yaml"))

EXACT = {  # model.parameters() of the real models
    "gpt1": 116_534_784,
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "gpt3-1.3b": 1_315_723_264,
    "gpt3-13b": 12_853_386_240,
    "gpt3-175b": 174_604_259_328,
    "opt-350m": 331_196_416,
    "llama1-65b": 65_285_660_672,
    "llama2-7b": 6_738_415_616,
    "llama2-70b": 68_976_648_192,
    "llama3.1-405b": 405_853_388_800,
    "llama3.2-1b": 1_235_814_400,
    "tinyllama-1.1b": 1_100_048_384,
    "mistral-7b": 7_241_732_096,
    "pythia-6.9b": 6_857_302_016,
    "gptj-6b": 6_050_882_784,
    "gpt-neox-20b": 20_554_567_680,
    # the sums of the safetensors beside each model
    "granite-3.1-2b": 2_533_525_504,
    "granite-3.1-2b-instruct": 2_533_531_648,
    "granite-3.1-8b": 8_170_835_968,
    "granite-3.1-1b-a400m": 1_334_625_280,
    "granite-3.1-3b-a800m": 3_298_788_864,
    "granite-3.3-8b-instruct": 8_170_864_640,
    "codellama-7b": 6_738_546_688,
    "codellama-34b": 33_743_970_304,
    "mixtral-8x22b-instruct": 140_630_071_296,
    "qwen3-coder-480b-a35b": 480_154_875_392,
    "deepseek-r1-distill-qwen-1.5b": 1_777_088_000,
    "deepseek-moe-16b": 16_375_728_128,
    "olmo3-7b": 7_298_011_136,
    "olmo3-32b": 32_233_522_176,
    "apertus-70b": 70_599_864_480,
    "ernie-4.5-300b-a47b": 299_484_163_264,
    "phi-4-mini": 3_836_021_760,
}


@pytest.mark.parametrize(("name", "total"), EXACT.items())
def test_exact_totals(name: str, total: int) -> None:
    assert params(catalogue.find(name)).value == total


PUBLISHED = [(spec.name, row) for spec in catalogue.all_models() for row in spec.published if row.quantity == "parameters"]


@pytest.mark.parametrize(("name", "row"), PUBLISHED)
def test_published_totals_come_out(name: str, row: Published) -> None:
    total = params(catalogue.find(name)).value
    assert abs(total - row.value) <= row.tolerance * row.value


@pytest.mark.parametrize("row", [row for _, row in PUBLISHED if row.tolerance > 0.05])
def test_a_wide_tolerance_says_why(row: Published) -> None:
    one_digit = len(str(row.value).rstrip("0")) == 1
    assert row.note or one_digit


def test_every_model_has_its_source_and_a_published_total() -> None:
    for spec in catalogue.all_models():
        assert spec.source
        assert spec.published
        assert all(row.source for row in spec.published)


def test_notes_of_a_family_follow_those_of_its_model() -> None:
    data = {"shared": {"notes": ["of all"]}, "models": {"a": {"notes": ["of a"]}, "b": {}}}
    notes = [model["notes"] for model in family_models(data, "mine.yaml", default_name="mine")]
    assert notes == [["of a", "of all"], ["of all"]]


def test_a_model_may_be_like_another_of_its_file() -> None:
    base = {"aliases": ["a0"], "d_model": 64, "n_ctx": 128}
    found = family_models({"models": {"a": base, "b": {"like": "a", "n_ctx": 256}}}, "mine.yaml", default_name="mine")
    assert found[1] == {"name": "b", "aliases": (), "d_model": 64, "n_ctx": 256}
    for other in ("c", "b", 3, None):  # unknown, itself, no name
        with pytest.raises(GptcalcError, match=r"no model .* to be like"):
            family_models({"models": {"a": base, "b": {"like": other}}}, "mine.yaml", default_name="mine")


def test_a_published_total_names_its_paper() -> None:
    assert not [spec.name for spec in catalogue.all_models() for row in spec.published if row.source.startswith(("Table", "Section"))]


@pytest.mark.parametrize(
    ("name", "positions", "vocabulary"),
    [  # max_position_embeddings and vocab_size of their config.json
        ("Qwen/Qwen2.5-7B", 131072, 152064),
        ("Qwen/Qwen2.5-7B-Instruct", 32768, 152064),
        ("Qwen/Qwen2-1.5B-Instruct", 32768, 151936),
        ("Qwen/QwQ-32B", 40960, 152064),
        ("Qwen/Qwen3-8B-Base", 32768, 151936),
        ("Qwen/Qwen3-30B-A3B-Thinking-2507", 262144, 151936),
        ("zai-org/glm-4-9b-hf", 8192, 151552),
        ("zai-org/glm-4-9b-chat-hf", 131072, 151552),
        ("zai-org/GLM-4.7", 202752, 151552),
        ("CohereLabs/c4ai-command-r7b-12-2024", 132096, 256000),
        ("ibm-granite/granite-3.1-8b-base", 131072, 49152),
        ("ibm-granite/granite-3.3-2b-instruct", 131072, 49159),
        ("codellama/CodeLlama-7b-Instruct-hf", 16384, 32016),
        ("codellama/CodeLlama-7b-Python-hf", 16384, 32000),
        ("HuggingFaceTB/SmolLM-135M-Instruct", 2048, 49152),
        ("MiniMaxAI/MiniMax-M2.5", 196608, 200064),
        ("MiniMaxAI/MiniMax-M2.7", 204800, 200064),
        ("moonshotai/Kimi-K2-Instruct-0905", 262144, 163840),
        ("microsoft/Phi-4-reasoning", 32768, 100352),
        ("mistralai/Mixtral-8x22B-Instruct-v0.1", 65536, 32768),
    ],
)
def test_what_a_repository_is_called_has_its_shape(name: str, positions: int, vocabulary: int) -> None:
    assert (catalogue.find(name).n_ctx, catalogue.find(name).vocab_size) == (positions, vocabulary)


def test_published_active_parameters_come_out() -> None:
    """Of every model with experts whose card prints them; a wide tolerance says which tensors the card leaves out."""
    rows = [(spec, row) for spec in catalogue.all_models() for row in spec.published if row.quantity == "active"]
    assert len(rows) > 25
    for spec, row in rows:
        assert abs(views(params(spec), spec)["active"] - row.value) <= row.tolerance * row.value
        assert row.note or row.tolerance < 0.02


def test_the_sequence_trained_with_is_no_longer_than_the_longest() -> None:
    known = {spec.name: (spec.training_seq, spec.n_ctx) for spec in catalogue.all_models() if spec.training_seq}
    assert known["deepseek-v3"] == (4096, 163840)
    assert known["llama3.1-8b"] == (8192, 131072)
    assert all(trained <= longest for trained, longest in known.values())


def test_misprints_are_told() -> None:
    notes = {name: " ".join(catalogue.find(name).notes) for name in ("gpt2", "gpt3-1.3b", "gpt3-13b", "gpt3-175b")}
    assert "117M" in notes["gpt2"]
    assert "24 heads" in notes["gpt3-1.3b"]
    assert "5140" in notes["gpt3-13b"]
    assert "sparse" in notes["gpt3-175b"]


# --- Names ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("gpt3", "gpt3-175b"),
        ("GPT-3", "gpt3-175b"),
        ("davinci", "gpt3-175b"),
        ("gpt3_small", "gpt3-125m"),
        (" GPT2 XL ", "gpt2-xl"),
        ("openai-community/gpt2", "gpt2"),
        ("meta-llama/Llama-2-7b-hf", "llama2-7b"),
        ("llama2", "llama2-7b"),
        ("gpt", "gpt1"),
        ("openai-gpt", "gpt1"),
        ("mistralai/Mistral-7B-v0.1", "mistral-7b"),
        ("EleutherAI/pythia-70m-deduped", "pythia-70m"),
        ("meta-llama/Llama-3.3-70B-Instruct", "llama3.1-70b"),
        ("llama-3.3-70b-instruct", "llama3.1-70b"),
        ("glm-4.6", "glm-4.6"),
        ("deepseek-v3.1", "deepseek-v3"),
        ("qwen3-coder-480b-a35b", "qwen3-coder-480b-a35b"),
        ("qwen3-4b-instruct-2507", "qwen3-4b-2507"),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5-7b-instruct"),
        ("CohereForAI/c4ai-command-r-v01", "command-r"),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "llama3.1-8b"),
    ],
)
def test_aliases(written: str, name: str) -> None:
    assert catalogue.find(written).name == name
    assert load_model(written).name == name


def test_names_agree_with_the_parsed_files() -> None:
    """`names` reads the bundled files with a pattern, which must see what the parser sees."""
    assert catalogue.names() == [spec.name for spec in catalogue.all_models()]


def test_no_name_is_given_twice() -> None:
    words = [word for name, other in catalogue.aliases().items() for word in (name, *other)]
    assert len({folded(word) for word in words}) == len(words)


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.stem)
def test_bundled_files_are_plain_yaml(path: Path) -> None:
    read_yaml(read_text(path), path.name)


def test_a_suggestion_is_of_the_same_family() -> None:
    """As strings, models of other families and sizes are often nearer."""
    for name in ("qwen3-4b-instruct-2506", "Qwen/Qwen3-8B-Chat", "llama3.1-80b", "gemma3-28b"):
        hint = catalogue.unknown(name).hint or ""
        suggested = hint.split("'")[1::2]
        assert all(word.rpartition("/")[2].startswith(name.lower().rpartition("/")[2].split("-")[0]) for word in suggested if "-" in word)


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(GptcalcError, match="no model named 'gpt3-17b'") as caught:
        catalogue.find("gpt3-17b")
    assert caught.value.hint == "did you mean 'gpt3-175b'?"


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4",
        "GPT4",
        "gpt-4o-mini",
        "gpt-4-turbo",
        "gpt-3.5-turbo",
        "chatgpt",
        "gpt-5",
        "o1",
        "o1-mini",
        "claude-3-opus",
        "gemini-1.5-pro",
    ],
)
def test_undisclosed_models_get_that_answer(name: str) -> None:
    with pytest.raises(GptcalcError, match="undisclosed") as caught:
        load_model(name)
    assert caught.value.hint is not None
    catalogue.find(caught.value.hint.split("'")[1])


@pytest.mark.parametrize(
    "name",
    ["", " ", "../gpt2", "../models/gpt2", "/etc/passwd", "models/gpt2.yaml", "gpt2.yaml", ".", "x" * 5000, "a\0b", "\ud800", "gpt2\n"],
)
def test_names_are_never_paths(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(catalogue.bundled_folder() / "models")
    if name == "gpt2\n":  # white space around a name is no part of it
        assert catalogue.find(name).name == "gpt2"
        return
    with pytest.raises(GptcalcError) as caught:
        catalogue.find(name)
    assert "\n" not in str(caught.value)


# --- The user's own presets ----------------------------------------------------------------------------------------------------

FAMILY = """
family: Mine
shared: {n_ctx: 128, vocab_size: 256}
models:
  mine-small: {aliases: [Mine], n_layer: 2, d_model: 64, n_head: 4}
  mine-large: {n_layer: 4, d_model: 128, n_head: 8}
"""
FLAT = "name: flat\nn_layer: 2\nd_model: 64\nn_head: 4\nvocab_size: 256\nn_ctx: 128\n"


@pytest.fixture
def presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GPTCALC_PRESETS", str(tmp_path))
    return tmp_path


def test_user_presets(presets: Path) -> None:
    (presets / "mine.yaml").write_text(FAMILY)
    (presets / "models").mkdir()
    (presets / "models" / "flat.yml").write_text(FLAT)
    assert catalogue.find("MINE").name == "mine-small"
    assert load_model("mine_large").n_layer == 4
    assert load_model("flat").d_model == 64
    assert {"mine-small", "mine-large", "flat"} <= set(catalogue.names())


def test_config_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import platformdirs

    monkeypatch.setattr(platformdirs, "user_config_path", lambda name: tmp_path / name)
    (tmp_path / "gptcalc" / "presets").mkdir(parents=True)
    (tmp_path / "gptcalc" / "presets" / "flat.yaml").write_text(FLAT)
    assert catalogue.find("flat").d_model == 64


def test_other_kinds_of_presets_may_lie_beside_models(presets: Path) -> None:
    (presets / "device.yaml").write_text("devices: {my-gpu: {memory: 80GiB}}\n")
    assert "my-gpu" not in catalogue.names()
    assert catalogue.all_models()


def test_broken_user_preset_is_named_and_hides_nothing(presets: Path) -> None:
    path = presets / "broken.yaml"
    path.write_text("models: [broken\n")
    with pytest.raises(GptcalcError, match=r"broken\.yaml"):
        catalogue.all_models()
    assert catalogue.find("gpt2").name == "gpt2"
    assert "gpt2" in catalogue.names()
    with pytest.raises(GptcalcError, match="no model named 'gpt3-17b'"):
        catalogue.find("gpt3-17b")
    path.write_text(FAMILY.replace("n_layer: 2", "n_layers: 2"))
    with pytest.raises(GptcalcError, match=r"broken\.yaml: mine-small: unknown field 'n_layers'"):
        catalogue.find("mine-small")
    with pytest.raises(GptcalcError, match=r"broken\.yaml: unknown field 'n_layers'"):
        load_model("mine-small")


def test_a_taken_name_is_an_error(presets: Path) -> None:
    (presets / "mine.yaml").write_text(FLAT.replace("flat", "GPT_2"))
    with pytest.raises(GptcalcError, match="taken already"):
        catalogue.all_models()


def test_missing_preset_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTCALC_PRESETS", "/nonexistent/presets")
    with pytest.raises(GptcalcError, match="GPTCALC_PRESETS names /nonexistent/presets"):
        catalogue.find("my-own")
