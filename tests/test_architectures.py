"""Architectures beside GPT's: published counts, and what their rows must say."""

from typing import Any

import pytest

import gptcalc as gc
from gptcalc.footprint.serving import kv_cache
from gptcalc.reference import count, forward, random_weights
from gptcalc.run.verify import counted_parameters, leaf_values
from gptcalc.spec.model import ModelSpec, parse_model
from gptcalc.spec.shape import shape_of
from gptcalc.table.params import params, views

LLAMA: dict[str, Any] = {
    "name": "any",
    "position": "rotary",
    "norm": "rmsnorm",
    "activation": "silu",
    "gated": True,
    "tied": False,
    "attention_bias": False,
    "attention_output_bias": False,
    "mlp_bias": False,
    "n_ctx": 4096,
}
SMALL = {"n_layer": 2, "d_model": 8, "n_head": 2, "vocab_size": 17, "n_ctx": 11}
MIXTRAL = LLAMA | {
    "n_layer": 32,
    "d_model": 4096,
    "n_head": 32,
    "n_kv_head": 8,
    "vocab_size": 32000,
    "d_ff": 14336,
    "n_expert": 8,
    "n_expert_per_token": 2,
}
DEEPSEEK_V3 = LLAMA | {
    "n_layer": 61,
    "d_model": 7168,
    "n_head": 128,
    "d_head": 192,
    "d_head_value": 128,
    "d_rotary": 64,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "vocab_size": 129280,
    "d_ff": 18432,
    "n_mtp": 1,
    "layout": ["dense*3", "moe*58"],
    "blocks": {
        "dense": {},
        "moe": {"n_expert": 256, "n_expert_per_token": 8, "d_expert": 2048, "d_shared_expert": 2048, "router_score": "sigmoid"},
    },
}


def views_of(model: ModelSpec) -> dict[str, int]:
    return views(params(model), model)


def test_mixtral_has_the_published_count() -> None:
    model = parse_model(MIXTRAL)
    found = views_of(model)
    assert (found["total"], found["active"]) == (46_702_792_704, 12_879_925_248)
    mlp = gc.flops(model, seq=1).matmul["block/mlp"].value - gc.flops(model, seq=1).matmul["block/mlp/router"].value
    assert mlp == 32 * 704_643_072


def test_deepseek_v3_has_the_published_count() -> None:
    found = views_of(parse_model(DEEPSEEK_V3))
    assert (found["total"], found["active"]) == (671_026_404_352, 37_552_282_624)
    # the released shard of layer 61 without its copies of embedding and head
    assert (
        found["multi_token_prediction"] == found["total"] - views_of(parse_model(DEEPSEEK_V3 | ONE_LESS))["total"] + 2 * 7168**2 + 3 * 7168
    )


ONE_LESS = {"n_layer": 60, "layout": ["dense*3", "moe*57"]}


TRANSFORMER: dict[str, Any] = {
    "name": "small",
    "n_layer": 3,
    "d_model": 8,
    "n_head": 2,
    "vocab_size": 17,
    "n_ctx": 11,
    "position": "sinusoidal",
    "norm_placement": "post",
    "layout": ["encoder", "decoder*2"],
    "blocks": {"encoder": {"causal": False}, "decoder": {"cross_attention": True}},
}


