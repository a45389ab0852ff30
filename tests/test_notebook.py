"""Answers in a notebook and a script: one line of repr, the command's table when shown or printed, a data frame where pandas is there."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gptcalc as gc

ANSWERS: dict[str, Any] = {
    "params": lambda: gc.params("gpt2"),
    "params of arrays": lambda: gc.params("gpt2", n_layer=np.array([1, 2])),
    "flops": lambda: gc.flops("gpt2", phase="training"),
    "memory": lambda: gc.memory("gpt2", batch=8, seq=1024, device="h100-80gb"),
    "memory, inference": lambda: gc.memory("gpt2", mode="inference", device="h100-80gb"),
    "train": lambda: gc.train("gpt2", tokens="1B"),
    "train, mfu": lambda: gc.train("gpt2", tokens="1B", mfu=0.4),
    "infer": lambda: gc.infer("gpt2"),
    "scale": lambda: gc.scale(flops=1e23),
    "compare": lambda: gc.compare(["gpt1", "gpt2"]),
    "verify": lambda: gc.verify("gpt2"),
    "replicate": lambda: gc.replicate("gpt3-175b"),
    "conventions": lambda: gc.conventions("gpt2"),
}


@pytest.fixture(params=ANSWERS)
def answer(request: pytest.FixtureRequest) -> Any:
    return ANSWERS[request.param]()


def test_a_notebook_shows_a_table(answer: Any) -> None:
    shown = answer._repr_html_()
    assert shown.startswith("<pre")
    assert "─" in shown  # the line under a table's names


def test_print_shows_the_table(answer: Any) -> None:
    assert len(str(answer).splitlines()) >= 4


@pytest.mark.parametrize("name", ["params", "params of arrays", "compare", "verify", "replicate", "conventions"])
def test_a_repr_is_one_short_line(name: str) -> None:
    text = repr(ANSWERS[name]())
    assert "\n" not in text
    assert len(text) < 100


def test_a_printed_tree_has_the_numbers_of_the_command() -> None:
    assert "124,439,808 parameters" in str(gc.params("gpt2")).splitlines()[0]
    assert "28,348,416" in str(gc.params("gpt2"))  # the MLP's first matrix: 12 layers of 768 x 3,072 and 3,072 biases


def test_rows_are_a_list() -> None:
    rows = gc.compare(["gpt1", "gpt2"])
    assert isinstance(rows, list)
    assert [row.model for row in rows] == ["gpt1", "gpt2"]


def test_a_data_frame_has_a_row_for_each_part(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=list))
    rows = answer.to_frame()
    assert rows
    assert all(isinstance(row, dict) and row.keys() & rows[0].keys() for row in rows)


def test_a_data_frames_values_are_the_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=list))
    values = {row["part"]: row["value"] for row in gc.params("gpt2").to_frame()}
    assert values["block/mlp/up"] == 12 * (768 * 3072 + 3072)
    assert [row["parameters"] for row in gc.compare(["gpt2"]).to_frame()] == [124_439_808]


def test_without_pandas_it_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(gc.GptcalcError, match="needs pandas") as refused:
        gc.params("gpt2").to_frame()
    assert refused.value.hint == "pip install pandas"
