"""The schedule of a pipeline's iteration as text: a line for each stage, time from left to right."""

from shutil import get_terminal_size
from typing import Any

from gptcalc.errors import GptcalcError
from gptcalc.run.answer import Run
from gptcalc.show.amounts import span
from gptcalc.show.table import Column, Table
from gptcalc.time.schedule import Span, schedule

LINES = 16
MOST = 50_000
"""Passes forward that a picture may have, and as many backward."""
FORWARD, BOTH, BACKWARD, IDLE = "░", "▒", "█", "·"
COLOURS = {FORWARD: "cyan", BOTH: "blue", BACKWARD: "green", IDLE: "dim red"}
WIDTH, NARROWEST, BESIDE = 64, 20, 14
"""Characters of an iteration, at most and at least, and of what stands beside it."""


def passes(run: Run) -> list[dict[str, Any]]:
    """The iteration as JSON has it, in seconds; empty where there is no pipeline."""
    return [one._asdict() for one in _spans(run)]


def _spans(run: Run) -> list[Span]:
    i = run.inputs
    if run.pipeline is None or i.get("pp", 1) == 1:
        return []
    m = i["global_batch"] // (i["batch"] * i["dp"])
    if i["pp"] * m * i["virtual_stages"] > MOST:
        raise GptcalcError(
            f"a picture of {i['pp']:,} x {m * i['virtual_stages']:,} passes is too large: at most {MOST:,}",
            hint="leave --timeline out, or give a smaller --global-batch",
        )
    stages = {role: (pair["forward"], pair["backward"]) for role, pair in run.pipeline["stages"].items()}
    return schedule(i["pp"], m, i["virtual_stages"], stages, run.pipeline["between"])


def pipeline(run: Run) -> Table:
    """The iteration of a run, or a table without rows where it has no pipeline."""
    i, spans = run.inputs, _spans(run)
    if not spans:
        return Table("no pipeline: one stage computes all the time", [Column("stage")], [])
    p, m, v = i["pp"], i["global_batch"] // (i["batch"] * i["dp"]), i["virtual_stages"]
    end = max(one.end for one in spans)
    busy = [0.0] * p
    for one in spans:
        busy[one.stage] += (one.end - one.start) / end
    chosen = range(p) if p <= LINES else sorted({round(k * (p - 1) / (LINES - 1)) for k in range(LINES)})
    width = max(NARROWEST, min(WIDTH, get_terminal_size((WIDTH + BESIDE, 24)).columns - BESIDE))
    rows = [[stage, draw([one for one in spans if one.stage == stage], end, width), f"{100 * busy[stage]:.0f} %"] for stage in chosen]
    columns = [Column("stage", right=True), Column(f"one iteration, {span(end)}", style=COLOURS), Column("busy", right=True)]
    chunks = f" of {v} chunks" if v > 1 else ""
    notes = [
        f"{FORWARD} forward, {BACKWARD} backward, {BOTH} both in turn, {IDLE} waiting; {p} stages{chunks}, {m} micro-batches",
        "gradient reduction and optimizer, which come behind, are not drawn",
    ]
    return Table(f"pipeline schedule of {run.device}: {100 * (1 - sum(busy) / p):.1f} % of the time waiting", columns, rows, notes)


def draw(spans: list[Span], end: float, width: int) -> str:
    """One stage's passes in `width` characters: each shows what fills most of its time, or that both kinds share it.

    >>> draw([Span(0, False, 0, 0, 0.0, 1.0), Span(0, True, 0, 0, 2.0, 4.0)], 4.0, 8)
    '░░··████'
    """
    filled = [[0.0, 0.0] for _ in range(width)]
    for one in spans:
        start, stop = one.start / end * width, one.end / end * width
        for cell in range(int(start), min(int(stop) + 1, width)):
            filled[cell][one.backward] += max(0.0, min(stop, cell + 1) - max(start, cell))
    turns = sum(not one.backward for one in spans)
    near = 1 if turns > width / 4 else 0  # where a cell holds about one pass, which one is chance: look at its neighbours too
    shares = [[sum(cell[way] for cell in filled[max(0, k - near) : k + near + 1]) for way in (0, 1)] for k in range(width)]
    return "".join(_cell(sum(cell), *share) for cell, share in zip(filled, shares, strict=True))


def _cell(busy: float, forward: float, backward: float) -> str:
    if busy < 0.5:
        return IDLE
    share = forward / (forward + backward)
    return FORWARD if share > 0.8 else BACKWARD if share < 0.2 else BOTH
