"""`train` as tables: the run, where a step's time goes, which kernels take it; or several devices side by side."""

from collections.abc import Callable
from typing import Any

from gptcalc.formulas.run.request import Run
from gptcalc.show.layout import layout
from gptcalc.show.storage import aside
from gptcalc.show.table import Column, Table, percent
from gptcalc.show.tree import branches
from gptcalc.spec.model import ModelSpec
from gptcalc.units import binary, short

SPANS = ((86400 * 365.25, "years"), (86400, "days"), (3600, "hours"), (60, "minutes"), (1, "s"), (1e-3, "ms"), (0, "us"))


LABELS = {"linear": "weight casts, bias gradients", "split heads": "gradients put together"}
"""Of passes over memory that are named after the code that makes them."""


def span(seconds: float) -> str:
    """A time in the largest unit that leaves a number above one.

    >>> span(0.0268), span(7200), span(26 * 86400)
    ('26.80 ms', '2.00 hours', '26.00 days')
    """
    size, unit = next((size, unit) for size, unit in SPANS if seconds >= size)
    amount = seconds / (size or 1e-6)
    return f"{amount:,.1f} {unit}" if amount >= 100 else f"{amount:.2f} {unit}"


def whole(value: float) -> str:
    return f"{value:,.0f}"


def money(usd: float) -> str:
    return f"${usd:,.2f}" if usd < 1000 else f"${usd:,.0f}"


def energy(kwh: float) -> str:
    return f"{kwh / 1000:,.1f} MWh" if kwh >= 10_000 else f"{kwh:,.2f} kWh" if kwh < 100 else f"{kwh:,.0f} kWh"


def mass(kg: float) -> str:
    return f"{kg / 1000:,.1f} t" if kg >= 10_000 else f"{kg:,.1f} kg"


def hours(value: float) -> str:
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def tables(model: ModelSpec, runs: list[Run], depth: int, explain: bool) -> list[Table]:
    if len(runs) > 1:
        return [side_by_side(model, runs)]
    run = runs[0]
    found = [bill(model, run, _further(run, explain))]
    if run.kernels:
        if run.pipeline is None:  # of many devices the step's own table names them
            found.append(kernels(run))
        if run.communication:
            found.append(communication(run))
        if run.inputs.get("pp", 1) > 1:
            found.append(stages(run))
        found.append(derivation(run) if explain else step(run, depth))
    return found


def _headline(model: ModelSpec, run: Run) -> str:
    return f"{model.name}, {short(run.inputs['tokens'])} tokens on {run.count:,} × {run.device}: {span(run.time)}{aside(model)}"


class Amount(float):
    """A number that knows how it is written; raw where a machine reads it."""

    def __new__(cls, value: float, _: Callable[[float], str]) -> "Amount":
        return super().__new__(cls, value)

    def __init__(self, _: float, write: Callable[[float], str]) -> None:
        self.write = write


def bill(model: ModelSpec, run: Run, further: list[str]) -> Table:
    """The run's bill, in s, h, USD, kWh and kg; a low and a high value where an input is a range; and what else can be asked."""
    quantities: dict[str, tuple[str, Callable[[float], str]]] = {
        "a step": ("step_time", span),
        "tokens per second": ("tokens_per_second", whole),
        "steps": ("steps", whole),
        "MFU": ("mfu", percent),
        "HFU": ("hfu", percent),
        "device-hours": ("device_hours", hours),
        "cost": ("cost_usd", money),
        "energy": ("energy_kwh", energy),
        "CO2": ("co2_kg", mass),
    }
    rows: list[list[Any]] = []
    for label, (name, write) in quantities.items():
        ends = run.ranges.get(name, {})
        amounts = [getattr(run, name), ends.get("low"), ends.get("high")]
        rows.append([label, *(None if amount is None else Amount(amount, write) for amount in amounts)])
    columns = [Column(""), *(Column(name, lambda amount: amount.write(amount), right=True) for name in ("likely", "low", "high"))]
    return Table(_headline(model, run), columns, rows, [*_notes(run), *([f"next: {', '.join(further)}"] if further else [])])


def _notes(run: Run) -> list[str]:
    i = run.inputs
    notes = []
    if run.drivers:
        spread = ", ".join(f"{one['input']} {one['low']:.3g} to {one['high']:.3g}" for one in run.drivers)
        notes.append(f"what spreads it, the widest first: {spread}")
    what = (
        "your MFU"
        if not run.kernels
        else f"{i['runtime']}{', compiled' if i['compiled'] else ''}, {i['optimizer']}, recompute {i['recompute']}"
    )
    notes.append(f"{run.precision}, peak {short(i['peak'], 'FLOP/s')} dense; {i['global_batch']:,} × {i['seq']:,} tokens a step; {what}")
    notes.append("MFU: the model's FLOPs (full attention) over time and peak; HFU: with what is recomputed")
    notes.append(f"energy: {i['tdp_share']:g} × TDP × PUE {i['pue']:g}; {i['carbon']:g} kg CO2 per kWh")
    if "stack" in i:
        notes.append(f"layout: {layout(i)}; stack {i['stack']}, cluster {i['cluster']}")
    if run.memory:
        verdict = "fits" if run.memory["fits"] else "does not fit"
        where = f", on the {run.memory['stage']} stage" if i.get("pp", 1) > 1 else ""
        notes.append(f"memory: {binary(run.memory['peak_allocated'])} of {binary(run.memory['room'])}{where}: {verdict}")
    if run.goodput:
        g = run.goodput
        notes.append(
            f"goodput {percent(g['goodput'])}: {g['failures']:,.0f} failures, one in {span(g['between_failures'])}; a checkpoint of"
            f" {short(g['checkpoint_bytes'], 'B')} in {span(g['checkpoint_seconds'])} every {span(g['interval'])}"
        )
    return notes + [f"note: {note}" for note in run.notes]


