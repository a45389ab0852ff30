"""`train --explain`: the terms of a step add up to its breakdown, and each number follows from what stands beside it."""

import re
from typing import Any

import pytest

import gptcalc as gc
from gptcalc.run.explained import MEANINGS, terms

UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
RUNS = [
    ("gpt2", {"tokens": "10B"}),
    ("gpt2", {"tokens": "10B", "batch": 4, "global_batch": 16, "recompute": "full"}),
    ("gpt2", {"tokens": "10B", "optimizer": "muon"}),
    ("gpt3-175b", {"tokens": "300B", "device": "a100", "count": 1024, "tp": 8, "pp": 8, "stack": "megatron", "global_batch": 1536}),
    ("gpt3-175b", {"tokens": "300B", "count": 64, "tp": 8, "pp": 8, "virtual_stages": 2, "global_batch": 64, "recompute": "every-3"}),
    ("llama3-8b", {"tokens": "50B", "device": "tpu-v5p", "count": 16, "zero": 3}),
    ("mixtral-8x7b", {"tokens": "50B", "count": 64, "ep": 8, "stack": "megatron"}),
    ("gemma3-4b", {"tokens": "50B", "count": 8, "zero": 3, "recompute": "full"}),
]


@pytest.mark.parametrize(("model", "options"), RUNS)
def test_terms_add_up_to_the_breakdown(model: str, options: dict[str, Any]) -> None:
    run = gc.train(model, **options)
    found = terms(run)
    for path, node in run.parts.leaves():
        own = sum(term.seconds for term in found if term.path == path or term.path.startswith(f"{path}/"))
        assert own == pytest.approx(node.value, rel=1e-9, abs=1e-15), path
    assert sum(term.seconds for term in found) == pytest.approx(run.step_time, rel=1e-9)


@pytest.mark.parametrize(("model", "options"), RUNS)
def test_the_numbers_give_the_time(model: str, options: dict[str, Any]) -> None:
    """Each is reckoned as a reader would, from the four digits that are printed."""
    device = gc.train(model, **options).plan
    assert device is not None
    from gptcalc.time.chip import chip_of

    o = chip_of(device.device).overlap
    for term in terms(gc.train(model, **options)):
        text = re.sub(r"([\d.e-]+) (s|ms|us|ns)\b", lambda amount: f"({amount[1]}*{UNITS[amount[2]]})", term.numbers)
        assert re.fullmatch(r"[\d.e*/+(), norm-]+", text), text
        size = max([1e-9, *(float(number) * UNITS[unit] for number, unit in re.findall(r"([\d.]+) (s|ms|us|ns)\b", term.numbers))])
        value = eval(text, {"norm": lambda a, b: (a**o + b**o) ** (1 / o)})
        assert value == pytest.approx(term.seconds, rel=2e-3, abs=2e-3 * size), term


def test_every_letter_has_its_meaning_and_every_term_its_source() -> None:
    for model, options in RUNS:
        for term in terms(gc.train(model, **options)):
            assert set(re.findall(r"\b(?:[A-Za-z]|norm)\b", term.formula)) <= MEANINGS.keys(), term
            assert term.source


def test_it_is_shown(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    out = run("train", "gpt3-175b", "--count", "64", "--tp", "8", "--pp", "8", "--global-batch", "64", "--explain").out
    assert "(all - slowest + 2·(p - 1)·send)/v" in out
    assert "arXiv:2104.04473" in out
    assert "p: pipeline stages" in out


def test_a_stated_mfu_has_no_terms() -> None:
    assert terms(gc.train("gpt2", tokens="1B", mfu=0.4)) == []
