"""`replicate` as a table: what was predicted beside what was reported."""

from statistics import median
from typing import Any

from gptcalc.run.loads import Kind
from gptcalc.run.published import Replica
from gptcalc.show.table import Column, Table, Verdict, formula, percent, signed_percent


def number(value: float) -> str:
    """Four significant digits, in words that papers use.

    >>> number(3637.6), number(3.1429e23), number(0.4367)
    ('3,638', '3.143e+23', '0.4367')
    """
    if value >= 1e12:
        return f"{value:.4g}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def within(row: Replica) -> bool:
    """Whether a reported number is in the interval that its prediction was given."""
    return abs(row.error or 0.0) <= (row.interval or 0.0) if row.inside is None else row.inside


COLOURS = {"": "", "holds": "green", "inside": "green", "outside": "yellow", "FAILS": "bold red"}


def table(rows: list[Replica], explain: bool = False) -> Table:
    """With `explain` how each prediction is computed, from what, and where each reported number stands."""
    columns = [
        Column("run", fold=True),
        Column("quantity", fold=True),
        Column("predicted", number, right=True),
        Column("reported", number, right=True),
        Column("error", signed_percent, right=True),
        Column("allowed", lambda share: f"{100 * share:g} %", right=True, drop=2),
        Column("", style=COLOURS.__getitem__),
        *([Column("computed as, reported in", formula, fold=True)] if explain else []),
    ]
    body: list[list[Any]] = []
    for row in rows:
        verdict = "" if row.tolerance is None else "holds" if row.holds else "FAILS"
        allowed = row.interval if row.tolerance is None else row.tolerance
        if row.interval is not None and row.error is not None:
            verdict = "inside" if within(row) else "outside"
        tolerance = None if allowed is None else round(allowed, 4)
        why = [f"{row.formula}. {row.source}"] if explain else []
        body.append([row.run, row.quantity.replace("_", " "), row.predicted, row.reported, row.error, tolerance, verdict, *why])
    judged = [row for row in rows if row.tolerance is not None]
    expected = [row for row in rows if row.interval is not None and row.error is not None]
    runs = len({row.run for row in rows})
    headline = f"{sum(row.holds for row in judged)} of {len(judged)} reported numbers of {runs} run{'s' if runs > 1 else ''} hold"
    if expected:
        inside = sum(within(row) for row in expected)
        headline = f"{inside} of {len(expected)} predictions within the interval that they deserve"
    errors = sorted(abs(row.error) for row in (expected or judged) if row.error is not None)
    if errors:
        ninth = errors[-(-9 * len(errors) // 10) - 1]
        mean = f"mean {100 * sum(errors) / len(errors):.2f} %, " if expected else ""
        headline += (
            f": {mean}median error {100 * median(errors):.2f} %, nine in ten within {100 * ninth:.1f} %, worst {100 * errors[-1]:.1f} %"
        )
    notes = _notes(rows)
    sources = list(dict.fromkeys(row.source for row in rows)) if (expected or runs < 4) and not explain else []
    found: Verdict = "no"
    if all(row.holds for row in rows):
        found = "yes" if not expected or inside == len(expected) else "beware"
    return Table(headline, columns, body, [*notes, *(f"source: {source}" for source in sources)], verdict=found)


def kinds(rows: list[Kind]) -> Table:
    """Servers under load by kind of model and server: errors, and how many runs are within the factor that is said of them."""
    columns = [
        Column("models"),
        Column("server"),
        Column("quantity"),
        Column("runs", lambda n: f"{n:,}", right=True),
        Column("median", percent, right=True),
        Column("nine in ten", percent, right=True),
        Column("bias", signed_percent, right=True),
        Column("factor", lambda factor: f"{factor:.2g}", right=True),
        Column("inside", percent, right=True),
        Column("left out", lambda share: "" if share is None else percent(share), right=True),
    ]
    names = {"tpot_ms": "TPOT", "ttft_ms": "TTFT"}
    body = [
        [one.kind, one.server, names[one.quantity], one.runs, one.median, one.ninth, one.bias, one.factor, one.inside, one.left_out]
        for one in rows
    ]
    notes = [
        "inside: within the factor that is said of such a model; left out: each table within what nine in ten runs of the others are",
        "a table is one server with one model on one device; constants of its server were fitted on all of them",
    ]
    return Table("measured servers under load, by kind", columns, body, notes)


def _notes(rows: list[Replica]) -> list[str]:
    """Each note with its row, or with how many rows have it."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.note and row.reported:
            found.setdefault(row.note, []).append(f"{row.run}, {row.quantity.replace('_', ' ')}")
    return [f"{where}: {note}" for note, places in found.items() for where in ([f"{len(places)} rows"] if len(places) > 3 else places)]
