"""The bill of a training run: steps, time, device-hours, money, energy and CO2, from a step's time or from a stated MFU.

MFU: the model's FLOPs (every query meets every key that its window holds, no recomputation) over time and dense peak (Chowdhery et al.
2022, PaLM, arXiv:2204.02311, appendix B). HFU: the same with what is recomputed. A causal kernel leaves out about half of those pairs, so
that both can pass 1 on long sequences; `mfu_causal` and `hfu_causal` count the pairs that the mask keeps, and cannot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc import units
from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.footprint.layouts import read_numbers
from gptcalc.money import CARBON, PUE, TDP_SHARE, bill_of
from gptcalc.node import Node, plain
from gptcalc.ranges import Range, check_range, read_range, spreads, whole
from gptcalc.run.pace import pace_of, stated_pace
from gptcalc.run.use import beyond_context, beyond_peak, flops_of
from gptcalc.shown import frame, shown
from gptcalc.time.kernels import ceil

if TYPE_CHECKING:
    from gptcalc.spec.cluster import ClusterSpec
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.recipe import Recipe
    from gptcalc.spec.stack import StackSpec

TIMED = ("runtime", "optimizer", "recompute", "attention_kernel", "compiled", "dropout")
"""What of a recipe the time of a step knows about; what it does not is refused, not ignored."""


MOST_DEVICES = 200
"""Kinds of device in one answer."""


OF_STEP = ("count", "step_time", "tokens_per_second", "steps", "mfu", "hfu", "mfu_causal", "hfu_causal", "time", "flops")
ARRAYS = (*OF_STEP, "device_hours", "cost_usd", "energy_kwh", "co2_kg")
"""Of a run: all are arrays where one input is."""


@shown
class Run(NamedTuple):
    """One run on one kind of device. Base units: seconds, FLOP, USD; energy in kWh, CO2 in kg. None: an input for it is not known."""

    device: str
    device_kind: str  # gpu, tpu, ...
    count: Any
    precision: str
    calibrated: bool  # steps were compared on this very device, alone or under this stack
    lower_bound: bool  # of the time: code that nobody has
    spread: float | None  # the time of a step is expected within this share; None: for a stated MFU, and of a lower bound
    step_time: Any
    tokens_per_second: Any
    steps: Any
    mfu: Any
    hfu: Any
    mfu_causal: Any
    hfu_causal: Any
    time: Any
    device_hours: Any
    cost_usd: Any
    energy_kwh: Any
    co2_kg: Any
    flops: Any
    kernels: list[dict[str, Any]]
    ranges: dict[str, Any]
    drivers: list[dict[str, Any]]
    communication: list[dict[str, Any]]
    pipeline: dict[str, Any] | None
    memory: dict[str, Any] | None
    goodput: dict[str, Any] | None
    notes: list[str]
    parts: Node[Any]
    inputs: dict[str, Any]

    def to_frame(self) -> Any:
        """A pandas DataFrame of the parts; GptcalcError where pandas is not installed."""
        return frame(self)

    @property
    def value(self) -> Any:
        """Seconds."""
        return self.time

    @property
    def fits(self) -> bool:
        """False where the recipe does not fit in the device's memory; true where it may, and where an MFU is stated instead of a recipe."""
        return self.memory is None or self.memory["fits"] is not False

    def to_dict(self) -> dict[str, Any]:
        fields = {name: plain(value) for name, value in self._asdict().items() if name not in ("parts", "inputs")}
        known = {name for name, ends in self.ranges.items() if all(end is not None for end in ends.values())}
        ranges, bounds = ({name: ends for name, ends in fields["ranges"].items() if (name in known) is both} for both in (True, False))
        return fields | {"ranges": ranges, "bounds": bounds, "parts": self.parts.to_dict()}


