"""The NumPy forward pass and its tally, without any oracle: properties that hold for every model, and one example counted by hand."""

import math
from typing import Any

import measured
import numpy as np
import pytest
from conftest import examples
from hypothesis import given, settings
from strategies import architectures

from gptcalc.errors import GptcalcError
from gptcalc.reference import Tally, count, forward, generate, load_state_dict, random_weights, twin
from gptcalc.reference.kernels import BLOCK_BYTES, erf, row_blocks
from gptcalc.reference.rope_scaling import rotary_frequencies
from gptcalc.reference.tally import at
from gptcalc.reference.weights import weight_shapes
from gptcalc.spec.model import ModelSpec, parse_model
from gptcalc.spec.shape import Shape, shape_of

TINY = {"name": "tiny", "n_layer": 2, "d_model": 12, "n_head": 3, "d_ff": 20, "vocab_size": 17, "n_ctx": 11}
LLAMA = TINY | measured.LLAMA | {"n_kv_head": 1, "d_head": 6, "tied": False}
GPTJ = TINY | {"position": "rotary", "d_rotary": 2, "rotary_pairs": "neighbours", "parallel_residual": True, "shared_norm": True}
OPT_350M = TINY | {"norm_placement": "post", "final_norm": False, "d_embedding": 5, "n_position": 13, "activation": "relu"}
MODELS = {"gpt2": TINY, "llama": LLAMA, "gptj": GPTJ, "opt-350m": OPT_350M, "window": LLAMA | {"sliding_window": 3}}

tokens = np.random.default_rng(3).integers(17, size=(2, 9))


def model(fields: dict[str, Any]) -> tuple[ModelSpec, dict[str, np.ndarray]]:
    spec = parse_model(fields)
    return spec, random_weights(spec, seed=1)


# What a pass may depend on


@pytest.mark.parametrize("fields", MODELS.values(), ids=MODELS)
def test_a_later_token_never_changes_earlier_logits(fields: dict[str, Any]) -> None:
    spec, weights = model(fields)
    changed = tokens.copy()
    changed[:, 5] = (changed[:, 5] + 1) % 17
    before, after = forward(spec, weights, tokens), forward(spec, weights, changed)
    assert np.array_equal(before[:, :5], after[:, :5])
    assert (np.abs(before[:, 5:] - after[:, 5:]).max(axis=-1) > 1e-6).all()


def test_a_window_hides_what_lies_before_it() -> None:
    spec, weights = model(TINY | {"n_layer": 1, "position": "none", "sliding_window": 3})
    changed = tokens.copy()
    changed[:, 2] = (changed[:, 2] + 1) % 17
    differs = np.abs(forward(spec, weights, tokens) - forward(spec, weights, changed)).max(axis=(0, 2)) > 1e-6
    assert differs.tolist() == [False, False, True, True, True, False, False, False, False]


def test_a_window_as_long_as_the_sequence_hides_nothing() -> None:
    spec, weights = model(TINY)
    assert np.array_equal(forward(spec, weights, tokens), forward(parse_model(TINY | {"sliding_window": 9}), weights, tokens))


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for fields in (TINY, TINY | {"sliding_window": 3}):
        spec, weights = model(fields)
        whole, whole_tally = forward(spec, weights, tokens), count(spec, 2, 9)
        with monkeypatch.context() as patch:
            patch.setattr("gptcalc.reference.kernels.BLOCK_BYTES", 2 * 9 * 4)  # two rows of scores
            assert np.allclose(whole, forward(spec, weights, tokens), atol=1e-6)
            blocked = count(spec, 2, 9)
        assert (blocked.matmul, blocked.other) == (whole_tally.matmul, whole_tally.other)


