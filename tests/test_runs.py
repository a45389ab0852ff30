"""The bill of a run, published runs, and what the command line makes of bad input."""

import json
from typing import Any

import numpy as np
import pytest

import gptcalc as gc
from gptcalc.ranges import read_range
from gptcalc.spec.files import load_model
from gptcalc.spec.tables import load_table
from gptcalc.table.params import params

GPT3: dict[str, Any] = {"tokens": "300B", "device": "a100", "count": 1024}


def test_hours_follow_from_mfu() -> None:
    run = gc.train("gpt3-175b", mfu=0.45, **GPT3)
    flops = gc.flops("gpt3-175b", batch=1, seq=2048, phase="training").value / 2048 * 300e9
    assert run.device_hours == pytest.approx(flops / (0.45 * 312e12) / 3600, rel=1e-3)  # whole steps
    assert run.time == pytest.approx(run.device_hours * 3600 / 1024)
    assert run.energy_kwh == pytest.approx(run.device_hours * 0.4 * 1.1)
    assert run.co2_kg == pytest.approx(run.energy_kwh * 0.385)
    assert run.cost_usd == pytest.approx(run.device_hours * 1.39)


def test_mfu_is_hfu_without_what_is_recomputed() -> None:
    none, full = (gc.train("gpt2", tokens="1B", batch=8, recompute=again) for again in ("none", "full"))
    assert none.mfu == none.hfu
    assert full.mfu < none.mfu
    assert full.hfu / full.mfu == pytest.approx(
        gc.flops("gpt2", batch=1, phase="training", recompute="full").value / gc.flops("gpt2", batch=1, phase="training").value
    )


def test_ranges_have_a_low_a_likely_and_a_high_end() -> None:
    run = gc.train("gpt3-175b", mfu="0.3..0.4..0.5", price="1.5..2.5", pue="1.1..1.2", **GPT3)
    assert run.mfu == 0.4
    for name in ("device_hours", "cost_usd", "energy_kwh", "co2_kg"):
        ends = run.ranges[name]
        assert ends["low"] < ends["likely"] == getattr(run, name) < ends["high"]
    assert run.ranges["device_hours"]["high"] == pytest.approx(run.device_hours * 0.4 / 0.3)
    assert [one["input"] for one in run.drivers] == ["mfu", "price", "pue"]  # by how much each spreads


def test_arrays_give_arrays() -> None:
    use = np.array([0.3, 0.45, 0.6])
    together = gc.train("gpt3-175b", mfu=use, **GPT3)
    alone = [gc.train("gpt3-175b", mfu=float(one), **GPT3) for one in use]
    for name in ("time", "device_hours", "cost_usd", "energy_kwh", "co2_kg", "tokens_per_second"):
        assert getattr(together, name).tolist() == pytest.approx([getattr(one, name) for one in alone])
    counts = gc.train("gpt3-175b", tokens="300B", device="h100", count=np.array([512.0, 1024.0]), mfu=0.4)
    assert counts.time[0] == pytest.approx(2 * counts.time[1], rel=1e-3)
    json.dumps(together.to_dict(), allow_nan=False)


def test_default_precision_is_one_that_the_device_has() -> None:
    assert [run.precision for run in gc.train("gpt2", tokens="1B", device=["h100", "v100", "tpu-v4"], mfu=0.3)] == [
        "amp-bf16",
        "amp-fp16",
        "amp-bf16",
    ]


