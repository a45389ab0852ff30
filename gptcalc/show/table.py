"""A table of raw values with a way to write each column, as every command's answer is; its CSV and its Markdown. `terminal` renders it."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

from gptcalc.spec.reading import printable
from gptcalc.units import binary

SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
ASCII = {ord(sup): f"^{digit}" for digit, sup in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")} | str.maketrans(
    {
        "·": "*",
        "×": "x",
        "–": "-",
        "─": "-",
        "│": "|",
        "├": "|",
        "┤": "+",
        "└": "`",
        "░": "-",
        "▒": "=",
        "▓": "%",
        "≤": "<=",
        "≥": ">=",
        "±": "+-",
        "…": "...",
        "\xa0": " ",
    }
    | dict.fromkeys("█▉▊▋▌", "#")
    | dict.fromkeys("▍▎▏", "-")
    | {"µ": "u"}
)
"""What is near to a sign that an output of other codes than UTF-8 lacks."""
Verdict = Literal["", "yes", "no", "beware"]
"""What an answer comes to: it fits or holds; it does not; it does, but tightly or uncalibrated. Empty: no question of yes or no."""


class Column(NamedTuple):
    """`write` turns a value into text; columns with the highest `drop` go first, together, where space is short (0: stays); a cell whose
    column may `fold` takes several lines. `style`, or what it makes of a value, is Rich's: dim, green, red;
    or it has one for each character of what is drawn.

    What is `drawn`, a bar, is no value: CSV has none of it. `least`: the characters without which it is better dropped than folded.
    """

    name: str
    write: Callable[[Any], str] = str
    right: bool = False
    drop: int = 0
    fold: bool = False
    drawn: bool = False
    least: int = 0
    style: str | Callable[[Any], str] | Mapping[str, str] = ""


class Table(NamedTuple):
    """`headline` is the answer, printed above, in the colour of its verdict, over its `gauge` where a width is known; `notes` stand below,
    first the `legend` of the formulas where these are shown. Rows hold raw values; None is an empty cell.

    Names come from files that anyone may have written: nothing in them reaches a terminal that would steer it.
    """

    headline: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    notes: Sequence[str] = ()
    bold: frozenset[int] = frozenset()
    verdict: Verdict = ""
    gauge: str = ""
    legend: str = ""

    def cells(self) -> list[list[str]]:
        return [["" if v is None else clean(c.write(v)) for c, v in zip(self.columns, row, strict=True)] for row in self.rows]


class Label(str):
    """A part's name, indented as a tree is, and its path."""

    __slots__ = ("path",)
    path: str

    @classmethod
    def of(cls, text: str, path: str) -> "Label":
        label = cls(text)
        label.path = path
        return label


def clean(text: str) -> str:
    return text if text.isprintable() else printable(text)


W = TypeVar("W", bound=Callable[..., str])


def in_unit(unit: str) -> Callable[[W], W]:
    """Says of a function that writes numbers, which unit they have before they are written: CSV has them in it."""

    def marked(write: W) -> W:
        setattr(write, "unit", unit)  # noqa: B010 (mypy knows no attributes of functions)
        return write

    return marked


def unit_of(value: Any, column: Column) -> str:
    """The unit of a raw value: its own where it knows how it is written, else its column's."""
    write = getattr(value, "write", column.write)
    return "bytes" if write is binary else str(getattr(write, "unit", ""))


def integer(value: float) -> str:
    """Grouped digits, never rounded: 174,604,259,328."""
    return f"{value:,}"


def bar(share: float) -> str:
    """A share as a bar of eighths of a character, twelve characters the whole.

    >>> bar(1.0), bar(0.1)
    ('████████████', '█▎')
    """
    eighths = round(96 * share)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


GAUGE = 30
"""Characters between the brackets of a gauge."""