def test_row_blocks_cover_an_array_once() -> None:
    x = np.zeros((2, 3, BLOCK_BYTES // 16), dtype=np.float32)
    for rows in row_blocks(x):
        rows += 1
    assert (x == 1).all()


@pytest.mark.parametrize("fields", MODELS.values(), ids=MODELS)
def test_sequences_of_a_batch_do_not_see_each_other(fields: dict[str, Any]) -> None:
    spec, weights = model(fields)
    together = forward(spec, weights, tokens)
    for row in range(len(tokens)):
        assert np.allclose(together[row], forward(spec, weights, tokens[row : row + 1])[0], atol=1e-5)


@pytest.mark.parametrize("fields", MODELS.values(), ids=MODELS)
def test_float32_is_close_to_float64(fields: dict[str, Any]) -> None:
    spec, weights = model(fields)
    double = forward(spec, {name: array.astype(np.float64) for name, array in weights.items()}, tokens)
    single = forward(spec, weights, tokens)
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    assert np.abs(single - double).max() < 2e-5


@pytest.mark.parametrize("fields", MODELS.values(), ids=MODELS)
def test_weights_and_tokens_are_left_as_they_were(fields: dict[str, Any]) -> None:
    spec, weights = model(fields)
    before = {name: array.copy() for name, array in weights.items()}
    forward(spec, weights, tokens, Tally())
    assert all(np.array_equal(array, before[name]) for name, array in weights.items())


def test_a_tied_head_is_the_embedding() -> None:
    spec, weights = model(TINY)
    untied = parse_model(TINY | {"tied": False})
    both = weights | {"head.output.weight": np.ascontiguousarray(weights["embedding.token.weight"].T)}
    assert np.allclose(forward(spec, weights, tokens), forward(untied, both, tokens), atol=1e-6)
    assert not np.allclose(
        forward(untied, both | {"head.output.weight": both["head.output.weight"] * 2}, tokens), forward(spec, weights, tokens)
    )


def test_positions_begin_after_the_rows_that_the_table_has_too_many() -> None:
    spec, weights = model(TINY | {"n_position": 13})
    used = weights["embedding.position.weight"][2:]
    assert np.array_equal(forward(spec, weights, tokens), forward(parse_model(TINY), weights | {"embedding.position.weight": used}, tokens))


def test_generation_appends_the_likeliest_token_and_never_padding() -> None:
    spec, weights = model(TINY | {"padded_vocab_size": 40})
    grown = generate(spec, weights, tokens[:, :4], 5)
    assert grown.shape == (2, 9)
    assert grown[:, :4].tolist() == tokens[:, :4].tolist()
    assert grown.max() < 17
    assert grown[:, 8].tolist() == forward(spec, weights, grown[:, :8])[:, -1, :17].argmax(axis=-1).tolist()


# Kernels


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 4e-16), (np.float32, 1.2e-7)])
def test_erf_is_that_of_math(dtype: type, tolerance: float) -> None:
    x = np.concatenate([np.linspace(-7, 7, 20001), [0.0, -0.0, 1e-8, 1e-30, np.inf, -np.inf]]).astype(dtype)
    exact = np.array([math.erf(value) for value in x.tolist()])
    assert erf(x).dtype == dtype
    assert np.abs(erf(x) - exact).max() <= tolerance
    assert np.isnan(erf(np.array([np.nan], dtype=dtype)))[0]
    small = np.geomspace(1e-30, 1e-3, 50).astype(dtype)
    assert np.allclose(erf(small), [math.erf(value) for value in small.tolist()], rtol=4 * np.finfo(dtype).eps, atol=0)


def test_llama3_scaling_keeps_fast_turns_and_slows_slow_ones() -> None:
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    plain = rotary_frequencies(parse_model(LLAMA), 6)
    scaled = rotary_frequencies(parse_model(LLAMA | {"rope_scaling": scaling}), 6)
    assert scaled[0] == plain[0]
    assert scaled[-1] == pytest.approx(plain[-1] / 8)


