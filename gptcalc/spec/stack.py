"""`StackSpec`: a generation of training software: its defaults, and which communication it hides under what. presets/stacks."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from gptcalc.errors import GptcalcError
from gptcalc.spec.catalogue import bundled_folder, files_by_name, files_of, is_path
from gptcalc.spec.entries import check_names, folded
from gptcalc.spec.options import check_word
from gptcalc.spec.reading import quoted, read_text, read_yaml, shown
from gptcalc.spec.recipe import check_recompute
from gptcalc.spec.record import Record, validated
from gptcalc.spec.runtime import runtime_names

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec


def _share(of: str) -> Any:
    return Field(default=0.0, ge=0, le=1, description=of)


def asked_stack(stack: str | None, runtime: str | None, device: "DeviceSpec | None") -> str | None:
    """The stack that is named or, where neither it nor a runtime is, what TPUs run: MaxText. None: the usual one of the layout."""
    return "maxtext" if stack is None and runtime is None and device is not None and device.kind == "tpu" else stack


class Overlap(Record):
    """Shares, 0 to 1, of the work named beside each that its communication can run under."""

    tensor_forward: float = _share("the matmul before or behind each tensor-parallel collective")
    tensor_backward: float = _share("the matmul of the other gradient")
    data: float = _share("the backward pass of the micro-batch whose gradients are reduced, the last")
    gather: float = _share("the compute of the blocks, where ZeRO gathers and scatters")
    pipeline: float = _share("whatever runs meanwhile: this share of the sends between stages")
    context: float = _share("attention to the keys that are there already")
    expert: float = _share("a block's compute of another micro-batch, for exchanges of experts")


def _runtime(name: str) -> str:
    check_word("runtime", name, runtime_names())
    return name


def _recompute(text: str) -> str:
    check_recompute(text)
    return text


class Defaults(Record):
    """Of the options that `train` and `memory` both take."""

    runtime: Annotated[str, AfterValidator(_runtime)] = ""
    attention_kernel: Literal["flash", "eager", "flash-1", "flash-2", "flash-3", "cudnn"] = "flash"
    recompute: Annotated[str, AfterValidator(_recompute)] = "none"
    dropout: bool = False
    sequence_parallel: bool = False
    zero: Literal[0, 1, 2, 3] = 0


def _options(given: dict[str, Any]) -> dict[str, Any]:
    return validated(Defaults, given, "").model_dump(include=set(given))


FITTED = {
    "contention": "seconds that computing loses to one second of hidden communication",
    "network_share": "share of what the cluster's network gives to collectives",
    "slices": "share that a step is longer for every doubling of the nodes or slices",
    "grouped": "share of a matmul's rate that the common matmul of experts reaches",
    "overlap.tensor_forward": "share of a matmul that hides tensor parallelism, forward",
    "overlap.tensor_backward": "share of a matmul that hides tensor parallelism, backward",
    "overlap.data": "share of the backward pass that hides the reduction of gradients",
    "overlap.gather": "share of the blocks' compute that hides gathers of weights",
    "overlap.pipeline": "share of the sends between stages that is hidden",
    "overlap.context": "share of attention that hides its ring",
    "overlap.expert": "share of a block's compute that hides exchanges of experts",
}
"""What of a stack measured steps can be fitted with, each with its meaning."""


def _fitted(given: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    for name, (low, high) in given.items():
        check_word("constant of a stack that is fitted", name, tuple(FITTED))
        if not 0 <= low < high <= 1:
            raise GptcalcError(f"fitted: {name}: bounds from {low:g} to {high:g} are none", hint="[low, high], from 0 to 1")
    return given


Bounds = Annotated[tuple[float, float], Field(strict=False)]


class StackSpec(Record):
    """A generation of training software: its defaults and what communication it hides. presets/stacks."""

    name: str
    title: str
    source: str
    defaults: Annotated[dict[str, Any], AfterValidator(_options)] = Field(default={})  # those that the file gives
    gradient_bytes: Literal[2, 4] = Field(default=4, description="bytes of one gradient where data-parallel ranks reduce it")
    year: int | None = Field(default=None, description="when it was like this")
    narrow_bytes: Literal[1, 2] = Field(
        default=2, description="bytes of an element that tensor parallelism gathers where matmuls are in 8 bits or fewer"
    )
    narrow_weight_bytes: Literal[1, 2] = Field(
        default=2, description="bytes of a weight that ZeRO gathers where matmuls are in 8 bits or fewer"
    )
    regathers: bool = Field(default=False, description="ZeRO-3 gathers weights once more for what is computed again")
    network_share: float = Field(
        default=1.0, gt=0, le=1, description="of what the cluster's network gives to collectives, the share it reaches"
    )
    slices: float = Field(default=0.0, ge=0, lt=1, description="share that a step is longer for every doubling of the nodes or slices")
    accumulation: float | None = Field(
        default=None, ge=0, description="bytes of memory traffic of a parameter and micro-batch where gradients are added up"
    )
    scatter_gather: bool = Field(
        default=False, description="between stages each tensor-parallel rank sends its part, gathered on the fast link behind"
    )
    dispatch_bytes: Literal[1, 2] | None = Field(default=None, description="bytes of an element of a token on its way to its experts")
    dispatch_nodes: int | None = Field(
        default=None, ge=1, description="the most nodes that a token goes to for its experts, once to each and copied behind"
    )
    grouped: float | None = Field(
        default=None, gt=0, le=1, description="share of a matmul's rate that the common matmul of experts reaches"
    )
    shard_in_node: bool = Field(
        default=False, description="ZeRO-3 divides over the devices of a node or slice, whose copies are kept equal once a step"
    )
    overlap: Overlap = Overlap()
    spread: float = Field(default=0.25, gt=0, lt=1, description="the time of a step is expected within this share")
    measured_on: tuple[str, ...] = Field(default=(), strict=False, description="the devices that published steps were compared on")
    compared: tuple[Literal["dense", "experts", "latent"], ...] = Field(
        default=(), strict=False, description="where its runtime is ideal, the kinds of model that published steps came near it with"
    )
    contention: float = Field(default=0.0, ge=0, le=1, description="seconds that computing loses to one second of hidden communication")
    fitted: Annotated[dict[str, Bounds], AfterValidator(_fitted)] = Field(
        default={}, description="what `calibrate` may move, and between which bounds"
    )
    notes: tuple[str, ...] = Field(default=(), strict=False)


ZERO = "its ZeRO is --zero 1, 2 or 3 with any stack"
ELSEWHERE = {"deepspeed": ZERO, "zero": ZERO, "colossal-ai": ZERO, "accelerate": "it runs ddp, fsdp or DeepSpeed's ZeRO (--zero 1, 2 or 3)"}
"""Software that is known here under another option or name."""


def load_stack(name: "str | StackSpec") -> StackSpec:
    """The stack of a name, or of a file; one that is there already as it is.

    Raises GptcalcError for a name that no file has, and for a malformed file.

    >>> load_stack("megatron-2021").overlap.tensor_backward
    0.0
    """
    if isinstance(name, StackSpec):
        return name
    if isinstance(name, str) and is_path(name):
        return _stack(folded(Path(name).stem), read_text(name), Path(name))
    files = files_by_name("stacks")
    if isinstance(name, str) and folded(name) in ELSEWHERE:
        raise GptcalcError(f"no stack {quoted(name)}", hint=f"{ELSEWHERE[folded(name)]}; stacks: {', '.join(files)}")
    check_word("stack", folded(name) if isinstance(name, str) else name, files)
    return _stack(folded(name), read_text(files[folded(name)]), files[folded(name)])


def all_stacks() -> list[StackSpec]:
    """Every stack of the catalogue, by name.

    Raises GptcalcError for a file that is malformed or has the name of another.
    """
    check_names((path.stem, path) for path in files_of("stacks"))
    return [load_stack(name) for name in stack_names()]


def stack_names() -> tuple[str, ...]:
    """The stacks there are files for."""
    return tuple(files_by_name("stacks"))


@functools.lru_cache(maxsize=64)
def _stack(name: str, text: str, path: Path) -> StackSpec:
    """The stack of a file's text: kept, since every run on several devices asks for one."""
    stack = validated(StackSpec, {"name": name, **read_yaml(text, shown(path))}, shown(path))
    if path.is_relative_to(bundled_folder()):
        return stack
    from gptcalc.spec.device import load_device

    try:
        return stack.model_copy(update={"measured_on": tuple(load_device(one).name for one in stack.measured_on)})
    except GptcalcError as error:
        raise GptcalcError(f"{shown(path)}: measured_on: {error}", hint=error.hint) from None
