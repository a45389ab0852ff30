"""`flops --conventions` as a table: one training step as each paper would count it."""

from gptcalc.show.sequences import why
from gptcalc.show.table import Column, Table, formula, integer, signed_percent
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.shape import shape_of
from gptcalc.table.conventions import Convention
from gptcalc.units import short


def table(model: ModelSpec, rows: list[Convention], batch: int, seq: int, explain: bool) -> Table:
    """With `explain` formulas and sources are printed whatever the width, and the notes below them."""
    base = rows[0].flops
    assert base is not None
    tokens = batch * seq
    headline = (
        f"{model.name}: one training step of {batch:,} × {seq:,} tokens{why(model, seq)}, as papers count it ({short(base, 'FLOP')} here)"
    )
    columns = [
        Column("convention", fold=explain),
        Column("FLOP", integer, right=True),
        Column("per token", lambda value: short(value, "FLOP"), right=True, drop=2 if explain else 1),
        Column("against full", signed_percent, right=True, drop=int(explain)),
        Column("formula", formula, fold=True, drop=0 if explain else 2),
        *([] if explain else [Column("note", fold=True, drop=3)]),
        Column("source", fold=True, drop=0 if explain else 4),
    ]
    body = [
        [
            row.name,
            row.flops,
            row.flops and row.flops / tokens,
            row.flops and row.flops / base - 1,
            row.formula,
            *([] if explain else [row.note]),
            row.source,
        ]
        for row in rows
    ]
    s = shape_of(model)
    sizes = f"L = {s.n_layer}, d = {s.d_model:,}, H = {s.n_head}, Q = {s.d_head}, V = {s.vocab_size:,}"
    notes = [f"N parameters, D = {tokens:,} tokens, T = {seq:,}, {sizes}"]
    notes += [f"{row.name}: {row.note}" for row in rows if explain and row.note and row.flops is not None]
    notes += [f"{row.name} does not describe this model: {row.note}" for row in rows if row.flops is None]
    return Table(headline, columns, body, notes)
