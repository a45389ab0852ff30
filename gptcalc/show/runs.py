"""`train` on several devices as one table: what each takes, whether it fits, the fastest and the cheapest."""

from typing import Any

from gptcalc.footprint.answer import FITS
from gptcalc.run.answer import Ends, Run
from gptcalc.show.amounts import Amount, energy, hours, kind_hours, mass, money, span
from gptcalc.show.devices import seller
from gptcalc.show.sequences import sequences
from gptcalc.show.several import STYLES
from gptcalc.show.table import Column, Table, percent
from gptcalc.show.table import Verdict as Color
from gptcalc.show.train import color_of, duration_of, least_of
from gptcalc.spec.model import ModelSpec
from gptcalc.units import short


def side_by_side(model: ModelSpec, runs: list[Run]) -> Table:
    """Several devices in one table, a row each."""
    differ = len({run.count for run in runs}) > 1
    kinds = {run.device_kind for run in runs}
    fitting = [run for run in runs if run.fits]
    soonest = min((float(run.time) for run in fitting), default=None)
    least = min((float(run.cost_usd) for run in fitting if run.cost_usd is not None), default=None)
    columns = [
        Column("device"),
        Column("precision", drop=3),
        Column("a step", span, right=True, drop=2),
        Column("MFU", percent, right=True, drop=1),
        Column("time", lambda amount: amount.write(amount), right=True, style=lambda time: "bold green" if time == soonest else ""),
        Column(kind_hours(kinds.pop()) if len(kinds) == 1 else "device-hours", hours, right=True),
        Column("cost", money, right=True, style=lambda cost: "bold green" if cost == least else ""),
        Column("energy", energy, right=True, drop=4),
        Column("CO2", mass, right=True, drop=5),
        Column("price", drop=3, style="dim"),
    ]
    rows: list[list[Any]] = [
        [
            _called(r, differ),
            r.precision,
            r.step_time,
            r.mfu,
            _amount_of_time(r),
            r.device_hours,
            r.cost_usd,
            r.energy_kwh,
            r.co2_kg,
            _price(r),
        ]
        for r in runs
    ]
    if any(run.memory for run in runs):
        columns.append(Column("fits", style=STYLES.__getitem__))
        rows = [[*row, None if r.memory is None else FITS[r.memory["fits"]]] for row, r in zip(rows, runs, strict=True)]
    if least is not None or soonest is not None:
        columns.append(Column("", style="green"))
        rows = [[*row, _marks(r, soonest, least)] for row, r in zip(rows, runs, strict=True)]
    notes = list(dict.fromkeys(f"note: {note}" for run in runs for note in run.notes))
    for run in runs:
        ends, price = run.ranges.get("cost_usd"), _price(run)
        if price:
            notes.append(f"cost on {_called(run, differ)}: {price}{'; ' + _from_to(ends) if ends else ''}")
    asked = f"{model.name}, {short(runs[0].inputs['tokens'])} tokens in {sequences(model, runs[0].inputs['seq'])}"
    asked += "" if differ else f" on {_devices(runs[0].count)}"
    odd = [run.device for run in runs if run.kernels and not run.calibrated]
    uncalibrated = f"; uncalibrated: {', '.join(odd)}" if odd else ""
    return Table(
        f"{asked}: {_best(runs, differ)}{uncalibrated}",
        columns,
        rows,
        notes,
        verdict=_of_all(runs),
    )


def _price(run: Run) -> str | None:
    """USD an hour and device, and who asks it."""
    usd = run.inputs.get("price")
    if usd is None:
        return None
    return f"${usd:,.2f}/h, {seller(*run.inputs['price_source']) if run.inputs['price_source'] else 'yours'}"


def _marks(run: Run, soonest: float | None, least: float | None) -> str | None:
    """Of what is best of several that fit."""
    marks = [name for name, best, own in (("fastest", soonest, run.time), ("cheapest", least, run.cost_usd)) if run.fits and own == best]
    return ", ".join(marks) or None


def _called(run: Run, counts: bool) -> str:
    """A device, with its count where those differ."""
    return f"{run.count:,} × {run.device}" if counts else run.device


def _of_all(runs: list[Run]) -> Color:
    """Of the best of several: none fits, or one that may not be as good as it looks."""
    colors = {color_of(run) for run in runs}
    return "no" if colors == {"no"} else "yes" if "yes" in colors else "beware" if "beware" in colors else ""


def _amount_of_time(run: Run) -> Amount:
    return Amount(run.time, lambda _: _beside(run))


def _beside(run: Run) -> str:
    """The time beside that of others, all at their likely values."""
    return f"ideally {span(run.time)}" if run.lower_bound and least_of(run) != run.time else duration_of(run)


def _from_to(ends: Ends) -> str:
    return f"{money(ends['low'])} or more" if ends["high"] is None else f"{money(ends['low'])} to {money(ends['high'])}"


def _best(runs: list[Run], counts: bool) -> str:
    """The fastest and the cheapest of those that may fit."""
    fitting = [run for run in runs if run.fits]
    if not fitting:
        return f"none of {len(runs)} kinds has the memory"
    fastest = min(fitting, key=lambda run: float(run.time))
    priced = [run for run in fitting if run.cost_usd is not None]
    if not priced:
        return f"{_called(fastest, counts)} is fastest ({_beside(fastest)})"
    cheapest = min(priced, key=lambda run: float(run.cost_usd))
    cost = money(cheapest.cost_usd)
    if cheapest is fastest:
        return f"{_called(fastest, counts)} is fastest and cheapest ({_beside(fastest)}, {cost})"
    return f"{_called(fastest, counts)} is fastest ({_beside(fastest)}), {_called(cheapest, counts)} cheapest ({cost})"


def _devices(count: int) -> str:
    return f"{count:,} device{'s' if count > 1 else ''}"
