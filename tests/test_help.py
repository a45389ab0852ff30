"""What help says of an option is what the code does."""

import re
import shlex
from typing import Any

import pytest
import typer

import gptcalc as gc
from gptcalc.cli.commands import application
from gptcalc.cli.examples import EXAMPLES
from gptcalc.footprint.serving import CACHE_BITS
from gptcalc.spec.recipe import KERNELS, OPTIMIZERS, PRECISIONS
from gptcalc.spec.runtime import runtime_names
from gptcalc.spec.server import engine_names, server_names
from gptcalc.spec.stack import stack_names

COMMANDS: dict[str, Any] = typer.main.get_command(application()).commands  # type: ignore[attr-defined]


def option(command: str, name: str) -> Any:
    return next(one for one in COMMANDS[command].params if name in one.opts)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_stands_under_one_heading(run: Any, command: str) -> None:
    text = run(command, "--help").out
    for one in COMMANDS[command].params:
        if one.param_type_name == "option":
            assert len(re.findall(rf"^│ (-\w, )?{one.opts[0]}\b", text, flags=re.MULTILINE)) == 1, one.name


@pytest.mark.parametrize("columns", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_cuts_nothing_and_fits(run: Any, monkeypatch: pytest.MonkeyPatch, command: str, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    page = run(*command.split(), "--help").out
    assert max(map(len, page.splitlines())) <= columns
    assert "…" not in page
    words = set(re.sub(r"[│╭╮╰╯─]", " ", page).split())
    params = COMMANDS[command].params if command else []
    asked = " ".join(one.help or "" for one in params if one.param_type_name == "option")
    assert set(asked.split()) <= words


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_five_examples_stand_first(run: Any, command: str) -> None:
    page = run(*command.split(), "--help").out
    shown = [line.strip() for line in page.split("Examples\n")[1].split("\n\n")[0].splitlines()]
    assert len(shown) == len(EXAMPLES[command]) == 5
    for line, (example, what) in zip(shown, EXAMPLES[command], strict=True):
        assert line.split("  ")[0] == example
        assert line.endswith(f"  {what}")


FILES = ("my-", "config.json")


@pytest.mark.parametrize("example", [one for examples in EXAMPLES.values() for one, _ in examples if not any(f in one for f in FILES)])
def test_the_examples_are_read(example: str) -> None:
    command, *words = shlex.split(example)[1:]
    made = COMMANDS[command].make_context(command, words)
    assert made.args == []


@pytest.mark.parametrize(
    "example", ["gptcalc memory llama2-7b --lora-rank 16 --qlora", "gptcalc flops llama3-8b --phase decode --seq 4096"]
)
def test_an_example_is_answered(run: Any, example: str) -> None:
    assert run(*shlex.split(example)[1:]).code == 0


def test_an_option_says_what_it_wants(run: Any) -> None:
    for command in COMMANDS:
        page = run(command, "--help").out
        for one in COMMANDS[command].params:
            if one.param_type_name == "option" and not one.is_flag:
                assert re.search(rf"{one.opts[0]}\s+│?\n?│? ?\S", page), one.name
        assert "<" not in page.split("Options")[0].replace("<http", "")


@pytest.mark.parametrize(
    ("command", "headings"),
    [
        ("train", ["Arguments", "Run", "Recipe", "Layout", "Money and energy", "Output", "Options"]),
        ("memory", ["Arguments", "Run", "Recipe", "Adapters", "Layout", "Serving", "Output", "Options"]),
        ("infer", ["Arguments", "Run", "Load", "Serving", "Layout", "Money and energy", "Output", "Options"]),
        ("params", ["Arguments", "Options", "Output"]),
    ],
)
def test_headings(run: Any, command: str, headings: list[str]) -> None:
    assert re.findall(r"^╭─ (\w[\w ]*) ─", run(command, "--help").out, flags=re.MULTILINE) == headings


@pytest.mark.parametrize(
    ("command", "name", "words"),
    [
        ("train", "--stack", stack_names()),
        ("memory", "--stack", stack_names()),
        ("train", "--runtime", runtime_names()),
        ("memory", "--runtime", runtime_names()),
        ("infer", "--runtime", server_names()),
        ("infer", "--server", engine_names()),
        ("train", "--precision", PRECISIONS),
        ("train", "--optimizer", OPTIMIZERS),
        ("train", "--attention-kernel", KERNELS),
        ("memory", "--kv-precision", CACHE_BITS),
        ("infer", "--kv-precision", CACHE_BITS),
    ],
)
def test_choices_are_all_named(command: str, name: str, words: Any) -> None:
    named = re.findall(r"[\w.-]+[\w]", option(command, name).help)
    assert set(words) <= set(named)


def test_defaults_are_those_of_the_code(run: Any) -> None:
    plain = gc.train("gpt2", tokens="1B").inputs
    for name in ("device", "optimizer", "recompute", "attention_kernel", "runtime"):
        assert str(plain[name]) in option("train", f"--{name.replace('_', '-')}").show_default
    assert (plain["precision"], gc.train("gpt2", tokens="1B", device="v100").inputs["precision"]) == ("amp-bf16", "amp-fp16")
    assert gc.train("bloom-560m", tokens="1B").inputs["runtime"] == "ideal"
    several = gc.train("gpt2", tokens="1B", count=8).inputs
    assert (several["tp"], several["pp"], several["cp"], several["virtual_stages"]) == (1, 1, 1, 1)
    assert (several["dp"], several["zero"], several["sequence_parallel"]) == (8, 0, False)
    assert (several["global_batch"], several["cluster"]) == (8, "dgx-h100")
    stacks = [gc.train("gpt2", tokens="1B", count=8, **options).inputs["stack"] for options in ({}, {"zero": 3}, {"runtime": "megatron"})]
    assert stacks == ["ddp", "fsdp", "megatron"]
