"""Serving: laws that hold whatever the constants are."""

import json
from typing import Any

import numpy as np
import pytest
from bills import parts_add_up
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st

import gptcalc as gc
from gptcalc.errors import GptcalcError
from gptcalc.serve import point as POINT  # noqa: N812 - its name is a variable's
from gptcalc.serve.answer import Inference
from gptcalc.serve.linear import distinct_experts
from gptcalc.serve.phase import BOUNDS
from gptcalc.serve.point import point_of
from gptcalc.serve.room import serving_of
from gptcalc.serve.sweep import read_sweep
from gptcalc.serve.target import read_targets
from gptcalc.spec.cluster import load_cluster
from gptcalc.spec.device import load_device
from gptcalc.spec.server import engine_names, load_server, server_names
from gptcalc.time.collectives import collective, network_of

LLAMA = gc.model("llama3.1-8b")


def served(model: Any = LLAMA, **options: Any) -> Inference:
    return gc.infer(model, **({"batch": 4, "prompt": 512, "output": 16} | options))


def per_token(**options: Any) -> float:
    return float(served(**options).point.per_token)


@pytest.mark.parametrize("runtime", server_names())
@pytest.mark.parametrize("options", [{}, {"precision": "int4", "kv_precision": "fp8"}, {"count": 4}, {"output": 1}])
def test_parts_and_shares_add_up(runtime: str, options: dict[str, Any]) -> None:
    answer = served(runtime=runtime, **options)
    for part, phase in zip(answer.parts, (answer.point.prefill, answer.point.decode), strict=True):
        parts_add_up(part)
        assert part.value == pytest.approx(float(phase.mean))
        assert sum(phase.by_bound().values()) == pytest.approx(float(phase.mean))
        shares = [one["share"] for one in phase.to_list()]
        waiting = sum(node.value for name, node in part.walk() if name == "waiting for the processor")
        assert sum(shares) == pytest.approx(1 - waiting / part.value)
        assert {one["bound"] for one in phase.to_list()} <= set(BOUNDS)


@settings(max_examples=examples(40), deadline=None)
@given(st.integers(1, 300), st.integers(1, 4000))
def test_more_work_never_takes_less_and_twice_the_users_never_slow_the_server(batch: int, prompt: int) -> None:
    work = served().work
    sizes = ((batch, prompt), (batch + 1, prompt), (batch, prompt + 1), (2 * batch, prompt))
    one, more, longer, twice = (point_of(work, b, p, 4) for b, p in sizes)
    assert more.prefill_time >= one.prefill_time <= longer.prefill_time
    assert more.per_token >= one.per_token <= longer.per_token
    assert twice.rate >= one.rate * (1 - 1e-9)  # the weights are read once for all; one more may open another tile


def test_the_integral_equals_the_sum_of_its_steps() -> None:
    for model, options in ((LLAMA, {}), (gc.model("mistral-7b"), {"prompt": 4090}), (LLAMA, {"runtime": "eager"})):
        whole = served(model, output=12, **options).point
        steps = [float(served(model, output=1, **options | {"prompt": options.get("prompt", 512) + i}).point.first) for i in range(11)]
        assert whole.decode_time == pytest.approx(sum(steps), rel=1e-12)
        assert (whole.first, whole.last) == pytest.approx((steps[0], steps[-1]), rel=1e-12)


@pytest.mark.parametrize(("name", "prompt", "near"), [("llama3.1-8b", 512, 1e-9), ("mistral-7b", 3000, 1e-8), ("llama4-scout", 3000, 1e-5)])
def test_the_mean_of_many_steps_is_that_of_all(monkeypatch: pytest.MonkeyPatch, name: str, prompt: int, near: float) -> None:
    model = gc.model(name)
    taken, every = (
        gc.infer(model, prompt=prompt, output=20_001).point for _ in (monkeypatch.setattr(POINT, "STEPS", n) for n in (4096, 20_000))
    )
    assert taken.per_token == pytest.approx(float(every.per_token), rel=near)
    assert (taken.first, taken.last) == pytest.approx((every.first, every.last), rel=1e-12)


