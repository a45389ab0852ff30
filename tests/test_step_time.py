"""The time of a training step: laws first, then every measured step."""

import statistics
from typing import Any

import numpy as np
import pytest
from bills import parts_add_up

import gptcalc as gc
from gptcalc.run.published import Replica, replicate
from gptcalc.spec.measured import all_steps
from gptcalc.spec.passes import load_passes
from gptcalc.spec.recipe import OPTIMIZERS
from gptcalc.spec.runtime import load_runtime, runtime_names

GPT2: dict[str, Any] = {"tokens": "1B", "batch": 8, "seq": 1024}


def step(model: str = "gpt2", **options: Any) -> Any:
    return gc.train(model, **(GPT2 | options)).step_time


@pytest.mark.parametrize("runtime", runtime_names())
@pytest.mark.parametrize("recompute", ["none", "selective", "full", "every-2"])
def test_parts_add_up(runtime: str, recompute: str) -> None:
    run = gc.train("gpt2", runtime=runtime, recompute=recompute, global_batch=32, **GPT2)
    parts_add_up(run.parts)
    assert run.parts.value == run.step_time
    assert sum(one["share"] for one in run.kernels) == pytest.approx(1)


@pytest.mark.parametrize("runtime", runtime_names())
def test_every_piece_that_a_runtime_names_is_there(runtime: str) -> None:
    spec = load_runtime(runtime)
    pieces = load_passes(spec.kernels)
    for implementation in spec.implementations.values():
        for path, operation in implementation.operations.items():
            assert operation.pieces, path
            for piece in operation.pieces:
                pieces.of(piece)
    assert set(pieces.optimizers) == set(OPTIMIZERS)


def test_arrays_equal_scalars() -> None:
    batches = [1, 2, 8, 64]
    for options in ({}, {"runtime": "nanogpt"}, {"recompute": "full"}, {"attention_kernel": "eager"}, {"precision": "tf32"}):
        together = step(batch=np.array(batches, dtype=float), **options)
        assert together.tolist() == pytest.approx([step(batch=n, **options) for n in batches], rel=1e-9)


def test_arrays_of_sequence_lengths() -> None:
    lengths = [128, 512, 1000, 1024]
    run = gc.train("gpt2", tokens="1B", batch=8, seq=np.array(lengths, dtype=float), recompute="selective")
    alone = [gc.train("gpt2", tokens="1B", batch=8, seq=n, recompute="selective") for n in lengths]
    assert run.step_time.tolist() == pytest.approx([one.step_time for one in alone])
    assert run.hfu.tolist() == pytest.approx([one.hfu for one in alone])
    assert run.mfu.tolist() == pytest.approx([one.mfu for one in alone])


def test_more_work_takes_longer() -> None:
    times = [step(batch=n) for n in (1, 4, 8, 16, 64)]
    assert times == sorted(times)
    assert step(seq=512) < step(seq=1024)
    assert step("gpt2") < step("gpt2-medium") < step("gpt2-large") < step("gpt2-xl")
    assert step(recompute="none") < step(recompute="selective") < step(recompute="full")
    assert step(recompute="none") < step(recompute="every-3") < step(recompute="full")


def test_runtimes_and_precisions_are_ordered_as_measured() -> None:
    eager, fused = step(runtime="transformers"), step(runtime="nanogpt")
    assert step(runtime="ideal") < step(runtime="nanogpt", compiled=True) < fused < eager
    assert step(precision="bf16") < step(precision="amp-bf16") < step(precision="tf32") < step(precision="fp32")
    assert step(optimizer="sgd") < step(optimizer="sgd-momentum") < step(optimizer="adamw-foreach")
    assert step(attention_kernel="flash") < step(attention_kernel="eager")


def test_optimizers_that_do_more_take_longer() -> None:
    times = [
        gc.train("gpt2-xl", optimizer=name, **GPT2).parts["optimizer"].value for name in ("sgd", "lion", "adamw", "adamw-foreach", "muon")
    ]
    assert times == sorted(times)


