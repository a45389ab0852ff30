"""Every command at the widths of terminals: no number cut, no line broken inside a word, none longer than the terminal unless a word is."""

import re
import shlex
from typing import Any

import pytest

COMMANDS = [
    "models gpt",
    "models llama --explain",
    "models --fits rtx-4090 --precision int4",
    "devices",
    "devices h100",
    "devices h100 --explain",
    "devices --clusters",
    "devices --stacks",
    "params gpt3-175b",
    "params gpt2 --explain",
    "params gpt2 --check",
    "flops gpt3-175b",
    "flops gpt3-175b --conventions",
    "flops gpt2 --phase training --explain",
    "memory gpt2-xl --batch 8 --device rtx-4090",
    "memory llama3-8b --device tpu-v4",
    "memory gpt2 --explain",
    "memory llama3-8b --mode inference --device h100 --batch 16",
    "memory llama3-8b --precision fp32,bf16,int8,int4",
    "memory llama3-8b --device a100:8,h100:8,tpu-v5p:16 --zero 3",
    "memory llama3-8b --device rtx-4090,l4 --precision bf16,int4",
    "train gpt2 --tokens 10B",
    "train gpt2-xl --tokens 10B --device h100,a100,tpu-v4 --count 8 --zero 3",
    "train gpt3-175b --tokens 300B --device a100 --count 64 --tp 8 --pp 8 --global-batch 64 --goodput --timeline",
    "infer llama3-8b",
    "infer llama3-8b --target ttft=1s,tpot=30ms",
    "infer gpt2 --sweep batch=1..4",
    "compare 'gpt3-*'",
    "compare gpt1 llama3-8b mixtral-8x7b --explain",
    "verify gpt1",
    "replicate gpt3-175b --explain",
    "replicate megatron-2022",
    "scale --flops 1e23",
    "scale --budget 2M --device h100 --count 256",
]
LONG = {"models --fits rtx-4090 --precision int4", "infer gpt2 --sweep batch=1..4", "compare gpt1 llama3-8b mixtral-8x7b --explain"}
WORD = re.compile(r"\S+")
NUMBER = re.compile(r"\d[\d,]*\.?\d*")


@pytest.mark.parametrize("columns", [80, *(pytest.param(columns, marks=pytest.mark.slow) for columns in (40, 60, 120, 200))])
@pytest.mark.parametrize("command", [pytest.param(one, marks=pytest.mark.slow) if one in LONG else one for one in COMMANDS])
def test_nothing_is_cut(run: Any, monkeypatch: pytest.MonkeyPatch, command: str, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    known = set(WORD.findall(run(*shlex.split(command)).out))
    monkeypatch.setenv("COLUMNS", str(columns))
    printed = run(*shlex.split(command)).out
    for line in printed.splitlines():
        words = WORD.findall(line)
        assert len(line) <= columns or max(map(len, words)) > columns - 8, line
        for number in (number for word in words for number in NUMBER.findall(word) if len(number) > 3):
            assert any(number in word for word in known), (number, line)
    assert "…" not in printed
