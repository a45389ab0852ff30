"""Like Llama but with LayerNorm, most of them without a gate: Jais 2, Nemotron, StarCoder 2, Persimmon, StableLM."""

from __future__ import annotations

from gptcalc.spec.huggingface.families.llama import LLAMA, ROOMY, UNBIASED
from gptcalc.spec.huggingface.family import ABSENT, Config, Fields, Key, sizes, variant
from gptcalc.spec.huggingface.handlers import (
    epsilon,
    flag,
    head_width,
    kv_heads_needed,
    norm_of_each_head,
    norm_of_heads,
    optional_size,
    standard,
    unread,
    unread_head_width,
    unread_kv_heads,
)
from gptcalc.spec.huggingface.rotary import rotary_keys

JAIS2 = variant(
    LLAMA,
    "jais2",
    "Jais2ForCausalLM",
    "Jais 2",
    without="rms_norm_eps",
    defaults=sizes(V=150272, d=3328, F=26624, H=26, T=8192, hidden_act="relu2", attention_bias=True, mlp_bias=True),
    keys=standard(layer_norm_eps=1e-5),
    fixed={"norm": "layernorm", "norm_bias": True, "gated": False},
)

NEMOTRON = variant(
    ROOMY,
    "nemotron",
    "NemotronForCausalLM",
    "Nemotron",
    without="rms_norm_eps",
    defaults=sizes(V=256000, d=6144, F=24576, H=48, T=4096, hidden_act="relu2"),
    keys={"norm_eps": Key(1e-5, epsilon), "num_key_value_heads": Key(None, kv_heads_needed), **rotary_keys(share=0.5)},
    fixed={"norm": "layernorm", "norm_bias": True, "norm_weight_plus_one": True, "gated": False},
)

STARCODER2 = variant(
    ROOMY,
    "starcoder2",
    "Starcoder2ForCausalLM",
    "StarCoder 2",
    without="rms_norm_eps attention_bias mlp_bias",
    defaults=sizes(V=49152, d=3072, F=12288, L=30, H=24, T=4096, hidden_act="gelu_pytorch_tanh", tie_word_embeddings=True),
    keys={
        "num_key_value_heads": Key(2, kv_heads_needed),
        "head_dim": Key(ABSENT, head_width),
        "norm_epsilon": Key(1e-5, epsilon),
        "sliding_window": Key(None, optional_size("sliding_window")),
        "use_bias": Key(True, flag("attention_bias", "attention_output_bias", "mlp_bias")),
        "norm_type": unread("the model's code has LayerNorm", "layer_norm"),
        "mlp_type": unread("the model's MLPs are not gated", "default"),
    },
    fixed={"norm": "layernorm", "norm_bias": True, "gated": False},
)

PERSIMMON = variant(
    ROOMY,
    "persimmon",
    "PersimmonForCausalLM",
    "Persimmon",
    without="rms_norm_eps attention_bias mlp_bias",
    defaults=sizes(V=262144, F=16384, L=36, H=64, T=16384, hidden_act="relu2"),
    keys={
        **standard(layer_norm_eps=1e-5),
        "head_dim": unread_head_width(),
        "num_key_value_heads": unread_kv_heads(),
        "qk_layernorm": Key(True, norm_of_each_head),
        **rotary_keys(share=0.5),
    },
    fixed={"norm": "layernorm", "norm_bias": True, "gated": False},
)


def _one_norm(key: str, config: Config) -> Fields:
    parallel = config.flag(key)
    return {"parallel_residual": parallel, "shared_norm": parallel}


STABLELM = variant(
    UNBIASED,
    "stablelm",
    "StableLmForCausalLM",
    "StableLM",
    without="rms_norm_eps attention_bias",
    defaults=sizes(V=50304, d=2560, F=6912, T=4096),
    keys={
        **standard(layer_norm_eps=1e-5),
        "num_key_value_heads": Key(32, kv_heads_needed),
        "head_dim": unread_head_width(),
        "use_qkv_bias": Key(False, flag("attention_bias")),
        "qk_layernorm": Key(False, norm_of_heads),
        "use_parallel_residual": Key(False, _one_norm),
        **rotary_keys(share=0.25),
    },
    fixed={"norm": "layernorm", "norm_bias": True},
)

FAMILIES = (JAIS2, NEMOTRON, STARCODER2, PERSIMMON, STABLELM)