def test_a_model_without_code_here_runs_as_ideal_and_says_so() -> None:
    run = gc.train("gptj-6b", tokens="1B", batch=1, seq=2048)
    assert run.inputs["runtime"] == "ideal"
    assert any("lower bound" in note for note in run.notes)


def test_a_micro_batch_more_costs_its_passes_and_the_sum_of_gradients() -> None:
    one, two, three = (step(global_batch=8 * n) for n in (1, 2, 3))
    assert three - two == pytest.approx(two - one)
    assert two < 2 * one  # one optimizer step for both


def test_small_batches_wait_for_the_processor() -> None:
    run = gc.train("gpt2", tokens="1B", batch=1, seq=128, runtime="transformers")
    assert run.parts["waiting for the processor"].value > 0.5 * run.step_time
    assert step(batch=1, seq=128, compiled=True) < 0.5 * run.step_time


def test_memory_bandwidth_is_what_an_h200_adds() -> None:
    h100, h200 = (gc.train("gpt2-xl", device=name, runtime="transformers", **GPT2) for name in ("h100", "h200"))
    assert 0.7 < h200.step_time / h100.step_time < 0.9
    assert (h100.calibrated, h200.calibrated) == (True, False)
    assert any("uncalibrated" in note for note in h200.notes)
    matmul = {run.device: next(one["time"] for one in run.kernels if one["kind"] == "matmul") for run in (h100, h200)}
    assert matmul["h200"] == pytest.approx(matmul["h100-80gb"], rel=0.1)


def test_the_headline_step() -> None:
    """Measured: 26.8 ms."""
    run = gc.train("gpt2", tokens="10B", device="h100-80gb", batch=8, seq=1024, precision="amp-bf16", runtime="nanogpt")
    assert run.step_time == pytest.approx(26.8e-3, rel=0.04)
    assert run.hfu == run.mfu


# Every measured step.
STEPS = replicate("steps")
MEASURED = list(zip(all_steps(), STEPS, strict=True))


@pytest.mark.parametrize("row", STEPS, ids=lambda row: row.title)
def test_measured_step(row: Replica) -> None:
    assert row.holds


def test_errors_of_measured_steps() -> None:
    errors = sorted(abs(row.error) for one, row in MEASURED if one.milliseconds > 25 and one.tolerance < 0.2 and row.error is not None)
    assert len(errors) == 41
    assert statistics.median(errors) < 0.022
    assert errors[int(0.9 * len(errors))] < 0.045
    assert errors[-1] < 0.095


def test_errors_of_steps_that_nothing_was_fitted_on() -> None:
    errors = [abs(row.error) for one, row in MEASURED if not one.fitted and row.error is not None]
    assert len(errors) == 2
    assert max(errors) < 0.07


# FlashAttention, training/README.md: GPT-3's models on eight A100 80 GB, tokens a second of all, communication included.
@pytest.mark.parametrize(
    ("model", "tokens_per_second"),
    [("gpt3-125m", 1_310_000), ("gpt3-350m", 503_000), ("gpt3-760m", 245_000), ("gpt3-1.3b", 169_000), ("gpt3-2.7b", 85_000)],
)
def test_one_a100_beside_an_eighth_of_eight(model: str, tokens_per_second: float) -> None:
    batch = 8 if model in ("gpt3-125m", "gpt3-350m") else 4
    run = gc.train(model, tokens="1B", device="a100-80gb", batch=batch, seq=2048, global_batch=32, runtime="megatron")
    # one device alone waits for no other and sends nothing: faster than an eighth of eight (those are in test_cluster.py)
    assert run.tokens_per_second * 8 / tokens_per_second == pytest.approx(1.08, abs=0.08)


@pytest.mark.parametrize("device", ["epyc-9654", "apple-m2", "mi300x", "gaudi3", "trn2"])
def test_no_chip_but_nvidias_pays_for_cublas_alignment(device) -> None:
    odd, even = (gc.train(gc.model("gpt2", {"vocab_size": V}), tokens="1B", device=device, batch=8) for V in (50257, 50304))
    assert odd.step_time == pytest.approx(even.step_time, rel=0.01)
    assert not any("unaligned" in one["kind"] for one in odd.kernels)
