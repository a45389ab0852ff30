"""A sweep is an array of answers, whatever it is a sweep of: each place is what that one number gives, also where it changes nothing."""

from typing import Any

import numpy as np
import pytest

import gptcalc as gc
from gptcalc.run.request import ARRAYS
from gptcalc.spec.options import MOST_PLACES, MOST_PLANS
from gptcalc.spec.shape import ABSENT_IS_NONE, LETTERS, shape_of

MODELS = ["gpt2", "mixtral-8x7b", "deepseek-v2", "gemma2-9b"]
NUMBERS = [name for name in LETTERS if name not in ("n_head", "n_kv_head")]


def swept(model: str) -> dict[str, list[int]]:
    shape = shape_of(gc.model(model))
    kinds = bool(gc.model(model).blocks)
    return {
        name: [value, 2 * value]
        for name in NUMBERS
        if (value := getattr(shape, name)) and not (kinds and name == "n_layer") and (value or name not in ABSENT_IS_NONE)
    }


CASES = [(model, name) for model in MODELS for name in swept(model)]


@pytest.mark.parametrize(("model", "name"), CASES)
def test_models_in_an_array(model: str, name: str) -> None:
    values = swept(model)[name]
    for calculate in (gc.params, gc.flops):
        answer = calculate(model, **{name: values})
        node = answer if calculate is gc.params else answer.matmul
        assert {np.shape(part.value) for _, part in node.walk()} == {(2,)}
        assert answer.value[0] == calculate(model).value


@pytest.mark.parametrize("shape", [(3,), (2, 1), (1, 2, 1)])
def test_two_numbers_span_a_table(shape: tuple[int, ...]) -> None:
    layers = np.full(shape, 12)
    answer = gc.params("mixtral-8x7b", n_layer=layers, d_ff=[1])
    assert answer.value.shape == np.broadcast_shapes(shape, (1,))


SWEPT: dict[str, list[Any]] = {"tokens": [10**9, 2 * 10**9], "count": [8, 16], "batch": [1, 2], "seq": [64, 128], "global_batch": [64, 128]}
SWEPT |= {"price": [1.0, 2.0], "tdp_share": [0.5, 1.0], "pue": [1.0, 1.2], "carbon": [0.0, 0.3], "mfu": [0.3, 0.4], "zero": [0, 1]}
SWEPT |= {"tp": [1, 2], "pp": [1, 2], "dp": [8, 8], "cp": [1, 1], "virtual_stages": [1, 1]}


@pytest.mark.parametrize("name", SWEPT)
def test_runs_in_an_array(name: str) -> None:
    options: dict[str, Any] = {"tokens": 10**9, "seq": 64} | ({} if name in ("count", "dp", "tp", "pp") else {"count": 8})
    run = gc.train("gpt2", **{**options, name: SWEPT[name]})
    assert {field: np.shape(getattr(run, field)) for field in ARRAYS} == dict.fromkeys(ARRAYS, (2,))
    assert np.shape(run.to_dict()["device_hours"]) == (2,)
    for place, value in enumerate(SWEPT[name]):
        one = gc.train("gpt2", **{**options, name: value})
        assert [getattr(run, field)[place] for field in ARRAYS] == pytest.approx([getattr(one, field) for field in ARRAYS])


OF_STEPS: dict[str, list[int]] = {"batch": [1, 2], "seq": [64, 64], "tp": [1, 2], "pp": [1, 2], "dp": [1, 2], "cp": [1, 2], "count": [1, 2]}
OF_STEPS |= {"global_batch": [1, 2], "virtual_stages": [1, 1]}


@pytest.mark.parametrize("name", OF_STEPS)
def test_memory_in_an_array(name: str) -> None:
    answer = gc.memory("gpt2", **{"seq": 64, name: OF_STEPS[name]})
    assert answer.value.shape == (2,)
    assert {np.shape(phase.value) for phase in answer.training.phases.values()} == {(2,)}
    assert np.shape(answer.to_dict()["reserved_estimate"]) == (2,)


@pytest.mark.parametrize("name", ["batch", "seq", "prefill"])
def test_serving_in_an_array(name: str) -> None:
    answer = gc.memory("gpt2", mode="inference", **{"seq": 64, "batch": 2, name: [32, 64]})
    assert {np.shape(part.value) for _, part in answer.peak.walk()} == {(2,)}


