"""Published training runs, predicted from parameters, tokens and the stated rate, beside what was reported.

N parameters, D tokens. FLOPs are 6·N·D as the papers count them; where a rate or an MFU counts attention too, the operation table's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.money import CARBON
from gptcalc.shown import Rows
from gptcalc.spec.entries import folded
from gptcalc.spec.reading import quoted, shown

if TYPE_CHECKING:
    from gptcalc.run.answer import Run
    from gptcalc.spec.published import PublishedRun

PETAFLOP_DAY = 8.64e19
"""FLOP: 1e15 a second for a day (Brown et al. 2020, appendix D)."""

RECOMPUTED = 4 / 3
"""FLOPs with the forward pass run twice over those without (Narayanan et al. 2021, arXiv:2104.04473, section 3.1)."""


STEPS, MEMORY = "steps", "memory"
"""The names that stand for all measured training steps: their time, and the peak of their memory."""

MEMORY_TOLERANCE = 0.02

FORMULAS = {
    "parameters": "N",
    "training_flops": "6*N*D",
    "petaflop_days": f"6*N*D / {PETAFLOP_DAY:g}",
    "training_flops_with_attention": "the operation table's FLOP per token * D",
    "tokens_per_second": "rate * count",
    "step_seconds": "global batch * sequence / (rate * count)",
    "device_hours": "D / rate / 3600",
    "mfu": "6*N*D / (device hours * 3600 * peak)",
    "hours": "device hours / count",
    "days": "device hours / count / 24",
    "energy_kwh": "device hours * watts / 1000 * PUE",
    "co2_kg": f"energy * {CARBON:g}",
}
"""How each prediction is computed; the rate is in tokens per second of one device."""

SERVING = "serving"
"""The name that stands for all measured decode steps, prefills and rates of servers."""


LOADS = "loads"
"""... for all measured runs of servers under load."""

TABLES = "tables"
"""... for all published tables of steps on many devices."""


class Replica(NamedTuple):
    """One reported number. `error` is predicted over reported, less one; `tolerance` None: shown, not judged."""

    run: str
    title: str
    quantity: str
    predicted: float
    reported: float | None
    error: float | None
    tolerance: float | None
    source: str
    note: str
    interval: float | None = None  # within which the prediction is expected; a row outside of it is shown, and fails nothing
    formula: str = ""
    inside: bool | None = None  # whether what was reported is in the interval around the prediction, which may reach further on one side
    """How the prediction is computed, with what was put in."""

    @property
    def holds(self) -> bool:
        """Whether the error is within the tolerance, where there is one."""
        return self.tolerance is None or self.error is None or abs(self.error) <= self.tolerance


def replicate(run: str | None = None) -> Rows[Replica]:
    """Every published run, or those whose name starts with `run`: predicted beside reported.

    "steps" and "memory" are the measured training steps: their time, and the peak of their memory. "serving" are measured servers, "loads"
    servers under load. The name of a table of presets/runs/tables, or "tables" for all, stands for its rows, each predicted from its
    configuration alone.

    Units: in each quantity's name.   Raises: GptcalcError for a run that is not in the catalogue.   Source: in each row.

    >>> [round(row.predicted) for row in replicate("gpt3-175b") if row.quantity == "petaflop_days"]
    [3638]
    """
    from gptcalc.spec.published import all_runs
    from gptcalc.spec.tables import table_names

    if run is not None and not isinstance(run, str):
        raise GptcalcError(f"a published run has a name, not {quoted(run)}")
    measured = {STEPS: _measured_steps, MEMORY: _measured_memory, SERVING: _measured_serving, LOADS: _measured_loads}
    wanted = None if run is None else folded(run)
    if wanted in measured:
        return Rows(measured[wanted]())
    if wanted in table_names() or wanted == TABLES:
        return Rows(row for name in (table_names() if wanted == TABLES else (wanted,)) for row in _table(name))
    known = all_runs()
    chosen = [one for one in known if wanted in (None, folded(one.name))]
    chosen = chosen or [one for one in known if wanted and folded(one.name).startswith(wanted)]
    if not chosen:
        sets = [*measured, TABLES, *table_names()]
        listed = f"'gptcalc replicate' lists them, beside {', '.join(sets)}"
        hint = did_you_mean(str(wanted), [*sets, *(one.name for one in known)], otherwise=listed)
        raise GptcalcError(f"no published run named '{shown(str(run))}'", hint=hint)
    return Rows(row for one in chosen for row in _rows(one))


def _measured_steps() -> list[Replica]:
    """Training steps of presets/steps, predicted by `train`."""
    from gptcalc.run.request import train
    from gptcalc.spec.measured import all_steps

    rows = []
    for one in all_steps():
        predicted = 1000 * train(one.spec or str(one.model), device=one.device, tokens=one.batch * one.seq, **one.recipe).step_time
        note = "" if one.fitted else "no constant was fitted on this row"
        error = predicted / one.milliseconds - 1
        formula = "the kernels of the step, as gptcalc train itemises them"
        rows.append(
            Replica(one.title, one.title, "step_ms", predicted, one.milliseconds, error, one.tolerance, one.source, note, formula=formula)
        )
    return rows


def _measured_memory() -> list[Replica]:
    """The peak of what is allocated in the training steps of presets/steps, predicted by `memory`."""
    from gptcalc.footprint.request import memory
    from gptcalc.spec.files import load_model
    from gptcalc.spec.measured import all_steps

    rows = []
    for one in all_steps():
        if one.peak_bytes is None:
            continue
        predicted = memory(load_model(one.spec or str(one.model)), **one.recipe).to_dict()["peak_allocated"]
        error = predicted / one.peak_bytes - 1
        formula = "what is resident at the peak, as gptcalc memory itemises it"
        peak = (predicted, one.peak_bytes, error, MEMORY_TOLERANCE)
        rows.append(Replica(one.title, one.title, "peak_bytes", *peak, one.source, "", formula=formula))
    return rows


def _measured_serving() -> list[Replica]:
    """Decode steps, prefills and rates of presets/serving, predicted by `infer`."""
    from gptcalc.serve.answer import infer
    from gptcalc.spec.measured_serving import all_served
    from gptcalc.spec.model import parse_model

    rows = []
    for one in all_served():
        model = parse_model(one.spec) if one.spec else str(one.model)
        answer = infer(model, **one.options)
        milliseconds = {"decode": answer.point.first, "prefill": answer.point.prefill_time}.get(one.phase, 0.0) * 1000
        predicted = float(answer.tokens_per_second if one.phase == "rate" else milliseconds)
        quantity = {"rate": "tokens_per_second"}.get(one.phase, f"{one.phase}_ms")
        tolerance = one.tolerance if one.judged else None
        error = predicted / one.value - 1
        formula = "the kernels of a pass, as gptcalc infer itemises them"
        rows.append(Replica(one.title, one.title, quantity, predicted, one.value, error, tolerance, one.source, one.note, formula=formula))
    return rows


def _measured_loads() -> list[Replica]:
    from gptcalc.run.loads import measured_loads

    return measured_loads()


def _table(name: str) -> list[Replica]:
    """The rows of a published table, each predicted by `train` from its configuration."""
    from gptcalc.run.request import train
    from gptcalc.spec.files import as_model
    from gptcalc.spec.tables import load_table

    table = load_table(name)
    rows = []
    for one in table.rows:
        options = dict(one.options)
        model = as_model(options.pop("model"))
        run = train(model, tokens=10**12, **({"seq": model.n_ctx} | options))
        for quantity, reported in one.reported.items():
            predicted = predicted_of(run, quantity)
            note = "" if run.fits else "does not fit in memory, by these formulas"
            error, formula = predicted / reported - 1, "the kernels and messages of a step, as gptcalc train itemises them"
            rows.append(
                Replica(
                    one.run,
                    table.title,
                    quantity,
                    predicted,
                    reported,
                    error,
                    None,
                    table.source,
                    note,
                    run.spread,
                    formula,
                    _is_inside(run, quantity, error),
                )
            )
    return rows


def _is_inside(run: Run, quantity: str, error: float) -> bool:
    """Whether a measured step is in the interval of the predicted one."""
    ends = run.ranges.get("step_time")
    if ends is None:
        return True
    longer = 1 / (1 + error) if quantity in SECONDS else 1 + error  # the measured step over the predicted
    high = ends["high"]
    return bool(ends["low"] <= longer * run.step_time and (high is None or longer * run.step_time <= high))


SECONDS = ("step_seconds", "forward_ms", "backward_ms")
"""Quantities of a table that are times; the others are rates."""


def predicted_of(run: Run, quantity: str) -> float:
    """A quantity of a table, as a run has it."""
    if quantity in ("forward_ms", "backward_ms"):  # of one layer: a stage without embedding and head
        assert run.pipeline is not None
        middle = run.pipeline["stages"]["middle"]
        return float(1000 * (middle["forward"] if quantity == "forward_ms" else middle["backward"]))
    found = {
        "step_seconds": run.step_time,
        "tokens_per_second_per_device": run.tokens_per_second / run.count,
        "model_tflops_per_device": run.mfu * run.inputs["peak"] / 1e12,
        "hardware_tflops_per_device": run.hfu * run.inputs["peak"] / 1e12,
    }
    return float(found[quantity])


def _rows(run: PublishedRun) -> list[Replica]:
    predicted = quantities(run)
    inputs = _inputs(run)
    rows = [
        Replica(
            run.name,
            run.title,
            one.quantity,
            predicted[one.quantity],
            one.value,
            predicted[one.quantity] / one.value - 1,
            one.tolerance,
            one.source or run.source,
            one.note,
            formula=f"{FORMULAS[one.quantity]}; {inputs}",
        )
        for one in run.reported
    ]
    if run.device_hours is not None:
        rows.append(
            Replica(
                run.name,
                run.title,
                "mfu",
                predicted["mfu"],
                None,
                None,
                None,
                run.source,
                "6ND over reported hours: of the whole run",
                formula=f"{FORMULAS['mfu']}; {inputs}",
            )
        )
    return rows


def _inputs(run: PublishedRun) -> str:
    """What a run's predictions are computed from: `N = 174,604,259,328, D = 300,000,000,000, ...`."""
    given: dict[str, float | str | None] = {"N": _size(run)[1], "D": run.tokens, "device": run.device, "count": run.count}
    given |= {"global batch": run.global_batch, "MFU": run.mfu, "FLOP/s of a device": run.flops_per_device}
    given |= {"tokens/s of a device": run.tokens_per_second_per_device, "device hours": run.device_hours}
    if run.device is not None:
        given |= {"watts": run.watts or "TDP", "PUE": run.pue}
    return ", ".join(f"{name} = {value if isinstance(value, str) else format(value, ',')}" for name, value in given.items() if value)


