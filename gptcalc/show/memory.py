"""`memory` as tables: the peak and its breakdown, the phases, what is held apart, and the verdict."""

from collections.abc import Container, Mapping
from typing import Any

from gptcalc.footprint.answer import ServingMemory, TrainingMemory
from gptcalc.footprint.serving import MOST_PREFILL
from gptcalc.node import Node
from gptcalc.show import training
from gptcalc.show.storage import widths
from gptcalc.show.table import Column, Table, Verdict, bar, formula, gauge, integer, percent, small
from gptcalc.show.tree import branches, derivation, legend
from gptcalc.spec.cache import CACHE_LAYOUTS, LEAST
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
    """The breakdown of the peak under its headline; with `explain` each leaf with its formula. `asked`: the options that were given."""
    letters = answer.serving.letters if isinstance(answer, ServingMemory) else answer.training.letters
    if isinstance(answer, ServingMemory):
        headline = _serving_headline(model, answer, inputs)
        notes = [*_serving_notes(answer, inputs), *_serving_verdict(model, answer)]
    else:
        headline = training.headline(model, answer, inputs, asked)
        notes = training.notes(answer, inputs)
    table = derivation(headline, answer.peak, letters, notes) if explain else _breakdown(headline, answer.peak, depth, notes, letters["L"])
    table = table._replace(legend=legend(letters, answer.peak))
    if isinstance(answer, TrainingMemory):
        return [table._replace(verdict=training.verdict(answer), gauge=training.filled(answer))]
    drawn = gauge(answer.value, answer.limits["room"]) if answer.limits else ""
    return [table._replace(verdict=_verdict(answer), gauge=drawn)]


def of_answer(answer: TrainingMemory | ServingMemory) -> Table:
    """The breakdown of the peak, of an answer alone."""
    if isinstance(answer, TrainingMemory):
        table = _breakdown(repr(answer), answer.peak, 1, [], answer.training.letters["L"])
        return table._replace(verdict=training.verdict(answer), gauge=training.filled(answer))
    table = _breakdown(repr(answer), answer.peak, 1, [], answer.serving.letters["L"])
    return table._replace(verdict=_verdict(answer), gauge=gauge(answer.value, answer.limits["room"]) if answer.limits else "")


def _verdict(answer: ServingMemory) -> Verdict:
    if not answer.limits:
        return ""
    return "no" if not answer.limits["fits"] else "yes" if answer.apart.context is not None else "beware"


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
    from gptcalc.run.timeline import timeline

    return {"timeline": [{"phase": p.phase, "part": p.part, "total": p.total, **p.bytes} for p in timeline(answer.training)]}


def _breakdown(headline: str, root: Node[Any], depth: int, notes: list[str], layers: int) -> Table:
    columns = [
        Column("part"),
        Column("bytes", integer, right=True, drop=4),
        Column("size", binary, right=True),
        Column("share", percent, right=True, drop=1, style=small),
        Column("", bar, drop=3, drawn=True, style="cyan"),
        Column("formula", formula, fold=True, drop=5, least=36, style="dim"),
    ]
    once = ("transients", "activations") if root.name == "serving" else ("transients",)  # of one block at a time
    labels = {path: f"block × {layers}" for path, node in root.walk() if node.name == "block" and path.partition("/")[0] not in once}
    rows = [
        [label, node.value, node.value, share, share, node.formula]
        for _, label, node in branches(root, depth, labels)
        for share in [node.value / root.value]
    ]
    return Table(headline, columns, rows, notes, bold=frozenset({len(rows) - 1}))


def _serving_headline(model: ModelSpec, answer: ServingMemory, inputs: Mapping[str, Any]) -> str:
    what = f"to serve {inputs['batch']:,} × {inputs['seq']:,} tokens in {stored(inputs)}"
    if answer.usual and inputs["seq"] < model.n_ctx:
        what += f" (its usual length; it reaches {model.n_ctx:,}: --seq)"
    limits = answer.limits
    if not limits:
        return f"{model.name}: {binary(answer.value)} at the peak {what}"
    verdict = "fits" if limits["fits"] else "does not fit"
    uncalibrated = ", uncalibrated" if answer.apart.context is None else ""
    most = f"; at most {limits['max_batch']:,} at once" if limits["max_batch"] else ""
    return f"{model.name} on {limits['device']}: {verdict}, {binary(answer.value)} of {binary(limits['room'])}{uncalibrated}, {what}{most}"


