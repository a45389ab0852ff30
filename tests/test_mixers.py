"""Blocks that are lists of sublayers: what they count, what they keep of a sequence, and what is refused."""

from typing import Any

import numpy as np
import pytest

import gptcalc as gc
from gptcalc.footprint.serving import kv_cache, state
from gptcalc.reference import Cache, Tally, forward, random_weights
from gptcalc.run.verify import verify
from gptcalc.spec.legality import Sizes, check, legal
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.recipe import Layout
from gptcalc.spec.shape import shape_of
from gptcalc.table.sharding import shard_of

SMALL: dict[str, Any] = {"n_layer": 4, "d_model": 32, "n_head": 4, "d_head": 8, "d_ff": 48, "vocab_size": 61, "n_ctx": 100}
ROTARY = SMALL | {"position": "rotary", "n_kv_head": 2, "norm": "rmsnorm", "gated": True, "activation": "silu", "tied": False}
DELTA = {"kind": "delta_net", "n_head": 4, "n_key_head": 2, "d_head": 8, "d_key": 6, "d_conv": 4}


def hybrid(mixer: dict[str, Any], **own: Any) -> dict[str, Any]:
    blocks = {"mixes": {"composition": [mixer["kind"], "mlp"], "mixer": mixer} | own, "full": {}}
    return ROTARY | {"blocks": blocks, "layout": ["mixes*3", "full"]}


KIMI = {"kind": "kimi_delta", "n_head": 4, "d_head": 6, "d_conv": 3}
MAMBA2 = {"kind": "mamba2", "n_head": 4, "d_head": 6, "n_group": 2, "d_state": 5, "d_conv": 4, "chunk": 8}
MAMBA = {"kind": "mamba", "n_head": 24, "d_state": 5, "d_conv": 4, "rank": 3}
KINDS = {
    "delta net": hybrid(DELTA),
    "mamba 2": hybrid(MAMBA2),
    "mamba 2 with biases, steps bounded": hybrid(
        MAMBA2 | {"bias": True, "output_bias": True, "conv_bias": False, "step_least": 0.5, "step_most": 0.9, "norm": "none"}
    ),
    "mamba 2, gated last": hybrid(MAMBA2 | {"norm": "before_gate"}),
    "mamba 2 beside attention": hybrid(MAMBA2, composition=[["mamba2", "attention"], "mlp"], shared_norm=True),
    "mamba 2 alone": ROTARY
    | {"layout": ["a", "b", "c", "a"], "blocks": {"a": {"mixer": MAMBA2, "composition": ["mamba2"]}}}
    | {"blocks": {"a": {"mixer": MAMBA2, "composition": ["mamba2"]}, "b": {"composition": ["attention"]}, "c": {"composition": ["mlp"]}}},
    "mamba": hybrid(MAMBA),
    "mamba with norms": hybrid(MAMBA | {"norms": "weighted", "bias": True, "conv_bias": False}),
    "mamba with plain norms": hybrid(MAMBA | {"norms": "plain", "norm_epsilon": 1e-3}),
    "short convolution": hybrid({"kind": "short_conv", "d_conv": 3}),
    "short convolution with biases": hybrid({"kind": "short_conv", "d_conv": 5, "bias": True}),
    "kimi delta": hybrid(KIMI),
    "kimi delta through a rank, bounded": hybrid(KIMI | {"rank": 3, "least": -5.0}),
    "delta net with an epsilon": hybrid(DELTA | {"norm_epsilon": 1e-2}),
    "delta net that takes out": hybrid(DELTA | {"negative": True}),
}

BESIDE_LATENTS = {
    "kimi delta beside latents that do not turn": ROTARY
    | {"n_kv_head": None, "kv_lora_rank": 10, "d_rotary": 4, "latent_turns": False, "attention_gate": "head_sigmoid"}
    | {"blocks": {"mixes": {"composition": ["kimi_delta", "mlp"], "mixer": KIMI}, "full": {}}, "layout": ["mixes*3", "full"]},
}
"""Whose steps multiply a latent up again for each key, as its class does; the formula's once for each token."""


