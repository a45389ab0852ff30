"""OPT and its kin, with the layout of fairseq: BioGPT and XGLM."""

from __future__ import annotations

from gptcalc.spec.huggingface.family import Config, Family, Fields, Key
from gptcalc.spec.huggingface.handlers import activation, flag, nothing, size, standard, unread_head_width, unread_kv_heads


def positions_after_two(key: str, config: Config) -> Fields:
    """The table starts with two rows that no position uses."""
    return {"n_ctx": config.size(key), "n_position": config.size(key) + 2}


def _norms_of_opt(key: str, config: Config) -> Fields:
    before = config.flag(key)
    return {"norm_placement": "pre" if before else "post", "final_norm": before and not config.flag("_remove_final_layer_norm")}


def _embedding_of_opt(key: str, config: Config) -> Fields:
    if config[key] is None or config.size(key) == config.size("hidden_size"):
        return {}
    return {"d_embedding": config.size(key)}


def _scaled_embedding(key: str, config: Config) -> Fields:
    return {"embedding_scale": config.size("hidden_size") ** 0.5} if config.flag(key) else {}


OPT = Family(
    "opt",
    ("OPTForCausalLM",),
    {
        **standard(vocab_size=50272, hidden_size=768, num_hidden_layers=12, num_attention_heads=12),
        "ffn_dim": Key(3072, size("d_ff")),
        "max_position_embeddings": Key(2048, positions_after_two),
        "do_layer_norm_before": Key(True, _norms_of_opt),
        "_remove_final_layer_norm": Key(False, nothing),
        "word_embed_proj_dim": Key(None, _embedding_of_opt),
        "activation_function": Key("relu", activation()),
        "enable_bias": Key(True, flag("attention_bias", "attention_output_bias", "mlp_bias")),
        "layer_norm_elementwise_affine": Key(True, flag("norm_weight", "norm_bias")),
        "tie_word_embeddings": Key(True, flag("tied")),
        "head_dim": unread_head_width(),
        "num_key_value_heads": unread_kv_heads(),
    },
    {"family": "OPT"},
)

BIOGPT = Family(
    "biogpt",
    ("BioGptForCausalLM",),
    {
        **standard(vocab_size=42384, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096),
        **standard(hidden_act="gelu", tie_word_embeddings=True),
        "max_position_embeddings": Key(1024, positions_after_two),
        "scale_embedding": Key(True, _scaled_embedding),
        "head_dim": unread_head_width(),
        "num_key_value_heads": unread_kv_heads(),
    },
    {"family": "BioGPT"},
    harmless={"layer_norm_eps": "BioGPT's code keeps LayerNorm's own 1e-5"},
)

XGLM = Family(
    "xglm",
    ("XGLMForCausalLM",),
    {
        **standard(vocab_size=256008, max_position_embeddings=2048),
        "d_model": Key(1024, size("d_model")),
        "ffn_dim": Key(4096, size("d_ff")),
        "num_layers": Key(24, size("n_layer")),
        "attention_heads": Key(16, size("n_head")),
        "activation_function": Key("gelu", activation()),
        "scale_embedding": Key(True, _scaled_embedding),
        "tie_word_embeddings": Key(True, flag("tied")),
        "head_dim": unread_head_width(),
        "num_key_value_heads": unread_kv_heads(),
    },
    {
        "family": "XGLM",
        "position": "sinusoidal",
        "unexecuted": ("XGLM's positions begin at 2, and all sines come before all cosines",),
    },
    {"num_attention_heads": "attention_heads", "hidden_size": "d_model", "num_hidden_layers": "num_layers"},
)

FAMILIES = (OPT, BIOGPT, XGLM)
