"""`calibrate` as tables: the constants with their uncertainty, and the errors of the rows before, after and left out."""

from statistics import median
from typing import Any

from gptcalc.run.calibrate import Calibration
from gptcalc.show.table import Column, Table, Verdict, signed_percent


def _value(value: float) -> str:
    return f"{value:.4g}"


def tables(found: Calibration, *, explain: bool = False) -> list[Table]:
    """The constants; the rows. With `explain` what each constant means and its bounds."""
    return [_constants(found, explain=explain), _rows(found)]


def _constants(found: Calibration, *, explain: bool) -> Table:
    columns = [
        Column("constant", fold=True),
        Column("before", _value, right=True),
        Column("after", _value, right=True),
        Column("deviation", lambda value: f"±{value:.2g}", right=True),
        Column("not told apart from", fold=True),
        *([Column("meaning, bounds", fold=True)] if explain else []),
    ]
    body: list[list[Any]] = []
    for one in found.constants:
        beside = "no row depends on it" if one.deviation is None else ", ".join(one.like)
        why = [f"{one.meaning}; {one.low:g} to {one.high:g}"] if explain else []
        body.append([one.name, one.before, one.after, one.deviation, beside, *why])
    moved = sum(one.deviation is not None for one in found.constants)
    rows = len(found.rows)
    headline = f"{found.name}: {moved} of {len(found.constants)} constants fitted on {rows} row{'s' if rows != 1 else ''}"
    verdict: Verdict = ""
    if rows:
        before, after, left = (median(abs(getattr(row, name)) for row in found.rows) for name in ("before", "after", "left_out"))
        headline += f": median error {before:.1%} before, {after:.1%} after, {left:.1%} of rows left out in turn"
        verdict = "yes" if left < before else "beware"
    at_bounds = [one.name for one in found.constants if one.deviation is not None and one.after in (one.low, one.high)]
    notes = [f"{', '.join(at_bounds)}: at a bound, so something else is wrong"] if at_bounds else []
    return Table(headline, columns, body, [*found.notes, *notes], verdict=verdict)


def _rows(found: Calibration) -> Table:
    columns = [
        Column("run", fold=True),
        Column("quantity", lambda name: str(name).replace("_", " "), fold=True),
        Column("measured", lambda value: f"{value:,.4g}", right=True),
        Column("before", signed_percent, right=True),
        Column("after", signed_percent, right=True),
        Column("left out", signed_percent, right=True),
    ]
    return Table("errors, predicted over measured less one", columns, [list(row) for row in found.rows], [])
