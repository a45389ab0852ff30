"""Constants of a device, a stack or a server from measured rows: those marked as fitted, within bounds, and what the rows leave open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.run.fitting import alike, fit, slopes_of
from gptcalc.run.measured_rows import LATENCIES, MEMORY, MeasuredRow, Software, predictor, rows_of
from gptcalc.shown import Rows

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.server import ServerSpec
    from gptcalc.spec.stack import StackSpec

Bounds = tuple[float, float]

LENT: dict[str, Bounds] = {"matmul": (0.2, 1.0), "streaming": (0.4, 1.0), "sustained": (0.5, 1.0)}
"""What of a chip that nobody measured is the H100's and decides most of a step: fitted too, where the device has none of its own."""

COMPANIONS = ("matmul", "streaming", "sustained", "tensor_power", "memory_power", "grouped")
"""Constants of a device that are not fitted here, and that what is fitted may stand in for."""

ENGINE: dict[str, Bounds] = {"step": (0.0, 0.02), "sequence": (0.0, 1e-3), "layer": (0.0, 5e-3), "request": (0.0, 0.5)}
"""The constants of a server that were fitted, in seconds."""

ENGINE_MEANINGS = {
    "step": "the processor's seconds of one pass",
    "sequence": "the same of each sequence in it",
    "layer": "the least seconds that a layer takes where kernels are launched one by one",
    "request": "seconds before a request's first pass",
}

MANY = 3
"""Rows for each constant, without which it rests on too little to be trusted."""


class Constant(NamedTuple):
    """A fitted constant. `deviation`: its standard deviation, None where no row depends on it; `like`: what it is not told apart from."""

    name: str
    meaning: str
    before: float
    after: float
    low: float
    high: float
    deviation: float | None
    like: list[str]


class RowError(NamedTuple):
    """Errors of one row, predicted over measured less one: before, after, and where it was left out of the fit."""

    run: str
    quantity: str
    measured: float
    before: float
    after: float
    left_out: float


class Calibration(NamedTuple):
    """What a fit came to; `kind` is device, stack or server, `text` the file of one's own."""

    kind: str
    name: str
    constants: list[Constant]
    rows: Rows[RowError]
    text: str
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        from statistics import median

        summary = {
            name: median(abs(getattr(row, name)) for row in self.rows) if self.rows else None for name in ("before", "after", "left_out")
        }
        found = {"kind": self.kind, "name": self.name, "median_error": summary, "notes": self.notes, "file": self.text}
        return found | {"constants": [one._asdict() for one in self.constants], "rows": [row._asdict() for row in self.rows]}


class _Target(NamedTuple):
    """What is fitted: constants with their bounds, and the software that some values of them make."""

    kind: str
    name: str
    meanings: dict[str, str]
    start: dict[str, float]
    bounds: dict[str, Bounds]
    with_values: Callable[[dict[str, float]], Software]
    companions: dict[str, float]
    write: Callable[[str, list[Constant], str], str]


def calibrate(
    rows: str, *, device: str | DeviceSpec | None = None, stack: str | None = None, server: str | None = None, name: str | None = None
) -> Calibration:
    """The constants of a device, a stack or a server that rows of measurements ask for; `rows` as `measured_rows.rows_of`.

    Only what its file marks as fitted is moved, within its bounds (`bounds` of a device's constant, `fitted` of a stack); of a device that
    nobody measured also the shares of peak and bandwidth that it borrows.

    Units: each constant's own.   Raises: GptcalcError for rows that cannot be predicted, and where nothing is marked.

    >>> found = calibrate("zero3-2021", stack="deepspeed-zero3-2021")
    >>> [(one.name, round(one.after, 2)) for one in found.constants]
    [('network_share', 0.24)]
    """
    asked = [one for one in (device, stack, server) if one is not None]
    if len(asked) != 1 and not (len(asked) == 2 and device is not None and server is not None):
        raise GptcalcError(
            "say what is calibrated: --device, --stack or --server", hint="one of them; a device beside a server is its chip"
        )
    read = rows_of(rows)
    with TemporaryDirectory() as folder:
        own = None if server is None else _server(server, device, Path(folder))
        target = own or (_device(device) if device is not None else _stack(str(stack)))
        return _fitted(target, read, _timed(read, target), name or f"{target.name}-calibrated")


