"""Architectures beside GPT's: published counts, and what their rows must say."""

from typing import Any

import gptcalc as gc
from gptcalc.formulas.params import params, views
from gptcalc.spec.model import ModelSpec, parse_model

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
