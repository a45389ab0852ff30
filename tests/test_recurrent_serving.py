"""Serving recurrent models: what a step must move at least, what the interval says of it, and servers under load."""

from typing import Any

import pytest
from test_mixers import QWEN36_27B, built

import gptcalc as gc

BANDWIDTH = 3.35e12
"""bytes/s of an H100 SXM (NVIDIA's datasheet)."""

STATE = 48 * 48 * 128 * 128 * 4
"""bytes of a sequence: 48 layers, 48 heads, 128 x 128 in fp32."""

MAMBA2: dict[str, Any] = {
    **{"model_type": "mamba2", "hidden_size": 2560, "num_hidden_layers": 64, "vocab_size": 50288, "num_heads": 80, "head_dim": 64},
    **{"state_size": 128, "n_groups": 1, "expand": 2, "tie_word_embeddings": True},
}
"""state-spaces/mamba2-2.7b, by its sizes."""


def served(batch: int, **more: Any) -> Any:
    return gc.infer(built(QWEN36_27B), device="h100-80gb", batch=batch, prompt=1024, output=64, **more)


def seconds_of(answer: Any, phase: str) -> float:
    return float(sum(one["time"] for one in answer.to_dict()["operations"][phase] if one["operation"].endswith("recurrence")))


@pytest.mark.parametrize("batch", [8, 32])
def test_a_step_reads_and_writes_each_state_once(batch: int) -> None:
    least = 2 * batch * STATE / BANDWIDTH
    assert least < seconds_of(served(batch), "decode") < 1.5 * least


def test_a_recurrence_takes_no_longer_after_more_tokens() -> None:
    near, far = (gc.infer(MAMBA2, device="h100-80gb", prompt=prompt, output=64).point.per_token for prompt in (128, 4096))
    assert near == far


def test_twice_the_prompt_takes_a_recurrence_twice_as_long() -> None:
    short, long = (seconds_of(gc.infer(MAMBA2, device="h100-80gb", prompt=prompt, output=2), "prefill") for prompt in (4096, 8192))
    assert 1.8 < long / short < 2.2


def test_the_interval_is_wider_the_more_of_the_time_recurrences_take() -> None:
    hybrid, alone = served(1), gc.infer(MAMBA2, device="h100-80gb")
    assert "recurrences" in hybrid.certainty.text
    assert 0.25 < hybrid.spread < alone.spread < 1


def test_a_server_has_room_for_cache_and_state() -> None:
    """80 GB less weights: a sequence of 4,500 tokens takes 65,536 bytes of cache each and its state beside them."""
    answer = gc.infer(built(QWEN36_27B), device="h100-80gb", server="vllm", concurrency=8, prompt=4000, output=500)
    kept = 4500 * 65536 + STATE + 48 * 2 * 3 * 10240
    assert answer.capacity.full == pytest.approx(answer.capacity.cache / kept, rel=0.01)
    assert not answer.factors.measured


def test_the_batch_that_fits_counts_the_state(run: Any) -> None:
    found = gc.infer(MAMBA2, device="h100-80gb").to_dict()
    assert found["kv_cache_bytes"] == 0
    assert found["state_bytes"] == 64 * (80 * 64 * 128 * 4 + (5120 + 256) * 3 * 2)
    assert 0 < found["max_batch"] < 80e9 / found["state_bytes"]
