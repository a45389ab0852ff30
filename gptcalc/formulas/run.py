"""The bill of a training run: steps, time, device-hours, money, energy and CO2, from a step's time or from a stated MFU.

N parameters, D tokens. MFU: the model's FLOPs (full attention, no recomputation) over time and dense peak (Chowdhery et al. 2022, PaLM,
arXiv:2204.02311, appendix B). HFU: the FLOPs that the device executes, recomputation included, over the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.formulas.kernels import ceil
from gptcalc.formulas.node import Node
from gptcalc.formulas.ranges import Range, check_range, exactly, read_range, spreads
from gptcalc.units import parse_number

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.recipe import Recipe

PUE, CARBON, TDP_SHARE = 1.1, 0.385, 1.0
"""Facility over device power; kg CO2 per kWh (US average); device power over TDP. Source: Touvron et al. 2023 (LLaMA), arXiv:2302.13971,
section 6, whose table 15 multiplies GPU-hours by TDP and PUE."""

UNCALIBRATED = 0.2
"""How far the time on a chip without measurements may be off: what H100 constants miss on A100 by (nanoGPT's and FlashAttention's runs)."""

CONTEXT = 805_306_368
"""Bytes that the driver's context takes beside the allocator: 0.75 GiB, measured on an H100 with torch 2.11."""


class Run(NamedTuple):
    """One run on one kind of device. Base units: seconds, FLOP, USD; energy in kWh, CO2 in kg. None: an input for it is not known."""

    device: str
    count: Any
    precision: str
    calibrated: bool
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
    parts: Node[Any]
    kernels: list[dict[str, Any]]
    ranges: dict[str, Any]
    drivers: list[dict[str, Any]]
    memory: dict[str, Any] | None
    inputs: dict[str, Any]
    notes: tuple[str, ...]

    @property
    def value(self) -> Any:
        return self.time

    @property
    def fits(self) -> bool:
        """Whether the recipe fits in the device's memory; true where that was not asked (a stated MFU)."""
        return self.memory is None or bool(self.memory["fits"])

    def to_dict(self) -> dict[str, Any]:
        fields = {name: value for name, value in self._asdict().items() if name not in ("parts", "inputs")}
        return {name: _plain(value) for name, value in fields.items()} | {"parts": self.parts.to_dict()}


