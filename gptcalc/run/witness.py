"""A model's own files against the formulas: what is stored, tensor by tensor."""

from typing import Any, NamedTuple

from gptcalc.footprint.quantized import stored_bytes
from gptcalc.reference.files import Compared, compare
from gptcalc.reference.headers import read_headers
from gptcalc.spec.model import ModelSpec


class Witness(NamedTuple):
    """`predicted_bytes`: of a quantized file by its formula; of any other what the tensors' own types make of the formula's elements."""

    compared: Compared
    predicted_bytes: int

    @property
    def ok(self) -> bool:
        """Whether every tensor is as the formula has it, and so many bytes."""
        return not self.compared.differences and self.compared.bytes == self.predicted_bytes

    def to_dict(self) -> dict[str, Any]:
        """As the command line's JSON has it."""
        return self.compared.to_dict() | {"predicted_bytes": self.predicted_bytes, "ok": self.ok}


def witness(model: ModelSpec, folder: str) -> Witness:
    """The safetensors files of a folder against the model: names, shapes and bytes, from their headers alone.

    Raises GptcalcError for files that cannot be read, and for names of no family that gptcalc knows.
    """
    compared = compare(model, read_headers(folder))
    return Witness(compared, int(stored_bytes(model).value) if model.quantization else compared.bytes)
