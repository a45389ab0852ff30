"""The schedule of a pipeline's iteration, operation by operation: 1F1B, interleaved or not, played through from its dependencies.

p stages of v chunks, m micro-batches. Rank r warms up with p - r - 1 forward passes, or 2(p - r - 1) + (v - 1)p of chunks, then runs
one forward and one backward pass in turn (Narayanan et al. 2021, arXiv:2104.04473, 2.2). Seconds.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Span(NamedTuple):
    """One pass of one chunk of one stage."""

    stage: int
    backward: bool
    micro_batch: int
    chunk: int
    start: float
    end: float


def schedule(p: int, m: int, v: int, stages: Mapping[str, tuple[float, float]], between: float = 0.0) -> list[Span]:
    """Every pass of an iteration, with its times: `stages` holds the seconds forward and backward of the first, a middle and the last.

    Units: seconds.   Source: above.

    >>> same = {"first": (1.0, 2.0), "middle": (1.0, 2.0), "last": (1.0, 2.0)}
    >>> max(span.end for span in schedule(4, 8, 1, same))  # (m + p - 1) passes of 3 s
    33.0
    """
    left = [_order(p, m, v, rank) for rank in range(p)]
    place = [0] * p
    free = [0.0] * p
    done: dict[tuple[int, bool, int, int], float] = {}
    found: list[Span] = []
    ready = list(range(p))
    waiting: dict[tuple[int, bool, int, int], int] = {}
    while ready:
        rank = ready.pop()
        while place[rank] < len(left[rank]):
            backward, number, chunk = left[rank][place[rank]]
            needed = _before(p, v, rank, backward, number, chunk)
            if needed is not None and needed not in done:
                waiting[needed] = rank
                break
            moved = between if needed is not None and needed[0] != rank else 0.0
            start = max(free[rank], done[needed] + moved if needed is not None else 0.0)
            seconds = stages[_role(rank, p)][backward] / v
            free[rank] = start + seconds
            one = (rank, backward, number, chunk)
            done[one] = free[rank]
            found.append(Span(rank, backward, number, chunk, start, free[rank]))
            place[rank] += 1
            if one in waiting:
                ready.append(waiting.pop(one))
    return found


def _role(rank: int, p: int) -> str:
    return "first" if rank == 0 else "last" if rank == p - 1 else "middle"


def _order(p: int, m: int, v: int, rank: int) -> list[tuple[bool, int, int]]:
    """A stage's passes in order: (backward, micro-batch, chunk)."""
    total = m * v
    warm = min(total, p - rank - 1 if v == 1 else 2 * (p - rank - 1) + (v - 1) * p)
    order = [_pass(k, p, v, False) for k in range(warm)]
    for k in range(total - warm):
        order += [_pass(warm + k, p, v, False), _pass(k, p, v, True)]
    return order + [_pass(k, p, v, True) for k in range(total - warm, total)]


def _pass(k: int, p: int, v: int, backward: bool) -> tuple[bool, int, int]:
    """The k-th pass in one direction: chunks take turns of p micro-batches each."""
    if v == 1:
        return backward, k, 0
    group, inside = divmod(k, p * v)
    chunk = inside // p
    return backward, group * p + inside % p, v - 1 - chunk if backward else chunk


def _before(p: int, v: int, rank: int, backward: bool, number: int, chunk: int) -> tuple[int, bool, int, int] | None:
    """The pass that has to be over before another can start."""
    if not backward:
        if rank > 0:
            return rank - 1, False, number, chunk
        return (p - 1, False, number, chunk - 1) if chunk else None
    if rank < p - 1:
        return rank + 1, True, number, chunk
    return (0, True, number, chunk + 1) if chunk < v - 1 else (rank, False, number, chunk)
