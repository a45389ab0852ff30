"""The bill of a training run: steps, time, device-hours, money, energy and CO2, from a step's time or from a stated MFU.

MFU: the model's FLOPs (every query meets every key, no recomputation) over time and dense peak (Chowdhery et al. 2022, PaLM,
arXiv:2204.02311, appendix B). HFU: the FLOPs that devices execute, recomputation included, over the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc import units
from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.formulas.memory.layouts import read_numbers
from gptcalc.formulas.node import Node, plain
from gptcalc.formulas.run.bill import CARBON, PUE, TDP_SHARE, bill_of
from gptcalc.formulas.run.ranges import Range, check_range, exactly, read_range, spreads, whole
from gptcalc.formulas.sharding import has_experts
from gptcalc.formulas.table import operations
from gptcalc.formulas.time.kernels import ceil
from gptcalc.spec.shape import shape_of

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.recipe import Recipe
    from gptcalc.spec.stack import StackSpec

UNCALIBRATED = 0.2
"""How far the time on a chip without measured steps may be off. FlashAttention's five GPT runs on A100 (its training/README.md) come out
2 to 10 % too fast without their communication; younger chips differ more from the H100 that lends its constants."""

TIMED = ("runtime", "optimizer", "recompute", "attention_kernel", "compiled", "dropout")
"""What of a recipe the time of a step knows about; what it does not is refused, not ignored."""

EXPERTS_SPREAD = 0.25
"""The same of experts, whose common matmul still gets faster from release to release (presets/runs/tables/experts.yaml)."""

UNCALIBRATED_CLUSTER = 0.25
"""The same on many devices, where the network's share and what hides under what were not measured either."""


class Run(NamedTuple):
    """One run on one kind of device. Base units: seconds, FLOP, USD; energy in kWh, CO2 in kg. None: an input for it is not known."""

    device: str
    count: Any
    precision: str
    calibrated: bool
    spread: float | None  # the time of a step is expected within this share
    step_time: Any
    tokens_per_second: Any
    steps: Any
    mfu: Any
    hfu: Any
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

    @property
    def value(self) -> Any:
        """Seconds."""
        return self.time

    @property
    def fits(self) -> bool:
        """Whether the recipe fits in the device's memory; true where no recipe was asked about (a stated MFU)."""
        return self.memory is None or bool(self.memory["fits"])

    def to_dict(self) -> dict[str, Any]:
        fields = {name: plain(value) for name, value in self._asdict().items() if name not in ("parts", "inputs")}
        return fields | {"parts": self.parts.to_dict()}