@pytest.mark.parametrize(
    "scaling",
    [
        {"rope_type": "yarn", "factor": 4.0},
        {"rope_type": "spiral", "factor": 4.0},
        {"type": "linear"},
        {"rope_type": "linear", "factor": "four"},
    ],
)
def test_a_scaling_that_cannot_be_executed_is_refused(scaling: dict[str, Any]) -> None:
    spec, weights = model(LLAMA | {"rope_scaling": scaling})
    with pytest.raises(GptcalcError, match=r"rope_scaling"):
        forward(spec, weights, tokens)


def test_numpy_is_left_as_it_was() -> None:
    before = np.getbufsize()
    spec, weights = model(TINY)
    forward(spec, weights, tokens)
    with pytest.raises(GptcalcError):
        forward(spec, weights, [[99]])
    assert np.getbufsize() == before


# The tally


def test_a_tiny_model_counted_by_hand() -> None:
    # B = 1, T = 3, L = 1, d = 4, H = K = 2, Q = 2, F = 6, V = 7, P = 5; learned positions, LayerNorm, gelu_tanh, biases, tied
    spec = parse_model({"name": "hand", "n_layer": 1, "d_model": 4, "n_head": 2, "d_ff": 6, "vocab_size": 7, "n_ctx": 5})
    tally = count(spec, batch=1, seq=3)
    assert tally.matmul == {
        "block/attention/query": 2 * 3 * 4 * 4,
        "block/attention/key": 2 * 3 * 4 * 4,
        "block/attention/value": 2 * 3 * 4 * 4,
        "block/attention/scores": 2 * (2 * 3 * 3 * 2),
        "block/attention/mix": 2 * (2 * 3 * 3 * 2),
        "block/attention/output": 2 * 3 * 4 * 4,
        "block/mlp/up": 2 * 3 * 4 * 6,
        "block/mlp/down": 2 * 3 * 6 * 4,
        "head/output": 2 * 3 * 4 * 7,
    }
    norm = 7 * 3 * 4 + 4 * 3
    assert tally.other == {
        "embedding/position": 12,
        "block/attention/norm": norm,
        "block/attention/query": 12,
        "block/attention/key": 12,
        "block/attention/value": 12,
        "block/attention/scores": 2 * 9,
        "block/attention/softmax": 5 * 2 * 9,
        "block/attention/output": 12,
        "block/attention/residual": 12,
        "block/mlp/norm": norm,
        "block/mlp/up": 18,
        "block/mlp/activation": 9 * 18,
        "block/mlp/down": 12,
        "block/mlp/residual": 12,
        "final_norm": norm,
    }
    assert tally.parameters == {
        "embedding/token": 28,
        "embedding/position": 20,
        "block/attention/norm": 8,
        "block/attention/query": 20,
        "block/attention/key": 20,
        "block/attention/value": 20,
        "block/attention/output": 20,
        "block/mlp/norm": 8,
        "block/mlp/up": 30,
        "block/mlp/down": 28,
        "final_norm": 8,
    }


@pytest.mark.parametrize(("activation", "steps"), [("relu", 1), ("silu", 4), ("gelu", 5), ("gelu_tanh", 9)])
def test_steps_of_an_activation(activation: str, steps: int) -> None:
    assert count(parse_model(TINY | {"activation": activation}), 2, 9).other["block/mlp/activation"] == steps * 2 * (2 * 9) * 20


@pytest.mark.parametrize(
    ("norm", "weight", "bias", "per_element", "per_row"),
    [
        ("layernorm", True, True, 7, 4),
        ("layernorm", True, False, 6, 4),
        ("layernorm", False, False, 5, 4),
        ("rmsnorm", True, True, 4, 3),
        ("rmsnorm", False, True, 3, 3),
    ],
)
def test_steps_of_a_norm(norm: str, weight: bool, bias: bool, per_element: int, per_row: int) -> None:
    spec = parse_model(TINY | {"norm": norm, "norm_weight": weight, "norm_bias": bias})
    assert count(spec, 2, 9).other["final_norm"] == 18 * (12 * per_element + per_row)


