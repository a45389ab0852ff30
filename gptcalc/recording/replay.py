"""The memory of a training step by its own code: a recorded step, replayed through torch's allocator until it repeats itself."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.footprint.allocator import CONTEXT, WORKSPACE
from gptcalc.node import Node
from gptcalc.recording.caching import Allocator, Name
from gptcalc.spec.options import check_word, whole_number
from gptcalc.spec.reading import check_mapping, read_json, read_text, shown

if TYPE_CHECKING:
    from gptcalc.recording.step import Recording
    from gptcalc.spec.device import DeviceSpec

PHASES = ("before_forward", "after_forward", "forward", "backward", "optimizer")
PRECISIONS = {
    "fp32": ("float32", None),
    "tf32": ("float32", None),
    "bf16": ("bfloat16", None),
    "fp16": ("float16", None),
    "amp-bf16": ("float32", "bfloat16"),
    "amp-fp16": ("float32", "float16"),
}
"""Types of the weights, and of what autocast computes in."""

OPTIMIZERS = ("adamw", "adamw-foreach", "sgd", "sgd-momentum")
LONGEST = 8192
RESERVED_WITHIN = 0.025
"""How far what is reserved may be from the replayed: so far lie 32 of 32 steps measured on one H100 (torch 2.11, transformers 5.17)."""


class Replayed(NamedTuple):
    """Bytes. `phases` as `memory` names them; `peak` is what stands at the fullest moment, blocks as the allocator hands them out."""

    model: str
    versions: str  # of the code
    phases: dict[str, int]
    peak: Node[int]
    reserved: int
    device: DeviceSpec | None
    inputs: dict[str, Any]

    @property
    def value(self) -> int:
        return self.peak.value

    @property
    def peak_phase(self) -> str:
        return max(PHASES, key=lambda phase: self.phases[phase])

    @property
    def interval(self) -> tuple[int, int]:
        """Of the reserved bytes; never below what is allocated."""
        return max(self.value, round(self.reserved * (1 - RESERVED_WITHIN))), round(self.reserved * (1 + RESERVED_WITHIN))

    @property
    def room(self) -> int | None:
        """Bytes of the device that the allocator can have; None without a device."""
        if self.device is None:
            return None
        return self.device.memory - (CONTEXT + 2 * WORKSPACE if self.device.cuda else 0)

    @property
    def fits(self) -> bool | None:
        return None if self.room is None else self.value <= self.room

    def to_dict(self) -> dict[str, Any]:
        result: dict[str, Any] = {"peak_allocated": self.value, "lower_bound": False, "peak_phase": self.peak_phase}
        result |= {"parts": [part.to_dict() for part in self.peak.parts], "phases": self.phases}
        result |= {"reserved_estimate": self.reserved, "reserved_interval": list(self.interval), "replayed": self.versions}
        return result if self.fits is None else result | {"device": self.inputs["device"], "fits": self.fits}


def replay(
    model: str | os.PathLike[str] | Mapping[str, Any],
    *,
    batch: int = 1,
    seq: int | None = None,
    precision: str = "amp-bf16",
    optimizer: str = "adamw",
    recompute: str = "none",
    attention_kernel: str = "flash",
    dropout: bool = False,
    device: str | None = None,
) -> Replayed:
    """What a training step of the class in transformers that a config.json names allocates and reserves on a CUDA device.

    `model`: a config.json, its folder or a mapping; B sequences of T tokens (left out: as many as it has positions, 8,192 at most).
    `recompute`: none or full, each block checkpointed.

    Units: bytes.   Raises: GptcalcError without torch and transformers, and for code that cannot run without data.
    Source: the code itself, on tensors that have a shape, a type and no data.
    """
    found = _config(model)
    _libraries()
    check_word("precision", precision, tuple(PRECISIONS))
    check_word("optimizer", optimizer, OPTIMIZERS)
    check_word("recompute", recompute, ("none", "full"))
    check_word("attention kernel", attention_kernel, ("flash", "eager"))
    config = _prepared(found, attention_kernel, dropout=dropout)
    B = whole_number("batch", batch)
    T = min(getattr(config, "max_position_embeddings", LONGEST), LONGEST) if seq is None else whole_number("seq", seq)
    chip = None
    if device is not None:
        from gptcalc.spec.device import load_device

        chip = load_device(device)
        if not chip.cuda:
            raise GptcalcError(f"{chip.name} is not a CUDA device: what its allocator does is not known", hint="leave --replay out")
    recording = _recorded(config, precision, B, T, recompute, optimizer)
    phases, peak, reserved = _replayed(recording, fused=optimizer == "adamw")
    inputs = {"batch": B, "seq": T, "precision": precision, "optimizer": optimizer, "recompute": recompute}
    inputs |= {"attention_kernel": attention_kernel, "dropout": dropout, "runtime": "transformers"}
    inputs |= {} if chip is None else {"device": chip.name}
    return Replayed(_class_of(config), _versions(), phases, peak, reserved, chip, inputs)


def _libraries() -> None:
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as missing:
        raise GptcalcError(
            f"a replay runs the model's own code, and {missing.name} is not installed", hint="pip install 'gptcalc[replay]'"
        ) from None


def _versions() -> str:
    import torch
    import transformers

    return f"transformers {transformers.__version__}, torch {torch.__version__.partition('+')[0]}"


def _config(model: str | os.PathLike[str] | Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a config.json."""
    if isinstance(model, Mapping):
        fields = check_mapping(dict(model), "mapping")
    else:
        path = os.fspath(model)
        path = os.path.join(path, "config.json") if os.path.isdir(path) else path
        if not path.endswith(".json"):
            raise GptcalcError(
                f"a replay runs the class that a config.json names: {shown(path)} is none",
                hint="give the model's config.json or its folder",
            )
        fields = check_mapping(read_json(read_text(path), shown(path)), shown(path))
    if not isinstance(fields.get("model_type"), str):
        raise GptcalcError("a config.json names its class by a model_type: this one has none")
    return fields