def _timed(read: list[MeasuredRow], target: _Target) -> list[MeasuredRow]:
    """The rows whose predictions constants decide.

    Raises GptcalcError for rows that are nothing to a device, a stack or a server.
    """
    timed = [row for row in read if row.quantity not in MEMORY]
    odd = [row for row in timed if (row.quantity in LATENCIES) != (target.kind == "server")]
    if odd:
        wants = "steps need --device or --stack" if target.kind == "server" else "latencies need --server"
        raise GptcalcError(f"{odd[0].run}: {odd[0].quantity} is nothing that a {target.kind} decides here", hint=wants)
    return timed


def _fitted(target: _Target, read: list[MeasuredRow], timed: list[MeasuredRow], called: str) -> Calibration:
    import numpy as np

    names = list(target.start)
    predicted = [predictor(row) for row in timed]

    def error(row: int, values: dict[str, float]) -> float:
        return float(np.log(predicted[row](target.with_values(values)) / timed[row].measured))

    def errors(of: list[str]) -> Callable[[Sequence[float]], Any]:
        return lambda values: np.array([error(row, best | dict(zip(of, values, strict=True))) for row in range(len(timed))])

    best = dict(target.start)
    constants, told, notes = (
        [Constant(one, target.meanings[one], best[one], best[one], *target.bounds[one], None, []) for one in names],
        [],
        [],
    )
    if timed:
        found = fit(
            errors(names),
            list(best.values()),
            [target.bounds[one] for one in names],
            lambda row, values: error(row, dict(zip(names, values, strict=True))),
        )
        moved = {one: place for place, one in enumerate(names) if found.deviations[place] is not None}
        best |= {one: found.values[place] for one, place in moved.items()}
        columns = {one: found.slopes[:, place] for one, place in moved.items()}
        others = slopes_of(errors(list(target.companions)), list(target.companions.values()), found.after)
        columns |= {one: others[:, place] for place, one in enumerate(target.companions)}
        for one, place in moved.items():
            like = [other for other in columns if other != one and alike(columns[one], columns[other])]
            constants[place] = constants[place]._replace(after=_rounded(best[one]), deviation=found.deviations[place], like=like)
        shares = np.exp(np.array([found.before, found.after, found.left_out])) - 1
        told = [RowError(row.run, row.quantity, row.measured, *(float(one) for one in shares[:, place])) for place, row in enumerate(timed)]
        if len(timed) < MANY * len(moved):
            notes.append(f"{len(timed)} rows for {len(moved)} constants: trust the errors of rows left out, not those after")
    for row in read:
        if row.quantity in MEMORY:
            apart = predictor(row)(target.with_values(target.start)) / row.measured - 1
            told.append(RowError(row.run, row.quantity, row.measured, apart, apart, apart))
    if len(read) > len(timed):
        notes.append("memory has no constant that is fitted: its rows are compared alone")
    return Calibration(target.kind, called, constants, Rows(told), target.write(called, constants, _on_what(timed)), notes)


def _on_what(timed: list[MeasuredRow]) -> str:
    return f"fitted by gptcalc calibrate on {len(timed)} measured rows"


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _device(device: str | DeviceSpec) -> _Target:
    from gptcalc.spec.device import as_device, constants_of

    spec = as_device(device)
    every = constants_of(spec)
    bounds = {one: constant.bounds for one, constant in spec.constants.items() if constant.bounds is not None}
    if not spec.calibrated:
        bounds |= {one: ends for one, ends in LENT.items() if one not in spec.constants}
    if not bounds:
        raise GptcalcError(f"no constant of {spec.name} is marked as fitted", hint="give it bounds in a device file of your own")

    def with_values(values: dict[str, float]) -> Software:
        return Software(device=_changed(spec, values, "fitted"))

    def write(called: str, constants: list[Constant], on: str) -> str:
        return device_text(_changed(spec, {one.name: one.after for one in constants if one.deviation is not None}, on), called)

    meanings = {one: _meaning(spec, one) for one in bounds}
    companions = {one: every[one] for one in COMPANIONS if one in every and one not in bounds}
    return _Target("device", spec.name, meanings, {one: every[one] for one in bounds}, bounds, with_values, companions, write)


def _meaning(spec: DeviceSpec, name: str) -> str:
    from gptcalc.spec.device import DEFAULT_CONSTANTS, load_device

    own = spec.constants if name in spec.constants else load_device(DEFAULT_CONSTANTS).constants
    return own[name].meaning


