"""The command line as a user sees it: answers, formats, widths, and one clear line for what is wrong."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Ran, examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gptcalc as gc

Run = Callable[..., Ran]

COMMANDS: list[tuple[str, ...]] = [
    ("models", "--family", "gpt"),
    ("models", "--min-params", "100B"),
    ("params", "gpt3-175b"),
    ("params", "llama3-8b", "--check", "--depth", "9"),
    ("params", "gpt2", "--explain"),
    ("flops", "gpt3-175b", "--batch", "2"),
    ("flops", "llama2-70b", "--phase", "training", "--attention", "causal", "--recompute", "full", "--depth", "9"),
    ("flops", "gpt2", "--phase", "decode", "--explain"),
    ("flops", "gpt3-175b", "--conventions"),
    ("flops", "llama2-70b", "--conventions"),
    ("compare", "gpt1", "gpt2-xl", "gpt3-175b"),
    ("verify", "gpt3-175b"),
    ("models", "--family", "gpt", "--explain"),
    ("devices", "--explain"),
    ("devices", "h100", "a100"),
    ("devices", "--clusters"),
    ("devices", "--clusters", "dgx-a100"),
    ("devices", "--clusters", "--explain"),
    ("devices", "--stacks"),
    ("devices", "--stacks", "fsdp"),
    ("devices", "--stacks", "--explain"),
    ("flops", "gpt3-175b", "--conventions", "--explain"),
    ("compare", "gpt1", "gpt2-xl", "--explain"),
    ("verify", "gpt2", "--explain"),
    ("replicate", "gpt3-175b"),
    ("replicate", "gpt3-175b", "--explain"),
    ("verify", "gpt1", "gpt2", "opt-350m", "mistral-7b"),
]
NAMES = [" ".join(command) for command in COMMANDS]


def answer(ran: Ran) -> dict[str, Any]:
    assert (ran.code, ran.err) == (0, "")
    document: dict[str, Any] = json.loads(ran.out)
    assert document["schema"] == 1
    assert document["gptcalc"] == gc.__version__
    return document


@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
def test_every_command_has_every_format(run: Run, command: tuple[str, ...]) -> None:
    document = answer(run(*command, "--format", "json"))
    assert document["command"] == command[0]
    table = run(*command)
    assert (table.code, table.err) == (0, "")
    assert "\x1b" not in table.out
    markdown = run(*command, "-f", "markdown")
    assert "| ---" in markdown.out
    rows = list(csv.reader(io.StringIO(run(*command, "-f", "csv").out)))
    assert len({len(row) for row in rows}) == 1


def numbers(text: str) -> set[str]:
    """Every grouped number of a text: 174,604,259,328."""
    return set(re.findall(r"\d{1,3}(?:,\d{3})+", text))


DRAWN = re.compile(r"[─│├└█▏▎▍▌▋▊▉░▒·]|no room for the columns? [^$]*")


def shown_words(text: str) -> set[str]:
    """What stands between blanks, without what is drawn and what is said of columns without room."""
    return set(DRAWN.sub(" ", text).split())


WIDE = [
    ("models", "llama"),
    ("devices", "mi300x"),
    ("memory", "gpt2", "--device", "h100"),
    ("memory", "llama3-8b", "--mode", "inference"),
    ("memory", "gpt2", "--explain"),
    ("train", "gpt2", "--tokens", "1B", "--count", "8", "--zero", "3"),
    ("train", "gpt2", "--tokens", "1B", "--explain"),
    ("train", "gpt2", "--tokens", "1B", "--device", "h100,a100"),
    ("infer", "gpt2", "--output", "64"),
    ("infer", "gpt2", "--output", "64", "--explain"),
    ("scale", "--flops", "1e24", "--explain"),
    ("replicate", "steps"),
    ("verify", "gpt2"),
]


@pytest.mark.parametrize("command", [*COMMANDS, *WIDE], ids=" ".join)
def test_no_width_cuts_a_number_or_breaks_a_word(run: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    whole = run(*command).out
    for columns in (40, 60, 80, 120, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        shown = run(*command).out
        assert "…" not in shown
        assert shown_words(shown) <= shown_words(whole)
        assert numbers(shown.split("\n\n")[0]) == numbers(whole.split("\n\n")[0])
        for line in shown.splitlines():
            assert len(line) <= columns or len(DRAWN.sub(" ", line).split()) == 1, line


@pytest.mark.parametrize("columns", [40, 60, 80])
@pytest.mark.parametrize(
    ("command", "kept"),
    [
        (("compare", "gpt2", "gpt3-175b"), "published differs +6.36 %"),
        (("verify", "gpt1", "gpt2"), "differs ok"),
        (("replicate", "gpt3-175b"), "error holds"),
        (("params", "gpt2", "--explain"), "source formula [1]"),
        (("devices", "h100", "--explain"), "source"),
    ],
)
def test_what_was_asked_for_is_never_dropped(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], kept: str, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert set(kept.split()) <= shown_words(run(*command).out)


def test_the_first_command_answers_first(run: Run) -> None:
    ran = run("params", "gpt3-175b")
    lines = ran.out.splitlines()
    assert lines[0] == "gpt3-175b: 174,604,259,328 parameters (174.6 B)"
    assert "12·L·d² + 13·L·d" in ran.out
    assert "published" in ran.out


def test_json_of_params(run: Run) -> None:
    document = answer(run("params", "gpt3-175b", "--check", "--precision", "fp32", "-f", "json"))
    result = document["result"]
    assert {"name", "value", "unit", "formula", "parts"} <= result.keys()
    assert result["value"] == result["counted"]["total"] == 174_604_259_328
    assert result["views"] == {"total": 174_604_259_328, "non_embedding": 173_961_535_488, "active": 174_604_259_328}
    assert result["bytes"] == 4 * 174_604_259_328
    assert document["inputs"]["d_head"] == 128
    assert document["inputs"]["d_ff"] == 49152


def test_json_of_flops(run: Run) -> None:
    result = answer(run("flops", "gpt2", "--batch", 8, "--seq", 512, "--phase", "training", "-f", "json"))["result"]
    assert [part["name"] for part in result["parts"]] == ["forward", "backward"]
    assert result["value"] == 3 * result["parts"][0]["value"]
    assert result["per_token"] == result["value"] / (8 * 512)


def test_what_is_set_is_what_is_computed(run: Run) -> None:
    document = answer(run("params", "gpt3-175b", "--set", "n_layer=48", "--set", "tied=false", "-f", "json"))
    assert document["inputs"]["n_layer"] == 48
    assert document["result"]["value"] == 12 * 48 * 12288**2 + 13 * 48 * 12288 + 2 * 50257 * 12288 + 2048 * 12288 + 2 * 12288


def test_the_library_gives_the_same_as_the_command_line(run: Run) -> None:
    model = gc.model("mistral-7b")
    assert answer(run("params", "mistral-7b", "-f", "json"))["result"]["value"] == gc.params(model).value
    assert answer(run("flops", "mistral-7b", "-f", "json"))["result"] == gc.flops(model).to_dict()


def test_inputs_hold_what_was_set_and_how_long(run: Run) -> None:
    compared = answer(run("compare", "gpt2", "--set", "training_tokens=300B", "--set", "tied=false", "-f", "json"))
    assert compared["inputs"]["set"] == {"training_tokens": 300 * 10**9, "tied": False}
    assert answer(run("verify", "gpt2", "--full", "--seq", 8, "-f", "json"))["inputs"]["seq"] == 8
    assert answer(run("verify", "gpt2", "-f", "json"))["inputs"]["seq"] is None


@pytest.mark.parametrize("seq", [0, -1, 1.5, "x"])
def test_a_full_run_has_a_whole_number_of_tokens(seq: Any) -> None:
    with pytest.raises(gc.GptcalcError, match="seq"):
        gc.verify("gpt2", full=True, seq=seq)


def test_one_model_is_compared_with_nothing(run: Run) -> None:
    assert run("compare", "gpt2").out.startswith("gpt2: 124.4 M parameters\n")


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_explained_conventions_have_formula_and_source_at_any_width(run: Run, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = run("flops", "gpt2", "--conventions", "--explain").out
    assert "6·N·D" in shown
    assert "Chowdhery" in shown
    assert "Kaplan's own N" in shown


EXPLAINED = {
    ("models", "--family", "gpt-2", "--explain"): ("openai-community/gpt2", "Radford et al. 2019"),
    ("devices", "--explain"): ("h100-80gb", "sources agree", "data sheet"),
    ("compare", "gpt1", "gpt2", "--explain"): ("gpt1: 116,534,784 parameters", "50257·768", "124,439,808"),
    ("verify", "gpt1", "gpt2", "gpt2-xl", "opt-125m", "--explain"): ("block/mlp/up/weight", "4·L·d²", "2·B·T²·L·d"),
    ("replicate", "gpt3-175b", "--explain"): ("6·N·D; N =", "Brown et"),
    ("replicate", "steps", "--explain"): ("kernels of", "measured on"),
}


@pytest.mark.parametrize("command", EXPLAINED, ids=" ".join)
def test_explain_shows_formulas_and_sources(run: Run, command: tuple[str, ...]) -> None:
    ran = run(*command)
    assert (ran.code, ran.err) == (0, "")
    assert all(words in ran.out for words in EXPLAINED[command])


def test_models_are_filtered(run: Run) -> None:
    rows = answer(run("models", "--family", "qwen", "-f", "json"))["result"]
    families = {"Qwen 2", "Qwen 2.5", "Qwen 2.5 VL", "Qwen 3", "Qwen 3 Next", "Qwen 3 VL", "Qwen 3.5", "Qwen 3.5 with tower"}
    assert {row["family"] for row in rows} == families
    large = answer(run("models", "--min-params", "100B", "-f", "json"))["result"]
    assert {"gpt3-175b", "deepseek-v3"} <= {row["name"] for row in large}
    assert all(row["parameters"] >= 10**11 and row["active_parameters"] <= row["parameters"] for row in large)
    deepseek = next(row for row in large if row["name"] == "deepseek-v3")
    assert deepseek["active_parameters"] < 4 * 10**10


def test_a_config_becomes_a_preset(run: Run, tmp_path: Path) -> None:
    config, out = tmp_path / "config.json", tmp_path / "mine.yaml"
    config.write_text('{"model_type": "mixtral", "hidden_size": 1024, "num_local_experts": 4, "attention_dropout": 0.1}', "utf-8")
    text = run("import", config).out
    assert "d_model: 1024  # hidden_size" in text
    assert "n_expert: 4  # num_local_experts" in text
    assert "n_layer: 32  # num_hidden_layers, left out: the class's default" in text
    assert "#   attention_dropout: dropout" in text
    wrote = run("import", tmp_path, "-o", out, "--name", "mine")
    assert (wrote.code, wrote.out) == (0, "")
    assert wrote.err.startswith(f"wrote {out}: mine, ")
    again = run("import", config, "-o", out)
    assert (again.code, again.err.splitlines()[1]) == (2, "hint: --force overwrites it")
    assert run("import", config, "-o", out, "--force").code == 0
    assert answer(run("params", out, "-f", "json"))["result"]["value"] == gc.params(gc.model(config)).value
    assert answer(run("import", config, "-f", "json"))["result"]["fields"]["n_expert"] == 4


BAD_CONFIGS = {
    '{"model_type": "llama", "hidden_size": 40': "is not valid JSON (it ends too early)",
    '{"hidden_size": 4096}': "has no 'model_type'",
    '{"tokenizer_class": "LlamaTokenizer"}': "describes a tokenizer",
    '{"model_type": "llama", "hidden_size": "4096"}': "hidden_size must be a whole number",
    '{"model_type": "llama", "num_hidden_layers": 1e400}': "num_hidden_layers must be a whole number",
    '{"model_type": "llama", "num_hidden_layers": 123456789012345678}': "num_hidden_layers must be a whole number",
    '{"model_type": "qwen3", "num_hidden_layers": 4, "layer_types": ["full_attention"]}': "layer_types must be a list of 4 kinds",
    '{"model_type": "llava", "text_config": {"model_type": "rwkv"}}': "its language model",
    '{"model_type": "xlstm"}': "recurrences",
}


@pytest.mark.parametrize("text", BAD_CONFIGS)
@pytest.mark.parametrize("command", ["params", "import"])
def test_a_bad_config_is_one_line(run: Run, tmp_path: Path, command: str, text: str) -> None:
    config = tmp_path / "config.json"
    config.write_text(text, "utf-8")
    ran = run(command, config)
    assert (ran.code, ran.out) == (2, "")
    first, *hints = ran.err.splitlines()
    assert first.startswith("error: ")
    assert BAD_CONFIGS[text] in first
    assert all(hint.startswith("hint: ") for hint in hints)


@pytest.mark.parametrize("columns", [80, 120])
def test_a_twins_flop_are_never_taken_for_the_models(run: Run, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    of_twin = [line for line in run("verify", "gpt2").out.splitlines() if "block/mlp/up  " in line]
    assert [line.split("  ")[0] for line in of_twin] == ["twin FLOP", "twin other"]
    in_full = [line for line in run("verify", "gpt2", "--full", "--seq", 4).out.splitlines() if "block/mlp/up  " in line]
    assert [line.split("  ")[0] for line in in_full] == ["FLOP", "other FLOP"]


def test_a_full_run_is_refused_before_any_model_is_executed() -> None:
    told: list[tuple[str, int, int]] = []
    with pytest.raises(gc.GptcalcError, match="gpt3-175b has 174"):
        gc.verify("gpt2", "gpt3-175b", full=True, progress=lambda *step: told.append(step))
    assert told == []


def test_progress_names_the_model_from_the_start() -> None:
    told: list[tuple[str, int, int]] = []
    gc.verify("gpt2", full=True, seq=2, progress=lambda *step: told.append(step))
    assert told == [("gpt2", layer, 12) for layer in range(13)]
    told.clear()
    gc.verify("gpt2", "gpt3-175b", progress=lambda *step: told.append(step))
    assert told == [("gpt2", 0, 2), ("gpt3-175b", 1, 2)]


def test_a_failed_check_exits_with_1(run: Run, tmp_path: Path) -> None:
    spec = tmp_path / "wrong.yaml"
    spec.write_text(
        "{n_layer: 2, d_model: 64, n_head: 4, vocab_size: 100, n_ctx: 32, published: [{value: 1M, tolerance: 0.1, source: a paper}]}",
        "utf-8",
    )
    ran = run("verify", spec)
    assert ran.code == 1
    assert "1 WRONG" in ran.out


WRONG: dict[tuple[str, ...], tuple[str, str]] = {
    ("models", "--family", "qwem"): ("no family named 'qwem'", ""),
    ("models", "--min-params", "many"): ("--min-params", ""),
    ("models", "--min-params", "900T"): ("no model has 900,000,000,000,000 parameters or more", ""),
    ("import", "no/such.json"): ("no/such.json: no such file", ""),
    ("import", "gpt2"): ("gpt2: no such file", ""),
    ("params", "gpt3-17b"): ("no model named 'gpt3-17b'", "did you mean 'gpt3-175b'?"),
    ("params", "../etc/passwd"): ("../etc/passwd", ""),
    ("params", "/etc/passwd"): ("/etc/passwd", ""),
    ("params", "no/such.yaml"): ("no/such.yaml: no such file", ""),
    ("params", ""): ("no model named ''", ""),
    ("params",): ("missing argument 'MODEL'", "--help"),
    ("params", "gpt2", "--set", "n_layer"): ("--set 'n_layer' is not of the form field=value", "--set n_layer=24"),
    ("params", "gpt2", "--set", "n_layers=3"): ("unknown field 'n_layers'", "did you mean 'n_layer'"),
    ("params", "gpt2", "--set", "n_layer=0"): ("0 is not above zero", ""),
    ("params", "gpt2", "--set", "n_layer=-1"): ("-1 is not above zero", ""),
    ("params", "gpt2", "--set", "n_layer=1e400"): ("n_layer: inf is not a number", ""),
    ("params", "gpt2", "--set", "n_layer=nan"): ("nan", ""),
    ("params", "gpt2", "--set", "n_layer=12.5"): ("not a whole number", ""),
    ("params", "gpt2", "--set", "tied=maybe"): ("tied", ""),
    ("params", "gpt2", "--set", "n_head=7"): ("d_model 768 is not a multiple of n_head 7", "divides d_model"),
    ("params", "llama3-8b", "--set", "n_kv_head=5"): ("n_head 32 is not a multiple of n_kv_head 5", ""),
    ("flops", "gpt2", "--seq", "2048"): ("gpt2 has learned positions for 1,024 tokens", "--seq 1024"),
    ("flops", "gpt2", "--seq", "0"): ("'0' is not above zero", ""),
    ("flops", "gpt2", "--batch", "x"): ("'x' is not a number", "300B"),
    ("flops", "gpt2", "--phase", "sideways"): ("'sideways' is not one of", ""),
    ("flops", "gpt2", "--recompute", "full"): ("recompute 'full' belongs to phase 'training'", ""),
    ("flops", "gpt2", "--conventions", "--phase", "decode"): ("--conventions is of one training step", ""),
    ("flops", "gpt2", "--conventions", "--depth", "4"): ("--conventions is a list", ""),
    ("flops", "gpt2", "--sqe", "4"): ("no such option: --sqe", ""),
    ("verify", "gpt3-175b", "--full"): ("too many to execute", "leave out --full"),
    ("verify", "gpt2", "--seq", "5"): ("seq is the length of a full run", "--full --seq 5"),
    ("verify", "gpt2", "--full", "--seq", "2000"): ("gpt2 has learned positions for 1,024 tokens (n_ctx)", "--seq 1024"),
    ("verify", "tinyllama-1.1b", "--full", "--seq", "3000"): ("tinyllama-1.1b is made for 2,048 tokens (n_ctx), not 3,000", "--seq 2048"),
    ("compare", "gpt2", "gpt-4"): ("undisclosed", ""),
    ("replicate", "zzz"): ("no published run named 'zzz'", "'gptcalc replicate' lists them"),
    ("replicate", "gpt3-17b"): ("no published run named 'gpt3-17b'", "did you mean 'gpt3-175b'"),
    ("xyzzy",): ("no such command 'xyzzy'", "--help"),
}


@pytest.mark.parametrize("command", WRONG, ids=" ".join)
def test_bad_input_is_one_line_and_a_hint(run: Run, command: tuple[str, ...]) -> None:
    ran = run(*command)
    message, hint = WRONG[command]
    assert (ran.code, ran.out) == (2, "")
    lines = ran.err.splitlines()
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert len(lines) <= 2
    if hint:
        assert lines[1].startswith("hint: ")
        assert hint in lines[1]


words = st.text(max_size=12) | st.sampled_from(
    ["gpt2", "--set", "--seq", "--batch", "-f", "json", "--phase", "decode", "training", "--depth", "--full"]
)
words |= st.sampled_from(
    ["n_layer=3", "d_model=0", "n_head=1e400", "tied=null", "rope_theta=nan", "-1", "0", "1e9", "{}", "[]", "--check", "--explain"]
)


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["params", "flops", "compare", "models"]), st.lists(words, max_size=5))
def test_no_words_lead_to_a_traceback(run: Run, command: str, arguments: list[str]) -> None:
    ran = run(command, *(word.replace("\0", "") for word in arguments))
    assert ran.code in (0, 2)
    if ran.code == 2:
        assert ran.err.startswith(("error: ", "Usage"))
        assert ran.out == ""
        assert len(ran.err.splitlines()) <= 2
    if ran.code == 0 and "json" in arguments and ran.out.startswith("{"):
        assert "NaN" not in ran.out


def shell(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "gptcalc", *arguments], capture_output=True, env={**os.environ, **environment}, check=False
    )


def test_piped_output_has_no_colour_and_survives_ascii() -> None:
    ran = shell("params", "gpt3-175b", PYTHONIOENCODING="ascii")
    assert ran.returncode == 0
    assert b"\x1b" not in ran.stdout
    assert b"12*L*d^2" in ran.stdout
    assert b"174,604,259,328" in ran.stdout


def test_an_error_survives_ascii() -> None:
    ran = shell("params", "gpt·²", PYTHONIOENCODING="ascii")
    assert ran.returncode == 2
    assert ran.stderr.startswith(b"error: ")
    assert b"Traceback" not in ran.stderr


def test_a_reader_that_leaves_is_no_error() -> None:
    ran = subprocess.run(
        f"{sys.executable} -m gptcalc verify | head -c 1",
        shell=True,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert ran.stderr == b""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_gets_colour_unless_it_asks_for_none(no_color: str, coloured: bool) -> None:
    import pty

    leader, follower = pty.openpty()
    environment = {**os.environ, "NO_COLOR": no_color, "TERM": "xterm-256color", "COLUMNS": "100"}
    with subprocess.Popen([sys.executable, "-m", "gptcalc", "params", "gpt2"], stdout=follower, env=environment) as process:
        process.wait()
    os.close(follower)
    text = os.read(leader, 100_000)
    os.close(leader)
    assert (b"\x1b[" in text) is coloured
    assert b"124,439,808" in text


def test_completion_knows_the_presets() -> None:
    ran = shell(_GPTCALC_COMPLETE="complete_bash", COMP_WORDS="gptcalc params gpt3-1", COMP_CWORD="2")
    assert b"gpt3-175b" in ran.stdout
    assert b"gpt2" not in ran.stdout


def test_models_are_searched_by_name_alias_and_family(run: Run) -> None:
    found = {row["name"] for row in answer(run("models", "GPT3", "-f", "json"))["result"]}
    assert {"gpt3-175b", "gpt3-125m"} <= found
    assert not [name for name in found if "gpt2" in name]
    assert [row["name"] for row in answer(run("models", "davinci", "-f", "json"))["result"]] == ["gpt3-175b"]  # an alias
    assert "did you mean" in run("models", "lamma3-8b").err


def test_models_that_fit_are_those_that_memory_says_fit(run: Run) -> None:
    rows = answer(run("models", "llama2", "--fits", "rtx-4090", "--precision", "int8", "--context", "2K", "-f", "json"))["result"]
    for name in ("llama2-7b", "llama2-13b", "llama2-70b"):
        one = gc.memory(name, mode="inference", device="rtx-4090", precision="int8", seq=2000)
        listed = [row["peak_allocated"] for row in rows if row["name"] == name]
        assert listed == ([one.value] if one.limits["fits"] else [])
    assert [row["name"] for row in rows] == [
        "codellama-13b",
        "llama2-13b",
        "codellama-7b",
        "llama2-7b",
        "codellama-7b-python",
    ]
    assert run("models", "llama2-70b", "--fits", "t4").code == 1
    assert "--fits" in run("models", "--context", "8K").err


def test_a_pattern_stands_for_all_that_match(run: Run) -> None:
    names = [row["model"] for row in answer(run("compare", "gpt3-*", "gpt3-175b", "-f", "json"))["result"]]
    assert names == ["gpt3-125m", "gpt3-350m", "gpt3-760m", "gpt3-1.3b", "gpt3-2.7b", "gpt3-6.7b", "gpt3-13b", "gpt3-175b"]
    assert "no model's name is like 'gpt9-*'" in run("compare", "gpt9-*").err


def test_a_data_sheet_is_a_page_and_every_constant_is_explained(run: Run) -> None:
    sheet = run("devices", "h100").out
    assert len(sheet.splitlines()) <= 24
    assert "989.4 TFLOP/s" in sheet
    assert "constant" not in sheet.split("next:")[0]
    assert "constant " in run("devices", "h100", "--explain").out


def test_memory_is_shown_a_level_deep_and_as_deep_as_asked(run: Run) -> None:
    assert "attention" not in run("memory", "gpt2").out
    assert "attention" in run("memory", "gpt2", "--depth", "3").out
    assert any(line.startswith("weights/block/attention,") for line in run("memory", "gpt2", "-f", "csv").out.splitlines())
