"""A help page by Rich: what a command answers, examples that can be copied, and its options in a panel for each heading.

Typer's own pages have five columns beside the texts, which at 80 characters leave these a word a line.
"""

from collections.abc import Sequence
from shutil import get_terminal_size
from typing import Any, NamedTuple

from rich.box import ROUNDED
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gptcalc.show.terminal import console_of, written

WIDEST = 100
"""Lines of text that are longer are hard to read."""

NAMES = 26
"""Characters that names of options take at most before their texts."""


NARROW = 60
"""Columns of a terminal below which texts stand under the names."""


class Entry(NamedTuple):
    """A command, an argument or an option: its names, what it wants, what it is for, and what it is without."""

    names: str
    wants: str
    text: str
    default: str = ""


def page(usage: str, text: str, examples: Sequence[tuple[str, str]], panels: dict[str, list[Entry]], closing: str = "") -> str:
    """The page as standard output can show it."""
    console = console_of(min(get_terminal_size((80, 24)).columns, WIDEST))

    def render(target: Any) -> None:
        target.print(Text.assemble(("Usage: ", "bold"), usage))
        target.print()
        target.print(Text(text))
        target.print()
        target.print(Text("Examples", "bold"))
        target.print(_examples(examples, target.width))
        target.print()
        shared = min(NAMES, max(len(_name(entry)) for entries in panels.values() for entry in entries))
        for title, entries in panels.items():
            target.print(
                Panel(
                    _grid(entries, shared if target.width >= NARROW else 0),
                    title=Text(title),
                    title_align="left",
                    border_style="dim",
                    box=ROUNDED,
                )
            )
        if closing:
            target.print(Text(closing))

    return written(console, render)


def _examples(examples: Sequence[tuple[str, str]], width: int) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    beside = 4 + max(len(command) for command, _ in examples) + max(len(what) for _, what in examples) <= width
    for command, what in examples:
        if beside:
            grid.add_row(Text(f"  {command}", "cyan"), Text(what))
        else:
            grid.add_row(Padding(Text(command, "cyan"), (0, 0, 0, 2)))
            grid.add_row(Padding(Text(what, "dim"), (0, 0, 0, 4)))
    return grid


def _grid(entries: Sequence[Entry], names: int) -> Table:
    """Texts beside names of a common width; under them where that is 0."""
    grid = Table.grid(padding=(0, 2 if names else 0, 0, 0), expand=True)
    if names:
        grid.add_column(width=names, overflow="fold")
    grid.add_column(ratio=1, overflow="fold")
    for entry in entries:
        called = Text.assemble((entry.names, "bold cyan"), (f" {entry.wants}" if entry.wants else "", "yellow"))
        default = f"{' ' if entry.text else ''}(default: {entry.default})" if entry.default else ""
        text = Text.assemble(entry.text, (default, "dim"))
        if names:
            grid.add_row(called, text)
        else:
            grid.add_row(called)
            grid.add_row(Padding(text, (0, 0, 0, 2)))
    return grid


def _name(entry: Entry) -> str:
    return max((f"{entry.names} {entry.wants}".strip()).split("\n"), key=len)
