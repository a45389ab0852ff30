"""An indexer chooses the keys of each query (DeepSeek V3.2, GLM-5): what it holds, costs and keeps, and what it leaves to attention."""

import re
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
    **{"name": "tiny", "n_layer": 3, "d_model": 24, "n_head": 2, "d_head": 12, "vocab_size": 50, "n_ctx": 40, "position": "rotary"},
    **{"norm": "rmsnorm", "kv_lora_rank": 10, "q_lora_rank": 14, "d_rotary": 4, "attention_bias": False},
    "indexer": {"n_head": 3, "d_head": 6, "top_k": 5},
}


def with_(**fields: Any) -> ModelSpec:
    return parse_model(TINY | fields)


def test_parameters_of_an_indexer() -> None:
    """Queries from the latent, one key, its norm with a bias, a weight for each head: 3 layers of 14·18 + 24·6 + 12 + 24·3."""
    plain = gc.params(with_(indexer=None)).value
    assert gc.params(with_()).value - plain == 3 * (14 * 18 + 24 * 6 + 12 + 24 * 3)


def test_published_totals() -> None:
    assert gc.params(load_model("deepseek-v3.2")).value - gc.params(load_model("deepseek-v3")).value == 61 * (
        64 * 128 * 1536 + 7168 * 128 + 2 * 128 + 7168 * 64
    )
    assert gc.params(load_model("glm-5")).value == 743_911_199_232


def test_the_cache_of_a_token_has_the_indexers_key() -> None:
    """(512 + 64 + 128) channels of 61 layers in bf16; GLM-5.2 keeps index keys in 21 layers of 78."""
    assert kv_cache(shape_of(load_model("deepseek-v3.2")), 1, 1) == 61 * (512 + 64 + 128) * 2
    assert kv_cache(shape_of(load_model("glm-5.2")), 1, 1) == (78 * (512 + 64) + 21 * 128) * 2


@pytest.mark.parametrize(("model", "has"), [("llama3-8b", False), ("mixtral-8x7b", False), ("glm-5", True)])
def test_a_formula_names_the_indexers_width_only_where_there_is_one(model: str, has: bool, run: Any) -> None:
    shown = run("memory", model, "--mode", "inference", "--batch", "1", "--seq", "64", "--explain")
    row = re.split(r"\n(?=\S)", shown.out[shown.out.index("\nkv cache") + 1 :])[0]
    assert ("·i" in row) == has


@pytest.mark.parametrize("convention", ["full", "causal", "half"])
def test_attention_is_over_the_chosen_keys_and_the_indexer_over_all(convention: Any) -> None:
    leaves = {path: leaf.value for path, leaf in gc.flops(with_(), batch=1, seq=30, attention=convention).matmul.leaves()}
    all_pairs = {"full": 2 * 30 * 30, "causal": 30 * 31, "half": 30 * 30}[convention]
    chosen = {"full": 2 * 30 * 5, "causal": 2 * (15 + 25 * 5), "half": 25 + 2 * 25 * 5}[convention]
    of = {path.partition("attention/")[2]: value for path, value in leaves.items() if "attention/" in path}
    assert of["scores"] == 3 * chosen * 2 * 12
    assert of["indexer/scores"] == 3 * all_pairs * (3 * 6 + 3)


