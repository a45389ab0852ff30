"""`plan_of`: the one door from the options of a step to what the formulas read, for `train` and for `memory`, numbers or arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.footprint.arrays import read_numbers
from gptcalc.ranges import whole
from gptcalc.spec.division import CHOICES, SIZES, choices_of, divided
from gptcalc.spec.legality import has_experts
from gptcalc.spec.options import check_shapes, whole_number, word_or_array, words
from gptcalc.spec.plan import AdapterOptions, RecipeOptions, StepOptions
from gptcalc.spec.reading import quoted
from gptcalc.spec.recipe import Layout, Recipe, check_recipe, peak_of, usual_precision
from gptcalc.spec.runtime import load_runtime
from gptcalc.spec.stack import asked_stack, load_stack
from gptcalc.symbols import differ

if TYPE_CHECKING:
    from gptcalc.spec.cluster import ClusterSpec
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.stack import StackSpec


WHOLE_MODEL = AdapterOptions()


class Plan(NamedTuple):
    """What is run: numbers, or arrays that broadcast to `shape`. `recipe` has the layout; `stack` is None where none was named.

    `count` devices, `sequences` of a step in `micro_batches` of `batch` on each replica; `parallel`: whether there is anything to divide.
    """

    model: ModelSpec
    device: DeviceSpec | None
    recipe: Recipe
    stack: StackSpec | None
    batch: Any
    seq: Any
    count: Any
    sequences: Any
    micro_batches: Any
    parallel: bool
    shape: tuple[int, ...]


def plan_of(
    model: ModelSpec,
    device: DeviceSpec | None,
    asked: StepOptions,
    *,
    adapters: AdapterOptions = WHOLE_MODEL,
    place: ClusterSpec | None = None,
    usual_stack: bool = True,
    beside: dict[str, Any] | None = None,
) -> Plan:
    """The plan of a step with its defaults: the stack's, then the runtime's; autocast to the 16-bit type of the device.

    `place` is what joins the devices (None: the device's usual cluster), `beside` what else may be arrays. Without a `usual_stack` a TPU
    has none either.

    Raises GptcalcError for what is no size, for contradictions and for every rule of `legality` that is broken.
    """
    batch = whole(1 if asked.batch is None else asked.batch, "batch")
    seq = whole(model.usual_seq if asked.seq is None else asked.seq, "seq")
    read_numbers(model, batch=batch, seq=seq)
    sizes = {name: whole(getattr(asked, name), name) for name in SIZES if getattr(asked, name) is not None} | choices_of(asked)
    recompute = None if asked.recompute is None else word_or_array("recompute", asked.recompute)
    alike = {"seq": seq, "batch": batch, "count": asked.count, "global_batch": asked.global_batch, "recompute": recompute}
    shape = check_shapes(**{**(beside or {}), **alike, **sizes})
    named = asked_stack(asked.stack, asked.runtime, device) if usual_stack else asked.stack
    stack = None if named is None else load_stack(named)
    defaults = {} if stack is None else stack.defaults
    recipe = _recipe(model, device, asked, adapters, {name: value for name, value in defaults.items() if name not in CHOICES})
    accumulate = None if adapters.accumulate is None else whole_number("accumulate", adapters.accumulate)
    division = divided(
        model,
        defaults,
        sizes,
        batch=batch,
        seq=seq,
        count=None if asked.count is None else whole(asked.count, "count"),
        global_batch=None if asked.global_batch is None else whole(asked.global_batch, "global batch"),
        accumulate=accumulate,
    )
    if accumulate is not None and asked.global_batch is not None and differ(accumulate, division.micro_batches):
        pieces = quoted(division.micro_batches)
        raise GptcalcError(
            f"accumulate {accumulate} and global batch {quoted(asked.global_batch)} contradict: that is {pieces} micro-batches",
            hint="give one of the two",
        )
    recipe = recipe._replace(accumulate=division.micro_batches, layout=_placed(division.layout, device, stack, place))
    return Plan(model, device, recipe, stack, batch, seq, *division[1:], shape)


def _placed(layout: Layout, device: DeviceSpec | None, stack: StackSpec | None, place: ClusterSpec | None) -> Layout:
    """The layout with the devices that ZeRO-3 divides over, where its stack has it divide over those of a node."""
    if stack is None or not stack.shard_in_node:
        return layout
    if place is None and device is not None:
        from gptcalc.spec.cluster import cluster_for

        place = cluster_for(device.name)
    return layout if place is None else layout._replace(shard_within=place.node)


def _recipe(
    model: ModelSpec, device: DeviceSpec | None, asked: RecipeOptions, adapters: AdapterOptions, defaults: dict[str, Any]
) -> Recipe:
    """The recipe that is asked for, on one device, checked for contradictions."""
    given = {name: getattr(asked, name) for name in RecipeOptions._fields}
    given |= {name: getattr(adapters, name) for name in AdapterOptions._fields if name != "accumulate"}
    given |= {name: words(name, given[name]) for name in ("freeze", "lora_targets")}
    if given["recompute"] is not None:
        given["recompute"] = word_or_array("recompute", given["recompute"])
    given = defaults | {name: value for name, value in given.items() if value is not None}
    rank = given["lora_rank"] = None if adapters.lora_rank is None else whole_number("the LoRA rank", adapters.lora_rank)
    if asked.precision is None:
        type_ = "bf16" if device is None else device.usual_type
        usual = usual_precision(rank, qlora=given.get("qlora", False), experts=has_experts(model), type_=type_)
        given["precision"], given["adapter_precision"] = usual
    code = load_runtime(given["runtime"] if "runtime" in given else default_runtime(model))
    recipe = Recipe(**{"dropout": code.dropout, **given, "runtime": code.name})
    check_recipe(recipe, code)
    if device is not None:
        peak_of(device.name, device.peak, recipe.precision)
    return recipe


def default_runtime(model: ModelSpec) -> str:
    """transformers, where it has code for all of the model; else ideal."""
    from gptcalc.table.code import code_of

    try:
        code_of(load_runtime("transformers"), model)
    except GptcalcError:
        return "ideal"
    return "transformers"
