"""Serving: measured decode steps and prefills beside predicted ones."""

import statistics

import pytest
from measured import LLAMA, rows

import gptcalc as gc
from gptcalc.spec.catalogue import names
from gptcalc.spec.model import ModelSpec, parse_model

H100 = rows("h100_inference.jsonl")
GPT_FAST = rows("gpt_fast.jsonl")
MODELS = {
    "Llama-2-7B": "llama2-7b",
    "Llama-2-70B": "llama2-70b",
    "Llama-3.1-8B": "llama3.1-8b",
    "Llama-3.1-70B": "llama3.1-70b",
    "Llama-3.1-405B": "llama3.1-405b",
}
WEIGHTS = {"bf16": {"precision": "bf16"}, "8-bit": {"precision": "int8"}, "4-bit (G=32)": {"precision": "int4", "group_size": 32}}
DEVICES = {"A100-80GB": "a100-80gb", "MI250X (1 GCD)": "mi250x"}


def decoder(row: dict) -> ModelSpec:
    """The nearest kin of the measured decoder, which has no positions and no biases: GPT-2's, or Llama's where it is gated."""
    s = row["shape"]
    fields = {"name": row["model"], "n_layer": s["n_layer"], "d_model": s["d_model"], "n_head": s["n_head"], "d_ff": s["d_ff"]}
    fields |= {"vocab_size": s["vocab"], "n_ctx": 8192, "tied": True}
    return parse_model(fields | (LLAMA | {"n_kv_head": s["n_kv_head"]} if s["gated"] else {}))


def errors(phase: str) -> list[float]:
    found = []
    for row in H100:
        if row["phase"] == phase:
            prompt = row["context"] - (phase == "decode")
            point = gc.infer(decoder(row), batch=row["batch"], prompt=prompt, output=1, precision="bf16").point
            found.append(1e3 * float(point.first if phase == "decode" else point.prefill_time) / row["ms"] - 1)
    return sorted(map(abs, found))


@pytest.mark.parametrize(
    ("phase", "count", "median", "ninth", "worst"), [("decode", 43, 0.02, 0.045, 0.08), ("prefill", 24, 0.025, 0.07, 0.11)]
)
def test_measured_on_an_h100(phase: str, count: int, median: float, ninth: float, worst: float) -> None:
    found = errors(phase)
    assert len(found) == count
    assert statistics.median(found) < median
    assert found[int(0.9 * (len(found) - 1))] < ninth
    assert found[-1] < worst


def test_a_small_model_is_bound_by_its_kernels() -> None:
    """GPT-2 at batch 1 takes 0.52 ms a token: some 150 kernels of three microseconds, where its weights would take 0.09."""
    point = gc.infer("gpt2", prompt=127, output=1, precision="bf16").point
    assert point.first == pytest.approx(0.000519, rel=0.05)


def test_gpt_fast() -> None:
    """Batch 1, 200 tokens after a prompt of 5, on A100s at 330 W and an MI250X; the constants are an H100's."""
    found = []
    for row in GPT_FAST:
        if row["model"] in MODELS and row["prompt"]:
            options = {"device": DEVICES[row["gpu"]], "count": row["tp"], "prompt": row["prompt"], "output": 200}
            rate = gc.infer(MODELS[row["model"]], **options, **WEIGHTS[row["weights"]]).tokens_per_second
            found.append(abs(float(rate) / row["tokens_per_s"] - 1))
    assert len(found) == 26
    assert statistics.median(found) < 0.05
    assert sorted(found)[int(0.9 * 25)] < 0.17
    assert max(found) < 0.32  # Llama-3.1-70B on two devices, which is measured at 72 % of the same width's Llama-2-70B


def test_the_experts_that_one_token_reads() -> None:
    """Mixtral-8x7B, two of eight experts a token."""
    if "mixtral-8x7b" not in names():
        pytest.skip("no preset with experts")
    found = []
    for row in GPT_FAST:
        if row["model"] == "Mixtral-8x7B":
            weights = "bf16" if row["weights"].startswith("baseline") else "int8"
            answer = gc.infer("mixtral-8x7b", device="a100-80gb", count=row["tp"], prompt=5, output=200, precision=weights)
            found.append(abs(float(answer.tokens_per_second) / row["tokens_per_s"] - 1))
    assert len(found) == 7
    assert max(found) < 0.15
