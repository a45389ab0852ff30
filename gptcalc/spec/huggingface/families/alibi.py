"""Positions as biases of scores: BLOOM, MPT, and the first Falcon."""

from __future__ import annotations

from gptcalc.spec.huggingface.family import ABSENT, Config, Family, Fields, Key, Unread, because, written
from gptcalc.spec.huggingface.handlers import (
    activation,
    agrees,
    config_inside,
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
from gptcalc.spec.huggingface.rotary import rotary_keys

BLOOM = Family(
    "bloom",
    ("BloomForCausalLM",),
    {
        **standard(vocab_size=250880, hidden_size=64),
        "n_layer": Key(2, size("n_layer")),
        "n_head": Key(8, size("n_head")),
        "layer_norm_epsilon": Key(1e-5, epsilon),
        "tie_word_embeddings": Key(True, flag("tied")),
        "apply_residual_connection_post_layernorm": Key(False, only(False, why="the residual stream would be the norm's output")),
        "seq_length": Key(2048, size("n_ctx")),  # the class has no longest sequence; BLOOM was trained on 2,048
        "n_inner": Key(ABSENT, Unread(agrees(lambda config: 4 * config.size("hidden_size"), "4 * hidden_size"))),
        "head_dim": unread_head_width(),
        "num_key_value_heads": unread_kv_heads(),
    },
    {"family": "BLOOM", "position": "alibi", "embedding_norm": True},
    {"num_hidden_layers": "n_layer", "num_attention_heads": "n_head", "n_embed": "hidden_size"},
    because(
        "the same numbers, computed another way",
        """
        slow_but_exact skip_bias_add skip_bias_add_qkv attention_softmax_in_fp32 bias_dropout_fusion
        masked_softmax_fusion offset_alibi unk_token_id""",
    ),
)


def _attention_of_mpt(key: str, config: Config) -> Fields:
    """The mapping `attn_config`, of which the code reads three keys and takes the others as they are by default."""
    given = config_inside(
        key,
        config,
        """
        attn_type alibi qk_ln prefix_lm clip_qkv softmax_scale
        attn_pdrop attn_impl attn_uses_sequence_id alibi_bias_max""",
    )
    fixed = {"attn_type": "multihead_attention", "alibi": True, "qk_ln": False, "prefix_lm": False}
    for name, expected in fixed.items():
        if given.get(name, expected) != expected:
            raise config.refuse(f"{key}.{name}", f"{written(given[name])} is not understood: the model's code builds {written(expected)}")
    read = {"clip_qkv": "qkv_clip", "softmax_scale": "attention_scale"}
    return {field: config.number(f"{key}.{name}", given[name]) for name, field in read.items() if given.get(name) is not None}


MPT = Family(
    "mpt",
    ("MptForCausalLM", "MPTForCausalLM"),
    {
        "vocab_size": Key(50368, size("vocab_size")),
        "d_model": Key(2048, size("d_model")),
        "n_heads": Key(16, size("n_head")),
        "n_layers": Key(24, size("n_layer")),
        "max_seq_len": Key(2048, size("n_ctx")),
        "expansion_ratio": Key(4, only(4, why="the model's code builds MLPs of 4 * d_model")),
        "layer_norm_epsilon": Key(1e-5, epsilon),
        "attn_config": Key(None, _attention_of_mpt),
        "no_bias": Key(True, only(True, why="the model's code has no biases")),
        "logit_scale": Key(None, only(None, why="the model's code does not scale logits")),
        "norm_type": Key("low_precision_layernorm", only("low_precision_layernorm", why="the model's code has LayerNorm")),
        "tie_word_embeddings": Key(True, flag("tied")),
        "head_dim": unread_head_width(),
        "num_key_value_heads": unread_kv_heads(),
    },
    {
        "family": "MPT",
        "position": "alibi",
        "norm_bias": False,
        "attention_bias": False,
        "attention_output_bias": False,
        "mlp_bias": False,
        "activation": "gelu",
    },
    {"num_attention_heads": "n_heads", "hidden_size": "d_model", "num_hidden_layers": "n_layers"},
    because("the model's code does not read it", "learned_pos_emb init_device embedding_fraction verbose init_config use_pad_tok_in_ffn"),
)


def _norms_of_falcon(key: str, config: Config) -> Fields:
    parallel, new, norms = config.flag(key), config.flag("new_decoder_architecture"), config["num_ln_in_parallel_attn"]
    if norms not in (None, 1, 2) or isinstance(norms, bool):
        raise config.refuse("num_ln_in_parallel_attn", f"must be 1 or 2, not {written(norms)}")
    if new and not parallel:
        raise config.refuse("parallel_attn", "false with new_decoder_architecture is a model that cannot run")
    two = (norms or (2 if new else 1)) == 2
    if parallel and two and not new:
        raise config.refuse("num_ln_in_parallel_attn", "2 without new_decoder_architecture is a model that cannot run")
    return {"parallel_residual": parallel, "shared_norm": parallel and not two}


def _key_heads_of_falcon(key: str, config: Config) -> Fields:
    heads = config.size("num_attention_heads")
    given = heads if config[key] is None else config.size(key)
    built = given if config.flag("new_decoder_architecture") else 1 if config.flag("multi_query") else heads
    return {} if built == heads else {"n_kv_head": built}


def _positions_of_falcon(key: str, config: Config) -> Fields:
    if config.flag(key):
        return {"position": "alibi", "unexecuted": ("Falcon's biases of scores are rounded to bf16",)}
    return {**rotary_keys()["rope_parameters"].handler("rope_parameters", config)}


FALCON = Family(
    "falcon",
    ("FalconForCausalLM", "RWForCausalLM"),
    {
        **standard(vocab_size=65024, hidden_size=4544, num_hidden_layers=32, num_attention_heads=71, max_position_embeddings=2048),
        "layer_norm_epsilon": Key(1e-5, epsilon),
        "num_kv_heads": Key(None, _key_heads_of_falcon),
        "parallel_attn": Key(True, _norms_of_falcon),
        "bias": Key(False, flag("attention_bias", "attention_output_bias", "mlp_bias")),
        "ffn_hidden_size": Key(None, optional_size("d_ff")),
        "activation": Key("gelu", activation()),
        "tie_word_embeddings": Key(True, flag("tied")),
        **rotary_keys(),
        **read_elsewhere(multi_query=True, new_decoder_architecture=False, num_ln_in_parallel_attn=None, rope_parameters=None),
        "alibi": Key(False, _positions_of_falcon),
        "apply_residual_connection_post_layernorm": unread("the model's code does not read it", False),
        "head_dim": unread_head_width(),
        "num_key_value_heads": unread("the model's code reads num_kv_heads"),
    },
    {"family": "Falcon", "position": "rotary"},
    {"n_embed": "hidden_size"},
)

FAMILIES = (BLOOM, MPT, FALCON)
