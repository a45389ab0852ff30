"""What one token and one sequence leave in memory while a model is served: keys and values, and recurrent state."""

from typing import Any

from gptcalc.footprint.serving import CACHE_BITS, STORED, cache_precision, kv_cache, state, stored_as
from gptcalc.spec.cache import CacheLayout, cache_layout
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.shape import shape_of

FAR = 2**24
"""Tokens behind which no window reaches."""


def kept_of_one(
    model: ModelSpec, seq: Any, precision: str, kv_precision: str | None, layout_of_cache: str | None, block: int
) -> dict[str, Any]:
    """Bytes of the whole model's cache: of a sequence's first token, of one that windowed layers have no room for, and of one sequence of
    `seq` tokens; and of its state.

    >>> from gptcalc.spec.files import load_model
    >>> kept_of_one(load_model("gpt-oss-120b"), 1024, "bf16", None, None, 1)["kv_cache_per_token"]
    73728
    """
    shape, layout = shape_of(model), cache_layout(layout_of_cache)
    bits = CACHE_BITS[cache_precision(precision, kv_precision)]

    def cache(tokens: Any, page: int, of: CacheLayout) -> Any:
        return kv_cache(shape, 1, tokens, kv_bits=bits, block=page, layout=of)

    far = layout._replace(page=1)
    further = (cache(2 * FAR, 1, far) - cache(FAR, 1, far)) / FAR
    width = layout.state or (4 if precision != STORED and stored_as(precision, None).bits == 32 else 2)
    return {
        "kv_cache_per_token": cache(1, 1, far._replace(windows="whole")),
        "kv_cache_per_token_beyond_windows": int(further) if further == int(further) else further,
        "kv_cache_per_sequence": cache(seq, block, layout),
        "state_per_sequence": state(shape, 1, width=width),
    }
