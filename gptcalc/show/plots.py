"""Curves of `infer` in the terminal, drawn by plotext."""

import sys
from shutil import get_terminal_size
from string import ascii_lowercase
from typing import Any

from gptcalc.search.choice import Choice
from gptcalc.search.measures import MEASURES
from gptcalc.search.scale import Scale
from gptcalc.search.sweep import Variants
from gptcalc.serve.answer import Inference
from gptcalc.serve.fleet import Fleet


def throughput(answer: Inference) -> str:
    """Tokens per second of all users over the time that one waits for a token; points are named by their batch."""
    assert answer.sweep is not None
    rows, option = answer.sweep.rows, answer.sweep.option
    plotext = figure()
    x, y = [1e3 * row["time_per_output_token"] for row in rows], [row["tokens_per_second"] for row in rows]
    plotext.plot(x, y, marker=line())
    plotext.scatter(x, y, marker="o")
    width = max(x) - min(x) or max(x)
    height = 1.15 * max(y)
    unit, taken = 1.2 * width / 60, min(x) - width
    for at, below, row in zip(x, y, rows, strict=True):
        if at - taken < (len(f"{row[option]:,}") + 1) * unit and row is not rows[-1]:
            continue  # its name would stand in that of the point before
        taken = at
        plotext.text(f"{row[option]:,}", at, below + height / 14, alignment="center")
    plotext.xlim(min(x) - width / 12, max(x) + width / 12)
    plotext.ylim(0, height)
    step = nice(height / 5)
    ticks = [step * k for k in range(int(height / step) + 1)]
    plotext.yticks(ticks, [f"{tick:,.6g}" if tick < 1000 else f"{tick:,.0f}" for tick in ticks])
    plotext.xlabel(f"ms for each token; the points are named by their {option}")
    plotext.ylabel("tokens/s")
    return text_of(plotext)


def front(answer: Fleet) -> str:
    """Tokens a second of a device over those of one user: what no other layout beats in both."""
    plotext = figure()
    x, y = [one.of_a_user for one in answer.front], [one.of_a_device for one in answer.front]
    plotext.plot(x, y, marker=line())
    plotext.scatter(x, y, marker="o")
    plotext.xlabel("tokens/s of one user")
    plotext.ylabel("tokens/s of a device")
    return text_of(plotext)


def roofline(data: dict[str, Any]) -> str:
    """The roof, and operations as points under it: FLOP/s over FLOP per byte, both in powers of ten."""
    from math import log10

    plotext = figure()
    intensities = [0.1, data["ridge"], max(10 * data["ridge"], *(point["intensity"] for point in data["points"]))]
    roof = [min(data["peak"], data["bandwidth"] * i) for i in intensities]
    plotext.plot([log10(i) for i in intensities], [log10(f) for f in roof], marker=line())
    for point, letter in zip(data["points"], letters(data["points"]), strict=True):
        if point["intensity"] >= 0.1:
            colour = "green" if point["phase"] == "prefill" else "red"
            plotext.scatter([log10(point["intensity"])], [log10(point["flops_per_second"])], marker=letter, color=colour)
    ticks = range(-1, int(log10(intensities[-1])) + 2)
    plotext.xticks(list(ticks), [f"{10.0**power:g}" for power in ticks])
    floor = int(min(log10(point["flops_per_second"]) for point in data["points"]))
    powers = range(floor, int(log10(data["peak"])) + 2)
    plotext.yticks(list(powers), [f"1e{power}" for power in powers])
    plotext.xlabel("FLOP per byte; capital letters: prefill, small ones: decode")
    plotext.ylabel("FLOP/s")
    return text_of(plotext)


def letters(points: list[dict[str, Any]]) -> list[str]:
    """A name for each point: a letter for its operation, capital in the prefill.

    >>> letters([{"phase": "prefill", "operation": "norm"}, {"phase": "decode", "operation": "norm"}])
    ['A', 'a']
    """
    order = list(dict.fromkeys(point["operation"] for point in points))
    named = [ascii_lowercase[order.index(point["operation"]) % 26] for point in points]
    return [letter.upper() if point["phase"] == "prefill" else letter for letter, point in zip(named, points, strict=True)]


def nice(size: float) -> float:
    """The nearest of 1, 2 and 5 times a power of ten that is not below a size.

    >>> nice(1830), nice(0.07)
    (2000.0, 0.1)
    """
    from math import floor, log10

    power = 10.0 ** floor(log10(size))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= size)


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


def scaling(curve: list[Choice]) -> str:
    """Tokens per second of the best plans over the number of devices, both in powers of two, each kind of device a curve."""
    from math import log2

    plotext = figure()
    for device in dict.fromkeys(one.run.device for one in curve):
        own = [one.run for one in curve if one.run.device == device]
        x, y = [log2(run.count) for run in own], [log2(run.tokens_per_second) for run in own]
        plotext.plot(x, y, marker=line(), label=device)
        plotext.scatter(x, y, marker="o")
    counts = sorted({one.run.count for one in curve})
    plotext.xticks([log2(count) for count in counts], [f"{count:,}" for count in counts])
    rates = [log2(one.run.tokens_per_second) for one in curve]
    powers = range(int(min(rates)), int(max(rates)) + 2)
    plotext.yticks(list(powers), [f"{2.0**power:,.0f}" for power in powers])
    plotext.xlabel("devices; the best plan of each number of them")
    plotext.ylabel("tokens/s")
    return text_of(plotext)


MOST_CURVES, MOST_TICKS = 6, 8


def swept(answer: Variants) -> str:
    """The first measure over the first varied field that is a number, a curve for each combination of the others' values."""
    from gptcalc.errors import GptcalcError
    from gptcalc.show.sweep import WRITERS, plain

    def numbers(values: list[Any]) -> bool:
        return all(isinstance(one, int | float) and not isinstance(one, bool) for one in values if one is not None)

    across = next((name for name in answer.varied if numbers(answer.columns[name])), None)
    name = answer.by or answer.shown[0]
    if across is None or not numbers(answer.columns[name]) or not answer.value:
        raise GptcalcError("there is nothing to draw: a plot has numbers on both sides", hint="vary a number, and show one first")
    plotext = figure()
    curves: dict[str, list[tuple[Any, Any]]] = {}
    for at, value in enumerate(answer.columns[name]):
        if value is not None:
            point = answer.point(at)
            x = point.pop(across)
            curves.setdefault(", ".join(f"{key} {plain(one)}" for key, one in point.items()), []).append((x, value))
    for label, curve in list(curves.items())[:MOST_CURVES]:
        curve.sort()
        x, y = [one for one, _ in curve], [value for _, value in curve]
        plotext.plot(x, y, marker=line(), **({"label": label} if label else {}))
        plotext.scatter(x, y, marker="o")
    shown = [value for curve in list(curves.values())[:MOST_CURVES] for _, value in curve]
    height = nice((max(shown) - min(shown) or max(shown) or 1) / 5)
    across_all = sorted({x for curve in curves.values() for x, _ in curve})
    if len(across_all) <= MOST_TICKS:
        plotext.xticks(across_all, [plain(x) for x in across_all])
    ticks = [height * k for k in range(int(min(shown) // height), int(max(shown) // height) + 2)]
    plotext.yticks(ticks, [WRITERS[MEASURES[name].unit](tick) if tick else "0" for tick in ticks])
    more = f"; {MOST_CURVES} of {len(curves)} curves" if len(curves) > MOST_CURVES else ""
    plotext.xlabel(f"{across}{more}")
    plotext.ylabel(name)
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
