"""The README tells the truth: its generated parts are current, its library example runs."""

import doctest
import re

import pytest
from readme import README, current


@pytest.mark.slow
@pytest.mark.golden
def test_the_generated_parts_are_current() -> None:
    text = README.read_text("utf-8")
    assert "<!-- gptcalc " in text
    assert text == current(text), "run: python tests/readme.py"


def test_the_library_example_runs() -> None:
    example = re.search(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert example is not None
    test = doctest.DocTestParser().get_doctest(example[1], {}, "README", str(README), 0)
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0
