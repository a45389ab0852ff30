"""What is said of a server's times: measured where they were, "not measured" elsewhere, and nothing of CUDA where there is none."""

import json
from typing import Any

import pytest

import gptcalc as gc
from gptcalc.spec.device import all_devices, load_device

WITHOUT_CUDA = [device.name for device in all_devices() if not device.cuda]


@pytest.mark.parametrize(
    ("model", "options", "share", "lacking"),
    [
        ("llama3.1-8b", {"device": "h100"}, 0.07, ()),
        ("gpt2", {"device": "h100"}, 0.07, ()),
        ("llama3.1-8b", {"device": "a100"}, 0.17, ()),
        ("llama3.1-8b", {"device": "h200"}, 0.25, ("h200",)),
        ("llama3.1-8b", {"device": "h100", "precision": "fp8"}, 0.25, ("fp8 weights",)),
        ("llama3.1-8b", {"device": "h100", "precision": "int4"}, 0.25, ("int4 weights",)),
        ("llama3.1-8b", {"device": "h100", "precision": "fp32"}, 0.25, ("fp32 weights",)),
        ("llama3.1-8b", {"device": "h100", "kv_precision": "fp8"}, 0.25, ("a cache in fp8",)),
        ("llama3.1-8b", {"device": "h100", "count": 2}, 0.45, ("tensor parallelism",)),
        ("llama3.1-8b", {"device": "h100", "count": 2, "pp": 2}, 0.45, ("pipelines",)),
        ("mixtral-8x7b", {"device": "h100"}, 0.25, ("mixtures of experts",)),
        ("deepseek-v2-lite", {"device": "h100"}, 0.25, ("mixtures of experts", "latent attention")),
    ],
)
def test_only_what_was_measured_is_claimed(model: str, options: dict[str, Any], share: float, lacking: tuple[str, ...]) -> None:
    answer = gc.infer(model, prompt=64, output=4, **options)
    assert answer.certainty.lacking == lacking
    assert answer.spread == share
    low, high = answer.interval["tpot"]
    predicted = float(answer.point.per_token)  # an error is predicted over measured, less one
    assert (predicted / low - 1, predicted / high - 1) == pytest.approx((share, -share))


# NVIDIA/FasterTransformer, docs/gpt_guide.md: GPT of 20B, fp16, A100-80GB; GPUs, batch, tokens read and written, milliseconds in all
FASTER_TRANSFORMER = [
    *((1, 1, 20, 8, 225), (1, 16, 60, 20, 748), (1, 128, 128, 20, 3830), (1, 1, 200, 200, 5648)),
    *((1, 64, 80, 200, 8290), (2, 1, 20, 8, 147), (2, 16, 60, 20, 510), (2, 128, 128, 20, 2365)),
    *((2, 1, 200, 200, 3544), (2, 64, 80, 200, 6003), (4, 1, 20, 8, 102), (4, 16, 60, 20, 345)),
    *((4, 128, 128, 20, 1439), (4, 1, 200, 200, 2481), (4, 64, 80, 200, 3815), (8, 1, 20, 8, 89)),
    *((8, 16, 60, 20, 272), (8, 128, 128, 20, 1072), (8, 1, 200, 200, 2080), (8, 64, 80, 200, 3173)),
]


@pytest.mark.parametrize(("count", "batch", "prompt", "output", "milliseconds"), FASTER_TRANSFORMER)
def test_requests_of_another_server_are_within_what_is_said(count: int, batch: int, prompt: int, output: int, milliseconds: float) -> None:
    shape = {"n_layer": 44, "d_model": 6144, "n_head": 48, "d_ff": 24576, "vocab_size": 51200, "n_ctx": 4096, "name": "gpt-20b"}
    answer = gc.infer(gc.model(shape), device="a100", count=count, batch=batch, prompt=prompt, output=output, precision="fp16")
    low, high = answer.certainty.around(answer.value)
    assert low < milliseconds / 1e3 < high


@pytest.mark.parametrize(("device", "factor"), [("mi300x", 1.5), ("tpu-v5e", 1.5), ("gaudi3", 1.5), ("apple-m2", 1.5), ("epyc-9654", 2.0)])
def test_another_makers_chip_has_a_factor_each_way(run: Any, device: str, factor: float) -> None:
    assert load_device(device).unmeasured_factor == factor
    result = json.loads(run("infer", "gpt2", "--device", device, "-f", "json").out)["result"]
    assert (result["spread"], result["calibrated"]) == (None, False)
    for name, time in (("ttft", "time_to_first_token"), ("tpot", "time_per_output_token")):
        assert result["interval"][name] == pytest.approx([result[time] / factor, result[time] * factor])


def test_several_of_them_have_a_larger_one() -> None:
    assert gc.infer("llama3.1-8b", device="mi300x", count=8, prompt=64, output=4).certainty.factor == 1.8


def test_code_that_python_starts_was_compared_roughly() -> None:
    answer = gc.infer("gpt2", runtime="eager", prompt=64, output=4)
    assert answer.spread is None
    assert answer.interval["ttft"] == pytest.approx([answer.point.prefill_time / 2, answer.point.prefill_time * 2])


@pytest.mark.parametrize("device", WITHOUT_CUDA)
def test_nothing_of_cuda_where_there_is_none(run: Any, device: str) -> None:
    served = run("infer", "gpt2", "--device", device)
    held = run("memory", "gpt2", "--mode", "inference", "--device", device)
    assert "uncalibrated" in served.out.splitlines()[0]
    for ran in (served, held):
        assert ran.code == 0
        assert "CUDA" not in ran.out
        assert "cuBLAS" not in ran.out
        assert "nine in ten" not in ran.out
    memory = load_device(device).memory
    assert json.loads(run("memory", "gpt2", "--mode", "inference", "--device", device, "-f", "json").out)["result"]["room"] == memory
    assert json.loads(run("infer", "gpt2", "--device", device, "-f", "json").out)["result"]["memory"]["room"] == memory


def test_the_first_line_says_uncalibrated_where_nothing_was_measured(run: Any) -> None:
    for device, said in (("h100", False), ("a100", False), ("b200", True), ("t4", True)):
        assert ("uncalibrated" in run("infer", "gpt2", "--device", device).out.splitlines()[0]) == said


def test_starting_a_kernel_is_charged_where_it_was_measured() -> None:
    for device, charged in (("h100", True), ("mi300x", True), ("tpu-v5e", False), ("epyc-9654", False), ("apple-m2", False)):
        answer = gc.infer("gpt2", device=device, prompt=64, output=4)
        assert bool(answer.point.decode.by_bound()["launch"]) == charged
        assert any("starting an operation" in note for note in answer.notes) != charged


@pytest.mark.parametrize("device", ["epyc-9654", "apple-m2", "mi300x", "tpu-v5e", "gaudi3"])
def test_one_row_streams_the_weights_where_no_tensor_core_of_nvidia_pads_it(device) -> None:
    """At one FLOP a byte every chip is far below its ridge: no matmul of a decode step of one sequence is bound by compute."""
    decode = gc.infer("gpt2", device=device, batch=1, prompt=64, output=4).point.decode.to_list()
    assert {one["bound"] for one in decode if one["operation"].endswith(("/up", "/down", "/query_key_value", "/output"))} <= {
        "bandwidth",
        "launch",
    }
