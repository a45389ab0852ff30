"""`PublishedRun`: a training run as a paper reports it. presets/runs, whose README.md explains the fields."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from gptcalc.errors import GptcalcError
from gptcalc.spec.catalogue import bundled_folder
from gptcalc.spec.reading import read_text, read_yaml, shown
from gptcalc.spec.record import Record, validated

if TYPE_CHECKING:
    from gptcalc.spec.model import ModelSpec

RATES = ("mfu", "flops_per_device", "tokens_per_second_per_device", "device_hours")


class Reported(Record):
    """A number that was printed for a run."""

    quantity: str
    value: float
    tolerance: float | None = Field(default=None, strict=False)
    source: str = ""
    note: str = ""


class PublishedRun(Record):
    """A training run with what was reported of it. presets/runs."""

    name: str
    title: str
    source: str
    model: str | None = None
    spec: dict[str, Any] | None = None
    parameters: int | None = None
    tokens: int
    device: str | None = None
    count: int | None = None
    global_batch: int | None = None
    mfu: float | None = Field(default=None, gt=0, le=1)
    flops_per_device: float | None = Field(default=None, strict=False)
    tokens_per_second_per_device: float | None = Field(default=None, strict=False)
    device_hours: float | None = Field(default=None, strict=False)
    recomputed: bool = False
    watts: float | None = Field(default=None, strict=False)
    pue: float = 1.1
    reported: tuple[Reported, ...] = Field(strict=False)

    @model_validator(mode="before")
    @classmethod
    def _read_rates(cls, fields: Any) -> Any:
        from gptcalc.units import parse_number

        return {name: float(parse_number(value)) if name in (*RATES, "watts") else value for name, value in fields.items()}

    @model_validator(mode="after")
    def _one_of_each(self) -> "PublishedRun":
        if sum(value is not None for value in (self.model, self.spec, self.parameters)) != 1:
            raise GptcalcError("give one of model, spec and parameters")
        if (self.device is not None) != (sum(getattr(self, name) is not None for name in RATES) == 1):
            raise GptcalcError(f"a device needs one of {', '.join(RATES)}")
        return self

    @property
    def seq(self) -> int | None:
        """Tokens of a sequence: those that the model was trained with, where it is known."""
        model = self.architecture()
        return None if model is None else model.training_seq or model.n_ctx

    def architecture(self) -> "ModelSpec | None":
        """The model, where it is known."""
        from gptcalc.spec.files import load_model

        source = self.model or self.spec
        return None if source is None else load_model(source)


def all_runs() -> list[PublishedRun]:
    """Every published run of the catalogue, in the order of their files.

    Raises GptcalcError for a malformed file.
    """
    return [run for path in sorted((bundled_folder() / "runs").glob("*.yaml")) for run in _runs(path)]


def _runs(path: Path) -> list[PublishedRun]:
    data = read_yaml(read_text(path), shown(path))
    entries = {name: {"name": name, "source": data["source"], **fields} for name, fields in data["runs"].items()}
    return [validated(PublishedRun, fields, f"{shown(path)}: {name}") for name, fields in entries.items()]
