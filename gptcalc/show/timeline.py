"""The memory of a training step over time, drawn in the terminal: kinds as areas on each other, the device's limit as a line."""

import sys
from shutil import get_terminal_size
from typing import Any

from rich.text import Text

from gptcalc.run.timeline import KINDS, Point, timeline
from gptcalc.show.terminal import console_of, written
from gptcalc.units import binary

GIB = 2**30
HEIGHT, WIDEST = 16, 100
AREAS = {
    "states": ("weights and optimizer state", "█", "blue"),
    "gradients": ("gradients", "▓", "magenta"),
    "activations": ("activations", "▒", "green"),
    "transients": ("transients", "░", "yellow"),
}
"""What is said of a kind, what it is filled with, and in which colour."""

PHASES = {"before_forward": "", "forward": "forward", "after_forward": "", "backward": "backward", "optimizer": "update", "after": ""}


def draw(answer: Any) -> None:
    """Writes the picture to stdout."""
    sys.stdout.write(picture(answer))


def picture(answer: Any) -> str:
    """Areas over the parts of a step, the fullest moment named below; the limit where a device was given."""
    points = timeline(answer.training)
    limit = None if answer.verdict is None else answer.verdict.room
    console = console_of(min(get_terminal_size((WIDEST, 24)).columns, WIDEST))
    return written(console, lambda target: target.print(Text("\n").join(_lines(points, limit, target.width)), soft_wrap=True))


def _lines(points: list[Point], limit: int | None, width: int) -> list[Text]:
    fullest = max(points, key=lambda point: point.total)
    shown = limit is not None and limit <= 4 * fullest.total  # a device with far more room would leave no room for the curve
    top = max(fullest.total, limit if shown and limit else 0) * 1.02
    gutter = len(f"{top / GIB:,.1f}") + 6
    across = max(width - gutter, 10)
    chosen = [points[min(x * len(points) // across, len(points) - 1)] for x in range(across)]
    line = round(limit / top * HEIGHT) if shown and limit else None
    rows = [Text()]
    for row in range(HEIGHT, 0, -1):
        label = f"{top * row / HEIGHT / GIB:,.1f} GiB" if row % 4 == 0 else ""
        text = Text(f"{label:>{gutter - 2}} {'┤' if label else '│'}")
        for point in chosen:
            kind = _kind(point, top * (row - 0.5) / HEIGHT)
            if row == line:
                text.append("─", "bold red")
            elif kind is None:
                text.append(" ")
            else:
                text.append(AREAS[kind][1], AREAS[kind][2])
        rows.append(text)
    rows += [_axis(chosen, gutter), Text()]
    for kind in reversed(KINDS):
        if any(point.bytes[kind] for point in points):
            rows.append(Text.assemble(" " * gutter, (AREAS[kind][1] * 2, AREAS[kind][2]), f" {AREAS[kind][0]}"))
    if limit is not None:
        rows.append(Text.assemble(" " * gutter, ("──", "bold red"), f" the device: {binary(limit)}{'' if shown else ', far above'}"))
    rows.append(Text.assemble(" " * gutter, f"peak: {fullest.phase.replace('_', ' ')}, {fullest.part}: {binary(fullest.total)}"))
    return rows


def _kind(point: Point, height: float) -> str | None:
    """The kind that stands at a height, from the lowest up."""
    below = 0
    for kind in KINDS:
        below += point.bytes[kind]
        if height < below:
            return kind
    return None


def _axis(chosen: list[Point], gutter: int) -> Text:
    """The names of the phases, each under its start where there is room for it."""
    names, filled = "", 0
    for x, point in enumerate(chosen):
        if (x == 0 or point.phase != chosen[x - 1].phase) and PHASES[point.phase]:
            name = PHASES[point.phase]
            at = min(x, len(chosen) - len(name))
            if at >= filled:
                names = names.ljust(at) + name
                filled = len(names) + 1
    return Text(" " * gutter + names)
