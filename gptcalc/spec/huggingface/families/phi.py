"""Phi, from LayerNorm and side by side to Phi 3's Llama and Phi 3.5's experts."""

from __future__ import annotations

from gptcalc.spec.huggingface.families.llama import MLP_UNBIASED, NO_BIAS, ROOMY, UNBIASED
from gptcalc.spec.huggingface.family import ABSENT, Key, sizes, variant
from gptcalc.spec.huggingface.handlers import (
    HEAD_IF_GIVEN,
    flag,
    norm_of_each_head,
    nothing,
    only,
    optional_size,
    standard,
    unread_head_width,
)
from gptcalc.spec.huggingface.mixture import everywhere, mixture
from gptcalc.spec.huggingface.rotary import rotary_keys

PHI = variant(
    ROOMY,
    "phi",
    "PhiForCausalLM",
    "Phi",
    without="rms_norm_eps attention_bias mlp_bias",
    defaults=sizes(V=51200, d=2048, F=8192, L=24, hidden_act="gelu_new"),
    keys={
        **standard(layer_norm_eps=1e-5),
        "head_dim": unread_head_width(),
        "qk_layernorm": Key(False, norm_of_each_head),
        **rotary_keys(share=0.5),
    },
    fixed={
        "norm": "layernorm",
        "norm_bias": True,
        "gated": False,
        "parallel_residual": True,
        "shared_norm": True,
        "head_bias": True,
    },
)

PHI3 = variant(
    UNBIASED,
    "phi3",
    "Phi3ForCausalLM",
    "Phi 3",
    defaults=sizes(V=32064, d=3072, F=8192, T=4096, rms_norm_eps=1e-5),
    keys={
        "head_dim": HEAD_IF_GIVEN,
        "sliding_window": Key(None, optional_size("sliding_window")),
        "original_max_position_embeddings": Key(4096, nothing),
        **rotary_keys(share=1.0),
        "attention_bias": NO_BIAS,
    },
)

PHIMOE = variant(
    MLP_UNBIASED,
    "phimoe",
    "PhimoeForCausalLM",
    "Phi 3.5 MoE",
    defaults=sizes(V=32064, F=6400, K=8, T=131072, rms_norm_eps=1e-5, rope_theta=1000000.0),
    keys={
        "head_dim": HEAD_IF_GIVEN,
        "sliding_window": Key(None, optional_size("sliding_window")),
        "lm_head_bias": Key(False, flag("head_bias")),
        "num_local_experts": Key(16, everywhere(mixture("num_local_experts", normalised=False))),
        "num_experts_per_tok": Key(2, only(2, why="the model's code chooses two experts whatever the key says")),
        "original_max_position_embeddings": Key(ABSENT, nothing),
    },
    fixed={"norm": "layernorm", "norm_bias": True, "unexecuted": ("its router weighs by masked softmaxes (SparseMixer)",)},
)

FAMILIES = (PHI, PHI3, PHIMOE)