@pytest.mark.parametrize(
    "calculate",
    [
        lambda wide, tall: gc.params("gpt2", n_layer=wide, d_model=12 * tall),
        lambda wide, tall: gc.flops("gpt2", n_layer=wide, d_model=12 * tall),
        lambda wide, tall: gc.memory("gpt2", batch=wide, seq=tall),
        lambda wide, tall: gc.memory("gpt2", mode="inference", batch=wide, seq=tall),
        lambda wide, tall: gc.train("gpt2", tokens="1B", batch=wide, seq=tall),
        lambda wide, tall: gc.train("gpt2", tokens="1B", mfu=0.4, price=wide, pue=tall),
        lambda wide, tall: gc.infer("gpt2", batch=wide, prompt=tall, output=1),
    ],
)
def test_more_places_than_memory_holds_are_refused(calculate: Any) -> None:
    with pytest.raises(gc.GptcalcError, match=r"1,600,000,000 places together: at most [14]"):
        calculate(np.ones((40_000, 1)), np.full((1, 40_000), 16.0))
    with pytest.raises(gc.GptcalcError, match=r"1,000,000,000 places"):
        calculate(np.broadcast_to(1.0, 10**9), 16.0)


def test_the_bounds_are_far_above_a_sweep() -> None:
    assert gc.params("gpt2", n_layer=np.arange(1, 10**5)).value.shape == (99_999,)
    assert 10**5 <= MOST_PLANS <= MOST_PLACES


def test_thousands_of_different_steps_are_answered_as_each_alone() -> None:
    many = gc.train("gpt2", tokens="1B", count=2, batch=np.arange(1, 1002))
    alone = [gc.train("gpt2", tokens="1B", count=2, batch=batch) for batch in (1, 500, 1001)]
    assert many.step_time[[0, 499, 1000]] == pytest.approx([run.step_time for run in alone], rel=1e-12)
    assert many.memory["peak_allocated"][[0, 499, 1000]] == pytest.approx([run.memory["peak_allocated"] for run in alone], rel=1e-12)


@pytest.mark.parametrize("peaks", [gc.memory, lambda model, **options: gc.train(model, tokens="1B", **options).memory["peak_allocated"]])
def test_steps_that_differ_in_their_number_of_micro_batches_are_one_step(peaks: Any) -> None:
    def peak(global_batch: Any) -> Any:
        answer = peaks("gpt2", seq=64, pp=2, global_batch=global_batch)
        return answer.value if hasattr(answer, "apart") else answer

    many = peak(2 * np.arange(1, 5001))
    assert [many[place] for place in (0, 1, 4999)] == [peak(2), peak(4), peak(10_000)]


def test_the_reserve_in_arrays_is_that_of_the_fullest_stage() -> None:
    sizes = {"pp": [2, 4, 8, 2], "batch": [1, 2, 1, 4]}
    many = gc.memory("gpt2-medium", global_batch=64, seq=256, runtime="megatron", **{name: np.array(size) for name, size in sizes.items()})
    each = [
        gc.memory("gpt2-medium", global_batch=64, seq=256, runtime="megatron", pp=pp, batch=b)
        for pp, b in zip(*sizes.values(), strict=True)
    ]
    assert np.abs(many.apart.likely - [one.apart.likely for one in each]).max() < 1  # bytes: one answer alone is rounded down
    assert many.training.role.tolist() == [one.training.role for one in each]


def test_servers_in_a_table() -> None:
    answer = gc.infer("gpt2", batch=np.array([[1], [2]]), prompt=[16, 32, 64], output=4)
    result = answer.to_dict()
    names = [name for name in result if name.endswith(("_time", "_second", "_token", "_tokens", "_user")) or name == "kv_cache_bytes"]
    assert {np.shape(result[name]) for name in names} == {(2, 3)}
    assert {np.shape(value) for value in result["steady"].values()} == {(2, 3)}
    assert np.shape(gc.infer("gpt2", prompt=16, output=4, price=[1.0, 2.0]).to_dict()["usd_per_million_output_tokens"]) == (2,)


def test_flags_of_one_device_in_an_array() -> None:
    one, two = (gc.train("gpt2", tokens="1B", seq=64, sequence_parallel=flag) for flag in (False, [False, False]))
    assert two.step_time.tolist() == [one.step_time] * 2
