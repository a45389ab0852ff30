"""What the headers of safetensors files say: names, shapes, types and bytes of tensors. No weight is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import prod
from typing import NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.spec.reading import read_json, read_text, shown

INDEX = "model.safetensors.index.json"
SUFFIX = ".safetensors"

BITS = {
    "BOOL": 8,
    "F64": 64,
    "F32": 32,
    "F16": 16,
    "BF16": 16,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
}
BITS |= {"I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "C64": 64}
"""Bits of an element of each type that the format has."""


class Stored(NamedTuple):
    """One tensor as a file stores it."""

    file: str
    type: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        return -(-self.elements * BITS[self.type] // 8)


def holds_weights(folder: str) -> bool:
    """Whether a folder has safetensors files, or an index of them."""
    try:
        return os.path.isdir(folder) and any(name == INDEX or name.endswith(SUFFIX) for name in os.listdir(folder))
    except (OSError, ValueError):
        return False


def read_headers(folder: str) -> dict[str, Stored]:
    """Every tensor of a folder's safetensors files: of those that its index names, where it has one.

    Raises GptcalcError, in one line, where the library is not installed, where a file is cut or no safetensors file, for a shard that is
    missing, and where the index says otherwise than the files.
    """
    index = os.path.join(folder, INDEX)
    if not os.path.exists(index):
        names = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIX))
        whole = [name for name in names if name == "model.safetensors"]
        return _together(folder, whole or names)
    places = _index(index)
    missing = next((name for name in sorted(set(places.values())) if not os.path.exists(os.path.join(folder, name))), None)
    if missing is not None:
        raise GptcalcError(f"{shown(index)}: names {shown(missing)}, which is not in the folder", hint="fetch all of the model's files")
    found = _together(folder, sorted(set(places.values())))
    for name, file in places.items():
        if name not in found or found[name].file != file:
            raise GptcalcError(f"{shown(index)}: says that tensor '{shown(name)}' is in {shown(file)}, which does not have it")
    extra = next((name for name in found if name not in places), None)
    if extra is not None:
        raise GptcalcError(f"{shown(index)}: does not name tensor '{shown(extra)}', which {shown(found[extra].file)} has")
    return found


def _index(path: str) -> Mapping[str, str]:
    places = read_json(read_text(path), shown(path)).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise GptcalcError(f"{shown(path)}: has no weight_map, which says where each tensor is")
    for name, file in places.items():
        if not isinstance(file, str) or file != os.path.basename(file) or not file.endswith(SUFFIX):
            raise GptcalcError(
                f"{shown(path)}: the place of tensor '{shown(name)}' must be a safetensors file beside it, not {shown(file)}"
            )
    return places


def _together(folder: str, files: list[str]) -> dict[str, Stored]:
    found: dict[str, Stored] = {}
    for file in files:
        for name, tensor in _header(os.path.join(folder, file)).items():
            if name in found:
                raise GptcalcError(f"tensor '{shown(name)}' is in {shown(found[name].file)} and in {shown(file)}")
            found[name] = tensor
    return found


def _header(path: str) -> dict[str, Stored]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise GptcalcError("reading safetensors files needs the safetensors library", hint="pip install 'gptcalc[files]'") from None
    where = shown(path)
    if not os.path.isfile(path):
        raise GptcalcError(f"{where}: is not a regular file")
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            found = {name: Stored(os.path.basename(path), one.get_dtype(), tuple(one.get_shape())) for name, one in slices.items()}
    except (SafetensorError, OSError) as error:
        said = " ".join(str(error).split())[:200]
        raise GptcalcError(f"{where}: is cut or no safetensors file ({shown(said)})", hint="fetch it again") from None
    unknown = next((name for name, one in found.items() if one.type not in BITS), None)
    if unknown is not None:
        raise GptcalcError(f"{where}: tensor '{shown(unknown)}' is of type {shown(found[unknown].type)}, whose size is not known")
    return found