def train(model: Any, *, device: Any = "h100-80gb", **options: Any) -> Any:
    """The bill of a training run on one kind of device, or a list of bills where `device` is a list of names.

    Options: `tokens`, `count`, `batch` (micro-batch of a device), `seq` (left out: `ModelSpec.usual_seq`), `global_batch` (of a step),
    `mfu` (replaces the model of the step), `precision`, `price`, `tdp_share`, `pue`, `carbon`; of a recipe `runtime`, `optimizer`,
    `recompute`, `attention_kernel`, `compiled`, `dropout`; of a layout `tp`, `pp`, `dp`, `cp`, `ep`, `virtual_stages`,
    `sequence_parallel`, `zero`; `stack`, `cluster`, `slice` (devices that share the fast link, where not as many as the cluster has),
    `goodput`.
    `tokens`, `count`, `batch`, `seq`, `mfu`, `price`, the energy inputs and the layout's sizes may be float arrays; `mfu`, `price` and the
    energy inputs also ranges, "0.35..0.45".

    Units: seconds, hours, USD, kWh, kg.   Raises: GptcalcError for contradictory or impossible inputs.
    Source: of time, `step_time`; of MFU, above; of energy and CO2, `bill`.

    >>> run = train("gpt3-175b", tokens="300B", device="a100", count=1024, mfu=0.45)
    >>> round(run.device_hours), round(run.time / 86400)
    (638877, 26)
    """
    from gptcalc.spec.device import load_device
    from gptcalc.spec.files import as_model

    spec = as_model(model)
    if isinstance(device, list | tuple):
        if not device:
            raise GptcalcError("no device is named", hint="'gptcalc devices' lists them")
        if len(device) > MOST_DEVICES:
            raise GptcalcError(f"{len(device):,} devices side by side are too many: at most {MOST_DEVICES}")
        return [_train(spec, load_device(name), **options) for name in device]
    return _train(spec, device if hasattr(device, "peak") else load_device(device), **options)


