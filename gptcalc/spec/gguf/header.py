"""What the header of a GGUF file says: its metadata, and the name, type, shape and bytes of every tensor. No weight is read."""

from __future__ import annotations

import os
import re
import struct
import warnings
from collections import Counter
from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.spec.reading import shown

SUFFIX = ".gguf"
SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")

MOST_ENTRIES = 100_000
"""Tensors, or entries of the metadata, of one file."""

MOST_ITEMS = 4_000_000
"""Of an array in the metadata: the longest are vocabularies and their merges."""


class Tensor(NamedTuple):
    """One tensor as the file stores it; its shape as torch has it, outputs first."""

    type: str
    shape: tuple[int, ...]
    bytes: int

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def bits(self) -> float:
        """Of an element, with its share of what stands beside it."""
        return 8 * self.bytes / self.elements


class Header(NamedTuple):
    """Of one file, or of all files of a split model; lists of text in the metadata are left out."""

    values: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    files: int

    @property
    def elements(self) -> int:
        return sum(tensor.elements for tensor in self.tensors.values())

    @property
    def bytes(self) -> int:
        return sum(tensor.bytes for tensor in self.tensors.values())

    @property
    def told(self) -> str:
        """What is stored, in one line."""
        types = Counter(tensor.type for tensor in self.tensors.values())
        listed = ", ".join(f"{name} {number:,}" for name, number in sorted(types.items()))
        return f"its {len(self.tensors):,} tensors have {self.elements:,} parameters in {self.bytes:,} bytes ({listed})"


def read_header(path: str) -> Header:
    """The header of a file, and those of the others where the model is split.

    Raises GptcalcError, in one line, where the library is not installed, for a file that is cut or no GGUF file, for headers of
    impossible size, and for shards that are missing.
    """
    shard = SHARD.search(path)
    if shard is None or int(shard[2]) < 2:
        return _one(path)
    paths = [f"{path[: shard.start()]}-{number:05}-of-{shard[2]}.gguf" for number in range(1, int(shard[2]) + 1)]
    missing = next((one for one in paths if not os.path.isfile(one)), None)
    if missing is not None:
        raise GptcalcError(f"{shown(missing)}: is missing, one of {int(shard[2])} files of the model", hint="fetch all of them")
    headers = [_one(one) for one in paths]
    tensors: dict[str, Tensor] = {}
    for one, header in zip(paths, headers, strict=True):
        again = next((name for name in header.tensors if name in tensors), None)
        if again is not None:
            raise GptcalcError(f"{shown(one)}: has tensor '{shown(again)}', which another file of the model has too")
        tensors |= header.tensors
    wanted = headers[0].values.get("split.tensors.count", len(tensors))
    if wanted != len(tensors):
        raise GptcalcError(f"{shown(path)}: the model has {shown(str(wanted))} tensors, and its {len(paths)} files {len(tensors)}")
    return Header(headers[0].values, tensors, len(paths))


def _one(path: str) -> Header:
    where = shown(path)
    try:
        import gguf  # noqa: F401
    except ImportError:
        raise GptcalcError("reading GGUF files needs the gguf library", hint="pip install 'gptcalc[files]'") from None
    if not os.path.isfile(path):
        raise GptcalcError(f"{where}: is not a regular file" if os.path.lexists(path) else f"{where}: no such file")
    try:
        with open(path, "rb") as file:
            magic, _, *counts = struct.unpack("<4sIQQ", file.read(24))
        if magic != b"GGUF" or max(counts) > MOST_ENTRIES:
            raise ValueError("no GGUF header" if magic != b"GGUF" else f"{max(counts):,} entries")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _read(path)
    except (ValueError, LookupError, OverflowError, TypeError, struct.error, MemoryError, OSError) as error:
        said = " ".join(str(error).split())[:120]
        raise GptcalcError(f"{where}: is cut or no GGUF file ({shown(said)})", hint="fetch it again") from None


def _read(path: str) -> Header:
    import gguf
    import numpy as np

    class Reader(gguf.GGUFReader):
        """Arrays in one piece, and never longer than the file: the library's own reading takes a vocabulary word by word."""

        def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
            if raw_type != gguf.GGUFValueType.ARRAY:
                return super()._get_field_parts(orig_offs, raw_type)
            item = gguf.GGUFValueType(int(self._get(orig_offs, np.uint32)[0]))
            count = int(self._get(orig_offs + 4, np.uint64)[0])
            if count > MOST_ITEMS:
                raise ValueError(f"an array of {count:,} items")
            kind, start = self.gguf_scalar_to_np.get(item), orig_offs + 12
            if kind is not None:
                values = self._get(start, kind, count)
                if len(values) != count:
                    raise ValueError("an array that ends behind the file")
                return 12 + int(values.nbytes), [values], [0], [gguf.GGUFValueType.ARRAY, item]
            if item != gguf.GGUFValueType.STRING:
                raise ValueError(f"an array of {item.name.lower()}s")
            of, at, end = struct.Struct("<Q" if self.byte_order == "I" else ">Q"), start, len(self.data)
            whole = memoryview(self.data)
            for _ in range(count):
                at += 8 + of.unpack_from(whole, at)[0]
                if at > end:
                    raise ValueError("text that ends behind the file")
            return at - orig_offs, [], [], [gguf.GGUFValueType.ARRAY, item]

    reader = Reader(path)
    fields = {name: field for name, field in reader.fields.items() if not name.startswith("tokenizer.")}
    values = {name: value for name, field in fields.items() if (value := _value(field)) is not None}
    tensors = {}
    for one in reader.tensors:
        shape = tuple(int(size) for size in reversed(one.shape.tolist()))
        if not shape or min(shape) < 1 or one.n_bytes < 1:
            raise ValueError(f"tensor {one.name} of shape {shape}")
        tensors[str(one.name)] = Tensor(one.tensor_type.name, shape, int(one.n_bytes))
    return Header(values, tensors, 1)


def _value(field: Any) -> Any:
    """A number, text or list of numbers; None of a list of text."""
    import gguf

    kinds = field.types
    if kinds[0] == gguf.GGUFValueType.STRING:
        return bytes(field.parts[-1]).decode("utf-8", "replace")
    if kinds[0] == gguf.GGUFValueType.ARRAY:
        return field.parts[-1].tolist() if kinds[1] != gguf.GGUFValueType.STRING else None
    return field.parts[-1].tolist()[0]