def _prepared(fields: dict[str, Any], kernel: str, *, dropout: bool) -> Any:
    """transformers' own record of a config, without dropout where none is asked for."""
    import transformers

    kind = fields["model_type"]
    try:
        config = transformers.AutoConfig.for_model(kind, **{name: value for name, value in fields.items() if name != "model_type"})
    except Exception as error:
        raise GptcalcError(f"transformers {transformers.__version__} does not read this config: {_brief(error)}") from None
    config._attn_implementation = "eager" if kernel == "eager" else None
    if not dropout:
        for name, value in vars(config).items():
            if "drop" in name and isinstance(value, float):
                setattr(config, name, 0.0)
    return config


def _class_of(config: Any) -> str:
    import transformers

    named = transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type, config.model_type)
    return str(named)


def _brief(error: Exception) -> str:
    """The first line of what foreign code says."""
    return (str(error).strip().partition("\n")[0] or type(error).__name__)[:200]


def _recorded(config: Any, precision: str, batch: int, seq: int, recompute: str, optimizer: str) -> Recording:
    import logging

    import torch

    from gptcalc.recording.step import record_step

    weights, computed = PRECISIONS[precision]
    logging.disable(logging.ERROR)  # of transformers, which warns of what it is asked for here
    try:
        return record_step(
            config,
            dtype=getattr(torch, weights),
            autocast=None if computed is None else getattr(torch, computed),
            batch=batch,
            seq=seq,
            recompute=recompute == "full",
            optimizer=_maker(optimizer),
        )
    except Exception as error:
        raise GptcalcError(f"{_class_of(config)} cannot be run without data: {type(error).__name__}: {_brief(error)}") from None
    finally:
        logging.disable(logging.NOTSET)


def _maker(name: str) -> Callable[[list[Any]], Any] | None:
    """torch's optimizer of a name; the fused one, which has no temporaries, runs on no tensor without data."""
    from torch.optim import SGD, AdamW

    makers: dict[str, Callable[[list[Any]], Any] | None] = {
        "adamw": None,
        "adamw-foreach": lambda parameters: AdamW(parameters, foreach=True),
        "sgd": lambda parameters: SGD(parameters, foreach=True),
        "sgd-momentum": lambda parameters: SGD(parameters, momentum=0.9, foreach=True),
    }
    return makers[name]