def _train(
    model: ModelSpec,
    device: DeviceSpec,
    *,
    tokens: Any = None,
    count: Any = None,
    batch: Any = 1,
    seq: Any = None,
    global_batch: Any = None,
    mfu: Any = None,
    precision: str | None = None,
    price: Any = None,
    tdp_share: Any = TDP_SHARE,
    pue: Any = PUE,
    carbon: Any = CARBON,
    stack: str | None = None,
    cluster: str | None = None,
    slice: int | None = None,  # noqa: A002 - what clouds call it
    goodput: bool = False,
    **recipe: Any,
) -> Run:
    from gptcalc.run.room import room_of
    from gptcalc.spec.cluster import cluster_for, load_cluster
    from gptcalc.spec.division import CHOICES, SIZES, choices_of, divided
    from gptcalc.spec.options import check_flag, check_shapes, filled, whole_number
    from gptcalc.spec.recipe import Layout
    from gptcalc.spec.stack import asked_stack
    from gptcalc.time.software import stack_for, stacks_for, warnings

    D, T = _tokens(model, tokens), whole(model.usual_seq if seq is None else seq, "seq")
    batch = whole(batch, "batch")
    read_numbers(model, batch=batch, seq=T)
    sizes = {name: recipe.pop(name, None) for name in (*SIZES, *CHOICES)}
    sizes |= {name: whole(sizes[name], name) for name in SIZES if sizes[name] is not None} | choices_of(sizes)
    rates = {"price": price, "tdp_share": tdp_share, "pue": pue, "carbon": carbon}
    shape = check_shapes(tokens=D, seq=T, batch=batch, count=count, global_batch=global_batch, mfu=mfu, **sizes, **rates)
    stack = asked_stack(stack, recipe.get("runtime"), device) if mfu is None else stack
    named = None if stack is None else stack_for(stack, None, None)
    place = cluster_for(device.name) if cluster is None else load_cluster(cluster)
    if slice is not None:
        place = place.model_copy(update={"node": whole_number("slice", slice)})
    for name in recipe:
        if name not in TIMED:
            raise GptcalcError(f"train has no option '{name}'", hint=did_you_mean(name, TIMED))
    check_flag("goodput", goodput)
    given = {name: value for name, value in recipe.items() if value is not None}
    defaults = {} if named is None else named.defaults
    if mfu is not None:
        of_step = {name: sizes.get(name) for name in (*CHOICES, "virtual_stages")} | {"slice": slice}
        of_step |= {"cluster": None if goodput else cluster, "stack": None if "recompute" in defaults else stack}
        _check_stated_mfu(given | of_step)
    chosen = _recipe(model, device, precision, {name: v for name, v in defaults.items() if name not in CHOICES} | given)
    division = divided(
        model,
        defaults,
        sizes,
        batch=batch,
        seq=T,
        count=None if count is None else whole(count, "count"),
        global_batch=None if global_batch is None else whole(global_batch, "global batch"),
    )
    where, stacks = (True, [named]) if named else stacks_for(recipe.get("runtime"), sizes["zero"], division.layout, division.count)
    software = stacks[0]
    layout = division.layout._replace(shard_within=place.node if software.shard_in_node else None)
    count, sequences, chosen = division.count, division.sequences, chosen._replace(layout=layout)
    chosen = chosen._replace(accumulate=division.micro_batches)
    useful, executed = flops_of(model, T, chosen, "full")
    peak = count * _peak(device, chosen)
    notes = beyond_context(model, T)
    timed: Any = None
    stated = memory = None
    many = mfu is None and (division.parallel or stack is not None)
    if mfu is not None:
        stated = check_range(read_range(mfu, "mfu"), "mfu", upto=1.0)
        step = sequences * useful / (stated.likely * peak)
        pace = stated_pace(stated, device)
        parts = Node("step", step, "s", "FLOP / (MFU * devices * peak)")
    else:
        if many:
            timed = _parallel(stacks, where, model, device, chosen, place, batch, T, division.micro_batches)
            notes += [*warnings(division.layout, place), f"{' or '.join(one.title for one in stacks)} on {place.title}"]
        else:
            alone = chosen._replace(accumulate=1, layout=Layout())
            timed = _step(model, device, alone, batch, T, division.micro_batches)
        step, parts = timed.value, timed.node
        memory = room_of(model, device, chosen, batch, T)
        asked = recipe.get("runtime") is not None or "runtime" in defaults
        pace = pace_of(model, device, software if many else None, chosen.runtime, chosen=asked)
        notes += pace.notes
    steps = ceil(D, sequences * T)
    seconds = steps * step
    lasting = None
    if goodput:
        from gptcalc.run.goodput import goodput_of

        lasting = goodput_of(model, chosen, place, count, seconds)._asdict()
        seconds = seconds / lasting["goodput"]
    hours = seconds * count / 3600
    bill = bill_of(pace.times(hours), device, **rates)
    share = sequences / (step * peak)
    use = {"mfu": useful * share, "hfu": executed * share}
    use |= {f"{name}_causal": one * share for name, one in zip(use, flops_of(model, T, chosen, "causal"), strict=True)}
    outputs: dict[str, Range | None] = {
        name: pace.times(value) for name, value in {"step_time": step, "time": seconds, "device_hours": hours}.items()
    }
    outputs |= {"tokens_per_second": pace.over(sequences * T / step)} | {name: pace.share(value) for name, value in use.items()}
    outputs |= {"cost_usd": bill.cost, "energy_kwh": bill.energy, "co2_kg": bill.co2}
    if stated is None:
        notes += beyond_peak(use)
    spread_by = bill.inputs if pace.lower_bound else {"mfu": pace.share(use["mfu"])} | bill.inputs
    run = Run(
        device=device.name,
        device_kind=device.kind,
        count=count,
        precision=chosen.precision,
        calibrated=pace.calibrated,
        lower_bound=pace.lower_bound,
        spread=pace.spread,
        steps=steps,
        flops=steps * sequences * useful,
        kernels=[] if timed is None else _shares(timed.kinds, step),
        ranges={name: r._asdict() for name, r in outputs.items() if r is not None and not r.known},
        drivers=spreads(spread_by),
        communication=[one._asdict() for one in timed.traffic] if many else [],
        pipeline=_pipeline(timed) if many else None,
        memory=memory,
        goodput=lasting,
        notes=notes + bill.notes,
        parts=parts,
        inputs={"tokens": D, "device": device.name, "count": count, "batch": batch, "seq": T, "global_batch": sequences, "mfu_given": mfu}
        | {name: value for name, value in chosen._asdict().items() if name != "layout"}
        | (_divisions(chosen) | {"stack": " or ".join(one.name for one in stacks), "cluster": place.name} if many else {})
        | {"peak": _peak(device, chosen)}
        | {name: r.likely for name, r in bill.inputs.items()},
        **{name: None if r is None else r.likely for name, r in outputs.items()},
    )
    return run._replace(**{name: filled(getattr(run, name), shape) for name in ARRAYS}) if shape else run


