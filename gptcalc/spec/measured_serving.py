"""`MeasuredServing`: a decode step, a prefill or a rate that was measured on a server. presets/serving, one source a file."""

from typing import Any, Literal

from pydantic import Field

from gptcalc.spec.catalogue import bundled_folder
from gptcalc.spec.reading import read_text, read_yaml, shown
from gptcalc.spec.record import Record, validated


class MeasuredServing(Record):
    """`value` is in ms (decode, prefill) or new tokens per second (rate). `context`: positions in all, of a rate those of the prompt."""

    source: str
    device: str
    model: str | None = None
    shape: str | None = None
    spec: dict[str, Any] | None = None  # of the shape
    phase: Literal["decode", "prefill", "rate"]
    batch: int
    context: int
    output: int = 1
    count: int = 1
    precision: str = "bf16"
    group_size: int | None = None
    value: float = Field(gt=0)
    tolerance: float
    judged: bool = True
    note: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """As options of `infer`."""
        names = ("device", "batch", "output", "count", "precision", "group_size")
        return {name: getattr(self, name) for name in names} | {"prompt": self.context - (self.phase == "decode")}

    @property
    def title(self) -> str:
        """What was run, in short.

        >>> all_served()[0].title
        'llama2-7b, bf16, 1 x 5'
        """
        parts = [self.model or str(self.shape), self.precision, f"{self.batch} x {self.context}"]
        return ", ".join(parts + ([f"{self.count} GPUs"] if self.count > 1 else []))


def all_served() -> list[MeasuredServing]:
    """Every measurement of the catalogue.

    Raises GptcalcError for a malformed file.
    """
    found = []
    for path in sorted((bundled_folder() / "serving").glob("*.yaml")):
        data = dict(read_yaml(read_text(path), shown(path)))
        rows, shapes = data.pop("rows"), data.pop("shapes", {})
        for row in rows:
            spec = {"spec": {"name": row["shape"], **shapes[row["shape"]]}} if "shape" in row else {}
            found.append(validated(MeasuredServing, {**data, **row, **spec}, shown(path)))
    return found
