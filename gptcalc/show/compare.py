"""`compare` as a table that is read at a glance."""

from math import log
from typing import Any

from gptcalc.footprint.serving import kv_cache
from gptcalc.show.table import Column, Table, in_unit, integer, signed_percent
from gptcalc.show.tree import derivation
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.shape import shape_of
from gptcalc.table.compare import Comparison
from gptcalc.table.params import language_model
from gptcalc.units import binary, short

BAR = 8
"""The longest bar, in characters."""

STEPS = (2, 3, 5, 10, 100, 1000)
"""How many times the parameters one block more may stand for."""


@in_unit("FLOP")
def flop(value: float) -> str:
    return short(value, "FLOP", digits=3)


def derivations(models: list[ModelSpec]) -> list[Table]:
    """The formula of each model's parameters, part by part."""
    return [
        derivation(f"{m.name}: {integer(node.value)} parameters", node, shape_of(m).letters, [])
        for m in models
        for node in [language_model(m)]
    ]


def table(rows: list[Comparison], models: list[ModelSpec]) -> Table:
    """`models` know what a token takes in the cache; an answer alone, without them, does not."""
    largest = max(row.parameters for row in rows)
    smallest = min(row.parameters for row in rows)
    step = next(factor for factor in STEPS if log(largest / smallest, factor) <= BAR - 1)
    routed = any(row.active_parameters < row.parameters for row in rows)
    columns = [
        Column("model"),
        Column("L × d", right=True, drop=3),
        Column("heads", right=True, drop=4),
        Column("block", drop=5),
        Column("parameters", integer, right=True),
        *([Column("active", integer, right=True)] if routed else []),
        Column("size", drop=4, drawn=True),
        Column("FLOP/token", flop, right=True, drop=1),
        Column("training", flop, right=True, drop=2),
        Column("published", short, right=True),
        Column("differs", signed_percent, right=True),
        Column("context", integer, right=True, drop=3),
        Column("in bf16", binary, right=True, drop=6),
        Column("cache/token", binary, right=True, drop=7),
        Column("tokens", short, right=True, drop=8),
    ]
    body: list[list[Any]] = [
        [
            row.model,
            f"{row.n_layer}×{row.d_model:,}",
            f"{row.n_head}" if row.n_kv_head == row.n_head else f"{row.n_head}/{row.n_kv_head}",
            f"{row.norm}, {row.position}, {row.activation}",
            row.parameters,
            *([row.active_parameters] if routed else []),
            "█" * (1 + round(log(row.parameters / smallest, step))),
            row.flops_per_token,
            row.training_flops,
            row.published,
            row.difference,
            row.n_ctx,
            2 * row.parameters,
            model and _cache(model),
            row.training_tokens,
        ]
        for row, model in zip(rows, [*models, *[None] * (len(rows) - len(models))], strict=True)
    ]
    headline = f"{len(rows)} models, {short(smallest)} to {short(largest)} parameters ({largest / smallest:,.0f} times)"
    if len(rows) == 1:
        headline = f"{rows[0].model}: {short(largest)} parameters"
    notes = [
        f"size: one block more is {step} times the parameters. L × d: layers × model width.",
        f"FLOP/token: forward pass of {_lengths(rows)}, full attention. training: forward and backward over the published tokens.",
    ]
    return Table(headline, columns, body, notes)


def _cache(model: ModelSpec) -> int | None:
    """Bytes of keys and values of one token in bf16; none where no layer decodes."""
    shape = shape_of(model)
    return int(kv_cache(shape, 1, 1)) if any(kind.switches.causal for _, kind in shape.blocks) else None


def _lengths(rows: list[Comparison]) -> str:
    """The sequences of all rows in words: one length, or the shortest and the longest."""
    lengths = sorted({row.seq for row in rows})
    words = f"{lengths[0]:,}" if len(lengths) == 1 else f"{lengths[0]:,} to {lengths[-1]:,}"
    return f"{words} tokens (what a model was trained with, or its longest up to 8,192)"
