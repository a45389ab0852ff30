"""`gptcalc memory` as a user sees it: the answer, the formats, the verdict, the picture, and one clear line for what is wrong."""

import csv
import io
import json

import pytest

import gptcalc as gc

pytest.importorskip("gptcalc.spec.device")

GIB = 2**30
COMMANDS = [
    ("gpt2",),
    ("gpt2-xl", "--batch", "8", "--recompute", "full", "--device", "h100-80gb"),
    ("gpt2", "--explain"),
    ("gpt2", "--runtime", "megatron", "--tp", "2", "--pp", "2", "--precision", "bf16", "--depth", "9"),
    ("llama3-8b", "--lora-rank", "16", "--qlora", "--precision", "bf16", "--seq", "2048"),
    ("llama3-8b", "--mode", "inference", "--batch", "4", "--device", "h100-80gb"),
    ("llama3-8b", "--mode", "inference", "--precision", "int4", "--kv-precision", "fp8", "--explain", "--tp", "2"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_format(run, command) -> None:
    table = run("memory", *command)
    assert (table.code, table.err) == (0, "")
    document = json.loads(run("memory", *command, "--format", "json").out)
    assert (document["schema"], document["command"]) == (1, "memory")
    assert "| ---" in run("memory", *command, "-f", "markdown").out
    rows = list(csv.reader(io.StringIO(run("memory", *command, "-f", "csv").out)))
    assert len({len(row) for row in rows}) == 1


def test_the_verdict_comes_first_then_the_bill_then_what_else_holds(run) -> None:
    lines = run("memory", "gpt2-xl", "--batch", "8", "--recompute", "full", "--device", "h100-80gb").out.splitlines()
    assert lines[0] == "gpt2-xl on h100-80gb: fits, 27.0 of 78.8 GiB (training, 8 × 1,024 tokens)"
    assert lines[2].startswith("part")
    assert any(line.startswith("the peak is in the forward pass (at: return); amp-bf16, transformers") for line in lines)
    assert lines[-1].startswith("fits")
    assert "the largest batch that fits is" in lines[-1]


def headline(run, *command, code: int = 0) -> list[str]:
    ran = run("memory", *command)
    assert ran.code == code
    return ran.out.splitlines()[:2]


def test_what_does_not_fit_is_said_first_and_the_cheapest_change_second(run) -> None:
    first, second = headline(run, "llama3-8b", "--device", "h100", code=1)
    assert first == "llama3-8b on h100-80gb: does not fit, 174.8 of 78.8 GiB (training, 1 × 8,192 tokens)"
    assert second.startswith("the cheapest change that makes it fit: --zero 3 --count 2 --recompute full (2 devices; a third more arithm")
    ran = run("memory", "llama3-8b", "--device", "h100", "--zero", "3", "--count", "2", "--recompute", "full")
    assert ran.code == 0


def test_another_method_of_training_is_called_that_and_comes_last(run) -> None:
    first, second = headline(run, "llama2-13b", "--device", "rtx-4090", "--seq", "2048", code=1)
    assert "does not fit" in first
    assert second.startswith("no change of recipe or layout alone makes it fit; another method of training does: --lora-rank 16 --qlora ")
    change = result(run, "llama2-13b", "--device", "rtx-4090", "--seq", "2048", code=1)["change"]
    assert change["another_method"]
    found = result(run, "llama2-13b", "--device", "rtx-4090", "--seq", "2048", *change["option"].split())
    assert (found["fits"], found["peak_allocated"]) == (True, change["peak"])


def test_the_first_line_says_what_the_base_of_adapters_is_in(run) -> None:
    lora = ("llama3.1-8b", "--lora-rank", "16", "--batch", "1", "--seq", "2048", "--recompute", "full", "--device", "rtx-4090")
    for more, base in (((), "LoRA, base in bf16"), (("--qlora",), "QLoRA, base in nf4"), (("--precision", "bf16"), "LoRA, base in bf16")):
        assert base in headline(run, *lora, *more)[0]
    assert "does not fit" in headline(run, *lora, "--precision", "amp-bf16", code=1)[0]
    assert "LoRA, base in fp32" in headline(run, *lora[:-2], "--precision", "amp-bf16")[0]


def test_a_batch_that_was_not_asked_for_comes_with_the_largest(run) -> None:
    _, second = headline(run, "gpt2", "--device", "h100")
    most = result(run, "gpt2", "--device", "h100")
    at_most = result(run, "gpt2", "--device", "h100", "--batch", most["largest_batch"])
    assert second == f"batch 1; --batch {most['largest_batch']} also fits, {at_most['peak_allocated'] / GIB:.2f} GiB"
    assert most["largest_peak"] == at_most["peak_allocated"]
    assert headline(run, "gpt2", "--device", "h100", "--batch", "1")[1] == ""


def test_a_sequence_that_was_not_asked_for_is_explained(run) -> None:
    longer = ("llama3-8b", "--set", "n_ctx=131072")
    assert "1 × 8,192 tokens: give --seq for longer; the model allows 131,072)" in headline(run, *longer, "--device", "b200")[0]
    assert "(give --seq for longer; the model allows 131,072)" in headline(run, *longer)[0]
    assert "as most of its training" in headline(run, "llama3.1-8b")[0]
    assert "give --seq" not in headline(run, "llama3.1-8b", "--seq", "8192")[0]
    assert json.loads(run("memory", "llama3.1-8b", "-f", "json").out)["inputs"]["seq"] == 8192


def test_a_lower_bound_is_never_said_to_fit(run) -> None:
    for command in (("bloom-560m",), ("gpt2", "--runtime", "ideal")):
        assert "at least" in headline(run, *command)[0]
        first, second = headline(run, *command, "--device", "h100")
        assert ": cannot say, at least " in first
        assert "at most" in second
        found = result(run, *command, "--device", "h100")
        assert (found["fits"], found["lower_bound"]) == (None, True)
    first, _ = headline(run, "gpt3-175b", "--runtime", "ideal", "--device", "h100", code=1)
    assert ": does not fit, at least 2,601.9 of 78.8 GiB" in first
    assert result(run, "gpt3-175b", "--runtime", "ideal", "--device", "h100", code=1)["fits"] is False
    assert gc.memory("gpt2", runtime="ideal", device="h100").verdict.fits is None


def test_a_run_whose_memory_is_a_lower_bound_is_not_said_to_fit(run) -> None:
    ran = run("train", "gpt2", "--tokens", "1B", "--runtime", "ideal", "--format", "json")
    assert (ran.code, json.loads(ran.out)["result"]["memory"]["fits"]) == (0, None)
    assert "cannot say whether it fits" in run("train", "gpt2", "--tokens", "1B", "--runtime", "ideal").out
    assert run("train", "gpt3-175b", "--tokens", "1B", "--runtime", "ideal").code == 1
    assert gc.train("gpt2", tokens="1B", runtime="ideal", batch=[1, 2]).memory["fits"] is None


@pytest.mark.parametrize("device", ["tpu-v4", "mi300x", "gaudi3", "epyc-9654"])
def test_what_belongs_to_cuda_is_charged_on_cuda_alone(run, device) -> None:
    out = run("memory", "gpt2", "--device", device).out
    assert "uncalibrated" in out.splitlines()[0]
    assert "CUDA context" not in out
    assert "cuBLAS" not in out
    assert ("is not known" in out) == (device != "epyc-9654")
    found = result(run, "gpt2", "--device", device)
    assert found["room"] == found["memory"]
    assert found["device_context"] == (0 if device == "epyc-9654" else None)


def test_without_a_device_the_context_is_that_of_an_nvidia_gpu(run) -> None:
    assert "apart from it, on an NVIDIA GPU: CUDA context 768.00 MiB, two cuBLAS" in run("memory", "gpt2").out
    assert "apart from it: CUDA context" in run("memory", "gpt2", "--device", "a100").out


def test_a_compiled_models_vocabulary_that_is_no_multiple_of_8_gives_an_interval(run) -> None:
    compiled = ("gpt2", "--compiled", "--batch", "8")
    found = result(run, *compiled)
    assert found["peak_interval"] == [found["peak_allocated"], found["peak_allocated"] + 2 * 8 * 1024 * 50257]
    assert "may pad" in run("memory", *compiled).out
    assert "peak_interval" not in result(run, *compiled, "--set", "vocab_size=50304")
    assert "peak_interval" not in result(run, "gpt2", "--batch", "8")


def result(run, *command, code: int = 0):
    ran = run("memory", *command, "--format", "json")
    assert ran.code == code
    return json.loads(ran.out)["result"]


def test_training_keys(run) -> None:
    found = result(run, "gpt2", "--batch", "8", "--device", "h100")
    assert {"peak_allocated", "phases", "reserved_estimate", "reserved_interval", "parts", "fits", "largest_batch"} <= found.keys()
    assert list(found["phases"]) == ["before_forward", "after_forward", "forward", "backward", "optimizer"]
    assert found["peak_allocated"] == sum(part["value"] for part in found["parts"])


def test_the_largest_batch_is_the_largest(run) -> None:
    most = result(run, "gpt2", "--device", "h100")["largest_batch"]
    assert result(run, "gpt2", "--batch", most, "--device", "h100")["fits"]
    assert not result(run, "gpt2", "--batch", most + 1, "--device", "h100", code=1)["fits"]


def test_what_does_not_fit_gets_the_cheapest_change_and_exit_1(run) -> None:
    found = result(run, "gpt2-xl", "--batch", "16", "--device", "h100", code=1)
    assert (found["fits"], found["left"] < 0) == (False, True)
    assert found["change"]["option"].startswith("--batch ")
    assert found["change"]["peak"] <= found["room"]


def test_weights_that_do_not_fit_are_a_clear_no(run) -> None:
    for mode in ("training", "inference"):
        ran = run("memory", "gpt3-175b", "--mode", mode, "--device", "h100")
        assert (ran.code, ran.err) == (1, "")
        assert "the weights alone do not fit" in ran.out


def test_the_options_that_the_answer_was_computed_for(run) -> None:
    inputs = json.loads(run("memory", "gpt2", "--stack", "megatron-2022", "--tp", "2", "-f", "json").out)["inputs"]
    chosen = {name: inputs[name] for name in ("runtime", "recompute", "sequence_parallel", "tp", "optimizer", "dropout")}
    assert chosen == {
        "runtime": "megatron",
        "recompute": "selective",
        "sequence_parallel": True,
        "tp": 2,
        "optimizer": "adamw",
        "dropout": True,
    }


def test_inputs_are_resolved(run) -> None:
    serving = ("memory", "gpt2", "--mode", "inference", "--device", "h100", "--batch", "2")
    inputs = json.loads(run(*serving, "--precision", "int4", "-f", "json").out)["inputs"]
    assert (inputs["device"], inputs["prefill"], inputs["group_size"]) == ("h100-80gb", 2048, 128)
    assert json.loads(run(*serving, "--prefill", "512", "-f", "json").out)["inputs"]["prefill"] == 512
    assert json.loads(run("memory", "gpt2", "--device", "h100", "-f", "json").out)["inputs"]["device"] == "h100-80gb"


def test_a_batch_beyond_reason_is_answered_at_once(run) -> None:
    found = result(run, "gpt2", "--device", "h100", "--batch", "1000000000000", code=1)
    assert not found["fits"]


def test_timeline(run) -> None:
    points = result(run, "gpt2", "--batch", "8", "--timeline")["timeline"]
    assert max(point["total"] for point in points) == result(run, "gpt2", "--batch", "8")["peak_allocated"]
    assert points[0]["total"] == points[-1]["total"]
    for point in points:
        assert point["total"] == sum(point[kind] for kind in ("states", "gradients", "activations", "transients"))
    picture = run("memory", "gpt2", "--batch", "8", "--timeline").out
    assert "peak: backward, loss" in picture
    assert "\x1b" not in picture


def test_inference(run) -> None:
    found = result(run, "llama2-70b", "--mode", "inference", "--seq", "4096")
    assert found["kv_cache"] == 1.25 * 2**30  # traps: the kv heads, not the heads
    found = result(run, "llama3-8b", "--mode", "inference", "--device", "h100", "--batch", "2", "--seq", "4096")
    assert result(run, "llama3-8b", "--mode", "inference", "--device", "h100", "--batch", found["max_batch"], "--seq", "4096")["fits"]
    over = ("--batch", found["max_batch"] + 1, "--seq", "4096")
    assert not result(run, "llama3-8b", "--mode", "inference", "--device", "h100", *over, code=1)["fits"]


def test_a_window_caps_the_cache(run) -> None:
    short, long = (result(run, "mistral-7b", "--mode", "inference", "--seq", seq)["kv_cache"] for seq in (4096, 32768))
    assert short == long


def test_pages_round_the_cache_up(run) -> None:
    plain, paged = (result(run, "gpt2", "--mode", "inference", "--seq", "1001", *more)["kv_cache"] for more in ((), ("--block-size", "16")))
    assert paged * 1001 == plain * 1008


def test_quantized_weights_count_their_scales(run) -> None:
    sixteen, four = (result(run, "llama2-7b", "--mode", "inference", "--precision", p)["weights"] for p in ("bf16", "int4"))
    matrices = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    assert sixteen - four == 2 * matrices - (matrices // 2 + matrices // 128 * 20 // 8)


BAD = {
    "gpt3-175b --tp 7": "n_head 96 is not a multiple of tensor parallel size 7",
    "gpt2 --pp 5 --virtual-stages 2": "12 layers do not divide into 5 stages of 2 virtual stages, 10 in all",
    "gpt2 --count 10 --tp 4": "10 devices are not a multiple of tp 4 times pp 1 times cp 1, which is 4",
    "gpt2 --cp 3": "sequence length 1024 is not a multiple of context parallel size 3",
    "gpt2 --batch 3 --global-batch 8": "the global batch of 8 sequences does not divide into micro-batches of 3 on 1 replica",
    "gpt2 --dp 3 --global-batch 8": "the global batch of 8 sequences does not divide into micro-batches of 1 on 3 replicas",
    "gpt2 --ep 2": "expert parallel size 2 on gpt2, which has no experts",
    "gpt2 --seq 2048": "gpt2 has learned positions for 1,024 tokens (n_ctx): there is none for token 2,048",
    "gpt2 --precision int8": "precision int8 and optimizer adamw contradict: integers have no gradients",
    "gpt2 --precision fp16": "precision fp16 and optimizer adamw contradict: Adam's epsilon of 1e-8 is zero in fp16",
    "gpt2 --precision fp8": "runtime 'transformers' does not train in fp8",
    "gpt2 --runtime nanogp": "no runtime named 'nanogp'",
    "llama3-8b --runtime nanogpt": "runtime 'nanogpt' does not implement llama3-8b",
    "gpt2 --kv-precision fp8": "training memory has no option 'kv_precision'",
    "gpt2 --mode inference --optimizer sgd": "inference memory has no option 'optimizer'",
    "gpt2 --mode inference --timeline": "--timeline draws a training step",
    "gpt2 --virtual-stages 2": "2 virtual stages need a pipeline",
    "gpt2 --stage middle": "stage 'middle' of 1 pipeline stage",
    "gpt2 --sequence-parallel --tp 4": "runtime 'transformers' has no sequence parallelism",
    "gpt2 --recompute half": "recompute 'half' is not one of none, selective, full, every-K",
    "gpt2 --recompute every-²": "recompute 'every-²' is not one of none, selective, full, every-K",
    "gpt2 --recompute every-13": "recompute 'every-13' of 12 blocks recomputes none",
    "gpt2 --runtime ideal --compiled": "runtime 'ideal' is the same with and without compiled",
    "gpt2 --runtime megatron --compiled": "runtime 'megatron' is the same with and without compiled",
    "gpt2 --runtime ideal --dropout": "runtime 'ideal' is the same with and without dropout",
    "gpt2 --accumulate 4 --global-batch 2": "accumulate 4 and global batch 2 contradict: that is 2 micro-batches",
    "gpt2 --freeze embedding --lora-rank 4": "freeze and a LoRA rank contradict",
    "gpt2 --freeze blo": "nothing to freeze is named 'blo'",
    "gpt2 --freeze head": "nothing to freeze is named 'head'",
    "gpt2 --lora-rank 769": "the LoRA rank 769 is above 768, the rank of the 768 by 2304 matrix of block/attention/query_key_value",
    "gpt2 --offload-optimizer --optimizer sgd": "optimizer sgd has no state to offload",
    "gpt2 --mode inference --prefill 1025": "a prefill of 1025 tokens is beyond the prompts, which have 1024 together",
    "gpt2 --timeline -f csv": "--timeline is drawn under the table and listed in JSON: csv has no place for it",
    "gpt2 --qlora": "LoRA targets and QLoRA need a rank",
    "gpt2 --lora-rank 4 --lora-target foo": "no matmul named 'foo' to adapt",
    "deepseek-v3 --lora-rank 4": "no matmul has the name of a usual target of LoRA",
    "gpt2 --freeze embeding": "nothing to freeze is named 'embeding'",
    "gpt2 --stack ddq": "no stack 'ddq'",
    "gpt2 --device h1000x": "no device named 'h1000x'",
    "gpt2 --mode inference --precision bf16 --group-size 64": "a group size of 64 means nothing with precision bf16",
}


@pytest.mark.parametrize("command", BAD)
def test_bad_input_is_one_line(run, command) -> None:
    ran = run("memory", *command.split())
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {BAD[command]}")
    assert ran.err.count("\n") <= 2


def test_the_library_gives_what_the_command_line_gives(run) -> None:
    assert gc.memory("gpt2", batch=8).to_dict() == result(run, "gpt2", "--batch", "8")
