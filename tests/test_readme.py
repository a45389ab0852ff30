"""The README and docs tell the truth: their generated parts are current, links lead somewhere, the library example runs."""

import doctest
import re
from pathlib import Path

import pytest
from readme import PAGES, README, current


@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_generated_parts_are_current(page: Path) -> None:
    text = page.read_text("utf-8")
    assert "<!-- gptcalc " in text
    assert text == current(text), "run: python tests/readme.py"


def test_the_library_example_runs() -> None:
    example = re.search(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert example is not None
    test = doctest.DocTestParser().get_doctest(example[1], {}, "README", str(README), 0)
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
