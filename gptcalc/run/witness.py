"""A model's own files against the formulas: what is stored, tensor by tensor."""

from collections import Counter
from typing import Any, NamedTuple

from gptcalc.footprint.quantized import stored_bytes
from gptcalc.reference.files import Compared, compare
from gptcalc.reference.gguf import matched
from gptcalc.reference.headers import read_headers
from gptcalc.spec.gguf.header import SUFFIX, Header, read_header
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


def witness(model: ModelSpec, path: str) -> Witness:
    """A GGUF file, or the safetensors files of a folder, against the model: names, shapes and bytes, from their headers alone.

    Raises GptcalcError for files that cannot be read, and for names of no family that gptcalc knows.
    """
    if path.lower().endswith(SUFFIX):
        return _of_gguf(model, read_header(path))
    folder = path
    compared = compare(model, read_headers(folder))
    return Witness(compared, int(stored_bytes(model).value) if model.quantization else compared.bytes)


def _of_gguf(model: ModelSpec, header: Header) -> Witness:
    found = matched(model, {name: (tensor.bytes, *tensor.shape) for name, tensor in header.tensors.items()})
    types = Counter[str]()
    of_model = [header.tensors[name] for name in header.tensors if name in found.used or found.joined.get(name) in found.used]
    for tensor in of_model:
        types[tensor.type] += tensor.elements
    beside = {what: (len(names), sum(header.tensors[name].elements for name in names)) for what, names in found.beside.items()}
    elements, size = sum(types.values()), sum(tensor.bytes for tensor in of_model)
    compared = Compared("llama.cpp", header.files, len(header.tensors), elements, size, types, 0, beside, found.differences)
    return Witness(compared, int(stored_bytes(model).value) if not found.differences else size)
