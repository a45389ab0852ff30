"""The README and docs tell the truth: their generated parts are current, links lead somewhere, the library's examples run."""

import doctest
import re
from pathlib import Path

import pytest
from documents import WRITTEN
from readme import DOCS, PAGES, README, current, pictures

EVERY = [*PAGES, *(DOCS / name for name in WRITTEN)]
EXAMPLES = [README, DOCS / "howto-script.md"]


@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_generated_parts_are_current(page: Path) -> None:
    text = page.read_text("utf-8")
    assert text == current(text), "run: python tests/readme.py"
    for path, picture in pictures(text).items():
        assert path.read_text("utf-8") == picture, "run: python tests/readme.py"


@pytest.mark.golden
@pytest.mark.parametrize("name", WRITTEN)
def test_the_pages_of_reference_are_current(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == WRITTEN[name](), "run: python tests/readme.py"


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.name)
def test_the_examples_of_the_library_run(page: Path) -> None:
    code = "".join(re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL))
    test = doctest.DocTestParser().get_doctest(code, {}, page.name, str(page), 0)
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize("page", EVERY, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
