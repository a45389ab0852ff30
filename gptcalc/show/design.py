"""`design` as tables: the fastest shapes of a number of parameters, and what an unlucky number costs."""

from typing import Any

from gptcalc.search.design import Candidate, Design
from gptcalc.show.amounts import pace
from gptcalc.show.table import Column, Table, integer, percent
from gptcalc.units import binary, short


def tables(answer: Design) -> list[Table]:
    return [_shapes(answer), *([_unlucky(answer)] if answer.unlucky else [])]


def said(fields: dict[str, int]) -> str:
    """A shape in a line.

    >>> said({"n_layer": 32, "d_model": 4096, "n_head": 32, "n_kv_head": 8, "d_head": 128, "d_ff": 14336, "vocab_size": 128256})
    '32 layers of 4,096, 32 heads of 128 (8 kv), inner width 14,336, vocabulary 128,256'
    """
    inner = next(name for name in ("d_expert", "d_ff") if name in fields)
    kv = f" ({fields['n_kv_head']} kv)" if fields["n_kv_head"] != fields["n_head"] else ""
    heads = f"{fields['n_head']} heads of {fields['d_head']}{kv}"
    return (
        f"{fields['n_layer']} layers of {fields['d_model']:,}, {heads}, inner width {fields[inner]:,}, vocabulary {fields['vocab_size']:,}"
    )


def headline(answer: Design) -> str:
    best = answer.shapes[0]
    rate = f"{'at most ' if answer.lower_bound else ''}{pace(best.tokens_per_second)} tokens/s a device"
    worst = f"; an unlucky number costs up to {percent(answer.unlucky[0].slower)}" if answer.unlucky else ""
    cut = ", interrupted" if answer.interrupted else ""
    asked = f"{short(answer.params, digits=3)} parameters like {answer.like}"
    return f"{asked}: {said(best.fields)}: {rate} on {answer.held['device']}{worst}{cut}"


def _shapes(answer: Design) -> Table:
    inner = next(name for name in ("d_expert", "d_ff") if name in answer.shapes[0].fields)
    names = ("n_layer", "d_model", "n_head", "d_head", "n_kv_head", inner)
    columns = [Column(name, integer, right=True, drop=2 if name == "n_kv_head" else 0) for name in names]
    columns += [
        Column("params", lambda value: short(value, digits=3), right=True),
        Column("tokens/s", pace, right=True),
        Column("MFU", percent, right=True),
        Column("memory", binary, right=True, drop=1),
        Column("fits", lambda fits: "yes" if fits else "no", right=True, drop=1),
    ]
    rows = [
        [*(one.fields[name] for name in names), one.params, one.tokens_per_second, one.mfu, one.peak, one.fits] for one in answer.shapes
    ]
    held = answer.held
    notes = [
        f"{answer.tried:,} shapes within {percent(held['within'])} of {answer.params:,} parameters, vocabulary"
        f" {answer.shapes[0].fields['vocab_size']:,}; the fastest of each width and number of heads",
        f"micro-batch {held.get('batch', 1)}; fewer, wider layers are faster, and the loss hardly feels it (Kaplan et al. 2020, 3.1)",
    ]
    if all(one.fits is False for one in answer.shapes):
        notes.append(f"none fits so on {held['device']}, and is timed all the same: --count 8 --zero 3 divides its states, --tp its layers")
    notes.append(f"next: {_command(answer.shapes[0])}")
    return Table(headline(answer), columns, rows, notes, bold=frozenset({0}))


def _command(best: Candidate) -> str:
    return best.command.replace("gptcalc train ", "gptcalc params ").split(" --device")[0]


def _unlucky(answer: Design) -> Table:
    columns = [Column("one number changed"), Column("slower", percent, right=True), Column("why", fold=True, style="dim")]
    rows: list[list[Any]] = [[one.change, one.slower, one.why] for one in answer.unlucky]
    notes = ["slower: the time of a FLOP, beside that of the first shape; code that pads, as Megatron-LM does the vocabulary, loses less"]
    return Table("what an unlucky number of the first shape costs", columns, rows, notes)
