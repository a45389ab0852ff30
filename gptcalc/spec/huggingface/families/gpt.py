"""GPT and GPT-2, and those that began as GPT-2: GPT-J, CodeGen, StarCoder, GPT-Neo; and CTRL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gptcalc.spec.huggingface.family import ABSENT, Config, Family, Fields, Key, Unread, because, variant, written
from gptcalc.spec.huggingface.handlers import (
    activation,
    agrees,
    epsilon,
    flag,
    only,
    optional_size,
    read_elsewhere,
    size,
    standard,
    unread,
    unread_head_width,
    unread_kv_heads,
)
from gptcalc.spec.huggingface.layers import ATTENTION, Layer

# The first GPT's code has a table of its own, in which "gelu" is the tanh form.
GPT1_ACTIVATIONS = {"gelu": "gelu_tanh", "relu": "relu", "silu": "silu", "swish": "silu"}

GPT_ALIASES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}

SUMMARY: Mapping[str, str] = because(
    "the pooled head of other classes",
    """
        summary_type summary_use_proj summary_activation summary_proj_to_labels summary_first_dropout
        summary_last_dropout predict_special_tokens""",
)

UNREAD_CONTEXT = Key(ABSENT, Unread(agrees(lambda config: config["n_positions"], "n_positions")))

GPT2 = Family(
    "gpt2",
    ("GPT2LMHeadModel",),
    {
        "vocab_size": Key(50257, size("vocab_size")),
        "n_positions": Key(1024, size("n_ctx")),
        "n_embd": Key(768, size("d_model")),
        "n_layer": Key(12, size("n_layer")),
        "n_head": Key(12, size("n_head")),
        "n_inner": Key(None, optional_size("d_ff")),
        "activation_function": Key("gelu_new", activation()),
        "layer_norm_epsilon": Key(1e-5, epsilon),
        "tie_word_embeddings": Key(True, flag("tied")),
        "scale_attn_weights": Key(True, only(True, why="the logits change, and the forward pass here always scales")),
        "scale_attn_by_inverse_layer_idx": Key(
            False, only(False, why="the logits change, and the forward pass here scales all layers alike")
        ),
        "n_ctx": UNREAD_CONTEXT,
        "head_dim": Key(ABSENT, Unread(agrees(lambda config: config.size("n_embd") // config.size("n_head"), "n_embd / n_head"))),
        "num_key_value_heads": Key(ABSENT, Unread(agrees(lambda config: config["n_head"], "n_head"))),
    },
    {"family": "GPT-2"},
    GPT_ALIASES,
    {**SUMMARY, "reorder_and_upcast_attn": "the same scores, computed in fp32"},
)

GPT_SW3 = variant(GPT2, "gpt-sw3", "GPT2LMHeadModel", "GPT-SW3")

GPT1 = variant(
    GPT2,
    "openai-gpt",
    "OpenAIGPTLMHeadModel",
    "GPT",
    without="activation_function scale_attn_weights scale_attn_by_inverse_layer_idx reorder_and_upcast_attn",
    defaults={"vocab_size": 40478, "n_positions": 512},
    keys={
        "afn": Key("gelu", activation(GPT1_ACTIVATIONS)),
        "n_special": unread("old versions added these tokens to the vocabulary, today's do not", 0),
        "n_inner": Key(ABSENT, Unread(agrees(lambda config: 4 * config.size("n_embd"), "4 * n_embd"))),
    },
    fixed={"norm_placement": "post", "final_norm": False},
)

GPTJ = variant(
    GPT2,
    "gptj",
    "GPTJForCausalLM",
    "GPT-J",
    without="scale_attn_by_inverse_layer_idx reorder_and_upcast_attn",
    defaults={"vocab_size": 50400, "n_positions": 2048, "n_embd": 4096, "n_layer": 28, "n_head": 16, "tie_word_embeddings": False},
    keys={
        "rotary_dim": Key(64, size("d_rotary")),
        "rotary": unread("GPT-J's code always rotates", True),
        "scale_attn_weights": unread("GPT-J's code always scales", True),
    },
    fixed={
        "position": "rotary",
        "rotary_pairs": "neighbours",
        "parallel_residual": True,
        "shared_norm": True,
        "attention_bias": False,
        "attention_output_bias": False,
        "head_bias": True,
    },
)

CODEGEN = variant(
    GPTJ,
    "codegen",
    "CodeGenForCausalLM",
    "CodeGen",
    keys={"n_ctx": Key(2048, size())},  # its code reads it for a number that nothing uses
)


def _one_key_head(key: str, config: Config) -> Fields:
    return {"n_kv_head": 1} if config.flag(key) and config.size("n_head") > 1 else {}


GPT_BIGCODE = variant(
    GPT2,
    "gpt_bigcode",
    "GPTBigCodeForCausalLM",
    "StarCoder",
    without="scale_attn_by_inverse_layer_idx reorder_and_upcast_attn",
    defaults={"activation_function": "gelu_pytorch_tanh"},
    keys={
        "multi_query": Key(True, _one_key_head),
        "num_key_value_heads": Key(ABSENT, agrees(lambda config: 1 if config.flag("multi_query") else config["n_head"], "multi_query")),
    },
    harmless=because(
        "the same scores, computed another way",
        """
        attention_softmax_in_fp32 scale_attention_softmax_in_fp32 inference_runner max_batch_size
        max_sequence_length pad_key_length pre_allocate_kv_cache validate_runner_input""",
    ),
)


def _neo_layers(key: str, config: Config) -> Fields:
    """GPT-Neo's layers, given as runs such as [[["global", "local"], 12]]."""
    runs: Any = [[["global", "local"], 12]] if config[key] is None else config[key]
    kinds: list[str] = []
    try:
        for names, times in runs:
            if type(times) is not int or not 0 < times <= 10_000:
                raise ValueError
            kinds += list(names) * times
    except (TypeError, ValueError):
        raise config.refuse(key, f"must be a list of runs such as [['global', 'local'], 12], not {written(runs)}") from None
    if len(kinds) != config.layers or any(kind not in ("global", "local") for kind in kinds):
        raise config.refuse(key, f"must name {config.layers} layers, each global or local; it names {len(kinds)}")
    given = config["attention_layers"]
    if given is not ABSENT and given is not None and given != kinds:
        raise config.refuse("attention_layers", f"contradicts {key}")
    window = config.size("window_size")
    return {ATTENTION: [Layer("local", {"sliding_window": window}) if kind == "local" else Layer("global", {}) for kind in kinds]}


