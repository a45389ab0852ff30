"""`sweep` as a table: the ends of what is shown first, then a row for each point, then what was refused and why."""

from collections.abc import Callable
from typing import Any

from gptcalc.search.measures import MEASURES
from gptcalc.search.sweep import Variants
from gptcalc.show.amounts import energy, hours, mass, money, pace, span
from gptcalc.show.table import Column, Table, Verdict, in_unit, percent
from gptcalc.units import binary, short

ROWS = 40
"""Points that a table shows where it is not said how many."""


@in_unit("FLOP")
def flop(value: float) -> str:
    return short(value, "FLOP")


def yes(value: Any) -> str:
    return "yes" if value else "no"


WRITERS: dict[str, Callable[[Any], str]] = {
    "parameters": short,
    "FLOP": flop,
    "bytes": binary,
    "s": span,
    "tokens/s": pace,
    "share": percent,
    "steps": short,
    "sequences": short,
    "h": hours,
    "USD": money,
    "kWh": energy,
    "kg": mass,
    "": yes,
}


def plain(value: Any) -> str:
    """A varied value: whole numbers with commas, words as they are."""
    return (
        yes(value)
        if isinstance(value, bool)
        else f"{value:,}"
        if isinstance(value, int)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def tables(answer: Variants, rows: int | None = ROWS) -> list[Table]:
    """`rows`: how many points at most; None for all."""
    places = list(answer.places())
    with_any = [at for at in places if any(answer.columns[name][at] is not None for name in answer.shown)]
    listed = places if rows is None else with_any[:rows]
    everything = rows is None
    columns = [Column(name, plain, right=True) for name in answer.varied]
    columns += [Column(name, WRITERS[MEASURES[name].unit], right=True) for name in answer.shown]
    names = (*answer.varied, *answer.shown)
    body = [[answer.columns[name][at] for name in names] for at in listed]
    if everything and answer.refused:
        columns.append(Column("refused", fold=True))
        body = [[*row, answer.refused[at].message if at in answer.refused else None] for at, row in zip(listed, body, strict=True)]
    notes = []
    if rows is not None and len(listed) < len(with_any):
        notes.append(
            f"{len(listed):,} of {len(with_any):,} points: --rows {len(with_any)} for all, --format csv, or --by {answer.shown[0]}"
        )
    notes += _refusals(answer)
    notes += _unsaid(answer)
    notes.append(f"next: {_next(answer)}")
    return [Table(headline(answer), columns, body, notes, verdict=_verdict(answer))]


def measures() -> Table:
    """Everything that a sweep may show."""
    columns = [Column("measure"), Column("unit"), Column("what it is", fold=True), Column("as in")]
    rows = [[name, one.unit, one.says, f"gptcalc {one.question}"] for name, one in MEASURES.items()]
    return Table(f"a sweep shows any of {len(rows)} measures", columns, rows, ["next: --show params,step_time, with commas between them"])


def _verdict(answer: Variants) -> Verdict:
    if not answer.value:
        return "no"
    return "beware" if answer.refused or answer.interrupted else ""


def headline(answer: Variants) -> str:
    """How many points have an answer, and the ends of the first measure.

    >>> from gptcalc.search.sweep import sweep
    >>> headline(sweep("gpt2", vary={"n_layer": [12, 24], "n_head": [12, 13]}, show="params"))
    'gpt2: 2 of 4 points answered, 2 refused; params 124.4 M (n_layer 12, n_head 12) to 209.5 M (n_layer 24, n_head 12)'
    """
    said = (
        f"{answer.value:,} points"
        if not answer.refused
        else f"{answer.value:,} of {answer.size:,} points answered, {len(answer.refused):,} refused"
    )
    if answer.interrupted:
        said += f", interrupted at {answer.size:,} of {answer.asked:,}"
    ends = _ends(answer)
    return f"{answer.model}: {said}" + (f"; {ends}" if ends else "")


def _ends(answer: Variants) -> str:
    name = answer.by or answer.shown[0]
    fits = answer.columns.get("fits") if answer.by else None
    known = [(value, at) for at, value in enumerate(answer.columns[name]) if isinstance(value, int | float) and not isinstance(value, bool)]
    if not known:
        return ""
    if fits is not None:
        known = [(value, at) for value, at in known if fits[at] is not False] or known
    write = WRITERS[MEASURES[name].unit]
    (least, low), (most, high) = min(known, key=lambda one: one[0]), max(known, key=lambda one: one[0])
    if least == most:
        return f"{name} {write(least)} of all"
    if MEASURES[name].better > 0:
        (least, low), (most, high) = (most, high), (least, low)
    return f"{name} {write(least)} ({at_point(answer, low)}) to {write(most)} ({at_point(answer, high)})"


def at_point(answer: Variants, at: int) -> str:
    return ", ".join(f"{name} {plain(value)}" for name, value in answer.point(at).items())


MOST_REASONS = 5


def _refusals(answer: Variants) -> list[str]:
    found = answer.reasons()
    said = [
        f"refused: {message}" if count == 1 else f"refused, {count:,} points: {message}{'' if count == 1 else ', and the like'}"
        for message, count in found[:MOST_REASONS]
    ]
    rest = sum(count for _, count in found[MOST_REASONS:])
    return said + ([f"refused, {rest:,} points: for {len(found) - MOST_REASONS} other reasons, in --format csv"] if rest else [])


def _unsaid(answer: Variants) -> list[str]:
    found = []
    if "fits" in answer.shown:
        fits = [one for at, one in enumerate(answer.columns["fits"]) if at not in answer.refused]
        where = f" in {answer.held['device']}" if "device" not in answer.varied else ""
        unsaid = fits.count(None)
        found.append(f"{fits.count(True):,} of {len(fits):,} fit{where}" + (f"; of {unsaid:,} that cannot be said" if unsaid else ""))
    if any(MEASURES[name].question in ("train", "infer") for name in answer.shown):
        found.append("times have the error that 'gptcalc train' or 'infer' prints for a point, and what does not fit is timed too")
    return found


def _next(answer: Variants) -> str:
    more = [name for name in ("memory", "fits", "step_time", "mfu") if name not in answer.shown][:1]
    words = [f"--by {answer.shown[0]}", "--plot", "--format csv", *(f"--show {name}" for name in more)]
    return ", ".join(words)
