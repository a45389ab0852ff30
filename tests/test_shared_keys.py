"""Layers that read the keys of earlier ones, values that are the keys, embeddings of each layer, an MLP beside experts (Gemma 4)."""

from typing import Any

import numpy as np
import pytest

import gptcalc as gc
from gptcalc.errors import GptcalcError
from gptcalc.footprint.serving import kv_cache
from gptcalc.reference import Cache, forward, random_weights
from gptcalc.spec.files import load_model
from gptcalc.spec.model import ModelSpec, parse_model
from gptcalc.spec.shape import shape_of

TINY: dict[str, Any] = {
    **{"name": "tiny", "n_layer": 4, "d_model": 24, "n_head": 4, "n_kv_head": 2, "d_head": 6, "vocab_size": 50, "n_ctx": 40},
    **{"position": "rotary", "norm": "rmsnorm", "norm_placement": "sandwich", "gated": True, "qk_norm": "head", "value_norm": True},
    **{"attention_bias": False, "attention_output_bias": False, "mlp_bias": False, "block_scaled": True},
    "blocks": {
        "near": {"sliding_window": 7},
        "far": {"keys_are_values": True, "d_head": 10},
        "near_reader": {"sliding_window": 7, "shares_keys": True},
        "far_reader": {"shares_keys": True, "d_head": 10},
    },
    "layout": ["near", "far", "near_reader", "far_reader"],
}


def with_(**fields: Any) -> ModelSpec:
    return parse_model(TINY | fields)


def test_cache_of_a_served_gemma() -> None:
    """10 layers of 2 · 4 · 512 for each token, 50 of 2 · 16 · 256 for the 1,024 of a window, in bf16."""
    shape = shape_of(load_model("gemma4-31b"))
    assert kv_cache(shape, 1, 1) == (10 * 2 * 4 * 512 + 50 * 2 * 16 * 256) * 2
    assert kv_cache(shape, 1, 32768) == (10 * 2 * 4 * 512 * 32768 + 50 * 2 * 16 * 256 * 1024) * 2


def test_layers_that_read_others_keys_have_and_keep_none() -> None:
    own = with_(blocks=TINY["blocks"] | {"near_reader": {"sliding_window": 7}, "far_reader": {"d_head": 10}})
    saved = 2 * 24 * 12 + 6 + 2 * 24 * 20 + 10  # keys, values and the keys' norm of both kinds
    assert gc.params(own).value - gc.params(with_()).value == saved
    assert 2 * kv_cache(shape_of(with_()), 1, 30) == kv_cache(shape_of(own), 1, 30)


def test_token_by_token_is_the_whole_pass_and_the_cache_is_what_is_said() -> None:
    spec = with_(own_embedding={"width": 5, "vocab_size": 50})
    weights = random_weights(spec, seed=1, dtype=np.float64)
    tokens = np.random.default_rng(0).integers(50, size=(2, 20))
    cache = Cache(spec)
    steps = [forward(spec, weights, tokens[:, at : at + 1], cache=cache) for at in range(20)]
    assert np.abs(np.concatenate(steps, axis=1) - forward(spec, weights, tokens)).max() < 1e-12
    assert cache.size == kv_cache(shape_of(spec), 2, 20, kv_bits=64)


def test_embeddings_of_each_layer() -> None:
    """A table of 50 rows for 4 layers, a projection to all of them and its norm; in each layer there and back, and a norm."""
    more = gc.params(with_(own_embedding={"width": 5, "vocab_size": 50})).value - gc.params(with_()).value
    assert more == 50 * 20 + 24 * 20 + 5 + 4 * (2 * 24 * 5 + 24)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"layout": ["near", "near_reader", "far_reader", "far"]}, "layer 2 shares_keys, and no layer before it"),
        ({"blocks": TINY["blocks"] | {"far_reader": {"shares_keys": True, "d_head": 6}}}, "its heads are unlike"),
        ({"layout": ["near", "far", "near_reader"]}, "layout names 3 layers"),
    ],
)
def test_keys_that_are_nowhere(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(GptcalcError, match=said):
        with_(**fields)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"num_kv_shared_layers": 6}, "leaves no layer of each kind"),
        ({"num_kv_shared_layers": 2, "layer_types": ["sliding_attention"] * 6}, "leaves no layer of each kind"),
        ({"layer_types": ["sliding_attention"] * 5}, "must be a list of 6 kinds"),
        ({"enable_moe_block": True}, "num_experts must be a whole number"),
        ({"enable_moe_block": True, "num_experts": 2, "top_k_experts": 4, "moe_intermediate_size": 8}, "above num_experts"),
        ({"use_bidirectional_attention": "all"}, "queries would see the keys after them"),
        ({"per_layer_config": {"05": {"hidden_size": 3}}}, "per_layer_config"),
    ],
)
def test_files_that_contradict_themselves(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(GptcalcError, match=said):
        load_model({"model_type": "gemma4_text", "num_hidden_layers": 6} | keys)