def built(fields: dict[str, Any]) -> ModelSpec:
    model: ModelSpec = gc.model({"name": "small", **fields})
    return model


@pytest.mark.parametrize("kind", KINDS | BESIDE_LATENTS)
def test_the_forward_pass_counts_what_the_table_says(kind: str) -> None:
    assert not [check for check in verify(built((KINDS | BESIDE_LATENTS)[kind])) if not check.ok]


@pytest.mark.parametrize("kind", KINDS | BESIDE_LATENTS)
@pytest.mark.parametrize("sizes", [[1] * 20, [7, 1, 1, 1, 6, 4], [69, 1]], ids=str)
def test_passes_with_a_state_give_the_logits_of_the_whole(kind: str, sizes: list[int]) -> None:
    spec, length = built((KINDS | BESIDE_LATENTS)[kind]), sum(sizes)
    tokens, weights = np.random.default_rng(2).integers(61, size=(2, length)), random_weights(spec, seed=1, dtype=np.float64)
    whole, cache, start = forward(spec, weights, tokens), Cache(spec), 0
    for size in sizes:
        logits = forward(spec, weights, tokens[:, start : start + size], cache=cache)
        assert np.allclose(logits, whole[:, start : start + size], rtol=1e-8, atol=1e-8)
        start += size
    shape = shape_of(spec)
    assert cache.size == kv_cache(shape, 2, length, kv_bits=64)
    tails, states = cache.states
    assert tails + states // 2 == state(shape, 2, width=8), "in float64 here: states are kept in fp32, twice as narrow"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("context", [1, 2, 20])
def test_a_decoded_token_takes_the_flop_of_the_formula(kind: str, context: int) -> None:
    spec, tokens = built(KINDS[kind]), np.random.default_rng(2).integers(61, size=(2, context + 1))
    weights, cache, tally = random_weights(spec, seed=1), Cache(spec), Tally()
    forward(spec, weights, tokens[:, :-1], cache=cache)
    forward(spec, weights, tokens[:, -1:], tally, cache=cache)
    answer = gc.flops(spec, batch=2, seq=context + 1, phase="decode")
    assert tally.matmul == {path: leaf.value for path, leaf in answer.matmul.leaves() if leaf.value}
    assert tally.other == {path: leaf.value for path, leaf in answer.other.leaves() if leaf.value}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (hybrid(DELTA, composition=["attention", "mlp"]), "mixer 'delta_net' is not in the composition"),
        (SMALL | {"composition": ["delta_net", "mlp"]}, "none of attention"),
        (SMALL | {"composition": ["attention", "attention"]}, "more than one attention"),
        (SMALL | {"composition": ["attention", "experts"]}, "'experts' needs n_expert"),
        (SMALL | {"composition": ["latent_attention", "mlp"]}, "'latent_attention' needs kv_lora_rank"),
        (hybrid(DELTA | {"n_key_head": 3}), "n_head 4 is not a multiple of n_key_head 3"),
        (hybrid(DELTA | {"d_hed": 3}), "d_hed"),
        (hybrid({"kind": "mamba9", "n_head": 2}), "mamba9"),
    ],
)
def test_contradictions_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(gc.GptcalcError, match=message) as refused:
        shape_of(built(fields))
    assert "\n" not in str(refused.value)


