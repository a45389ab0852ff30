"""Laws that hold for every model: parts add up, text and value agree, arrays agree with ints, counted equals predicted."""

import ast
import math
from typing import Any

import numpy as np
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import architectures

import gptcalc as gc
from gptcalc.node import Node
from gptcalc.reference import count, random_weights
from gptcalc.run.verify import counted_parameters, leaf_values
from gptcalc.spec.model import ModelSpec, parse_model
from gptcalc.spec.shape import shape_of
from gptcalc.table.flops import flops
from gptcalc.table.params import params

PHASES = [
    ("forward", "none"),
    ("backward", "none"),
    ("training", "none"),
    ("training", "selective"),
    ("training", "full"),
    ("decode", "none"),
]


def evaluate(formula: str, letters: dict[str, int]) -> int:
    """The value of a formula's text, which is plain Python over the letters and `min`."""
    for node in ast.walk(ast.parse(formula, mode="eval")):
        assert not isinstance(node, ast.Attribute | ast.Subscript)
    value: int = eval(formula, {"__builtins__": {"min": min}}, letters)
    return value


def nodes_of(model: ModelSpec, batch: int, seq: int, attention: Any) -> list[Node[int]]:
    nodes = [params(model)]
    for phase, recompute in PHASES:
        answer = flops(model, batch=batch, seq=seq, phase=phase, recompute=recompute, attention=attention)  # type: ignore[arg-type]
        nodes += [answer.matmul] + ([answer.other] if answer.other else [])
    return nodes


@settings(max_examples=examples(60), deadline=None)
@given(architectures(), st.integers(1, 3), st.integers(1, 11), st.sampled_from(["full", "causal", "half"]))
def test_parts_add_up_and_the_shown_formula_gives_the_shown_value(fields: dict[str, Any], batch: int, seq: int, attention: str) -> None:
    model = parse_model(fields)
    for root in nodes_of(model, batch, seq, attention):
        letters = shape_of(model).letters | {"B": batch, "T": seq, "C": seq}
        for _, node in root.walk():
            assert isinstance(node.value, int)
            assert evaluate(node.formula, letters) == node.value
            if node.parts:
                assert node.value == sum(part.value for part in node.parts)


@settings(max_examples=examples(60), deadline=None)
@given(architectures(), st.integers(1, 3), st.integers(1, 11))
def test_counted_equals_predicted(fields: dict[str, Any], batch: int, seq: int) -> None:
    model = parse_model(fields)
    tally = count(model, batch, seq)
    answer = flops(model, batch=batch, seq=seq)
    assert leaf_values(params(model)) == counted_parameters(model)
    assert params(model).value == sum(tally.parameters.values())
    assert leaf_values(answer.matmul) == tally.matmul
    assert answer.other is not None
    assert leaf_values(answer.other) == tally.other
    assert params(model).value == sum(array.size for array in random_weights(model).values())


@settings(max_examples=examples(60), deadline=None)
@given(architectures(), st.lists(st.tuples(st.integers(1, 9), st.integers(1, 50), st.integers(1, 90)), min_size=1, max_size=5))
def test_arrays_agree_with_ints(fields: dict[str, Any], variants: list[tuple[int, int, int]]) -> None:
    fields = fields | {"padded_vocab_size": None, "d_embedding": None}
    model = parse_model(fields)
    names = ("d_model" if model.blocks else "n_layer", "d_ff", "vocab_size")  # a layout says how many layers there are
    columns = dict(zip(names, zip(*variants, strict=True), strict=True))
    many = [params(model, **columns), flops(model, seq=7, phase="training", attention="causal", recompute="full", **columns).matmul]
    for i, variant in enumerate(variants):
        one = parse_model(fields | dict(zip(names, variant, strict=True)))
        ints = [params(one), flops(one, seq=7, phase="training", attention="causal", recompute="full").matmul]
        for arrays, whole in zip(many, ints, strict=True):
            for (path, node), (same_path, integer) in zip(arrays.walk(), whole.walk(), strict=True):
                assert path == same_path
                assert np.broadcast_to(node.value, (len(variants),))[i] == integer.value


@settings(max_examples=examples(60), deadline=None)
@given(architectures(), st.sampled_from(["n_layer", "d_ff", "vocab_size", "n_ctx"]))
def test_a_bigger_model_never_costs_less(fields: dict[str, Any], grown: str) -> None:
    fields = fields | {"padded_vocab_size": None, "n_position": None}
    larger = {grown: fields.get(grown, 4) + 3}
    if grown == "n_layer" and "..." not in fields.get("layout", ["..."]):
        larger["layout"] = [*fields["layout"], "first*3"]
    small, large = parse_model(fields), parse_model(fields | larger)
    assert params(large).value >= params(small).value
    assert flops(large, seq=9).value >= flops(small, seq=9).value


