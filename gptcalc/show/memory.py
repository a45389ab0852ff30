"""`memory` as tables: the peak and its bill, the phases, what is held apart, and the verdict."""

from collections.abc import Mapping
from typing import Any

from gptcalc.formulas.memory.answer import ServingMemory, TrainingMemory
from gptcalc.formulas.node import Node
from gptcalc.show.layout import layout
from gptcalc.show.storage import aside, widths
from gptcalc.show.table import Column, Table, formula, integer, percent
from gptcalc.show.tree import branches, derivation, legend
from gptcalc.spec.model import ModelSpec
from gptcalc.units import binary

PHASES = {
    "before_forward": "before the forward pass",
    "after_forward": "after the forward pass",
    "forward": "in the forward pass",
    "backward": "in the backward pass",
    "optimizer": "in the optimizer step",
}


def tables(model: ModelSpec, answer: TrainingMemory | ServingMemory, inputs: Mapping[str, Any], depth: int, explain: bool) -> list[Table]:
    """The bill of the peak under its headline; with `explain` each leaf with its formula."""
    letters = answer.serving.letters if isinstance(answer, ServingMemory) else answer.training.letters
    if isinstance(answer, ServingMemory):
        what = f"to serve {inputs['batch']} × {inputs['seq']:,} tokens in {stored(inputs)}"
        headline = f"{model.name}: {binary(answer.value)} at the peak {what}"
        notes = [legend(letters, answer.peak), *_serving_verdict(answer)]
    else:
        moment = answer.training.when[answer.training.peak]
        what = f"one training step of {inputs['batch']} × {inputs['seq']:,} tokens, {inputs['precision']}, {inputs['runtime']}"
        headline = f"{model.name}: {binary(answer.value)} at the peak, {PHASES[answer.training.peak]} (at: {moment}); {what}"
        divided = [] if (cut := layout(inputs)) == "one device" else [f"layout: {cut}, of which this is one device"]
        notes = [legend(letters, answer.peak), *divided, *_phases(answer), *_training_verdict(answer)]
        headline += aside(model)
    return [derivation(headline, answer.peak, letters, notes) if explain else _bill(headline, answer.peak, depth, notes, letters["L"])]


def stored(inputs: Mapping[str, Any]) -> str:
    """How the weights that are served are stored."""
    if "quantization" not in inputs:
        return str(inputs["precision"])
    said = inputs["quantization"]
    cache = said.get("cache")
    meant = "" if cache in (None, inputs["kv_precision"]) else f", its cache meant for {cache}{CACHES.get(cache, '')}"
    return f"{said['method']}, as stored: {widths(said)} bits a weight{meant}"


CACHES = {"fp8": " (--kv-precision fp8)", "int8": " (--kv-precision int8)", "int4": " (--kv-precision int4)"}


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


def _phases(answer: TrainingMemory) -> list[str]:
    phases = answer.training.phases
    shown = [f"{name.replace('_', ' ')} {binary(phases[name].value)}" for name in PHASES]
    apart = answer.apart
    stage = answer.training.role
    return [
        f"phases: {', '.join(shown)}",
        *([f"stage: {stage}, the one that needs most"] if stage != "only" else []),
        f"the allocator reserves about {binary(apart.likely)} (estimate; {binary(apart.low)} to {binary(apart.high)})",
        f"apart from it: CUDA context {binary(apart.context)}, two cuBLAS workspaces {binary(apart.workspace)}",
    ]


def _training_verdict(answer: TrainingMemory) -> list[str]:
    verdict = answer.verdict
    if verdict is None:
        return ["next: --device h100-80gb (does it fit?), --timeline (over time), --explain (each formula)"]
    room = f"{binary(verdict.room)} can be allocated on {verdict.device}"
    if verdict.fits:
        tight = "" if answer.apart.high + answer.apart.apart <= verdict.memory else ", tightly: unused segments may have to be given back"
        return [f"fits{tight}: {room}, {binary(verdict.left)} are left; the largest batch that fits is {verdict.largest_batch:,}"]
    lines = [f"does not fit: {room}, {binary(-verdict.left)} too little"]
    if not verdict.weights_fit:
        lines.append("the weights alone do not fit")
    if verdict.largest_batch:
        lines.append(f"the largest batch that fits is {verdict.largest_batch:,}")
    if verdict.change:
        change = verdict.change
        lines.append(f"the cheapest change that makes it fit: {change.option} ({change.price}): {binary(change.peak)}")
    else:
        lines.append("no such change makes it fit: divide the model over more devices, --tp and --pp")
    return lines


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
