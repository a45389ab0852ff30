"""GPT-NeoX: rotary positions, LayerNorm, attention and MLP side by side."""

from __future__ import annotations

from gptcalc.spec.huggingface.family import ABSENT, Config, Family, Fields, Key, sizes, variant
from gptcalc.spec.huggingface.handlers import agrees, flag, size, standard, unread_head_width, unread_kv_heads
from gptcalc.spec.huggingface.layers import ATTENTION, Layer
from gptcalc.spec.huggingface.rotary import rotary_keys

_NEOX_ROTARY = rotary_keys(share=0.25, theta_key="rotary_emb_base", share_key="rotary_pct")

_NEOX_OLD_NAMES = {
    # Older versions wrote the same two numbers under these names as well.
    "rope_theta": Key(ABSENT, agrees(lambda config: config["rotary_emb_base"], "rotary_emb_base")),
    "partial_rotary_factor": Key(ABSENT, agrees(lambda config: config["rotary_pct"], "rotary_pct")),
}

GPT_NEOX = Family(
    "gpt_neox",
    ("GPTNeoXForCausalLM",),
    {
        **standard(vocab_size=50432, hidden_size=6144, num_hidden_layers=44, num_attention_heads=64, intermediate_size=24576),
        **standard(hidden_act="gelu", max_position_embeddings=2048, layer_norm_eps=1e-5, tie_word_embeddings=False, attention_bias=True),
        "use_parallel_residual": Key(True, flag("parallel_residual")),
        **_NEOX_ROTARY,
        **_NEOX_OLD_NAMES,
        "head_dim": unread_head_width(),
        "num_key_value_heads": unread_kv_heads(),
    },
    {"family": "GPT-NeoX", "position": "rotary"},
)


def _wide_mlp(key: str, config: Config) -> Fields:
    return {"d_ff": int(config.size("hidden_size") * config.number(key, config[key]))}


def _bias_in_the_last(key: str, config: Config) -> Fields:
    """Only the last layer's attention adds a bias to what it puts out."""
    layers = [Layer("plain", {})] * (config.layers - 1) + [Layer("last", {"attention_output_bias": True})]
    return {**size("n_layer")(key, config), ATTENTION: layers}


GPT_NEOX_JAPANESE = variant(
    GPT_NEOX,
    "gpt_neox_japanese",
    "GPTNeoXJapaneseForCausalLM",
    "GPT-NeoX Japanese",
    without="intermediate_size attention_bias use_parallel_residual",
    defaults=sizes(V=32000, d=2560, H=32, tie_word_embeddings=True, rotary_pct=1.0),
    keys={"intermediate_multiple_size": Key(4, _wide_mlp), "num_hidden_layers": Key(32, _bias_in_the_last)},
    fixed={"attention_bias": False, "attention_output_bias": False, "mlp_bias": False},
)

FAMILIES = (GPT_NEOX, GPT_NEOX_JAPANESE)