def train(
    model: ModelSpec,
    *,
    tokens: Any = None,
    device: Any = "h100-80gb",
    count: Any = 1,
    batch: Any = None,
    seq: Any = None,
    global_batch: Any = None,
    mfu: Any = None,
    precision: str | None = None,
    price: Any = None,
    tdp_share: Any = TDP_SHARE,
    pue: Any = PUE,
    carbon: Any = CARBON,
    **recipe: Any,
) -> Any:
    """The bill of a training run on one kind of device, or a list of bills where `device` is a list of names.

    `batch` is the micro-batch of a device, `global_batch` that of a step. `mfu` replaces the model of the step. `tokens`, `batch`,
    `count`, `mfu`, `price` and the energy inputs may be arrays; `mfu`, `price` and the energy inputs may be ranges ("0.35..0.45").
    `recipe`: optimizer, recompute, attention_kernel, runtime, compiled ... as fields of `spec.recipe.Recipe`.

    Units: seconds, hours, USD, kWh, kg.   Raises: GptcalcError for contradictory or impossible inputs.
    Source: of time, `step_time`; of MFU, energy and CO2, this module.

    >>> from gptcalc.spec.files import load_model
    >>> run = train(load_model("gpt3-175b"), tokens="300B", device="a100", count=1024, mfu=0.45)
    >>> round(run.device_hours), round(run.time / 86400, 1)
    (637914, 26.0)
    """
    if isinstance(device, list | tuple):
        options = {"tokens": tokens, "count": count, "batch": batch, "seq": seq, "global_batch": global_batch, "mfu": mfu}
        options |= {"precision": precision, "price": price, "tdp_share": tdp_share, "pue": pue, "carbon": carbon}
        return [train(model, device=one, **options, **recipe) for one in device]
    from gptcalc.formulas.flops import flops
    from gptcalc.spec.device import load_device

    spec: DeviceSpec = load_device(device) if isinstance(device, str) else device
    D, chosen = _tokens(model, tokens), _recipe(spec, precision, recipe)
    T = model.n_ctx if seq is None else seq
    count, batch = _whole(count, "count"), _whole(1 if batch is None else batch, "batch")
    sequences = batch * count if global_batch is None else _whole(global_batch, "global batch")
    micro_batches = _micro_batches(sequences, batch, count)
    again = "none" if chosen.recompute.startswith("every") else chosen.recompute
    model_flops = flops(model, seq=T, phase="training").value
    executed = flops(model, seq=T, phase="training", recompute=again).value
    if chosen.checkpoint_every > 1:
        full = flops(model, seq=T, phase="training", recompute="full").value
        executed = model_flops + (full - model_flops) / chosen.checkpoint_every
    arithmetic = chosen.precision.removeprefix("amp-")
    peak = _peak(spec, arithmetic)
    notes: list[str] = []
    if mfu is not None:
        use = check_range(read_range(mfu, "mfu"), "mfu", upto=1.0)
        step = sequences * model_flops / (use.likely * peak * count)
        parts, kernels, memory = Node("step", step, "s", "step*FLOP/(mfu*count*peak)"), [], None
    else:
        timed = _step(model, spec, chosen, batch, T, micro_batches)
        step, parts = timed.value, timed.node
        kernels = [{"kind": name, "time": s, "share": s / step} for name, s in sorted(timed.seconds_of.items(), key=_largest_first)]
        memory = _memory(model, spec, chosen, batch, T)
        spread = spec.constants["step_spread"].value if spec.calibrated else UNCALIBRATED
        likely = sequences * model_flops / (step * count * peak)
        use = Range(likely / (1 + spread), likely, likely / (1 - spread))
        if not spec.calibrated:
            notes.append(f"uncalibrated: constants measured on h100-80gb, peaks of {spec.name}; the time may be {spread:.0%} off")
        if not (isinstance(count, int) and count == 1):
            notes.append("data parallel over all devices; communication is not counted")
    steps = ceil(D, sequences * T)
    seconds = steps * step
    hours = Range(*(seconds * count / 3600 * (use.likely / m) for m in (use.high, use.likely, use.low)))
    cost_per_hour = _price(spec, price)
    power = _power(spec, tdp_share)
    facility, grid = check_range(read_range(pue, "pue"), "pue"), check_range(read_range(carbon, "carbon"), "carbon")
    cost, energy = _times(hours, cost_per_hour), _times(hours, power, facility)
    co2 = _times(energy, grid)
    if cost is None:
        notes.append(f"no price is known for {spec.name}: give one")
    if energy is None:
        notes.append(f"no TDP is known for {spec.name}: no energy")
    outputs = {"time": _scaled(hours, 3600 / count), "device_hours": hours, "cost_usd": cost, "energy_kwh": energy, "co2_kg": co2}
    inputs = {"mfu": use, "tdp_share": read_range(tdp_share, "tdp share"), "pue": facility, "carbon": grid}
    return Run(
        device=spec.name,
        count=count,
        precision=chosen.precision,
        calibrated=spec.calibrated,
        step_time=step,
        tokens_per_second=sequences * T / step,
        steps=steps,
        mfu=use.likely,
        hfu=use.likely * executed / model_flops,
        time=seconds,
        device_hours=hours.likely,
        cost_usd=cost and cost.likely,
        energy_kwh=energy and energy.likely,
        co2_kg=co2 and co2.likely,
        flops=steps * sequences * model_flops,
        parts=parts,
        kernels=kernels,
        ranges={name: r._asdict() for name, r in outputs.items() if r is not None and not r.known},
        drivers=spreads(inputs | ({"price": cost_per_hour} if cost_per_hour else {})),
        memory=memory,
        inputs={
            "tokens": D, "device": spec.name, "count": count, "batch": batch, "seq": T, "global_batch": sequences,
            **{name: value for name, value in chosen._asdict().items() if name != "layout"},
            "usd_per_device_hour": cost_per_hour and cost_per_hour.likely,
            "peak_flops": peak, "tdp_share": inputs["tdp_share"].likely, "pue": facility.likely, "carbon_kg_per_kwh": grid.likely,
        },
        notes=tuple(notes),
    )