def test_an_answer_without_end_is_answered() -> None:
    answer = gc.infer(gc.model("gpt2", {"n_ctx": "1e15"}), prompt=100, output=10**12)
    assert answer.point.decode.seconds.size <= 4096
    assert answer.point.per_token == pytest.approx((answer.point.first + answer.point.last) / 2, rel=1e-6)  # long caches: a straight line
    sizes = np.arange(1.0, 2001.0)
    assert served(batch=sizes, output=4096).point.decode.seconds.size <= 2**18
    for shape, number in (((100_001,), "100,001"), ((40_000, 1), "1,600,000,000")):
        with pytest.raises(GptcalcError, match=f"{number} (settings at once|places together)"):
            served(batch=np.ones(shape), prompt=np.full((1, shape[0]) if len(shape) > 1 else 1, 16.0))


def test_first_and_last_step_are_one_where_there_is_one() -> None:
    point = served(output=1).point
    assert point.first == point.last == point.per_token


def test_arrays_equal_scalars() -> None:
    batches, prompts = [1, 8, 64], [128, 2000, 333]
    for options in ({}, {"runtime": "eager"}, {"precision": "int4"}, {"count": 2}, {"count": 4, "tp": 2, "pp": 2}):
        together = served(batch=np.array(batches, dtype=float), prompt=np.array(prompts, dtype=float), **options)
        for i, (batch, prompt) in enumerate(zip(batches, prompts, strict=True)):
            alone = served(batch=batch, prompt=prompt, **options)
            for name in ("prefill_time", "first", "last", "per_token"):
                assert getattr(together.point, name)[i] == pytest.approx(getattr(alone.point, name), rel=1e-9), name
            assert together.room.kv_cache[i] == alone.room.kv_cache
            assert together.cost is not None
            assert alone.cost is not None
            assert together.cost.output.likely[i] == pytest.approx(alone.cost.output.likely)


def test_what_is_returned_serialises() -> None:
    for options in ({}, {"batch": [1, 2]}, {"batch": [1.0, 2.0], "prompt": np.array([5, 6])}, {"device": "t4", "precision": "fp16"}):
        result = json.loads(json.dumps(served(**options).to_dict(), allow_nan=False))
        assert np.all(np.array(result["time_per_output_token"]) > 0)
    assert gc.infer("gpt2", batch=2).to_dict()["kv_cache_bytes"] == 2 * 1024 * 36864


def test_fewer_bits_are_read_faster() -> None:
    assert per_token(precision="int4") < per_token(precision="int8") < per_token(precision="bf16") < per_token(precision="fp32")
    assert per_token(precision="fp8") < per_token(precision="int8")  # the arithmetic takes fp8 as it is
    full, half = (per_token(batch=64, prompt=4096, kv_precision=kv) for kv in ("bf16", "fp8"))
    assert half < full
    # kernels take fp8 as it is: half the bytes, half the time
    wide, narrow = (served(batch=64, prompt=4096, output=1, kv_precision=kv) for kv in ("bf16", "fp8"))
    fixed = wide.work.chip.decode_attention_fixed * 32
    assert seconds_of(narrow, "core") - fixed == pytest.approx((seconds_of(wide, "core") - fixed) / 2)
    assert per_token(precision="int4", group_size=32) > per_token(precision="int4", group_size=128)


def test_a_type_without_arithmetic_is_dequantised_and_said() -> None:
    answer = served(device="a100", precision="fp8")
    assert any("a100-80gb has no fp8 arithmetic" in note for note in answer.notes)
    assert not any("fp8" in note for note in served(device="h100", precision="fp8").notes)
    assert any("int4 weights are dequantised" in note for note in served(precision="int4").notes)
    assert answer.point.per_token < served(device="a100").point.per_token  # half the bytes all the same


