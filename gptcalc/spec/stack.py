"""`StackSpec`: a generation of training software: its defaults, and which communication it hides under what. presets/stacks."""

import functools
from typing import Any, Literal

from pydantic import Field, ValidationError

from gptcalc.errors import GptcalcError
from gptcalc.spec.catalogue import bundled_folder, folded
from gptcalc.spec.model import Record
from gptcalc.spec.options import check_word
from gptcalc.spec.reading import read_text, read_yaml, shown


class Overlap(Record):
    """Shares, 0 to 1, of the work named beside each that its communication can run under."""

    tensor_forward: float = Field(default=0.0, ge=0, le=1)  # the matmul before or behind each tensor-parallel collective
    tensor_backward: float = Field(default=0.0, ge=0, le=1)  # the other gradient's matmul
    data: float = Field(default=0.0, ge=0, le=1)  # the last micro-batch's backward pass
    gather: float = Field(default=0.0, ge=0, le=1)  # the next block's compute, for ZeRO's weights
    pipeline: float = Field(default=0.0, ge=0, le=1)  # of the sends between stages themselves
    context: float = Field(default=0.0, ge=0, le=1)  # attention of the keys that are there already
    expert: float = Field(default=0.0, ge=0, le=1)  # a block's compute, of another micro-batch, for exchanges of experts


class StackSpec(Record):
    name: str
    title: str
    source: str
    defaults: dict[str, Any] = Field(default={})
    gradient_bytes: Literal[2, 4] = 4  # of one gradient in data parallel reduction
    accumulation: float | None = None  # bytes of memory traffic a parameter and micro-batch; None: the runtime's own
    scatter_gather: bool = False  # between stages each tensor-parallel rank sends its part, gathered on the fast link behind
    reduce_each: bool = False  # gradients are reduced after every micro-batch, not once a step
    dispatch_bytes: Literal[1, 2] | None = None  # of an element on its way to its experts; None: as it is computed with
    dispatch_nodes: int | None = Field(default=None, ge=1)  # a token crosses to so many nodes at most, once to each; None: every copy does
    shard_in_node: bool = False  # ZeRO-3 divides over the devices of a node or slice, whose copies are kept equal once a step
    overlap: Overlap = Overlap()
    spread: float = Field(default=0.25, gt=0, lt=1)  # a step's time is expected within this share, on the devices in measured_on
    measured_on: tuple[str, ...] = Field(default=(), strict=False)
    contention: float = Field(default=0.0, ge=0, le=1)  # seconds that computing loses to a second of hidden communication
    notes: tuple[str, ...] = Field(default=(), strict=False)


def load_stack(name: str) -> StackSpec:
    """The stack of a name.

    Raises GptcalcError for a name that no file has, and for a malformed file.

    >>> load_stack("megatron-2021").overlap.tensor_backward
    0.0
    """
    check_word("stack", folded(name) if isinstance(name, str) else name, stack_names())
    return _stack(folded(name))


@functools.cache
def _stack(wanted: str) -> StackSpec:
    path = bundled_folder() / "stacks" / f"{wanted}.yaml"
    try:
        return StackSpec.model_validate({"name": wanted, **read_yaml(read_text(path), shown(path))})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise GptcalcError(f"{shown(path)}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def stack_names() -> tuple[str, ...]:
    """The stacks there are files for."""
    return tuple(sorted(path.stem for path in (bundled_folder() / "stacks").glob("*.yaml")))
