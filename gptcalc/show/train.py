"""`train` as tables: the run, where a step's time goes, which kernels take it; or several devices side by side."""

from collections.abc import Callable
from typing import Any

from gptcalc.run.answer import Ends, Run
from gptcalc.show.amounts import Amount, energy, hours, kind_hours, mass, money, pace, span, whole
from gptcalc.show.layout import layout
from gptcalc.show.sequences import sequences
from gptcalc.show.storage import aside
from gptcalc.show.table import Column, Label, Table, bar, gauge, percent, small
from gptcalc.show.table import Verdict as Color
from gptcalc.show.tree import branches
from gptcalc.spec.model import ModelSpec
from gptcalc.units import binary, short

LABELS = {"linear": "weight casts, bias gradients", "split heads": "gradients put together"}
"""Of passes over memory that are named after the code that makes them."""


def tables(model: ModelSpec, runs: list[Run], depth: int, explain: bool, larger: Run | None = None) -> list[Table]:
    """`larger`: the only run with the batch that fits, where none was asked for."""
    if len(runs) > 1:
        return [side_by_side(model, runs)]
    run = runs[0]
    found = [breakdown(model, run, _further(run, explain), larger)]
    if run.kernels:
        if run.pipeline is None:  # of many devices the step's own table names them
            found.append(kernels(run))
        if run.communication:
            found.append(communication(run))
        if run.inputs.get("pp", 1) > 1:
            found.append(stages(run))
        found.append(derivation(run) if explain else step(run, depth))
    return found


def of_run(run: Run) -> list[Table]:
    """The breakdown of a run alone, and which kernels take the time of its step."""
    return [_breakdown(repr(run), run, _notes(run)), *([kernels(run)] if run.kernels and run.pipeline is None else [])]


def _headline(model: ModelSpec, run: Run) -> str:
    """The time and its verdict."""
    asked = f"{model.name}, {short(run.inputs['tokens'])} tokens in {sequences(model, run.inputs['seq'])}"
    time = f"{_duration(run)}{', uncalibrated' if run.kernels and not run.calibrated else ''}"
    return f"{asked} on {run.count:,} × {run.device}: {time}{_verdict(run)}{aside(model)}"


def _duration(run: Run) -> str:
    if not run.lower_bound:
        return span(run.time)
    return f"at least {span(_least(run))}"


def _least(run: Run) -> float:
    """The low end of a lower bound, which is its likely value only on a chip that was measured."""
    return float(run.ranges["time"]["low"])


def _verdict(run: Run) -> str:
    if run.memory is None or run.memory["fits"]:
        return ""
    least = "at least " if run.memory.get("lower_bound") else ""
    sizes = f"{least}{binary(run.memory['peak_allocated'])} of {binary(run.memory['room'])}"
    return f", but does not fit ({sizes})" if run.memory["fits"] is False else f"; cannot say whether it fits ({sizes})"


VERDICTS = {True: "fits", False: "does not fit", None: "cannot say whether it fits"}


def breakdown(model: ModelSpec, run: Run, further: list[str], larger: Run | None = None) -> Table:
    """The run's breakdown, and what else can be asked."""
    notes = [] if larger is None else [_suggested(larger)]
    return _breakdown(_headline(model, run), run, [*notes, *_notes(run), *([f"next: {', '.join(further)}"] if further else [])])


