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
