"""`replicate` as a table: what was predicted beside what was reported."""

from typing import Any

from gptcalc.formulas.replicate import Replica
from gptcalc.show.table import Column, Table, signed_percent


def number(value: float) -> str:
    """Four significant digits, in words that papers use.

    >>> number(3637.6), number(3.1429e23), number(0.4367)
    ('3,638', '3.143e+23', '0.4367')
    """
    if value >= 1e12:
        return f"{value:.4g}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def table(rows: list[Replica]) -> Table:
    columns = [
        Column("run"),
        Column("quantity"),
        Column("predicted", number, right=True),
        Column("reported", number, right=True),
        Column("error", signed_percent, right=True),
        Column("allowed", lambda share: f"{100 * share:g} %", right=True, drop=1),
        Column("", drop=2),
    ]
    body: list[list[Any]] = []
    for row in rows:
        verdict = "" if row.tolerance is None else "holds" if row.holds else "FAILS"
        tolerance = None if row.tolerance is None else round(row.tolerance, 4)
        body.append([row.run, row.quantity.replace("_", " "), row.predicted, row.reported, row.error, tolerance, verdict])
    judged = [row for row in rows if row.tolerance is not None]
    headline = f"{sum(row.holds for row in judged)} of {len(judged)} reported numbers of {len({row.run for row in rows})} runs hold"
    errors = sorted(abs(row.error) for row in judged if row.error is not None)
    if errors:
        middle, ninth = errors[len(errors) // 2], errors[int(0.9 * (len(errors) - 1))]
        headline += f": median error {100 * middle:.2f} %, nine in ten within {100 * ninth:.1f} %, worst {100 * errors[-1]:.1f} %"
    notes = list(dict.fromkeys(f"{row.run}, {row.quantity.replace('_', ' ')}: {row.note}" for row in rows if row.note and row.reported))
    sources = list(dict.fromkeys(row.source for row in rows)) if len({row.run for row in rows}) < 4 else []
    return Table(headline, columns, body, [*notes, *(f"source: {source}" for source in sources)])
