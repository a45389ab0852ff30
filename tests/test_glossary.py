"""One word, one meaning: the glossary has every key that a command's JSON has, once."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

GLOSSARY = Path(__file__).parents[1] / "docs" / "glossary.md"
COMMANDS = (
    "train gpt2 --tokens 1B",
    "train gpt2 --tokens 1B --count 8 --pp 2 --goodput --price 2..3",
    "memory gpt2-xl --device t4 --batch 64",
    "memory gpt2 --mode inference --device h100",
    "infer gpt2 --sweep batch=1..4 --target ttft=1s --roofline",
    "flops gpt2",
    "params gpt2",
    "compare gpt2",
    "scale --flops 1e21",
    "replicate gpt3-175b",
)
OPEN = ("inputs", "constants", "phases", "stages", "peak", "operations", "ranges", "bounds", "views", "prices", "serving", "repeated")
"""Whose own keys are names of devices, parts or quantities."""


def words() -> list[str]:
    return [
        word for line in GLOSSARY.read_text().splitlines() if line.startswith("| `") for word in re.findall(r"`(\w+)`", line.split("|")[1])
    ]


def keys(value: Any) -> set[str]:
    if isinstance(value, list):
        return {key for one in value[:2] for key in keys(one)}
    if not isinstance(value, dict):
        return set()
    return set(value) | {key for name, one in value.items() if name not in OPEN for key in keys(one)}


def test_a_word_stands_once() -> None:
    found = words()
    assert len(found) == len(set(found))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_key_is_explained(run: Any, command: str) -> None:
    result = json.loads(run(*command.split(), "-f", "json").out)["result"]
    assert not keys(result) - set(words())
