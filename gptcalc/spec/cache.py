"""`CacheLayout`: what an engine keeps of tokens that no window sees any more, how it rounds, and whether latents stay latent."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from gptcalc.spec.options import check_word
from gptcalc.symbols import ceiling, maximum, minimum


class CacheLayout(NamedTuple):
    """`windows`: cut, whole, or whole where windows are chunks. Of a window `more` tokens than it has are kept, in pages of `page`, of
    which one more where `spare`; and of all tokens the `least` share, in hundredths. `expanded`: keys and values of every head in the
    place of a latent. `state`: bytes of an element of recurrent state that is not in fp32, where it is not that of an activation."""

    said: str
    windows: Literal["cut", "whole", "chunks"] = "cut"
    more: int = 0
    page: int = 1
    spare: bool = False
    least: int = 0
    expanded: bool = False
    state: int | None = None
    source: str = ""

    def kept(self, seq: Any, window: Any, block: int, *, chunks: bool) -> Any:
        """Tokens that a layer keeps of a sequence of `seq`; `window` None: one that sees all of them.

        >>> CACHE_LAYOUTS["llama.cpp"].kept(32768, 1024, 1, chunks=False), CACHE_LAYOUTS["vllm"].kept(32768, 1024, 1, chunks=False)
        (1536, 1040)
        """
        page = max(block, self.page)
        whole = _pages(seq, page)
        if window is None or self.windows == "whole" or (chunks and self.windows == "chunks"):
            return whole
        seen = _pages(window - 1 if self.spare else window + self.more, page) + (page if self.spare else 0)
        kept = minimum(whole, seen)
        return maximum(kept, ceiling(self.least * seq, 100)) if self.least else kept


def _pages(tokens: Any, page: int) -> Any:
    return tokens if page == 1 else ceiling(tokens, page) * page


LEAST = "least"

CACHE_LAYOUTS = {
    LEAST: CacheLayout("the least that attention reads again: windows cut, latents as they are"),
    "full": CacheLayout("full pages in windowed layers too", windows="whole"),
    "expanded": CacheLayout("keys and values of every head where attention is latent", expanded=True),
    "vllm": CacheLayout(
        "pages of 16 of each window and one more; chunked windows whole",
        windows="chunks",
        page=16,
        spare=True,
        source="vLLM 0.11, v1/kv_cache_interface.py (SlidingWindowSpec), v1/core/single_type_kv_cache_manager.py; with "
        "--disable-hybrid-kv-cache-manager, or where it switches that manager off itself, it keeps 'full'",
    ),
    "sglang": CacheLayout(
        "a pool for windowed layers of 0.8 of all tokens",
        least=80,
        source="SGLang 0.5, server_args.py (swa_full_tokens_ratio 0.8); with --disable-hybrid-swa-memory, and for classes whose windows it "
        "does not know, 'full'",
    ),
    "llama.cpp": CacheLayout(
        "each window and one batch of 512 tokens, in pads of 256; state in fp32",
        more=512,
        page=256,
        state=4,
        source="llama.cpp of 2025, src/llama-kv-cache-iswa.cpp (n_swa + n_ubatch, padded), llama-memory-recurrent.cpp (F32); with "
        "--swa-full it keeps 'full'",
    ),
}
"""By name: engines as they are by default."""


def cache_layout(name: str | None) -> CacheLayout:
    """The layout of a name.

    Raises GptcalcError for one that there is not.
    """
    name = LEAST if name is None else name
    check_word("cache layout", name, CACHE_LAYOUTS)
    return CACHE_LAYOUTS[name]
