"""A table of raw values with a way to write each column, and its renderings: terminal, CSV, Markdown.

A number is never cut: a table that does not fit drops its columns marked as droppable first, folds its text, and at last runs over
the edge.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
ASCII = str.maketrans({"·": "*", "×": "x", "²": "^2", "³": "^3", "–": "-", "─": "-", "█": "#", "≤": "<=", "≥": ">=", "±": "+-", "…": "..."})


@dataclass(frozen=True, slots=True)
class Column:
    """`write` turns a value into text; columns with the highest `drop` go first where space is short (0: stays)."""

    name: str
    write: Callable[[Any], str] = str
    right: bool = False
    drop: int = 0
    fold: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """`headline` is the answer, printed above; `notes` stand below. Rows hold raw values; None is an empty cell."""

    headline: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    notes: Sequence[str] = field(default=())
    bold: frozenset[int] = frozenset()

    def cells(self) -> list[list[str]]:
        return [["" if v is None else c.write(v) for c, v in zip(self.columns, row, strict=True)] for row in self.rows]


def integer(value: float) -> str:
    """Grouped digits, never rounded: 174,604,259,328."""
    return f"{value:,}"


def percent(share: float) -> str:
    return f"{100 * share:.2f} %"


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
    """Text for a terminal: coloured and fitted to its width there, plain and whole when piped."""
    import os

    import rich.box
    import rich.table
    from rich.console import Console
    from rich.text import Text

    utf8 = "utf" in (sys.stdout.encoding or "").lower()
    tty = sys.stdout.isatty()
    width = None if tty or os.environ.get("COLUMNS", "").isdigit() else 120
    console = Console(width=width, emoji=False, highlight=False, safe_box=not utf8)
    cells = table.cells()
    keep = _fitting(table.columns, cells, console.width)
    grid = rich.table.Table(box=rich.box.SIMPLE_HEAD if utf8 else rich.box.ASCII2, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    for i in keep:
        column = table.columns[i]
        folds = {"overflow": "fold"} if column.fold else {"no_wrap": True}
        grid.add_column(Text(column.name), justify="right" if column.right else "left", **folds)
    for row_number, row in enumerate(cells):
        grid.add_row(*(Text(row[i]) for i in keep), style="bold" if row_number in table.bold else "")
    needed = _width(table.columns, cells, keep)
    if needed > console.width:
        console.width = needed
    with console.capture() as capture:
        if table.headline:
            console.print(Text(table.headline, style="bold green"), soft_wrap=True)
            console.print()
        if table.rows:
            console.print(grid)
        if table.notes:
            console.print()
        for note in table.notes:
            console.print(Text(note), soft_wrap=not tty)
    text = "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"
    return text if utf8 else text.translate(SUPER_TO_ASCII).translate(ASCII).encode("ascii", "replace").decode()


SUPER_TO_ASCII = {ord(sup): f"^{digit}" for digit, sup in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}

FOLDED = 16
"""A column that folds is given at least this many characters."""


def _width(columns: Sequence[Column], cells: Sequence[Sequence[str]], keep: Sequence[int]) -> int:
    total = 2 * (len(keep) - 1)
    for i in keep:
        widest = max([len(columns[i].name), *(len(row[i]) for row in cells)])
        total += min(widest, FOLDED) if columns[i].fold else widest
    return total


def _fitting(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> list[int]:
    """The columns that are shown: all, or those that are left after the droppable ones went."""
    keep = list(range(len(columns)))
    while _width(columns, cells, keep) > width:
        droppable = [i for i in keep if columns[i].drop]
        if not droppable:
            break
        keep.remove(max(droppable, key=lambda i: columns[i].drop))
    return keep
