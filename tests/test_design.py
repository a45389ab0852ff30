"""`design`: shapes hit the number of parameters and divide as asked, the fastest first; unlucky numbers cost; and how it refuses."""

import json
from typing import Any

import pytest

import gptcalc as gc


@pytest.mark.parametrize(
    ("like", "params", "tp"), [("llama3-8b", "7B", 1), ("gpt3-13b", "13B", 8), ("gpt2", "350M", 2), ("mixtral-8x7b", "40B", 1)]
)
def test_every_shape_hits_the_count_and_divides(like: str, params: str, tp: int) -> None:
    wanted = {"7B": 7e9, "13B": 13e9, "350M": 350e6, "40B": 40e9}[params]
    found = gc.design(params=params, like=like, tp=tp, seq=1024, top=5)
    known = gc.model(like)
    for one in found.shapes:
        own = one.fields
        assert one.params == pytest.approx(wanted, rel=0.02)
        model = gc.model({"name": "one", **{n: getattr(known, n) for n in known.model_fields_set - LEFT}, **own})
        assert gc.params(model).value == one.params
        assert own["d_model"] == own["n_head"] * own["d_head"]
        inner = own.get("d_ff", own.get("d_expert", 0))
        assert inner > 0
        assert own["d_model"] % 128 == inner % 128 == own["vocab_size"] % (128 * tp) == 0
        assert own["n_head"] % tp == inner % tp == own["n_head"] % own["n_kv_head"] == 0
        assert own["vocab_size"] - known.vocab_size in range(128 * tp)
    speeds = [one.tokens_per_second for one in found.shapes]
    assert speeds == sorted(speeds, reverse=True)


LEFT = {"name", "published", "padded_vocab_size"}


def test_a_shape_is_as_fast_as_train_says() -> None:
    best = gc.design(params="1B", like="gpt3-1.3b", seq=2048, top=1).shapes[0]
    run = gc.train(gc.model("gpt3-1.3b", best.fields), tokens=1, batch=4, seq=2048)
    assert (best.tokens_per_second, best.peak) == (pytest.approx(run.tokens_per_second), run.memory["peak_allocated"])


def test_unlucky_numbers_cost() -> None:
    """On an H100 a vocabulary of 50,257 ran at a sixth of the rate of 50,304; heads 108 wide are padded to 128."""
    found = gc.design(params="125M", like="gpt2", top=1)
    unlucky = {one.change: one.slower for one in found.unlucky}
    assert 0.1 < unlucky["vocabulary 50,257"] < 0.5
    assert unlucky["head width 108"] > 0.01


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({}, "starts from a number"),
        ({"params": 0}, "params"),
        ({"params": "7B", "within": 0}, "within must be"),
        ({"params": "7B", "d_head": ","}, "names no size"),
        ({"params": "10M"}, "vocabulary of 128,256 alone"),
        ({"params": "1B", "multiple": 8192}, "no shape like"),
        ({"params": "7B", "aspect": "fast"}, "aspect"),
        ({"params": "7B", "like": "gpt-oss-20b"}, "blocks that differ"),
        ({"params": "7B", "device": "h1000"}, "h1000"),
    ],
    ids=str,
)
def test_bad_input_is_refused_in_one_line(options: dict[str, Any], error: str) -> None:
    with pytest.raises(gc.GptcalcError, match=error):
        gc.design(**options)


def test_the_command_line(run: Any) -> None:
    words = ["design", "--params", "125M", "--like", "gpt2", "--top", "2"]
    first = run(*words)
    assert first.code == 0
    assert first.out.startswith("125 M parameters like gpt2: 12 layers of 768")
    rows = json.loads(run(*words, "-f", "json").out)["result"]
    assert rows[0]["unlucky"] is None
    assert any(row["unlucky"] == "vocabulary 50,257" for row in rows)
    again = json.loads(run(*rows[0]["command"].split()[1:], "--tokens", "1B", "-f", "json").out)["result"]
    assert again["tokens_per_second"] == pytest.approx(rows[0]["tokens_per_second"])
    assert run("design", "--params", "1M").code == 1


def test_an_interrupted_design_keeps_what_it_has() -> None:
    def stop(_: str, done: int, __: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    found = gc.design(params="7B", like="gpt3-6.7b", progress=stop)
    assert found.interrupted
    assert len(found.shapes) <= 2
