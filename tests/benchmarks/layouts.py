"""How fast layouts are answered: milliseconds of one call, and layouts a second, one at a time and as arrays. Run on purpose:

    python tests/benchmarks/layouts.py [PLACES]

GPT-3 175B on 1,024 A100, drawn over tp, pp, micro-batch, virtual stages, ZeRO and sequence parallelism; CPU seconds, the least of several.
"""

import random
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import gptcalc as gc

COUNT, GLOBAL_BATCH, LAYERS = 1024, 1536, 96
FIXED: dict[str, Any] = {"count": COUNT, "global_batch": GLOBAL_BATCH, "recompute": "full", "stack": "megatron-2021"}


def train(**layout: Any) -> Any:
    return gc.train("gpt3-175b", tokens="300B", device="a100-80gb", **FIXED, **layout)


def memory(**layout: Any) -> Any:
    return gc.memory("gpt3-175b", **FIXED, **layout)


def drawn(places: int) -> list[dict[str, Any]]:
    """Legal layouts."""
    rng = random.Random(1)
    found: list[dict[str, Any]] = []
    while len(found) < places:
        tp, pp, batch = rng.choice((1, 2, 4, 8)), rng.choice((1, 2, 4, 8, 16)), rng.choice((1, 2, 3, 4, 6, 8))
        chunks = [v for v in (1, 2, 3, 4, 6) if v == 1 or (pp > 1 and LAYERS % (pp * v) == 0)]
        pieces, rest = divmod(GLOBAL_BATCH, COUNT // (tp * pp) * batch)
        v = rng.choice(chunks)
        if pieces and not rest and (v == 1 or pieces % pp == 0):
            found.append({"tp": tp, "pp": pp, "batch": batch, "virtual_stages": v})
    return found


def seconds(call: Callable[[], Any], times: int) -> float:
    call()
    found = []
    for _ in range(times):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return min(found)


def main(places: int) -> None:
    one = {"tp": 8, "pp": 8}
    print(f"one train: {1e3 * seconds(lambda: train(**one), 9):.1f} ms")
    print(f"one memory: {1e3 * seconds(lambda: memory(**one), 9):.1f} ms")
    print(f"one memory with a verdict: {1e3 * seconds(lambda: memory(**one, device='a100-80gb'), 9):.1f} ms")
    layouts = drawn(places)
    arrays = {name: np.array([layout[name] for layout in layouts]) for name in layouts[0]}
    rng = np.random.default_rng(1)
    choices = {"zero": rng.integers(0, 4, places), "sequence_parallel": rng.integers(0, 2, places) == 1}
    different = len(set(zip(*(array.tolist() for array in (*arrays.values(), *choices.values())), strict=True)))
    for name, call, own in (("train", train, arrays | choices), ("memory", memory, arrays)):
        alone = layouts[:20]
        each = seconds(lambda: [call(**layout) for layout in alone], 3) / len(alone)  # noqa: B023 - called at once
        together = seconds(lambda: call(**own), 3)  # noqa: B023
        print(f"{name}: {1 / each:,.0f} layouts a second one at a time, {places / together:,.0f} as arrays of {places:,}")
    print(f"(of train's arrays {different:,} places differ)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