def test_unknown_prices_and_powers_are_said() -> None:
    run = gc.train("gpt2", tokens="1B", device="tpu-v7", mfu=0.4)
    assert (run.cost_usd, run.energy_kwh) == (None, None)
    assert len([note for note in run.notes if "tpu-v7" in note]) == 2
    assert gc.train("gpt2", tokens="1B", device="tpu-v7", mfu=0.4, price=3).cost_usd > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": 0}, "tokens must be"),
        ({"tokens": 1.5}, "tokens must be"),
        ({"mfu": 0}, "mfu must be from 1e-06 to 1"),
        ({"mfu": 1.01}, "mfu must be from 1e-06 to 1"),
        ({"mfu": "0.5..0.4"}, "is not a range"),
        ({"mfu": float("nan")}, "mfu"),
        ({"count": 0}, "count must be"),
        ({"price": 0}, "price must be above 0"),
        ({"pue": -1}, "PUE must be 1 or more"),
        ({"device": "h1000"}, "no device named"),
        ({"device": "v100", "precision": "bf16"}, "no bf16 arithmetic"),
        ({"device": "v100", "precision": "bf16", "mfu": 0.4}, "no bf16 arithmetic"),
        ({"batch": 3, "global_batch": 8}, "does not divide"),
        ({"seq": 2048}, "learned positions"),
        ({"colour": "blue"}, "colour"),
        ({"runtime": "nanogtp"}, "no runtime named"),
    ],
)
def test_bad_input_is_one_clear_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(gc.GptcalcError) as error:
        gc.train("gpt2", **({"tokens": "1B"} | options))
    assert message in str(error.value)


def test_ranges_are_read() -> None:
    assert read_range("0.2..0.4", "x") == pytest.approx((0.2, 0.3, 0.4))
    assert read_range(3, "x").known


@pytest.mark.parametrize("row", gc.replicate(), ids=lambda row: f"{row.run}, {row.quantity}")
def test_published_run(row: Any) -> None:
    assert row.holds


def test_table_d1_of_gpt3() -> None:
    rows = [
        row
        for name in ("gpt3-125m", "gpt3-350m", "gpt3-760m", "gpt3-1.3b", "gpt3-2.7b", "gpt3-6.7b", "gpt3-13b")
        for row in gc.replicate(name)
    ]
    rows += [row for row in gc.replicate("gpt3-175b") if row.quantity in ("training_flops", "petaflop_days")]
    assert len(rows) == 16
    assert max(abs(row.error) for row in rows) < 0.006


def test_train_command(run: Any) -> None:
    answer = run("train", "gpt2", "--tokens", "10B", "--device", "h100-80gb", "--batch", 8, "--seq", 1024, "--runtime", "nanogpt")
    assert answer.code == 0
    assert "which kernels take the time" in answer.out
    document = json.loads(run("train", "gpt2", "--tokens", "10B", "--batch", 8, "-f", "json").out)
    keys = {"step_time", "tokens_per_second", "mfu", "hfu", "time", "device_hours", "cost_usd", "energy_kwh", "co2_kg", "parts"}
    assert keys <= document["result"].keys()
    assert document["inputs"]["global_batch"] == 8


def test_several_devices_side_by_side(run: Any) -> None:
    devices = "a100-80gb,h100-80gb,tpu-v4,v100-32gb"
    options = ("--tokens", "300B", "--device", devices, "--count", 1024, "--mfu", 0.45)
    table = run("train", "gpt3-175b", *options)
    assert table.code == 0
    assert all(name in table.out for name in devices.split(","))
    assert "26.00 days" in table.out
    found = json.loads(run("train", "gpt3-175b", *options, "-f", "json").out)["result"]
    assert [one["device"] for one in found] == devices.split(",")
    assert run("train", "gpt3-175b", *options, "-f", "csv").out.count("\n") == 5


def test_what_does_not_fit_is_said_and_timed(run: Any) -> None:
    answer = run("train", "gpt2-xl", "--tokens", "1B", "--batch", 64, "--seq", 1024)
    assert answer.code == 1
    assert "a step" in answer.out
    assert "does not fit" in answer.err
    assert "GiB short" in answer.err


@pytest.mark.parametrize(
    "options", [("--device", "h1000"), ("--tokens", "0"), ("--mfu", "0"), ("--mfu", "1.5"), ("--device", "v100", "--precision", "bf16")]
)
def test_bad_options_exit_with_2(run: Any, options: tuple[str, ...]) -> None:
    answer = run("train", "gpt2", "--tokens", "1B", *options)
    assert answer.code == 2
    assert answer.err.startswith("error: ")
    assert answer.out == ""


