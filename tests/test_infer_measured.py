"""Serving: measured decode steps, prefills and rates beside predicted ones."""

import statistics

import pytest

import gptcalc as gc
from gptcalc.run.published import Replica, replicate


@pytest.fixture(scope="module")
def rows() -> list[Replica]:
    return replicate("serving")


def errors(rows: list[Replica], quantity: str) -> list[float]:
    return sorted(abs(row.error) for row in rows if row.quantity == quantity and row.error is not None)


@pytest.mark.parametrize(
    ("quantity", "count", "median", "ninth", "worst"),
    [
        ("decode_ms", 43, 0.016, 0.036, 0.08),
        ("prefill_ms", 24, 0.025, 0.07, 0.12),
        ("tokens_per_second", 26, 0.03, 0.10, 0.34),  # what was fitted on them: presets/serving/gpt-fast.yaml
    ],
)
def test_measured_servers(rows: list[Replica], quantity: str, count: int, median: float, ninth: float, worst: float) -> None:
    found = errors(rows, quantity)
    assert len(found) == count
    assert statistics.median(found) < median
    assert found[int(0.9 * (count - 1))] < ninth
    assert found[-1] < worst


def test_every_judged_row_holds(rows: list[Replica]) -> None:
    assert all(row.holds for row in rows)
    assert all(row.note for row in rows if row.tolerance is None)


def test_a_small_model_is_bound_by_its_kernels() -> None:
    """GPT-2 at batch 1 takes 0.52 ms a token: some 150 kernels of three microseconds, where its weights would take 0.09."""
    point = gc.infer("gpt2", prompt=127, output=1, precision="bf16").point
    assert point.first == pytest.approx(0.000519, rel=0.05)


# gpt-fast's README (Mixtral 8x7B), A100-80GB at 330 W, batch 1: weights, GPUs, tokens per second
MIXTRAL = [("bf16", 2, 96.67), ("bf16", 4, 155.35), ("bf16", 8, 227.82), ("int8", 1, 97.92)]
MIXTRAL += [("int8", 2, 155.03), ("int8", 4, 216.87), ("int8", 8, 279.35)]


@pytest.mark.parametrize(("precision", "count", "rate"), MIXTRAL)
def test_the_experts_that_one_token_reads(precision: str, count: int, rate: float) -> None:
    answer = gc.infer("mixtral-8x7b", device="a100-80gb", count=count, prompt=5, output=200, precision=precision)
    assert float(answer.tokens_per_second) == pytest.approx(rate, rel=0.17)
