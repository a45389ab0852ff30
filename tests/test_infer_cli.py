"""`gptcalc infer` as a user types it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]

KEYS = {
    *("prefill_time", "decode_step_time_first", "decode_step_time_last", "time_to_first_token", "time_per_output_token"),
    *("tokens_per_second", "kv_cache_bytes", "max_batch", "bound", "fits", "steady", "operations", "notes", "parts"),
    *("usd_per_million_input_tokens", "usd_per_million_output_tokens"),
}


def answer(run: Run, *arguments: object) -> dict[str, Any]:
    ran = run("infer", *arguments, "--format", "json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def test_the_contract_of_json(run: Run) -> None:
    document = answer(run, "gpt3-13b", "--device", "h100-80gb", "--batch", 8, "--prompt", 1024, "--output", 256)
    result, inputs = document["result"], document["inputs"]
    assert result.keys() >= KEYS
    assert document["command"] == "infer"
    assert result["time_to_first_token"] == result["prefill_time"]
    assert result["decode_step_time_first"] < result["time_per_output_token"] < result["decode_step_time_last"]
    assert result["kv_cache_bytes"] == 2 * 2 * 40 * 5120 * 8 * 1280
    assert result["tokens_per_second"] == pytest.approx(8 / result["time_per_output_token"])
    assert result["request_time"] == pytest.approx(result["time_to_first_token"] + 255 * result["time_per_output_token"])
    for name, time in (("ttft", "time_to_first_token"), ("tpot", "time_per_output_token")):
        low, high = result["interval"][name]
        assert low < result[time] < high
    wanted = {
        "batch": 8,
        "prompt": 1024,
        "output": 256,
        "count": 1,
        "tp": 1,
        "device": "h100-80gb",
        "runtime": "graph",
        "precision": "bf16",
    }
    assert wanted.items() <= inputs.items()
    assert inputs["kv_precision"] == "bf16"
    for one in result["operations"]["decode"]:
        assert one.keys() >= {"operation", "time", "share", "bound", "intensity"}


def test_one_step_has_both_keys(run: Run) -> None:
    result = answer(run, "gpt2", "--prompt", 127, "--output", 1)["result"]
    assert result["decode_step_time_first"] == result["decode_step_time_last"] == result["time_per_output_token"]
    assert result["request_time"] == result["time_to_first_token"]  # its only token is the prefill's


@pytest.mark.parametrize("extra", [(), ("--explain",), ("--sweep", "batch=1..64"), ("--roofline",), ("--target", "ttft=1s,tpot=20ms")])
@pytest.mark.parametrize("model", ["gpt2", "llama3.1-8b"])
def test_tables_fit_in_80_columns(run: Run, monkeypatch: pytest.MonkeyPatch, model: str, extra: tuple[str, ...]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ran = run("infer", model, "--batch", 4, *extra)
    assert ran.code == 0
    body = [line for line in ran.out.splitlines() if line.startswith(("─", " ", "block", "batch", "┌", "decode", "1 ×"))]
    assert body
    assert max(map(len, body)) <= 80


def test_the_answer_says_what_bounds_it(run: Run) -> None:
    ran = run("infer", "gpt3-13b", "--batch", 8)
    assert "(TTFT)" in ran.out
    assert "(TPOT)" in ran.out
    assert "bound by bandwidth" in ran.out
    assert "bound by compute" in ran.out
    assert "the largest batch that fits" in ran.out
    assert "a million output tokens" in ran.out


def test_a_sweep_draws_and_names_the_turn(run: Run) -> None:
    ran = run("infer", "llama3.1-8b", "--sweep", "batch=1..256")
    assert ran.code == 0
    assert "compute-bound at batch" in ran.out
    assert "┤" in ran.out
    result = answer(run, "llama3.1-8b", "--sweep", "batch=1..256")["result"]["sweep"]
    assert len(result["points"]) == 9
    assert result["compute_bound_from_batch"]["matmuls"] > 100
    csv = run("infer", "llama3.1-8b", "--sweep", "batch=1..4", "-f", "csv").out.splitlines()
    assert csv[0].startswith("batch,")
    assert len(csv) == 4


def test_the_roofline_is_data_too(run: Run) -> None:
    roof = answer(run, "llama3.1-8b", "--roofline")["result"]["roofline"]
    assert roof["ridge"] == roof["peak"] / roof["bandwidth"]
    matmuls = [point for point in roof["points"] if point["operation"].endswith("down")]
    assert [point["bound"] for point in matmuls] == ["compute", "bandwidth"]
    assert all(point["share_of_roof"] <= 1 for point in matmuls)
    assert "┤" in run("infer", "llama3.1-8b", "--roofline").out


def test_what_does_not_fit(run: Run) -> None:
    ran = run("infer", "gpt3-13b", "--batch", 500)
    assert ran.code == 1
    assert "does not fit" in ran.err
    assert ran.out.startswith("gpt3-13b on h100-80gb: does not fit, ")
    assert "the largest batch that fits is 55" in ran.err
    ran = run("infer", "gpt3-175b")
    assert ran.code == 1
    assert "the weights alone do not fit" in ran.err
    result = json.loads(run("infer", "gpt3-13b", "--batch", 500, "-f", "json").out)["result"]
    assert result["fits"] is False
    assert result["max_batch"] == 55


def test_targets_are_answered_first_and_by_the_token_too(run: Run) -> None:
    lines = run("infer", "llama3-8b", "--prompt", 4096, "--output", 256, "--target", "tpot=50ms").out.splitlines()
    assert lines[0] == "llama3-8b on h100-80gb: 118 sequences at once within TPOT 50.00 ms, bound by memory"
    assert {"TTFT", "TPOT", "$/M"} <= set(lines[2].split())
    rows = [line.split() for line in lines[4 : lines.index("", 4)]]
    least = min(rows, key=lambda row: float(row[-1].strip("$")))
    assert any(line.startswith(f"cheapest by the token of these, each at its largest batch: {' '.join(least[:3])}") for line in lines)
    uncalibrated = {row[2] for row in rows} - {"h100-80gb"}
    assert any(line.startswith("uncalibrated") and all(name in line for name in uncalibrated) and "h100" not in line for line in lines)


def test_one_new_token_is_the_prefill_s(run: Run) -> None:
    out = run("infer", "gpt2", "--output", 1).out
    assert "1 new one," in out
    assert "the last one" not in out


def test_targets_that_nothing_meets(run: Run) -> None:
    ran = run("infer", "llama3.1-8b", "--target", "tpot=1us")
    assert ran.code == 1
    assert "the closest is" in ran.err
    assert run("infer", "gpt3-175b", "--precision", "int4", "--target", "ttft=5s").code == 0  # other devices than the asked one


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gpt2", "--prompt", 1024, "--output", 1), "reaches 1,024 (n_ctx)"),
        (("llama2-7b", "--prompt", 4096), "--set n_ctx"),
        (("llama2-7b", "--device", "h10"), "no device named"),
        (("llama2-7b", "--target", "ttft=fast"), "write it as 200ms"),
        (("llama2-7b", "--sweep", "batch"), "batch=1..256"),
        (("llama2-7b", "--sweep", f"batch={','.join(map(str, range(1, 1002)))}"), "1,000 values at most, not 1,001"),
        (("llama2-7b", "--runtime", "vllm"), "eager, fastertransformer, graph"),
        (("llama2-7b", "--device", "t4", "--precision", "bf16"), "--precision fp16"),
        (("llama2-7b", "--count", 5), "n_head 32"),
        (("llama2-7b", "--price", "free"), "price"),
    ],
)
def test_bad_input_is_one_line_and_a_hint(run: Run, arguments: tuple[object, ...], words: str) -> None:
    ran = run("infer", *arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("error: ")
    assert words in ran.err
    assert len(ran.err.splitlines()) <= 2


def test_dequantised_and_said(run: Run) -> None:
    ran = run("infer", "llama3.1-8b", "--device", "a10g", "--precision", "fp8")
    assert "note: fp8 weights are dequantised to bf16" in ran.out
    assert "uncalibrated" in ran.out
