"""Attention that serves: a prompt's square, or one query over the cache of all the tokens before it."""

from __future__ import annotations

from typing import Any

from gptcalc.serve.work import Work
from gptcalc.spec.shape import Shape
from gptcalc.time.kernels import Kernel, ceil, efficient, flash, most, padded_width

QUERY_ROWS = 16
"""The least rows of a tensor core's operand: queries of one kv head are padded to it (PTX mma.m16n8k16)."""


def cached_elements(s: Shape[Any]) -> Any:
    """Numbers that the cache keeps of a token in one layer: its keys and values, or the latent and rotated channels that heads share.

    >>> from gptcalc.spec.files import load_model
    >>> from gptcalc.spec.shape import shape_of
    >>> cached_elements(shape_of(load_model("llama3.1-8b")))
    2048
    """
    return s.kv_lora_rank + s.d_rotary if s.switches.latent else s.d_kv + s.d_value


def prefill_attention(work: Work, s: Shape[Any], batch: Any, seq: Any, pairs: Any) -> tuple[Kernel, Any, Any]:
    """Scores and mixing of whole prompts, in a kernel that keeps the scores on the chip; with FLOPs and bytes.

    `pairs` are the query-key pairs that the mask keeps in each sequence: a window leaves less of the square.
    """
    of = efficient if work.plain in ("fp32", "tf32") else flash
    kernel = of(work.chip, batch, s.n_head, seq, s.d_head, "forward")
    edge = seq * work.chip.diagonal / 2
    share = (pairs + edge) / (seq * (seq + 1) / 2 + edge)
    fixed = work.chip.flash_fixed + (work.chip.graph_gap if work.server.graph else work.chip.gap)
    kernel = kernel._replace(arithmetic=kernel.arithmetic * share, memory=kernel.memory * share, fixed=fixed)
    moved = work.width * batch * seq * (s.d_attention + s.d_kv + s.d_value + s.d_mixed)
    return kernel, 2 * batch * pairs * (s.d_attention + s.d_mixed), moved


def decode_attention(work: Work, s: Shape[Any], batch: Any, keys: Any) -> tuple[Kernel, Any, Any]:
    """One new query over the cache: each of the `keys` that it sees is read once, and K of them serve H heads; with FLOPs and bytes.

    A latent serves all heads as it is: their up-projections are applied to the query and to the result (DeepSeek-AI 2024,
    arXiv:2405.04434, section 2.1.2).

    Source: Dao et al. 2023, Flash-Decoding (the cache is split over multiprocessors, a second kernel adds up the parts); a cache in fp8
    is read as it is by FlashAttention-3 (Shah et al. 2024, arXiv:2407.08608, section 3.3), integers are widened as weights are.
    """
    chip, elements = work.chip, batch * keys * cached_elements(s)
    cache = work.kv_bits * elements / 8
    memory = cache / (chip.cache_streaming * chip.bandwidth)
    if work.widened:
        memory = memory + elements / (chip.rate_dequantise * chip.lanes)
    kv_heads = 1 if s.switches.latent else s.n_kv_head
    channels = s.kv_lora_rank + cached_elements(s) if s.switches.latent else s.d_head + s.d_head_value
    rows = ceil(s.n_head // kv_heads, QUERY_ROWS) * QUERY_ROWS * kv_heads
    computed = 2 * batch * keys * rows * channels / (chip.flash_forward * chip.peak(work.plain))
    clocks = chip.cache_block + chip.cache_block_channel * padded_width(cached_elements(s) / kv_heads / 2)
    blocks = batch * kv_heads * clocks / chip.lanes
    fixed = chip.decode_attention_fixed + (0 if work.server.graph else 2 * (chip.gap - chip.graph_gap))
    text = f"one query a sequence over its cache, {s.n_head} heads on {kv_heads} of {cached_elements(s) // kv_heads} numbers a token"
    kernel = Kernel("", "decode", "attention", 0.0, most((memory, computed, blocks)), fixed, text=text)
    return kernel, 2 * batch * keys * s.n_head * channels, cache + work.width * batch * (s.d_attention + s.d_mixed)
