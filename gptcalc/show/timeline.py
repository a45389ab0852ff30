"""The memory of a training step over time, drawn in the terminal by plotext."""

import sys
from typing import Any

from gptcalc.show.plots import figure, text_of, utf8

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
    from gptcalc.formulas.run.timeline import KINDS, timeline

    points = timeline(answer.training)
    plotext = figure()
    below = [0.0] * len(points)
    for kind in KINDS:
        below = [under + point.bytes[kind] / GIB for under, point in zip(below, points, strict=True)]
        plotext.plot(below, marker="hd" if utf8() else kind[0], label=LINES[kind])
    peak = max(range(len(points)), key=lambda i: points[i].total)
    plotext.scatter([peak + 1], [points[peak].total / GIB], marker="X", label=f"peak: {points[peak].phase}, {points[peak].part}")
    starts = [i + 1 for i, point in enumerate(points) if i == 0 or point.phase != points[i - 1].phase]
    names = [points[start - 1].phase.replace("_", " ") for start in starts]
    plotext.xticks(starts, names)
    plotext.ylabel("GiB")
    return text_of(plotext)
