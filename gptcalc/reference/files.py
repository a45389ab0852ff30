"""A checkpoint's tensors beside those that a model has: names, shapes and bytes, one by one, from the headers of its files alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.reference.checkpoints import BUFFERS, Checkpoint, layout_of
from gptcalc.reference.headers import Stored
from gptcalc.reference.weights import weight_shapes
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.shape import shape_of
from gptcalc.spec.unquantized import OTHER, ROOTS

ROUTER_BUFFER = "e_score_correction_bias"

HEADS = ("lm_head.weight", "proj_out.weight", "output_projection.weight")
"""What the head is called where it may be the embedding again."""

OURS = ("block.", "embedding.", "final_norm.", "head.")
"""What the formulas call a tensor for which a layout has no name."""

PACKED = ("qweight", "weight_packed", "weight", "blocks")
"""What quantized files call the packed elements of a matrix."""

BESIDE_PACKED = re.compile(
    r"[._](?:qweight|qzeros|scales?|biases|g_idx|weight_(?:packed|scale|scale_2|scale_inv|shape|zero_point|g_idx|format)|input_scale|"
    r"output_scale|[kv]_scale|weight|blocks|SCB|absmax|quant_map|nested_absmax|nested_quant_map|quant_state\.\w+|weight\..*)$"
)
"""What stands beside them, below the matrix's own name."""


class Difference(NamedTuple):
    """One tensor that a file and the formula do not have alike; None where one of them has it not at all."""

    tensor: str
    stored: tuple[int, ...] | None
    wanted: tuple[int, ...] | None


class Compared(NamedTuple):
    """`parameters` and `bytes` are those of the tensors that the formula has; `beside` those that are no parameters of the language
    model, by what they are. `packed` tensors are quantized: their shapes say nothing of the matrix's."""

    layout: str
    files: int
    tensors: int
    parameters: int
    bytes: int
    types: Mapping[str, int]
    packed: int
    beside: Mapping[str, tuple[int, int]]  # tensors and elements
    differences: tuple[Difference, ...]

    def to_dict(self) -> dict[str, Any]:
        """As the command line's JSON has it."""
        found = self._asdict() | {"types": dict(self.types), "differences": [one._asdict() for one in self.differences]}
        return found | {"beside": {what: {"tensors": n, "elements": size} for what, (n, size) in self.beside.items()}}


def compare(spec: ModelSpec, stored: Mapping[str, Stored]) -> Compared:
    """What a model's files hold against what it has by its spec, tensor by tensor.

    Raises GptcalcError for names of no family that gptcalc knows.
    """
    names = {_bare(name): name for name in stored if not _left_out(name)}
    modules = _packed(names) if spec.quantization else {}
    known = names | {f"{stem}.weight": name for stem, name in modules.items()} | modules
    checkpoint = Checkpoint(layout_of(known, shape_of(spec)), spec, known, {})
    shapes, used, differences = weight_shapes(spec), set[str](), list[Difference]()
    packed = parameters = 0
    for theirs, wanted in _wanted(checkpoint, shapes):
        name = known.get(theirs)
        if name is None and theirs.startswith(OURS):
            raise GptcalcError(
                f"the checkpoint is of no family whose tensors' names gptcalc knows: it has none for '{theirs}'",
                hint="leave --check out: the count is by the config alone",
            )
        if name is None:
            differences.append(Difference(theirs, None, wanted))
        elif theirs in used:
            continue
        elif theirs not in names or (spec.quantization and _stem(theirs) in modules):
            packed, parameters = packed + 1, parameters + prod(wanted)
        elif stored[name].shape not in (wanted, (1, *wanted)):
            differences.append(Difference(name, stored[name].shape, wanted))
        else:
            parameters += prod(wanted)
        used.add(theirs)
    of_model = {bare for bare in names if bare in used or (_stem(bare) in modules and _stem_used(bare, used))}
    beside: dict[str, tuple[int, int]] = {}
    for bare, name in {**names, **{name: name for name in stored if _left_out(name)}}.items():
        if bare in of_model:
            continue
        what = _what(bare, name, spec)
        if what is None:
            differences.append(Difference(name, stored[name].shape, None))
        else:
            count, size = beside.get(what, (0, 0))
            beside[what] = (count + 1, size + stored[name].elements)
    types = Counter[str]()
    for bare in of_model:
        types[stored[names[bare]].type] += stored[names[bare]].elements
    total = sum(stored[names[bare]].bytes for bare in of_model)
    files = len({tensor.file for tensor in stored.values()})
    return Compared(checkpoint.layout.family, files, len(stored), parameters, total, types, packed, beside, tuple(differences))


def _wanted(checkpoint: Checkpoint, shapes: dict[str, tuple[int, ...]]) -> Iterator[tuple[str, tuple[int, ...]]]:
    for ours in shapes:
        yield from checkpoint.wanted(ours, shapes)


def _packed(names: Mapping[str, str]) -> dict[str, str]:
    """The matrices that a quantized file has in parts of other names: their names, and that of their elements."""
    stems: dict[str, set[str]] = {}
    for bare in names:
        found = BESIDE_PACKED.search(bare)
        if found:
            stems.setdefault(bare[: found.start()], set()).add(found[0][1:])
    return {
        stem: next(names[place] for part in PACKED for place in (f"{stem}.{part}", f"{stem}_{part}") if place in names)
        for stem, parts in stems.items()
        if parts != {"weight"} and parts & set(PACKED)
    }


def _stem(bare: str) -> str:
    return BESIDE_PACKED.sub("", bare)


def _stem_used(bare: str, used: set[str]) -> bool:
    stem = _stem(bare)
    return stem in used or f"{stem}.weight" in used


def _parts(name: str) -> list[str]:
    parts = name.split(".")
    while len(parts) > 1 and parts[0] in (*ROOTS, "thinker"):
        parts = parts[1:]
    return parts


def _bare(name: str) -> str:
    return "lm_head.weight" if name == "embed_out.weight" else ".".join(_parts(name))


def _left_out(name: str) -> bool:
    return _parts(name)[0] in OTHER


def _what(bare: str, name: str, spec: ModelSpec) -> str | None:
    """What a tensor is that is no parameter of the language model; None where nothing says."""
    if _left_out(name):
        what = OTHER[_parts(name)[0]][0]
        return {"images": "towers and projectors", "sound": "towers and projectors"}.get(what, "multi-token prediction")
    if BUFFERS.fullmatch(bare) or bare.endswith(ROUTER_BUFFER):
        return "buffers"
    if spec.tied and bare in HEADS:
        return "the embedding again, as the head"
    layer = re.match(r"(?:layers|h|blocks)\.(\d{1,9})\.", bare)
    return "multi-token prediction" if layer and spec.n_mtp and spec.n_layer <= int(layer[1]) < spec.n_layer + spec.n_mtp else None
