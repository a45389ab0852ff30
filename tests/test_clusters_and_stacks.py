"""The catalogue of clusters and stacks: its lists, those of the user, and the fields that their READMEs explain."""

import csv
import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import gptcalc as gc
from gptcalc.errors import GptcalcError
from gptcalc.spec.catalogue import bundled_folder, files_by_name, names_of
from gptcalc.spec.cluster import OPERATIONS, ClusterSpec, Cost, FastLink, Reliability, SlowLink, all_clusters, cluster_for, load_cluster
from gptcalc.spec.device import all_devices, load_device
from gptcalc.spec.stack import Defaults, Overlap, StackSpec, all_stacks, load_stack, stack_names

CLUSTERS = """
shared:
  link:
    name: my link
    send: 100GB
    collectives:
      all_reduce: {4: {latency: 10e-6, bandwidth: 200GB}}
      all_gather: {4: {latency: 10e-6, bandwidth: 200GB}}
      reduce_scatter: {4: {latency: 10e-6, bandwidth: 200GB}}
      all_to_all: {4: {latency: 10e-6, bandwidth: 200GB}}
  network: {name: my network, bandwidth: 1GB, share: 0.5, latency: 10e-6}
  reliability: {mtbf: 50000, restart: 600, checkpoint_bandwidth: 0.3GB, source: assumed}
clusters:
  my-rack: {title: A rack, node: 4, devices: [a100, mi300x]}
"""
STACK = (
    "title: My code\nsource: measured here\ndefaults: {runtime: nanogpt, zero: 1}\noverlap: {data: 0.5}\nspread: 0.3\nmeasured_on: [h100]\n"
)


@pytest.fixture
def presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for kind in ("clusters", "stacks", "devices"):
        (tmp_path / kind).mkdir()
    (tmp_path / "clusters" / "mine.yaml").write_text(CLUSTERS)
    (tmp_path / "stacks" / "My_Code.yml").write_text(STACK)
    monkeypatch.setenv("GPTCALC_PRESETS", str(tmp_path))
    return tmp_path


# The lists


def listed(run: Any, *arguments: str) -> list[dict[str, Any]]:
    answer = run("devices", *arguments, "-f", "json")
    assert (answer.code, answer.err) == (0, "")
    found: list[dict[str, Any]] = json.loads(answer.out)["result"]
    return found


def test_clusters_are_listed(run: Any) -> None:
    rows = {row["name"]: row for row in listed(run, "--clusters")}
    assert list(rows) == [cluster.name for cluster in all_clusters()]
    a100 = rows["dgx-a100"]
    assert (a100["node"], a100["link"]["name"], a100["all_reduce_bandwidth"], a100["network"]["bandwidth"]) == (8, "NVLink3", 257e9, 25e9)
    assert rows["gb200-nvl72"]["all_reduce_bandwidth"] == 925e9  # of the largest number of ranks that was measured
    table = run("devices", "--clusters").out
    for words in ("dgx-a100", "a100-80gb, a100-40gb", "257.0 GB/s", "25.00 GB/s", "50 %", "ICI, 3 axes"):
        assert words in table


def test_stacks_are_listed(run: Any) -> None:
    rows = {row["name"]: row for row in listed(run, "--stacks")}
    assert tuple(rows) == stack_names()
    assert rows["fsdp"]["defaults"] == {"zero": 3, "dropout": False}
    assert (rows["megatron"]["overlap"]["data"], rows["megatron"]["spread"]) == (0.9, 0.09)
    table = " ".join(run("devices", "--stacks").out.split())
    for words in ("--no-dropout --zero 3", "nothing", "±9 %", "Korthikanti et al. 2022", "shares of overlap assumed, not measured"):
        assert words in table


def test_names_narrow_every_list(run: Any) -> None:
    assert [row["name"] for row in listed(run, "h100", "a100")] == ["h100-80gb", "a100-80gb"]
    assert [row["name"] for row in listed(run, "--clusters", "pcie")] == ["pcie"]
    assert [row["name"] for row in listed(run, "--stacks", "ddp", "fsdp")] == ["ddp", "fsdp"]
    assert run("devices", "--clusters", "dgx-a100").out.startswith("dgx-a100: DGX A100")
    assert "2 stacks" in run("devices", "--stacks", "ddp", "fsdp").out


@pytest.mark.parametrize("kind", ["--clusters", "--stacks"])
def test_every_value_is_explained(run: Any, kind: str) -> None:
    shown = run("devices", kind, "--explain").out
    for row in listed(run, kind):
        assert row["name"] in shown
        one = run("devices", kind, row["name"]).out
        for note in row["notes"]:
            assert note in one
            assert note in shown
        first, *_ = (row["sources"]["network"] if kind == "--clusters" else row["source"]).split()
        assert first in one