def test_grouped_heads_read_less() -> None:
    many = {"batch": 32, "prompt": 4096}
    grouped, full = served(**many), served(LLAMA.model_copy(update={"n_kv_head": None}), **many)
    assert full.room.kv_cache == 4 * grouped.room.kv_cache
    times = [{one["operation"]: one["time"] for one in answer.point.decode.to_list()} for answer in (grouped, full)]
    assert 3.5 < times[1]["block/attention/core"] / times[0]["block/attention/core"] < 4


def test_a_window_bounds_the_cache_and_its_time() -> None:
    mistral = gc.model("mistral-7b")
    early, late = (served(mistral, batch=16, prompt=prompt, output=1) for prompt in (5000, 20000))
    assert early.point.per_token == late.point.per_token
    assert early.room.kv_cache == late.room.kv_cache
    assert late.point.prefill_time > 3 * early.point.prefill_time


def test_a_window_keeps_its_pairs_only() -> None:
    mistral = gc.model("mistral-7b")
    for prompt in (100, 4096, 9000):
        point = served(mistral, batch=2, prompt=prompt, output=1).point
        flops = {one["operation"]: one["flops"] for one in point.prefill.to_list()}["block/attention/core"]
        assert flops == 4 * 32 * 2 * 4096 * sum(min(i, 4096) for i in range(1, prompt + 1))
        decode = {one["operation"]: one["flops"] for one in point.decode.to_list()}["block/attention/core"]
        assert decode == 4 * 32 * 2 * 4096 * min(prompt + 1, 4096)


MIXTRAL = gc.model({**LLAMA.model_dump(exclude_none=True, exclude_defaults=True), "n_expert": 8, "n_expert_per_token": 2, "d_expert": 4096})
LATENT = gc.model(
    {
        "name": "latent",
        **{"n_layer": 61, "d_model": 7168, "n_head": 128, "d_head": 192, "d_head_value": 128, "d_ff": 18432, "vocab_size": 129280},
        **{"n_ctx": 4096, "position": "rotary", "d_rotary": 64, "q_lora_rank": 1536, "kv_lora_rank": 512, "norm": "rmsnorm"},
        **{"activation": "silu", "gated": True, "tied": False, "attention_bias": False, "attention_output_bias": False, "mlp_bias": False},
    }
)


def bytes_of(answer: Inference, ending: str) -> float:
    return float(sum(one["bytes"] for one in answer.point.decode.to_list() if one["operation"].endswith(ending)))


def test_a_batch_reads_the_experts_that_it_touches() -> None:
    one, four, many = (served(MIXTRAL, batch=n, precision="bf16") for n in (1, 4, 512))
    inner = 32 * 3 * 4096 * 4096 * 2
    assert bytes_of(one, "experts/gate_up") + bytes_of(one, "experts/down") == pytest.approx(2 * inner, rel=0.01)
    assert bytes_of(four, "experts/gate_up") + bytes_of(four, "experts/down") == pytest.approx(distinct_experts(8, 2, 4) * inner, rel=0.01)
    assert bytes_of(many, "experts/gate_up") + bytes_of(many, "experts/down") > 8 * inner
    assert one.point.per_token < four.point.per_token < many.point.per_token


def test_a_latent_is_the_cache() -> None:
    answer = served(LATENT, batch=16, prompt=2000, output=1, count=8, precision="fp8")
    assert answer.room.kv_cache == 16 * 2001 * 70272  # of DeepSeek-V3, 61 layers of 512 + 64 numbers
    core = next(one for one in answer.point.decode.to_list() if one["operation"].endswith("core"))
    assert core["bytes"] == pytest.approx(16 * 2001 * 70272, rel=0.1)  # whole on every rank
    assert core["flops"] == 61 * 2 * 16 * 2001 * 16 * (2 * 512 + 64)


def test_an_encoder_is_refused() -> None:
    with pytest.raises(GptcalcError, match="encoder"):
        gc.infer("transformer-base")


