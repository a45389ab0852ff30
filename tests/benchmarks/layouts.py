"""How fast layouts are answered: milliseconds of one call, and layouts a second, one at a time and as arrays. Run on purpose:

    python tests/benchmarks/layouts.py [ROWS]

GPT-3 175B on 1,024 devices; rows are drawn over tp, pp, cp, micro-batch, virtual stages, recomputation, ZeRO and sequence parallelism,
most of them legal. CPU seconds, the least of several; an answer holds each plan's seconds, the peak of its fullest stage, its legality.
"""

import random
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import gptcalc as gc
from gptcalc.search.columns import Task, evaluate
from gptcalc.spec.cluster import cluster_for
from gptcalc.spec.device import load_device
from gptcalc.spec.files import load_model
from gptcalc.spec.recipe import Recipe
from gptcalc.spec.stack import load_stack

COUNT, GLOBAL_BATCH, LAYERS, SEQ = 1024, 1536, 96, 2048
FIXED: dict[str, Any] = {"count": COUNT, "global_batch": GLOBAL_BATCH, "stack": "megatron"}


def train(**layout: Any) -> Any:
    return gc.train("gpt3-175b", tokens="300B", device="a100-80gb", **FIXED, **layout)


def memory(**layout: Any) -> Any:
    return gc.memory("gpt3-175b", **FIXED, **layout)


def drawn(rows: int) -> dict[str, Any]:
    """Columns of layouts, some nine in ten of them legal."""
    rng = random.Random(1)
    found: list[tuple[Any, ...]] = []
    while len(found) < min(rows, 50_000):
        tp, pp, cp = rng.choice((1, 2, 4, 8, 16)), rng.choice((1, 2, 4, 8, 16, 32)), rng.choice((1, 1, 2, 4))
        chunks = [v for v in (1, 2, 3, 4, 6, 12) if v == 1 or (pp > 1 and LAYERS % (pp * v) == 0)]
        v, batch = rng.choice(chunks), rng.choice((1, 2, 3, 4, 6, 8, 12))
        pieces, rest = divmod(GLOBAL_BATCH, max(COUNT // (tp * pp * cp), 1) * batch)
        if (pieces and not rest and (v == 1 or pieces % pp == 0)) or rng.random() < 0.02:
            found.append((tp, pp, cp, batch, v))
    chosen = np.random.default_rng(1).integers(0, len(found), rows)
    names = ("tp", "pp", "cp", "batch", "virtual_stages")
    columns = {name: np.array(column)[chosen] for name, column in zip(names, zip(*found, strict=True), strict=True)}
    rng_ = np.random.default_rng(2)
    columns |= {"zero": rng_.integers(0, 4, rows), "sequence_parallel": rng_.integers(0, 2, rows) == 1}
    return columns | {"recompute": np.array(["none", "selective", "full"])[rng_.integers(0, 3, rows)]}


def plans(device: str, columns: dict[str, Any]) -> Any:
    chip = load_device(device)
    task = Task(load_model("gpt3-175b"), chip, Recipe(runtime="megatron", dropout=False), cluster_for(chip.name), load_stack("megatron"))
    return evaluate(task, columns | {"count": COUNT, "global_batch": GLOBAL_BATCH, "seq": SEQ})


def seconds(call: Callable[[], Any], times: int) -> float:
    call()
    found = []
    for _ in range(times):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return min(found)


def main(rows: int) -> None:
    one = {"tp": 8, "pp": 8}
    print(f"one train: {1e3 * seconds(lambda: train(**one), 9):.1f} ms")
    print(f"one memory: {1e3 * seconds(lambda: memory(**one), 9):.1f} ms")
    columns = drawn(rows)
    for device in ("a100-80gb", "h100-80gb"):
        spent = seconds(lambda device=device: plans(device, columns), 3)  # type: ignore[misc]
        found = plans(device, columns)
        print(f"{rows:,} rows on {device}: {spent:.2f} s, {rows / spent:,.0f} complete plans a second ({found.legal.mean():.0%} legal)")
    legal = {name: column[found.legal][:100_000] for name, column in columns.items()}
    for name, call in (("train", train), ("memory", memory)):
        fixed = {"zero", "recompute", "sequence_parallel"} if name == "memory" else {"recompute"}
        own = {key: column for key, column in legal.items() if key not in fixed}
        spent = seconds(lambda call=call, own=own: call(**own), 2)  # type: ignore[misc]
        print(f"{name} with its bills: {len(legal['tp']) / spent:,.0f} layouts a second as arrays of {len(legal['tp']):,}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