def train(model: Any, *, device: Any = "h100-80gb", **options: Any) -> Any:
    """The bill of a training run on one kind of device, or a list of bills where `device` is a list of names.

    Options: `tokens`, `count`, `batch` (micro-batch of a device), `seq`, `global_batch` (of a step), `mfu` (replaces the model of the
    step), `precision`, `price`, `tdp_share`, `pue`, `carbon`; of a recipe `runtime`, `optimizer`, `recompute`, `attention_kernel`,
    `compiled`, `dropout`; of a layout `tp`, `pp`, `dp`, `cp`, `ep`, `virtual_stages`, `sequence_parallel`, `zero`; `stack`, `cluster`,
    `slice` (devices that share the fast link, where not as many as the cluster has), `goodput`.
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
    from gptcalc.formulas.cluster.layout import stack_for, warnings
    from gptcalc.formulas.cluster.room import room_of
    from gptcalc.formulas.division import CHOICES, SIZES, choices_of, divided
    from gptcalc.spec.cluster import cluster_for, load_cluster
    from gptcalc.spec.options import check_flag, check_shapes, whole_number

    D, T = _tokens(model, tokens), whole(model.n_ctx if seq is None else seq, "seq")
    batch = whole(batch, "batch")
    read_numbers(model, batch=batch, seq=T)
    sizes = {name: recipe.pop(name, None) for name in (*SIZES, *CHOICES)}
    sizes |= {name: whole(sizes[name], name) for name in SIZES if sizes[name] is not None} | choices_of(sizes)
    rates = {"price": price, "tdp_share": tdp_share, "pue": pue, "carbon": carbon}
    check_shapes(tokens=D, seq=T, batch=batch, count=count, global_batch=global_batch, mfu=mfu, **sizes, **rates)
    software = stack_for(stack, recipe.get("runtime"), sizes["zero"])
    place = cluster_for(device.name) if cluster is None else load_cluster(cluster)
    if slice is not None:
        place = place.model_copy(update={"node": whole_number("slice", slice)})
    for name in recipe:
        if name not in TIMED:
            raise GptcalcError(f"train has no option '{name}'", hint=did_you_mean(name, TIMED))
    check_flag("goodput", goodput)
    given = {name: value for name, value in recipe.items() if value is not None}
    defaults = software.defaults if stack is not None else {}
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
    layout = division.layout._replace(shard_within=place.node if software.shard_in_node else None)
    count, sequences, chosen = division.count, division.sequences, chosen._replace(layout=layout)
    chosen = chosen._replace(accumulate=division.micro_batches)
    useful, executed = _flops(model, T, chosen)
    peak = count * _peak(device, chosen)
    notes: list[str] = []
    traffic: list[dict[str, Any]] = []
    timed: Any = None
    spread: float | None = None
    pipeline: dict[str, Any] | None = None
    if mfu is not None:
        use = check_range(read_range(mfu, "mfu"), "mfu", upto=1.0)
        step = sequences * useful / (use.likely * peak)
        parts, kernels, memory = Node("step", step, "s", "FLOP / (MFU * devices * peak)"), [], None
    else:
        if division.parallel or stack is not None:
            from gptcalc.formulas.cluster.parallel import parallel_step
            from gptcalc.formulas.cluster.quantities import Plan

            timed = parallel_step(Plan(model, device, chosen, place, software, batch, T, division.micro_batches))
            traffic = [one._asdict() for one in timed.traffic]
            pairs = {role: {"forward": pair[0], "backward": pair[1]} for role, pair in timed.stages.items()}
            pipeline = {"stages": pairs, "between": timed.between}
            spread = _spread(device, software, has_experts(model))
            notes += warnings(division.layout, place)
            notes += [f"{software.title} on {place.title}", f"the step's time on {device.name} is expected within {spread:.0%}"]
        else:
            timed = _step(model, device, chosen._replace(accumulate=1), batch, T, division.micro_batches)
            spread = device.constants["step_spread"].value if device.calibrated else UNCALIBRATED
        from gptcalc.formulas.time.step import longest_first

        step, parts = timed.value, timed.node
        kernels = [{"kind": name, "time": seconds, "share": seconds / step} for name, seconds in longest_first(timed.kinds).items()]
        memory = room_of(model, device, chosen, batch, T)
        likely = sequences * useful / (step * peak)
        use = Range(likely / (1 + spread), likely, likely / (1 - spread))
        if chosen.runtime == "ideal" and recipe.get("runtime") is None:
            notes.append(f"no runtime here has {model.name}'s own code: ideal, everything fused, a lower bound on the time")
        if not device.calibrated:
            notes.append(f"uncalibrated: peaks of {device.name}, constants measured on an H100; the time may be {spread:.0%} off")
    steps = ceil(D, sequences * T)
    seconds = steps * step
    lasting = None
    if goodput:
        from gptcalc.formulas.cluster.goodput import goodput_of

        lasting = goodput_of(model, chosen, place, count, seconds)._asdict()
        seconds = seconds / lasting["goodput"]
    hours = seconds * count / 3600
    hours_range = exactly(hours) if use.known else Range(hours * use.likely / use.high, hours, hours * use.likely / use.low)
    bill = bill_of(hours_range, device, **rates)
    outputs = {"device_hours": hours_range, "cost_usd": bill.cost, "energy_kwh": bill.energy, "co2_kg": bill.co2}
    return Run(
        device=device.name,
        count=count,
        precision=chosen.precision,
        calibrated=device.calibrated,
        spread=spread,
        step_time=step,
        tokens_per_second=sequences * T / step,
        steps=steps,
        mfu=use.likely,
        hfu=use.likely * (executed / useful),
        time=seconds,
        flops=steps * sequences * useful,
        kernels=kernels,
        ranges={name: r._asdict() for name, r in outputs.items() if r is not None and not r.known},
        drivers=spreads({"mfu": use} | bill.inputs),
        communication=traffic,
        pipeline=pipeline,
        memory=memory,
        goodput=lasting,
        notes=notes + bill.notes,
        parts=parts,
        inputs={"tokens": D, "device": device.name, "count": count, "batch": batch, "seq": T, "global_batch": sequences, "mfu_given": mfu}
        | {name: value for name, value in chosen._asdict().items() if name != "layout"}
        | _divisions(chosen, None if timed is None or not (division.parallel or stack) else (software.name, place.name))
        | {"peak": _peak(device, chosen)}
        | {name: r.likely for name, r in bill.inputs.items()},
        **{name: None if r is None else r.likely for name, r in outputs.items()},
    )


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


def _spread(device: DeviceSpec, software: StackSpec, experts: bool) -> float:
    """How far the time of a step on many devices may be off: by the device's, by the software's own, by that of experts."""
    least = max(software.spread, EXPERTS_SPREAD if experts else 0.0)
    if device.name in software.measured_on:
        return least
    return max(least, device.constants["step_spread"].value if device.calibrated else UNCALIBRATED_CLUSTER)


def _divisions(recipe: Recipe, names: tuple[str, str] | None) -> dict[str, Any]:
    """The layout as inputs have it, where there is one."""
    if names is None:
        return {}
    sizes = {name: getattr(recipe.layout, name) for name in ("tp", "pp", "dp", "cp", "ep", "virtual_stages", "sequence_parallel", "zero")}
    return {**{name: plain(size) for name, size in sizes.items()}, "stack": names[0], "cluster": names[1]}


def _recipe(model: ModelSpec, device: DeviceSpec, precision: str | None, options: dict[str, Any]) -> Recipe:
    """The recipe with its defaults: autocast to the 16-bit type that the device has, transformers' code where it has the model."""
    from gptcalc.formulas.memory.request import default_runtime
    from gptcalc.spec.options import check_word
    from gptcalc.spec.recipe import PRECISIONS, Recipe, check_recipe
    from gptcalc.spec.runtime import load_runtime

    if precision is not None:
        check_word("precision", precision, PRECISIONS)
    else:
        precision = "amp-bf16" if "bf16" in device.peak else "amp-fp16" if "fp16" in device.peak else "fp32"
    given = {name: value for name, value in options.items() if value is not None}
    if "runtime" not in given:
        given["runtime"] = default_runtime(model)
    chosen = Recipe(precision=precision, **given)
    check_recipe(chosen, load_runtime(chosen.runtime))
    return chosen