def test_distinct_experts_of_a_batch() -> None:
    assert distinct_experts(8, 2, 1) == 2
    assert distinct_experts(8, 8, 5) == 8
    assert distinct_experts(64, 6, 10**6) == pytest.approx(64)
    counts = [distinct_experts(256, 8, n) for n in (1, 2, 8, 64, 512)]
    assert counts == sorted(counts)


def test_tensor_parallel_is_faster_and_less_efficient() -> None:
    one, two, eight = (served("llama3.1-70b", precision="int4", count=n).point.per_token for n in (1, 2, 8))
    assert one / 2 < two < one
    assert two / 4 < eight < two
    assert "all-reduce" in str([one["operation"] for one in served(count=2).point.decode.to_list()])


def test_replicas_serve_more_users_as_fast() -> None:
    one, four = served(), served(count=4, tp=1)
    assert four.point.per_token == one.point.per_token
    assert four.tokens_per_second == pytest.approx(4 * one.tokens_per_second)
    assert four.steady.tokens_per_second == pytest.approx(4 * one.steady.tokens_per_second)
    assert four.cost is not None
    assert one.cost is not None
    assert four.cost.output.likely == pytest.approx(one.cost.output.likely)


def test_a_full_pipeline_serves_more_and_answers_one_no_sooner() -> None:
    flat, pipe = served(batch=32), served(batch=32, count=4, pp=4)
    assert pipe.tokens_per_second > flat.tokens_per_second
    assert served(batch=1, count=4, pp=4).point.per_token > served(batch=1).point.per_token
    assert pipe.point.prefill_time < flat.point.prefill_time
    assert pipe.room.to_dict()["weights"] < flat.room.to_dict()["weights"]


def test_eager_waits_for_the_processor() -> None:
    assert per_token(batch=1, runtime="eager") > 3 * per_token(batch=1)
    eager = served(batch=1, runtime="eager")
    assert eager.point.decode.bound == "launch"
    assert served("gpt2", batch=1, prompt=128).point.decode.bound == "launch"  # kernels of some three microseconds
    assert served(batch=1).point.decode.bound == "bandwidth"
    assert served(batch=16).point.prefill.bound == "compute"


def test_memory_decides_between_two_chips_of_one_peak() -> None:
    h100, h200 = (served(device=name, batch=1).point.per_token for name in ("h100", "h200"))
    assert 1 < h100 / h200 < 4.8 / 3.35


def test_the_largest_batch_fits_and_one_more_does_not() -> None:
    for options in ({}, {"precision": "int4", "block_size": 16}, {"count": 2}):
        answer = served(**options)
        most = answer.room.max_batch
        assert most is not None
        assert serving_of(answer.request, most).value <= answer.room.room < serving_of(answer.request, most + 1).value
    assert served("gpt3-175b").room.max_batch == 0
    assert not served("gpt3-175b").fits


def test_money_is_the_time_of_all_devices() -> None:
    answer = served(count=4, tp=2, price=3.6)
    r = answer.request
    assert answer.cost is not None
    paid = r.replicas * r.batch * (r.prompt * answer.cost.input.likely + r.output * answer.cost.output.likely) / 1e6
    assert paid == pytest.approx(answer.value * 4 * 3.6 / 3600)


def test_steady_state_is_decoding_and_others_prompts() -> None:
    answer = served(output=64)
    assert answer.steady.tokens_per_second < answer.tokens_per_second
    assert answer.steady.tokens_per_second == pytest.approx(answer.steady.requests_per_second * 64)
    alone = float(served(output=64, batch=1).point.prefill_time)
    stay = alone + 63 * answer.steady.time_per_output_token  # its own prompt, then a token at a time: as benchmarks count
    assert stay == pytest.approx(4 * alone + answer.point.decode_time)
    one = served(output=64, batch=1)
    assert one.steady.time_per_output_token == pytest.approx(one.point.per_token)


