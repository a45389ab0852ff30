"""`memory --replay` as a table: the verdict, what stands at the fullest moment, the phases."""

from gptcalc.recording.replay import Replayed
from gptcalc.show.table import Column, Table, Verdict, bar, gauge, integer, percent, small
from gptcalc.show.training import PHASES
from gptcalc.units import binary

SMALL_SHARE = 0.01


def tables(answer: Replayed) -> list[Table]:
    """The larger parts; the smaller ones as one row."""
    columns = [
        Column("part"),
        Column("bytes", integer, right=True, drop=2),
        Column("size", binary, right=True),
        Column("share", percent, right=True, drop=1, style=small),
        Column("", bar, drop=3, drawn=True, style="cyan"),
    ]
    parts = sorted(answer.peak.parts, key=lambda part: -part.value)
    large = [part for part in parts if part.value >= SMALL_SHARE * answer.value]
    sizes = [(part.name, part.value) for part in large]
    if rest := answer.value - sum(size for _, size in sizes):
        sizes.append((f"{len(parts) - len(large)} smaller", rest))
    rows = [[name, size, size, size / answer.value, size / answer.value] for name, size in [*sizes, ("peak", answer.value)]]
    drawn = "" if answer.room is None else gauge(answer.value, answer.room)
    return [Table(_headline(answer), columns, rows, _notes(answer), bold=frozenset({len(rows) - 1}), verdict=_verdict(answer), gauge=drawn)]


def _headline(answer: Replayed) -> str:
    given = answer.inputs
    what = f"training, {given['batch']:,} × {given['seq']:,} tokens, {given['precision']}"
    when = PHASES[answer.peak_phase]
    if answer.room is None:
        return f"{answer.model}: {binary(answer.value)} at the peak, {when}; {binary(answer.reserved)} reserved ({what}, replayed)"
    said = "does not fit" if not answer.fits else "fits" if answer.interval[1] <= answer.room else "fits, tightly"
    return f"{answer.model} on {given['device']}: {said}, {binary(answer.value)} of {binary(answer.room)}, {when} ({what}, replayed)"


def _verdict(answer: Replayed) -> Verdict:
    if answer.room is None:
        return ""
    return "no" if not answer.fits else "yes" if answer.interval[1] <= answer.room else "beware"


def _notes(answer: Replayed) -> list[str]:
    low, high = answer.interval
    phases = "; ".join(f"{PHASES[name]} {binary(size)}" for name, size in answer.phases.items())
    return [
        f"phases: {phases}",
        f"torch's allocator reserves {binary(answer.reserved)} ({binary(low)} to {binary(high)}); the CUDA context stands beside it",
        f"recorded from {answer.versions}, {given_dropout(answer)}: each part is what the code of a module made and still holds",
        "next: the same command without --replay shows the formulas",
    ]


def given_dropout(answer: Replayed) -> str:
    return "with its config's dropout" if answer.inputs["dropout"] else "without dropout"
