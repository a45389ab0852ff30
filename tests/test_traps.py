"""Mistakes that other calculators make, each with the right value."""

import json
from typing import Any

import pytest

import gptcalc as gc
from gptcalc.table.conventions import conventions
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


@pytest.mark.parametrize(
    ("name", "seq", "attention", "per_token"),
    [
        # torchtitan's correction for windows, 12 layers x 12 H Q (T - W), off what counted T·T in every layer
        ("gpt-oss-20b", 4096, "full", 26_474_692_608 - 12 * 12 * 64 * 64 * (4096 - 128)),
        ("gpt-oss-20b", 4096, "half", 22.93e9),  # MaxText at e591f30: T·W - W²/2 in local layers
        ("gemma3-27b", 131_072, "half", 196.9e9),
        ("gemma3-27b", 131_072, "causal", 196.9e9),
    ],
)
def test_windows_bound_the_pairs_of_every_convention(name: str, seq: int, attention: Any, per_token: float) -> None:
    answer = gc.flops(name, seq=seq, phase="training", attention=attention)
    assert answer.value / seq == pytest.approx(per_token, rel=3e-4 if isinstance(per_token, float) else 0)


@pytest.mark.parametrize("seq", [20, 64, 67, 16, 3])
def test_chunks_count_as_maxtext_counts_them(seq: int) -> None:
    """`half` is half of the sum of squares of the chunks, and `full` all keys of a chunk for every query."""
    fields = {"n_layer": 1, "d_model": 8, "n_head": 2, "vocab_size": 5, "n_ctx": 128, "sliding_window": 16, "window_chunks": True}
    model = gc.model({"name": "chunks", **fields})
    scores = {a: gc.flops(model, seq=seq, attention=a).matmul["block/attention/scores"].value for a in ("full", "causal", "half")}  # type: ignore[arg-type]
    squares = seq // 16 * 16**2 + (seq % 16) ** 2
    pairs = sum(position % 16 + 1 for position in range(seq))
    assert scores == {"full": 2 * 8 * seq * min(seq, 16), "causal": 2 * 8 * pairs, "half": 8 * squares}
    last = gc.flops(model, seq=seq, phase="decode").matmul["block/attention/scores"].value
    assert last == 2 * 8 * ((seq - 1) % 16 + 1)  # one token sees the keys of its own chunk up to itself


def test_papers_count_windows_too() -> None:
    """PaLM's 12·H·Q for each key of a query, of windowed layers W; Megatron-LM's half of them; and no rule of Megatron's papers."""
    rows = {row.name: row for row in conventions("gpt-oss-20b", seq=4096)}
    N = gc.params("gpt-oss-20b").value - 24 * (32 - 4) * (3 * 2880 * 2880 + 3 * 2880)  # of 32 experts 4 are active
    assert rows["PaLM"].flops == (6 * N + 12 * 64 * 64 * (12 * 4096 + 12 * 128)) * 4096
    full, half = rows["gptcalc full"].flops, rows["Megatron-LM half"].flops
    assert full is not None
    assert half is not None
    assert 2 * (full - half) == 12 * 64 * 64 * (12 * 4096 + 12 * 128) * 4096
    assert rows["Megatron 2022"].flops is None
    assert "windows" in rows["Megatron 2022"].note


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