def quantities(run: PublishedRun) -> dict[str, float]:
    """What follows from a run's parameters, tokens and rate; only what there is enough for.

    Raises GptcalcError for a device that is not in the catalogue.
    """
    total, N, per_token = _size(run)
    D = run.tokens
    found: dict[str, float] = {"parameters": total, "training_flops": 6 * N * D, "petaflop_days": 6 * N * D / PETAFLOP_DAY}
    found["training_flops_with_attention"] = per_token * D
    if run.device is None:
        return found
    from gptcalc.spec.device import load_device

    device = load_device(run.device)
    peak = device.peak.get("bf16") or device.peak["fp16"]
    hours = run.device_hours
    if hours is None:
        rate = _tokens_per_second(run, N, per_token, peak)
        hours = D / rate / 3600
        found |= {"tokens_per_second": rate * (run.count or 1)}
        if run.global_batch and run.count and run.seq:
            found["step_seconds"] = run.global_batch * run.seq / (rate * run.count)
    found["device_hours"] = hours
    found["mfu"] = 6 * N * D / (hours * 3600 * peak)
    if run.count:
        found |= {"hours": hours / run.count, "days": hours / run.count / 24}
    watts = run.watts or device.tdp
    if watts:
        found["energy_kwh"] = hours * watts / 1000 * run.pue
        found["co2_kg"] = found["energy_kwh"] * CARBON
    return found


def _size(run: PublishedRun) -> tuple[int, int, float]:
    """Parameters, those that a token meets, and its training FLOPs with attention; 6N where the architecture is not known."""
    model = run.architecture()
    if model is None:
        assert run.parameters is not None
        return run.parameters, run.parameters, 6.0 * run.parameters
    from gptcalc.table.flops import flops
    from gptcalc.table.params import params, views

    step = flops(model, batch=1, seq=run.seq, phase="training")
    total = params(model)
    return total.value, views(total, model)["active"], step.value / step.tokens


def _tokens_per_second(run: PublishedRun, N: int, per_token: float, peak: float) -> float:
    """Of one device."""
    if run.tokens_per_second_per_device is not None:
        return run.tokens_per_second_per_device
    if run.flops_per_device is not None:
        if run.recomputed:
            return run.flops_per_device / (per_token * RECOMPUTED)
        return run.flops_per_device / (6 * N)
    assert run.mfu is not None
    return run.mfu * peak / per_token
