"""`sweep`: every point is what the command of its measure says alone; what cannot be is refused by name; and how it is written."""

import csv
import io
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gptcalc as gc
from gptcalc.search.varied import read_values, read_vary

PARALLEL: dict[str, Any] = {"device": "a100-80gb", "stack": "megatron", "seq": 1024}


@given(
    st.sampled_from(["gpt2-xl", "mixtral-8x7b", "gpt-oss-20b"]),
    st.lists(st.sampled_from([1, 2, 3, 4, 8]), min_size=2, max_size=3, unique=True),
    st.lists(st.sampled_from([1, 2, 4, 5]), min_size=1, max_size=2, unique=True),
    st.lists(st.sampled_from(["none", "full", "selective"]), min_size=1, max_size=2, unique=True),
)
@settings(deadline=None, max_examples=8)
def test_every_point_is_what_train_and_memory_say(model: str, tp: list[int], pp: list[int], recompute: list[str]) -> None:
    own: dict[str, Any] = PARALLEL | {"count": 16, "global_batch": 32, "runtime": "ideal"}
    vary = {"recompute": recompute, "tp": tp, "pp": pp}
    found = gc.sweep(model, vary=vary, show="step_time,mfu,memory,tokens_per_second", tokens="1B", **own)
    for row in found.to_list():
        options = own | {name: row[name] for name in vary}
        if row["refused"] is not None:
            assert row["step_time"] is row["memory"] is None
            with pytest.raises(gc.GptcalcError, match=re.escape(row["refused"])):
                gc.train(model, tokens="1B", **options)
            continue
        run = gc.train(model, tokens="1B", **options)
        names = ("step_time", "mfu", "tokens_per_second")
        assert [row[name] for name in names] == pytest.approx([getattr(run, name) for name in names], rel=1e-12)
        assert row["memory"] == pytest.approx(gc.memory(model, **options).value, rel=1e-12)


def test_fields_of_the_model_and_what_a_question_does_not_read() -> None:
    found = gc.sweep("gpt2", vary={"batch": [1, 4], "n_layer": "6..18:6", "d_model": [768, 800]}, show="params,flops,memory")
    assert found.size == 12
    for row in found.to_list():
        if row["d_model"] == 800:
            assert row["refused"] == "d_model 800 is not a multiple of n_head 12"
            continue
        model = gc.model("gpt2", n_layer=row["n_layer"])
        assert row["params"] == gc.params(model).value
        assert row["flops"] == gc.flops(model, batch=row["batch"]).value
        assert row["memory"] == gc.memory(model, batch=row["batch"]).value


def test_serving_is_what_infer_says() -> None:
    found = gc.sweep("llama3-8b", vary={"batch": [1, 8], "precision": ["bf16", "int4"]}, show="time_per_output_token,max_batch", prompt=512)
    for row in found.to_list():
        one = gc.infer("llama3-8b", batch=row["batch"], precision=row["precision"], prompt=512).to_dict()
        assert (row["time_per_output_token"], row["max_batch"]) == (one["time_per_output_token"], one["max_batch"])


def test_a_point_that_cannot_be_is_refused_for_its_own_reason() -> None:
    """Beyond learned positions, by a rule of layouts, by the device's arithmetic: each alone, the others answered."""
    found = gc.sweep("gpt2", vary={"seq": [512, 1024, 2048]}, show="memory")
    assert [row["refused"] and row["refused"].split(":")[0] for row in found.to_list()] == [
        None,
        None,
        "gpt2 has learned positions for 1,024 tokens (n_ctx)",
    ]
    found = gc.sweep("gpt2", vary={"precision": ["bf16", "fp8"]}, show="step_time", device="a100-80gb", runtime="megatron")
    assert [row["refused"] is None for row in found.to_list()] == [True, False]
    assert "fp8" in (found.to_list()[1]["refused"] or "")


def test_the_best_come_first_and_those_that_do_not_fit_last() -> None:
    found = gc.sweep("gpt3-13b", vary={"tp": [1, 2, 4, 8]}, count=8, global_batch=8, show="step_time,fits", by="step_time", **PARALLEL)
    rows = found.to_list()
    fitting = [row["step_time"] for row in rows if row["fits"]]
    assert fitting == sorted(fitting)
    assert [row["fits"] for row in rows] == sorted((row["fits"] for row in rows), reverse=True)