def _shares(kinds: dict[str, Any], step: Any) -> list[dict[str, Any]]:
    from gptcalc.time.step import longest_first

    return [{"kind": name, "time": seconds, "share": seconds / step} for name, seconds in longest_first(kinds).items()]


def _pipeline(timed: Any) -> dict[str, Any]:
    pairs = {role: {"forward": pair[0], "backward": pair[1]} for role, pair in timed.stages.items()}
    return {"stages": pairs, "between": timed.between}


def _check_stated_mfu(options: dict[str, Any]) -> None:
    """Raises GptcalcError for what would only change the time of a step, which a stated MFU replaces."""
    for name, value in options.items():
        if value is not None and value is not False and name != "recompute":
            raise GptcalcError(
                f"with a stated MFU {name} changes nothing",
                hint="leave it out, or leave --mfu out for the time of this recipe's own kernels",
            )


def _tokens(model: ModelSpec, tokens: Any) -> Any:
    if tokens is None:
        tokens = model.training_tokens
        if tokens is None:
            raise GptcalcError(f"how many tokens {model.name} was trained on is not in its preset", hint="give --tokens, such as 300B")
    return whole(tokens, "tokens", most=units.LARGEST)


def _divisions(recipe: Recipe) -> dict[str, Any]:
    """The layout as inputs have it, where there is one."""
    sizes = ("tp", "pp", "dp", "cp", "ep", "virtual_stages", "sequence_parallel", "zero")
    return {name: plain(getattr(recipe.layout, name)) for name in sizes}


def _recipe(model: ModelSpec, device: DeviceSpec, precision: str | None, options: dict[str, Any]) -> Recipe:
    """The recipe with its defaults: autocast to the 16-bit type that the device has, transformers' code where it has the model."""
    from gptcalc.footprint.request import default_runtime
    from gptcalc.spec.options import check_word
    from gptcalc.spec.recipe import PRECISIONS, Recipe, autocast, check_recipe
    from gptcalc.spec.runtime import load_runtime

    if precision is not None:
        check_word("precision", precision, PRECISIONS)
    else:
        precision = autocast(device.usual_type)
    given = {name: value for name, value in options.items() if value is not None}
    if "runtime" not in given:
        given["runtime"] = default_runtime(model)
    chosen = Recipe(precision=precision, **given)
    check_recipe(chosen, load_runtime(chosen.runtime))
    return chosen


def _peak(device: DeviceSpec, recipe: Recipe) -> float:
    from gptcalc.spec.recipe import peak_of

    return peak_of(device.name, device.peak, recipe.precision)


def _step(model: ModelSpec, device: DeviceSpec, recipe: Recipe, batch: Any, seq: Any, micro_batches: Any) -> Any:
    from gptcalc.spec.runtime import load_runtime
    from gptcalc.time.launches import work_of
    from gptcalc.time.step import step_time

    return step_time(work_of(model, device, recipe, batch, seq), load_runtime(recipe.runtime).host, micro_batches=micro_batches)


def _parallel(
    stacks: list[StackSpec],
    where: Any,
    model: ModelSpec,
    device: DeviceSpec,
    recipe: Recipe,
    place: ClusterSpec,
    batch: Any,
    seq: Any,
    m: Any,
) -> Any:
    """A step on many devices; under the first of two stacks in some places of arrays, those `where` says."""
    from gptcalc.time.parallel import either, parallel_step
    from gptcalc.time.quantities import Plan

    timed = [parallel_step(Plan(model, device, recipe, place, software, batch, seq, m)) for software in stacks]
    return timed[0] if len(timed) == 1 else either(where, *timed)