def _breakdown(headline: str, run: Run, notes: list[str]) -> Table:
    """In s, h, USD, kWh and kg; a low and a high value where an input is a range."""
    quantities: dict[str, tuple[str, Callable[[float], str]]] = {
        "a step": ("step_time", span),
        "tokens per second": ("tokens_per_second", pace),
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
        label = Label.of(kind_hours(run.device_kind), label) if name == "device_hours" else label
        ends = run.ranges.get(name)
        amounts = [getattr(run, name), *((ends["low"], ends["high"]) if ends else (None, None))]
        rows.append([label, *(None if amount is None else Amount(amount, write) for amount in amounts)])
    best = "at best" if run.lower_bound and _least(run) == run.time else "ideal code" if run.lower_bound else "likely"
    names = (best, "low", "high")
    columns = [Column(""), *(Column(name, lambda amount: amount.write(amount), right=True) for name in names)]
    return Table(headline, columns, rows, notes, verdict=_color(run), gauge=_gauge(run))


def _color(run: Run) -> Color:
    """Red does not fit; yellow may not fit, is a lower bound or uncalibrated; green fits, by a model that was measured."""
    if not run.fits:
        return "no"
    if run.lower_bound or (run.memory and run.memory["fits"] is None) or (run.kernels and not run.calibrated):
        return "beware"
    return "yes" if run.memory else ""


def _gauge(run: Run) -> str:
    """The memory of the fullest device."""
    if not run.memory:
        return ""
    return gauge(run.memory["peak_allocated"], run.memory["room"], bool(run.memory.get("lower_bound")))


def _suggested(larger: Run) -> str:
    fits = "fits" if larger.memory is None or larger.memory["fits"] else "may fit"
    return f"batch 1; --batch {larger.inputs['batch']} {fits} and takes {_duration(larger)}"


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
    notes.append("MFU: the model's FLOPs (every key that a query's window holds) over time and peak; HFU: with what is recomputed")
    notes.append(f"energy: {i['tdp_share']:g} × TDP × PUE {i['pue']:g}; {i['carbon']:g} kg CO2 per kWh")
    if "stack" in i:
        notes.append(f"layout: {layout(i)}; stack {i['stack']}, cluster {i['cluster']}")
    if run.memory:
        verdict = VERDICTS[run.memory["fits"]]
        least = "at least " if run.memory.get("lower_bound") else ""
        where = f", on the {run.memory['stage']} stage" if i.get("pp", 1) > 1 else ""
        notes.append(f"memory: {least}{binary(run.memory['peak_allocated'])} of {binary(run.memory['room'])}{where}: {verdict}")
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
    rows = [[LABELS.get(one["kind"], one["kind"]), one["time"], one["share"], one["share"]] for one in run.kernels]
    return Table("which kernels take the time of a step", _shares("kernels"), rows)


def _shares(name: str) -> list[Column]:
    """Columns of a part, its time, and its share in digits and as a bar."""
    return [
        Column(name),
        Column("time", span, right=True),
        Column("share", percent, right=True, style=small),
        Column("", bar, drop=1, drawn=True, style="cyan"),
    ]


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
    labels = {path: LABELS[node.name] for path, node in run.parts.walk() if node.name in LABELS}
    rows = [
        [label, node.value, share, share]
        for _, label, node in branches(run.parts, depth, labels)
        if node.value
        for share in [node.value / run.parts.value]
    ]
    return Table(f"where the {span(run.step_time)} go", _shares("part"), rows, [], bold=frozenset({len(rows) - 1}))


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
        ]
        for r in runs
    ]
    if any(run.memory for run in runs):
        columns.append(Column("memory", style=FITS.__getitem__))
        rows = [[*row, None if r.memory is None else VERDICTS[r.memory["fits"]]] for row, r in zip(rows, runs, strict=True)]
    notes = list(dict.fromkeys(f"note: {note}" for run in runs for note in run.notes))
    spread = {_called(run, differ): run.ranges.get("cost_usd") for run in runs}
    notes += [f"cost on {name}: {_from_to(ends)}" for name, ends in spread.items() if ends]
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


def _called(run: Run, counts: bool) -> str:
    """A device, with its count where those differ."""
    return f"{run.count:,} × {run.device}" if counts else run.device


FITS = {VERDICTS[True]: "green", VERDICTS[False]: "bold red", VERDICTS[None]: "yellow"}


def _of_all(runs: list[Run]) -> Color:
    """Of the best of several: none fits, or one that may not be as good as it looks."""
    colors = {_color(run) for run in runs}
    return "no" if colors == {"no"} else "yes" if "yes" in colors else "beware" if "beware" in colors else ""


def _amount_of_time(run: Run) -> Amount:
    return Amount(run.time, lambda _: _beside(run))


def _beside(run: Run) -> str:
    """The time beside that of others, all at their likely values."""
    return f"ideally {span(run.time)}" if run.lower_bound and _least(run) != run.time else _duration(run)


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
