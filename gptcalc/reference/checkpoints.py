"""Real checkpoints, by the names that transformers gives their tensors, as the weights that `forward` takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from gptcalc.errors import GptcalcError
from gptcalc.reference.checkpoint_names import LAYOUTS, Fused, Layout
from gptcalc.reference.mixers import Shapes
from gptcalc.reference.tally import Array
from gptcalc.reference.weights import buffer_shapes, floating, weight_shapes
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.shape import Shape, shape_of

PREFIXES = ("transformer.", "gpt_neox.", "model.decoder.", "decoder.", "model.", "backbone.")

BUFFERS = re.compile(
    r"(?:.*\.)?(?:(?:attn|attention)\.(?:masked_)?bias|(?:rotary_emb\.)?(?:original_)?inv_freq|position_ids|embed_positions\.weights|mlp\.act_fn\.(?:beta|eps)|layer_scalar)"
)
"""Tensors that some checkpoints carry and that are computed, not learned."""

SUFFIXES = {"weight": ".weight", "bias": ".bias", "correction": ".e_score_correction_bias"}
BARE_SUFFIXES = {"weight": "", "bias": "_bias", "sink": "", "scale": "", "scalar": "", "correction": ""}
"""Of a name that ends with `|` in a layout."""


class Part(NamedTuple):
    """One array of ours: the layer's place in their names ("layers.3."), our module ("mlp.up"), and the kind of tensor ("weight")."""

    name: str
    place: str
    module: str
    kind: str
    shape: tuple[int, ...]

    @property
    def is_matrix(self) -> bool:
        return self.kind == "weight" and len(self.shape) > 1 and not self.module.endswith(("norm", "convolution"))


def load_state_dict(spec: ModelSpec, state_dict: Mapping[str, Any], dtype: DTypeLike = np.float32) -> dict[str, Array]:
    """The weights of a real checkpoint, name -> torch tensor or array, as `forward` takes them; the family is told from the names.

    Arrays are copied, so the checkpoint may be dropped or changed afterwards.
    Raises GptcalcError, naming the tensor and both shapes, for a tensor that is missing, misshapen, or that the spec has no place for, and
    for an unknown family; and for a model that has a step that `forward` has not, naming the step.
    """
    if spec.unexecuted:
        raise GptcalcError(
            f"the weights of {spec.name} cannot be run here: {spec.unexecuted[0]}", hint="no count, FLOP or byte depends on it"
        )
    dtype = floating(dtype)
    names: dict[str, str] = {}  # without the prefix -> as the checkpoint has it
    for name in state_dict:
        if not BUFFERS.fullmatch(name) and names.setdefault(_bare(name), name) != name:
            raise GptcalcError(f"tensors '{names[_bare(name)]}' and '{name}' are the same part of the model")
    layout = layout_of(names, shape_of(spec))
    checkpoint = Checkpoint(layout, spec, names, state_dict)
    shapes = weight_shapes(spec)
    weights = {ours: np.array(checkpoint.take(ours, shapes), dtype=dtype, order="C") for ours in shapes}
    for ours, wanted in buffer_shapes(spec).items():
        tensor = checkpoint.take_if_there(ours, wanted)
        if tensor is not None:
            weights[ours] = np.array(tensor, dtype=dtype)
    if spec.tied:
        checkpoint.check_tied_head()
    for theirs, name in names.items():
        if theirs not in checkpoint.used:
            raise GptcalcError(f"tensor '{name}' of shape {_array(name, state_dict[name]).shape} has no place in the model")
    return weights