def test_pods_have_the_chips_that_google_says() -> None:
    """docs.cloud.google.com/tpu: chips of the largest slice of each version."""
    chips = {2: 256, 3: 1024, 4: 4096, 7: 9216} | {"5e": 256, "5p": 8960, "6e": 256}
    assert {version: cluster_for(f"tpu-v{version}").node for version in chips} == chips


def test_a_narrowed_link_takes_longer() -> None:
    """H800 and A800 are H100 and A100 with 400 GB/s of NVLink both ways instead of 900 and 600."""
    options: dict[str, Any] = {"tokens": "1B", "count": 8, "batch": 8, "tp": 8, "stack": "megatron"}
    for device, cluster, narrowed, other in (("h100", "dgx-h100", "h800", "hgx-h800"), ("a100", "dgx-a100", "a800", "hgx-a800")):
        whole, less = (gc.train("gpt3-6.7b", device=name, **options) for name in (device, narrowed))
        assert (whole.inputs["cluster"], less.inputs["cluster"]) == (cluster, other)
        assert less.step_time > 1.02 * whole.step_time


def test_a_device_names_its_usual_cluster(run: Any) -> None:
    assert {row["name"]: row["cluster"] for row in listed(run)} == {one.name: cluster_for(one.name).name for one in all_devices()}
    assert "dgx-a100" in run("devices", "a100-80gb").out
    alone = " ".join(run("devices", "mi300x").out.split())
    assert "generic" in alone
    assert "no cluster is known for this device" in alone


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["--clusters", "dgx-a10"], "no cluster named 'dgx-a10'", "dgx-a100"),
        (["--clusters", "zzz"], "no cluster named 'zzz'", "'gptcalc devices --clusters' lists them"),
        (["--stacks", "fdsp"], "no stack 'fdsp'", "did you mean 'fsdp'"),
        (["a100", "h1000"], "no device named 'h1000'", "h100"),
        (["--clusters", "--stacks"], "two lists", "one at a time"),
        (["--stacks", "no/such.yaml"], "no/such.yaml: no such file", ""),
    ],
)
def test_unknown_names_are_one_line(run: Any, words: list[str], message: str, hint: str) -> None:
    answer = run("devices", *words)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err.splitlines()[0]
    assert hint in answer.err


def test_csv_has_a_row_for_each(run: Any) -> None:
    for kind, count in (("--clusters", len(all_clusters())), ("--stacks", len(all_stacks()))):
        rows = list(csv.DictReader(io.StringIO(run("devices", kind, "-f", "csv").out)))
        assert len(rows) == count


# The user's own


def test_a_cluster_of_the_user(presets: Path, run: Any) -> None:
    assert load_cluster("My_Rack").devices == ("a100-80gb", "mi300x")  # by the device's own name, whatever it was called
    assert cluster_for("mi300x").name == "my-rack"
    assert cluster_for("a100-80gb").name == "dgx-a100"  # bundled presets come first
    options = {"tokens": "1B", "device": "a100-80gb", "count": 16, "batch": 4}
    usual, own = (gc.train("gpt2-xl", cluster=name, **options) for name in (None, "my-rack"))
    assert own.inputs["cluster"] == "my-rack"
    assert own.step_time > 1.1 * usual.step_time  # half a GB/s instead of 12.5
    assert "my-rack" in run("devices", "--clusters").out


def test_a_stack_of_the_user(presets: Path, run: Any) -> None:
    own = gc.train("gpt2-xl", tokens="1B", device="h100", count=8, batch=4, stack="my-code")
    assert (own.inputs["stack"], own.inputs["runtime"], own.inputs["zero"], own.spread) == ("my-code", "nanogpt", 1, 0.3)
    assert gc.memory("gpt2-xl", batch=4, count=8, stack="my-code").to_dict()["peak_allocated"] > 0
    assert "my-code" in run("devices", "--stacks").out


