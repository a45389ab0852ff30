"""Answers as a notebook and `print` show them: the tables of their command, in so far as an answer alone knows them; and as data frames."""

from collections.abc import Sequence
from typing import Any

from gptcalc.errors import GptcalcError
from gptcalc.footprint.answer import ServingMemory, TrainingMemory
from gptcalc.node import Node
from gptcalc.run.answer import Run
from gptcalc.run.published import Replica
from gptcalc.run.verify import Check
from gptcalc.search.design import Design
from gptcalc.search.scale import Scale
from gptcalc.search.sweep import Variants
from gptcalc.serve.answer import Inference
from gptcalc.show import compare, design, infer, memory, replicate, scale, sweep, train, verify
from gptcalc.show.table import Column, Table, bar, formula, integer, percent, small
from gptcalc.show.tree import branches
from gptcalc.table.compare import Comparison
from gptcalc.table.conventions import Convention
from gptcalc.table.flops import Flops

DEPTH = 3


def html(answer: Any) -> str:
    from gptcalc.show.terminal import page

    return page(tables(answer), "html", "gptcalc", code="<pre style='font-family:monospace;line-height:1.2'>{code}</pre>")


def text(answer: Any) -> str:
    from gptcalc.show.terminal import terminal

    return "\n".join(terminal(table) for table in tables(answer)).rstrip("\n")


def tables(answer: Any) -> list[Table]:
    """An answer's tables; of arrays, the shape of what they hold."""
    if isinstance(answer, list):
        return _of_rows(answer)
    if isinstance(answer, Variants):
        return sweep.tables(answer)
    if isinstance(answer, Design):
        return design.tables(answer)
    if isinstance(answer, Node):
        known = "array" if _arrays(answer.value) else integer(answer.value)
        return [itemised(f"{known} {answer.unit}", answer)]
    if isinstance(answer, Flops):
        return [itemised(repr(answer), answer.matmul)]
    if _arrays(answer.value):
        return [Table(repr(answer), [Column("")], [])]
    if isinstance(answer, Run):
        return train.of_run(answer)
    if isinstance(answer, TrainingMemory | ServingMemory):
        return [memory.of_answer(answer)]
    if isinstance(answer, Inference):
        return infer.tables(answer, explain=False, roofline=None)
    assert isinstance(answer, Scale)
    return scale.tables(answer, False)


def _of_rows(rows: Sequence[Any]) -> list[Table]:
    first = rows[0] if rows else None
    if isinstance(first, Comparison):
        return [compare.table(list(rows), [])]
    if isinstance(first, Check):
        return verify.tables(list(rows))
    if isinstance(first, Replica):
        return [replicate.table(list(rows))]
    if isinstance(first, Convention):
        columns = [Column("convention"), Column("FLOP", integer, right=True), Column("formula", formula, fold=True, drop=1)]
        return [Table("one training step, as papers count it", columns, [[row.name, row.flops, row.formula] for row in rows])]
    return [table for row in rows for table in tables(row)] or [Table("no rows", [Column("")], [])]


def itemised(headline: str, root: Node[Any]) -> Table:
    """A tree with its shares and formulas."""
    whole = None if _arrays(root.value) or not root.value else root.value
    columns = [
        Column("part"),
        Column(root.unit, lambda value: f"array of {value.shape}" if _arrays(value) else integer(value), right=True),
        Column("share", percent, right=True, drop=1, style=small),
        Column("", bar, drop=2, drawn=True, style="cyan"),
        Column("formula", formula, fold=True, drop=3, style="dim"),
    ]
    rows = []
    for _, label, node in branches(root, DEPTH, {}):
        share = None if whole is None or _arrays(node.value) else node.value / whole
        rows.append([label, node.value, share, share, node.formula])
    return Table(headline, columns, rows, bold=frozenset({len(rows) - 1}))


def _arrays(value: Any) -> bool:
    return bool(getattr(value, "shape", ()))


def frame(answer: Any) -> Any:
    """A row for each row, or for each part of a tree."""
    try:
        import pandas  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        raise GptcalcError("a data frame needs pandas, which is not installed", hint="pip install pandas") from None
    return pandas.DataFrame(_records(answer))


def _records(answer: Any) -> list[dict[str, Any]]:
    if isinstance(answer, list):
        if all(hasattr(row, "_asdict") and not hasattr(row, "parts") for row in answer):
            return [row._asdict() for row in answer]
        return [{"answer": number, **record} for number, row in enumerate(answer) for record in _records(row)]
    if isinstance(answer, Scale | Variants | Design):
        return answer.to_list()
    roots: Any = answer
    if isinstance(answer, Flops):
        roots = answer.matmul
    elif isinstance(answer, TrainingMemory | ServingMemory):
        roots = answer.peak
    elif isinstance(answer, Run | Inference):
        roots = answer.parts
    return [
        {"part": path or node.name, "value": node.value, "unit": node.unit, "formula": node.formula, "source": node.source}
        for root in (roots if isinstance(roots, tuple) else (roots,))
        for path, node in root.walk()
    ]