def test_rotation_takes_three_steps_for_each_channel_that_turns() -> None:
    assert count(parse_model(GPTJ), 2, 9).other["block/attention/rotary"] == 2 * (2 * 9) * (3 + 3) * 2 * 3
    assert count(parse_model(LLAMA), 2, 9).other["block/attention/rotary"] == 2 * (2 * 9) * (3 + 1) * 6 * 3


def test_two_layers_of_two_sequences_are_four_of_one() -> None:
    one, four = (count(parse_model(LLAMA | {"n_layer": n}), n, 9) for n in (1, 2))
    for path in one.matmul:
        assert four.matmul[path] == one.matmul[path] * (4 if path.startswith("block/") else 2)


def test_counting_changes_no_number_and_leaves_a_plain_array() -> None:
    spec, weights = model(LLAMA)
    counted = forward(spec, weights, tokens, Tally())
    assert type(counted) is np.ndarray
    assert np.array_equal(counted, forward(spec, weights, tokens))


def test_what_cannot_be_counted_is_refused() -> None:
    x = Tally().counted(np.ones((2, 2)))
    for uncountable in (lambda: np.einsum("ij->i", x), lambda: np.dot(x, x), lambda: np.add.accumulate(x), lambda: np.divmod(x, 2)):
        with pytest.raises(TypeError, match="cannot be counted"):
            uncountable()


def test_a_result_put_into_a_plain_array_is_counted_all_the_same() -> None:
    tally = Tally()
    at(x := tally.counted(np.ones((2, 3))), "here")
    y = np.multiply(x, 2.0, out=np.empty((2, 3)))
    y += 1
    assert tally.other == {"here": 12}


def test_progress_is_told_layer_by_layer() -> None:
    told: list[tuple[int, int]] = []
    count(parse_model(TINY), 1, 2, progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 2), (2, 2)]


# Any architecture


@settings(max_examples=examples(150), deadline=None)
@given(architectures())
def test_any_architecture_runs_and_holds_its_weights(fields: dict[str, Any]) -> None:
    spec, weights = model(fields)
    tally = Tally()
    logits = forward(spec, weights, tokens, tally)
    assert logits.shape == (2, 9, spec.padded_vocab_size or 17)
    assert np.isfinite(logits).all()
    assert sum(tally.parameters.values()) == sum(array.size for array in weights.values())
    assert np.array_equal(logits[:, :4], forward(spec, weights, tokens)[:, :4])
    changed = tokens.copy()
    changed[:, 4:] = 0
    again = forward(spec, weights, changed)[:, :4]
    # an expert that other tokens share rounds otherwise
    routed = any(kind.n_expert for kind in spec.kinds.values() or [spec])
    assert np.allclose(logits[:, :4], again, atol=1e-4) if routed else np.array_equal(logits[:, :4], again)


@settings(max_examples=examples(60), deadline=None)
@given(architectures())
def test_the_pass_reads_every_weight(fields: dict[str, Any]) -> None:
    """Each array, made NaN in turn, spoils the logits: none is held in vain."""
    spec, weights = model(fields)
    for name, array in weights.items():
        if name.startswith("embedding.") and "project" not in name:
            continue  # only the rows in use
        spoiled = forward(spec, weights | {name: np.full_like(array, np.nan)}, tokens)
        # a ReLU or a mask may let a number through, never all of them
        assert np.isnan(spoiled).any(), name


# Twins


@settings(max_examples=examples(100), deadline=None)
@given(architectures())
def test_a_twin_has_the_same_switches_and_no_two_numbers_alike(fields: dict[str, Any]) -> None:
    spec = parse_model(fields)
    small = twin(spec)
    for (path, s), (same_path, t) in zip(shape_of(spec).blocks, shape_of(small).blocks, strict=True):
        assert path == same_path
        no_two_numbers_alike(s, t, small.n_ctx)


