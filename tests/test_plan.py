"""`plan`: its plans are `train`'s, the best is the best of all, what it says of the others adds up; and how it refuses."""

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import gptcalc as gc
from gptcalc.cli.moving import moving
from gptcalc.search.space import read_set
from gptcalc.search.written import written

SMALL: dict[str, Any] = {
    "device": "a100-80gb",
    "count": 16,
    "global_batch": 64,
    "seq": 1024,
    "recompute": "full",
    "sequence_parallel": False,
}


def test_the_best_is_the_best_of_every_legal_plan_that_fits() -> None:
    options: dict[str, Any] = SMALL | {"recompute": "none,full", "zero": "1"}
    answer, columns = gc.plan("gpt3-13b", **options), gc.plan("gpt3-13b", top=None, **options)
    fits = columns["fits"]
    assert (answer.found.legal, answer.found.fit) == (len(fits), fits.sum())
    assert answer.plans[0].run.step_time == pytest.approx(columns["step_time"][fits].min(), rel=1e-12)
    names = ("tp", "pp", "dp", "cp", "virtual_stages", "sequence_parallel", "zero", "batch")
    for one in answer.plans:
        same = np.logical_and.reduce([columns[name] == one.layout[name] for name in names])
        same &= columns["recompute"] == one.options["recompute"]
        assert columns["step_time"][same] == pytest.approx([one.run.step_time], rel=1e-12)
        assert columns["peak_allocated"][same] == pytest.approx([one.peak], rel=1e-12)
    times = [one.run.step_time for one in answer.plans]
    assert times == sorted(times)


@pytest.mark.parametrize("model", ["gpt2-xl", "mixtral-8x7b", "gpt-oss-20b"])
def test_every_plan_is_counted_once(model: str) -> None:
    found = gc.plan(model, device="h100-80gb", count=8, global_batch=8, seq=512, recompute="full", zero="0,1", cp=1, top=1).found
    rejected = sum(found.lost().values())
    assert found.considered == rejected + (1 if found.fit else 0)
    assert found.considered - found.legal == sum(found.rules.values())


def test_the_published_layout_of_gpt3_is_within_a_tenth_of_the_best() -> None:
    """Narayanan et al. 2021, arXiv:2104.04473: tp 8, pp 8, dp 16 on 1,024 A100."""
    held: dict[str, Any] = {"device": "a100-80gb", "count": 1024, "global_batch": 1536}
    best = gc.plan("gpt3-175b", **held, recompute="none", zero=1)
    published = gc.plan("gpt3-175b", **held, tp=8, pp=8, dp=16)
    assert published.plans[0].layout["dp"] == 16
    assert best.plans[0].run.step_time <= published.plans[0].run.step_time <= 1.1 * best.plans[0].run.step_time


def test_what_is_held_is_held_and_sizes_may_be_of_any_number() -> None:
    answer = gc.plan("gpt3-13b", device="h100-80gb", count=24, global_batch=48, seq=2048, tp="1,2", pp=[1, 3], recompute="full")
    assert {one.layout["tp"] for one in answer.plans} <= {1, 2}
    assert {one.layout["dp"] * one.layout["cp"] * one.layout["tp"] * one.layout["pp"] for one in answer.plans} == {24}
    assert {one.options["recompute"] for one in answer.plans} == {"full"}


def test_memory_and_cost_rank_by_what_they_say() -> None:
    by_memory = gc.plan("gpt3-13b", by="memory", **SMALL)
    peaks = [one.peak for one in by_memory.plans]
    assert peaks == sorted(peaks)
    assert peaks[0] <= gc.plan("gpt3-13b", **SMALL).plans[0].peak
    by_cost = gc.plan("gpt3-13b", by="cost", tokens="10B", **SMALL | {"count": "8,16"})
    assert by_cost.plans[0].cost == min(one.cost for one in by_cost.curve)


def test_a_deadline_takes_the_fewest_devices_that_meet_it() -> None:
    held: dict[str, Any] = {
        "device": "h100-80gb",
        "global_batch": 64,
        "seq": 2048,
        "tokens": "20B",
        "tp": 1,
        "pp": 1,
        "recompute": "none",
        "zero": 1,
    }
    answer = gc.plan("gpt3-1.3b", deadline="3h", top=1, **held)
    count = answer.plans[0].run.count
    assert answer.fits
    assert answer.plans[0].time <= 10800
    fewer = [one for one in answer.curve if one.run.count < count]
    assert fewer
    assert all(one.time > 10800 for one in fewer)
    assert not gc.plan("gpt3-1.3b", deadline="1min", count=8, top=1, **held).fits


def test_no_legal_plan_names_the_nearest_count() -> None:
    answer = gc.plan("gpt3-13b", device="a100-80gb", count=13, global_batch=64, tp=8)
    assert (answer.plans, answer.found.legal, answer.nearest_count) == ([], 0, 16)


def test_what_does_not_fit_names_the_nearest() -> None:
    answer = gc.plan("gpt3-175b", device="a100-80gb", count=8, global_batch=8, zero=1, recompute="full")
    assert not answer.plans
    assert answer.nearest is not None
    assert answer.found.least_excess == pytest.approx(answer.nearest.peak - answer.nearest.room)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"count": "64..8"}, "from high to low"),
        ({"count": None}, "how many devices"),
        ({"global_batch": None}, "sequences of a step"),
        ({"tp": ","}, "names no size"),
        ({"tp": 0}, "above zero"),
        ({"zero": 4}, "zero 4 is not one of"),
        ({"by": "speed"}, "by 'speed'"),
        ({"recompute": "some"}, "recompute 'some'"),
        ({"top": 0}, "top must be"),
        ({"deadline": "soon"}, "no span of time"),
        ({"tp": "1..2000:1", "pp": "1..2000:1", "batch": "1..2000:1"}, "plans is too large"),
    ],
    ids=str,
)
def test_bad_input_is_refused_in_one_line(options: dict[str, Any], error: str) -> None:
    with pytest.raises(gc.GptcalcError, match=error):
        gc.plan("gpt3-13b", **SMALL | options)


