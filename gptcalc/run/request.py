"""The cost of a training run: steps, time, device-hours, money, energy and CO2, from a step's time or from a stated MFU.

MFU: the model's FLOPs (every query meets every key that its window holds, no recomputation) over time and dense peak (Chowdhery et al.
2022, PaLM, arXiv:2204.02311, appendix B). HFU: the same with what is recomputed. A causal kernel leaves out about half of those pairs, so
that both can pass 1 on long sequences; `mfu_causal` and `hfu_causal` count the pairs that the mask keeps, and cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gptcalc import units
from gptcalc.errors import GptcalcError
from gptcalc.footprint.plan import Plan, plan_of
from gptcalc.money import CARBON, PUE, TDP_SHARE, cost_of
from gptcalc.node import Node, plain
from gptcalc.ranges import Range, check_range, read_range, spreads, whole
from gptcalc.run.answer import ARRAYS, Ends, Kernel, Pass, Pipeline, Run
from gptcalc.run.doubts import step_of
from gptcalc.run.pace import pace_of, stated_pace
from gptcalc.run.use import beyond_context, beyond_peak, flops_of
from gptcalc.spec.division import CHOICES
from gptcalc.spec.fields import asked, takes_either
from gptcalc.spec.plan import DevicesOptions, RecipeOptions, RunOptions, TrainOptions
from gptcalc.spec.recipe import Layout, Recipe, peak_of
from gptcalc.symbols import Quantity
from gptcalc.time.breakdown import StepTime, chosen_of, longest_first
from gptcalc.time.kernels import ceil
from gptcalc.time.plan import StepPlan
from gptcalc.time.step import step_times

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec

MOST_DEVICES = 200
"""Kinds of device in one answer."""


@takes_either(TrainOptions, Run, DevicesOptions, list[Run])
def train(model: Any, *, device: Any = "h100-80gb", **options: Any) -> Run | list[Run]:
    """The cost of a training run on one kind of device, or a list of them where `device` is a list of names.

    `batch` is the micro-batch of a device, `global_batch` that of a step; `mfu` replaces the model of the step.
    `tokens`, `count`, `batch`, `seq`, `mfu`, `price`, the energy inputs and the layout's sizes may be float arrays; `mfu`, `price` and the
    energy inputs also ranges, "0.35..0.45".

    Units: seconds, hours, USD, kWh, kg.   Raises: GptcalcError for contradictory or impossible inputs.
    Source: of time, `time.step`; of MFU, above; of energy and CO2, `bill`.

    >>> run = train("gpt3-175b", tokens="300B", device="a100", count=1024, mfu=0.45)
    >>> round(run.device_hours), round(run.time / 86400)
    (638877, 26)
    """
    from gptcalc.spec.device import as_device
    from gptcalc.spec.files import as_model

    spec, found = as_model(model), asked(RunOptions, "train", options)
    if not isinstance(device, list | tuple):
        return run_of(spec, as_device(device), found)
    return [run_of(spec, one, found) for one in devices_of(device)]


def devices_of(names: Sequence[str | DeviceSpec]) -> list[DeviceSpec]:
    """Several kinds of device, to be answered side by side.

    Raises GptcalcError where none is named, or more than `MOST_DEVICES` are.
    """
    from gptcalc.spec.device import as_device

    if not names:
        raise GptcalcError("no device is named", hint="'gptcalc devices' lists them")
    if len(names) > MOST_DEVICES:
        raise GptcalcError(f"{len(names):,} devices side by side are too many: at most {MOST_DEVICES}")
    return [as_device(name) for name in names]


def run_of(model: ModelSpec, device: DeviceSpec, asked: RunOptions) -> Run:
    """The cost of one run on one kind of device; see `train`."""
    from gptcalc.run.capacity import capacity_of
    from gptcalc.spec.cluster import cluster_for, load_cluster
    from gptcalc.spec.device import capped, watts
    from gptcalc.spec.options import check_flag, filled, whole_number
    from gptcalc.time.software import stacks_for, warnings

    if asked.power is not None:
        device = capped(device, watts(asked.power))
    D, mfu, goodput = _tokens(model, asked.tokens), asked.mfu, False if asked.goodput is None else asked.goodput
    check_flag("goodput", goodput)
    rates = {"price": asked.price, "tdp_share": asked.tdp_share, "pue": asked.pue, "carbon": asked.carbon}
    rates |= {name: usual for name, usual in (("tdp_share", TDP_SHARE), ("pue", PUE), ("carbon", CARBON)) if rates[name] is None}
    place = cluster_for(device.name) if asked.cluster is None else load_cluster(asked.cluster)
    if asked.slice is not None:
        place = place.model_copy(update={"node": whole_number("slice", asked.slice)})
    plan = plan_of(model, device, asked, place=place, usual_stack=mfu is None, beside={"tokens": D, "mfu": mfu, **rates})
    if mfu is not None:
        _check_stated_mfu(asked, plan, goodput=goodput)
    recipe, layout, batch, T = plan.recipe, plan.recipe.layout, plan.batch, plan.seq
    which, stacks = (0, [plan.stack]) if plan.stack else stacks_for(asked.runtime, layout.zero, layout, plan.count)
    count, sequences, software = plan.count, plan.sequences, stacks[0]
    useful, executed = flops_of(model, T, recipe, "full")
    peak = count * peak_of(device.name, device.peak, recipe.precision)
    notes = beyond_context(model, T)
    timed: StepTime | None = None
    steps_of: list[StepPlan] = []
    stated = memory = None
    many = mfu is None and (plan.parallel or plan.stack is not None)
    if mfu is not None:
        stated = check_range(read_range(mfu, "mfu"), "mfu", upto=1.0)
        step = sequences * useful / (stated.likely * peak)
        pace = stated_pace(stated, device)
        parts = Node("step", step, "s", "FLOP / (MFU * devices * peak)")
    else:
        cut = recipe if many else recipe._replace(layout=Layout())
        steps_of = [StepPlan(model, device, cut, place, one, batch, T, plan.micro_batches) for one in stacks]
        timed = chosen_of(which, [step_times(one, by_kernel=not many) for one in steps_of])
        if many:
            notes += [*warnings(layout, place), f"{' or '.join(one.title for one in stacks)} on {place.title}"]
        step, parts = timed.value, timed.node
        memory = capacity_of(model, device, recipe, batch, T)
        chosen = asked.runtime is not None or (plan.stack is not None and "runtime" in plan.stack.defaults)
        step_ = step_of(model, recipe, timed, place, many=many, power=asked.power)
        pace = pace_of(model, device, software if many else None, recipe.runtime, chosen=chosen, step=step_)
        notes += pace.notes
    steps = ceil(D, sequences * T)
    seconds = steps * step
    lasting = None
    if goodput:
        from gptcalc.run.goodput import goodput_of

        lasting = goodput_of(model, recipe, place, count, seconds)._asdict()
        seconds = seconds / lasting["goodput"]
    hours = seconds * count / 3600
    cost = cost_of(pace.times(hours), device, **rates)
    share = sequences / (step * peak)
    use = {"mfu": useful * share, "hfu": executed * share}
    use |= {f"{name}_causal": one * share for name, one in zip(use, flops_of(model, T, recipe, "causal"), strict=True)}
    outputs: dict[str, Range | None] = {
        name: pace.times(value) for name, value in {"step_time": step, "time": seconds, "device_hours": hours}.items()
    }
    outputs |= {"tokens_per_second": pace.over(sequences * T / step)} | {name: pace.share(value) for name, value in use.items()}
    outputs |= {"cost_usd": cost.cost, "energy_kwh": cost.energy, "co2_kg": cost.co2}
    if stated is None:
        notes += beyond_peak(use)
    sent = timed if many else None
    spread_by = cost.inputs if pace.lower_bound else {"mfu": pace.share(use["mfu"])} | cost.inputs
    likely: dict[str, Any] = {name: None if r is None else r.likely for name, r in outputs.items()}
    run = Run(
        plan=steps_of[which if isinstance(which, int) else 0] if timed else None,
        device=device.name,
        device_kind=device.kind,
        count=count,
        precision=recipe.precision,
        calibrated=pace.calibrated,
        lower_bound=pace.lower_bound,
        spread=pace.spread,
        steps=steps,
        flops=steps * sequences * useful,
        kernels=[] if timed is None else _shares(timed.kinds, step),
        ranges={name: Ends(low=r.low, likely=r.likely, high=r.high) for name, r in outputs.items() if r is not None and not r.known},
        drivers=spreads(spread_by),
        communication=[one._asdict() for one in sent.traffic] if sent else [],
        pipeline=_pipeline(sent) if sent else None,
        memory=memory,
        goodput=lasting,
        notes=notes + cost.notes,
        parts=parts,
        inputs={"tokens": D, "device": device.name, "count": count, "batch": batch, "seq": T, "global_batch": sequences, "mfu_given": mfu}
        | {name: value for name, value in recipe._asdict().items() if name != "layout"}
        | (_divisions(recipe) | {"stack": " or ".join(one.name for one in stacks), "cluster": place.name} if many else {})
        | {"peak": peak_of(device.name, device.peak, recipe.precision), "price_source": _seller(device) if asked.price is None else None}
        | {name: r.likely for name, r in cost.inputs.items()},
        **likely,
    )
    return run._replace(**{name: filled(getattr(run, name), plan.shape) for name in ARRAYS}) if plan.shape else run


def _seller(device: DeviceSpec) -> list[str] | None:
    """Whose the catalogue's likely price is, and of when."""
    return [device.prices[0].source, device.prices[0].date] if device.prices else None


def _shares(kinds: Mapping[str, Quantity], step: Quantity) -> list[Kernel]:
    return [{"kind": name, "time": seconds, "share": seconds / step} for name, seconds in longest_first(kinds).items()]


def _pipeline(timed: StepTime) -> Pipeline:
    pairs = {role: Pass(forward=pair[0], backward=pair[1]) for role, pair in timed.stages.items()}
    return {"stages": pairs, "between": timed.between}


def _check_stated_mfu(asked: RunOptions, plan: Plan, *, goodput: bool) -> None:
    """Raises GptcalcError for what would only change the time of a step, which a stated MFU replaces."""
    recomputes = plan.stack is not None and "recompute" in plan.stack.defaults  # which HFU counts
    idle = [*(name for name in RecipeOptions._fields if name not in ("precision", "recompute")), *CHOICES, "virtual_stages", "slice"]
    idle += ([] if goodput else ["cluster"]) + ([] if recomputes else ["stack"])
    for name in idle:
        value = getattr(asked, name)
        if value is not None and value is not False:
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
