"""`verify` as tables: one model row by row, many models a row each."""

from gptcalc.reference.twin import TWIN_CONTEXT
from gptcalc.run.verify import LARGEST_RUN, ON_TWIN, Check
from gptcalc.show.table import Column, Table, formula, integer, judged, percent, signed_percent
from gptcalc.units import short

FEW = 3
"""Up to this many models are shown check by check."""

QUANTITIES = {
    "matmul FLOP": "FLOP",
    "matmul FLOP of the twin": "twin FLOP",
    "other FLOP of the twin": "twin other",
    "parameters, published": "published",
    "non_embedding, published": "without",
    "active, published": "active",
    "training_flops, published": "training",
}
"""Names that leave room for the numbers, and say whose they are where there is no room for the witness."""


def tables(checks: list[Check], explain: bool = False) -> list[Table]:
    """With `explain` every check of every model, with its formula."""
    models = list(dict.fromkeys(check.model for check in checks))
    wrong = [check for check in checks if not check.ok]
    verdict = "all equal or within their tolerance" if not wrong else f"{len(wrong)} WRONG"
    headline = f"{len(checks):,} checks of {len(models)} model{'s' if len(models) > 1 else ''}: {verdict}"
    if explain:
        found = [_detailed(headline, checks, explain)]
    elif len(models) <= FEW:
        found = [_detailed(headline, checks)]
    else:
        found = [_summary(headline, models, checks), *([_detailed("what is wrong", wrong)] if wrong else [])]
    return [found[0]._replace(verdict="no" if wrong else "yes"), *found[1:]]


def _number(value: float) -> str:
    """Grouped digits; the FLOP of a whole training run, which a paper prints with three, in short."""
    return integer(value) if value < 10**18 else f"{value:.4g}"


def _detailed(headline: str, checks: list[Check], explain: bool = False) -> Table:
    one = len({check.model for check in checks}) == 1
    columns = [
        *([] if one else [Column("model")]),
        Column("quantity", lambda name: QUANTITIES.get(name, name)),
        Column("part"),
        Column("formula", _number, right=True),
        Column("witness", _number, right=True, drop=int(explain)),
        Column("differs", signed_percent, right=True),
        Column("", lambda ok: "ok" if ok else "WRONG", style=judged),
        Column("witness is", lambda kind: "counted" if kind == ON_TWIN else kind, fold=True, drop=3),
        *([Column("derivation", formula, fold=True)] if explain else []),
    ]
    rows = [
        [
            *([] if one else [c.model]),
            c.quantity + {ON_TWIN: " of the twin", "published": ", published"}.get(c.witness_kind, ""),
            c.path,
            c.formula,
            c.witness,
            c.difference,
            c.ok,
            c.source or c.witness_kind,
            *([c.expression] if explain else []),
        ]
        for c in checks
    ]
    notes = list(dict.fromkeys(f"{c.source}: {c.note}" for c in checks if c.note))
    if any(c.witness_kind == ON_TWIN for c in checks):
        largest = f"{short(LARGEST_RUN)} parameters"
        notes.append(f"twin: the same switches and small numbers, {TWIN_CONTEXT} tokens; --full runs the real shape, up to {largest}")
    return Table(headline, columns, rows, notes)


def _summary(headline: str, models: list[str], checks: list[Check]) -> Table:
    columns = [
        Column("model"),
        Column("parameters", integer, right=True),
        Column("counted", integer, right=True),
        Column("published", integer, right=True),
        Column("differs", signed_percent, right=True),
        Column("tolerance", percent, right=True, drop=1),
        Column("FLOP rows equal", right=True, drop=2),
        Column("", lambda ok: "ok" if ok else "WRONG", style=judged),
    ]
    rows = []
    for name in models:
        mine = [check for check in checks if check.model == name]
        total = next(c for c in mine if c.quantity == "parameters" and c.path == "total" and c.witness_kind != "published")
        arithmetic = [c for c in mine if c.quantity.endswith("FLOP")]
        equal = f"{sum(c.ok for c in arithmetic)} of {len(arithmetic)}"
        printed = [c for c in mine if c.witness_kind == "published" and c.quantity == "parameters"]
        nearest = min(printed, key=lambda c: c.tolerance, default=None)
        cells = [nearest.witness, nearest.difference, nearest.tolerance] if nearest else [None, None, None]
        rows.append([name, total.formula, total.witness, *cells, equal, all(c.ok for c in mine)])
    return Table(headline, columns, rows, ["one model in detail: gptcalc verify NAME; on its real shape: gptcalc verify gpt2 --full"])
