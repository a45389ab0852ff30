"""What engines keep of the cache beside the least that is read again: logs of engines, and arithmetic."""

import json
from typing import Any

import pytest
from test_mixers import QWEN36_27B, built

import gptcalc as gc

MIB = 2**20


def kept(model: Any, seq: int, layout: str | None = None, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = gc.memory(model, mode="inference", seq=seq, cache_layout=layout, **more).to_dict()
    return found


def test_full_pages_are_what_vllm_logs_for_gpt_oss() -> None:
    """vLLM's log of 78,384 tokens in 5.38 GiB: 73,728 bytes a token in all 36 layers (alvarobartt/hf-mem, 60)."""
    found = kept("gpt-oss-120b", 78384, "full")
    assert found["kv_cache_per_token"] == found["kv_cache_per_token_beyond_windows"] == 73728
    assert found["kv_cache"] / 2**30 == pytest.approx(5.38, abs=0.005)
    assert kept("gpt-oss-120b", 78384)["kv_cache_per_token_beyond_windows"] == 73728 / 2


def test_the_least_of_gemma3_is_what_its_windows_see() -> None:
    """139 MiB for Gemma 3 1B at 32,768 tokens (lablup/mlxcel, 172)."""
    assert kept("gemma3-1b", 32768)["kv_cache"] == 139 * MIB
    assert kept("gemma3-1b", 32768, "full")["kv_cache"] == 26 * 1024 * 32768


def test_vllm_keeps_chunked_layers_whole() -> None:
    """24.00 GiB a device for Llama 4 Scout at 1,048,576 tokens, tensor parallel 8 (vllm-project/vllm, 16118)."""
    assert kept("llama4-scout", 1048576, "vllm", tp=8)["kv_cache"] == 24 * 2**30


@pytest.mark.parametrize(
    ("layout", "tokens"),
    [("least", 512), ("full", 32768), ("vllm", 32 * 16 + 16), ("sglang", 26215), ("llama.cpp", 1024)],
)
def test_tokens_that_a_window_of_512_keeps(layout: str, tokens: int) -> None:
    """22 layers of Gemma 3 1B with windows and 4 without, 1,024 bytes a token and layer."""
    assert kept("gemma3-1b", 32768, layout)["kv_cache"] == 1024 * (4 * 32768 + 22 * tokens)


@pytest.mark.parametrize("layout", ["least", "full", "vllm", "sglang", "llama.cpp"])
@pytest.mark.parametrize("model", ["gemma3-1b", "gpt-oss-20b", "llama3.1-8b"])
def test_no_layout_keeps_less_than_the_least_or_more_than_all(model: str, layout: str) -> None:
    for seq in (256, 4096, 32768):
        found = kept(model, seq, layout)
        assert found["kv_cache_least"] <= found["kv_cache"] <= found["kv_cache_without_windows"]


def test_latents_expanded_are_the_keys_and_values_of_every_head() -> None:
    """DeepSeek-V3: 61 layers of 128 heads, 192 channels of a key and 128 of a value; its latent has 576."""
    assert kept("deepseek-v3", 1000)["kv_cache"] == 1000 * 61 * 576 * 2
    assert kept("deepseek-v3", 1000, "expanded")["kv_cache"] == 1000 * 61 * 128 * (192 + 128) * 2


def test_llama_cpp_keeps_state_in_fp32() -> None:
    """llama.cpp's log of Qwen3.6-27B: 149.6 MiB a sequence, 16,384 MiB of cache at 262,144 tokens."""
    found = kept(built(QWEN36_27B), 262144, "llama.cpp", batch=2)
    assert found["kv_cache_per_sequence"] == 16384 * MIB
    assert round(found["state_per_sequence"] / MIB, 1) == 149.6
    assert found["state"] == 2 * found["state_per_sequence"]


def test_the_table_says_which_layout_and_what_is_least(run: Any) -> None:
    ran = run("memory", "gemma3-1b", "--mode", "inference", "--seq", "32768", "--cache-layout", "vllm")
    assert ran.code == 0
    assert "a token takes 26,624 bytes of cache, 4,096 beyond the windows" in " ".join(ran.out.split())
    assert "139.00 MiB" in ran.out
    assert "as vllm lays it out" in " ".join(ran.out.split())
    found = json.loads(run("memory", "gemma3-1b", "--mode", "inference", "-f", "json").out)
    assert found["inputs"]["cache_layout"] == "least"


def test_an_unknown_layout_is_refused(run: Any) -> None:
    ran = run("memory", "gpt2", "--mode", "inference", "--cache-layout", "page")
    assert ran.code == 2
    assert "no cache layout 'page'" in ran.err
    ran = run("memory", "gpt2", "--cache-layout", "full")
    assert ran.code == 2
