"""`train` as tables: the run, where a step's time goes, which kernels take it; or several devices side by side."""

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from gptcalc.run.answer import Run
from gptcalc.show.amounts import Amount, energy, hours, kind_hours, mass, money, pace, span, whole
from gptcalc.show.layout import layout
from gptcalc.show.sequences import sequences
from gptcalc.show.storage import aside
from gptcalc.show.table import Column, Label, Table, bar, formula, gauge, percent, small
from gptcalc.show.table import Verdict as Color
from gptcalc.show.tree import branches
from gptcalc.spec.model import ModelSpec
from gptcalc.units import binary, short

if TYPE_CHECKING:
    from gptcalc.run.explained import Term

LABELS = {"linear": "weight casts, bias gradients", "split heads": "gradients put together"}
"""Of passes over memory that are named after the code that makes them."""


def tables(model: ModelSpec, runs: list[Run], depth: int, explain: bool, larger: Run | None = None) -> list[Table]:
    """`larger`: the only run with the batch that fits, where none was asked for."""
    if len(runs) > 1:
        from gptcalc.show.runs import side_by_side

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
    time = f"{duration_of(run)}{', uncalibrated' if run.kernels and not run.calibrated else ''}"
    return f"{asked} on {run.count:,} × {run.device}: {time}{_verdict(run)}{aside(model)}"


def duration_of(run: Run) -> str:
    if not run.lower_bound:
        return span(run.time)
    return f"at least {span(least_of(run))}"


def least_of(run: Run) -> float:
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
    best = "at best" if run.lower_bound and least_of(run) == run.time else "ideal code" if run.lower_bound else "likely"
    names = (best, "low", "high")
    columns = [Column(""), *(Column(name, lambda amount: amount.write(amount), right=True) for name in names)]
    return Table(headline, columns, rows, notes, verdict=color_of(run), gauge=_gauge(run))


def color_of(run: Run) -> Color:
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
    return f"batch 1; --batch {larger.inputs['batch']} {fits} and takes {duration_of(larger)}"


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
    """Every term of a step: what it is of, its formula, the numbers put in, and where it comes from."""
    from gptcalc.run.explained import MEANINGS, terms

    found = terms(run)
    sources = list(dict.fromkeys(term.source for term in found))
    columns = [
        Column("part"),
        Column("of", fold=True, style="dim"),
        Column("formula", formula, fold=True),
        Column("numbers", formula, fold=True),
        Column("time", span, right=True),
        Column("source", lambda source: f"[{sources.index(source) + 1}]" if source else ""),
    ]
    rows = list(_grown(found, 0))
    used = set(re.findall(r"\b(?:[A-Za-z]|norm)\b", " ".join(term.formula for term in found)))
    letters = ", ".join(f"{letter}: {meaning}" for letter, meaning in MEANINGS.items() if letter in used)
    notes = [letters, *(f"[{number}] {source}" for number, source in enumerate(sources, start=1))]
    notes.append(f"next: gptcalc devices {run.device} --explain (each constant's meaning and source)")
    rows.append(["total", None, None, None, run.step_time, None])
    return Table(f"what the {span(run.step_time)} are made of", columns, rows, notes, bold=frozenset({len(rows) - 1}))


def _grown(found: list["Term"], level: int) -> Iterator[list[Any]]:
    """Rows of terms under the parts of their paths; a part of several has their sum."""
    groups: dict[str, list[Term]] = {}
    for term in found:
        groups.setdefault("/".join(term.path.split("/")[: level + 1]), []).append(term)
    for path, own in groups.items():
        label = Label.of("  " * level + path.rpartition("/")[2], path)
        deeper = [term for term in own if term.path != path]
        here = [term for term in own if term.path == path]
        if deeper or len(here) > 1:
            yield [label, None, None, None, sum(term.seconds for term in own), None]
        for term in here:
            name = Label.of("  " * (level + 1) + "kernel", path) if len(own) > 1 else label
            yield [name, term.what, term.formula, term.numbers, term.seconds, term.source]
        yield from _grown(deeper, level + 1)


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
