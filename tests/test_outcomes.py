"""How a command ends: exit codes, where its lines go, and text that any output can show."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Ran

import gptcalc as gc
from gptcalc.cli import options
from gptcalc.node import Node
from gptcalc.show.tree import legend

Run = Callable[..., Ran]
TINY = "n_layer: 2\nd_model: 64\nn_head: 4\nvocab_size: 256\nn_ctx: 128\n"


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = f"{sys.executable} -m gptcalc {line}"
    return subprocess.run(["bash", "-c", command], capture_output=True, check=False, env={**os.environ, **environment})


@pytest.mark.parametrize("error", [ZeroDivisionError("division by zero"), KeyError("x"), MemoryError(), RecursionError("two\nlines")])
def test_a_fault_of_the_program_is_one_line_that_asks_for_a_report(run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def broken(*_: Any) -> Any:
        raise error

    monkeypatch.setattr("gptcalc.spec.files.load_model", broken)
    ran = run("params", "gpt2", "--set", "n_layer=24")
    assert (ran.code, ran.out) == (70, "")
    first, hint = ran.err.splitlines()
    assert first.startswith("error: a fault of gptcalc's own")
    assert type(error).__name__ in first
    assert hint == "hint: please report it with the command that led to it: gptcalc params gpt2 --set n_layer=24"
    monkeypatch.setenv("GPTCALC_TRACEBACK", "1")
    with pytest.raises(type(error)):
        run("params", "gpt2")


PICTURES = ["memory gpt2 --timeline", "infer gpt2 --output 4 --sweep batch=1..4 --roofline", "train gpt2 --tokens 1B --pp 2 --timeline"]


def test_an_interruption_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("gptcalc.spec.files.load_model", interrupted)
    assert run("params", "gpt2") == Ran(130, "", "error: interrupted\n")


ANSWERS = [
    "params gpt2",
    "flops gpt2 -f csv",
    "memory gpt2 -f markdown",
    "train gpt2 --tokens 1B -f json",
    "infer gpt2 --output 4",
    "--help",
]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
@pytest.mark.parametrize("command", ["params gpt2", "flops gpt2 -f json", "memory gpt2 --timeline", "params gpt2 -q", "--help"])
@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
def test_nowhere_to_write_is_one_line(command: str, where: str) -> None:
    if where == ">/dev/full" and not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    ran = shell(f"{command} {where}")
    assert ran.returncode == 2
    assert ran.stderr.startswith(b"error: cannot write the answer: ")
    assert ran.stderr.count(b"\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_errors_have_their_exit_code_where_nothing_can_be_said() -> None:
    assert [shell(f"params gpt3-17b {where}").returncode for where in ("2>/dev/full", "2>&-", ">&- 2>&-")] == [2, 2, 2]
    assert [shell(f"params gpt2 --format {form} >&- 2>&-").returncode for form in ("table", "csv", "json", "markdown")] == [2, 2, 2, 2]
    assert shell("verify gpt2 2>&-").returncode == 0  # its progress bar too


class Encoded(io.TextIOWrapper):
    """Standard output that knows no more than its encoding."""

    def __init__(self, encoding: str) -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding=encoding)


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii", "cp437"])
@pytest.mark.parametrize("command", [*ANSWERS, "params gpt2 -f markdown", "flops gpt2 -f csv --explain", "compare gpt1 gpt2", *PICTURES])
def test_every_output_can_show_the_answer(run: Run, monkeypatch: pytest.MonkeyPatch, command: str, encoding: str) -> None:
    out = Encoded(encoding)
    monkeypatch.setattr(sys, "stdout", out)
    ran = run(*command.split())
    assert ran.code in (0, 1)
    text = out.bytes.getvalue().decode(encoding)
    assert "\\u" not in text
    assert "\\x" not in text
    numbers = {"params": "124439808", "flops": "291648307200"}
    assert numbers.get(command.split()[0], "") in text.replace(",", "")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_what_is_said_on_stderr_comes_after_the_answer() -> None:
    ran = shell("train gpt3-175b --tokens 1B 2>&1 | cat")
    lines = ran.stdout.decode().splitlines()
    assert lines[0].startswith("gpt3-175b")
    assert "does not fit" in "".join(lines[-3:])


def test_the_help_page(run: Run) -> None:
    page = run("--help")
    assert page.code == 0
    assert run() == page
    assert run("help") == page
    assert run("help", "train") == run("train", "--help")
    assert run("help", "nothing").code == 2


HINTS = {
    ("gpt2",): "did you mean 'gptcalc params gpt2'?",
    ("meta-llama/Llama-2-7b-hf",): "did you mean 'gptcalc params meta-llama/Llama-2-7b-hf'?",
    ("params", "gpt2", "gpt2-xl"): "gptcalc compare gpt2 gpt2-xl",
    ("memory", "gpt2", "gpt2-xl", "--batch", "8"): "gptcalc compare gpt2 gpt2-xl",
    ("models", "gpt2", "gpt3"): "gptcalc models --family gpt3",
    ("memory", "gpt2", "--lora", "16"): "did you mean '--qlora' or '--lora-rank'?",
    ("train", "gpt2", "--tokens", "300GB"): "300B is 300 billion",
    ("flops", "gpt2", "--seq", "128GiB"): "300B is 300 billion",
    ("params", "gpt2", "--set", "n_layer=12GB"): "300B is 300 billion",
    ("train", "gpt2", "--tokens", "1B", "--mfu", "45"): "did you mean 0.45?",
    ("train", "gpt2", "--tokens", "1B", "--price", "2,50"): "2.50",
    ("train", "gpt2", "--tokens", "1B", "--stack", "deepspeed"): "--zero 1, 2 or 3",
    ("train", "gpt2", "--tokens", "1B", "--cluster", "dgx"): "'dgx-a100' or 'dgx-h100'",
    ("train", "gpt2", "--tokens", "1B", "--device", "8xa100"): "--device a100 --count 8",
    ("train", "gpt2", "--tokens", "1B", "--device", "a100x8"): "--device a100 --count 8",
    ("infer", "gpt2", "--device", "v5p-16"): "--device tpu-v5p --count N",
    ("devices", "nvidia"): "h100-80gb",
    ("infer", "gpt2", "--sweep", "batch=1-256"): "batch=1..256",
    ("params", "gpt2", "--set", "hidden_size=3072"): "did you mean 'd_model'?",
    ("params", "gpt2", "--set", "d_mlp=3072"): "did you mean 'd_ff'?",
    ("params", "gpt2", "--set", "foo=1"): "n_layer, d_model",
    ("train", "gpt2", "--tokens", "1B", "--mfu", "1e-300"): "",
}


@pytest.mark.parametrize("command", HINTS, ids=" ".join)
def test_hints_name_the_next_step(run: Run, command: tuple[str, ...]) -> None:
    ran = run(*command)
    assert (ran.code, ran.out) == (2, "")
    lines = ran.err.splitlines()
    assert lines[0].startswith("error: ")
    assert HINTS[command] in "".join(lines[1:])


def test_numbers_and_words_as_people_write_them(run: Run) -> None:
    assert "1 × 128,000 tokens" in run("flops", "llama3.1-8b", "--seq", "128k").out.splitlines()[0]
    same = [["--tokens", "300B"], ["--tokens", "300b"], ["--tokens", "300 billion"], ["--tokens", "3e11"]]
    assert len({run("train", "gpt2", *one, "--batch", "8", "-q").out for one in same}) == 1
    priced = [run("train", "gpt2", "--tokens", "1B", "--mfu", mfu, "--price", usd, "-q").out for mfu, usd in (("45%", "$2"), ("0.45", "2"))]
    assert priced[0] == priced[1]
    for command in (("memory", "gpt2"), ("infer", "gpt2", "--output", "4"), ("train", "gpt2", "--tokens", "1B")):
        written = {run(*command, f"--precision={word}", "-q").out for word in ("BF16", "bfloat16", "bf16")}
        assert len(written) == 1


def test_counts_of_every_command_are_read_alike(run: Run) -> None:
    for command, names in {
        "train": ["--seq", "--tp", "--dp"],
        "memory": ["--batch", "--seq", "--count"],
        "infer": ["--batch", "--prompt"],
    }.items():
        for name in names:
            assert run(command, "gpt2", name, "8GB").err.startswith(("error: invalid value for", "error: count", "error: batch")), name


QUIET = {
    ("params", "gpt2"): lambda: gc.params("gpt2").value,
    ("flops", "gpt2", "--batch", "2"): lambda: gc.flops("gpt2", batch=2).value,
    ("memory", "gpt2"): lambda: gc.memory("gpt2").value,
    ("memory", "gpt2", "--mode", "inference"): lambda: gc.memory("gpt2", mode="inference").value,
    ("train", "gpt2", "--tokens", "1B"): lambda: gc.train("gpt2", tokens="1B").value,
    ("infer", "gpt2", "--output", "4"): lambda: gc.infer("gpt2", output=4).value,
}


@pytest.mark.parametrize("command", QUIET, ids=" ".join)
def test_quiet_prints_one_number(run: Run, command: tuple[str, ...]) -> None:
    for flag in ("-q", "--quiet"):
        ran = run(*command, flag)
        assert (ran.err, float(ran.out)) == ("", float(QUIET[command]()))
        assert ran.out.count("\n") == 1
    assert run(*command, "-q", "-f", "json").code == 2


def test_quiet_prints_one_number_for_each_device(run: Run) -> None:
    assert len(run("train", "gpt2", "--tokens", "1B", "--device", "h100,a100,h100", "-q").out.split()) == 2
    assert run("flops", "gpt2", "--conventions", "-q").code == 2


def test_csv_names_whole_paths_and_units(run: Run) -> None:
    rows = [line.split(",") for line in run("params", "gpt2", "-f", "csv").out.splitlines()]
    assert rows[0] == ["part", "parameters", "share (fraction)", "in bf16 (bytes)", "formula"]
    paths = [row[0] for row in rows[1:]]
    assert "block/attention/query" in paths
    assert len(set(paths)) == len(paths)
    bill = [line.split(",") for line in run("train", "gpt2", "--tokens", "1B", "-f", "csv").out.splitlines()]
    units = {row[0]: row[2] for row in bill}
    assert [units[name] for name in ("item", "a step", "device-hours", "cost", "energy", "CO2")] == ["unit", "s", "h", "USD", "kWh", "kg"]
    assert units["tokens per second"] == "tokens/s"
    assert {row[0]: row[1] for row in bill}["steps"] == "976563"  # 1e9 tokens, 1,024 a step
    peak = run("memory", "gpt2", "-f", "csv").out.splitlines()
    assert peak[0] == "part,bytes,share (fraction),formula"
    assert peak[2].startswith("weights/embedding,")


def test_markdown_keeps_indentation(run: Run) -> None:
    assert "| \xa0\xa0token |" in run("params", "gpt2", "-f", "markdown").out


STEERING = 'notes: ["a\\e[31mred", "two\\nlines"]\nsource: "x\\e[2J\\u202e"\npublished: [{value: 1, tolerance: 1, source: "p\\e]0;t\\a"}]\n'


@pytest.mark.parametrize("form", ["table", "csv", "markdown", "json"])
@pytest.mark.parametrize("command", ["params", "flops", "compare", "verify", "memory", "infer", "models"])
def test_nothing_in_a_file_steers_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, form: str) -> None:
    (tmp_path / "evil.yaml").write_text(TINY + STEERING, "utf-8")
    monkeypatch.setenv("GPTCALC_PRESETS", str(tmp_path))
    ran = run(command, *([] if command == "models" else [tmp_path / "evil.yaml"]), *(["--explain"] if form == "table" else []), "-f", form)
    assert ran.code in (0, 1)
    assert not [char for char in ran.out + ran.err if char != "\n" and not char.isprintable() and char != "\xa0"]


@pytest.mark.parametrize("where", ["blocks: {a: {'\\e[31mX': 1}}", "blocks: {'\\e[2J': {n_kv_head: 9}}", "'\\e[31m': 1", "name: '\\e[31m'"])
def test_nothing_in_a_key_does(run: Run, tmp_path: Path, where: str) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text(TINY + where.replace("'", '"') + '\nlayout: ["a*2"]\n', "utf-8")
    ran = run("params", path)
    assert (ran.code, ran.out) == (2, "")
    assert "\x1b" not in ran.err


def test_every_letter_has_a_name_or_stands_for_itself() -> None:
    node: Node[int] = Node("x", 6, "bytes", "2*D*I_odd + d")
    assert legend({"D": 3, "I_odd": 1, "d": 7}, node) == "d = 7 model width, D = 3, I_odd = 1 (odd)"


LARGE = [("gpt2", "n_layer=1000000000"), ("llama3-8b", "vocab_size=1e15"), ("llama3-8b", "d_ff=1e15"), ("mixtral-8x7b", "n_expert=1e9")]


@pytest.mark.parametrize(("model", "setting"), LARGE)
def test_any_size_is_counted(run: Run, model: str, setting: str) -> None:
    assert run("params", model, "--check", "--set", setting).code == 0


def test_words_of_precisions_are_known() -> None:
    assert set(options.SPELLINGS.values()) == {"fp16", "bf16", "fp32", "fp8"}