class Checkpoint:
    """A checkpoint read by one layout; `used` are the tensors that have been taken from it."""

    def __init__(self, layout: Layout, spec: ModelSpec, names: Mapping[str, str], tensors: Mapping[str, Any]) -> None:
        self.layout, self.spec, self.names, self.tensors = layout, spec, names, tensors
        self.shapes: dict[str, Shape[int]] = {name: shape_of(kind) for name, kind in spec.kinds.items()} or {"": shape_of(spec)}
        self.used: set[str] = set()

    def take(self, ours: str, shapes: Shapes) -> Array:
        part = self._part(ours, shapes[ours])
        for fused in self.layout.fused:
            if part.module in fused.parts and self._their(part, fused.name) in self.names:
                return self._take_fused(part, fused, ours, shapes)
        return self._adjusted(part, self._whole(part))

    def wanted(self, ours: str, shapes: Shapes) -> list[tuple[str, tuple[int, ...]]]:
        """The tensors of the checkpoint that hold one of ours, and the shapes that they must have; the usual name where it has none."""
        part = self._part(ours, shapes[ours])
        for fused in self.layout.fused:
            if part.module in fused.parts and self._their(part, fused.name) in self.names:
                return [(self._their(part, fused.name), self._stored(part, self._side_by_side(part, fused, ours, shapes)))]
        stored, candidates = self._stored(part, part.shape), self._candidates(part)
        if (part.module, part.kind) == ("mlp.router", "bias"):  # some classes learn what others keep as a correction of the scores
            candidates += self._candidates(part._replace(module="mlp.correction", kind="correction"))
        for name in candidates:
            if "{}" in name and name.format(0) in self.names:
                return [(name.format(number), stored[1:]) for number in range(stored[0])]
            if name in self.names:
                return [(name, stored)]
        return [(candidates[0] if candidates else ours, stored)]

    def _side_by_side(self, part: Part, fused: Fused, ours: str, shapes: Shapes) -> tuple[int, ...]:
        return (*part.shape[:-1], sum(self._widths(part, fused, ours, shapes)))

    @staticmethod
    def _widths(part: Part, fused: Fused, ours: str, shapes: Shapes) -> list[int]:
        stem = ours.removesuffix(f"{part.module}.{part.kind}")
        return [shapes[f"{stem}{module}.{part.kind}"][-1] for module in fused.parts]

    def take_if_there(self, ours: str, wanted: tuple[int, ...]) -> Array | None:
        part = self._part(ours, wanted)
        part = part._replace(module="mlp.correction") if part.kind == "correction" else part
        name = next((n for n in self._candidates(part) if n in self.names), None)
        return None if name is None else self._read(name, wanted)

    def check_tied_head(self) -> None:
        """A tied checkpoint may carry its head again, as the same numbers."""
        embedding = next(f"{name}.weight" for name in self.layout.modules["embedding.token"] if f"{name}.weight" in self.names)
        head = next((f"{name}.weight" for name in self.layout.modules["head.output"] if f"{name}.weight" in self.names), None)
        if head is None:
            return
        again, table = (_array(self.names[name], self.tensors[self.names[name]]) for name in (head, embedding))
        if not np.array_equal(again, table):
            shapes = f"{again.shape} and {table.shape}"
            raise GptcalcError(
                f"tensors '{self.names[head]}' and '{self.names[embedding]}' ({shapes}) differ, and the model's head is tied"
            )
        self.used.add(head)

    def _part(self, ours: str, shape: tuple[int, ...]) -> Part:
        layered = re.fullmatch(r"block[^.]*\.(\d+)\.(.*)\.(\w+)", ours)
        if layered:
            return Part(ours, f"{self.layout.block}.{layered[1]}.", layered[2], layered[3], shape)
        module, kind = ours.rsplit(".", 1)
        return Part(ours, "", module, kind, shape)

    def _their(self, part: Part, name: str) -> str:
        bare = name.endswith("|")
        return part.place + name.rstrip("|") + (BARE_SUFFIXES if bare else SUFFIXES).get(part.kind, f".{part.kind}")

    def _candidates(self, part: Part) -> list[str]:
        return [self._their(part, name) for name in self.layout.modules.get(part.module, ())]

    def _whole(self, part: Part) -> Array:
        candidates = self._candidates(part)
        if not candidates:
            raise GptcalcError(f"a checkpoint of {self.layout.family} has no tensor for '{part.name}' of shape {part.shape}")
        stored = self._stored(part, part.shape)
        for name in candidates:
            if "{}" in name and name.format(0) in self.names:
                return np.stack([self._read(name.format(head), stored[1:]) for head in range(stored[0])])
            if name in self.names:
                return self._read(name, stored)
        raise GptcalcError(f"tensor '{candidates[0]}' of shape {stored} is missing from the {self.layout.family} checkpoint")

    def _take_fused(self, part: Part, fused: Fused, ours: str, shapes: Shapes) -> Array:
        widths = self._widths(part, fused, ours, shapes)
        whole = self._read(self._their(part, fused.name), self._stored(part, (*part.shape[:-1], sum(widths))))
        kind = ours.partition(".")[0].removeprefix("block").strip()
        return fused.split(self._adjusted(part, whole), widths, self.shapes[kind])[fused.parts.index(part.module)]

    def _transposed(self, part: Part) -> bool:
        """Whether a matrix is [out, in] in the checkpoint. Embeddings never are, and the head is torch.nn.Linear in every family."""
        if part.module == "head.output":
            return part.is_matrix
        upright = (
            part.module in ("embedding.token", "embedding.position", "embedding.per_layer.token") or part.module in self.layout.upright
        )
        return part.is_matrix and self.layout.transposed and not upright

    def _stored(self, part: Part, shape: tuple[int, ...]) -> tuple[int, ...]:
        if part.module.endswith("convolution") and part.kind == "weight":
            return (shape[0], 1, shape[1])
        return (*shape[:-2], shape[-1], shape[-2]) if self._transposed(part) else shape

    def _adjusted(self, part: Part, tensor: Array) -> Array:
        if self._transposed(part):
            return tensor.swapaxes(-1, -2)
        if part.module.endswith("convolution") and part.kind == "weight":
            return tensor[:, 0]
        if self.spec.norm_weight_plus_one and part.module.endswith("norm") and part.kind == "weight":
            return tensor + 1
        return tensor

    def _read(self, theirs: str, shape: tuple[int, ...]) -> Array:
        if theirs not in self.names:
            raise GptcalcError(f"tensor '{theirs}' of shape {shape} is missing from the {self.layout.family} checkpoint")
        name = self.names[theirs]
        tensor = _array(name, self.tensors[name])
        if tensor.shape != shape:
            raise GptcalcError(f"tensor '{name}' has shape {tensor.shape}, and the model needs {shape}")
        self.used.add(theirs)
        return tensor