def test_as_many_keys_as_there_are_tokens_is_attention_to_all() -> None:
    weights = random_weights(with_(), seed=1, dtype=np.float64)
    tokens = np.random.default_rng(0).integers(50, size=(2, 12))
    everything = with_(indexer=TINY["indexer"] | {"top_k": 4096})
    plain = {name: array for name, array in weights.items() if "indexer" not in name}
    assert np.abs(forward(everything, weights, tokens) - forward(with_(indexer=None), plain, tokens)).max() < 1e-12
    assert np.abs(forward(with_(), weights, tokens) - forward(everything, weights, tokens)).max() > 1e-3


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"indexer": {"n_head": 3, "d_head": 6, "top_k": 0}}, "top_k"),
        ({"indexer": {"n_head": 3, "d_head": 2, "top_k": 4}}, "d_rotary 4"),
        ({"indexer": {"n_head": 3, "d_head": 6, "top_k": 4, "shared": True}}, "no layer has an indexer of its own"),
        ({"q_lora_rank": None}, "needs q_lora_rank"),
        ({"sliding_window": 8}, "sliding_window"),
        (
            {"indexer": None, "layout": ["reader", "owner*2"]}
            | {"blocks": {"owner": {"indexer": TINY["indexer"]}, "reader": {"indexer": TINY["indexer"] | {"shared": True}}}},
            "no layer before it has chosen keys",
        ),
    ],
)
def test_contradictions(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(GptcalcError, match=said):
        with_(**fields)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"index_topk_pattern": "SFF"}, "begins with a shared layer"),
        ({"indexer_types": ["full", "full"]}, "must be a list of 3 words"),
        ({"indexer_types": ["full", "none", "full"]}, "must be a list of 3 words"),
        ({"index_head_dim": 32}, "below qk_rope_head_dim"),
        ({"index_topk": 0}, "must be a whole number above zero"),
        ({"layer_types": ["full_attention"] * 3}, "every layer is of indexed attention"),
    ],
)
def test_files_that_contradict_themselves(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(GptcalcError, match=said):
        load_model({"model_type": "glm_moe_dsa", "num_hidden_layers": 3} | keys)


def test_layers_that_read_what_another_has_chosen_have_no_indexer() -> None:
    """One in four layers of a file of GLM-5.2's pattern."""
    file = {"model_type": "glm_moe_dsa", "num_hidden_layers": 5, "first_k_dense_replace": 5}
    own = 32 * 128 * 2048 + 6144 * 128 + 2 * 128 + 6144 * 32
    every, some = (gc.params(load_model(file | {"index_topk_freq": period})).value for period in (1, 4))
    assert every - some == 3 * own


def test_serving_them_is_refused_and_their_memory_is_not() -> None:
    with pytest.raises(GptcalcError, match="an indexer chooses"):
        gc.infer(load_model("glm-5"), device="h200", count=8, tp=8)
    assert gc.memory(load_model("glm-5"), mode="inference", batch=1, seq=4096).serving is not None


BLOCKS: dict[str, Any] = {"indexer": {"n_head": 2, "d_head": 6, "top_k": 2, "block": 4}, "kv_lora_rank": None, "q_lora_rank": None}


def test_blocks_of_keys_leave_a_query_all_but_its_own_whole() -> None:
    """Two blocks of 4: of token m, counted from 1, all m keys up to 8, then 4 and those of its own block up to it."""
    leaves = gc.flops(with_(**BLOCKS), batch=1, seq=30, attention="causal").matmul.leaves()
    of = {path.partition("attention/")[2]: leaf.value for path, leaf in leaves if "attention/" in path}
    seen = sum(m if m <= 8 else 4 + (m - 1) % 4 + 1 for m in range(1, 31))
    assert of["scores"] == 3 * 2 * seen * 2 * 12
    assert of["indexer/scores"] == 3 * 30 * 31 * 2 * 6


def test_blocks_token_by_token_are_the_whole_pass() -> None:
    spec = with_(**BLOCKS)
    weights = random_weights(spec, seed=1, dtype=np.float64)
    tokens = np.random.default_rng(0).integers(50, size=(2, 21))
    cache = Cache(spec)
    steps = [forward(spec, weights, tokens[:, at : at + 1], cache=cache) for at in range(21)]
    assert np.abs(np.concatenate(steps, axis=1) - forward(spec, weights, tokens)).max() < 1e-12
    assert cache.size == kv_cache(shape_of(spec), 2, 21, kv_bits=64)
