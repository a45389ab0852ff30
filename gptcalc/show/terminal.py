"""A table in a terminal, by Rich: in colour and fitted to its width there, plain when piped.

No number is cut and no word broken: a table that does not fit drops its columns marked as droppable first and names them, folds its text,
and at last puts each row's cells under each other. Only a word that is wider than the terminal runs over the edge.
"""

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from shutil import get_terminal_size
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Column as RichColumn
from rich.table import Table as RichTable
from rich.text import Text

from gptcalc.show.table import ASCII, Column, Table, clean

PIPED, PICTURED = 120, 100
"""Columns of output that no terminal shows, and of HTML and SVG, unless $COLUMNS says otherwise."""

GAP = 2
FOLDED = 16
"""A column that folds is given at least this many characters."""

HEADLINE = {"": "bold", "yes": "bold green", "no": "bold red", "beware": "bold yellow"}
GAUGE = {"": "", "yes": "green", "no": "red", "beware": "yellow"}
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
COMMAND = re.compile(r"gptcalc [^;,()]+(?<! )|--[a-z][a-z-]*(?: [\w.:/=-]+)?")


def terminal(table: Table) -> str:
    """A table's text for standard output as it is: colour, width and characters that it can show."""
    wraps = sys.stdout.isatty() or "COLUMNS" in os.environ
    return written(console_of(get_terminal_size((PIPED, 24)).columns), lambda console: _write(console, table, wraps=wraps))


def console_of(width: int) -> Console:
    """Standard output as Rich sees it, in the colours that it has and may have."""
    colours: Literal["auto"] | None = None if os.environ.get("NO_COLOR") else "auto"
    return Console(width=width, file=sys.stdout, color_system=colours, highlight=False, emoji=False, markup=False, legacy_windows=False)


def written(console: Console, write: Callable[[Console], None]) -> str:
    """What is written to a console, in the characters that standard output has."""
    with console.capture() as captured:
        write(console)
    text = captured.get()
    if not console.is_terminal:
        text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    return text if "utf" in (sys.stdout.encoding or "").lower() else text.translate(ASCII).encode("ascii", "replace").decode()


def page(tables: Sequence[Table], form: Literal["html", "svg"], title: str, code: str | None = None) -> str:
    """The tables as a terminal in colour would show them, for a report or a picture: $COLUMNS wide, or 100. `code`: what HTML stands in."""
    from io import StringIO

    width = get_terminal_size((PICTURED, 24)).columns
    console = Console(
        width=width, file=StringIO(), record=True, force_terminal=True, color_system="truecolor", highlight=False, emoji=False
    )
    for number, table in enumerate(tables):
        if number:
            console.print()
        _write(console, table, wraps=True)
    return _unpadded(console.export_svg(title=title)) if form == "svg" else console.export_html(inline_styles=True, code_format=code)


ADVANCE = 12.2
"""Units of one character in Rich's pictures."""

BLANKS = re.compile(r'x="([\d.]+)"( y="[\d.]+") textLength="([\d.]+)"([^>]*>)((?:&#160;)+)')


def _unpadded(svg: str) -> str:
    """Each text begins where its first sign stands: some viewers drop the blanks before it, and columns would lose their right edge."""

    def moved(text: re.Match[str]) -> str:
        blanks = ADVANCE * len(text[5]) / len("&#160;")
        x, length = round(float(text[1]) + blanks, 1), round(float(text[3]) - blanks, 1)
        return f'x="{x:g}"{text[2]} textLength="{length:g}"{text[4]}'

    return BLANKS.sub(moved, svg)


def _write(console: Console, table: Table, *, wraps: bool) -> None:
    width = console.width
    cells = table.cells()
    keep = fitting(table.columns, cells, width)
    if table.headline:
        first, *further = map(clean, table.headline.split("\n"))
        _say(console, Text(first, HEADLINE[table.verdict]), wraps)
        if table.gauge and wraps:
            _say(console, Text(table.gauge, GAUGE[table.verdict]), wraps)
        for line in further:
            _say(console, _commands(Text(line)), wraps)
        console.print()
    if cells and _total(table.columns, cells, keep) <= width:
        console.print(_grid(table, cells, keep, width), crop=False)
    elif cells:
        _records(console, table, cells, keep)
    formulas = any(table.columns[i].name == "formula" for i in keep)
    notes = [_note(clean(note)) for note in [*([table.legend] if table.legend and formulas else []), *table.notes]]
    gone = [column.name for i, column in enumerate(table.columns) if cells and i not in keep and column.name and not column.drawn]
    if gone:
        notes.append(Text(f"no room for the column{'s' * (len(gone) > 1)} {', '.join(gone)}", "dim"))
    if notes and (cells or table.headline):
        console.print()
    for note in notes:
        _say(console, note, wraps)


def _say(console: Console, text: Text, wraps: bool) -> None:
    """A line of text, wrapped between words where the width is known."""
    for line in wrapped(text, console.width) if wraps else [text]:
        console.print(line, soft_wrap=True)


def wrapped(text: Text, width: int) -> list[Text]:
    """Lines of whole words; Rich itself would break a word that is longer than a line.

    >>> [line.plain for line in wrapped(Text("a parameter count"), 6)]
    ['a', 'parameter', 'count']
    """
    breaks: list[int] = []
    for word in re.finditer(r"\S+", text.plain):
        begin = breaks[-1] if breaks else 0
        if word.start() > begin and text.plain[begin : word.start()].strip() and cell_len(text.plain[begin : word.end()]) > width:
            breaks.append(word.start())
    lines = list(text.divide(breaks))
    for line in lines:
        line.rstrip()
    return lines