class _Peak(NamedTuple):
    """The fullest moment: after how many events of the second step."""

    allocated: int = 0
    at: int = -1


def _replayed(recording: Recording, *, fused: bool) -> tuple[dict[str, int], Node[int], int]:
    """Phases of the second step, what stands at its fullest moment, and the most that was reserved. Bytes."""
    from gptcalc.recording.step import BACKWARD, FORWARD, UPDATE

    allocator = _first_step(recording, fused=fused)
    phases = {"before_forward": allocator.allocated}
    names = {FORWARD: "forward", BACKWARD: "backward", UPDATE: "optimizer"}
    fullest = _Peak(allocator.allocated)
    allocator.restart()
    for at, event in enumerate(second := list(_second_step(recording))):
        if event.kind != "mark":
            _apply(allocator, event, 2)
            if allocator.allocated > fullest.allocated:
                fullest = _Peak(allocator.allocated, at)
        elif event.name in names:
            phases[names[event.name]] = allocator.peak.allocated
            if event.name == FORWARD:
                phases["after_forward"] = allocator.allocated
            reserved = allocator.peak.reserved
            allocator.restart()
    again = _first_step(recording, fused=fused)
    for event in second[: fullest.at + 1]:
        if event.kind != "mark":
            _apply(again, event, 2)
    return {name: phases[name] for name in PHASES}, _standing(recording, second, again), reserved


def _first_step(recording: Recording, *, fused: bool) -> Allocator:
    """The allocator once a first step has made the optimizer's states and given its gradients back."""
    from gptcalc.recording.step import FIRST_UPDATE

    allocator = Allocator()
    for number, size in enumerate((*recording.parameters, *recording.buffers, recording.inputs)):
        allocator.allocate(("held", number), size)
    for event in recording.events:
        if event.kind != "mark":
            _apply(allocator, event, 1)
        elif event.name == FIRST_UPDATE:
            break
    if fused:
        for number, size in enumerate(recording.parameters):
            for state, n_bytes in (("step", 4), ("first moment", size), ("second moment", size)):
                allocator.allocate((state, number), n_bytes)
    for gradient in recording.gradients:
        allocator.release((1, gradient))
    return allocator


def _second_step(recording: Recording) -> Iterator[Any]:
    """The events of a step, with the update that finds its states made."""
    from gptcalc.recording.step import BACKWARD, FIRST_UPDATE

    making = False
    for event in recording.events:
        if not making:
            yield event
        if event.kind == "mark":
            making = event.name == BACKWARD if not making else event.name != FIRST_UPDATE


def _apply(allocator: Allocator, event: Any, step: int) -> None:
    if event.kind == "allocate":
        allocator.allocate((step, event.storage), event.size)
    elif event.kind == "release":
        allocator.release((step, event.storage))
    else:
        allocator.rename((step, event.replaced), (step, event.storage))


def _standing(recording: Recording, events: list[Any], allocator: Allocator) -> Node[int]:
    """What is held, by what it is: weights, states, gradients, and the rest by the module that made it."""
    held = allocator.held()
    n_weights = len(recording.parameters)
    labels: dict[Name, str] = {(2, event.storage): _label(event) for event in events if event.kind in ("allocate", "replace")}
    found: dict[str, int] = {"weights": 0, "optimizer states": 0, "gradients": 0}
    for name, size in held.items():
        kind, number = name
        if kind == "held":
            label = "weights" if number < n_weights else "buffers and tokens"
        elif kind == 2:
            label = "gradients" if number in recording.gradients else labels[name]
        else:
            label = "optimizer states"
        found[label] = found.get(label, 0) + size
    parts = tuple(Node(label, size, "B", "recorded") for label, size in found.items() if size)
    return Node("peak", sum(part.value for part in parts), "B", "recorded", parts)


def _label(event: Any) -> str:
    """The module that made a tensor in the forward pass, its layers as one; of the backward pass and of the loss the operation."""
    if event.module:
        return "made in " + re.sub(r"\.\d+(?=\.|$)", ".*", event.module)
    return f"made by {str(event.name).removeprefix('aten::').partition('.')[0].strip('_')}"