def test_values() -> None:
    assert read_values("d_model", "768..1024:128") == (768, 896, 1024)
    assert read_values("count", "64..512") == (64, 128, 256, 512)
    assert read_values("mfu", "0.3..0.5:0.1") == (0.3, 0.4, 0.5)
    assert read_values("tied", [True, False]) == (True, False)
    assert read_vary(["tp=1,2", "recompute=none,every-2"]) == {"tp": (1, 2), "recompute": ("none", "every-2")}


@pytest.mark.parametrize(
    ("vary", "more", "error"),
    [
        (None, {}, "varies at least one field"),
        ({"n_layers": "1..2"}, {}, "no field"),
        ({"n_layer": "96..12:12"}, {}, "from high to low"),
        ({"n_layer": "12..96:0"}, {}, "a step of 0"),
        ({"n_layer": ","}, {}, "no values"),
        ({"n_layer": []}, {}, "no values"),
        ({"mfu": "0.3..0.5"}, {}, "no step"),
        ({"tp": "one"}, {}, "not a number"),
        ({"d_model": "1..100000:1", "n_layer": "1..1000:1"}, {}, "100,000,000 points are too many"),
        ({"d_model": "1..1e12:1"}, {}, "1,000,000,000,000 values"),
        (["n_layer"], {}, "not of the form"),
        (["tp=1", "tp=2"], {}, "varied twice"),
        ({"n_layer": [1]}, {"show": "speed"}, "does not show 'speed'"),
        ({"n_layer": [1]}, {"show": ""}, "at least one measure"),
        ({"tp": [1]}, {"show": "params"}, "tp changes nothing that is shown"),
        ({"n_layer": [1]}, {"show": "params", "count": 8}, "count changes nothing"),
        ({"n_layer": [1]}, {"show": "params", "speed": 8}, "no option 'speed'"),
    ],
    ids=str,
)
def test_bad_input_is_refused_in_one_line(vary: Any, more: dict[str, Any], error: str) -> None:
    with pytest.raises(gc.GptcalcError, match=error):
        gc.sweep("gpt2", vary=vary, **more)


def test_the_command_line(run: Any) -> None:
    words = ["sweep", "gpt2", "--vary", "n_layer=6..12:6", "--vary", "d_model=768,800", "--show", "params,memory"]
    first = run(*words)
    assert first.code == 0
    assert first.out.splitlines()[0].startswith("gpt2: 2 of 4 points answered, 2 refused; params 81.91 M (n_layer 6, d_model 768)")
    rows = json.loads(run(*words, "-f", "json").out)["result"]
    assert [row["params"] for row in rows] == [81912576, None, 124439808, None]
    written = list(csv.DictReader(io.StringIO(run(*words, "-f", "csv").out)))
    assert [row["refused"] for row in written] == ["", "d_model 800 is not a multiple of n_head 12"] * 2
    assert "params" in run(*words, "--plot").out
    none = run("sweep", "gpt2", "--vary", "d_model=800", "--show", "params")
    assert (none.code, "0 of 1 points answered" in none.out) == (1, True)
    assert "decode_step_time_last" in run("sweep", "gpt2", "--show", "all").out


def test_an_interrupted_sweep_keeps_what_it_has() -> None:
    def stop(_: str, done: int, __: int) -> None:
        if done >= 3:
            raise KeyboardInterrupt

    found = gc.sweep("gpt2", vary={"n_layer": "1..9:1"}, show="params", progress=stop)
    assert (found.interrupted, found.size, found.asked) == (True, 3, 9)
    assert found.columns["params"] == [gc.params("gpt2", n_layer=[n]).value[0] for n in (1, 2, 3)]


def test_parquet(tmp_path: Any) -> None:
    pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    found = gc.sweep("gpt3-175b", vary={"n_layer": [48, 96], "n_head": [96, 97]}, show="params,flops")
    found.to_parquet(str(tmp_path / "points.parquet"))
    read = parquet.read_table(tmp_path / "points.parquet").to_pylist()
    assert [row["params"] for row in read] == found.columns["params"]
    assert [row["refused"] for row in read] == [row["refused"] for row in found.to_list()]


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch: Any) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(gc.GptcalcError, match="needs pyarrow"):
        gc.sweep("gpt2", vary={"n_layer": [1]}, show="params").to_parquet("points.parquet")
