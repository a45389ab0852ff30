"""Attention that serves: a prompt's square, or one query over the cache of all the tokens before it."""

from __future__ import annotations

from typing import Any

from gptcalc.formulas.inference.work import Work
from gptcalc.formulas.kernels import Kernel, ceil, efficient, flash, most
from gptcalc.formulas.serving import in_bytes
from gptcalc.spec.shape import Shape
from gptcalc.symbols import minimum

QUERY_ROWS = 16
"""The least rows of a tensor core's operand: queries of one kv head are padded to it (PTX mma.m16n8k16)."""


def seen(s: Shape[Any], context: Any) -> Any:
    """Keys that the newest token sees: its window, where there is one."""
    return minimum(s.sliding_window, context) if s.switches.windowed else context


def pairs(s: Shape[Any], seq: Any) -> Any:
    """Query-key pairs of a causal prompt of T tokens: T(T + 1)/2, less what lies outside the window.

    >>> from gptcalc.spec.files import load_model
    >>> from gptcalc.spec.shape import shape_of
    >>> pairs(shape_of(load_model("gpt2")), 4)
    10.0
    """
    inside = seen(s, seq)
    return inside * (inside + 1) / 2 + (seq - inside) * inside


def prefill_attention(work: Work, s: Shape[Any], batch: Any, seq: Any) -> tuple[Kernel, Any, Any]:
    """Scores and mixing of whole prompts, in a kernel that keeps the scores on the chip; FLOPs of the pairs a causal mask keeps."""
    of = efficient if work.plain in ("fp32", "tf32") else flash
    kernel = of(work.chip, batch, s.n_head, seq, s.d_head, "forward")
    kept = pairs(s, seq)
    share = (kept + seq * work.chip.diagonal / 2) / (seq * (seq + 1 + work.chip.diagonal) / 2)  # a window leaves less of the square
    fixed = work.chip.flash_fixed + (work.chip.graph_gap if work.server.graph else work.chip.gap)
    kernel = kernel._replace(arithmetic=kernel.arithmetic * share, memory=kernel.memory * share, fixed=fixed)
    moved = work.width * batch * seq * 2 * (s.d_attention + s.d_kv)
    return kernel, 4 * batch * kept * s.d_attention, moved


def decode_attention(work: Work, s: Shape[Any], batch: Any, context: Any) -> tuple[Kernel, Any, Any]:
    """One new query over the cache: every key and value is read once, and K of them serve H heads.

    Source: Dao et al. 2023, Flash-Decoding (the cache is split over multiprocessors, a second kernel adds up the parts).
    """
    chip, keys = work.chip, seen(s, context)
    cache = in_bytes(work.kv_bits, 2 * batch * keys * s.d_kv)
    memory = cache / (chip.cache_streaming * chip.bandwidth)
    if work.kv_bits < 8 * work.width:
        memory = memory + 2 * batch * keys * s.d_kv / (chip.rate_dequantise * chip.lanes)
    rows = ceil(s.n_head // s.n_kv_head, QUERY_ROWS) * QUERY_ROWS * s.n_kv_head
    computed = 4 * batch * keys * rows * s.d_head / (chip.flash_forward * chip.peak(work.plain))
    flops = 4 * batch * keys * s.d_attention
    blocks = batch * s.n_kv_head * chip.cache_block / chip.lanes
    fixed = chip.decode_attention_fixed + (0 if work.server.graph else 2 * (chip.gap - chip.graph_gap))
    text = f"one query a sequence over its cache, {s.n_head} heads of {s.d_head} on {s.n_kv_head} of keys"
    kernel = Kernel("", "decode", "attention", 0.0, most((memory, computed, blocks)), fixed, text=text)
    return kernel, flops, cache + 2 * work.width * batch * s.d_attention
