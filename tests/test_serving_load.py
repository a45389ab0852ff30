"""A server under load: the closed form beside a simulation of its loop, laws, memory, and what is refused."""

import math
import statistics

import pytest
from serving_loop import simulate

import gptcalc as gc
from gptcalc.errors import NegativeAnswer
from gptcalc.run.published import replicate
from gptcalc.serve.capacity import capacity_of, weights_of
from gptcalc.serve.certainty import LOADED
from gptcalc.serve.demand import demand_of, replica_of
from gptcalc.serve.replica import Pass, seconds
from gptcalc.spec.device import load_device
from gptcalc.spec.files import load_model
from gptcalc.spec.server import load_server
from gptcalc.spec.serving import LoadOptions

CASES = [
    ("llama3.1-8b", "vllm", 1, 8, 1024, 256),
    ("llama3.1-8b", "vllm", 1, 64, 512, 128),
    ("llama3.1-8b", "sglang", 1, 32, 1024, 256),
    ("llama3.1-8b", "trtllm", 1, 128, 2048, 256),
    ("qwen3-30b-a3b", "vllm", 2, 32, 2048, 512),
    ("llama3.1-70b", "trtllm", 4, 16, 4096, 128),
]


@pytest.mark.parametrize(("model", "server", "tp", "concurrency", "prompt", "output"), CASES)
def test_steady_state_is_the_loops(model: str, server: str, tp: int, concurrency: int, prompt: int, output: int) -> None:
    """The same passes, one after another, as events: the closed form's means are within a few per cent of theirs."""
    answer = gc.infer(model, server=server, tp=tp, concurrency=concurrency, prompt=prompt, output=output, lengths="drawn")
    d = answer.request
    replica, engine = replica_of(d), d.server.engine
    assert engine is not None
    known: dict[tuple[int, int], float] = {}

    def one_pass(decoding: int, chunk: float) -> float:
        key = decoding, round(chunk / 16)
        if key not in known:
            known[key] = float(seconds(replica, Pass(float(decoding), prompt + output / 2, 16.0 * key[1], 0.0, min(1.0, chunk / prompt))))
        return known[key]

    sizes = {"concurrency": concurrency, "prompt": prompt, "output": output, "chunk": engine.chunk}
    loop = simulate(one_pass, **sizes, request=engine.request, mixed=engine.policy == "mixed")
    assert answer.tpot == pytest.approx(loop.tpot, rel=0.03)
    assert answer.ttft == pytest.approx(loop.ttft, rel=0.25)
    assert answer.e2e == pytest.approx(loop.e2e, rel=0.03)


@pytest.mark.parametrize("server", ["vllm", "sglang", "trtllm", "tgi", "llama.cpp", "graph", "eager"])
def test_more_in_flight_is_slower_for_each_and_more_in_all(server: str) -> None:
    found = [gc.infer("llama3.1-8b", server=server, concurrency=n, prompt=1024, output=256) for n in (1, 4, 16, 64)]
    assert sorted(one.tpot for one in found) == [one.tpot for one in found]
    assert sorted(one.tokens_per_second for one in found) == [one.tokens_per_second for one in found]
    assert all(one.ttft <= one.e2e for one in found)
    assert found[0].to_dict()["operations"]["decode"]


def test_arrays_are_their_numbers() -> None:
    many = gc.infer("llama3.1-8b", server="vllm", concurrency=[1, 8, 64], prompt=1024, output=256)
    alone = [gc.infer("llama3.1-8b", server="vllm", concurrency=n, prompt=1024, output=256) for n in (1, 8, 64)]
    assert many.tpot.tolist() == pytest.approx([one.tpot for one in alone])
    assert many.ttft.tolist() == pytest.approx([one.ttft for one in alone])


def test_a_rate_is_the_throughput_of_what_is_in_flight() -> None:
    """Little's law: requests in flight = rate x mean time of a request."""
    answer = gc.infer("llama3.1-8b", server="vllm", rate=5, prompt=1024, output=256)
    assert answer.load.concurrency == pytest.approx(5 * answer.e2e, rel=0.01)
    assert answer.tokens_per_second == 5 * 256
    shares = answer.to_dict()["percentiles"]
    for name in ("ttft", "tpot", "e2e"):
        assert shares[name]["p50"] <= shares[name]["p90"] <= shares[name]["p99"]


