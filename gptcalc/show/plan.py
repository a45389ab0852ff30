"""`plan` as tables: the best plans, why the others lost, the command that explains each, the scaling curve."""

from typing import Any

from gptcalc.search.choice import Choice, Plans
from gptcalc.show.amounts import money, span, whole
from gptcalc.show.table import Column, Table, percent, small
from gptcalc.units import binary

REASONS = {"none": "no", "selective": "sel.", "full": "full"}


def tables(answer: Plans, model: str) -> list[Table]:
    """The best plans first; `model` is the argument as it was typed."""
    if not answer.plans:
        return [_none(answer), _lost(answer)] if answer.found.considered else [_none(answer)]
    found = [_best(answer)]
    if answer.curve:
        found.append(_curve(answer))
    return [*found, _lost(answer), _commands(answer, model)]


def headline(answer: Plans) -> str:
    """The answer in one line."""
    asked = answer.asked
    best = answer.plans[0]
    run = best.run
    layout = best.layout
    sizes = ", ".join(
        f"{name} {layout[name]:,}" for name in ("tp", "pp", "dp", "cp", "ep") if layout[name] > 1 or name in ("tp", "pp", "dp")
    )
    where = f"{run.count:,} {run.device}"
    end = "" if best.time is None else f", {span(best.time)}"
    cost = "" if best.cost is None else f", {money(best.cost)}"
    missed = answer.missed(best)
    if missed:
        return f"{asked.model.name}: no plan meets the {' and the '.join(missed)}; the nearest, on {where}: {sizes}{end}{cost}"
    tied = answer.found.tied
    sure = f"; {tied:,} more within its error of {100 * answer.spread:.0f} %" if tied else ""
    return f"{asked.model.name} on {where}: {span(run.step_time)} a step with {sizes}{end}{cost}{sure}"


def _best(answer: Plans) -> Table:
    plans = answer.plans
    several = len({one.run.device for one in plans}) > 1
    layouts = [one.layout for one in plans]

    def varies(name: str, usual: Any = 1) -> bool:
        return any(layout[name] != usual for layout in layouts)

    columns = [
        Column("#", right=True),
        *([Column("device")] if several else []),
        Column("a step", span, right=True),
        Column("tp", whole, right=True),
        Column("pp", whole, right=True),
        Column("dp", whole, right=True),
        *([Column("cp", whole, right=True)] if varies("cp") else []),
        *([Column("ep", whole, right=True)] if varies("ep") else []),
        *([Column("virtual", whole, right=True, drop=2)] if varies("virtual_stages") else []),
        Column("batch", whole, right=True),
        Column("ZeRO", whole, right=True),
        Column("recompute", drop=1),
        *([Column("seq. par.", _yes, drop=3)] if varies("sequence_parallel", False) else []),
        *([Column("stack", drop=1)] if len({one.options["stack"] for one in plans}) > 1 else []),
        *([Column("precision", drop=1)] if len({one.run.precision for one in plans}) > 1 else []),
        Column("memory", binary, right=True),
        Column("MFU", percent, right=True, drop=4),
        Column("waiting", percent, right=True, drop=6),
        Column("sending", percent, right=True, drop=6),
        Column("", _tie, drop=5),
    ]
    rows = [_row(answer, number, one, layout, several) for number, (one, layout) in enumerate(zip(plans, layouts, strict=True), 1)]
    notes = [
        f"memory: of the fullest stage, of {binary(plans[0].room)}; a plan fits where the high end of its peak's interval does",
        "waiting, sending: of a step, for other stages, and what communication nothing hides; tied: within the error of the best",
        *_assumed(answer),
        *(f"note: {note}" for note in answer.notes),
        "next: --write megatron (as options), --by memory, --top 20; the commands below explain each plan",
    ]
    if answer.found.interrupted:
        notes.insert(0, f"interrupted: the best of the {answer.found.considered:,} plans that were looked at")
    return Table(headline(answer), columns, rows, notes, bold=frozenset({0}), verdict="yes" if answer.fits else "no")


def _row(answer: Plans, number: int, one: Choice, layout: dict[str, Any], several: bool) -> list[Any]:
    plans, run = answer.plans, one.run
    every = [each.layout for each in plans]
    row: list[Any] = [number, *([run.device] if several else []), run.step_time, layout["tp"], layout["pp"], layout["dp"]]
    row += [layout[name] for name in ("cp", "ep", "virtual_stages") if any(each[name] != 1 for each in every)]
    row += [layout["batch"], layout["zero"], one.options["recompute"]]
    row += [layout["sequence_parallel"]] if any(each["sequence_parallel"] for each in every) else []
    row += [one.options["stack"]] if len({each.options["stack"] for each in plans}) > 1 else []
    row += [run.precision] if len({each.run.precision for each in plans}) > 1 else []
    tied = one.within_error_of_best and number > 1
    return [*row, one.peak, run.mfu, one.pipeline / run.step_time, one.sending / run.step_time, tied]


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _tie(holds: bool) -> str:
    return "tied" if holds else ""