def test_sets_and_ranges() -> None:
    assert read_set("tp", "8,1,2") == (1, 2, 8)
    assert read_set("count", "64..4096") == (64, 128, 256, 512, 1024, 2048, 4096)
    assert read_set("pp", "8..24:8") == (8, 16, 24)


def test_the_command_line(run: Any) -> None:
    words = ["plan", "gpt2-xl", "--count", "8", "--global-batch", "16", "--seq", "512", "--tp", "1,2", "--pp", "1", "--zero", "1"]
    result = json.loads(run(*words, "--top", "2", "-f", "json").out)["result"]
    assert {"considered", "legal", "fit", "plans", "lost", "space"} <= set(result)
    first = result["plans"][0]
    again = json.loads(run(*first["command"].split()[1:], "--tokens", "1B", "-f", "json").out)["result"]
    assert again["step_time"] == pytest.approx(first["step_time"], rel=1e-12)
    megatron = run(*words, "--write", "megatron").out
    assert f"--micro-batch-size {first['batch']} --global-batch-size 16" in megatron
    refused = run("plan", "gpt3-175b", "--count", "8", "--global-batch", "8", "--recompute", "none")
    assert (refused.code, "no plan fits" in refused.out) == (1, True)


@pytest.mark.parametrize(("count", "global_batch", "seq", "cp"), [(8192, 2048, 8192, 1), (16384, 2048, 8192, 1), (16384, 128, 131072, 16)])
def test_the_published_layouts_of_llama_3_405b_are_legal_and_fit(count: int, global_batch: int, seq: int, cp: int) -> None:
    """The Llama 3 Herd of Models, arXiv:2407.21783, table 4 and 3.3.2: 126 layers on 16 stages, gradients divided, nothing recomputed."""
    held: dict[str, Any] = {"tp": 8, "pp": 16, "cp": cp, "zero": 2, "recompute": "none"}
    best = gc.plan("llama3-405b", device="h100-80gb", count=count, global_batch=global_batch, seq=seq, **held).plans[0]
    assert best.run.fits
    assert best.layout["dp"] == count // (8 * 16 * cp)
    assert best.layout["virtual_stages"] == 8


def test_layers_that_do_not_divide_are_searched() -> None:
    space = gc.plan("llama3-405b", device="h100-80gb", count=1024, global_batch=256, seq=8192, tp=8, pp=16, cp=1, zero=1, top=1).space
    assert space["virtual_stages"] == [1, 2, 4, 8]


def interrupting(after: int) -> Any:
    @contextmanager
    def moving() -> Iterator[Any]:
        moves: list[str] = []

        def moved(what: str, _: int, __: int) -> None:
            moves.append(what)
            if len(moves) > after:
                raise KeyboardInterrupt

        yield moved

    return moving


def test_an_interrupt_prints_the_best_so_far(run: Any, monkeypatch: Any) -> None:
    words = ["plan", "gpt2-xl", "--count", "8", "--global-batch", "16", "--seq", "512"]
    whole = json.loads(run(*words, "-f", "json").out)["result"]
    monkeypatch.setattr("gptcalc.cli.moving.moving", interrupting(3))
    stopped = run(*words, "-f", "json")
    part = json.loads(stopped.out)["result"]
    assert (stopped.code, part["interrupted"]) == (130, True)
    assert 0 < part["considered"] < whole["considered"]
    assert part["plans"]
    assert "interrupted: the best of the" in run(*words).out
    swept = run("sweep", "gpt2", "--vary", "n_layer=1..9:1", "--show", "params")
    assert (swept.code, "interrupted at 4 of 9" in swept.out) == (130, True)


def test_a_bar_moves_on_a_terminal_after_a_second(monkeypatch: Any) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    clock = iter([0.0, 0.5, 2.0, 3.0])
    monkeypatch.setattr("gptcalc.cli.moving.monotonic", lambda: next(clock))
    with moving() as moved:
        moved("plans on 8 devices", 1, 4)
        assert not shown.getvalue()
        moved("plans on 8 devices", 2, 4)
    assert "plans on 8 devices" in shown.getvalue()


def test_stages_that_are_short_are_written() -> None:
    """Megatron-LM's own options: embedding and loss counted as a layer each, or fewer layers on the last stage."""
    held: dict[str, Any] = {"device": "h100-80gb", "seq": 8192, "zero": 1, "recompute": "full", "cp": 1, "top": 1}
    uneven = gc.plan("llama3-405b", count=1024, global_batch=256, tp=8, pp=16, virtual_stages=8, **held).plans[0]
    text = written(gc.model("llama3-405b"), uneven, "megatron")
    assert "--num-layers-per-virtual-pipeline-stage 1 " in text
    assert "--account-for-embedding-in-pipeline-split --account-for-loss-in-pipeline-split" in text
    with pytest.raises(gc.GptcalcError, match="no option for 126 layers in 16 stages of 8"):
        written(gc.model("llama3-405b"), uneven, "nemo")
    last = gc.plan("llama3-405b", count=1024, global_batch=256, tp=8, pp=4, virtual_stages=1, **held | {"zero": 3})
    one = (last.plans or [last.nearest])[0]
    assert "--decoder-last-pipeline-num-layers 30" in written(gc.model("llama3-405b"), one, "megatron")
