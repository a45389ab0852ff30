"""Numbers that only one place of the program knows, reckoned a second time by hand."""

from dataclasses import replace
from itertools import starmap
from typing import Any

import pytest

import gptcalc as gc
from gptcalc.footprint.states import Weight, state_elements
from gptcalc.spec.device import load_device
from gptcalc.time import step as step_module
from gptcalc.time.chip import chip_of
from gptcalc.time.collectives import Network, collective
from gptcalc.time.kernels import flash

PIPELINED: list[dict[str, Any]] = [
    {"tp": 8, "pp": 8, "count": 64, "global_batch": 32},
    {"tp": 8, "pp": 8, "count": 64, "global_batch": 32, "virtual_stages": 3},
    {"tp": 4, "pp": 4, "dp": 4, "global_batch": 64, "zero": 1},
    {"tp": 8, "pp": 16, "count": 256, "global_batch": 64, "recompute": "full", "sequence_parallel": True},
]


@pytest.mark.parametrize("layout", PIPELINED, ids=str)
def test_a_step_of_a_pipeline_by_hand(monkeypatch: pytest.MonkeyPatch, layout: dict[str, Any]) -> None:
    """The slowest stage takes each micro-batch, the others pass once; every micro-batch is sent forward and backward, chunk by chunk."""
    reckoned: list[Any] = []
    terms = step_module._terms
    monkeypatch.setattr(step_module, "_terms", lambda *given: reckoned.append(terms(*given)) or reckoned[-1])
    run = gc.train("gpt3-175b", tokens="1B", device="a100-80gb", runtime="megatron", stack="megatron-2021", batch=1, **layout)
    assert run.pipeline is not None
    pairs = {role: pair["forward"] + pair["backward"] for role, pair in run.pipeline["stages"].items()}
    p, v, hop = layout["pp"], layout.get("virtual_stages", 1), run.pipeline["between"]
    m = run.inputs["accumulate"]
    parts = {path: node.value for path, node in run.parts.leaves()}
    whole = pairs["first"] + (p - 2) * pairs["middle"] + pairs["last"]
    slow = max(pairs.values())
    assert hop > 0
    assert parts["pipeline/bubble"] == pytest.approx((whole - slow + 2 * (p - 1) * hop) / v, rel=1e-12)
    assert parts["communication/between stages"] == pytest.approx(2 * m * v * hop, rel=1e-12)
    once = sum(parts.get(f"communication/{name}", 0.0) for name in ("data parallel", "embedding's two ends"))
    step = m * slow + parts["communication/between stages"] + parts["pipeline/bubble"] + parts.get("accumulation", 0.0)
    assert run.step_time == pytest.approx(step + once + parts["optimizer"], rel=1e-12)
    assert reckoned[0].total == pytest.approx(sum(parts.values()), rel=1e-12)


@pytest.mark.parametrize(
    ("operation", "seconds"), [("all_gather", 7.0), ("reduce_scatter", 7.0), ("all_reduce", 14.0), ("all_to_all", 7.0)]
)
def test_eight_ranks_move_seven_eighths(operation: str, seconds: float) -> None:
    """8 GB at 1 GB/s without latency: each rank keeps its own eighth; an all-reduce is a scatter and a gather."""
    costs = dict.fromkeys(("all_gather", "reduce_scatter", "all_reduce", "all_to_all"), ((8, 0.0, 1000000000.0, 0.0),))
    net = Network(node=8, send=1e9, costs=costs, short=None, card=1e9, share=1.0, hop=0.0)
    assert collective(net, operation, 8e9, 8) == pytest.approx(seconds)
    assert collective(net, operation, 8e9, 2) == pytest.approx(seconds / 7 * 4)


@pytest.mark.parametrize("window", [1, 2, 100, 256, 1000, 5000])
def test_a_windows_pairs_one_by_one(window: int) -> None:
    """With tiles of one key a kernel computes the pairs that a query sees: itself and those before it, `window` in all."""
    chip = chip_of(load_device("h100-80gb"))
    chip = replace(chip, constants=chip.constants | {"diagonal": 1, "flash_fixed": 0.0})
    seen = [min(query + 1, window) for query in range(1000)]
    ratio = flash(chip, 1, 1, 1000, 128, "forward", window=window).seconds(chip) / flash(chip, 1, 1, 1000, 128, "forward").seconds(chip)
    assert ratio == pytest.approx(sum(seen) / (1000 * 1001 / 2), rel=1e-12)


def test_a_cache_is_as_wide_as_keys_and_values_are() -> None:
    model = gc.model("gpt2", {"d_head_value": 32})
    cache = gc.memory(model, mode="inference", batch=3, seq=100).to_dict()["kv_cache"]
    assert cache == 2 * 3 * 100 * 12 * 12 * (64 + 32)  # bf16, layers, heads, a key of 64 and a value of 32


def test_states_of_one_matrix() -> None:
    """A 768 x 3072 matrix: Adafactor keeps a row and a column; 8-bit Adam two bytes an element and two fp32 scales for each 256."""
    matrix = Weight("block/mlp/up", 12, (768, 3072), trained=True, name="weight")
    assert sum(state_elements("adafactor", matrix).values()) == 12 * (768 + 3072)
    assert sum(state_elements("lion", matrix).values()) == 12 * 768 * 3072
    assert sum(state_elements("muon", matrix).values()) == 12 * 768 * 3072
    state = gc.memory("gpt2", optimizer="adamw-8bit", batch=1, seq=128).training.phases["before_forward"]["optimizer state"]
    large = sum(starmap(lambda n, size: n * size, LARGE))
    scales = sum(starmap(lambda n, size: n * 8 * -(-size // 256), LARGE))
    small = 12 * (3072 + 9 * 768) + 2 * 768  # biases and norms, each below 4,096 elements: two fp32 states
    assert state.value == 2 * large + scales + 8 * small


LARGE = [(1, 50257 * 768), (1, 1024 * 768), (12, 768 * 2304), (12, 768 * 768), (24, 768 * 3072)]
"""GPT-2's tensors of 4,096 elements and more: how often, elements; transformers has query, key and value in one."""


def test_muon_takes_five_steps() -> None:
    """Jordan et al. 2024: five Newton-Schulz steps of three products for each matrix of the blocks."""
    from gptcalc.time import launches

    counted: list[Any] = []
    products = launches._newton_schulz
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(launches, "_newton_schulz", lambda *given: [counted.append(one) or one for one in products(*given)])
        gc.train("gpt2", tokens="1B", optimizer="muon", runtime="ideal", precision="bf16")
    kernels = {(one.path, one.phase) for one in counted}
    assert kernels == {("optimizer", "optimizer")}
    matrices = len(counted) // 3
    assert sum(one.runs for one in counted) == 5 * 3 * matrices  # of one block


def test_a_new_request_waits_for_half_a_step() -> None:
    answer = gc.infer("llama3-8b", device="h100-80gb", batch=16, prompt=1000, output=200).to_dict()
    alone = gc.infer("llama3-8b", device="h100-80gb", batch=1, prompt=1000, output=200).to_dict()
    waits = answer["steady"]["time_to_first_token"] - alone["time_to_first_token"]
    assert waits == pytest.approx(answer["time_per_output_token"] / 2, rel=1e-9)


def test_berts_head_has_a_bias_for_each_word() -> None:
    """BertLMHeadModel of bert-base: transformers counts 109,514,298."""
    assert gc.params({"model_type": "bert", "is_decoder": True}).value == 109_514_298
