"""Whatever a caller hands to the library: an answer without NaN, or a GptcalcError in one short line."""

import inspect
import itertools
import math
import re
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st

import gptcalc as gc
from gptcalc.spec.plan import MemoryOptions, ServingOptions, TrainOptions
from gptcalc.spec.serving import FleetOptions, InferOptions, LoadOptions

WRONG: list[Any] = [
    *(None, True, False, 0, -1, 3, 10**40, -(10**40), 10**5000, 0.5, 2.0, -1.5, math.nan, math.inf, -math.inf, 1e300, 1j),
    *("", " ", "x", "none", "5", "nan", "every-²", "every-0", "x" * 10_000, "\x00", "\ud800", "two\nlines", b"x", bytearray(b"x")),
    *([], ["x"], [None], [math.nan], [[1, 2], [3]], ["a", 1], [[]], (), ("x",), {}, {"x": 1}, {1: None}, {1}, frozenset(), range(3)),
    *(object(), object, len, Ellipsis, Decimal("NaN"), Fraction(1, 2), NotImplemented),
    *(np.array([1, 2]), np.array(["x", "y"]), np.array([]), np.float64("nan"), np.int64(3), np.bool_(True), np.array(None)),
    *(np.array([1, 2], dtype=complex), np.array([1, 2], dtype=object), np.array([True, False]), np.array(["2024-01-01"], dtype="M8[D]")),
    *(np.array([1.0, np.nan]), np.array([np.inf, 1.0]), np.array([0, 1]), np.array([-1, 2]), np.array([1.5, 2.0]), np.array([10**13])),
    *(
        np.array([[1, 2], [3, 4]]),
        np.zeros((0, 3)),
        np.array([1, 2, 3], dtype=np.uint8),
        np.int8(2),
        np.float32(2),
        np.array(3),
        np.float64,
    ),
]
wrong = st.sampled_from(WRONG)


def keywords(function: Any) -> list[str]:
    return [name for name, kind in inspect.signature(function).parameters.items() if kind.kind is kind.KEYWORD_ONLY]


TINY: dict[str, Any] = {"name": "tiny", "n_layer": 2, "d_model": 16, "n_head": 4, "vocab_size": 64, "n_ctx": 16}
RUN = [*TrainOptions._fields, "odd"]
SERVER = [*dict.fromkeys([*InferOptions._fields, *LoadOptions._fields, *FleetOptions._fields, "odd"])]
SEVERAL: dict[str, Any] = {"count": 8, "stack": "megatron"}


def train(name: str, value: Any, **options: Any) -> Any:
    return gc.train("gpt2", **{"tokens": "1B", **options, name: value})


def infer(name: str, value: Any, **options: Any) -> Any:
    return gc.infer("gpt2", **{"prompt": 16, "output": 4, **options, name: value})


