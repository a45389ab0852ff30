"""`models` as a table."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.footprint.fitting import Fitting
from gptcalc.show.table import Column, Table, bar, integer, percent
from gptcalc.spec.catalogue import aliases
from gptcalc.spec.entries import folded
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.reading import shown
from gptcalc.table.params import params, views
from gptcalc.units import binary


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


def chosen(models: list[ModelSpec], name: str | None, family: str | None, least: int | None) -> list[ModelSpec]:
    """The models of a name, in part and in any case, that may be one of their own or their family's; of a family; of at least so many
    parameters.

    Raises GptcalcError where no model is left, naming the families there are.
    """
    models = _named(models, name)
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


def _named(models: list[ModelSpec], name: str | None) -> list[ModelSpec]:
    if name is None:
        return models
    others = aliases()
    wanted = _squeezed(name)
    found = [m for m in models if any(wanted in _squeezed(one) for one in (m.name, m.family, *others.get(m.name, ())))]
    if not found:
        raise GptcalcError(
            f"no model has '{shown(name)}' in its name",
            hint=did_you_mean(name, [m.name for m in models], otherwise="gptcalc models lists them all"),
        )
    return found


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
        return Table(_count(len(rows)), columns, [[row.name, row.parameters, ", ".join(row.aliases), row.source] for row in rows])
    columns = [
        Column("name"),
        Column("family", drop=2),
        Column("parameters", integer, right=True),
        Column("active", right=True),
        Column("context", integer, right=True),
        Column("also called", fold=True, drop=1),
    ]
    body = [_cells(row) for row in rows]
    return Table(_count(len(rows)), columns, body, ["next: gptcalc params NAME, gptcalc models NAME --explain (sources)"])


def _count(number: int) -> str:
    return f"{number} model{'' if number == 1 else 's'}"


def fit(found: list[Fitting], refused: list[ModelSpec], asked: int, inputs: Mapping[str, Any]) -> Table:
    """The models that fit on a device, the fullest first."""
    columns = [
        Column("name"),
        Column("parameters", integer, right=True),
        Column("context", integer, right=True, drop=2),
        Column("memory", binary, right=True),
        Column("of the device", percent, right=True),
        Column("", bar, drop=3, drawn=True, style="green"),
    ]
    rows = [
        [one.model.name, params(one.model).value, one.seq, one.peak_allocated, share, share]
        for one in found
        for share in [one.peak_allocated / one.room]
    ]
    stored = f"in {inputs['precision']}" if inputs["precision"] else "as stored, or in bf16,"
    length = f"{inputs['context']:,} tokens" if inputs["context"] else "its usual length"
    headline = f"{len(found)} of {_count(asked)} can be served on {inputs['fits']} {stored} with one sequence of {length}"
    notes = [f"memory: weights, cache and activations, of {binary(found[0].room)} that can be allocated"] if found else []
    if refused:
        few = ", ".join(model.name for model in refused[:MOST]) + (f" and {len(refused) - MOST} more" if len(refused) > MOST else "")
        notes.append(f"not of that length or precision: {few}")
    notes.append(f"next: gptcalc memory NAME --mode inference --device {inputs['fits']}")
    return Table(headline, columns, rows, notes, verdict="yes" if found else "no")


MOST = 8
"""Models that a note names."""


def _cells(row: Row) -> list[object]:
    active = integer(row.active_parameters) if row.active_parameters < row.parameters else ""
    return [row.name, row.family, row.parameters, active, row.n_ctx, ", ".join(name for name in row.aliases if "/" not in name)]
