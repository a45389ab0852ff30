"""`RunTable`: a published table of training steps with the configuration of each row, as options of `train`. presets/runs/tables."""

from pathlib import Path
from typing import Any

from pydantic import Field

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.spec.catalogue import bundled_folder
from gptcalc.spec.reading import read_text, read_yaml, shown
from gptcalc.spec.record import Record, validated

QUANTITIES = (
    "step_seconds",
    "tokens_per_second_per_device",
    "model_tflops_per_device",
    "hardware_tflops_per_device",
    "forward_ms",
    "backward_ms",
)


class TableRow(Record):
    """`options` of `train`, the model in them; `reported` by quantity."""

    run: str
    options: dict[str, Any]
    reported: dict[str, float] = Field(strict=False)


class RunTable(Record):
    """A published table of steps, row by row with its configuration. presets/runs/tables."""

    name: str
    title: str
    source: str
    rows: tuple[TableRow, ...] = Field(strict=False)


def load_table(name: str) -> RunTable:
    """The table of a name.

    Raises GptcalcError for a name that no file has, and for a malformed file.

    >>> load_table("megatron-2021").rows[-1].run
    '1T'
    """
    path = bundled_folder() / "runs" / "tables" / f"{name}.yaml"
    if name not in table_names():
        raise GptcalcError(f"no table named '{shown(name)}'", hint=did_you_mean(name, table_names()))
    data = read_yaml(read_text(path), shown(path))
    shared = data.get("shared", {})
    rows = [_row(fields, shared, path) for fields in data["rows"]]
    return validated(RunTable, {"name": name, "title": data["title"], "source": data["source"], "rows": rows}, shown(path))


def _row(fields: dict[str, Any], shared: dict[str, Any], path: Path) -> dict[str, Any]:
    options = {**shared, **{name: value for name, value in fields.items() if name not in ("run", "reported")}}
    spec = {**shared.get("spec", {}), **fields.get("spec", {})}
    if "model" not in options:
        options["model"] = {"name": fields["run"], **spec}
    options.pop("spec", None)
    for quantity in fields["reported"]:
        if quantity not in QUANTITIES:
            raise GptcalcError(f"{shown(path)}: {fields['run']}: unknown quantity '{quantity}'", hint=did_you_mean(quantity, QUANTITIES))
    return {"run": str(fields["run"]), "options": options, "reported": fields["reported"]}


def table_names() -> tuple[str, ...]:
    """The tables there are files for."""
    return tuple(sorted(path.stem for path in (bundled_folder() / "runs" / "tables").glob("*.yaml")))
