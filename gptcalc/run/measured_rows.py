"""Rows of options with what was measured: a step's time or rate, memory, or a server's latency; from a file or a published table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.spec.catalogue import is_path
from gptcalc.spec.reading import quoted, read_text, shown

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.stack import StackSpec

STEPS = (
    "step_seconds",
    "tokens_per_second",
    "tokens_per_second_per_device",
    "model_tflops_per_device",
    "hardware_tflops_per_device",
    "forward_ms",
    "backward_ms",
)
MEMORY = ("memory_bytes",)
LATENCIES = ("ttft", "tpot")
QUANTITIES = (*STEPS, *MEMORY, *LATENCIES)
"""What a row may have measured. Of a server seconds; `memory_bytes` is the peak that is allocated in a step."""

BESIDE = ("run", "title", "source", "note")


class MeasuredRow(NamedTuple):
    """`options` as `train`, `memory` or `infer` takes them, without the model."""

    run: str
    model: Any
    options: dict[str, Any]
    quantity: str
    measured: float


class Software(NamedTuple):
    """On what rows are predicted: what is given here stands in the place of what a row names."""

    device: DeviceSpec | None = None
    stack: StackSpec | None = None
    server: str | None = None


def rows_of(source: str) -> list[MeasuredRow]:
    """The rows of a file of JSON lines, or of a table of presets/runs/tables by its name.

    A line is an object: options of `train`, `memory` or `infer` and the model, flat or under "options", and one or more of `QUANTITIES`,
    flat or under "reported".

    Raises GptcalcError for a file that cannot be read, a line that is none, and a row without anything measured.

    >>> [row.measured for row in rows_of("zero3-2021")]
    [144.0, 88.0, 44.0]
    """
    from gptcalc.spec.tables import load_table, table_names

    if not is_path(source) and not source.endswith(".jsonl") and source in table_names():
        table = [{"run": row.run, "options": row.options, "reported": row.reported} for row in load_table(source).rows]
        return [one for number, row in enumerate(table, 1) for one in _read(row, f"{source}, row {number}")]
    if not is_path(source) and not source.endswith(".jsonl"):
        hint = did_you_mean(source, table_names(), otherwise="a file of JSON lines ends in .jsonl")
        raise GptcalcError(f"no table of measured rows named {quoted(source)}", hint=hint)
    found: list[MeasuredRow] = []
    for number, line in enumerate(read_text(source).splitlines(), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError:
                raise GptcalcError(f"{shown(source)}, line {number}: no JSON object", hint='one row a line: {"model": ...}') from None
            found += _read(row, f"{shown(source)}, line {number}")
    if not found:
        raise GptcalcError(f"{shown(source)} has no rows")
    return found


def _read(row: object, where: str) -> list[MeasuredRow]:
    if not isinstance(row, Mapping):
        raise GptcalcError(f"{where}: a row is an object, not {quoted(row)}")
    for name in ("options", "reported"):
        if not isinstance(row.get(name, {}), Mapping):
            raise GptcalcError(f"{where}: {name} is an object, not {quoted(row[name])}")
    options = {**row, **row.get("options", {})}
    reported = {name: options.pop(name) for name in QUANTITIES if name in options} | dict(row.get("reported", {}))
    options = {name: value for name, value in options.items() if name not in (*BESIDE, "options", "reported")}
    model = options.pop("model", None)
    if model is None:
        raise GptcalcError(f"{where}: names no model")
    if not reported:
        raise GptcalcError(f"{where}: nothing was measured", hint=f"give one of {', '.join(QUANTITIES)}")
    for name, value in reported.items():
        if name not in QUANTITIES:
            raise GptcalcError(f"{where}: unknown quantity {quoted(name)}", hint=did_you_mean(str(name), QUANTITIES))
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise GptcalcError(f"{where}: {name} is a number above zero, not {quoted(value)}")
    called = str(row.get("run") or (model if isinstance(model, str) else model.get("name", where)))
    return [MeasuredRow(called, model, options, str(name), float(value)) for name, value in reported.items()]


def predictor(row: MeasuredRow) -> Callable[[Software], float]:
    """What is predicted of a row, as a function of what it runs on; its model is read once.

    Raises GptcalcError for what `train`, `memory` or `infer` refuse.
    """
    from gptcalc.spec.files import as_model

    model = as_model(row.model)
    ask = _latency if row.quantity in LATENCIES else _memory if row.quantity in MEMORY else _step

    def predicted(on: Software) -> float:
        try:
            return ask(model, row, on)
        except GptcalcError as error:
            raise GptcalcError(f"{row.run}: {error}", hint=error.hint) from None

    return predicted


def _on(row: MeasuredRow, on: Software, *names: str) -> dict[str, Any]:
    given = {name: getattr(on, name) for name in names if getattr(on, name) is not None}
    return row.options | given


def _step(model: ModelSpec, row: MeasuredRow, on: Software) -> float:
    from gptcalc.run.published import predicted_of
    from gptcalc.run.request import train

    options = {"seq": model.n_ctx, "tokens": 10**12} | _on(row, on, "device", "stack")
    run = train(model, **options)
    return run.tokens_per_second if row.quantity == "tokens_per_second" else predicted_of(run, row.quantity)


def _memory(model: ModelSpec, row: MeasuredRow, on: Software) -> float:
    from gptcalc.footprint.request import memory

    return float(memory(model, **_on(row, on, "device", "stack")).to_dict()["peak_allocated"])


def _latency(model: ModelSpec, row: MeasuredRow, on: Software) -> float:
    from gptcalc.serve.answer import infer

    answer = infer(model, **_on(row, on, "device", "server")).to_dict()
    name = {"ttft": "time_to_first_token", "tpot": "time_per_output_token"}[row.quantity]
    return float(answer[row.quantity] if row.quantity in answer else answer[name])
