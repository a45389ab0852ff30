"""Curves of `infer` in the terminal, drawn by plotext."""

import sys
from shutil import get_terminal_size
from typing import Any

from gptcalc.formulas.inference.answer import Inference
from gptcalc.search.scale import Scale


def throughput(answer: Inference) -> str:
    """Tokens per second of all users over the time that one waits for a token; points are named by their batch."""
    assert answer.sweep is not None
    rows, option = answer.sweep.rows, answer.sweep.option
    plotext = figure()
    x, y = [1e3 * row["time_per_output_token"] for row in rows], [row["tokens_per_second"] for row in rows]
    plotext.plot(x, y, marker=line())
    plotext.scatter(x, y, marker="o", label=f"{option} {rows[0][option]:,} to {rows[-1][option]:,}")
    for at, row in zip(zip(x, y, strict=True), rows, strict=True):
        plotext.text(f" {row[option]}", *at)
    plotext.xlabel("ms for each token")
    plotext.ylabel("tokens/s")
    return text_of(plotext)


def roofline(data: dict[str, Any]) -> str:
    """The roof, and operations as points under it: FLOP/s over FLOP per byte, both in powers of ten."""
    from math import log10

    plotext = figure()
    intensities = [0.1, data["ridge"], max(10 * data["ridge"], *(point["intensity"] for point in data["points"]))]
    roof = [min(data["peak"], data["bandwidth"] * i) for i in intensities]
    plotext.plot([log10(i) for i in intensities], [log10(f) for f in roof], marker=line(), label="roof")
    for phase, marker in (("prefill", "P"), ("decode", "d")):
        points = [point for point in data["points"] if point["phase"] == phase and point["intensity"] >= 0.1]
        where = [log10(point["intensity"]) for point in points], [log10(point["flops_per_second"]) for point in points]
        plotext.scatter(*where, marker=marker, label=phase)
    ticks = range(-1, int(log10(intensities[-1])) + 2)
    plotext.xticks(list(ticks), [f"{10.0**power:g}" for power in ticks])
    floor = int(min(log10(point["flops_per_second"]) for point in data["points"]))
    powers = range(floor, int(log10(data["peak"])) + 2)
    plotext.yticks(list(powers), [f"1e{power}" for power in powers])
    plotext.xlabel("FLOP per byte")
    plotext.ylabel("FLOP/s")
    return text_of(plotext)


def valley(answer: Scale) -> str:
    """The default law's loss over the parameters, for the compute of the answer."""
    from math import log10

    from gptcalc.search.laws import BESIROGLU
    from gptcalc.show.scale import nats, size

    best = answer.optima[0]
    plotext = figure()
    powers = [log10(best.parameters) + step / 20 for step in range(-30, 31)]
    losses = [BESIROGLU.loss(10**power, best.flops / (6 * 10**power)) for power in powers]
    plotext.plot(powers, losses, marker=line())
    found = nats(BESIROGLU.loss(best.parameters, best.tokens))
    plotext.scatter([log10(best.parameters)], [best.loss], marker="o", label=f"{size(best.parameters)} parameters, loss {found}")
    ticks = range(int(powers[0]) + 1, int(powers[-1]) + 1)
    plotext.xticks(list(ticks), [size(10.0**power) for power in ticks])
    plotext.xlabel(f"parameters, at {best.flops:.3g} FLOP")
    plotext.ylabel("loss, nats a token")
    return text_of(plotext)


def figure() -> Any:
    import plotext  # type: ignore[import-untyped]

    width, height = get_terminal_size((100, 24))
    plotext.clear_figure()
    plotext.theme("clear" if not sys.stdout.isatty() else "pro")
    plotext.plot_size(min(width, 120), max(12, min(height - 4, 24)))
    return plotext


ASCII = str.maketrans("┌┐└┘├┤┬┴┼─│", "+++++++++-|")


def utf8() -> bool:
    """Whether standard output shows more than ASCII: curves can then be finer than letters."""
    return "utf" in (sys.stdout.encoding or "").lower()


def line() -> str:
    """The marker of a curve."""
    return "braille" if utf8() else "."


def text_of(plotext: Any) -> str:
    text = str(plotext.build())
    if not sys.stdout.isatty():
        text = str(plotext.uncolorize(text))
    if not utf8():
        text = text.translate(ASCII).encode("ascii", "replace").decode()
    return "\n".join(row.rstrip() for row in text.splitlines()) + "\n"