def _changed(spec: DeviceSpec, values: dict[str, float], on: str) -> DeviceSpec:
    """A device with some constants of other values."""
    from gptcalc.spec.device import DEFAULT_CONSTANTS, load_device
    from gptcalc.spec.device import Constant as Own

    known = load_device(DEFAULT_CONSTANTS).constants | spec.constants
    changed = {one: Own(value=value, meaning=known[one].meaning, source=on, bounds=known[one].bounds) for one, value in values.items()}
    return spec.model_copy(update={"constants": spec.constants | changed})


def device_text(spec: DeviceSpec, called: str) -> str:
    """A device as a file of one's own, for --device."""
    import yaml

    fields = spec.model_dump(exclude_defaults=True, exclude={"name"})
    plain: dict[str, Any] = _listed(fields)
    if "constants" in plain:
        plain["constants"] = {one: _listed(constant) for one, constant in plain["constants"].items()}
    return yaml.safe_dump({"devices": {called: plain}}, sort_keys=False, allow_unicode=True, width=140)


def _listed(fields: dict[str, Any]) -> dict[str, Any]:
    return {one: list(value) if isinstance(value, tuple) else value for one, value in fields.items()}


def _stack(name: str) -> _Target:
    import yaml

    from gptcalc.spec.stack import FITTED, load_stack

    spec = load_stack(name)
    if not spec.fitted:
        raise GptcalcError(f"nothing of the stack {spec.name} is marked as fitted", hint="its file says so: fitted: {contention: [0, 1]}")

    def changed(values: dict[str, float]) -> StackSpec:
        own = {one: value for one, value in values.items() if "." not in one}
        hidden = {one.partition(".")[2]: value for one, value in values.items() if "." in one}
        return spec.model_copy(update=own | {"overlap": spec.overlap.model_copy(update=hidden)})

    def write(called: str, constants: list[Constant], on: str) -> str:
        made = changed({one.name: one.after for one in constants if one.deviation is not None})
        fields = made.model_dump(exclude_defaults=True, exclude={"name"}) | {"title": called, "source": f"{spec.title}, {on}"}
        fields["fitted"] = {one: list(ends) for one, ends in spec.fitted.items()}
        return yaml.safe_dump(_listed(fields), sort_keys=False, allow_unicode=True, width=140)

    def value(one: str) -> float:
        where, _, own = one.rpartition(".")
        found = getattr(spec.overlap if where else spec, own)
        return 1.0 if found is None else float(found)

    start = {one: value(one) for one in spec.fitted}
    companions = {one: value(one) for one in FITTED if one not in start and value(one) > 0}
    meanings = {one: FITTED[one] for one in start}
    return _Target("stack", spec.name, meanings, start, dict(spec.fitted), lambda v: Software(stack=changed(v)), companions, write)


def _server(name: str, device: str | DeviceSpec | None, folder: Path) -> _Target:
    """`folder` takes the file of the server whose constants are tried."""
    from gptcalc.spec.device import as_device
    from gptcalc.spec.server import load_server

    spec, chip = load_server(name), None if device is None else as_device(device)
    if spec.engine is None:
        raise GptcalcError(f"{spec.name} runs one batch and has no constants of an engine", hint="a server under load, such as vllm")
    trial = folder / "trial.yaml"

    def with_values(values: dict[str, float]) -> Software:
        trial.write_text(_server_text(spec, values, "trial", ""), "utf-8")
        return Software(device=chip, server=str(trial))

    def write(called: str, constants: list[Constant], on: str) -> str:
        return _server_text(spec, {one.name: one.after for one in constants if one.deviation is not None}, called, on)

    start = {one: float(getattr(spec.engine, one)) for one in ENGINE}
    return _Target("server", spec.name, dict(ENGINE_MEANINGS), start, dict(ENGINE), with_values, {}, write)


def _server_text(spec: ServerSpec, values: dict[str, float], called: str, on: str) -> str:
    """A server as a file of one's own, for --server: like a bundled one, or all of a file that was one's own before."""
    import yaml

    from gptcalc.spec.reading import read_text, read_yaml, shown

    fields: dict[str, Any] = dict(read_yaml(read_text(spec.path), shown(spec.path))) if spec.path else {"like": spec.name}
    engine = dict(fields.get("engine") or {}) | {one: float(value) for one, value in values.items()}
    fields |= {"title": called, "source": f"{spec.title}, {on}", "engine": engine}
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=140)