@pytest.mark.parametrize("change", [{}, {"position": "learned"}, {"norm_placement": "pre"}, {"norm": "rmsnorm", "d_embedding": 5}])
def test_an_encoder_and_its_decoder_cost_what_they_do(change: dict[str, Any]) -> None:
    model = parse_model(TRANSFORMER | change)
    tally = count(model, 2, 9)
    answer = gc.flops(model, batch=2, seq=9)
    assert leaf_values(params(model)) == counted_parameters(model)
    assert leaf_values(answer.matmul) == tally.matmul
    assert answer.other is not None
    assert leaf_values(answer.other) == tally.other
    causal = gc.flops(model, batch=2, seq=9, attention="causal").matmul
    assert causal["block encoder"].value == answer.matmul["block encoder"].value, "an encoder sees all pairs"
    assert causal["block decoder/cross_attention"].value == answer.matmul["block decoder/cross_attention"].value
    assert causal["block decoder/attention"].value < answer.matmul["block decoder/attention"].value


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (TRANSFORMER | {"layout": [], "blocks": {}, "causal": False}, "an encoder and its decoder are two kinds"),
        (TRANSFORMER | {"layout": ["decoder", "encoder", "decoder"]}, "they come first"),
        (TRANSFORMER | {"blocks": {"encoder": {"causal": False}, "decoder": {}}}, "cross_attention belongs to every layer"),
        (TRANSFORMER | {"position": "alibi"}, "encoders and cross_attention are known with"),
        (LLAMA | SMALL | {"n_expert": 4}, "n_expert needs n_expert_per_token"),
        (LLAMA | SMALL | {"n_expert": 4, "n_expert_per_token": 5}, "5 is above n_expert 4"),
        (LLAMA | SMALL | {"n_expert_per_token": 5}, "means nothing without n_expert"),
        (LLAMA | SMALL | {"shared_expert_gate": True}, "means nothing without n_expert"),
        (LLAMA | SMALL | {"n_expert": 4, "n_expert_per_token": 2, "n_router_group": 3}, "n_router_group 3"),
        (LLAMA | SMALL | {"q_lora_rank": 4}, "q_lora_rank needs kv_lora_rank"),
        (LLAMA | SMALL | {"kv_lora_rank": 4}, "a d_rotary below d_head"),
        (LLAMA | SMALL | {"kv_lora_rank": 4, "d_rotary": 2, "n_kv_head": 1}, "n_kv_head 1 differs from n_head 2"),
        (LLAMA | SMALL | {"window_chunks": True}, "window_chunks needs sliding_window"),
        (LLAMA | SMALL | {"qk_norm": "l2", "qk_norm_bias": True}, "qk_norm_bias means nothing"),
        (LLAMA | SMALL | {"activation": "silu_clamped", "gated": False}, "needs gated"),
        (LLAMA | SMALL | {"layout": ["a"], "blocks": {"a": {}}}, "layout names 1 layers, and n_layer is 2"),
        (LLAMA | SMALL | {"layout": ["b*2"], "blocks": {"a": {}}}, "'b[*]2', which is no kind of block"),
        (LLAMA | SMALL | {"layout": ["a*2"]}, "blocks and layout need each other"),
        (LLAMA | SMALL | {"layout": ["a*2"], "blocks": {"a": {"n_ctx": 5}}}, "'n_ctx' is no field of a block"),
        (LLAMA | SMALL | {"layout": ["a*2"], "blocks": {"a": {"d_ff": 0}}}, r"blocks[.]a: d_ff: 0 is not above zero"),
    ],
)
def test_contradictions_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(gc.GptcalcError, match=message):
        parse_model(fields)


def test_what_a_model_has_none_of_cannot_vary() -> None:
    with pytest.raises(gc.GptcalcError, match="n_expert cannot vary in a model that has none"):
        params(gc.model("gpt2"), n_expert=[4, 8])
    with pytest.raises(gc.GptcalcError, match="n_layer cannot vary"):
        params(parse_model(DEEPSEEK_V3), n_layer=[4, 8])
    many = params(parse_model(MIXTRAL), n_expert=[8, 16], d_expert=[14336, 7168])
    assert many["block/mlp/experts"].value.tolist() == [45_097_156_608.0, 45_097_156_608.0]


def test_decoding_with_an_encoder_is_refused() -> None:
    with pytest.raises(gc.GptcalcError, match="has an encoder"):
        gc.flops("transformer-base", phase="decode")


def test_an_unread_source_and_a_missing_one_are_refused() -> None:
    for fields, source in ((TRANSFORMER, None), (LLAMA | SMALL, [[1]])):
        model = parse_model(fields)
        with pytest.raises(gc.GptcalcError, match="source is the sequence that an encoder reads"):
            forward(model, random_weights(model), [[1, 2]], source=source)