def gauge(used: float, room: float, at_least: bool = False) -> str:
    """How many bytes are used of a device's; the mark shows where it ends, if they are more than there are.

    >>> print(gauge(60 * 2**30, 80 * 2**30), gauge(160 * 2**30, 80 * 2**30, at_least=True), sep="\\n")
    [██████████████████████▌░░░░░░░] 75.0 % of 80.00 GiB
    [███████████████│▒▒▒▒▒▒▒▒▒▒▒▒▒▒] at least 200 % of 80.00 GiB
    """
    if used > room:
        inside = min(max(round(GAUGE * room / used), 1), GAUGE - 2)
        filled = "█" * inside + "│" + "▒" * (GAUGE - inside - 1)
    else:
        eighths = round(8 * GAUGE * used / room)
        filled = ("█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()).ljust(GAUGE, "░")
    share = 100 * used / room
    return f"[{filled}] {'at least ' if at_least else ''}{f'{share:.1f}' if share < 100 else f'{share:,.0f}'} % of {binary(room)}"


def small(share: float) -> str:
    """The style of a share: below one per cent it can be skipped."""
    return "dim" if share < 0.01 else ""


def judged(holds: bool) -> str:
    """The style of what holds or fits, or does not."""
    return "green" if holds else "bold red"


@in_unit("fraction")
def percent(share: float) -> str:
    return "<0.01 %" if 0 < share < 5e-5 else f"{100 * share:.2f} %"


@in_unit("fraction")
def signed_percent(share: float) -> str:
    if share == 0:
        return "0 %"
    return f"{100 * share:+.2f} %" if abs(share) >= 1e-4 else f"{100 * share:+.1g} %"


def formula(text: str) -> str:
    """A formula as papers print it: `12*L*d**2` becomes 12·L·d²."""
    return re.sub(r"\*\*(\d+)", lambda power: power[1].translate(SUPERSCRIPTS), text).replace("*", "·")


def csv(table: Table) -> str:
    """Raw values under one header line: parts with their whole paths, each column with its unit, or with a column of units beside it."""
    import csv as writer
    import io

    columns = [(i, column) for i, column in enumerate(table.columns) if not column.drawn and not _twin(table, i)]
    mixed = {i for i, _ in columns if any(hasattr(row[i], "write") for row in table.rows)}
    names = []
    for i, column in columns:
        name = column.name or ("item" if i == 0 else "ok" if all(isinstance(row[i], bool) for row in table.rows) else "note")
        if mixed and i == min(mixed):
            names += [name, "unit"]
        elif i in mixed or "/" in name:
            names.append(name)
        else:
            unit = unit_of(None, column)
            names.append(f"{name} ({unit})" if unit else name)
    out = io.StringIO()
    rows = writer.writer(out, lineterminator="\n")
    rows.writerow(names)
    paths = _paths([row[0] for row in table.rows])
    for path, row in zip(paths, table.rows, strict=True):
        cells: list[Any] = []
        for i, column in columns:
            cells.append(path if i == 0 else clean(row[i]) if isinstance(row[i], str) else _raw(row[i]))
            if mixed and i == min(mixed):
                cells.append("" if row[i] is None else unit_of(row[i], column))
        rows.writerow(cells)
    return out.getvalue()


def _raw(value: Any) -> Any:
    """A number that says how it is written is a float, whatever it counts."""
    return int(value) if hasattr(value, "write") and value.is_integer() else value


def _twin(table: Table, i: int) -> bool:
    """Whether a column writes the bytes of another once more, for people to read."""
    if table.columns[i].write is not binary:
        return False
    exact = [j for j, column in enumerate(table.columns[:i]) if column.name == "bytes"]
    return any(all(row[i] == row[j] for row in table.rows) for j in exact)


def _paths(labels: Sequence[Any]) -> list[Any]:
    """The first column: a part's path, of what is only indented the labels that it stands under before it."""
    found: list[Any] = []
    above: list[str] = []
    for label in labels:
        if not isinstance(label, str):
            found.append(label)
            continue
        text = label.lstrip(" ")
        level = (len(label) - len(text)) // 2
        above = [*above[:level], clean(text)]
        found.append(clean(label.path) if isinstance(label, Label) and label.path else "/".join(above))
    return found


def markdown(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(_indented(cell.replace("|", "\\|")) for cell in cells) + " |"

    rule = ["---:" if column.right else "---" for column in table.columns]
    body = [line([column.name for column in table.columns]), line(rule), *(line(cells) for cells in table.cells())]
    notes = "  \n".join(clean(note) for note in [table.legend, *table.notes] if note)
    headline = "  \n".join(f"**{clean(line)}**" for line in table.headline.split("\n") if line)
    return "\n\n".join(part for part in (headline, "\n".join(body), notes) if part) + "\n"


def _indented(cell: str) -> str:
    """Markdown drops blanks at the start of a cell, and keeps those that do not break."""
    text = cell.lstrip(" ")
    return "\xa0" * (len(cell) - len(text)) + text
