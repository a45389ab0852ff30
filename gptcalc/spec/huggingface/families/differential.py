"""Attentions with a step of their own: DiffLlama's difference of two, Doge's masks made of values."""

from __future__ import annotations

from gptcalc.spec.huggingface.families.llama import LLAMA
from gptcalc.spec.huggingface.family import Config, Fields, Key, because, sizes, variant
from gptcalc.spec.huggingface.handlers import HEAD_IF_GIVEN, kv_heads, only, standard


def _even_kv_heads(key: str, config: Config) -> Fields:
    given = config.size("num_attention_heads") if config[key] is None else config.size(key)
    if given % 2:
        raise config.refuse(key, f"{given} is odd: the key-value heads are two halves")
    return kv_heads(key, config)


DIFFLLAMA = variant(
    LLAMA,
    "diffllama",
    "DiffLlamaForCausalLM",
    "DiffLlama",
    defaults=sizes(d=2048, F=8192, L=16, H=32, rms_norm_eps=1e-5),
    keys={
        **standard(num_attention_heads=32),
        "num_key_value_heads": Key(None, _even_kv_heads),
        "mlp_bias": Key(False, only(False, why="the model's code has no biases there")),
    },
    fixed={"differential": True, "mlp_bias": False, "unexecuted": ("its attention is a difference of two",)},
    harmless=because("how weights are drawn before training", "lambda_std_dev"),
)

DOGE = variant(
    LLAMA,
    "doge",
    "DogeForCausalLM",
    "Doge",
    defaults=sizes(V=32768, d=1024, F=2048, L=32, H=8, rms_norm_eps=1e-6),
    keys={
        **standard(num_attention_heads=8),
        "head_dim": HEAD_IF_GIVEN,
        "sliding_window": Key(None, only(None, why="its masks would have windows too")),
        "is_moe": Key(False, only(False, why="a router over rows of two tables would stand beside each MLP")),
    },
    fixed={"value_masks": True, "qk_norm": "head", "unexecuted": ("its attention has masks made of values",)},
    harmless=because("how many keys a mask leaves: no weights, no products", "keep_window_size")
    | because("of experts, which the model has not", "num_experts num_experts_per_tok norm_topk_prob"),
)

FAMILIES = (DIFFLLAMA, DOGE)