def _bare(name: str) -> str:
    if name == "embed_out.weight":  # GPT-NeoX's head, in files written before transformers 5
        return "lm_head.weight"
    return next((name.removeprefix(prefix) for prefix in PREFIXES if name.startswith(prefix)), name)


def layout_of(names: Mapping[str, str], s: Shape[int]) -> Layout:
    for layout in LAYOUTS:
        if layout.shared_heads not in (None, s.n_kv_head < s.n_head):
            continue
        ends = tuple(f".{name}.weight" for ours, all_ in layout.modules.items() if ours.endswith(".output") for name in all_)
        outputs = [name for name in names if name.startswith(f"{layout.block}.") and name.endswith(ends)]
        embedded = any(f"{name}.weight" in names for name in layout.modules["embedding.token"])
        if embedded and outputs and any(layout.mark in name for name in names):
            return layout
    known = ", ".join(layout.family for layout in LAYOUTS)
    raise GptcalcError("the checkpoint is of no family that gptcalc can load", hint=f"known: {known}, with transformers' names")


def _array(name: str, value: Any) -> Array:
    try:
        if hasattr(value, "detach"):  # a torch tensor; bfloat16 is unknown to NumPy
            value = value.detach().cpu()
            value = value.float() if str(value.dtype) == "torch.bfloat16" else value
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        raise GptcalcError(f"tensor '{name}' is not an array") from None
    if not np.issubdtype(array.dtype, np.floating):
        raise GptcalcError(f"tensor '{name}' of shape {array.shape} holds {array.dtype}, not floating point numbers")
    return array