def _largest_first(item: tuple[str, Any]) -> Any:
    return -item[1] if isinstance(item[1], int | float) else -float(item[1].max())


def _tokens(model: ModelSpec, tokens: Any) -> Any:
    if tokens is None:
        tokens = model.training_tokens
        if tokens is None:
            raise GptcalcError(f"how many tokens {model.name} was trained on is not published", hint="give --tokens 300B")
    return _whole(tokens, "tokens")


def _whole(value: Any, name: str) -> Any:
    """A positive whole number, or an array of them."""
    if isinstance(value, list) or hasattr(value, "dtype"):
        import numpy as np

        array = np.asarray(value, dtype=np.float64)
        if not (array >= 1).all():
            raise GptcalcError(f"{name} must be above zero in every place of the array")
        return array
    number = parse_number(value)
    if not isinstance(number, int) or number < 1:
        raise GptcalcError(f"{name} must be a whole number above zero, not {value}")
    return number


def _micro_batches(sequences: Any, batch: Any, count: Any) -> Any:
    left = sequences % (batch * count)
    if (left > 0).any() if hasattr(left, "any") else left:
        raise GptcalcError(
            f"the global batch of {sequences} sequences does not divide into micro-batches of {batch} on {count} devices",
            hint="choose a multiple of batch times count",
        )
    return sequences // (batch * count)


def _recipe(spec: DeviceSpec, precision: str | None, options: dict[str, Any]) -> Recipe:
    from gptcalc.spec.recipe import Recipe

    if precision is None:  # the 16-bit type that the device has
        precision = "amp-bf16" if "bf16" in spec.peak else "amp-fp16" if "fp16" in spec.peak else "fp32"
    unknown = set(options) - set(Recipe._fields)
    if unknown:
        from gptcalc.errors import did_you_mean

        name = sorted(unknown)[0]
        raise GptcalcError(f"unknown option '{name}'", hint=did_you_mean(name, Recipe._fields))
    return Recipe(precision=precision, **options)


def _peak(spec: DeviceSpec, arithmetic: str) -> float:
    from gptcalc.formulas.chip import chip_of

    return chip_of(spec).peak(arithmetic)


def _step(model: ModelSpec, spec: DeviceSpec, recipe: Recipe, batch: Any, seq: Any, micro_batches: Any) -> Any:
    from gptcalc.formulas.launches import work_of
    from gptcalc.formulas.step_time import step_time
    from gptcalc.spec.runtime import load_runtime

    return step_time(work_of(model, spec, recipe, batch, seq), load_runtime(recipe.runtime).host, micro_batches=micro_batches)


def _memory(model: ModelSpec, spec: DeviceSpec, recipe: Recipe, batch: Any, seq: Any) -> dict[str, Any]:
    from gptcalc.formulas.phases import training_memory

    needed = training_memory(model, recipe, batch, seq).value + CONTEXT
    short = needed - spec.memory
    fits = short <= 0
    return {"needed": needed, "device": spec.memory, "fits": fits.all() if hasattr(fits, "all") else fits, "short_by": short}


def _price(spec: DeviceSpec, price: Any) -> Range | None:
    if price is not None:
        return check_range(read_range(price, "price"), "price")
    if not spec.prices:
        return None
    offers = [offer.usd for offer in spec.prices]
    return exactly(offers[0]) if len(offers) == 1 else Range(min(offers), offers[0], max(offers))


def _power(spec: DeviceSpec, share: Any) -> Range | None:
    """kW of one device."""
    r = check_range(read_range(share, "tdp share"), "tdp share")
    return None if spec.tdp is None else _scaled(r, spec.tdp / 1000)


def _scaled(r: Range, factor: Any) -> Range:
    return exactly(r.likely * factor) if r.known else Range(*(value * factor for value in r))


def _times(*ranges: Range | None) -> Range | None:
    result: Range | None = None
    for r in ranges:
        if r is None:
            return None
        result = r if result is None else Range(result.low * r.low, result.likely * r.likely, result.high * r.high)
    return result


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value.tolist() if hasattr(value, "tolist") else value
