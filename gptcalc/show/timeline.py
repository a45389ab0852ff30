"""The memory of a training step over time, drawn in the terminal by plotext."""

import sys
from shutil import get_terminal_size
from typing import Any

GIB = 2**30
LINES = {
    "states": "weights and optimizer state",
    "gradients": "+ gradients",
    "activations": "+ activations",
    "transients": "+ transients: all",
}


def draw(answer: Any) -> None:
    """Writes the picture to stdout: kinds stacked on each other, phase by phase, and where the peak stands."""
    sys.stdout.write(picture(answer))


def picture(answer: Any) -> str:
    import plotext  # type: ignore[import-untyped]

    from gptcalc.formulas.run.timeline import KINDS, timeline

    points = timeline(answer.training)
    width, height = get_terminal_size((100, 24))
    plotext.clear_figure()
    plotext.theme("clear" if not sys.stdout.isatty() else "pro")
    plotext.plot_size(min(width, 120), max(12, min(height - 4, 24)))
    below = [0.0] * len(points)
    for kind in KINDS:
        below = [under + point.bytes[kind] / GIB for under, point in zip(below, points, strict=True)]
        plotext.plot(below, label=LINES[kind])
    peak = max(range(len(points)), key=lambda i: points[i].total)
    plotext.scatter([peak + 1], [points[peak].total / GIB], marker="X", label=f"peak: {points[peak].phase}, {points[peak].part}")
    starts = [i + 1 for i, point in enumerate(points) if i == 0 or point.phase != points[i - 1].phase]
    names = [points[start - 1].phase.replace("_", " ") for start in starts]
    plotext.xticks(starts, names)
    plotext.ylabel("GiB")
    text = str(plotext.build())
    if not sys.stdout.isatty():
        text = str(plotext.uncolorize(text))
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