def test_files_are_given_by_their_paths(presets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPTCALC_PRESETS")
    cluster, stack = presets / "clusters" / "mine.yaml", presets / "stacks" / "My_Code.yml"
    own = gc.train("gpt2-xl", tokens="1B", device="a100-80gb", count=16, cluster=str(cluster), stack=str(stack))
    assert (own.inputs["cluster"], own.inputs["stack"]) == ("my-rack", "my-code")
    chip = presets / "devices" / "chip.yaml"
    sizes = "memory: 400GiB, bandwidth: 10TB, on_chip: 1GiB, multiprocessors: 200, clock: 2G"
    chip.write_text(f"devices:\n  my-chip: {{title: A chip, kind: gpu, year: 2030, peak: {{bf16: 3P}}, {sizes}}}\n")
    assert load_device(str(chip)).name == "my-chip"
    with pytest.raises(GptcalcError, match="holds 9 clusters"):
        load_cluster(str(bundled_folder() / "clusters" / "nvidia.yaml"))


def test_the_config_folder(presets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import platformdirs

    (tmp_path / "gptcalc").mkdir()
    (tmp_path / "gptcalc" / "presets").mkdir()
    for kind in ("clusters", "stacks"):
        (presets / kind).rename(tmp_path / "gptcalc" / "presets" / kind)
    monkeypatch.delenv("GPTCALC_PRESETS")
    monkeypatch.setattr(platformdirs, "user_config_path", lambda name: tmp_path / name)
    assert load_cluster("my-rack").node == 4
    assert load_stack("my-code").spread == 0.3


def test_an_edited_file_is_read_again(presets: Path) -> None:
    assert load_cluster("my-rack").node == 4
    (presets / "clusters" / "mine.yaml").write_text(CLUSTERS.replace("node: 4", "node: 8"))
    assert load_cluster("my-rack").node == 8


def test_a_name_that_is_taken_is_an_error(presets: Path) -> None:
    (presets / "clusters" / "mine.yaml").write_text(CLUSTERS.replace("my-rack", "DGX_A100"))
    with pytest.raises(GptcalcError, match="taken already"):
        all_clusters()
    (presets / "stacks" / "FSDP.yaml").write_text(STACK)
    with pytest.raises(GptcalcError, match="taken already"):
        all_stacks()
    (presets / "devices" / "mine.yaml").write_text("devices: {my-chip: {aliases: [H100]}}")
    with pytest.raises(GptcalcError, match="the name 'h100' is taken already"):
        all_devices()


BROKEN = {
    "clusters: [my-rack": "is not valid YAML",
    "racks: {}": "unknown key 'racks'",
    "clusters: {}": "'clusters' must be a mapping of names to fields",
    "clusters: {my-rack: 8}": "'my-rack' under 'clusters' must be a name with a mapping of fields",
    "clusters: {8: {}}": "'8' under 'clusters' must be a name with a mapping of fields",
    CLUSTERS.replace("node: 4,", ""): "my-rack: field 'node' is missing",
    CLUSTERS.replace("node: 4", "node: 0"): "my-rack: node: 0 is not above zero",
    CLUSTERS.replace("node: 4", "nodes: 4"): "my-rack: unknown field 'nodes'",
    CLUSTERS.replace("share: 0.5", "share: 50"): "my-rack: network.share",
    CLUSTERS.replace("bandwidth: 1GB", "bandwidth: fast"): "my-rack: network.bandwidth: 'fast' is not a number",
    CLUSTERS.replace("all_to_all", "all_to_one"): "my-rack: link.collectives: unknown collective 'all_to_one'",
    CLUSTERS.replace("all_to_all: {4: {latency: 10e-6, bandwidth: 200GB}}", "all_to_all: {}"): "my-rack: link.collectives: no all_to_all",
    CLUSTERS.replace("all_to_all: {4:", "all_to_all: {1:"): "my-rack: link.collectives: all_to_all of 1 ranks",
    CLUSTERS.replace("a100,", "a1000,"): "my-rack.devices: no device named 'a1000'",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_cluster_is_named_and_hides_no_other(presets: Path, run: Any, text: str) -> None:
    (presets / "clusters" / "mine.yaml").write_text(text)
    assert load_cluster("dgx-a100").node == 8
    with pytest.raises(GptcalcError) as caught:
        load_cluster("my-rack")
    assert str(caught.value).startswith(f"{presets / 'clusters' / 'mine.yaml'}: ")
    assert BROKEN[text] in str(caught.value)
    assert run("devices", "--clusters").code == 2


BROKEN_STACKS = {
    STACK.replace("zero: 1", "zeros: 1"): "defaults: unknown field 'zeros'",
    STACK.replace("zero: 1", "zero: 4"): "defaults: zero: ",
    STACK.replace("zero: 1", "recompute: some"): "defaults: recompute: ",
    STACK.replace("zero: 1", "dropout: maybe"): "defaults: dropout: ",
    STACK.replace("nanogpt", "nano"): "defaults: runtime: no runtime 'nano'",
    STACK.replace("data: 0.5", "data: 2"): "overlap.data: ",
    STACK.replace("data: 0.5", "date: 0.5"): "unknown field 'overlap.date'",
    STACK.replace("[h100]", "[h1000]"): "measured_on: no device named 'h1000'",
    STACK.replace("title: My code", "accumulation: -1\ntitle: My code"): "accumulation: ",
    STACK.replace("source", "sauce"): "unknown field 'sauce'",
    STACK.replace("source: measured here\n", ""): "field 'source' is missing",
}


@pytest.mark.parametrize("text", BROKEN_STACKS)
def test_a_broken_stack_is_named_and_hides_no_other(presets: Path, text: str) -> None:
    (presets / "stacks" / "My_Code.yml").write_text(text)
    assert load_stack("fsdp").defaults["zero"] == 3
    with pytest.raises(GptcalcError) as caught:
        load_stack("my-code")
    assert f"My_Code.yml: {BROKEN_STACKS[text]}" in str(caught.value)


# What the READMEs say

README = {kind: (bundled_folder() / kind / "README.md").read_text("utf-8") for kind in ("clusters", "stacks")}


def fields(record: type[BaseModel]) -> set[str]:
    return set(record.model_fields) - {"name"}


@pytest.mark.parametrize(
    ("kind", "record"),
    [
        *(("clusters", record) for record in (ClusterSpec, FastLink, SlowLink, Reliability, Cost)),
        *(("stacks", record) for record in (StackSpec, Defaults, Overlap)),
    ],
)
def test_every_field_is_explained(kind: str, record: type[BaseModel]) -> None:
    named = {name for words in re.findall(r"`([\w.]+)`", README[kind]) for name in words.split(".")}
    assert fields(record) <= named
    if record is ClusterSpec:
        assert set(OPERATIONS) <= named


@pytest.mark.parametrize("kind", README)
def test_the_worked_example_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any, kind: str) -> None:
    example, name = re.search(r"```yaml\n(# ([\w-]+\.yaml)\n.*?)```", README[kind], re.DOTALL).groups()  # type: ignore[union-attr]
    (tmp_path / kind).mkdir()
    (tmp_path / kind / name).write_text(example)
    monkeypatch.setenv("GPTCALC_PRESETS", str(tmp_path))
    commands = re.findall(r"^gptcalc (.*)$", README[kind], flags=re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        answer = run(*shlex.split(command))
        assert (answer.code, answer.err) == (0, ""), command
        assert name.removesuffix(".yaml") in answer.out or "memory" in command


def test_what_is_left_out_of_a_collective_is_the_next_larger() -> None:
    a100 = load_cluster("dgx-a100")
    assert [a100.cost("all_reduce", n).bandwidth for n in (2, 3, 8, 16)] == [200e9, 244e9, 257e9, 257e9]


# Completion


def completed(words: str, **environment: str) -> list[str]:
    position = str(len(words.split(" ")) - 1)
    given = {**os.environ, "_GPTCALC_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": position, **environment}
    ran = subprocess.run([sys.executable, "-m", "gptcalc"], capture_output=True, text=True, env=given, check=True)
    return ran.stdout.split()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("gptcalc train gpt2 --cluster dgx-h", ["dgx-h100"]),
        ("gptcalc train gpt2 --stack megatron-", ["megatron-2021", "megatron-2022", "megatron-2024", "megatron-2025"]),
        ("gptcalc train gpt2 --runtime n", ["nanogpt"]),
        ("gptcalc train gpt2 --device gb", ["gb200", "gb300"]),
        ("gptcalc train gpt2 --device gb200,mi300", ["gb200,mi300x"]),
        ("gptcalc memory gpt2 --stack f", ["fsdp"]),
        ("gptcalc memory gpt2 --runtime i", ["ideal"]),
        ("gptcalc memory gpt2 --device gaudi3", ["gaudi3"]),
        ("gptcalc infer gpt2 --runtime gr", ["graph"]),
        ("gptcalc infer gpt2 --device h200", ["h200", "h200-nvl"]),
        ("gptcalc devices h200", ["h200", "h200-nvl"]),
        ("gptcalc devices --clusters p", ["pcie"]),
        ("gptcalc devices --stacks d", ["ddp", "deepseek-v3", "deepspeed-zero3-2021"]),
    ],
)
def test_values_are_completed(words: str, found: list[str]) -> None:
    assert completed(words) == found


def test_the_users_own_are_completed(presets: Path) -> None:
    assert completed("gptcalc train gpt2 --cluster my", GPTCALC_PRESETS=str(presets)) == ["my-rack"]
    assert completed("gptcalc train gpt2 --stack my", GPTCALC_PRESETS=str(presets)) == ["my-code"]


def test_names_agree_with_the_parsed_files() -> None:
    assert names_of("devices") == [device.name for device in all_devices()]
    assert names_of("clusters") == [cluster.name for cluster in all_clusters()]
    assert tuple(files_by_name("stacks")) == tuple(stack.name for stack in all_stacks())