def test_a_state_is_divided_over_ranks_by_heads() -> None:
    shape = shape_of(built(KINDS["delta net"]))
    halves = shard_of(shape, Layout(tp=2), 8, "only", pad=False, layers=built(KINDS["delta net"]).layers).shape
    assert 2 * state(halves, 3) == state(shape, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_ranks_that_a_mixer_does_not_divide_over_are_refused(kind: str) -> None:
    """As one layout, in an array of them, and as a mask: heads into ranks; groups too, or each stands on several."""
    model = built(KINDS[kind])
    mixers = [one.mixer for _, one in shape_of(model).blocks if one.mixer is not None]
    sizes = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 8.0])
    mask = np.broadcast_to(legal(model, Sizes(tp=sizes, count=sizes)), sizes.shape)
    for t, allowed in zip(sizes.astype(int), mask, strict=True):
        heads = all(m.n_head % t == 0 and (not m.n_group or m.n_group % t == 0 or t % m.n_group == 0) for m in mixers)
        assert heads or not allowed
        if allowed:
            check(model, Sizes(tp=int(t), count=int(t)))
        else:
            with pytest.raises(gc.GptcalcError, match="is not a multiple of"):
                check(model, Sizes(tp=int(t), count=int(t)))


QWEN36_27B: dict[str, Any] = {
    **{"n_layer": 64, "d_model": 5120, "n_head": 24, "n_kv_head": 4, "d_head": 256, "d_ff": 17408, "vocab_size": 248320, "n_ctx": 262144},
    **{
        "position": "rotary",
        "d_rotary": 64,
        "norm": "rmsnorm",
        "gated": True,
        "tied": False,
        "qk_norm": "head",
        "attention_gate": "channel",
    },
    **{"attention_bias": False, "attention_output_bias": False, "mlp_bias": False, "activation": "silu"},
    "blocks": {
        "linear": {"mixer": {"kind": "delta_net", "n_head": 48, "n_key_head": 16, "d_head": 128, "d_key": 128, "d_conv": 4}},
        "full": {},
    },
    "layout": ["linear*3", "full", "..."],
}
"""Qwen/Qwen3.6-27B, config.json."""


def test_cache_and_state_of_a_hybrid_are_what_llama_cpp_allots() -> None:
    """llama.cpp's log: 16,384 MiB of cache in 16 layers, 149.6 MiB of recurrent state, in fp32, convolutions' tails among it."""
    shape = shape_of(built(QWEN36_27B))
    assert kv_cache(shape, 1, 262144) / 2**20 == 16384
    assert round(state(shape, 1, width=4) / 2**20, 1) == 149.6
    served = gc.memory(built(QWEN36_27B), mode="inference", seq=262144, precision="fp32", kv_precision="bf16").to_dict()
    assert (served["kv_cache"], round(served["state"] / 2**20, 1)) == (16384 * 2**20, 149.6)


def test_time_of_a_recurrence_in_training_is_refused_by_name() -> None:
    with pytest.raises(gc.GptcalcError, match=r"mixer|delta_net"):
        gc.train(built(QWEN36_27B), device="h100-80gb", tokens=10**9)


KIMI_FILE: dict[str, Any] = {"model_type": "kimi_linear", "num_hidden_layers": 4}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (KIMI_FILE | {"linear_attn_config": {"kda_layers": [1, 2, 3], "full_attn_layers": [5]}}, "must be layers from 1 to 4"),
        (KIMI_FILE | {"linear_attn_config": {"kda_layers": [1, 2], "full_attn_layers": [4]}}, "does not name layer 3"),
        (KIMI_FILE | {"linear_attn_config": {"head_dim": 0}}, "must be a whole number above zero"),
        (KIMI_FILE | {"layer_types": ["linear_attention"] * 3}, "must be a list of 4 kinds"),
        (KIMI_FILE | {"layer_types": ["linear_attention"] * 3 + ["mamba"]}, "'mamba', which is not understood"),
        ({"model_type": "bailing_hybrid", "kda_lower_bound": 5.0}, "must be a number below zero"),
        ({"model_type": "olmo_hybrid", "num_hidden_layers": 2, "layer_types": ["linear_attention"] * 2}, "layers of both kinds"),
        ({"model_type": "olmo_hybrid", "linear_num_value_heads": 45}, "45 is not a multiple of linear_num_key_heads 30"),
        ({"model_type": "lfm3", "sliding_window": None}, "sliding_window"),
    ],
)
def test_layers_that_no_class_builds_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(gc.GptcalcError, match=message) as refused:
        gc.model(config)
    assert "\n" not in str(refused.value)
