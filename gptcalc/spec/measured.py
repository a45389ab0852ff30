"""`MeasuredStep`: a training step that was timed on a device, and the memory it took. presets/steps, one device a file."""

from typing import Any

from pydantic import Field

from gptcalc.spec.catalogue import bundled_folder
from gptcalc.spec.reading import read_text, read_yaml, shown
from gptcalc.spec.record import Record, validated


class MeasuredStep(Record):
    """A training step that was measured: its recipe, its time, its peak of memory. presets/steps."""

    source: str
    device: str
    model: str | None = None
    spec: dict[str, Any] | None = None
    runtime: str
    batch: int
    seq: int
    precision: str
    recompute: str = "none"
    attention_kernel: str = "flash"
    optimizer: str = "adamw"
    compiled: bool = False
    milliseconds: float = Field(gt=0)
    peak_bytes: int | None = Field(default=None, gt=0)
    tolerance: float = 0.12
    fitted: bool = True

    @property
    def recipe(self) -> dict[str, Any]:
        """As options of `train`."""
        names = ("batch", "seq", "precision", "runtime", "recompute", "attention_kernel", "optimizer", "compiled")
        return {name: getattr(self, name) for name in names}

    @property
    def title(self) -> str:
        """What was run, in short; defaults left out.

        >>> all_steps()[0].title
        'gpt2, transformers, 8 x 1024, amp-bf16'
        """
        parts = [self.model or str((self.spec or {}).get("name")), self.runtime, f"{self.batch} x {self.seq}", self.precision]
        options = {"recompute": self.recompute != "none", "eager attention": self.attention_kernel == "eager", "compiled": self.compiled}
        parts += [name for name, given in options.items() if given]
        return ", ".join(parts + ([self.optimizer] if self.optimizer != "adamw" else []))


def all_steps() -> list[MeasuredStep]:
    """Every measured step of the catalogue.

    Raises GptcalcError for a malformed file.
    """
    found = []
    for path in sorted((bundled_folder() / "steps").glob("*.yaml")):
        data = read_yaml(read_text(path), shown(path))
        shared = {"source": data["source"], "device": data["device"]}
        found += [validated(MeasuredStep, shared | fields, shown(path)) for fields in data["steps"]]
    return found