def test_a_rate_beyond_saturation_names_the_largest_that_holds() -> None:
    with pytest.raises(NegativeAnswer, match="beyond saturation") as refused:
        gc.infer("llama3.1-8b", server="vllm", rate=1000, prompt=1024, output=256)
    largest = float(str(refused.value).split(": ")[1].split()[0])
    assert gc.infer("llama3.1-8b", server="vllm", rate=0.99 * largest, prompt=1024, output=256).fits


def test_replicas_share_what_comes() -> None:
    one = gc.infer("llama3.1-8b", server="vllm", rate=4, prompt=1024, output=256)
    two = gc.infer("llama3.1-8b", server="vllm", rate=8, prompt=1024, output=256, tp=1, count=2)
    assert two.tpot == pytest.approx(one.tpot, rel=1e-3)
    assert two.to_dict()["tokens_per_second_per_device"] == pytest.approx(one.tokens_per_second)


def test_shared_prefixes_and_drafts_save_work() -> None:
    plain = gc.infer("llama3.1-8b", server="vllm", concurrency=32, prompt=2048, output=256)
    shared = gc.infer("llama3.1-8b", server="vllm", concurrency=32, prompt=2048, output=256, shared_prefix=1536)
    half = gc.infer("llama3.1-8b", server="vllm", concurrency=32, prompt=2048, output=256, shared_prefix=1536, hit_share=0.5)
    assert shared.ttft < half.ttft < plain.ttft
    assert shared.max_concurrency > plain.max_concurrency
    one = gc.infer("llama3.1-8b", server="vllm", prompt=2048, output=256)
    guessed = gc.infer("llama3.1-8b", server="vllm", prompt=2048, output=256, draft=2, accepted=0.8)
    assert one.tpot / (1 + 0.8 + 0.64) < guessed.tpot < one.tpot
    assert gc.infer("llama3.1-8b", server="vllm", prompt=2048, output=256, draft=2, accepted=0).tpot > one.tpot


def test_experts_and_attention_over_devices() -> None:
    """Each device has an eighth of the experts, and with attention data parallelism all of the attention and its own sequences' cache."""
    model, device = load_model("deepseek-v3"), load_device("h200")
    sharded = replica_of(demand_of(model, device, LoadOptions(server="sglang", tp=8, precision="fp8")))
    spread = replica_of(demand_of(model, device, LoadOptions(server="sglang", attention_dp=8, ep=8, precision="fp8")))
    experts = 58 * 256 * 3 * 7168 * 2048 / 8 * (1 + 4 / 128**2)
    whole = 61 * 7168 * (1536 + 576) + 58 * 256 * 7168 * 2  # the way down to the latents, the router: on every device
    rest = weights_of(spread) - experts
    assert rest == pytest.approx(19.1e9, rel=0.01)
    assert weights_of(sharded) - experts == pytest.approx((rest - whole) / 8 + whole, rel=0.01)
    one, many = (capacity_of(each, 4096, 1024) for each in (sharded, spread))
    assert one.per_token == many.per_token == 61 * 576 * 2  # a latent is whole on every device


def test_the_cache_that_vllm_logs() -> None:
    """vLLM keeps 2·L·K·Q·2 bytes a token: 131,072 of Llama-3.1-8B in 16 bits. The rest of its share is that many tokens."""
    answer = gc.infer("llama3.1-8b", server="vllm", concurrency=1, prompt=7168, output=1024).to_dict()
    memory = answer["memory"]
    assert memory["taken"] == pytest.approx(0.9 * 81559 * 2**20)
    assert memory["weights"] == pytest.approx(16_060_522_496)
    assert answer["kv_cache_tokens"] == math.floor(memory["cache"] / 131_072)
    assert answer["max_concurrency"] == math.floor(memory["cache"] / 131_072 / 8192)


POOLS = {"server": "vllm", "prefill_pool": "2x(tp 4)", "decode_pool": "1x(tp 8)", "prompt": 2048, "output": 256}


def test_pools_never_interrupt_a_step() -> None:
    apart = gc.infer("llama3.1-70b", **POOLS, concurrency=32)
    together = gc.infer("llama3.1-70b", server="vllm", tp=8, count=16, concurrency=32, prompt=2048, output=256)
    assert apart.devices == together.devices == 16
    assert apart.tpot == pytest.approx(apart.steady.decode)
    assert apart.to_dict()["pools"]["prefill"]["workers"] == 2
    more = gc.infer("llama3.1-70b", **{**POOLS, "prefill_pool": "4x(tp 4)"}, concurrency=32)
    assert more.ttft <= apart.ttft
    assert more.devices == 24


