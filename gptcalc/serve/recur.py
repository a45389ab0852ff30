"""Recurrences that serve: a prompt through its chunks, or one token that reads and writes the state; and the convolutions before them.

Bounds: what has to be moved at memory's rate, what has to be computed at an attention kernel's, whichever is longer. None was measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gptcalc.serve.linear import gap
from gptcalc.serve.work import Work
from gptcalc.spec.shape import Shape
from gptcalc.symbols import product
from gptcalc.table.operation import Operation
from gptcalc.table.operations import operations
from gptcalc.table.sublayers import sublayers_of
from gptcalc.time.kernels import Kernel, most


def recurrence(work: Work, row: Operation[Any], batch: Any, seq: Any, *, decode: bool) -> tuple[Kernel, Any, Any]:
    """A kernel that reads what the projections made of each token and writes what is read out of the state; with FLOPs and bytes.

    A decode step reads every sequence's state and writes it; a prompt's stays on the chip from chunk to chunk, and is written once.
    """
    chip = work.chip
    block, label, _ = row.path.split("/", 2)
    s = dict(work.shape.blocks)[block]
    held = next(one.width(s) for one in sublayers_of(s) if label == one.LABEL)
    kept = state_bytes(s, batch, work.width)
    moved = work.width * batch * seq * held + (2 if decode else 1) * kept
    products, other = product(row.matmul) if row.matmul else 0, sum((product(term) for term in row.other), 0)
    computed = products / (chip.flash_forward * chip.peak(work.plain))
    ordinary = other / chip.peak("fp32") if chip.has("fp32") else 0.0
    seconds = most((moved / (chip.streaming * chip.bandwidth), computed + ordinary))
    what = "one token a sequence" if decode else "prompts in chunks"
    kernel = Kernel("", "", "recurrence", 0.0, seconds, gap(work, "pass"), text=f"{what}: a bound, never measured")
    return kernel, products + other, moved


def state_bytes(s: Shape[Any], batch: Any, width: int) -> Any:
    """What one layer of a kind of block keeps of `batch` sequences, however long they are."""
    kept = [kept for one in sublayers_of(s) for kept in one.state(s)]
    return sum(((4 if one.fp32 else width) * batch * one.sequence for one in kept), 0)


def convolved(work: Work, row: Operation[Any], tokens: Any) -> Any:
    """Bytes that a convolution reads and writes of so many tokens; what it keeps of a sequence is moved with the state."""
    return 2 * work.width * tokens * row.weights[0][1][0]


def rows_of(work: Work, path: str, batch: Any, seq: Any, *, decode: bool) -> Iterator[Operation[Any]]:
    """The row of a path, for so many sequences of so many tokens."""
    s = dict(work.shape.blocks)[path.split("/")[0]]
    below = path.partition("/")[2]
    for row in operations(s._replace(kinds=()), batch, seq, seq, "causal", decode=decode):
        if row.path.partition("/")[2] == below:
            yield row._replace(path=path)


def recurrent(work: Work) -> bool:
    """Whether any layer keeps a state."""
    return any(kind.mixer is not None for _, kind in work.shape.blocks)