@settings(max_examples=examples(60), deadline=None)
@given(architectures(), st.integers(1, 10))
def test_passes_and_conventions_are_ordered(fields: dict[str, Any], seq: int) -> None:
    model = parse_model(fields)
    forward = {a: flops(model, seq=seq, attention=a).value for a in ("full", "causal", "half")}  # type: ignore[arg-type]
    assert forward["full"] >= forward["causal"]
    assert forward["full"] >= forward["half"]
    assert forward["causal"] >= forward["half"]
    assert flops(model, seq=seq, phase="backward").value == 2 * forward["full"]
    training = {r: flops(model, seq=seq, phase="training", recompute=r).value for r in ("none", "selective", "full")}  # type: ignore[arg-type]
    assert training["none"] == 3 * forward["full"]
    assert training["none"] < training["selective"] <= training["full"]
    full = flops(model, seq=seq, phase="training", recompute="full").matmul
    once = flops(model, seq=seq).matmul
    for path, _ in shape_of(model).blocks:
        assert full[f"recompute/{path}"].value == once[path].value


@settings(max_examples=examples(40), deadline=None)
@given(architectures(), st.integers(2, 11))
def test_decoding_token_by_token_is_the_causal_pass(fields: dict[str, Any], seq: int) -> None:
    """Each token once, each with the keys before it: exactly the pairs that the causal convention counts, in windows and chunks too."""
    model = parse_model(fields)
    tokens = [flops(model, seq=context, phase="decode").value for context in range(1, seq + 1)]
    assert sum(tokens) == flops(model, seq=seq, attention="causal").value


@settings(max_examples=examples(40), deadline=None)
@given(st.integers(1, 40), st.integers(1, 40))
def test_windowed_pairs_are_those_that_a_mask_keeps(window: int, seq: int) -> None:
    model = parse_model({"name": "w", "n_layer": 1, "d_model": 4, "n_head": 2, "vocab_size": 5, "n_ctx": 40, "sliding_window": window})
    pairs = sum(min(position, window) for position in range(1, seq + 1))
    assert flops(model, seq=seq, attention="causal").matmul["block/attention/scores"].value == 2 * 4 * pairs


@given(st.integers(1, 4), st.integers(1, 8))
def test_flops_are_linear_in_the_batch(batch: int, seq: int) -> None:
    model = gc.model("gpt2")
    for attention in ("full", "causal", "half"):
        one = flops(model, batch=1, seq=seq, attention=attention)  # type: ignore[arg-type]
        assert flops(model, batch=batch, seq=seq, attention=attention).value == batch * one.value  # type: ignore[arg-type]


def test_tying_changes_parameters_and_never_flops() -> None:
    tied, untied = gc.model("gpt2"), gc.model("gpt2", {"tied": False})
    assert flops(tied).value == flops(untied).value
    assert params(untied).value - params(tied).value == 50257 * 768
    assert flops(tied, seq=8).matmul["head/output"].value == 2 * 8 * 768 * 50257
    assert flops(tied, seq=8, phase="backward").matmul["head/output"].value == 4 * 8 * 768 * 50257


def test_large_counts_stay_exact() -> None:
    """3.14e23 does not fit into an int64: the total of a whole run is an exact int all the same."""
    model = gc.model("gpt3-175b")
    steps = 300 * 10**9 // 2048
    whole = flops(model, batch=steps, seq=2048, phase="training").value
    assert isinstance(whole, int)
    assert whole == steps * flops(model, batch=1, seq=2048, phase="training").value
    assert whole > 2**63


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"n_layer": [0]}, "n_layer must be whole numbers"),
        ({"n_layer": [1.5]}, "n_layer must be whole numbers"),
        ({"n_layer": [math.nan]}, "n_layer must be whole numbers"),
        ({"n_layer": ["many"]}, "n_layer is not a number"),
        ({"n_lyer": [1]}, "'n_lyer' is not a number of a model"),
        ({"n_layer": [1, 2], "d_ff": [1, 2, 3]}, "arrays of different lengths"),
        ({"n_head": [5]}, "d_model is not a multiple of n_head"),
        ({"n_layer": [2**60]}, "n_layer must be whole numbers"),
    ],
)
def test_arrays_that_are_no_models_are_refused(numbers: dict[str, Any], message: str) -> None:
    with pytest.raises(gc.GptcalcError, match=message):
        params(gc.model("gpt2"), **numbers)