def test_a_sweep_is_the_answers_of_its_points() -> None:
    answer = served(sweep="batch=1..20")
    assert answer.sweep is not None
    assert [row["batch"] for row in answer.sweep.rows] == [1, 2, 4, 8, 16, 20]
    for row in answer.sweep.rows:
        alone = served(batch=row["batch"])
        assert row["tokens_per_second"] == pytest.approx(alone.tokens_per_second)
        assert row["bound"] == alone.point.decode.bound
        assert row["fits"] == alone.fits
    prompts = served(sweep="prompt=128,512")
    assert prompts.sweep is not None
    assert prompts.sweep.rows[1]["time_to_first_token"] == pytest.approx(answer.point.prefill_time)


def test_where_decoding_turns_compute_bound() -> None:
    turns = served(prompt=16, sweep="batch=1,2").sweep.turns  # type: ignore[union-attr]
    assert turns["matmuls"] is not None
    ridge = 989.4e12 / 3.35e12
    assert ridge / 2 < turns["matmuls"] < 2 * ridge
    below, above = (served(prompt=16, batch=turns["matmuls"] + d).point.decode.by_bound(of="matmul") for d in (-1, 0))
    assert below["bandwidth"] + below["launch"] >= below["compute"]
    assert above["compute"] > above["bandwidth"]
    assert served(prompt=8000, sweep="batch=1").sweep.turns["decode_step"] is None  # type: ignore[union-attr]


def test_targets_are_kept_by_the_batch_that_is_named() -> None:
    answer = served(target="ttft=200ms,tpot=12ms")
    assert answer.targets is not None
    here = answer.targets.here
    assert here.meets
    point = served(batch=here.batch).point
    assert point.prefill_time <= 0.2
    assert point.per_token <= 0.012
    more = served(batch=here.batch + 1).point
    assert here.binds == "ttft"
    assert more.prefill_time > 0.2
    prices = [offer.usd_per_hour for offer in answer.targets.cheapest]
    assert prices == sorted(prices)
    assert all(offer.meets and offer.batch >= 4 for offer in answer.targets.cheapest)


def test_targets_that_nothing_meets_name_the_closest() -> None:
    targets = served(target="tpot=10us").targets
    assert targets is not None
    assert not targets.met
    assert targets.closest is not None
    assert targets.closest.ratios["tpot"] > 1


def test_what_memory_binds() -> None:
    targets = served(target="ttft=1000s").targets
    assert targets is not None
    assert targets.here.binds == "memory"
    assert targets.here.batch == served().room.max_batch


def seconds_of(answer: Inference, operation: str) -> float:
    return float(sum(one["time"] for one in answer.point.decode.to_list() if one["operation"].endswith(operation)))


@pytest.mark.parametrize(("device", "cluster"), [("a100", "dgx-a100"), ("h100", "dgx-h100"), ("b200", "dgx-b200"), ("l40s", "pcie")])
def test_servers_and_training_runs_send_alike(device: str, cluster: str) -> None:
    net = network_of(load_cluster(cluster), load_device(device))
    for batch in (1, 64, 1024):
        answer = served(device=device, count=4, batch=batch, output=1)
        message = 2 * batch * LLAMA.d_model
        assert seconds_of(answer, "attention/all-reduce") == pytest.approx(32 * collective(net, "all_reduce", message, 4))
        logits = 2 * batch * 128512  # padded to a multiple of 128 for each rank
        assert seconds_of(answer, "head/all-gather") == pytest.approx(collective(net, "all_gather", logits, 4))


def test_a_server_wider_than_its_node_goes_over_the_network() -> None:
    for batch in (1, 512):
        eight, sixteen = (served("llama3.1-70b", device="a100", count=n, batch=batch) for n in (8, 16))
        assert seconds_of(sixteen, "all-reduce") > 1.3 * seconds_of(eight, "all-reduce")
    assert any("wider than the 8 devices of NVLink3" in note for note in sixteen.notes)
    assert not any("wider" in note for note in eight.notes)
    rack = served("llama3.1-70b", device="gb200", count=16, batch=64)
    assert not any("wider" in note for note in rack.notes)


