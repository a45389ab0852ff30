"""PyTorch's caching allocator, block by block: what each request takes of which segment, what is merged when it is given back.

Source: pytorch/c10/cuda/CUDACachingAllocator.cpp (torch 2.11): round_size, get_pool, get_allocation_size, should_split, try_merge_blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gptcalc.footprint.allocator import BLOCK, LARGE_SEGMENT, MIN_LARGE, ROUND_LARGE, SMALL

SMALL_SEGMENT = 2 * SMALL

Name = tuple[int | str, int]
"""Of what holds a block: the step or the kind, and a number."""


@dataclass(eq=False)
class Block:
    """Bytes of a segment, between the blocks beside it."""

    size: int
    place: tuple[int, int]  # its segment and where in it: of free blocks of one size the first is taken
    small: bool
    before: Block | None = None
    after: Block | None = None
    free: bool = True


class Peak(NamedTuple):
    """Bytes."""

    allocated: int
    reserved: int


class Allocator:
    """What is allocated and reserved while requests come and go, and the most of both since `restart`.

    >>> allocator = Allocator()
    >>> allocator.allocate(("logits", 1), 9 * 2**20)
    >>> allocator.allocate(("loss", 1), 4)
    >>> allocator.allocated, allocator.reserved == LARGE_SEGMENT + SMALL_SEGMENT
    (9437696, True)
    """

    def __init__(self) -> None:
        self.allocated = 0
        self.reserved = 0
        self.peak = Peak(0, 0)
        self._held: dict[Name, Block] = {}
        self._free: dict[bool, list[Block]] = {True: [], False: []}
        self._segments = 0

    def allocate(self, name: Name, size: int) -> None:
        """Units: bytes. Nothing is taken for nothing."""
        if size == 0:
            return
        size = -(-size // BLOCK) * BLOCK
        small = size <= SMALL
        fitting = [block for block in self._free[small] if block.size >= size]
        if fitting:
            block = min(fitting, key=lambda block: (block.size, block.place))
            self._free[small].remove(block)
        else:
            block = self._segment(size, small)
        rest = block.size - size
        if rest >= BLOCK if small else rest > SMALL:
            self._split(block, size)
        block.free = False
        self._held[name] = block
        self.allocated += block.size
        self.peak = Peak(max(self.peak.allocated, self.allocated), max(self.peak.reserved, self.reserved))

    def release(self, name: Name) -> None:
        """What was never allocated is no loss."""
        block = self._held.pop(name, None)
        if block is None:
            return
        self.allocated -= block.size
        block.free = True
        for beside in (block.before, block.after):
            if beside is not None and beside.free:
                self._free[block.small].remove(beside)
                block = _merged(beside, block) if beside is block.before else _merged(block, beside)
        self._free[block.small].append(block)

    def restart(self) -> None:
        """Peaks from here on."""
        self.peak = Peak(self.allocated, self.reserved)

    def rename(self, name: Name, to: Name) -> None:
        """A block's next owner."""
        if name in self._held:
            self._held[to] = self._held.pop(name)

    def held(self) -> dict[Name, int]:
        """Bytes of the block of each name."""
        return {name: block.size for name, block in self._held.items()}

    def _segment(self, size: int, small: bool) -> Block:
        whole = SMALL_SEGMENT if small else LARGE_SEGMENT if size < MIN_LARGE else -(-size // ROUND_LARGE) * ROUND_LARGE
        self.reserved += whole
        self._segments += 1
        return Block(whole, (self._segments, 0), small)

    def _split(self, block: Block, size: int) -> None:
        segment, start = block.place
        rest = Block(block.size - size, (segment, start + size), block.small, before=block, after=block.after)
        if block.after is not None:
            block.after.before = rest
        block.after, block.size = rest, size
        self._free[block.small].append(rest)


def _merged(first: Block, second: Block) -> Block:
    first.size += second.size
    first.after = second.after
    if second.after is not None:
        second.after.before = first
    return first