def _peak(device: DeviceSpec, recipe: Recipe) -> float:
    from gptcalc.formulas.time.chip import chip_of
    from gptcalc.formulas.time.launches import ARITHMETIC

    return chip_of(device).peak(ARITHMETIC.get(recipe.precision, recipe.precision))


def _flops(model: ModelSpec, seq: Any, recipe: Recipe) -> tuple[Any, Any]:
    """Of one sequence: the model's own, backward twice forward, and what is executed, with what is recomputed."""
    rows = operations(shape_of(model), 1, seq, seq)
    products = [(row, row.matmul_flops) for row in rows if row.matmul]
    own = 3 * sum(flops for _, flops in products)
    if recipe.recompute == "none":
        return own, own
    core = recipe.recompute == "selective"
    every = recipe.checkpoint_every or 1
    again = sum(
        flops * (ceil(row.runs, every) / row.runs)
        for row, flops in products
        if row.path.startswith("block") and (not core or row.kind in ("scores", "mix"))
    )
    return own, own + again


def _step(model: ModelSpec, device: DeviceSpec, recipe: Recipe, batch: Any, seq: Any, micro_batches: Any) -> Any:
    from gptcalc.formulas.time.launches import work_of
    from gptcalc.formulas.time.step import step_time
    from gptcalc.spec.runtime import load_runtime

    return step_time(work_of(model, device, recipe, batch, seq), load_runtime(recipe.runtime).host, micro_batches=micro_batches)
