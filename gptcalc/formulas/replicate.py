"""Published training runs, predicted from parameters, tokens and the stated rate, beside what was reported.

N parameters, D tokens. FLOPs are 6·N·D as the papers count them; where a rate or an MFU counts attention too, the operation table's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.formulas.bill import CARBON
from gptcalc.spec.reading import quoted

if TYPE_CHECKING:
    from gptcalc.formulas.run import Run
    from gptcalc.spec.published import PublishedRun

PETAFLOP_DAY = 8.64e19
"""FLOP: 1e15 a second for a day (Brown et al. 2020, appendix D)."""

RECOMPUTED = 4 / 3
"""FLOPs with the forward pass run twice over those without (Narayanan et al. 2021, arXiv:2104.04473, section 3.1)."""


STEPS = "steps"
"""The name that stands for all measured training steps."""

SERVING = "serving"
"""The name that stands for all measured decode steps, prefills and rates of servers."""


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

    @property
    def holds(self) -> bool:
        return self.tolerance is None or self.error is None or abs(self.error) <= self.tolerance


def replicate(run: str | None = None) -> list[Replica]:
    """Every published run, or those whose name starts with `run`: predicted beside reported. "steps" are the measured training steps,
    "serving" measured servers; the name of a table of presets/runs/tables, or "tables" for all, its rows, each predicted from its
    configuration alone.

    Units: in each quantity's name.   Raises: GptcalcError for a run that is not in the catalogue.   Source: in each row.

    >>> [round(row.predicted) for row in replicate("gpt3-175b") if row.quantity == "petaflop_days"]
    [3638]
    """
    from gptcalc.spec.published import all_runs
    from gptcalc.spec.tables import table_names

    if run is not None and not isinstance(run, str):
        raise GptcalcError(f"a published run has a name, not {quoted(run)}")
    if run == STEPS:
        return _measured_steps()
    if run == SERVING:
        return _measured_serving()
    if run in table_names() or run == TABLES:
        return [row for name in (table_names() if run == TABLES else (run,)) for row in _table(name)]
    known = all_runs()
    chosen = [one for one in known if run is None or one.name == run] or [one for one in known if run and one.name.startswith(run)]
    if not chosen:
        names = [STEPS, SERVING, TABLES, *table_names(), *(one.name for one in known)]
        raise GptcalcError(f"no published run named {quoted(run)}", hint=did_you_mean(str(run)[:100], names))
    return [row for one in chosen for row in _rows(one)]


def _measured_steps() -> list[Replica]:
    """Training steps of presets/steps, predicted by `train`."""
    from gptcalc.formulas.run import train
    from gptcalc.spec.measured import all_steps

    rows = []
    for one in all_steps():
        predicted = 1000 * train(one.spec or one.model, device=one.device, tokens=one.batch * one.seq, **one.recipe).step_time
        note = "" if one.fitted else "no constant was fitted on this row"
        error = predicted / one.milliseconds - 1
        rows.append(Replica(one.title, one.title, "step_ms", predicted, one.milliseconds, error, one.tolerance, one.source, note))
    return rows


def _measured_serving() -> list[Replica]:
    """Decode steps, prefills and rates of presets/serving, predicted by `infer`."""
    from gptcalc.formulas.inference.answer import infer
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
        rows.append(Replica(one.title, one.title, quantity, predicted, one.value, error, tolerance, one.source, one.note))
    return rows


def _table(name: str) -> list[Replica]:
    """The rows of a published table, each predicted by `train` from its configuration."""
    from gptcalc.formulas.run import train
    from gptcalc.spec.tables import load_table

    table = load_table(name)
    rows = []
    for one in table.rows:
        options = dict(one.options)
        run = train(options.pop("model"), tokens=10**12, **options)
        for quantity, reported in one.reported.items():
            predicted = _predicted(run, quantity)
            note = "" if run.fits else "does not fit in memory, by these formulas"
            rows.append(
                Replica(one.run, table.title, quantity, predicted, reported, predicted / reported - 1, None, table.source, note, run.spread)
            )
    return rows


def _predicted(run: Run, quantity: str) -> float:
    if quantity in ("forward_ms", "backward_ms"):  # of one layer: a stage without embedding and head
        assert run.pipeline is not None
        return float(1000 * run.pipeline["stages"]["middle"][quantity.removesuffix("_ms")])
    found = {
        "step_seconds": run.step_time,
        "tokens_per_second_per_device": run.tokens_per_second / run.count,
        "model_tflops_per_device": run.mfu * run.inputs["peak"] / 1e12,
        "hardware_tflops_per_device": run.hfu * run.inputs["peak"] / 1e12,
    }
    return float(found[quantity])


def _rows(run: PublishedRun) -> list[Replica]:
    predicted = quantities(run)
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
        )
        for one in run.reported
    ]
    if run.device_hours is not None:
        rows.append(
            Replica(run.name, run.title, "mfu", predicted["mfu"], None, None, None, run.source, "6ND over reported hours: of the whole run")
        )
    return rows


def quantities(run: PublishedRun) -> dict[str, float]:
    """What follows from a run's parameters, tokens and rate; only what there is enough for.

    Raises GptcalcError for a device that is not in the catalogue.
    """
    N, per_token = _size(run)
    D = run.tokens
    found: dict[str, float] = {"parameters": N, "training_flops": 6 * N * D, "petaflop_days": 6 * N * D / PETAFLOP_DAY}
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


def _size(run: PublishedRun) -> tuple[int, float]:
    """Parameters, and the training FLOPs of a token with attention; 6N where the architecture is not known."""
    model = run.architecture()
    if model is None:
        assert run.parameters is not None
        return run.parameters, 6.0 * run.parameters
    from gptcalc.formulas.flops import flops
    from gptcalc.formulas.params import params

    step = flops(model, batch=1, phase="training")
    return params(model).value, step.value / step.tokens


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