def fitting(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> list[int]:
    """The columns that are shown: all, or those that are left after the droppable ones went."""
    keep = list(range(len(columns)))
    while _total(columns, cells, keep) > width:
        droppable = [i for i in keep if columns[i].drop]
        if not droppable:
            break
        first = max(columns[i].drop for i in droppable)
        keep = [i for i in keep if columns[i].drop != first]
    return keep


def _total(columns: Sequence[Column], cells: Sequence[Sequence[str]], keep: Sequence[int]) -> int:
    """The characters that the kept columns take at least."""
    return sum(_least(columns, cells, i) + GAP for i in keep) - GAP


def _least(columns: Sequence[Column], cells: Sequence[Sequence[str]], i: int) -> int:
    natural = max([cell_len(columns[i].name), *(cell_len(row[i]) for row in cells)])
    words = max([cell_len(word) for row in [[columns[i].name] * len(columns), *cells] for word in row[i].split()], default=0)
    return max(words, min(max(FOLDED, columns[i].least), natural)) if columns[i].fold else natural


def _widths(columns: Sequence[Column], cells: Sequence[Sequence[str]], keep: Sequence[int], width: int) -> dict[int, int]:
    """Each column as wide as its widest cell; those that fold share what is left of the line, each at least its longest word."""
    natural = {i: max([cell_len(columns[i].name), *(cell_len(row[i]) for row in cells)]) for i in keep}
    folding = sorted((i for i in keep if columns[i].fold), key=lambda i: natural[i])
    left = width - GAP * (len(keep) - 1) - sum(natural[i] for i in keep if i not in folding)
    least = {i: _least(columns, cells, i) for i in folding}
    for position, i in enumerate(folding):
        others = sum(least[other] for other in folding[position + 1 :])
        natural[i] = max(least[i], min(natural[i], max(left // (len(folding) - position), 0), left - others))
        left -= natural[i]
    return natural


def _grid(table: Table, cells: Sequence[Sequence[str]], keep: Sequence[int], width: int) -> RichTable:
    widths = _widths(table.columns, cells, keep, width)
    heads = [
        RichColumn(
            Text(table.columns[i].name),
            justify="right" if table.columns[i].right else "left",
            no_wrap=not table.columns[i].fold,
            overflow="fold",
            width=widths[i],
        )
        for i in keep
    ]
    grid = RichTable(*heads, box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0), header_style="bold")
    grid.width = sum(widths.values()) + GAP * (len(keep) - 1)
    labels = _guided([row[0] for row in cells])
    for number, (row, values) in enumerate(zip(cells, table.rows, strict=True)):
        texts = [_cell(table.columns[i], row[i], values[i]) for i in keep]
        if keep and keep[0] == 0:
            texts[0] = labels[number]
        grid.add_row(*texts, style="bold" if number in table.bold else "")
    return grid


def _records(console: Console, table: Table, cells: Sequence[Sequence[str]], keep: Sequence[int]) -> None:
    """Each row as a paragraph: its first cell, and under it the others, each behind the name of its column."""
    first, *others = keep
    for label, row, values in zip(_guided([row[first] for row in cells]), cells, table.rows, strict=True):
        label.stylize("bold")
        for number, line in enumerate(wrapped(label, console.width - 4)):
            console.print(Text("    " if number else "").append_text(line), soft_wrap=True)
        for i in others:
            if row[i] and not table.columns[i].drawn:
                text = Text.assemble((f"{table.columns[i].name}  " if table.columns[i].name else "", "dim"))
                text.append_text(_cell(table.columns[i], row[i], values[i]))
                for number, line in enumerate(wrapped(text, console.width - 4)):
                    console.print(Text(" " * (4 if number else 2)).append_text(line), soft_wrap=True)


def _cell(column: Column, text: str, value: object) -> Text:
    if isinstance(column.style, Mapping):
        return Text.assemble(*((sign, column.style.get(sign, "")) for sign in text))
    style = column.style if isinstance(column.style, str) else "" if value is None else column.style(value)
    return _linked(Text(text, style))


def _guided(labels: Sequence[str]) -> list[Text]:
    """Labels that are indented by two blanks a level, with the lines of a tree in place of the blanks.

    >>> [text.plain for text in _guided(["block", "  attention", "    query", "  mlp"])]
    ['block', '├ attention', '│ └ query', '└ mlp']
    """
    levels = [(len(label) - len(label.lstrip(" "))) // 2 for label in labels]

    def follows(at: int, level: int) -> bool:
        after = next((other for other in levels[at + 1 :] if other <= level), -1)
        return after == level

    found = []
    for at, (label, level) in enumerate(zip(labels, levels, strict=True)):
        above = "".join("│ " if follows(at, depth) else "  " for depth in range(1, level))
        own = ("├ " if follows(at, level) else "└ ") if level else ""
        found.append(Text.assemble((above + own, "dim"), label.lstrip(" ")))
    return found


def _note(note: str) -> Text:
    """Below a table: what to do next in the colour of what can be copied, all else dim."""
    return _commands(Text(note)) if note.startswith(("next:", "hint:")) else _linked(Text(note, "dim"))


def _commands(text: Text) -> Text:
    for command in COMMAND.finditer(text.plain):
        text.stylize("cyan", *command.span())
    return text


def _linked(text: Text) -> Text:
    for paper in ARXIV.finditer(text.plain):
        text.stylize(f"link https://arxiv.org/abs/{paper[1]}", *paper.span())
    return text
