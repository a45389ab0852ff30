"""What help says of an option is what the code does."""

import re
from typing import Any

import pytest
import typer

import gptcalc as gc
from gptcalc.cli.commands import app
from gptcalc.formulas.memory.serving import CACHE_BITS
from gptcalc.spec.recipe import KERNELS, OPTIMIZERS, PRECISIONS
from gptcalc.spec.runtime import runtime_names
from gptcalc.spec.server import server_names
from gptcalc.spec.stack import stack_names

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def option(command: str, name: str) -> Any:
    return next(one for one in COMMANDS[command].params if name in one.opts)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_stands_under_one_heading(run: Any, command: str) -> None:
    text = run(command, "--help").out
    for one in COMMANDS[command].params:
        if one.param_type_name == "option":
            assert len(re.findall(rf"^ +(-\w, )?{one.opts[0]}\b", text, flags=re.MULTILINE)) == 1, one.name


@pytest.mark.parametrize(
    ("command", "headings"),
    [
        ("train", ["Arguments", "Run", "Recipe", "Layout", "Money and energy", "Output", "Options"]),
        ("memory", ["Arguments", "Run", "Recipe", "Adapters", "Layout", "Serving", "Output", "Options"]),
        ("infer", ["Arguments", "Run", "Serving", "Layout", "Money and energy", "Output", "Options"]),
        ("params", ["Arguments", "Options", "Output"]),
    ],
)
def test_headings(run: Any, command: str, headings: list[str]) -> None:
    assert re.findall(r"^(\w[\w ]*):$", run(command, "--help").out, flags=re.MULTILINE) == headings


@pytest.mark.parametrize(
    ("command", "name", "words"),
    [
        ("train", "--stack", stack_names()),
        ("memory", "--stack", stack_names()),
        ("train", "--runtime", runtime_names()),
        ("memory", "--runtime", runtime_names()),
        ("infer", "--runtime", server_names()),
        ("train", "--precision", PRECISIONS),
        ("train", "--optimizer", OPTIMIZERS),
        ("train", "--attention-kernel", KERNELS),
        ("memory", "--kv-precision", CACHE_BITS),
        ("infer", "--kv-precision", CACHE_BITS),
    ],
)
def test_choices_are_all_named(command: str, name: str, words: Any) -> None:
    named = re.findall(r"[\w-]+", option(command, name).help)
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
