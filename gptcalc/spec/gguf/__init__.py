"""GGUF files: what the header says of architecture, tensors and quantization, as the fields of a spec.

- `header`: the file. `architectures`: what its metadata says as the config of the model's class.
"""

from __future__ import annotations

from typing import Any

from gptcalc.errors import GptcalcError
from gptcalc.spec.gguf.architectures import config_of
from gptcalc.spec.gguf.header import Header, read_header
from gptcalc.spec.reading import shown


def import_gguf(path: str, name: str) -> dict[str, Any]:
    """The spec fields of a GGUF file; its quantization names every tensor with its bytes and shape.

    Raises GptcalcError, in one line, for files that are cut or no GGUF files, and for architectures that are not known.
    """
    from gptcalc.spec.huggingface import import_config

    where = shown(path)
    header = read_header(path)
    config = config_of(header, where, _keys_of)
    try:
        fields = import_config(config, where=where, name=_name(header, name))
    except GptcalcError as error:
        raise GptcalcError(f"{error}; {header.told}", hint=error.hint) from None
    tensors = {name: [tensor.bytes, *tensor.shape] for name, tensor in header.tensors.items()}
    bits = round(8 * header.bytes / header.elements, 4)
    return fields | {"source": "GGUF header", "quantization": {"method": "gguf", "bits": bits, "tensors": tensors}}


def _keys_of(model_type: str) -> frozenset[str]:
    from gptcalc.spec.huggingface.families import FAMILIES

    family = FAMILIES[model_type]
    return frozenset((*family.keys, *family.aliases))


def _name(header: Header, fallback: str) -> str:
    given = header.values.get("general.name")
    return shown(given.strip()) if isinstance(given, str) and given.strip() else fallback
