"""Mistakes that other calculators make, each with the right value."""

import json

import pytest

import gptcalc as gc
from gptcalc.formulas.conventions import conventions
from gptcalc.units import binary, parse_number, short


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("gpt2", 124_439_808),  # biases and learned positions
        ("gpt2-xl", 1_557_611_200),
        ("llama2-7b", 6_738_415_616),  # an untied head
        ("llama2-70b", 68_976_648_192),
        ("gpt1", 116_534_784),  # post-norm, no final norm
    ],
)
def test_parameters(name: str, parameters: int) -> None:
    assert gc.params(gc.model(name)).value == parameters


def test_the_untied_head_is_in_the_total() -> None:
    assert gc.params(gc.model("llama2-7b"))["head/output"].value == 131_072_000


def test_positions_beyond_the_table() -> None:
    with pytest.raises(gc.GptcalcError, match=r"gpt2 has learned positions for 1,024 tokens \(n_ctx\)"):
        gc.flops(gc.model("gpt2"), seq=2048)


def test_attention_conventions_of_one_layer() -> None:
    model = gc.model("gpt2", {"n_layer": 1})
    T, d = 1024, 768
    core = {}
    for attention in ("full", "causal", "half"):
        tree = gc.flops(model, seq=T, attention=attention).matmul  # type: ignore[arg-type]
        core[attention] = tree["block/attention/scores"].value + tree["block/attention/mix"].value
    assert core == {"full": 4 * T**2 * d, "causal": 4 * d * T * (T + 1) // 2, "half": 2 * T**2 * d}


def test_a_multiply_add_is_two_flop() -> None:
    assert gc.flops(gc.model("gpt2"), seq=1).matmul["block/mlp/up"].value == 12 * 2 * 768 * 3072


def test_full_recompute_runs_the_blocks_forward_once_more() -> None:
    model = gc.model("gpt3-175b")
    tree = gc.flops(model, phase="training", recompute="full").matmul
    assert tree["recompute"].value == gc.flops(model).matmul["block"].value


def test_megatron_2022_is_the_operation_table_for_gpt3() -> None:
    rows = {row.name: row.flops for row in conventions(gc.model("gpt3-175b"), batch=4)}
    assert rows["Megatron 2022"] == rows["gptcalc full"]
    assert rows["Megatron 2021"] == gc.flops(gc.model("gpt3-175b"), batch=4, phase="training", recompute="full").value


def test_a_convention_that_does_not_describe_the_model_says_so() -> None:
    rows = {row.name: row for row in conventions(gc.model("llama2-70b"))}
    assert rows["Megatron 2022"].flops is None
    assert "MLP" in rows["Megatron 2022"].note


def test_gpt3_training_compute_of_table_d1() -> None:
    """6ND with N including embeddings, as the paper counts: 3.14e23."""
    model = gc.model("gpt3-175b")
    assert model.training_tokens == 300 * 10**9
    assert 6 * gc.params(model).value * model.training_tokens == pytest.approx(3.14e23, rel=0.002)


def test_units_are_not_mixed() -> None:
    assert parse_number("40GiB") == 40 * 2**30
    assert parse_number("40GB") == 40 * 10**9
    assert binary(2**30) == "1.00 GiB"
    assert short(999_999) == "1.000 M"


def test_json_has_exact_ints() -> None:
    node = gc.params(gc.model("gpt3-175b")).to_dict()
    assert json.loads(json.dumps(node))["value"] == 174_604_259_328


@pytest.mark.parametrize("name", ["gpt-4", "gpt-3.5", "gpt-4o"])
def test_undisclosed_models_are_not_guessed(name: str) -> None:
    with pytest.raises(gc.GptcalcError, match="undisclosed"):
        gc.model(name)
