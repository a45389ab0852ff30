"""What a process takes beside what it allocates: the allocator's unused segments, cuBLAS's workspaces, the device's context. Estimates."""

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.footprint.allocator import CONTEXT, MIB, WORKSPACE

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec

# Fitted on 44 training runs on one H100 (torch 2.11): reserved minus allocated bytes, as shares of one fp32 block of logits and of the
# trained weights. What is reserved depends on the order in which large blocks come and go, and jumps by one of the size of the logits.
LOW = (0.15, 0.08, 0)
LIKELY = (0.75, 0.3, 50 * MIB)
HIGH = (1.6, 0.65, 256 * MIB)


class Reserve(NamedTuple):
    """Bytes that the allocator reserves, allocated ones included, and what the process takes beside them; `context` None: not known."""

    low: Any
    likely: Any
    high: Any
    workspace: int = 2 * WORKSPACE
    context: int | None = CONTEXT

    @property
    def apart(self) -> int:
        """What is known to stand beside the allocator."""
        return self.workspace + (self.context or 0)


def reserve(allocated: Any, logits: Any, trained: Any, device: "DeviceSpec | None" = None) -> Reserve:
    """The interval of reserved bytes for a peak of `allocated` bytes, with one block of logits and so many bytes of trained weights.

    cuBLAS and CUDA's context stand on devices that CUDA drives alone. A CPU has no context; how much other drivers take is not known.

    Units: bytes.   Source: fitted, see above; the context's and the workspaces' sizes in `allocator`.

    >>> from gptcalc.spec.device import load_device
    >>> reserve(10**10, 0, 0).low, [reserve(0, 0, 0, load_device(name)).context for name in ("h100", "epyc-9654", "tpu-v4")]
    (10000000000, [805306368, 0, None])
    """
    low, likely, high = (allocated + _whole(share * logits + part * trained) + fixed for share, part, fixed in (LOW, LIKELY, HIGH))
    if device is None or device.cuda:
        return Reserve(low, likely, high)
    return Reserve(low, likely, high, workspace=0, context=0 if device.kind == "cpu" else None)


def _whole(size: Any) -> Any:
    return int(size) if isinstance(size, int | float) else size