def _assumed(answer: Plans) -> list[str]:
    """What of the winner rests on shares that nobody measured."""
    if not answer.assumes:
        return []
    terms = answer.plans[0].assumed()
    if not terms:
        return []
    listed = ", ".join(f"{span(one['hidden'])} of {one['term']}" for one in terms)
    longer = sum(one["share_of_step"] for one in terms)
    return [
        f"assumed, not measured on this device: computing hides {listed} of the best plan ({answer.plans[0].options['stack']}'s overlap);"
        f" with nothing hidden a step takes up to {100 * longer:.1f} % more"
    ]


def _lost(answer: Plans) -> Table:
    found = answer.found
    columns = [
        Column("why", fold=True),
        Column("plans", whole, right=True),
        Column("share", percent, right=True, style=small),
    ]
    rows = [[reason, number, number / found.considered] for reason, number in found.lost().items()]
    notes = []
    if found.least_excess is not None:
        notes.append(f"what does not fit lacks {binary(found.least_excess)} at least")
    if answer.plans:
        notes.append("slower: by more than the error of the best, and what most of the difference is")
    space = answer.space
    notes.append("tried: " + "; ".join(f"{name.replace('_', ' ')} {_listed(space[name])}" for name in SPACE if len(space[name]) > 1))
    held = [f"{name.replace('_', ' ')} {_listed(space[name])}" for name in SPACE if len(space[name]) == 1]
    if held:
        notes.append("held: " + "; ".join(held))
    return Table(
        f"{found.considered:,} plans: {found.legal:,} legal, {found.fit:,} fit; of the others", columns, rows or [["none", 0, 0.0]], notes
    )


SPACE = ("tp", "pp", "cp", "ep", "batch", "virtual_stages", "recompute", "zero", "sequence_parallel")


def _listed(values: list[Any]) -> str:
    """All values, or the ends of many."""
    words = [_yes(value) if isinstance(value, bool) else f"{value:,}" if isinstance(value, int) else str(value) for value in values]
    return " ".join(words) if len(words) <= 8 else f"{' '.join(words[:4])} ... {words[-1]} ({len(words)} sizes)"


def _commands(answer: Plans, model: str) -> Table:
    rows = [[number, one.command(model)] for number, one in enumerate(answer.plans, 1)]
    return Table("what explains each", [Column("#", right=True), Column("command", fold=True)], rows)


def _curve(answer: Plans) -> Table:
    columns = [
        Column("devices", whole, right=True),
        Column("device"),
        Column("a step", span, right=True),
        Column("tokens/s", whole, right=True, drop=2),
        Column("MFU", percent, right=True, drop=3),
        Column("layout"),
        Column("time", span, right=True, drop=1),
        Column("cost", money, right=True),
        Column("", drop=4),
    ]
    rows = []
    for one in answer.curve:
        layout = one.layout
        sizes = "·".join(f"{name}{layout[name]}" for name in ("tp", "pp", "cp", "ep", "dp") if layout[name] > 1) or "one device"
        met = "" if not answer.asked.limited else "meets" if not answer.missed(one) else f"misses the {' and '.join(answer.missed(one))}"
        run = one.run
        rows.append([run.count, run.device, run.step_time, run.tokens_per_second, run.mfu, sizes, one.time, one.cost, met])
    return Table("the best plan of each number of devices", columns, rows)


def _none(answer: Plans) -> Table:
    """Why there is no plan."""
    asked, found = answer.asked, answer.found
    where = f"{answer.space['count']:,} {asked.devices[0].name}"
    columns = [Column("", fold=True)]
    if answer.nearest is None:
        binding = max(found.rules, key=lambda name: found.rules[name], default="nothing to try")
        rows = [[f"most plans break: {binding}"]]
        if answer.nearest_count is not None:
            rows.append([f"the nearest number of devices with a legal plan: --count {answer.nearest_count}"])
        return Table(f"{asked.model.name}: no legal plan on {where}, global batch {asked.global_batch:,}", columns, rows, verdict="no")
    near = answer.nearest
    layout = near.layout
    sizes = ", ".join(f"{name} {layout[name]}" for name in ("tp", "pp", "cp", "ep", "dp", "zero") if layout[name] > 1 or name == "tp")
    rows = [[f"nearest: {sizes}, recompute {near.options['recompute']}: {binary(near.peak)} of {binary(near.room)}"]]
    change = near.memory["change"]
    if change:
        rows.append([f"the cheapest change of it that fits: {change['option']} ({change['price']})"])
    return Table(
        f"{asked.model.name}: no plan fits on {where}; {binary(found.least_excess or 0)} too large at least", columns, rows, verdict="no"
    )