def no_two_numbers_alike(s: Shape[int], t: Shape[int], small_ctx: int) -> None:
    assert t.switches == s.switches
    for ours, theirs in ((s, t), (t, s)):
        assert (ours.n_kv_head < ours.n_head) <= (theirs.n_kv_head < theirs.n_head)
        assert (ours.n_kv_head == 1) <= (theirs.n_kv_head == 1)
        assert (ours.n_head * ours.d_head == ours.d_model) <= (theirs.n_head * theirs.d_head == theirs.d_model)
        assert (ours.d_rotary == ours.d_head) <= (theirs.d_rotary == theirs.d_head)
        assert (ours.d_head_value == ours.d_head) <= (theirs.d_head_value == theirs.d_head)
        assert (ours.d_expert == ours.d_ff) <= (theirs.d_expert == theirs.d_ff)
    numbers = [t.n_layer, t.d_model, t.n_head, t.d_head, t.d_ff, t.vocab_size, small_ctx]
    numbers += [t.n_kv_head] * (t.n_kv_head != t.n_head) + [t.d_embedding] * t.switches.projected_embedding
    numbers += [t.d_rotary] * (0 < t.d_rotary < t.d_head) + [t.sliding_window] * t.switches.windowed
    numbers += [t.d_head_value] * (t.d_head_value != t.d_head) + [t.d_expert] * (0 < t.d_expert < t.d_ff)
    numbers += [number for number in (t.n_expert, t.n_expert_per_token, t.d_shared_expert, t.kv_lora_rank, t.q_lora_rank) if number]
    numbers += [t.n_position] * (t.n_position > small_ctx)
    assert len(set(numbers)) == len(numbers)


def test_twins_of_a_twin_are_the_same() -> None:
    for fields in MODELS.values():
        small = twin(parse_model(fields))
        assert twin(small).model_copy(update={"name": small.name}) == small
        count(small, 2, small.n_ctx)


# Refusals


BAD_TOKENS = {
    "token too large": ([[0, 17]], "token 17 is outside the vocabulary of 17"),
    "negative token": ([[-1, 3]], "token -1 is outside"),
    "too long": ([[0] * 12], "12 positions do not fit n_ctx 11"),
    "no batch": ([0, 1], "table"),
    "no whole numbers": ([[0.5]], "whole numbers"),
    "ragged": ([[1], [1, 2]], "one length"),
    "empty": ([[]], "table"),
}