GPT_NEO = Family(
    "gpt_neo",
    ("GPTNeoForCausalLM",),
    {
        **standard(vocab_size=50257, max_position_embeddings=2048, hidden_size=2048),
        "num_layers": Key(24, size("n_layer")),
        "num_heads": Key(16, size("n_head")),
        "intermediate_size": Key(None, optional_size("d_ff")),
        "attention_types": Key(None, _neo_layers),
        **read_elsewhere(window_size=256, attention_layers=ABSENT),
        "activation_function": Key("gelu_new", activation()),
        "layer_norm_epsilon": Key(1e-5, epsilon),
        "tie_word_embeddings": Key(True, flag("tied")),
        "head_dim": unread_head_width(),
        "num_key_value_heads": unread_kv_heads(),
    },
    {"family": "GPT-Neo", "attention_bias": False, "attention_scale": 1.0},
    {"num_attention_heads": "num_heads", "num_hidden_layers": "num_layers"},
    SUMMARY,
)

CTRL = Family(
    "ctrl",
    ("CTRLLMHeadModel",),
    {
        "vocab_size": Key(246534, size("vocab_size")),
        "n_positions": Key(256, size("n_ctx")),
        "n_embd": Key(1280, lambda key, config: {"d_model": config.size(key), "embedding_scale": config.size(key) ** 0.5}),
        "dff": Key(8192, size("d_ff")),
        "n_layer": Key(48, size("n_layer")),
        "n_head": Key(16, size("n_head")),
        "layer_norm_epsilon": Key(1e-6, epsilon),
        "tie_word_embeddings": Key(True, flag("tied")),
        "n_ctx": UNREAD_CONTEXT,
    },
    {"family": "CTRL", "position": "sinusoidal", "activation": "relu", "head_bias": True},
    GPT_ALIASES,
    {**SUMMARY, "from_tf": "says where the weights came from"},
)

FAMILIES = (GPT2, GPT_SW3, GPT1, GPTJ, CODEGEN, GPT_BIGCODE, GPT_NEO, CTRL)
