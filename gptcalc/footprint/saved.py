"""What autograd keeps of a forward pass for the backward pass, tensor by tensor: the `keeps` column of a runtime.

B sequences of T tokens; the other letters are in `spec.shape`. On one of several tensor-parallel ranks H, K, F and V are the rank's own.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.spec.expression import evaluate
from gptcalc.spec.recipe import Precision
from gptcalc.spec.runtime import applies
from gptcalc.symbols import product

if TYPE_CHECKING:
    from gptcalc.spec.runtime import Implementation, RuntimeOperation, Tensor

FIXED = {"fp32": 4, "int64": 8, "int32": 4, "byte": 1}


class Setting(NamedTuple):
    """What turns a runtime's text into numbers: the letters' values, the bytes of the types, the conditions that hold."""

    letters: Mapping[str, Any]
    precision: Precision
    tags: frozenset[str]
    frozen: tuple[str, ...] = ()  # paths whose weights are not trained
    packed: frozenset[str] = frozenset()  # operations whose weights are packed in 4 bits, and unpacked again for each matmul
    selective: bool = False  # the attention core is computed again


class Saved(NamedTuple):
    """`count` tensors of one shape, kept by one run of an operation; `bytes` are those of all of them, storages whole."""

    path: str
    module: str
    shape: tuple[Any, ...]
    type: str
    element: int
    count: Any
    bytes: Any
    tensor: "Tensor"


def within(path: str, starts: tuple[str, ...]) -> bool:
    """Whether a path is one of `starts` or lies below one, whole segments only; "block" is every kind of block, "" everything.

    >>> within("block/mlp/up", ("block/mlp",)), within("block/mlp/up", ("blo",)), within("head/output", ("",))
    (True, False, True)
    """
    return any(not start or path == start or path.startswith((f"{start}/", f"{start} ")) for start in starts)


def width(type_: str, precision: Precision) -> int:
    """Bytes of one element.

    >>> from gptcalc.spec.recipe import PRECISIONS
    >>> width("stored", PRECISIONS["amp-bf16"]), width("compute", PRECISIONS["amp-bf16"]), width("int64", PRECISIONS["fp32"])
    (4, 2, 8)
    """
    return FIXED.get(type_) or int(getattr(precision, type_))


def n_bytes(tensors: "Iterable[Tensor]", setting: Setting) -> Any:
    """The bytes of those of some tensors whose condition holds.

    Units: bytes.
    """
    return sum(tensor_bytes(tensor, setting) for tensor in tensors if applies(tensor.when, setting.tags))


def tensor_bytes(tensor: "Tensor", setting: Setting) -> Any:
    """The bytes of a tensor's storage, of each of its count."""
    shape = tensor.storage or tensor.shape
    factors = (evaluate(size, setting.letters) for size in (tensor.count, *shape))
    return product((width(tensor.type, setting.precision), *factors))


def is_frozen(path: str, operation: "RuntimeOperation", setting: Setting) -> bool:
    """Whether an operation has a weight that is not trained."""
    return any(within(row, setting.frozen) for row in (operation.covers or (path,)))


def kept(path: str, operation: "RuntimeOperation", setting: Setting) -> Iterator[Saved]:
    """What one run of an operation keeps: of a packed weight it keeps no copy, of a frozen one nothing for its gradient.

    Source: bitsandbytes, MatMul4Bit: the packed weight is kept, and unpacked again in the backward pass.
    """
    frozen = is_frozen(path, operation, setting)
    for tensor in operation.keeps:
        if not applies(tensor.when, setting.tags) or (frozen and tensor.for_weight) or (setting.selective and tensor.core):
            continue
        if tensor.copy_of_weight and path in setting.packed:
            continue
        shape = tuple(evaluate(size, setting.letters) for size in tensor.shape)
        count = evaluate(tensor.count, setting.letters)
        element = width(tensor.type, setting.precision)
        size = product((element, count, *shape)) if tensor.storage is None else tensor_bytes(tensor, setting)
        yield Saved(path, operation.module, shape, tensor.type, element, count, size, tensor)


def inventory(implementation: "Implementation", setting: Setting, *, recompute: bool = False) -> list[tuple[Saved, bool]]:
    """Everything kept of one forward pass, in order; with each, whether every layer keeps it.

    With `recompute` each block keeps its checkpoint only.

    Units: bytes.   Source: the runtime's.
    """
    found: list[tuple[Saved, bool]] = []
    seen = False
    for path, operation in implementation.operations.items():
        block = path.startswith("block")
        if block and recompute:
            found += [] if seen else [(saved, not saved.tensor.once) for saved in checkpointed(implementation, setting)]
            seen = True
            continue
        found += [(saved, block and not saved.tensor.once) for saved in kept(path, operation, setting)]
    return found


def checkpointed(implementation: "Implementation", setting: Setting) -> list[Saved]:
    """What one block keeps where it is recomputed; `once`: what all blocks keep together."""
    from gptcalc.spec.runtime import RuntimeOperation

    checkpoint = implementation.checkpoint
    operation = RuntimeOperation(covers=(), module=checkpoint.module, keeps=checkpoint.keeps)
    return list(kept("block/checkpoint", operation, setting))