CALLS: dict[str, Any] = {
    **{f"train {name}": partial(train, name) for name in RUN},
    **{f"train on several, {name}": partial(train, name, **SEVERAL) for name in RUN},
    **{f"train with an MFU, {name}": partial(train, name, mfu=0.4) for name in RUN},
    **{f"infer {name}": partial(infer, name) for name in SERVER},
    **{f"infer on several, {name}": partial(infer, name, count=4, precision="int4") for name in SERVER},
    **{f"verify {name}": lambda value, name=name: gc.verify(TINY, **{name: value}) for name in ("full", "seq")},
    "verify seq in full": lambda value: gc.verify(TINY, full=True, seq=value),
    "verify progress": lambda value: gc.verify(TINY, progress=None if callable(value) else value),  # what a function raises is its own
    "verify of": lambda value: gc.verify(value),
    "train of": lambda value: gc.train(value, tokens="1B"),
    "infer of": gc.infer,
    **{f"memory {name}": lambda value, name=name: gc.memory("gpt2", **{name: value}) for name in MemoryOptions._fields},
    **{
        f"serving {name}": lambda value, name=name: gc.memory("gpt2", mode="inference", **{name: value})
        for name in ServingOptions._fields
        if name != "mode"
    },
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
@settings(max_examples=examples(len(WRONG)), deadline=None)
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


def name(options: dict[str, Any]) -> str:
    """The same in every process: an object's own text has its address."""
    return re.sub(r" at 0x\w+", "", str(options))


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


@pytest.mark.parametrize("options", REFUSED, ids=name)
def test_nonsense_is_not_taken_for_an_option_left_out(options: dict[str, Any]) -> None:
    with pytest.raises(gc.GptcalcError):
        gc.memory("gpt2", **options)


REFUSED_RUNS: list[dict[str, Any]] = [
    *({"zero": value} for value in (True, 2.0, "1", 4, np.array([0, 4]), [0, "1"])),
    *({"sequence_parallel": value, "runtime": "megatron", "count": 2, "tp": 2} for value in (1, "yes", np.array([0, 1]))),
    *({"slice": value, "count": 8} for value in (np.array([1, 2]), "5", 0)),
    *({"mfu": value} for value in ("0.4..0.3", "0..0.4", "..", (0.3, None), (), np.array([0.4, np.nan]), math.nan)),
    *({"price": value} for value in (np.array([np.inf, 1]), "1..", (np.array([1, 2]), 3), [None])),
    *({"count": value} for value in (10**13, "1e30", np.array([8, 10**13]))),
    {"odd": None},
    {"device": []},
    {"device": ["h100", None]},
]


@pytest.mark.parametrize("options", REFUSED_RUNS, ids=name)
def test_nonsense_is_not_taken_for_an_option_of_a_run_left_out(options: dict[str, Any]) -> None:
    with pytest.raises(gc.GptcalcError):
        gc.train("gpt2", **{"tokens": "1B", **options})


REFUSED_SERVERS: list[dict[str, Any]] = [
    *({"precision": "int4", "group_size": value} for value in (True, 0, -1, 0.5, 2.0, math.inf, "32", np.array([32, 64]), np.array([]))),
    *({"sweep": value} for value in ("batch=0", "batch=1..", "batch=1e30", "batch=nan", "prompt=1023", b"batch=1..8")),
    *({"sweep": "batch=1..8", name: [1, 2]} for name in ("batch", "prompt", "price")),
    *({"target": value} for value in ("ttft=" + "9" * 400 + "s", "ttft=1s,ttft=2s", "ttft=1s,", "ttft=-1s")),
    *({"target": "ttft=1s", name: [1, 2]} for name in ("batch", "prompt", "price")),
    {"precision": np.array(["int4", "int8"])},
    {"runtime": ["graph"]},
]


@pytest.mark.parametrize("options", REFUSED_SERVERS, ids=lambda options: str(options)[:60])
def test_nonsense_is_not_taken_for_an_option_of_a_server_left_out(options: dict[str, Any]) -> None:
    with pytest.raises(gc.GptcalcError):
        gc.infer("gpt2", **{"prompt": 16, "output": 4, **options})


ARRAYS: dict[str, Any] = {"tokens": 10**9, "count": 8, "batch": 2, "seq": 128, "global_batch": 64, "mfu": 0.4, "zero": 1}
ARRAYS |= {"price": 2.0, "tdp_share": 0.5, "pue": 1.2, "carbon": 0.3, "tp": 2, "pp": 2, "dp": 2, "cp": 2, "virtual_stages": 2}


@pytest.mark.parametrize("names", [*itertools.combinations(ARRAYS, 2)], ids="-".join)
def test_arrays_of_two_lengths_are_refused_by_name(names: tuple[str, str]) -> None:
    with pytest.raises(gc.GptcalcError, match="arrays of different lengths") as refused:
        gc.train("gpt2", **{"tokens": 10**9, **{name: np.full(2 + i, ARRAYS[name]) for i, name in enumerate(names)}})
    assert all(f"{name} ({2 + i},)" in str(refused.value) for i, name in enumerate(names))


@pytest.mark.parametrize("name", ["batch", "prompt"])
def test_a_server_refuses_them_too(name: str) -> None:
    with pytest.raises(gc.GptcalcError, match="arrays of different lengths"):
        infer(name, [1, 2], price=[1, 2, 3])


def test_numpy_s_whole_numbers_are_whole_numbers() -> None:
    for name, value in {"count": 8, "zero": 3, "tp": 2, "batch": 2, "seq": 64, "global_batch": 16, "slice": 4}.items():
        answers = [train(name, kind(value), **{"runtime": "megatron", "count": 8}).to_dict() for kind in (int, np.int8, np.array)]
        assert answers[0] == answers[1] == answers[2], name
    for name, value in {"count": 4, "output": 4, "tp": 2, "pp": 2, "block_size": 16, "batch": 2, "prompt": 32}.items():
        answers = [infer(name, kind(value), **{"count": 4}).to_dict() for kind in (int, np.int8, np.array)]
        assert answers[0] == answers[1] == answers[2], name


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