def test_a_pool_of_prompts_saturates() -> None:
    with pytest.raises(NegativeAnswer, match="the prefill pool") as refused:
        gc.infer("llama3.1-70b", **POOLS, rate=1000)
    largest = float(str(refused.value).split(": ")[1].split()[0])
    held = gc.infer("llama3.1-70b", **POOLS, rate=0.5 * largest)
    assert held.steady.busy == pytest.approx(0.5, rel=0.01)
    assert held.load.concurrency == pytest.approx(0.5 * largest * held.e2e, rel=0.01)
    full = gc.infer("llama3.1-70b", **POOLS, concurrency=2000)
    assert full.requests_per_second == pytest.approx(largest, rel=0.02)


PROMISE = {"target": "ttft=1s,tpot=30ms", "prompt": 4000, "output": 500}


def test_the_fewest_devices_for_a_promise() -> None:
    found = gc.infer("llama3.1-70b", device="h100,h200", rate=10.0, write="vllm", **PROMISE)
    best = found.cheapest
    assert best is not None
    assert best.ttft <= 1
    assert best.tpot <= 0.03
    assert found.command_line is not None
    assert found.command_line.startswith(f"vllm serve llama3.1-70b --tensor-parallel-size {best.tp} ")
    sizes = {"tp": best.tp, "pp": best.pp, "count": best.devices, "chunk": best.chunk}
    alone = gc.infer("llama3.1-70b", device=best.device, server="vllm", rate=10.0, prompt=4000, output=500, **sizes)
    assert alone.tpot == pytest.approx(best.tpot, rel=0.05)
    fewer = best.devices - best.devices // best.replicas
    flow = gc.infer("llama3.1-70b", device=best.device, server="vllm", rate=10.0 * fewer / best.devices, prompt=4000, output=500, **sizes)
    assert flow.tpot < alone.tpot
    assert all(one.of_a_user < other.of_a_user for one, other in zip(found.front, found.front[1:], strict=False))
    assert all(one.of_a_device > other.of_a_device for one, other in zip(found.front, found.front[1:], strict=False))


def test_a_promise_that_nothing_keeps() -> None:
    found = gc.infer("llama3.1-70b", device="l4", rate=1.0, target="ttft=10ms,tpot=1ms", prompt=1000, output=100)
    assert not found.met
    assert found.closest is not None
    assert found.closest.worst > 1


def test_owned_hardware() -> None:
    """30,000 USD over four years of 8,766 hours, and 700 W at 1.2 times and 0.1 USD a kWh: 0.94 an hour."""
    answer = gc.infer("llama3.1-8b", server="vllm", capex=30000, amortise="4y", power_price=0.1)
    assert answer.usd_per_hour is not None
    assert answer.usd_per_hour.likely == pytest.approx(30000 / 35064 + 0.084)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"server": "vllm", "prefill_pool": "4x(tp 4)"}, "decode_pool is missing"),
        ({"server": "vllm", "prefill_pool": "4x(tp 4)", "decode_pool": "2x(tp 8)", "count": 9}, "16 . 16 devices are not the 9"),
        ({"server": "vllm", "prefill_pool": "4x(tp)", "decode_pool": "2x(tp 8)"}, "no number"),
        ({"server": "vllm", "prefill_pool": "4x(tp 3)", "decode_pool": "2x(tp 8)"}, "not a multiple"),
        ({"server": "vllm", "prefill_pool": "", "decode_pool": "2x(tp 8)"}, "is no pool"),
        ({"server": "vllm", "prefill_pool": "4x(tp 4)", "decode_pool": "2x(tp 8)", "tp": 2}, "contradict"),
        ({"device": "h100,h200", "server": "vllm"}, "for a promise"),
        ({"rate": 1.0, "target": "ttft=1s", "concurrency": 3}, "takes no concurrency"),
        ({"server": "vllm", "capex": 3e4, "price": 2}, "contradict"),
        ({"server": "vllm", "amortise": "4y"}, "owned hardware"),
        ({"server": "vllm", "capex": 3e4, "amortise": "soon"}, "is no time"),
        ({"rate": 1.0, "target": "ttft=1s", "write": "tgi"}, "no server to write for"),
        ({"server": "vllm", "shared_prefix": 5000}, "longer than the prompt"),
        ({"server": "vllm", "draft": 3, "accepted": 1.2}, "accepted must be a share"),
        ({"server": "vllm", "draft": 3}, "how many drafted tokens"),
        ({"server": "vllm", "accepted": 0.5}, "without drafted"),
        ({"server": "vllm", "concurrency": 4, "rate": 2}, "contradict"),
        ({"server": "vllm", "concurrency": "many"}, "no number of requests"),
        ({"server": "vllm", "precision": "fp4"}, "no fp4 arithmetic"),
        ({"server": "vllm", "ep": 2, "tp": 2}, "without experts"),
        ({"server": "vllm", "tp": 3, "count": 8}, "not a multiple"),
        ({"server": "vllm", "runtime": "graph"}, "contradict"),
        ({"server": "vlmm"}, "no server named"),
        ({"server": "vllm", "memory_share": 2}, "memory_share must be a share"),
        ({"server": "vllm", "rate": -1}, "rate must be"),
        ({"severs": "vllm"}, "no option"),
        ({"server": "vllm", "concurrency": [1, 2], "prompt": [64, 128, 256]}, "arrays of different lengths"),
        ({"server": "vllm", "batch": 4, "rate": 1.0}, "leave out|never idle"),
        ({"server": "vllm", "hit_share": 0.5}, "without a shared prefix"),
        ({"server": "vllm", "sweep": "batch=1..4"}, "means nothing for a server"),
        ({"server": "vllm", "group_size": 64, "precision": "fp8"}, "means nothing with precision fp8"),
    ],
)
def test_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(gc.GptcalcError, match=message):
        gc.infer("llama3.1-8b", **options)