def test_chunks_hide_what_lies_before_them() -> None:
    chunked = parse_model(LLAMA | SMALL | {"sliding_window": 4, "window_chunks": True})
    assert gc.flops(chunked, seq=10, attention="causal").matmul["block/attention/scores"].value == 2 * 2 * 8 * (10 + 10 + 3)


def test_the_cache_holds_latents_and_windows() -> None:
    deepseek = shape_of(parse_model(DEEPSEEK_V3))
    assert kv_cache(deepseek, 1, 1) == 70_272, "61 layers of a latent of 512 and 64 rotated channels, bf16"
    assert kv_cache(shape_of(parse_model(MIXTRAL)), 1, 4096) == 2 * 2 * 32 * 8 * 128 * 4096
    fields = LLAMA | SMALL | {"layout": ["local", "global"], "blocks": {"local": {"sliding_window": 4}, "global": {}}}
    assert kv_cache(shape_of(parse_model(fields)), 1, 10) == 2 * 2 * 8 * (4 + 10)
    assert kv_cache(shape_of(parse_model(TRANSFORMER)), 1, 10) == 2 * 2 * 2 * 8 * 2 * 10, "a decoder's own keys and those it reads"


@pytest.mark.parametrize("fields", [DEEPSEEK_V3, MIXTRAL, TRANSFORMER], ids=["deepseek", "mixtral", "transformer"])
@pytest.mark.parametrize("tp", [1, 2])
def test_serving_holds_every_weight_once(fields: dict[str, Any], tp: int) -> None:
    model = parse_model(fields)
    serving = gc.memory(model, mode="inference", batch=2, seq=7, tp=tp).serving
    for path, node in serving.breakdown.walk():
        if node.formula:
            assert eval(node.formula, {"max": max, "min": min}, serving.letters) == node.value, path
    if tp == 1:
        head = 2 * model.vocab_size * model.d_model if model.tied else 0
        assert serving.breakdown["weights"].value - 2 * params(model).value in (0, head)


def test_training_memory_of_two_stacks_is_refused() -> None:
    with pytest.raises(gc.GptcalcError, match="says nothing about block"):
        gc.memory(parse_model(TRANSFORMER), runtime="ideal")


@pytest.mark.parametrize(("fields", "runtime"), [(DEEPSEEK_V3, "ideal"), (MIXTRAL, "transformers")], ids=["deepseek", "mixtral"])
def test_training_memory_and_time_of_experts(fields: dict[str, Any], runtime: str) -> None:
    model = parse_model(fields)
    answer = gc.memory(model, seq=1024, precision="bf16")
    assert answer.recipe.runtime == runtime
    assert answer.value > 8 * params(model).value
    assert gc.train(model, tokens=1e9, device="h100-80gb", seq=1024, precision="bf16").step_time > 0


@pytest.mark.parametrize("fields", [DEEPSEEK_V3, MIXTRAL, TRANSFORMER], ids=["deepseek", "mixtral", "transformer"])
def test_verify_finds_nothing_wrong(fields: dict[str, Any]) -> None:
    checks = gc.verify(parse_model(fields))
    assert all(check.ok for check in checks)
    assert any("mlp/experts/down" in check.path for check in checks) == (fields is not TRANSFORMER)


def test_experts_are_told_apart_in_compare() -> None:
    dense, sparse = gc.compare(["llama2-7b", parse_model(MIXTRAL)])
    assert dense.active_parameters == dense.parameters
    assert sparse.active_parameters == 12_879_925_248
    assert sparse.activation == "gated silu, 2 of 8 experts"
    rows = {row.name: row.flops for row in gc.conventions(parse_model(MIXTRAL), seq=1)}
    assert rows["6ND"] == 6 * 12_879_925_248
    assert rows["Megatron 2021"] is None


def test_a_cap_that_a_runtime_does_not_know_is_not_passed_over() -> None:
    capped = parse_model(LLAMA | SMALL | {"d_model": 64, "attention_softcap": 5.0})
    with pytest.raises(gc.GptcalcError, match="no attention_softcapped true"):
        gc.memory(capped, runtime="transformers")
    assert gc.memory(capped).recipe.runtime == "ideal"