@pytest.mark.parametrize(("bad", "message"), BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_bad_tokens_are_refused(bad: Any, message: str) -> None:
    spec, weights = model(TINY)
    with pytest.raises(GptcalcError, match=message):
        forward(spec, weights, bad)


def test_more_new_tokens_than_fit_and_fewer_than_none_are_refused() -> None:
    spec, weights = model(TINY)
    for n_new, message in ((3, "12 positions do not fit n_ctx 11"), (-1, "below zero")):
        with pytest.raises(GptcalcError, match=message):
            generate(spec, weights, tokens, n_new)


def test_weights_that_do_not_fit_are_refused() -> None:
    spec, weights = model(TINY)
    name = "block.1.mlp.up.weight"
    bad = {
        r"'block.1.mlp.up.weight' of shape \(12, 20\) is missing": {other: array for other, array in weights.items() if other != name},
        r"'block.1.mlp.up.weight' has shape \(20, 12\), and the model needs \(12, 20\)": weights | {name: weights[name].T},
        r"'more' of shape \(3,\) belongs to no part": weights | {"more": np.zeros(3, np.float32)},
        "float32 and float64": weights | {name: weights[name].astype(np.float64)},
        "not in float16": {other: array.astype(np.float16) for other, array in weights.items()},
    }
    for message, arrays in bad.items():
        with pytest.raises(GptcalcError, match=message):
            forward(spec, arrays, tokens)
    with pytest.raises(GptcalcError, match="not in float16"):
        random_weights(spec, dtype=np.float16)


def gpt2_checkpoint(spec: ModelSpec) -> dict[str, np.ndarray]:
    """The tensors of GPT-2 in transformers' names, random."""
    d, F, V = 12, 20, 17
    shapes: dict[str, tuple[int, ...]] = {"wte.weight": (V, d), "wpe.weight": (11, d), "ln_f.weight": (d,), "ln_f.bias": (d,)}
    for i in range(spec.n_layer):
        linears = {"attn.c_attn": (d, 3 * d), "attn.c_proj": (d, d), "mlp.c_fc": (d, F), "mlp.c_proj": (F, d)}
        for name, shape in linears.items():
            shapes |= {f"h.{i}.{name}.weight": shape, f"h.{i}.{name}.bias": shape[1:]}
        for name in ("ln_1", "ln_2"):
            shapes |= {f"h.{i}.{name}.weight": (d,), f"h.{i}.{name}.bias": (d,)}
    generator = np.random.default_rng(5)
    return {f"transformer.{name}": generator.standard_normal(shape) for name, shape in shapes.items()}


def test_a_checkpoint_of_plain_arrays_loads() -> None:
    spec = parse_model(TINY)
    state = gpt2_checkpoint(spec)
    buffers = {"transformer.h.0.attn.bias": np.ones((1, 1, 11, 11), dtype=bool), "transformer.h.0.attn.masked_bias": np.array(-1e4)}
    weights = load_state_dict(spec, state | buffers | {"lm_head.weight": state["transformer.wte.weight"]}, np.float64)
    assert {name: array.shape for name, array in weights.items()} == weight_shapes(spec)
    fused = state["transformer.h.1.attn.c_attn.weight"]
    assert np.array_equal(weights["block.1.attention.key.weight"], fused[:, 12:24])
    assert not any(np.shares_memory(array, tensor) for array in weights.values() for tensor in state.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transformer.h.1.mlp.c_fc.bias": None}, r"tensor 'h.1.mlp.c_fc.bias' of shape \(20,\) is missing"),
        ({"transformer.h.1.mlp.c_fc.weight": np.zeros((20, 12))}, r"c_fc.weight' has shape \(20, 12\), and the model needs \(12, 20\)"),
        ({"transformer.h.0.attn.c_attn.bias": np.zeros(35)}, r"c_attn.bias' has shape \(35,\), and the model needs \(36,\)"),
        ({"transformer.h.2.ln_1.weight": np.zeros(12)}, r"'transformer.h.2.ln_1.weight' of shape \(12,\) has no place in the model"),
        ({"lm_head.weight": np.zeros((17, 12))}, r"lm_head.weight' and 'transformer.wte.weight' \(\(17, 12\) and \(17, 12\)\) differ"),
        ({"wte.weight": np.zeros((17, 12))}, r"'transformer.wte.weight' and 'wte.weight' are the same part"),
        ({"transformer.ln_f.bias": "text"}, r"ln_f.bias' of shape \(\) holds <U4"),
        ({"transformer.ln_f.bias": np.zeros(12, dtype=np.int8)}, "holds int8, not floating"),
        ({"transformer.wte.weight": None}, "no family"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    spec = parse_model(TINY)
    state = gpt2_checkpoint(spec) | change
    with pytest.raises(GptcalcError, match=message):
        load_state_dict(spec, {name: tensor for name, tensor in state.items() if tensor is not None})


def test_a_checkpoint_of_another_family_than_the_spec_is_refused() -> None:
    spec = parse_model(TINY)
    with pytest.raises(GptcalcError, match=r"gpt2 has no tensor for 'block.0.mlp.gate.weight' of shape \(12, 20\)"):
        load_state_dict(parse_model(TINY | {"gated": True}), gpt2_checkpoint(spec))