def _further(run: Run, explain: bool) -> list[str]:
    """Options that show more of this run."""
    if not run.kernels:
        return ["leave --mfu out (where a step's time goes, whether it fits)"]
    found = [] if explain else ["--explain (how each part comes about)"]
    if run.count == 1:
        return [*found, "--count 8 (on several devices)"]
    found += ["--timeline (the pipeline's schedule)"] * (run.inputs.get("pp", 1) > 1)
    return found + ["--goodput (with failures)"] * (run.goodput is None)


def kernels(run: Run) -> Table:
    """Which kernels take the time."""
    columns = [Column("kernels"), Column("time", span, right=True), Column("share", percent, right=True)]
    return Table(
        "which kernels take the time of a step",
        columns,
        [[LABELS.get(one["kind"], one["kind"]), one["time"], one["share"]] for one in run.kernels],
    )


def communication(run: Run) -> Table:
    """Each kind of communication in a step: all of it, and what nothing hides."""
    columns = [Column("communication"), Column("ranks", whole, right=True), Column("in all", span, right=True)]
    columns += [Column("exposed", span, right=True), Column("of the step", percent, right=True)]
    rows = [[one["name"], one["ranks"], one["total"], one["exposed"], one["exposed"] / run.step_time] for one in run.communication]
    return Table("what the devices send in a step", columns, rows)


def stages(run: Run) -> Table:
    """What each kind of pipeline stage computes for a micro-batch, and its fullest moment in memory."""
    assert run.pipeline is not None
    assert run.memory is not None
    columns = [Column("stage"), *(Column(name, span, right=True) for name in ("forward", "backward")), Column("memory", binary, right=True)]
    rows = [[role, *run.pipeline["stages"][role].values(), peak] for role, peak in run.memory["stages"].items()]
    return Table("what a stage needs: time of a micro-batch, memory at its peak", columns, rows)


def step(run: Run, depth: int) -> Table:
    """Where a step's time goes."""
    columns = [Column("part"), Column("time", span, right=True), Column("share", percent, right=True)]
    labels = {path: LABELS[node.name] for path, node in run.parts.walk() if node.name in LABELS}
    rows = [[label, node.value, node.value / run.parts.value] for _, label, node in branches(run.parts, depth, labels)]
    return Table(f"where the {span(run.step_time)} go", columns, rows, [], bold=frozenset({len(rows) - 1}))


def derivation(run: Run) -> Table:
    """Every leaf of a step with the kernels of one run of it."""
    columns = [
        Column("part"),
        Column("time", span, right=True),
        Column("kernels of one run" if not run.communication else "how it comes about", fold=True),
    ]
    rows: list[list[Any]] = [[path, node.value, node.formula] for path, node in run.parts.leaves()]
    notes = ["times are of all layers; each constant's meaning and source: gptcalc devices NAME; each pass: presets/kernels"]
    return Table(f"what the {span(run.step_time)} are made of", columns, [*rows, ["total", run.step_time, ""]], notes)


def side_by_side(model: ModelSpec, runs: list[Run]) -> Table:
    """Several devices in one table, a row each."""
    columns = [
        Column("device"),
        Column("precision", drop=3),
        Column("a step", span, right=True, drop=2),
        Column("MFU", percent, right=True, drop=1),
        Column("time", span, right=True),
        Column("device-hours", hours, right=True),
        Column("cost", money, right=True),
        Column("energy", energy, right=True),
        Column("CO2", mass, right=True),
    ]
    rows = [[r.device, r.precision, r.step_time, r.mfu, r.time, r.device_hours, r.cost_usd, r.energy_kwh, r.co2_kg] for r in runs]
    notes = list(dict.fromkeys(f"note: {note}" for run in runs for note in run.notes))
    spread = {run.device: run.ranges.get("cost_usd") for run in runs}
    notes += [f"cost on {name}: {money(ends['low'])} to {money(ends['high'])} by offer" for name, ends in spread.items() if ends]
    count = runs[0].count
    headline = f"{model.name}, {short(runs[0].inputs['tokens'])} tokens on {_devices(count)}, of {len(runs)} kinds to choose from"
    return Table(headline, columns, rows, notes)


def too_large(run: Run) -> list[str]:
    """What stderr says of a recipe that does not fit."""
    assert run.memory is not None
    needed, there, short_by = (binary(run.memory["peak_allocated"]), binary(run.memory["room"]), binary(-run.memory["left"]))
    where = f" on the {run.memory['stage']} stage" if run.inputs.get("pp", 1) > 1 else ""
    line = f"{run.device}: does not fit: {needed} needed{where}, {there} there, {short_by} short"
    change = run.memory["change"]
    if change is None:
        return [line, "hint: no change of one or two options would fit: divide the model further with --tp and --pp, over more devices"]
    batch, accumulates, _ = change["option"].removeprefix("--batch ").partition(" --accumulate ")
    option = f"--batch {batch} --global-batch {run.inputs['global_batch']}" if accumulates else change["option"]
    return [line, f"hint: {option} would fit ({change['price']})"]


def _devices(count: int) -> str:
    return f"{count:,} device{'s' if count > 1 else ''}"
