"""Token by token as all at once: the cache that the forward pass keeps has the bytes, and its steps the FLOP, that the formulas say."""

from typing import Any

import numpy as np
import pytest

import gptcalc as gc
from gptcalc.footprint.serving import kv_cache
from gptcalc.reference import Cache, Tally, forward, generate, random_weights
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.shape import shape_of

SMALL: dict[str, Any] = {"n_layer": 4, "d_model": 32, "n_head": 4, "d_head": 8, "d_ff": 48, "vocab_size": 61, "n_ctx": 24}
GROUPED = SMALL | {"position": "rotary", "n_kv_head": 2, "norm": "rmsnorm", "gated": True, "activation": "silu"}
KINDS = {
    "learned positions": SMALL,
    "sinusoids": SMALL | {"position": "sinusoidal"},
    "alibi": SMALL | {"position": "alibi"},
    "grouped heads": GROUPED,
    "narrow values": SMALL | {"d_head_value": 4},
    "window": GROUPED | {"sliding_window": 5},
    "alibi in a window": SMALL | {"position": "alibi", "sliding_window": 6},
    "chunks": GROUPED | {"sliding_window": 6, "window_chunks": True},
    "local and global": GROUPED
    | {"blocks": {"local": {"sliding_window": 5}, "global": {"position": "none"}}, "layout": ["local*3", "global"]},
    "latents": GROUPED | {"n_kv_head": 4, "d_head": 12, "d_rotary": 4, "d_head_value": 8, "kv_lora_rank": 16, "q_lora_rank": 12},
    "sinks, gates and norms of heads": GROUPED | {"attention_sinks": True, "qk_norm": "head", "attention_gate": "head"},
    "experts": GROUPED | {"n_expert": 4, "n_expert_per_token": 2, "d_expert": 24},
}


def built(fields: dict[str, Any]) -> ModelSpec:
    model: ModelSpec = gc.model({"name": "small", **fields})
    return model


def read(spec: ModelSpec, sizes: list[int], tokens: Any) -> tuple[Any, Cache]:
    """The logits of all tokens, read in passes of these sizes."""
    weights, cache = random_weights(spec, seed=1, dtype=np.float64), Cache(spec)
    logits, start = [], 0
    for size in sizes:
        logits.append(forward(spec, weights, tokens[:, start : start + size], cache=cache))
        start += size
    return np.concatenate(logits, axis=1), cache


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [[1] * 20, [7, 1, 1, 1, 6, 4], [19, 1]], ids=str)
def test_passes_with_a_cache_give_the_logits_of_the_whole(kind: str, sizes: list[int]) -> None:
    spec, tokens = built(KINDS[kind]), np.random.default_rng(2).integers(61, size=(2, 20))
    whole = forward(spec, random_weights(spec, seed=1, dtype=np.float64), tokens)
    logits, cache = read(spec, sizes, tokens)
    assert np.allclose(logits, whole, rtol=1e-9, atol=1e-9)
    assert cache.length == 20


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [1, 4, 5, 6, 20])
def test_a_cache_has_the_bytes_of_the_formula(kind: str, length: int) -> None:
    spec, tokens = built(KINDS[kind]), np.random.default_rng(2).integers(61, size=(3, length))
    _, cache = read(spec, [1] * length, tokens)
    assert cache.size == kv_cache(shape_of(spec), 3, length, kv_bits=64)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("latents", "chunks")])
@pytest.mark.parametrize("context", [1, 5, 6, 20])
def test_a_decoded_token_takes_the_flop_of_the_formula(kind: str, context: int) -> None:
    """Latents are turned into keys and values anew here, which a server absorbs into queries; chunks are padded to whole ones."""
    spec, tokens = built(KINDS[kind]), np.random.default_rng(2).integers(61, size=(2, context))
    weights, cache, tally = random_weights(spec, seed=1), Cache(spec), Tally()
    if context > 1:
        forward(spec, weights, tokens[:, :-1], cache=cache)
    forward(spec, weights, tokens[:, -1:], tally, cache=cache)
    predicted = {path: leaf.value for path, leaf in gc.flops(spec, batch=2, seq=context, phase="decode").matmul.leaves()}
    assert tally.matmul == {path: value for path, value in predicted.items() if value}


def test_generation_with_a_cache_is_that_without() -> None:
    spec = built(KINDS["local and global"])
    weights, prompt = random_weights(spec, seed=3, dtype=np.float64), np.array([[5, 9, 2]])
    grown = prompt
    for _ in range(12):
        grown = np.concatenate([grown, forward(spec, weights, grown)[:, -1].argmax(axis=-1)[:, None]], axis=1)
    assert generate(spec, weights, prompt, 12).tolist() == grown.tolist()


def test_what_needs_the_whole_sequence_is_refused() -> None:
    scaled = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4, "original_max_position_embeddings": 12}
    with pytest.raises(gc.GptcalcError, match="token by token"):
        Cache(built(GROUPED | {"rope_scaling": scaled}))
    spec = built(SMALL)
    with pytest.raises(gc.GptcalcError, match="25 positions do not fit n_ctx 24"):
        read(spec, [20, 5], np.zeros((1, 25), dtype=int))
