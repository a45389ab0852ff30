"""The command line as a function: `run("params", "gpt2")` gives exit code, stdout and stderr."""

import os
import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from gptcalc.cli import main

ALL = os.environ.get("GPTCALC_TESTS") == "all"
"""Whether every law tries all its examples: `GPTCALC_TESTS=all pytest -m "slow or law"`, as CI does."""


def examples(number: int) -> int:
    """How many examples a law tries: all of them, or a sixth, so that the tests of a change take minutes."""
    return number if ALL else max(5, number // 6)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("law")


class Ran(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _no_presets_of_the_user(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPTCALC_PRESETS", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp()))
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    def call(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["gptcalc", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        assert isinstance(stopped.value.code, int)
        return Ran(stopped.value.code, out, err)

    return call
