"""A table of raw values with a way to write each column, as every command's answer is; its CSV and its Markdown. `terminal` renders it."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
Verdict = Literal["", "yes", "no", "beware"]
"""What an answer comes to: it fits or holds; it does not; it does, but tightly or uncalibrated. Empty: no question of yes or no."""


class Column(NamedTuple):
    """`write` turns a value into text; columns with the highest `drop` go first where space is short (0: stays); a cell whose column may
    `fold` takes several lines. `style`, or what it makes of a value, is Rich's: dim, green, red."""

    name: str
    write: Callable[[Any], str] = str
    right: bool = False
    drop: int = 0
    fold: bool = False
    style: str | Callable[[Any], str] = ""


class Table(NamedTuple):
    """`headline` is the answer, printed above, in the colour of its verdict; `notes` stand below. Rows hold raw values; None is an empty
    cell."""

    headline: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    notes: Sequence[str] = ()
    bold: frozenset[int] = frozenset()
    verdict: Verdict = ""

    def cells(self) -> list[list[str]]:
        return [["" if v is None else c.write(v) for c, v in zip(self.columns, row, strict=True)] for row in self.rows]


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


def small(share: float) -> str:
    """The style of a share: below one per cent it can be skipped."""
    return "dim" if share < 0.01 else ""


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
