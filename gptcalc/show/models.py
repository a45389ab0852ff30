"""`models` as a table."""

from typing import NamedTuple

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.formulas.params import params, views
from gptcalc.show.table import Column, Table, integer
from gptcalc.spec.catalogue import aliases
from gptcalc.spec.entries import folded
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.reading import shown


class Row(NamedTuple):
    name: str
    family: str
    parameters: int
    active_parameters: int
    n_ctx: int
    aliases: tuple[str, ...]
    source: str


def rows(models: list[ModelSpec]) -> list[Row]:
    others = aliases()
    return [_row(model, others.get(model.name, ())) for model in models]


def _row(model: ModelSpec, others: tuple[str, ...]) -> Row:
    node = params(model)
    return Row(model.name, model.family, node.value, views(node, model)["active"], model.n_ctx, others, model.source)


def chosen(models: list[ModelSpec], family: str | None, least: int | None) -> list[ModelSpec]:
    """The models of a family, by a part of its name in any case, of at least so many parameters.

    Raises GptcalcError where no model is left, naming the families there are.
    """
    kept = [m for m in models if family is None or _squeezed(family) in _squeezed(m.family)]
    if not kept:
        names = list(dict.fromkeys(m.family for m in models))
        raise GptcalcError(
            f"no family named '{shown(str(family))}'", hint=did_you_mean(str(family), names, otherwise=f"families: {', '.join(names)}")
        )
    kept = [m for m in kept if least is None or params(m).value >= least]
    if not kept:
        raise GptcalcError(f"no model{'' if family is None else ' of that family'} has {least:,} parameters or more")
    return kept


def _squeezed(name: str) -> str:
    """A family's name as it is compared: `gpt3` is GPT-3."""
    return folded(name).replace("-", "").replace(".", "")


def table(rows: list[Row], explain: bool = False) -> Table:
    """With `explain` every alias and every source in full."""
    if explain:
        columns = [
            Column("name"),
            Column("parameters", integer, right=True),
            Column("also called", fold=True, drop=1),
            Column("source", fold=True),
        ]
        return Table(f"{len(rows)} models", columns, [[row.name, row.parameters, ", ".join(row.aliases), row.source] for row in rows])
    columns = [
        Column("name"),
        Column("family", drop=2),
        Column("parameters", integer, right=True),
        Column("active", right=True),
        Column("context", integer, right=True),
        Column("also called", fold=True, drop=1),
    ]
    body = [_cells(row) for row in rows]
    sources = dict.fromkeys(f"{row.family}: {row.source}" for row in rows)
    return Table(f"{len(rows)} models", columns, body, [*sources, "next: gptcalc params NAME, gptcalc compare NAME NAME"])


def _cells(row: Row) -> list[object]:
    active = integer(row.active_parameters) if row.active_parameters < row.parameters else ""
    return [row.name, row.family, row.parameters, active, row.n_ctx, ", ".join(name for name in row.aliases if "/" not in name)]
