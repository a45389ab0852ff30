"""What is asked twice, of nothing, or of what is not known: one line that names it, and never an answer."""

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["memory", "gpt2", "--device", "a100:8", "--count", "4"], "a100:8 and --count 4 contradict each other"),
        (["train", "gpt2", "--tokens", "1B", "--device", "a100:8,h100:4", "--count", "8"], "h100:4 and --count 8 contradict each other"),
        (["memory", "gpt2", "--precision", "bf16,foo"], "no precision 'foo'"),
        (["sweep", "gpt2", "--lora-rank", "16", "--vary", "batch=1,2", "--show", "step_time"], "a step with lora_rank is not known"),
        (["sweep", "gpt2", "--vary", "lora_rank=8,16", "--show", "memory,mfu"], "a step with lora_rank is not known"),
    ],
)
def test_it_is_refused_by_name(typed: list[str], said: str, run: Any) -> None:
    ran = run(*typed)
    assert ran.code != 0
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_memory_of_adapters_may_be_swept(run: Any) -> None:
    assert run("sweep", "gpt2", "--vary", "lora_rank=8,16", "--show", "memory").code == 0


def test_the_nearest_to_a_deadline_is_the_plan_that_is_least_over_it(run: Any) -> None:
    few = run("plan", "gpt2", "--global-batch", "64", "--tokens", "300B", "--count", "1..4", "--deadline", "1s")
    assert few.code == 1
    assert "the nearest, on 4 h100-80gb" in " ".join(few.out.split())
