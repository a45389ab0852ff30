"""What a sweep may show of each point, which question answers it, and which options that question reads.

- `MEASURES`: each with its question and its unit. `Question`: `of` answers one point, or arrays of the options that it takes as arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.node import plain
from gptcalc.search.varied import COUNTING, SERVING
from gptcalc.spec.fields import asked, options_of
from gptcalc.spec.plan import AdapterOptions, MemoryOptions, RunOptions, TrainOptions

if TYPE_CHECKING:
    from gptcalc.spec.model import ModelSpec


class Measure(NamedTuple):
    """`better`: 1 where more is better, -1 where less is, 0 where neither."""

    question: str
    unit: str
    better: int
    says: str


MEASURES = {
    "params": Measure("params", "parameters", 0, "parameters of the model"),
    "non_embedding": Measure("params", "parameters", 0, "parameters without embeddings and an untied head"),
    "active": Measure("params", "parameters", 0, "parameters that one token meets"),
    "flops": Measure("flops", "FLOP", -1, "matmuls of a forward pass of `batch` sequences, or of another `phase`"),
    "flops_per_token": Measure("flops", "FLOP", -1, "the same of one token"),
    "memory": Measure("memory", "bytes", -1, "peak of a training step on the fullest device"),
    "left": Measure("memory", "bytes", 1, "what the device has beside the peak"),
    "fits": Measure("memory", "", 1, "whether the peak fits in the device"),
    "step_time": Measure("train", "s", -1, "one training step"),
    "tokens_per_second": Measure("train", "tokens/s", 1, "of training, on all devices"),
    "mfu": Measure("train", "share", 1, "model FLOPs utilization"),
    "hfu": Measure("train", "share", 1, "hardware FLOPs utilization"),
    "steps": Measure("train", "steps", -1, "of the run"),
    "time": Measure("train", "s", -1, "of the run"),
    "training_flops": Measure("train", "FLOP", -1, "model FLOPs of the run"),
    "device_hours": Measure("train", "h", -1, "of the run"),
    "cost_usd": Measure("train", "USD", -1, "of the run"),
    "energy_kwh": Measure("train", "kWh", -1, "of the run"),
    "co2_kg": Measure("train", "kg", -1, "of the run"),
    "prefill_time": Measure("infer", "s", -1, "one pass over the prompts"),
    "decode_step_time_first": Measure("infer", "s", -1, "the first decode step"),
    "decode_step_time_last": Measure("infer", "s", -1, "the last decode step"),
    "time_to_first_token": Measure("infer", "s", -1, "of serving"),
    "time_per_output_token": Measure("infer", "s", -1, "of serving"),
    "request_time": Measure("infer", "s", -1, "a request from its first token to its last"),
    "served_tokens_per_second": Measure("infer", "tokens/s", 1, "of serving, on all devices"),
    "kv_cache_bytes": Measure("infer", "bytes", -1, "keys and values of the batch"),
    "max_batch": Measure("infer", "sequences", 1, "sequences that one replica has room for"),
    "usd_per_million_output_tokens": Measure("infer", "USD", -1, "of serving"),
}
USUAL = ("params", "flops", "memory", "step_time")

Answers = dict[str, Any]


class Question(NamedTuple):
    """`reads`: the options that change its answer; `arrays`: those that it takes as arrays; `of`: the measures of a model with them."""

    name: str
    reads: frozenset[str]
    arrays: frozenset[str]
    of: Callable[[ModelSpec, dict[str, Any], Iterable[str]], Answers]


def _params(model: ModelSpec, _: dict[str, Any], shown: Iterable[str]) -> Answers:
    from gptcalc.table.params import params, views

    node = params(model)
    if set(shown) == {"params"}:
        return {"params": node.value}
    found = views(node, model)
    return {"params": found["total"], "non_embedding": found["non_embedding"], "active": found["active"]}


def _flops(model: ModelSpec, options: dict[str, Any], _: Iterable[str]) -> Answers:
    from gptcalc.table.flops import flops

    again = options.pop("recompute", None)
    if again is not None and options.get("phase") == "training":
        options["recompute"] = again
    found = flops(model, **options)
    return {"flops": found.value, "flops_per_token": plain(found.value / found.tokens)}


def _memory(model: ModelSpec, options: dict[str, Any], _: Iterable[str]) -> Answers:
    """As `memory` says it, of the numbers alone."""
    from gptcalc.footprint.arrays import peaks_of
    from gptcalc.footprint.fit import said
    from gptcalc.footprint.plan import plan_of
    from gptcalc.footprint.reserve import reserve
    from gptcalc.spec.device import as_device
    from gptcalc.symbols import pick

    device = as_device(options.pop("device"))
    given = asked(MemoryOptions, "a sweep of memory", options)
    plan = plan_of(model, device, given, adapters=given)
    peak = peaks_of(model, plan.recipe, plan.batch, plan.seq)
    room = device.memory - reserve(peak.value, peak.logits, peak.trained, device).apart
    if not hasattr(peak.value, "dtype"):
        fits: Any = said(peak.value, peak.high, room, lower_bound=peak.lower_bound)
    else:
        import numpy as np

        settled = np.where(peak.value > room, False, np.where(peak.lower_bound | (peak.high > room), None, True))  # type: ignore[call-overload]
        fits = settled
    return {"memory": peak.value, "left": pick(True, room - peak.value, 0), "fits": fits}


def _train(model: ModelSpec, options: dict[str, Any], shown: Iterable[str]) -> Answers:
    from gptcalc.run.request import train

    shown = tuple(shown)
    if "tokens" not in options and model.training_tokens is None and not set(shown) & set(OF_RUN):
        options["tokens"] = 1  # of one step: what it does not change is all that is asked for
    run = train(model, **options)
    names = {"training_flops": "flops"}
    return {name: getattr(run, names.get(name, name)) for name in shown}


OF_RUN = ("steps", "time", "training_flops", "device_hours", "cost_usd", "energy_kwh", "co2_kg")


def _infer(model: ModelSpec, options: dict[str, Any], shown: Iterable[str]) -> Answers:
    from gptcalc.serve.answer import infer

    found = infer(model, **options).to_dict()
    names = {"served_tokens_per_second": "tokens_per_second"}
    return {name: found.get(names.get(name, name)) for name in shown}


LAYOUT = ("tp", "pp", "dp", "cp", "ep", "virtual_stages", "count", "batch", "seq", "global_batch")
MONEY = ("price", "tdp_share", "pue", "carbon")

QUESTIONS = {
    one.name: one
    for one in (
        Question("params", frozenset(), frozenset(), _params),
        Question("flops", frozenset(("batch", "seq", "recompute", *COUNTING)), frozenset(), _flops),
        Question("memory", frozenset((*options_of(MemoryOptions), *AdapterOptions._fields)) - {"mode"}, frozenset(LAYOUT), _memory),
        Question("train", frozenset(options_of(TrainOptions)), frozenset((*LAYOUT, *MONEY, "tokens", "mfu")), _train),
        Question(
            "infer",
            frozenset((*SERVING, "device", "count", "batch", "precision", "runtime", "tp", "pp", "ep", "price")),
            frozenset(),
            _infer,
        ),
    )
}


def read_shown(show: Any) -> tuple[str, ...]:
    """The measures that are shown, each once.

    Raises GptcalcError for what is none.

    >>> read_shown("params, step_time")
    ('params', 'step_time')
    """
    parts: Any = show.split(",") if isinstance(show, str) else show
    names = [str(one).strip().replace("-", "_") for one in parts] if isinstance(parts, list | tuple) else []
    names = [name for name in names if name]
    if not names:
        raise GptcalcError("a sweep shows at least one measure", hint=f"of {', '.join(MEASURES)}")
    for name in names:
        if name not in MEASURES:
            raise GptcalcError(
                f"a sweep does not show '{name[:100]}'", hint=did_you_mean(name, MEASURES, otherwise=f"one of {', '.join(MEASURES)}")
            )
    return tuple(dict.fromkeys(names))


def refused_places(model: ModelSpec, options: Mapping[str, Any]) -> dict[int, GptcalcError]:
    """Of arrays of layouts the places that break a rule of `spec.legality`, each with its refusal; what else is wrong is said elsewhere."""
    from gptcalc.ranges import whole
    from gptcalc.spec.device import as_device
    from gptcalc.spec.division import SIZES, choices_of, sized
    from gptcalc.spec.legality import broken
    from gptcalc.spec.stack import asked_stack, load_stack

    given = asked(RunOptions, "a sweep", {name: value for name, value in options.items() if name in RunOptions._fields})
    named = asked_stack(given.stack, given.runtime, as_device(options.get("device", "h100-80gb")))
    sizes = {name: whole(getattr(given, name), name) for name in SIZES if getattr(given, name) is not None} | choices_of(given)
    _, judged = sized(
        {} if named is None else load_stack(named).defaults,
        sizes,
        batch=whole(1 if given.batch is None else given.batch, "batch"),
        seq=whole(model.usual_seq if given.seq is None else given.seq, "seq"),
        count=None if given.count is None else whole(given.count, "count"),
        global_batch=None if given.global_batch is None else whole(given.global_batch, "global batch"),
        accumulate=options.get("accumulate"),
    )
    return broken(model, judged)