def _serving_notes(answer: ServingMemory, inputs: Mapping[str, Any]) -> list[str]:
    notes = []
    if inputs.get("images"):
        notes.append(f"{inputs['image_tokens']:,} of the tokens are {inputs['images']} picture{'s' * (inputs['images'] > 1)}")
    if inputs["prefill"] < inputs["batch"] * inputs["seq"]:
        notes.append(f"prompts are read {inputs['prefill']:,} tokens in one pass, as servers do: --prefill N")
    elif inputs["seq"] > MOST_PREFILL and inputs["prefill"] == inputs["seq"]:
        notes.append(f"a prompt is read whole, as transformers does; a server cuts it: --prefill {MOST_PREFILL}")
    notes += _kept(answer, str(inputs["cache_layout"]))
    if answer.limits:
        notes.append(_beside(answer))
    return notes


def _kept(answer: ServingMemory, name: str) -> list[str]:
    """What one token and one sequence take, and what an engine keeps beside the least."""
    kept, least, each = answer.peak["kv cache"].value, answer.serving.least_cache, answer.each
    token, further = each["kv_cache_per_token"], each["kv_cache_per_token_beyond_windows"]
    parts = [f"a token takes {integer(token)} bytes of cache"] if token else []
    parts += [f"{integer(round(further))} beyond the windows"] if token != further else []
    parts += [f"a sequence {binary(each['kv_cache_per_sequence'])}"] if token else []
    parts += [f"and {binary(each['state_per_sequence'])} of state, however long it is"] if each["state_per_sequence"] else []
    notes = [", ".join(parts)] if parts else []
    if name == LEAST:
        return notes + whole_pages(kept, answer.serving.whole_cache)
    return [*notes, f"cache as {name} lays it out ({CACHE_LAYOUTS[name].said}); the least that attention reads again: {binary(least)}"]


def whole_pages(kept: int, whole: int) -> list[str]:
    """What to say where layers with windows keep less of the cache than some engines do."""
    if whole == kept:
        return []
    engines = "an engine that keeps full pages in windowed layers (vLLM, SGLang without their hybrid cache manager; --cache-layout)"
    return [f"the cache is {binary(kept)} with what the windows still see; {engines} needs {binary(whole)}"]


def _beside(answer: ServingMemory) -> str:
    apart = answer.apart
    if apart.context is None:
        return f"what the software of {answer.limits['device']} takes beside it is not known: not counted"
    if not apart.context:
        return "apart from it: nothing"
    return f"apart from it: CUDA context {binary(apart.context)}, two cuBLAS workspaces {binary(apart.workspace)}"


def _serving_verdict(model: ModelSpec, answer: ServingMemory) -> list[str]:
    limits = answer.limits
    if not limits:
        return ["next: --depth 3 (its parts), --device h100-80gb (does it fit, how many, how long?), --kv-precision fp8, --precision int4"]
    room = f"{binary(limits['room'])} can be allocated on {limits['device']}"
    whole, cut = (min(limits[name], model.n_ctx) for name in ("max_context", "max_context_in_passes"))
    reach = f"{whole:,}" + (f", or {cut:,} where prompts are read {MOST_PREFILL:,} tokens in one pass" if cut > whole else "")
    reach += ", all that it reaches" if cut == model.n_ctx else ""
    most = f"the largest batch is {limits['max_batch']:,}, the longest context {reach}"
    if limits["fits"]:
        return [f"fits: {room}, {binary(limits['left'])} are left; {most}"]
    weights = [] if limits["weights_fit"] else ["the weights alone do not fit"]
    return [f"does not fit: {room}, {binary(-limits['left'])} too little; {most}", *weights]