def test_a_server_of_ones_own(tmp_path: object) -> None:
    path = f"{tmp_path}/mine.yaml"
    with open(path, "w") as file:
        file.write('like: vllm\ntitle: mine\nversion: "1"\nsource: measured\nengine: {step: 10e-3}\n')
    mine, theirs = (gc.infer("llama3.1-8b", server=name, concurrency=4) for name in (path, "vllm"))
    assert load_server(path).engine.policy == "mixed"  # type: ignore[union-attr]
    assert mine.tpot - theirs.tpot == pytest.approx(10e-3 - load_server("vllm").engine.step, rel=0.01)  # type: ignore[union-attr]


def test_measured_loads() -> None:
    """1,210 runs of three servers: each goal of accuracy by kind of model, and nine in ten within what is said of them."""
    rows = replicate("loads")
    assert len(rows) == 2 * 1210
    for quantity, experts, median, bias in (
        ("tpot_ms", False, 0.05, 0.02),
        ("tpot_ms", True, 0.095, 0.04),
        ("ttft_ms", False, 0.19, 0.06),
        ("ttft_ms", True, 0.42, 0.26),
    ):
        found = [row for row in rows if row.quantity == quantity and ("oss" in row.run or "deepseek" in row.run) == experts]
        errors = [row.error for row in found if row.error is not None]
        assert statistics.median(abs(error) for error in errors) < median
        assert abs(statistics.median(errors)) < bias
        factor = 1 + (found[0].interval or 0)
        assert sum(1 / factor <= 1 + error <= factor for error in errors) > 0.89 * len(errors)


@pytest.mark.slow
def test_nine_in_ten_of_tables_that_were_left_out_are_within_what_is_said() -> None:
    """Constants of a server fitted on its other tables: 90 % within the factors; with these from the other tables too, nearly so."""
    from benchmarks.serving_left_out import by_kind, inside, layouts, others

    for (kind, at), (_, left) in by_kind(layouts()).items():
        assert inside(left, lambda _, said=LOADED[kind][at]: said) >= 0.9
        assert inside(left, others(left)) > 0.87


# Qwen's speed benchmark (its documentation, 2024-11): tokens per second of 2,048 new ones at batch 1 on one A100, in bf16
QWEN = [("qwen2.5-0.5b", 1, 311.55, 47.4), ("qwen2.5-7b", 1, 84.28, 40.38), ("qwen2.5-7b", 6144, 80.7, 38.76)]


@pytest.mark.parametrize(("model", "prompt", "vllm", "transformers"), QWEN)
def test_one_user(model: str, prompt: int, vllm: float, transformers: float) -> None:
    served = gc.infer(model, device="a100-80gb", server="vllm-0.6", prompt=prompt, output=2048, precision="bf16")
    assert 2048 / served.e2e == pytest.approx(vllm, rel=0.17)
    eager = gc.infer(model, device="a100-80gb", runtime="eager", prompt=prompt, output=2048, precision="bf16")
    assert 2048 / float(eager.value) == pytest.approx(transformers, rel=0.12)
