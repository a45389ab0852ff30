"""PyTorch's caching allocator: what a request really takes, and how much is reserved beside what is allocated.

Source: pytorch/c10/cuda/CUDACachingAllocator.cpp (torch 2.11): kMinBlockSize, kSmallSize, kSmallBuffer, kLargeBuffer, kMinLargeAlloc,
kRoundLarge and should_split().
"""

from typing import Any, cast

from gptcalc.symbols import N, Symbol

MIB = 2**20
BLOCK = 512
SMALL = MIB  # requests up to here share segments of 2 MiB, and a block is handed over whole when no more than this would remain
LARGE_SEGMENT = 20 * MIB  # for requests above SMALL and below MIN_LARGE
MIN_LARGE = 10 * MIB
ROUND_LARGE = 2 * MIB  # larger requests get a segment of their own, rounded to this

CONTEXT = 768 * MIB
"""What the CUDA context takes beside the allocator: 765 to 780 MiB in 50 runs on an H100 with driver 580."""

WORKSPACE = 32 * MIB
"""cuBLAS's workspace on Hopper, for each thread that runs matmuls; a forward and a backward thread make two. torch's docs,
CUBLAS_WORKSPACE_CONFIG: 4096 KiB x 8 on compute capability 9.0."""


def taken(size: N) -> N:
    """The share of a fresh segment that one of many tensors of `size` bytes takes.

    Units: bytes.   Source: see above.

    >>> taken(30720000) / 2**20, taken(10240000) / 2**20, taken(1000)
    (30.0, 10.0, 1024)
    """
    if isinstance(size, Symbol):
        return cast(N, Symbol.letter(f"taken({size})"))
    if not isinstance(size, int):
        return cast(N, _taken_arrays(size))
    exact = -(-size // BLOCK) * BLOCK
    if exact <= SMALL:
        return cast(N, exact)
    if exact < MIN_LARGE:
        in_segment = LARGE_SEGMENT // exact
        rest = LARGE_SEGMENT - in_segment * exact
        return cast(N, LARGE_SEGMENT // in_segment if rest <= SMALL else exact)
    segment = -(-exact // ROUND_LARGE) * ROUND_LARGE
    return cast(N, segment if segment - exact <= SMALL else exact)


def _taken_arrays(size: Any) -> Any:
    import numpy as np

    exact = np.ceil(size / BLOCK) * BLOCK
    in_segment = np.maximum(np.floor(LARGE_SEGMENT / np.maximum(exact, BLOCK)), 1)
    shared = np.where(LARGE_SEGMENT - in_segment * exact <= SMALL, np.floor(LARGE_SEGMENT / in_segment), exact)
    segment = np.ceil(exact / ROUND_LARGE) * ROUND_LARGE
    alone = np.where(segment - exact <= SMALL, segment, exact)
    return np.where(exact <= SMALL, exact, np.where(exact < MIN_LARGE, shared, alone))
