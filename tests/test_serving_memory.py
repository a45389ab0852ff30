"""Memory of serving, as `memory --mode inference` and `infer` both have it: passes over prompts, lengths that nobody gave, windows."""

import json
from typing import Any

import pytest

import gptcalc as gc

GIB = 2**30


def result(run: Any, *command: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*command, "-f", "json").out)
    return found


def test_the_largest_batch_of_a_server_that_reads_prompts_in_passes() -> None:
    """Llama-3-8B, 4,096 + 256 tokens on one H100: 14.96 GiB of weights, 544 MiB a sequence, one pass of 8,192 prompt tokens."""
    answer = gc.infer("llama3-8b", prompt=4096, output=256)
    weights, sequence = 2 * 8_030_261_248, 4352 * 131_072
    one_pass, logits = 8192 * 2 * (2 * 4096 + 3 * 14336), 6 * 128_256
    assert answer.room.max_batch == (answer.room.room - weights - one_pass) // (sequence + logits) == 118


@pytest.mark.parametrize(("batch", "prompt", "output"), [(40, 1024, 256), (1, 2048, 1), (3, 8192, 100)])
def test_both_commands_agree(run: Any, batch: int, prompt: int, output: int) -> None:
    served = result(run, "infer", "llama3.1-8b", "--batch", batch, "--prompt", prompt, "--output", output)["result"]["memory"]
    options = ("--batch", batch, "--seq", prompt + output, "--prefill", min(batch * prompt, max(8192, prompt)))
    held = result(run, "memory", "llama3.1-8b", "--mode", "inference", *options)["result"]
    for name in ("weights", "kv_cache", "activations", "peak_allocated"):
        assert served[name] == held[name]


def test_a_pass_has_so_many_tokens(run: Any) -> None:
    def tokens(*options: object) -> int:
        return int(result(run, "memory", "llama3.1-8b", "--mode", "inference", *options)["inputs"]["prefill"])

    assert tokens("--batch", 64, "--seq", 4096) == 8192
    assert tokens("--batch", 2, "--seq", 1000) == 2000
    assert tokens("--seq", 30000) == 30000  # one prompt is read whole
    assert tokens("--seq", 30000, "--prefill", 2048) == 2048


def test_the_longest_context_of_a_prompt_read_whole_and_in_passes(run: Any) -> None:
    found = result(run, "memory", "llama3.1-8b", "--mode", "inference", "--device", "rtx-4090")["result"]
    left = found["room"] - 2 * 8_030_261_248 - 6 * 128_256
    a_token = 2 * (2 * 4096 + 3 * 14336)  # of a pass
    assert found["max_context"] == left // (131_072 + a_token)
    assert found["max_context_in_passes"] == (left - 8192 * a_token) // 131_072


def test_code_without_a_server_reads_all_prompts_at_once() -> None:
    graph, eager = (
        gc.infer("llama3.1-8b", batch=32, prompt=2048, runtime=name).room.to_dict()["activations"] for name in ("graph", "eager")
    )
    assert eager - graph == (32 * 2048 - 8192) * 2 * (2 * 4096 + 3 * 14336)


@pytest.mark.parametrize(("model", "seq", "reaches"), [("llama3.1-8b", 8192, "131,072"), ("llama4-scout", 8192, "10,485,760")])
def test_the_longest_context_is_no_default(run: Any, model: str, seq: int, reaches: str) -> None:
    assert result(run, "memory", model, "--mode", "inference")["inputs"]["seq"] == seq
    first = run("memory", model, "--mode", "inference").out.splitlines()[0]
    assert f"{seq:,} tokens" in first
    assert reaches in first
    assert reaches not in run("memory", model, "--mode", "inference", "--seq", 8192).out.splitlines()[0]


def test_the_first_line_is_the_verdict(run: Any) -> None:
    fits = run("memory", "llama3.1-8b", "--mode", "inference", "--device", "rtx-4090")
    assert fits.code == 0
    assert "fits, " in fits.out.splitlines()[0]
    assert fits.out.splitlines()[0].endswith("at most 7 at once")
    for command in (("memory", "--mode", "inference"), ("infer",)):
        ran = run(command[0], "llama3-70b", *command[1:], "--device", "h100")
        assert ran.code == 1
        assert ran.out.startswith("llama3-70b on h100-80gb: does not fit, ")


@pytest.mark.parametrize("form", ["table", "csv", "markdown"])
@pytest.mark.parametrize("explain", [(), ("--explain",)])
def test_the_tokens_of_a_pass_have_a_name(run: Any, form: str, explain: tuple[str, ...]) -> None:
    ran = run("memory", "gpt2", "--mode", "inference", "--prefill", 512, "-f", form, *explain)
    assert (ran.code, ran.err) == (0, "")
    assert form == "csv" or "N = 512 prompt tokens in one pass" in ran.out


# What engines without windows log: github.com/vllm-project/vllm issue 16118 (chunked layers kept whole), github.com/alvarobartt/hf-mem
# issues 60 (5.38 GiB for 78,384 tokens in vLLM's log) and 70
WHOLE = [
    ("llama4-scout", ("--seq", 1_048_576, "--tp", 8), "24.00 GiB"),
    ("gpt-oss-120b", ("--seq", 78_384), "5.38 GiB"),
    ("gpt-oss-20b", ("--batch", 32, "--seq", 8192), "12.00 GiB"),
]


@pytest.mark.parametrize(("model", "options", "size"), WHOLE)
def test_engines_that_keep_full_pages_are_told_of(run: Any, model: str, options: tuple[object, ...], size: str) -> None:
    lines = [line for line in run("memory", model, "--mode", "inference", *options).out.splitlines() if "full pages" in line]
    assert len(lines) == 1
    found = result(run, "memory", model, "--mode", "inference", *options)["result"]
    assert f"{found['kv_cache_without_windows'] / GIB:.2f} GiB" == size
    assert lines[0].endswith(f"needs {size}")


def test_a_model_without_windows_says_nothing_of_them(run: Any) -> None:
    for command in (("memory", "llama3.1-8b", "--mode", "inference"), ("infer", "llama3.1-8b")):
        assert "full pages" not in run(*command).out
    assert "full pages" in run("infer", "mistral-7b", "--prompt", 8000).out
