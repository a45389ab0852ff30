"""Kernels: laws first, then hundreds of measured ones."""

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcalc.spec.device import load_device
from gptcalc.spec.expression import evaluate
from gptcalc.spec.passes import load_passes
from gptcalc.spec.runtime import applies
from gptcalc.time.chip import Chip, chip_of
from gptcalc.time.kernels import Kernel, flash, matmul, streaming, sustained_clock

H100 = chip_of(load_device("h100"))
ROWS = [json.loads(line) for line in (Path(__file__).parent / "data" / "h100_kernels.jsonl").read_text().splitlines()[1:]]
LAUNCH = 25e-6
"""Seconds of launch in a single measured call: 20 to 30 us."""

sizes = st.integers(1, 2**15)


@given(sizes, sizes, sizes)
def test_a_matmul_never_beats_the_peak_or_the_memory(m: int, n: int, k: int) -> None:
    seconds = matmul(H100, m, n, k, "bf16").seconds(H100)
    assert seconds >= 2 * m * n * k / H100.peak("bf16")
    assert seconds >= 2 * (m * k + n * k + m * n) / H100.bandwidth


@given(sizes, sizes, sizes, st.floats(0.3, 1.0))
def test_a_lower_clock_is_never_faster(m: int, n: int, k: int, clock: float) -> None:
    kernel = matmul(H100, m, n, k, "bf16")
    assert kernel.seconds(H100, clock) >= kernel.seconds(H100)


@given(st.integers(0, 2**34), st.integers(1, 2**34))
def test_more_bytes_take_longer(n_bytes: int, more: int) -> None:
    assert streaming(H100, "pass", n_bytes + more).seconds(H100) > streaming(H100, "pass", n_bytes).seconds(H100)


@given(st.integers(1, 64), st.integers(1, 64), st.sampled_from([64, 80, 128]))
def test_attention_grows_with_the_sequence(batch: int, heads: int, width: int) -> None:
    for phase in ("forward", "backward"):
        times = [flash(H100, batch, heads, seq, width, phase).seconds(H100) for seq in (256, 512, 1024, 4096)]
        assert times == sorted(times)


def test_arrays_equal_scalars() -> None:
    m, n, k = np.array([1.0, 300.0, 8192.0]), np.array([768.0, 50304.0, 2048.0]), np.array([768.0, 4096.0, 8192.0])
    together = matmul(H100, m, n, k, "bf16").seconds(H100, 0.9)
    alone = [matmul(H100, int(a), int(b), int(c), "bf16").seconds(H100, 0.9) for a, b, c in zip(m, n, k, strict=True)]
    assert together.tolist() == pytest.approx(alone, rel=1e-12)
    bytes_ = np.array([1e5, 4e7, 1e10])
    assert streaming(H100, "cast", bytes_, bytes_ / 6).seconds(H100).tolist() == pytest.approx(
        [streaming(H100, "cast", float(b), float(b) / 6).seconds(H100) for b in bytes_]
    )


def test_an_odd_vocabulary_is_slow() -> None:
    odd = matmul(H100, 8192, 50257, 768, "bf16", aligned=False).seconds(H100)
    even = matmul(H100, 8192, 50304, 768, "bf16").seconds(H100)
    assert 5 < odd / even < 10  # measured: 7.0


@given(st.floats(0, 1e3), st.floats(0, 1e3))
def test_the_clock_keeps_within_the_power(arithmetic: float, other: float) -> None:
    f = sustained_clock(H100, arithmetic, other)
    assert 0 < f <= 1
    drawn = H100.tensor_power * f**2 * arithmetic + H100.memory_power * other
    allowed = arithmetic / f + other
    assert drawn <= allowed * (1 + 1e-9)
    assert f == 1 or drawn == pytest.approx(allowed)
    assert sustained_clock(H100, 1.0, 0.0) == pytest.approx(0.896, abs=0.001)
    assert sustained_clock(H100, 0.0, 1.0) == 1.0


def test_tiles_and_waves() -> None:
    whole = matmul(H100, 128 * 132, 256, 8192, "bf16").arithmetic
    one_more = matmul(H100, 128 * 132 + 1, 256, 8192, "bf16").arithmetic
    assert one_more > 1.05 * whole  # one row more opens another wave


