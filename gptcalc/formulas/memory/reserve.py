"""What a process takes beside what it allocates: the allocator's unused segments, cuBLAS's workspaces, the device's context. Estimates."""

from typing import Any, NamedTuple

from gptcalc.formulas.memory.allocator import CONTEXT, MIB, WORKSPACE

# Fitted on 44 training runs on one H100 (torch 2.11): reserved minus allocated bytes, as shares of one fp32 block of logits and of the
# weights. What is reserved depends on the order in which large blocks come and go, and jumps by one of the size of the logits.
LOW = (0.15, 0.08, 0)
LIKELY = (0.75, 0.3, 50 * MIB)
HIGH = (1.6, 0.65, 256 * MIB)


class Reserve(NamedTuple):
    """Bytes that the allocator reserves, allocated ones included, and what the process takes beside them."""

    low: Any
    likely: Any
    high: Any
    workspace: int = 2 * WORKSPACE
    context: int = CONTEXT

    @property
    def apart(self) -> int:
        return self.workspace + self.context


def reserve(allocated: Any, logits: Any, weights: Any, *, cuda: bool = True) -> Reserve:
    """The interval of reserved bytes for a peak of `allocated` bytes; context and workspaces are CUDA's, others' are not known.

    Units: bytes.   Source: fitted, see above; the context's and the workspaces' sizes in `allocator`.

    >>> reserve(10**10, 0, 0).low
    10000000000
    """
    amounts = [allocated + _whole(share * logits + part * weights) + fixed for share, part, fixed in (LOW, LIKELY, HIGH)]
    return Reserve(*amounts) if cuda else Reserve(*amounts, workspace=0, context=0)


def _whole(size: Any) -> Any:
    return int(size) if isinstance(size, int | float) else size
