"""A table of raw values with a way to write each column, and its renderings: terminal, CSV, Markdown.

A number is never cut: a table that does not fit drops its columns marked as droppable first, folds its text, and at last runs over
the edge.
"""

import os
import re
import sys
from collections.abc import Callable, Sequence
from itertools import zip_longest
from shutil import get_terminal_size
from textwrap import wrap
from typing import Any, NamedTuple, TypeVar

from rich.cells import cell_len

from gptcalc.spec.reading import printable
from gptcalc.units import binary

SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
ASCII = {ord(sup): f"^{digit}" for digit, sup in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")} | str.maketrans(
    {"·": "*", "×": "x", "–": "-", "─": "-", "█": "#", "░": "-", "▒": "=", "≤": "<=", "≥": ">=", "±": "+-", "…": "...", "\xa0": " "}
)


class Column(NamedTuple):
    """`write` turns a value into text; columns with the highest `drop` go first, together, where space is short (0: stays).

    What is `drawn`, a bar, is no value: CSV has none of it.
    """

    name: str
    write: Callable[[Any], str] = str
    right: bool = False
    drop: int = 0
    fold: bool = False
    drawn: bool = False


class Table(NamedTuple):
    """`headline` is the answer, printed above; `notes` stand below. Rows hold raw values; None is an empty cell.

    Names come from files that anyone may have written: nothing in them reaches a terminal that would steer it.
    """

    headline: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    notes: Sequence[str] = ()
    bold: frozenset[int] = frozenset()

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
            cells.append(path if i == 0 else clean(row[i]) if isinstance(row[i], str) else row[i])
            if mixed and i == min(mixed):
                cells.append("" if row[i] is None else unit_of(row[i], column))
        rows.writerow(cells)
    return out.getvalue()


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
    notes = "  \n".join(clean(note) for note in table.notes)
    return "\n\n".join(part for part in (f"**{clean(table.headline)}**", "\n".join(body), notes) if part) + "\n"


def _indented(cell: str) -> str:
    """Markdown drops blanks at the start of a cell, and keeps those that do not break."""
    text = cell.lstrip(" ")
    return "\xa0" * (len(cell) - len(text)) + text


def terminal(table: Table) -> str:
    """Text for a terminal: in colour and fitted to its width there, plain when piped."""
    utf8 = "utf" in (sys.stdout.encoding or "").lower()
    width = get_terminal_size((PIPED, 24)).columns
    cells = table.cells()
    keep = _fitting(table.columns, cells, width)
    widths = _widths(table.columns, cells, keep, width)
    wrapped = sys.stdout.isatty()
    headline = wrap(clean(table.headline), width, break_long_words=False) if wrapped else [clean(table.headline)]
    lines = [*(_styled(line, GREEN) for line in headline), ""] if table.headline else []
    if cells:
        lines += [_styled(line, BOLD) for line in _lines([column.name for column in table.columns], table.columns, keep, widths)]
        lines.append("─" * (sum(widths.values()) + len(GAP) * (len(keep) - 1)))
    for number, row in enumerate(cells):
        lines += [_styled(line, BOLD) if number in table.bold else line for line in _lines(row, table.columns, keep, widths)]
    left_out = [column.name for i, column in enumerate(table.columns) if cells and i not in keep and column.name and not column.drawn]
    notes = [*table.notes, *([f"no room for the column{'s' * (len(left_out) > 1)} {', '.join(left_out)}"] if left_out else [])]
    if notes:
        lines += ["", *(line for note in map(clean, notes) for line in (wrap(note, width) if wrapped else [note]))]
    text = "\n".join(lines) + "\n"
    return text if utf8 else text.translate(ASCII).encode("ascii", "replace").decode()


PIPED = 120
"""Columns of output that no terminal shows, unless $COLUMNS says otherwise."""

GAP = "  "
FOLDED = 16
"""A column that folds is given at least this many characters."""

BOLD, GREEN = "1", "1;32"


def _styled(line: str, code: str) -> str:
    """In colour on a terminal, unless the user asks for none (https://no-color.org)."""
    plain = not line or not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return line if plain else f"\x1b[{code}m{line}\x1b[0m"


def _natural(columns: Sequence[Column], cells: Sequence[Sequence[str]], i: int) -> int:
    return max([cell_len(columns[i].name), *(cell_len(row[i]) for row in cells)])


def _fitting(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> list[int]:
    """The columns that are shown: all, or those that are left after the droppable ones went."""
    least = [min(FOLDED, n) if columns[i].fold else n for i in range(len(columns)) for n in [_natural(columns, cells, i)]]
    keep = list(range(len(columns)))
    while sum(least[i] + len(GAP) for i in keep) - len(GAP) > width:
        droppable = [i for i in keep if columns[i].drop]
        if not droppable:
            break
        first = max(columns[i].drop for i in droppable)
        keep = [i for i in keep if columns[i].drop != first]
    return keep


def _widths(columns: Sequence[Column], cells: Sequence[Sequence[str]], keep: Sequence[int], width: int) -> dict[int, int]:
    """Each column as wide as its widest cell; those that fold share what is left of the line."""
    widths = {i: _natural(columns, cells, i) for i in keep}
    folding = sorted((i for i in keep if columns[i].fold), key=lambda i: widths[i])
    left = width - len(GAP) * (len(keep) - 1) - sum(widths[i] for i in keep if not columns[i].fold)
    for position, i in enumerate(folding):
        widths[i] = min(widths[i], max(FOLDED, left // (len(folding) - position)))
        left -= widths[i]
    return widths


def _lines(row: Sequence[str], columns: Sequence[Column], keep: Sequence[int], widths: dict[int, int]) -> list[str]:
    """The lines of one row: more than one where a cell folds."""
    folded = [wrap(row[i], widths[i]) if columns[i].fold and cell_len(row[i]) > widths[i] else [row[i]] for i in keep]
    lines = []
    for parts in zip_longest(*folded, fillvalue=""):
        padded = []
        for i, text in zip(keep, parts, strict=True):
            space = " " * (widths[i] - cell_len(text))
            padded.append(space + text if columns[i].right else text + space)
        lines.append(GAP.join(padded).rstrip())
    return lines