def _predicted(row: dict[str, Any]) -> float:
    def bare(kernel: Kernel, clock: float = 1.0) -> float:
        return float(kernel.seconds(H100, clock) - kernel.fixed * kernel.runs)

    op, width = row["op"], {"bf16": 2, "fp32": 4, "tf32": 4}.get(row.get("type", ""), 0)
    n = row.get("elements", 0)
    if op == "matmul":
        hot = sustained_clock(H100, 1.0, 0.0) if row.get("hot") and row["type"] == "bf16" else 1.0
        aligned = row.get("aligned", row["n"] % 8 == 0)
        return bare(matmul(H100, row["m"], row["n"], row["k"], row["type"], row["operand"], aligned=aligned), hot) + LAUNCH
    if op == "batched":
        return bare(matmul(H100, row["m"], row["n"], row["k"], row["type"], batch=row["batch"])) + LAUNCH
    if op == "flash":
        return float(flash(H100, row["B"], row["H"], row["T"], row["D"], row["phase"]).seconds(H100)) + LAUNCH
    if op == "pass":
        return bare(streaming(H100, "pass", row["bytes"])) + (H100.graph_gap if row["graph"] else LAUNCH)
    if op == "adamw":
        return bare(streaming(H100, "update", 7 * width * n, n)) + LAUNCH
    if op == "layer_norm_backward":
        gradient = streaming(H100, "norm_gradient" if width == 4 else "norm_gradient_low", 2 * width * n, n)
        return bare(streaming(H100, "pass", 3 * width * n)) + bare(gradient) + LAUNCH
    passes = {
        "layer_norm_forward": 2 * width,
        "softmax_forward": 2 * width,
        "softmax_backward": 6 * width,
        "cross_entropy_forward": {2: 6, 4: 15}[width],
        "cross_entropy_backward": {2: 10, 4: 21}[width],
    }
    return bare(streaming(H100, "pass", passes[op] * n)) + LAUNCH


def test_measured_kernels() -> None:
    errors = sorted(abs(_predicted(row) * 1e6 / row["us"] - 1) for row in ROWS)
    assert len(errors) > 450
    assert statistics.median(errors) < 0.06  # 5.5 % when this was written
    assert errors[int(0.9 * len(errors))] < 0.21


@pytest.mark.parametrize(
    ("op", "limit"), [("matmul", 0.065), ("batched", 0.07), ("pass", 0.07), ("adamw", 0.04), ("cross_entropy_forward", 0.08)]
)
def test_measured_kernels_of_a_kind(op: str, limit: float) -> None:
    errors = [abs(_predicted(row) * 1e6 / row["us"] - 1) for row in ROWS if row["op"] == op]
    assert statistics.median(errors) < limit


# LLMCompass (Zhang et al. 2024, ISCA), figure 5: matmuls of an A100 SXM4 80 GB in fp16, microseconds.
A100 = [
    (2048, 12288, 12288, 2358.6),
    (8192, 12288, 12288, 8621.6),
    (8192, 2048, 2048, 281.8),
    (8192, 4096, 4096, 1021.0),
    (8192, 8192, 8192, 3961.4),
    (512, 12288, 12288, 611.8),
]


def test_large_matmuls_of_an_a100() -> None:
    a100: Chip = chip_of(load_device("a100"))
    errors = [abs(matmul(a100, m, n, k, "fp16").seconds(a100) * 1e6 / us - 1) for m, n, k, us in A100]
    assert statistics.median(errors) < 0.06
    assert max(errors) < 0.15


# Eager code under autocast reads and writes each tensor once: 4 bytes an element in fp32, 2 in 16 bits.
WIDE, HALF = 4, 2
MOVED = {
    ("residual", "forward"): [(WIDE, HALF, WIDE)],  # the stream and a branch, to the stream
    ("residual", "backward"): [(WIDE, HALF), (WIDE, WIDE, WIDE)],  # the stream's gradient, cast for the branch; two gradients' sum
    ("layernorm", "forward"): [(WIDE, WIDE), (WIDE, HALF)],  # normed; cast for the matmul
    ("layernorm", "backward"): [(HALF, WIDE), (WIDE, WIDE, WIDE), (WIDE, WIDE)],  # cast back; of the input; of weight and bias
    ("shared_input", "backward"): [(HALF, WIDE), (WIDE, WIDE, WIDE)],
    ("fused_activation", "forward"): [(HALF, HALF)],
    ("fused_activation", "backward"): [(HALF, HALF, HALF)],
}


@pytest.mark.parametrize(("piece", "phase"), MOVED)
def test_a_pass_moves_what_it_reads_and_writes(piece: str, phase: str) -> None:
    letters = dict.fromkeys(("N", "d", "F", "k"), 1) | {"w": WIDE, "c": HALF}
    passes = [one for one in load_passes("pytorch").of(piece) if one.phase == phase and applies(one.when, {"amp"})]
    assert sorted(evaluate(one.bytes, letters) for one in passes) == sorted(map(sum, MOVED[piece, phase]))
