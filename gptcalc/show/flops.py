"""`flops` as tables: the matmul tree under the total, and the rest of the arithmetic apart."""

from collections.abc import Mapping
from typing import Any

from gptcalc.show.sequences import why
from gptcalc.show.table import Column, Table, bar, formula, integer, percent, small
from gptcalc.show.tree import block_labels, branches, derivation, legend
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.shape import shape_of
from gptcalc.table.flops import Flops
from gptcalc.units import short

PHASES = {
    "forward": "a forward pass",
    "backward": "a backward pass",
    "training": "a training step",
    "decode": "one decoded token per sequence",
}
PAIRS = {
    "full": "attention counts every query-key pair (full)",
    "causal": "attention counts the pairs that the causal mask keeps (causal)",
    "half": "attention counts half of the full square (half)",
}
PAIRS_IN_WINDOWS = {
    "full": "attention counts every key for each query, in layers with a window as many as it holds (full)",
    "causal": "attention counts the pairs that the causal mask and the windows keep (causal)",
    "half": "attention counts half of each square that a query can see (half)",
}


def tables(model: ModelSpec, answer: Flops[Any], inputs: Mapping[str, Any], depth: int, explain: bool, typed: str) -> list[Table]:
    """The headline tree; with `explain` its derivation instead. `typed` is how the user named the model."""
    phase, batch, seq = inputs["phase"], inputs["batch"], inputs["seq"]
    total = answer.value
    where = (
        f"{batch:,} × {seq:,} tokens{why(model, seq)}"
        if phase != "decode"
        else f"{batch:,} sequence{'' if batch == 1 else 's'} of {seq:,} keys{why(model, seq)}"
    )
    headline = f"{model.name}: {integer(total)} FLOP ({short(total, 'FLOP')}) for {PHASES[phase]}, {where}"
    letters = shape_of(model).letters | {"B": batch} | ({"C": seq} if phase == "decode" else {"T": seq})
    notes = [f"{short(total / answer.tokens, 'FLOP')} per token   1 multiply-add = 2 FLOP"]
    if phase != "decode":
        windowed = any(kind.switches.windowed for _, kind in shape_of(model).blocks)
        notes.append((PAIRS_IN_WINDOWS if windowed else PAIRS)[inputs["attention"]])
    if answer.other:
        notes.append(f"not in the total: {short(answer.other.value, 'FLOP')} of the forward pass that are no matmul, itemised below")
    known = legend(letters, answer.matmul)
    if explain:
        shown = [derivation(headline, answer.matmul, letters, notes)._replace(legend=known)]
        return shown + ([derivation("non-matmul", answer.other, letters, [])] if answer.other else [])
    main = _tree(headline, answer.matmul, total, depth, model, notes)._replace(legend=known)
    if answer.other is None:
        return [main]
    apart = f"not matmul: {integer(answer.other.value)} FLOP in the forward pass ({percent(answer.other.value / total)} of the total above)"
    following = f"next: gptcalc flops {typed} --conventions (as papers count), --explain (each formula)"
    return [main, _tree(apart, answer.other, answer.other.value, depth - 1, model, [following])]


def _tree(headline: str, root: Any, total: int, depth: int, model: ModelSpec, notes: list[str]) -> Table:
    columns = [
        Column("part"),
        Column("FLOP", integer, right=True),
        Column("share", percent, right=True, drop=1, style=small),
        Column("", bar, drop=3, drawn=True, style="cyan"),
        Column("formula", formula, fold=True, drop=2, style="dim"),
    ]
    names = block_labels(shape_of(model))
    labels = {path: names[node.name] for path, node in root.walk() if node.name in names}
    rows = [[label, node.value, node.value / total, node.value / total, node.formula] for _, label, node in branches(root, depth, labels)]
    return Table(headline, columns, rows, notes, bold=frozenset({len(rows) - 1}))