def test_replicate_command(run: Any) -> None:
    answer = run("replicate", "gpt3")
    assert answer.code == 0
    assert "3,638" in answer.out
    assert run("replicate", "gpt-5").code == 2
    assert run("replicate", "GPT3").out == answer.out
    assert "46 of 46" in run("replicate", "steps").out
    assert "46 of 46" in run("replicate", "memory").out


def test_a_stated_mfu_leaves_no_recipe_without_effect() -> None:
    with pytest.raises(gc.GptcalcError, match="with a stated MFU runtime changes nothing"):
        gc.train("gpt2", tokens="1B", mfu=0.4, runtime="nanogpt")
    layout: dict[str, Any] = {"tokens": "1B", "mfu": 0.4, "count": 8}
    for option in ({"zero": 3}, {"sequence_parallel": True}, {"cluster": "dgx-a100"}, {"slice": 4}, {"stack": "megatron"}):
        with pytest.raises(gc.GptcalcError, match=f"with a stated MFU {next(iter(option))} changes nothing"):
            gc.train("gpt2", **layout, **option)
    assert gc.train("gpt2", cluster="dgx-a100", goodput=True, **layout).goodput is not None
    assert gc.train("gpt2", stack="megatron-2022", **layout).hfu > 0.4
    assert gc.train("gpt2", tp=2, **layout).step_time < gc.train("gpt2", **layout).step_time  # half as many sequences


def test_a_window_shortens_attention() -> None:
    windowed = gc.train("mistral-7b", tokens="1B", seq=32768)
    whole = gc.train(gc.model("mistral-7b", {"sliding_window": None}), tokens="1B", seq=32768)
    short = gc.train("mistral-7b", tokens="1B", seq=4096)
    assert windowed.step_time < whole.step_time
    assert short.step_time == gc.train(gc.model("mistral-7b", {"sliding_window": None}), tokens="1B", seq=4096).step_time


def test_the_kernels_add_up_to_the_step() -> None:
    for options in ({}, {"global_batch": 8}, {"recompute": "every-5"}):
        run = gc.train("gpt2", tokens="1B", batch=2, **options)
        assert sum(kernel["time"] for kernel in run.kernels) == pytest.approx(run.step_time)


def test_every_k_recomputes_whole_blocks() -> None:
    once = gc.train("gpt2", tokens="1B", recompute="every-12")
    assert once.hfu / once.mfu == pytest.approx(
        1 + (gc.flops("gpt2").matmul["block"].value / 12) / gc.flops("gpt2", phase="training").value
    )


def test_a_building_uses_no_less_than_its_devices() -> None:
    with pytest.raises(gc.GptcalcError, match="PUE must be 1 or more"):
        gc.train("gpt2", tokens="1B", mfu=0.4, pue=0.5)
    assert gc.train("gpt2", tokens="1B", mfu=0.4, carbon=0).co2_kg == 0


def test_the_models_of_maxtexts_tpu_v4_table_have_the_size_of_their_names() -> None:
    table = load_table("maxtext")
    sizes = {row.run.split()[0]: params(load_model(row.options["model"])).value for row in table.rows if row.options["device"] == "tpu-v4"}
    assert {name: round(value / 1e9) for name, value in sizes.items()} == {"22B": 22, "52B": 52}


def test_a_token_of_a_run_with_experts_meets_its_own_only() -> None:
    """DeepSeek-V3: 37.55e9 active parameters, 14.8e12 tokens, 2.664e6 hours; the peak of bf16."""
    found = {row.quantity: row.predicted for row in gc.replicate("deepseek-v3") if row.run == "deepseek-v3"}
    assert found["mfu"] == pytest.approx(6 * 37.552e9 * 14.8e12 / (2.664e6 * 3600 * 989.4e12), rel=1e-3)