def test_an_assumed_node_is_scaled_to_its_link() -> None:
    slow, fast = (served(device=name, count=2, batch=512, precision="fp16", prompt=64) for name in ("v100-32gb", "mi300x"))
    assert seconds_of(slow, "all-reduce") > 1.5 * seconds_of(fast, "all-reduce")  # 150 and 448 GB/s
    assert all(any("no cluster is known" in note for note in answer.notes) for answer in (slow, fast))
    assert not any("cluster" in note for note in served(device="mi300x").notes)
    for options in ({"count": 2}, {"count": 2, "pp": 2}):
        with pytest.raises(GptcalcError, match="no link between devices of epyc-9654"):
            served(device="epyc-9654", **options)


@pytest.mark.parametrize("device", ["h100-80gb", "v100-32gb", "tpu-v5e", "mi300x", "gaudi3", "epyc-9654", "apple-m2", "t4"])
@pytest.mark.parametrize("model", ["gpt2", "gpt1", "opt-350m", "gptj-6b", "pythia-1b", "llama2-7b", "mistral-7b"])
def test_every_kind_of_model_is_served_on_every_kind_of_device(model: str, device: str) -> None:
    point = gc.infer(model, device=device, prompt=64, output=4).point
    floor = 2 * gc.params(gc.model(model)).value / load_device(device).bandwidth
    assert point.per_token > 0.6 * floor  # an embedding that is looked up is not read
    assert point.prefill_time > 0


def test_servers_name_kinds_of_the_table() -> None:
    for name in (*server_names(), *engine_names()):
        kinds = {"lookup", "add", "norm", "rotary", "softmax", "activation", "product", "routing", "cache"}
        assert set(load_server(name).passes) == kinds


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompt": 131072}, "n_ctx"),
        ({"batch": 0}, "batch"),
        ({"output": 2.5}, "output"),
        ({"count": 3}, "n_head 32 is not a multiple"),
        ({"count": 8, "tp": 3}, "8 devices are not a multiple of tp 3"),
        ({"device": "v100-32gb", "precision": "bf16"}, "no bf16 arithmetic"),
        ({"target": "tpot"}, "no time"),
        ({"target": "tps=3s"}, "no target"),
        ({"precision": "int3"}, "no precision"),
        ({"kv_precision": "int3"}, "no cache precision"),
        ({"group_size": 32}, "group size"),
        ({"runtime": "gpaph"}, "no inference runtime"),
        ({"device": "h1000"}, "no device"),
        ({"users": 3}, "no option"),
        ({"sweep": "depth=1..2"}, "no sweep"),
        ({"sweep": "prompt=1..200000"}, "n_ctx"),
        ({"price": "0"}, "price"),
    ],
)
def test_bad_input_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(GptcalcError, match=words):
        served(**options)


def test_reading_sweeps_and_targets() -> None:
    assert read_sweep("batch=3..3") == ("batch", [3])
    assert read_sweep("prompt=100,50") == ("prompt", [100, 50])
    assert read_targets("TTFT=1.5s, tpot = 800us") == {"ttft": 1.5, "tpot": pytest.approx(0.0008)}
    for text in ("", "ttft", "ttft=0ms", "ttft=5", "itl=5ms"):
        with pytest.raises(GptcalcError):
            read_targets(text)


def test_one_replica_is_served_where_no_count_is_given() -> None:
    for options, count in (({}, 1), ({"tp": 2}, 2), ({"pp": 2}, 2), ({"tp": 4, "pp": 2}, 8)):
        request = gc.infer("llama3-8b", prompt=64, output=4, **options).request
        assert (request.count, request.replicas) == (count, 1)


@pytest.mark.parametrize("call", [gc.infer, lambda model, **size: gc.memory(model, mode="inference", **size)])
def test_a_size_that_does_not_divide_comes_with_those_beside_it_that_do(call: Any) -> None:
    """32 heads: 2 and 4 are the divisors next to 3."""
    with pytest.raises(GptcalcError, match="n_head 32 is not a multiple of tensor parallel size 3") as refused:
        call("llama3-8b", tp=3)
    assert refused.value.hint == "tensor parallel size 2 or 4 would do"
