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
from typing import Any, NamedTuple

from rich.cells import cell_len

SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
ASCII = {ord(sup): f"^{digit}" for digit, sup in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")} | str.maketrans(
    {"·": "*", "×": "x", "–": "-", "─": "-", "█": "#", "░": "-", "▒": "=", "≤": "<=", "≥": ">=", "±": "+-", "…": "..."}
)


class Column(NamedTuple):
    """`write` turns a value into text; columns with the highest `drop` go first where space is short (0: stays)."""

    name: str
    write: Callable[[Any], str] = str
    right: bool = False
    drop: int = 0
    fold: bool = False


class Table(NamedTuple):
    """`headline` is the answer, printed above; `notes` stand below. Rows hold raw values; None is an empty cell."""

    headline: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    notes: Sequence[str] = ()
    bold: frozenset[int] = frozenset()

    def cells(self) -> list[list[str]]:
        return [["" if v is None else c.write(v) for c, v in zip(self.columns, row, strict=True)] for row in self.rows]


def integer(value: float) -> str:
    """Grouped digits, never rounded: 174,604,259,328."""
    return f"{value:,}"


def percent(share: float) -> str:
    return "<0.01 %" if 0 < share < 5e-5 else f"{100 * share:.2f} %"


def signed_percent(share: float) -> str:
    if share == 0:
        return "0 %"
    return f"{100 * share:+.2f} %" if abs(share) >= 1e-4 else f"{100 * share:+.1g} %"


def formula(text: str) -> str:
    """A formula as papers print it: `12*L*d**2` becomes 12·L·d²."""
    return re.sub(r"\*\*(\d+)", lambda power: power[1].translate(SUPERSCRIPTS), text).replace("*", "·")


def csv(table: Table) -> str:
    """Raw values, one header line."""
    import csv as writer
    import io

    out = io.StringIO()
    rows = writer.writer(out, lineterminator="\n")
    rows.writerow([column.name for column in table.columns])
    rows.writerows(table.rows)
    return out.getvalue()


def markdown(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = ["---:" if column.right else "---" for column in table.columns]
    body = [line([column.name for column in table.columns]), line(rule), *(line(cells) for cells in table.cells())]
    return "\n\n".join(part for part in (f"**{table.headline}**", "\n".join(body), "  \n".join(table.notes)) if part) + "\n"


def terminal(table: Table) -> str:
    """Text for a terminal: in colour and fitted to its width there, plain when piped."""
    utf8 = "utf" in (sys.stdout.encoding or "").lower()
    width = get_terminal_size((PIPED, 24)).columns
    cells = table.cells()
    keep = _fitting(table.columns, cells, width)
    widths = _widths(table.columns, cells, keep, width)
    lines = [_styled(table.headline, GREEN), ""] if table.headline else []
    if cells:
        lines += [_styled(line, BOLD) for line in _lines([column.name for column in table.columns], table.columns, keep, widths)]
        lines.append("─" * (sum(widths.values()) + len(GAP) * (len(keep) - 1)))
    for number, row in enumerate(cells):
        lines += [_styled(line, BOLD) if number in table.bold else line for line in _lines(row, table.columns, keep, widths)]
    if table.notes:
        lines += ["", *(line for note in table.notes for line in (wrap(note, width) if sys.stdout.isatty() else [note]))]
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
        keep.remove(max(droppable, key=lambda i: columns[i].drop))
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
