"""`models` as a table."""

from typing import NamedTuple

from gptcalc.formulas.params import params
from gptcalc.show.table import Column, Table, integer
from gptcalc.spec.catalogue import aliases
from gptcalc.spec.model import ModelSpec


class Row(NamedTuple):
    name: str
    family: str
    parameters: int
    n_ctx: int
    aliases: tuple[str, ...]
    source: str


def rows(models: list[ModelSpec]) -> list[Row]:
    others = aliases()
    return [Row(m.name, m.family, params(m).value, m.n_ctx, others.get(m.name, ()), m.source) for m in models]


def table(rows: list[Row]) -> Table:
    columns = [
        Column("name"),
        Column("family", drop=2),
        Column("parameters", integer, right=True),
        Column("context", integer, right=True),
        Column("also called", fold=True, drop=1),
    ]
    body = [[row.name, row.family, row.parameters, row.n_ctx, ", ".join(name for name in row.aliases if "/" not in name)] for row in rows]
    sources = dict.fromkeys(f"{row.family}: {row.source}" for row in rows)
    return Table(f"{len(rows)} models", columns, body, [*sources, "next: gptcalc params NAME, gptcalc compare NAME NAME"])
