"""`load_model` and the safe reading under it: a model, or one line that names the file; never another exception."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gptcalc as gc
from gptcalc.errors import GptcalcError
from gptcalc.spec.files import load_model
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.reading import LARGEST_FILE, read_json, read_yaml
from gptcalc.table.params import params

SPEC = "n_layer: 2\nd_model: 64\nn_head: 4\nvocab_size: 256\nn_ctx: 128\n"
CONFIG = {"model_type": "gpt2", "n_layer": 2}


def refusal(source: Any, overrides: Any = None) -> GptcalcError:
    with pytest.raises(GptcalcError) as caught:
        load_model(source, overrides)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600
    return caught.value


# --- What a model may be -------------------------------------------------------------------------------------------------------


def test_yaml_spec(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(SPEC)
    assert load_model(str(path)) == load_model(path)
    assert load_model(path).name == "tiny"


def test_config_file_and_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    assert load_model(str(folder)) == load_model(folder / "config.json")
    assert load_model(folder).name == "my-model"
    other = folder / "other.json"
    other.write_text(json.dumps(CONFIG))
    assert load_model(other).name == "other"


def test_paths_relative_to_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.json").write_text(json.dumps(CONFIG))
    Path("tiny.YAML").write_text(SPEC)
    assert load_model(".").name == tmp_path.name
    assert load_model("tiny.YAML").name == "tiny"
    Path("gpt2").mkdir()
    assert load_model("gpt2").n_layer == 12, "a preset's name is the preset, whatever lies here"
    Path("mine").mkdir()
    assert f".{os.sep}mine" in (refusal("mine").hint or "")


def test_family_file_with_one_model(tmp_path: Path) -> None:
    path = tmp_path / "family.yaml"
    one = "models:\n  tiny: {aliases: [t], n_layer: 2, d_model: 64, n_head: 4, vocab_size: 256, n_ctx: 128}\n"
    path.write_text(one)
    assert load_model(path).name == "tiny"
    path.write_text(one + one.splitlines()[1].replace("tiny", "other"))
    assert "holds 2 models (tiny, other)" in str(refusal(path))


def test_mappings() -> None:
    assert load_model(CONFIG).n_layer == 2
    fields = {"name": "mine", "n_layer": 2, "d_model": 64, "n_head": 4, "vocab_size": 256, "n_ctx": 128}
    assert load_model(fields).name == "mine"
    assert load_model(load_model("gpt2").model_dump()) == load_model("gpt2")


@pytest.mark.parametrize("source", [None, 3, 2.5, [], b"gpt2", object()])
def test_other_things_are_refused(source: object) -> None:
    refusal(source)


# --- Overrides -------------------------------------------------------------------------------------------------------------------


def test_overrides_come_before_what_follows_from_them() -> None:
    spec = load_model("gpt2", {"d_model": 1024, "n_head": 16})
    assert params(spec).value == params(load_model("gpt2-medium", {"n_layer": 12})).value


def test_overrides_drop_the_published_totals_and_mark_the_name() -> None:
    spec = load_model("gpt3", {"n_layer": "48", "tied": "false"})
    assert spec.published == ()
    assert spec.name == "gpt3-175b (n_layer=48, tied=false)"
    assert load_model("gpt3", {}).published


def test_override_values_are_read_as_yaml() -> None:
    spec = load_model("mistral-7b", {"sliding_window": "null", "training_tokens": "300B", "tied": "true", "rope_theta": "1e6"})
    assert (spec.sliding_window, spec.training_tokens, spec.tied, spec.rope_theta) == (None, 300 * 10**9, True, 1e6)
    assert load_model("gpt2", {"name": "null"}).name == "null"
    scaled = load_model("llama2", {"rope_scaling": "{rope_type: linear, factor: 2.0}"})
    assert scaled.rope_scaling == {"rope_type": "linear", "factor": 2.0}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"n_layers": "4"}, "unknown field 'n_layers'"),
        ({"n_layer": "1:30"}, "n_layer"),
        ({"n_layer": "many"}, "n_layer"),
        ({"n_layer": "0"}, "n_layer"),
        ({"n_layer": "2.5"}, "n_layer"),
        ({"n_layer": "[1"}, "n_layer"),
        ({"n_layer": "9" * 5000}, "n_layer"),
        ({"n_layer": 10**5000}, "n_layer"),
        ({"n_layer": ""}, "n_layer"),
        ({"tied": "no"}, "tied"),
        ({"n_head": "7"}, "d_model 768 is not a multiple of n_head 7"),
        ({"activation": "swiglu"}, "activation"),
        ({3: "4"}, "unknown field '3'"),
    ],
)
def test_bad_overrides(overrides: Any, said: str) -> None:
    assert said in str(refusal("gpt2", overrides))


def test_unknown_override_names_the_nearest() -> None:
    assert refusal("gpt2", {"n_layers": 4}).hint == "did you mean 'n_layer'?"


# --- Files that are not what they seem -------------------------------------------------------------------------------------------

BAD_YAML: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n\n",
    "only a comment": b"# nothing\n",
    "binary": bytes(range(256)),
    "null bytes": b"n_layer: 2\0",
    "not UTF-8": b"name: \xff\xfe\n",
    "UTF-16": "n_layer: 2".encode("utf-16"),
    "a list": b"- 1\n- 2\n",
    "plain text": b"hello",
    "a number": b"3",
    "not closed": b"{n_layer: 2",
    "two documents": b"a: 1\n---\nb: 2\n",
    "a key given twice": SPEC.encode() + b"n_layer: 3\n",
    "a nested key given twice": SPEC.encode() + b"rope_scaling: {a: 1, a: 2}\n",
    "an alias": b"a: &x [1]\nb: *x\n",
    "an alias bomb": b"a: &a [x,x]\n" + b"".join(b"%c: &%c [*%c,*%c]\n" % (c + 1, c + 1, c, c) for c in range(97, 120)),
    "an alias to itself": b"&x {a: *x}\n",
    "nesting": b"a: " + b"[" * 2000 + b"]" * 2000,
    "nesting in blocks": b"".join(b" " * i + b"a:\n" for i in range(300)),
    "nesting with dashes": b"a:\n" + b"- " * 5000 + b"x",
    "a python object": b"!!python/object/apply:os.system [exit]",
    "an unknown tag": b"!mine {a: 1}",
    "a bad boolean": b"a: !!bool x",
    "a bad timestamp": b"a: !!timestamp x",
    "a bad integer": b"a: !!int ''",
    "a bad float": b"a: !!float x",
    "a bad binary": b"a: !!binary x",
    "bad pairs": b"a: !!omap [1, 2]",
    "a set": b"!!set {a, b}",
    "a huge integer": b"n_layer: " + b"9" * 5000,
    "a date": SPEC.encode() + b"notes: !!timestamp 2001-01-01",
    "an impossible date": SPEC.encode() + b"notes: !!timestamp 2001-99-99",
    "a complex key": b"? [a, b]\n: 1\n",
    "a number as a key": b"1: 2\n",
    "null as a key": b"~: 2\n",
    "a bad merge": b"<<: 3\n",
    "octal": SPEC.replace("n_layer: 2", "n_layer: 0o10").encode(),
    "minutes": SPEC.replace("n_layer: 2", "n_layer: 12:30").encode(),
    "infinity": SPEC.encode() + b"rope_theta: .inf\n",
    "not a number": SPEC.encode() + b"rope_theta: .nan\n",
    "no for false": SPEC.encode() + b"tied: no\n",
    "quoted true": SPEC.encode() + b'tied: "true"\n',
    "a missing field": b"n_layer: 2\n",
    "an unknown field": SPEC.encode() + b"layers: 2\n",
    "models that are a list": b"models: [a]\n",
    "no models": b"models: {}\n",
    "a model that is a list": b"models: {a: [1]}\n",
    "an unknown key beside models": b"models: {a: {n_layer: 1}}\nmodel: 3\n",
    "aliases that are text": SPEC.encode() + b"aliases: x\n",
    "a name that is a number": SPEC.encode() + b"name: 3\n",
    "tabs": b"a:\n\tb: 1\n",
    "control characters": b"a: \x01\n",
}


@pytest.mark.parametrize("data", BAD_YAML.values(), ids=BAD_YAML)
def test_bad_yaml(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(data)
    assert "bad.yaml" in str(refusal(path))


BAD_JSON: dict[str, bytes] = {
    "empty": b"",
    "truncated": b'{"model_type": "gpt2", "n_lay',
    "truncated after a comma": b'{"model_type": "gpt2",',
    "a list": b"[]",
    "null": b"null",
    "a key given twice": b'{"model_type": "gpt2", "n_layer": 2, "n_layer": 3}',
    "a nested key given twice": b'{"model_type": "gpt2", "task_specific_params": {"a": 1, "a": 2}}',
    "NaN": b'{"model_type": "gpt2", "n_layer": NaN}',
    "infinity": b'{"model_type": "gpt2", "layer_norm_epsilon": Infinity}',
    "overflow": b'{"model_type": "gpt2", "layer_norm_epsilon": 1e999}',
    "nesting": b'{"model_type":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a huge integer": b'{"model_type": "gpt2", "n_layer": ' + b"9" * 5000 + b"}",
    "not UTF-8": b'{"model_type": "\xff"}',
    "lone surrogate": b'{"model_type": "\\ud800"}',
    "lone surrogate in a key": b'{"model_type": "gpt2", "\\ud800": 1}',
    "no model type": b'{"n_layer": 2}',
    "a tokenizer": b'{"tokenizer_class": "GPT2Tokenizer", "model_max_length": 1024}',
    "model type is a list": b'{"model_type": ["gpt2"]}',
}


@pytest.mark.parametrize("data", BAD_JSON.values(), ids=BAD_JSON)
def test_bad_json(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(data)
    assert "bad.json" in str(refusal(path))


def test_byte_order_mark_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(CONFIG).encode())
    assert load_model(path).n_layer == 2


def test_large_files_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    with path.open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    assert "4,000,001 bytes" in str(refusal(path))


def test_missing_and_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no such file" in str(refusal(tmp_path / "no.yaml"))
    assert "no such file" in str(refusal(str(tmp_path / "no" / "such")))
    assert "no config.json" in str(refusal(tmp_path))
    assert "no such file" in str(refusal("a\0b.yaml")) or "not a path" in str(refusal("a\0b.yaml"))
    refusal("/" + "x" * 5000 + ".yaml")
    refusal("\ud800.yaml")
    (tmp_path / "model.bin").write_bytes(b"x")
    assert "neither" in str(refusal(tmp_path / "model.bin"))
    (tmp_path / "folder.yaml").mkdir()
    refusal(tmp_path / "folder.yaml")
    closed = tmp_path / "closed.yaml"
    closed.write_text(SPEC)
    closed.chmod(0)
    if not os.access(closed, os.R_OK):
        assert "cannot be read" in str(refusal(closed))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_and_devices_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    assert "not a regular file" in str(refusal(tmp_path / "pipe.yaml"))
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    assert "not a regular file" in str(refusal(tmp_path / "zero.yaml"))
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    refusal(tmp_path / "loop.yaml")


def test_core_schema() -> None:
    text = "{a: no, b: 010, c: 12:30:00, d: 3.14e23, e: 2001-01-01, f: ~, g: true, h: 0x10, i: -3, j: 1_000}"
    read = {"a": "no", "b": 10, "c": "12:30:00", "d": 3.14e23, "e": "2001-01-01", "f": None, "g": True, "h": "0x10", "i": -3, "j": "1_000"}
    assert read_yaml(text, "x") == read


# --- Anything at all ---------------------------------------------------------------------------------------------------------------

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from([10**40, -1, 0, 1, 2, 64, "300B", "gpt2"])
)
values = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)), max_leaves=5
)
FUZZ = settings(max_examples=examples(300), deadline=None, suppress_health_check=list(HealthCheck))


def spec_or_refusal(load: Callable[[], object]) -> None:
    try:
        result = load()
    except GptcalcError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert isinstance(result, ModelSpec)


@FUZZ
@given(st.dictionaries(st.one_of(st.sampled_from(sorted(ModelSpec.model_fields)), st.text(max_size=6)), values, max_size=6))
def test_any_fields(fields: dict[str, object]) -> None:
    spec_or_refusal(lambda: load_model({"n_layer": 2, "d_model": 64, "n_head": 4, "vocab_size": 9, "n_ctx": 9, **fields}))


@FUZZ
@given(st.sampled_from(sorted(ModelSpec.model_fields)), st.one_of(values, st.text(max_size=30)))
def test_any_override(field: str, value: object) -> None:
    spec_or_refusal(lambda: load_model("llama3", {field: value}))


@FUZZ
@given(st.one_of(st.text(), st.text(alphabet="{}[]:,-&*!|>'\"#%@`? \n\ta1~.")))
def test_any_text(text: str) -> None:
    for read in (read_yaml, read_json):
        try:
            assert isinstance(read(text, "x"), dict)
        except GptcalcError as error:
            assert "\n" not in str(error)  # noqa: PT017
    if sys.platform != "win32":
        spec_or_refusal(lambda: load_model(text))


@pytest.mark.parametrize(
    "mapping",
    [
        {},
        {1: 2},
        {None: 2, "model_type": "gpt2"},
        {(1, 2): 3, "models": {}},
        {"models": {"a": {1: 2}}},
        {"models": {1: {}}, "shared": {3: 4}},
    ],
)
def test_odd_mappings(mapping: dict[Any, Any]) -> None:
    refusal(mapping)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", "\ud800", "x" * 501])
def test_names_are_one_printable_line(name: str) -> None:
    assert "name" in str(refusal("gpt2", {"name": name}))


def test_large_files_are_refused_in_no_time(tmp_path: Path) -> None:
    """Under the limit of bytes, and still more than a reader should wait for."""
    path = tmp_path / "large.yaml"
    path.write_text("a: [" + "x," * 1_900_000 + "]")
    assert "more values than any preset" in str(refusal(path))
    path.write_text("".join(f"k{i}: {i}\n" for i in range(40_000)) + "k39999: 3\n")
    assert "'k39999' is given twice" in str(refusal(path))


LAYOUTS = {
    "more layers than n_layer": (5, ["a*4", "b*4"], "layout names more than 5 layers"),
    "a small file of many": (100_000, ["a*99999"] * 1500 + ["b"], "layout names more than 100,000 layers"),
    "too few": (9, ["a*4", "b*4"], "layout names 8 layers, and n_layer is 9"),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_a_layout_is_measured_as_it_is_read(case: str) -> None:
    n_layer, layout, message = LAYOUTS[case]
    fields = {"name": "x", "n_layer": n_layer, "d_model": 64, "n_head": 4, "vocab_size": 256, "n_ctx": 128}
    assert message in str(refusal(fields | {"blocks": {"a": {}, "b": {"n_kv_head": 1}}, "layout": layout}))


def test_a_model_has_few_kinds_of_block() -> None:
    fields = {"name": "x", "n_layer": 65, "d_model": 64, "n_head": 4, "vocab_size": 256, "n_ctx": 128}
    blocks = {f"k{i}": {"d_ff": i + 1} for i in range(65)}
    assert "blocks has 65 kinds of block: at most 64" in str(refusal(fields | {"blocks": blocks, "layout": list(blocks)}))
    del blocks["k64"]
    assert len(load_model(fields | {"n_layer": 64, "blocks": blocks, "layout": list(blocks)}).kinds) == 64


def test_repeated_layouts_may_be_longer_than_the_model() -> None:
    fields = {"name": "x", "n_layer": 3, "d_model": 64, "n_head": 4, "vocab_size": 256, "n_ctx": 128}
    model = load_model(fields | {"blocks": {"a": {}, "b": {"n_kv_head": 1}}, "layout": ["a*2", "b*4", "..."]})
    assert model.layers == ("a", "a", "b")


def test_a_models_fields_can_be_given_by_name() -> None:
    assert gc.model("gpt2", n_layer=3) == gc.model("gpt2", {"n_layer": 3})
    assert gc.params(gc.model("gpt2", {"n_layer": 3}, n_layer=2)).value == 38_597_376 + 786_432 + 2 * 7_087_872 + 1536
    with pytest.raises(gc.GptcalcError, match="unknown field 'n_layerz'"):
        gc.model("gpt2", n_layerz=3)


def test_a_script_can_list_what_there_is() -> None:
    assert {"gpt2", "gpt3-175b", "llama3-8b"} <= set(gc.models())
    assert {"h100-80gb", "tpu-v4"} <= set(gc.devices())
    assert all(gc.model(name).name == name for name in gc.models()[:5])
