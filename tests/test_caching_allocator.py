"""torch's caching allocator as a replay has it, and what `memory --replay` refuses; the replay itself needs torch: tests/oracle."""

import random

import pytest

from gptcalc.recording.caching import Allocator
from gptcalc.recording.replay import replay

MIB = 2**20


def test_blocks_are_rounded_and_shared() -> None:
    """Requests up to 1 MiB share segments of 2 MiB, those below 10 MiB segments of 20, larger ones their own (CUDACachingAllocator)."""
    allocator = Allocator()
    for number, size in enumerate((1, 512, 513)):
        allocator.allocate(("small", number), size)
    assert (allocator.allocated, allocator.reserved) == (512 + 512 + 1024, 2 * MIB)
    allocator.allocate(("middle", 0), 3 * MIB)
    assert allocator.reserved == 22 * MIB
    allocator.allocate(("large", 0), 19 * MIB)
    assert allocator.reserved == 42 * MIB
    assert allocator.held()["large", 0] == 20 * MIB  # 1 MiB would remain: too little to split off


def test_what_is_given_back_is_used_again() -> None:
    allocator = Allocator()
    for number in range(4):
        allocator.allocate(("block", number), 4 * MIB)
    assert allocator.reserved == 20 * MIB
    allocator.release(("block", 1))
    allocator.release(("block", 2))
    allocator.allocate(("joined", 0), 8 * MIB)  # both places together
    assert (allocator.allocated, allocator.reserved) == (16 * MIB, 20 * MIB)


@pytest.mark.law
def test_nothing_is_lost() -> None:
    """Whatever comes and goes: what is held adds up to what is allocated, within what is reserved; all given back leaves nothing."""
    draw = random.Random(5)
    for _ in range(20):
        allocator, held = Allocator(), {}
        for number in range(200):
            if held and draw.random() < 0.45:
                name = draw.choice(list(held))
                allocator.release(name)
                del held[name]
            else:
                size = int(10 ** draw.uniform(0, 8))
                allocator.allocate(("x", number), size)
                held["x", number] = size
            blocks = allocator.held()
            assert sum(blocks.values()) == allocator.allocated <= allocator.reserved
            assert all(size <= blocks[name] <= size + MIB + 512 for name, size in held.items())
        for name in held:
            allocator.release(name)
        assert allocator.allocated == 0
        assert allocator.peak.reserved == allocator.reserved


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("gpt2", {}, "a replay runs the class that a config.json names"),
        ({"n_embd": 8}, {}, "names its class by a model_type"),
    ],
)
def test_what_cannot_be_replayed_is_said(model, options, said) -> None:
    with pytest.raises(ValueError, match=said):
        replay(model, **options)
