"""Whatever a caller hands to the library: an answer without NaN, or a GptcalcError in one short line."""

import inspect
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gptcalc as gc
from gptcalc.formulas.memory.request import inference, training

WRONG: list[Any] = [
    *(None, True, False, 0, -1, 3, 10**40, -(10**40), 10**5000, 0.5, 2.0, -1.5, math.nan, math.inf, -math.inf, 1e300, 1j),
    *("", " ", "x", "none", "5", "nan", "every-²", "every-0", "x" * 10_000, "\x00", "\ud800", "two\nlines", b"x", bytearray(b"x")),
    *([], ["x"], [None], [math.nan], [[1, 2], [3]], ["a", 1], [[]], (), ("x",), {}, {"x": 1}, {1: None}, {1}, frozenset(), range(3)),
    *(object(), object, len, Ellipsis, Decimal("NaN"), Fraction(1, 2), NotImplemented),
    *(np.array([1, 2]), np.array(["x", "y"]), np.array([]), np.float64("nan"), np.int64(3), np.bool_(True), np.array(None)),
]
wrong = st.sampled_from(WRONG)


def keywords(function: Any) -> list[str]:
    return [name for name, kind in inspect.signature(function).parameters.items() if kind.kind is kind.KEYWORD_ONLY]


CALLS: dict[str, Any] = {
    **{f"memory {name}": lambda value, name=name: gc.memory("gpt2", **{name: value}) for name in keywords(training)},
    **{f"serving {name}": lambda value, name=name: gc.memory("gpt2", mode="inference", **{name: value}) for name in keywords(inference)},
    **{f"flops {name}": lambda value, name=name: gc.flops("gpt2", **{name: value}) for name in [*keywords(gc.flops), "n_layer", "odd"]},
    **{f"params {name}": lambda value, name=name: gc.params("gpt2", **{name: value}) for name in ("d_model", "n_layer", "tied", "odd")},
    **{f"conventions {name}": lambda value, name=name: gc.conventions("gpt2", **{name: value}) for name in keywords(gc.conventions)},
    "memory mode": lambda value: gc.memory("gpt2", mode=value),
    "memory of": gc.memory,
    "flops of": gc.flops,
    "params of": gc.params,
    "compare": gc.compare,
    "compare one": lambda value: gc.compare([value]),
    "conventions of": gc.conventions,
    "model": gc.model,
    "model with": lambda value: gc.model("gpt2", value),
    "model with a field": lambda value: gc.model("gpt2", {"n_layer": value}),
    "replicate": lambda value: gc.replicate(value) if value is not None else [],
}


@pytest.mark.parametrize("call", CALLS)
@settings(max_examples=len(WRONG), deadline=None)
@given(wrong)
def test_any_value_is_answered_or_refused(call: str, value: Any) -> None:
    refusal = ""
    try:
        answer = CALLS[call](value)
    except gc.GptcalcError as error:
        answer, refusal = None, str(error)
    assert refusal.isprintable()
    assert len(refusal) < 400
    result = answer.to_dict() if hasattr(answer, "to_dict") else [row._asdict() for row in answer] if isinstance(answer, list) else None
    assert finite(result)


def finite(result: Any) -> bool:
    if isinstance(result, dict):
        return all(finite(value) for value in result.values())
    if isinstance(result, list | tuple):
        return all(finite(value) for value in result)
    return not isinstance(result, float) or math.isfinite(result)


REFUSED: list[dict[str, Any]] = [
    *({"recompute": value} for value in (0, "", [], True, 5)),
    *({"runtime": value} for value in (0, "", [], ["x"])),
    *({name: value} for name in ("compiled", "dropout", "offload_optimizer", "qlora", "sequence_parallel") for value in (0, "x", object())),
    *({"count": value} for value in ("x", math.nan, object(), 0, True)),
    *({"freeze": value} for value in (None, 5, "embedding", ("",), ("block/",), (5,))),
    *({"zero": value} for value in (True, 2.0, "1")),
    *({"mode": "inference"} | option for option in ({"prefill": -1}, {"prefill": math.nan}, {"block_size": -5}, {"kv_precision": ""})),
    {"batch": ["5"]},
    {"batch": [True]},
    {"count": [8, 16], "dp": [8, 8]},
    {"batch": [1, 2], "global_batch": 4, "accumulate": 2},
]


@pytest.mark.parametrize("options", REFUSED, ids=str)
def test_nonsense_is_not_taken_for_an_option_left_out(options: dict[str, Any]) -> None:
    with pytest.raises(gc.GptcalcError):
        gc.memory("gpt2", **options)


@pytest.mark.parametrize("models", ["gpt2", {"n_layer": 2}, gc.model("gpt2"), None, 5])
def test_compare_wants_several_models(models: Any) -> None:
    with pytest.raises(gc.GptcalcError, match="several models"):
        gc.compare(models)


def test_flops_know_the_same_limits_as_memory() -> None:
    for calculate in (gc.flops, gc.memory):
        with pytest.raises(gc.GptcalcError, match="batch"):
            calculate("gpt2", batch=10**40)


def test_arrays_of_counts_and_global_batches() -> None:
    each = [gc.memory("gpt2", zero=1, count=count, global_batch=64).value for count in (8, 16)]
    assert gc.memory("gpt2", zero=1, count=[8, 16], global_batch=64).value == pytest.approx(each, abs=64)


@pytest.mark.parametrize(
    ("freeze", "same"), [(("block",), ("block/attention", "block/mlp")), (("embedding",), ("embedding/token", "embedding/position"))]
)
def test_freezing_a_branch_freezes_what_is_below(freeze: tuple[str, ...], same: tuple[str, ...]) -> None:
    assert gc.memory("gpt2", freeze=freeze).to_dict() == gc.memory("gpt2", freeze=same).to_dict()


def test_a_change_of_batch_is_a_divisor() -> None:
    for batch, option in ((96, "--batch 48 --accumulate 2"), (97, "--batch 1 --accumulate 97")):
        change = gc.memory("gpt2", batch=batch, device="h100").to_dict()["change"]
        assert change is not None
        assert change["option"] == option
