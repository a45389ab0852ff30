"""Devices side by side, each with its own count; and what the first line owes to who reads no further."""

import json
from typing import Any

import pytest


def test_each_device_has_its_own_count(run: Any) -> None:
    shown = json.loads(run("train", "gpt2-xl", "--tokens", "1B", "--device", "a100:8,h100:4,a100:16", "--zero", "3", "-f", "json").out)
    assert [(one["device"], one["count"]) for one in shown["result"]] == [("a100-80gb", 8), ("h100-80gb", 4), ("a100-80gb", 16)]
    for one in shown["result"]:
        assert one["device_hours"] == pytest.approx(one["count"] * one["time"] / 3600)


def test_a_device_without_a_count_takes_the_common_one(run: Any) -> None:
    shown = json.loads(run("train", "gpt2-xl", "--tokens", "1B", "--device", "a100:8,h100", "--count", "2", "-f", "json").out)
    assert [one["count"] for one in shown["result"]] == [8, 2]


def test_counts_stand_beside_their_devices_and_hours_have_their_kind(run: Any) -> None:
    out = run("train", "gpt2-xl", "--tokens", "1B", "--device", "a100:8,h100:16", "--zero", "3").out
    assert "8 × a100-80gb" in out
    assert "16 × h100-80gb is fastest" in out
    assert "GPU-hours" in out
    assert "device-hours" in run("train", "gpt2-xl", "--tokens", "1B", "--device", "a100:8,tpu-v5p:8").out


@pytest.mark.parametrize(
    ("typed", "said"), [("a100:0", "not above zero"), ("a100:x", "no device named 'a100:x'"), ("a100:", "no device named")]
)
def test_a_count_that_is_none_is_refused(run: Any, typed: str, said: str) -> None:
    ran = run("train", "gpt2", "--tokens", "1B", "--device", typed)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_memory_of_each_device_is_that_of_it_alone(run: Any) -> None:
    shown = json.loads(run("memory", "llama3-8b", "--device", "a100:8,rtx-4090,tpu-v5p:16", "--zero", "3", "-f", "json").out)["result"]
    assert [(one["device"], one["count"]) for one in shown] == [("a100-80gb", 8), ("rtx-4090", 1), ("tpu-v5p", 16)]
    for one in shown:
        alone = run("memory", "llama3-8b", "--device", one["device"], "--count", str(one["count"]), "--zero", "3", "-f", "json").out
        assert one.items() >= json.loads(alone)["result"].items()


def test_a_device_with_a_count_serves_one_replica(run: Any) -> None:
    two, whole = (
        json.loads(run("memory", "llama3-8b", "--mode", "inference", "--device", device, "-f", "json").out)["result"]
        for device in ("h100:2,h100", "h100")
    )
    assert two[1].items() >= whole.items()
    assert two[0]["weights"] < 0.51 * whole["weights"]  # both have the norms


def test_precisions_side_by_side(run: Any) -> None:
    """Llama-3-8B has 8,030,261,248 parameters; int4 has a 16-bit scale for each of 128 weights, and its embedding stays in 16 bits."""
    ran = run("memory", "llama3-8b", "--precision", "FP32,bfloat16,int8,int4", "-f", "json")
    rows = {(one["precision"], one["mode"]): one for one in json.loads(ran.out)["result"]}
    assert rows["fp32", "inference"]["weights"] == 4 * 8_030_261_248
    assert rows["bf16", "inference"]["weights"] == 2 * 8_030_261_248
    assert rows["int8", "inference"]["weights"] > rows["int4", "inference"]["weights"] > 8_030_261_248 // 2
    assert "integers have no gradients" in rows["int4", "training"]["refused"]
    assert rows["bf16", "training"]["peak_allocated"] > rows["bf16", "inference"]["peak_allocated"]
    out = run("memory", "llama3-8b", "--precision", "fp32,int4").out
    assert "to serve" in out
    assert "int4, to train: " in out
    quiet = run("memory", "llama3-8b", "--precision", "fp32,bf16", "--mode", "inference", "-q").out.split()
    assert [int(number) for number in quiet] == [rows[one, "inference"]["peak_allocated"] for one in ("fp32", "bf16")]


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        (("--device", "rtx-4090,l4", "--mode", "inference"), 0, "fits on 2 of 2, cheapest on 1 × l4"),
        (("--device", "rtx-4090,t4"), 1, "fits on none of 2"),
        (("--precision", "int8,int4", "--mode", "training"), 2, "integers have no gradients"),
        (("--device", "t4,nothing"), 2, "no device named 'nothing'"),
        (("--precision", "fp32,bf16", "--explain"), 2, "one device in one precision"),
        (("--device", "h100:3", "--mode", "inference", "--tp", "2"), 2, "not whole replicas"),
    ],
)
def test_the_verdict_of_several(run: Any, typed: tuple[str, ...], code: int, said: str) -> None:
    ran = run("memory", "llama3-8b", *typed)
    assert ran.code == code
    assert said in " ".join(ran.out.split("\n\n")[0].split() + ran.err.split())


def test_a_price_has_its_source_in_the_row(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    command = ("train", "gpt2-xl", "--tokens", "1B", "--device", "a100,h100", "--count", "8", "--zero", "3")
    assert "Lambda" in run(*command).out
    assert "$2.00/h, yours" in run(*command, "--price", "2").out


@pytest.mark.parametrize(("device", "uncalibrated"), [("tpu-v4", True), ("mi300x", True), ("h100-80gb", False)])
@pytest.mark.parametrize("mode", ["training", "inference"])
def test_memory_says_in_its_first_line_that_it_is_uncalibrated(run: Any, mode: str, device: str, uncalibrated: bool) -> None:
    first = run("memory", "gpt2", "--mode", mode, "--device", device).out.splitlines()[0]
    assert (", uncalibrated" in first) == uncalibrated


def test_a_type_that_a_chip_lacks_is_refused_by_memory_as_by_train(run: Any) -> None:
    options = ("--precision", "bf16", "--device", "t4")
    held, timed = run("memory", "gpt2", *options), run("train", "gpt2", "--tokens", "1B", *options)
    assert held.code == timed.code == 2
    assert held.err == timed.err
    assert "t4 has no bf16 arithmetic" in held.err
