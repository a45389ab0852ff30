"""`memory` as tables: the peak and its bill, the phases, what is held apart, and the verdict."""

from collections.abc import Container, Mapping
from typing import Any

from gptcalc.formulas.memory.answer import ServingMemory, TrainingMemory
from gptcalc.formulas.node import Node
from gptcalc.show import training
from gptcalc.show.table import Column, Table, formula, integer, percent
from gptcalc.show.tree import branches, derivation, legend
from gptcalc.spec.model import ModelSpec
from gptcalc.units import binary


def tables(
    model: ModelSpec,
    answer: TrainingMemory | ServingMemory,
    inputs: Mapping[str, Any],
    depth: int,
    explain: bool,
    asked: Container[str] = (),
) -> list[Table]:
    """The bill of the peak under its headline; with `explain` each leaf with its formula. `asked`: the options that were given."""
    letters = answer.serving.letters if isinstance(answer, ServingMemory) else answer.training.letters
    if isinstance(answer, ServingMemory):
        what = f"to serve {inputs['batch']} × {inputs['seq']:,} tokens in {stored(inputs)}"
        headline = f"{model.name}: {binary(answer.value)} at the peak {what}"
        notes = [legend(letters, answer.peak), *_serving_verdict(answer)]
    else:
        headline = training.headline(model, answer, inputs, asked)
        notes = [legend(letters, answer.peak), *training.notes(answer, inputs)]
    return [derivation(headline, answer.peak, letters, notes) if explain else _bill(headline, answer.peak, depth, notes, letters["L"])]


def stored(inputs: Mapping[str, Any]) -> str:
    """How the weights that are served are stored."""
    if "quantization" not in inputs:
        return str(inputs["precision"])
    return "{method}, as stored: {bits:.6g} bits a weight".format(**inputs["quantization"])


def points(answer: Any) -> dict[str, Any]:
    """The timeline as JSON has it."""
    from gptcalc.formulas.run.timeline import timeline

    return {"timeline": [{"phase": p.phase, "part": p.part, "total": p.total, **p.bytes} for p in timeline(answer.training)]}


def _bill(headline: str, root: Node[Any], depth: int, notes: list[str], layers: int) -> Table:
    columns = [
        Column("part"),
        Column("bytes", integer, right=True, drop=3),
        Column("size", binary, right=True),
        Column("share", percent, right=True, drop=1),
        Column("formula", formula, fold=True, drop=2),
    ]
    once = ("transients", "activations") if root.name == "serving" else ("transients",)  # of one block at a time
    labels = {path: f"block × {layers}" for path, node in root.walk() if node.name == "block" and path.partition("/")[0] not in once}
    rows = [[label, node.value, node.value, node.value / root.value, node.formula] for _, label, node in branches(root, depth, labels)]
    return Table(headline, columns, rows, notes, bold=frozenset({len(rows) - 1}))


def _serving_verdict(answer: ServingMemory) -> list[str]:
    limits = answer.limits
    if not limits:
        return ["next: --device h100-80gb (does it fit, how many, how long?), --kv-precision fp8, --precision int4"]
    room = f"{binary(limits['room'])} can be allocated on {limits['device']}"
    most = f"the largest batch is {limits['max_batch']:,}, the longest context {limits['max_context']:,}"
    if limits["fits"]:
        return [f"fits: {room}, {binary(limits['left'])} are left; {most}"]
    weights = [] if limits["weights_fit"] else ["the weights alone do not fit"]
    return [f"does not fit: {room}, {binary(-limits['left'])} too little; {most}", *weights]
