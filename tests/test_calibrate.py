"""Constants from measured rows: a law on rows that a known constant made, the project's own constants, and the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

import gptcalc as gc
from gptcalc.run.calibrate import calibrate
from gptcalc.spec.device import load_device
from gptcalc.spec.stack import load_stack

RUN = {"device": "a100-80gb", "stack": "deepspeed-zero3-2021", "precision": "fp16", "seq": 2048, "recompute": "full"}


def rows_made_with(share: float) -> list[dict[str, Any]]:
    """Steps of 125M to 13B parameters on 64 to 512 A100s, on a network of which a known share is reached."""
    stack = load_stack(RUN["stack"]).model_copy(update={"network_share": share})
    found = []
    for model, count, batch in (("gpt3-1.3b", 64, 4), ("gpt3-6.7b", 128, 2), ("gpt3-13b", 512, 1), ("gpt3-2.7b", 256, 2)):
        options = {**RUN, "count": count, "batch": batch}
        seconds = gc.train(model, tokens="1B", **(options | {"stack": stack})).step_time
        found.append({"model": model, **options, "step_seconds": seconds})
    return found


def written(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)


def test_a_constant_that_made_the_rows_is_found(tmp_path: Path) -> None:
    rows = rows_made_with(0.4)
    rows[0]["step_seconds"] *= 1.5  # one that is wrong, and moves nothing
    found = calibrate(written(tmp_path / "rows.jsonl", rows), stack=RUN["stack"])
    (share,) = found.constants
    assert (share.name, share.before) == ("network_share", 0.25)
    assert share.after == pytest.approx(0.4, rel=0.03)
    assert max(abs(row.after) for row in found.rows[1:]) < 0.02 < max(abs(row.before) for row in found.rows[1:])


@pytest.mark.parametrize(
    ("table", "asked", "name", "value"),
    [
        ("zero3-2021", {"stack": "deepspeed-zero3-2021"}, "network_share", 0.25),
        ("maxtext", {"stack": "maxtext"}, "slices", 0.027),
        ("llm-foundry-h100", {"device": "h100-80gb"}, "attention_flash_1", 2.7),
    ],
)
@pytest.mark.slow
def test_the_projects_own_constants_come_out_of_their_rows(table: str, asked: dict[str, str], name: str, value: float) -> None:
    found = {one.name: one for one in calibrate(table, **asked).constants}
    assert found[name].before == value
    assert found[name].deviation is not None
    assert abs(found[name].after - value) < max(2.5 * found[name].deviation, 0.05 * value)


@pytest.mark.slow
def test_heads_of_odd_width_ask_for_more_where_something_else_slows_aligned_ones() -> None:
    """The trials for BLOOM ask for 0.022 with the link of a DGX, and for 0.03 where 13 trials of aligned heads are given a slower site."""
    found = {one.name: one for one in calibrate("bloom-trials", device="a100-80gb").constants}
    assert found["sustained"].after < 0.8 < found["sustained"].before
    assert 0.022 < found["unaligned_heads"].after < 0.037


def test_constants_that_no_row_depends_on_stay(tmp_path: Path) -> None:
    row = {"model": "gpt2", "stack": "llm-foundry-2023", "count": 8, "batch": 8, "step_seconds": 0.1}
    found = {one.name: one for one in calibrate(written(tmp_path / "a.jsonl", [row]), device="h100").constants}
    assert found["attention_flash_1"].deviation is not None
    assert found["attention_cudnn"].deviation is None
    assert found["attention_cudnn"].after == found["attention_cudnn"].before


def test_what_is_written_is_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    rows = [
        {"model": "gpt2", "device": "l40s", "batch": 8, "seq": 1024, "runtime": "nanogpt", "step_seconds": 0.125},
        {"model": "gpt2-medium", "device": "l40s", "batch": 8, "seq": 1024, "runtime": "nanogpt", "step_seconds": 0.35},
        {"model": "gpt2", "batch": 8, "seq": 1024, "runtime": "nanogpt", "memory_bytes": 8.6e9},
    ]
    monkeypatch.chdir(tmp_path)
    answer = run("calibrate", written(tmp_path / "rows.jsonl", rows), "--device", "l40s")
    assert "median error" in answer.out.splitlines()[0]
    assert "--device ./l40s-calibrated.yaml" in answer.err
    own = load_device("./l40s-calibrated.yaml")
    assert own.peak == load_device("l40s").peak
    assert set(own.constants) >= {"matmul", "streaming"}
    assert run("calibrate", "rows.jsonl", "--device", "l40s").err.startswith("error: l40s-calibrated.yaml: is there already")


def test_a_server_takes_latencies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    asked = {"device": "h100-80gb", "tp": 1, "prompt": 512, "output": 64}
    rows = []
    for users in (4, 16):
        answer = gc.infer("llama3.1-8b", server="vllm", concurrency=users, **asked).to_dict()
        rows.append({"model": "llama3.1-8b", **asked, "concurrency": users, "tpot": answer["tpot"] + 1e-3})  # each pass 1 ms longer
    monkeypatch.chdir(tmp_path)
    result = json.loads(run("calibrate", written(tmp_path / "rows.jsonl", rows), "--server", "vllm", "-f", "json").out)["result"]
    assert result["median_error"]["after"] < 0.25 * result["median_error"]["before"]
    later = gc.infer("llama3.1-8b", server="./vllm-calibrated.yaml", concurrency=4, **asked).to_dict()
    assert later["tpot"] == pytest.approx(rows[0]["tpot"], rel=0.03)


@pytest.mark.parametrize(
    ("line", "asked", "says"),
    [
        ("{", {"device": "h100"}, "line 1: no JSON object"),
        ('{"model": "gpt2"}', {"device": "h100"}, "nothing was measured"),
        ('{"step_seconds": 1}', {"device": "h100"}, "names no model"),
        ('{"model": "gpt2", "step_seconds": -1}', {"device": "h100"}, "a number above zero"),
        ('{"model": "gpt2", "ttft": 1}', {"device": "h100"}, "is nothing that a device decides"),
        ('{"model": "gpt2", "step_seconds": 1, "bach": 8}', {"device": "h100"}, "no option 'bach'"),
        ('{"model": "gpt2", "step_seconds": 1}', {}, "say what is calibrated"),
    ],
)
def test_rows_that_are_none_are_refused(tmp_path: Path, line: str, asked: dict[str, str], says: str) -> None:
    (tmp_path / "rows.jsonl").write_text(line)
    with pytest.raises(gc.GptcalcError, match=says.replace("(", r"\(")):
        calibrate(str(tmp_path / "rows.jsonl"), **asked)


def test_the_link_of_another_site_is_told() -> None:
    options = {"tokens": "1B", "device": "a100", "count": 8}
    divided = gc.train("gpt3-13b", tp=8, batch=4, global_batch=32, stack="megatron-2021", **options)
    (said,) = [note for note in divided.notes if "fast link of half the rate" in note]
    longer = float(said.split(" longer")[0].split()[-1].rstrip("%")) / 100
    sent = sum(one["total"] for one in divided.communication if one["name"] == "tensor parallel") / divided.step_time
    assert sent > 0.1
    assert 0.5 * sent < longer <= sent + 0.005  # nothing hides it: twice the time of its bytes, and no more than that of all of it
    assert not any("fast link of half" in note for note in gc.train("gpt3-1.3b", zero=3, **options).notes)


@pytest.mark.parametrize("command", [("params",), ("flops",), ("memory", "--batch", 1), ("train", "--tokens", "1B")])
def test_heads_of_odd_width_are_warned_of(run: Any, command: tuple[object, ...]) -> None:
    asked, *options = command
    odd = run(asked, "gpt2", "--set", "n_head=64", *options)
    assert odd.err.startswith("warning: heads of 12 channels")
    assert not run(asked, "gpt2", *options).err
