"""What a terminal shows of a table: nothing cut, what is left out named, colour with a meaning, and the same as HTML and SVG."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from gptcalc.show.table import Column, Table, bar, integer
from gptcalc.show.terminal import page, terminal

ESCAPE = re.compile(r"\x1b\[[0-9;]*m|\x1b\]8;[^\x1b]*\x1b\\")
COLUMNS = [Column("part"), Column("parameters", integer, right=True), Column("formula", fold=True, drop=1), Column("source", drop=2)]
ROWS = [["block", 174_604_259_328, "12*L*d**2 + 13*L*d", "Brown et al. 2020"], ["  mlp", 115_972_374_528, "8*L*d**2", "arXiv:2005.14165"]]
TABLE = Table("gpt3-175b: 174,604,259,328 parameters", COLUMNS, ROWS, ["next: gptcalc flops gpt3-175b (its FLOPs)"])


@pytest.mark.parametrize("width", [24, 30, 40, 60, 100, 200])
def test_what_does_not_fit_is_dropped_and_named(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    shown = terminal(TABLE)
    assert "174,604,259,328" in shown
    assert max(map(len, shown.splitlines())) <= width
    header = next(line for line in shown.splitlines() if line.startswith("part"))
    for name in ("formula", "source"):
        assert (name in header) != ("no room for the column" in shown and name in shown.replace(header, ""))


def test_a_number_wider_than_the_terminal_runs_over_the_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "12")
    assert "174,604,259,328" in terminal(TABLE)


def test_names_in_brackets_are_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert "[a100] :smile: [red]x[/red]" in terminal(Table("[a100] :smile: [red]x[/red]", [Column("name")], [["[a100]"]]))


def test_a_bar_is_as_long_as_its_share() -> None:
    assert [len(bar(share)) for share in (0.0, 0.005, 0.25, 0.5, 1.0)] == [0, 0, 3, 6, 12]


def shown(environment: dict[str, str]) -> str:
    code = (
        "from gptcalc.show.table import Column, Table; from gptcalc.show.terminal import terminal\n"
        "import sys; sys.stdout.write(terminal(Table('no', [Column('x')], [['1']], ['arXiv:2005.14165'], verdict='no')))"
    )
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "TERM")}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, env=clean | environment, check=True)
    return ran.stdout.decode()


def test_colour_has_a_meaning_and_can_be_had_and_refused() -> None:
    forced = shown({"FORCE_COLOR": "1", "TERM": "xterm-256color"})
    assert "\x1b[1;31mno" in forced  # bold red
    assert "https://arxiv.org/abs/2005.14165" in forced
    assert "\x1b" not in shown({"TERM": "xterm-256color"})  # a pipe
    assert "\x1b" not in shown({"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm-256color"})
    assert "\x1b" not in shown({"FORCE_COLOR": "1", "TERM": "dumb"})
    assert [line.rstrip() for line in ESCAPE.sub("", forced).splitlines()] == shown({}).splitlines()


def test_svg_and_html_have_the_same_words() -> None:
    picture = "".join(ElementTree.fromstring(page([TABLE], "svg", "gptcalc params")).itertext()).replace("\xa0", " ")
    seen: list[str] = []
    parser = HTMLParser()
    parser.handle_data = seen.append  # type: ignore[method-assign]
    parser.feed(page([TABLE], "html", "gptcalc params"))
    for text in (picture, "".join(seen)):
        assert "174,604,259,328 parameters" in text
        assert "└ mlp" in text


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("memory gpt2 --device h100", "32"),  # green: fits
        ("memory gpt2 --device tpu-v4", "33"),  # yellow: uncalibrated
        ("memory llama3-8b --device h100", "31"),  # red: does not fit
        ("infer gpt3-13b --device t4", "31"),
        ("params gpt2 --check", "32"),
        ("replicate gpt3-175b", "32"),
    ],
)
def test_a_verdict_has_its_colour(command: str, code: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "200", "PYTHONIOENCODING": "utf-8"}
    ran = subprocess.run([sys.executable, "-m", "gptcalc", *command.split()], capture_output=True, env=environment, check=False)
    headline, below = ran.stdout.decode().splitlines()[:2]
    assert headline.startswith(f"\x1b[1;{code}m")
    assert ("of" in below and "%" in below and "[" in below) == command.startswith(("memory", "infer"))
