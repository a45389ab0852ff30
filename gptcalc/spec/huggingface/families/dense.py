"""Like Llama but for a step of their own, without experts: Apertus, BitNet, Helium, nanochat, SmolLM 3."""

from __future__ import annotations

from gptcalc.spec.huggingface.families.llama import MLP_UNBIASED, ROOMY
from gptcalc.spec.huggingface.family import Config, Fields, Key, sizes, variant
from gptcalc.spec.huggingface.handlers import (
    HEAD_IF_GIVEN,
    activation,
    agrees,
    flag,
    kv_heads_needed,
    read_elsewhere,
    standard,
    unread,
    unread_head_width,
)
from gptcalc.spec.huggingface.layers import ATTENTION, ATTENTIONS, Layer, listed


def _xielu(key: str, config: Config) -> Fields:
    if config[key] == "xielu":
        return {"activation": "xielu"}
    return activation()(key, config)


_APERTUS_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 12000000.0,
    "factor": 8.0,
    "original_max_position_embeddings": 8192,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
}
APERTUS = variant(
    MLP_UNBIASED,
    "apertus",
    "ApertusForCausalLM",
    "Apertus",
    defaults=sizes(V=131072, F=14336, T=65536, rms_norm_eps=1e-5, rope_theta=12000000.0, rope_parameters=_APERTUS_ROPE),
    keys={
        "head_dim": HEAD_IF_GIVEN,
        "hidden_act": Key("xielu", _xielu),
        "post_norm": unread("the model's norms come before its sublayers", False),
        "qk_norm": unread("the model's code always has it", True),
    },
    fixed={"qk_norm": "head", "gated": False},
)


def _whole_vocabulary(config: Config) -> int:
    return config.size("vocab_size")


APERTUS15 = variant(
    APERTUS,
    "apertus1p5_text",
    "Apertus1p5TextForCausalLM Apertus1p5ForConditionalGeneration",
    "Apertus 1.5",
    defaults={"vocab_size": 266752},
    keys={"output_vocab_size": Key(None, agrees(_whole_vocabulary, "the embedding's rows"))},
)

BITNET = variant(
    MLP_UNBIASED,
    "bitnet",
    "BitNetForCausalLM",
    "BitNet",
    defaults=sizes(V=128256, d=2560, F=6912, L=30, H=20, K=5, hidden_act="relu2", rms_norm_eps=1e-5, rope_theta=500000.0),
    keys={"head_dim": unread_head_width()},  # the inner norm is as wide as the model, whatever the heads are
    fixed={"inner_norm": True},
)


def _square_output(key: str, config: Config) -> Fields:
    """Helium's output projection is as wide as the model on both sides."""
    if config.size(key) * config.size("num_attention_heads") != config.size("hidden_size"):
        raise config.refuse(key, f"{config.size(key)} times num_attention_heads is not hidden_size, which the model's code needs")
    return {}


HELIUM = variant(
    ROOMY,
    "helium",
    "HeliumForCausalLM",
    "Helium",
    defaults=sizes(V=48000, d=2560, F=7040, L=24, H=20, T=4096, rms_norm_eps=1e-8, rope_theta=100000.0),
    keys={
        "num_key_value_heads": Key(20, kv_heads_needed),
        "head_dim": Key(128, _square_output),
        "attention_bias": Key(False, flag("attention_bias")),
    },
    fixed={"rotary_pairs": "neighbours", "attention_output_bias": False},
)

NANOCHAT = variant(
    MLP_UNBIASED,
    "nanochat",
    "NanoChatForCausalLM",
    "nanochat",
    defaults=sizes(V=50304, d=768, F=8192, L=12, H=6, hidden_act="relu2"),
    keys={"head_dim": HEAD_IF_GIVEN, **standard(final_logit_softcapping=15.0)},
    fixed={"norm_weight": False, "embedding_norm": True, "qk_norm": "l2", "qk_norm_after_rotary": True, "gated": False}
    | {"rotary_pairs": "halves_back"},
)


def _smol_layers(key: str, config: Config) -> Fields:
    """Layers without rotary positions, and windows in the layers that `layer_types` names."""
    rotated = _rotated_layers(config)
    windowed = config.flag("use_sliding_window") and config["sliding_window"] is not None
    kinds = listed(key, config, ATTENTIONS, lambda i: "sliding" if windowed and not rotated[i] else "full")
    layers = []
    for rotates, kind in zip(rotated, kinds, strict=True):
        window: Fields = {"sliding_window": config.size("sliding_window")} if windowed and kind == "sliding" else {}
        layers.append(
            Layer(("rotary" if rotates else "nope") + ("_sliding" if window else ""), window | ({} if rotates else {"position": "none"}))
        )
    return {ATTENTION: layers}


def _rotated_layers(config: Config) -> list[bool]:
    value, period = config["no_rope_layers"], config.size("no_rope_layer_interval")
    if value is None:
        return [bool((i + 1) % period) for i in range(config.layers)]
    if not isinstance(value, list) or len(value) != config.layers or not all(entry in (0, 1) for entry in value):
        raise config.refuse("no_rope_layers", f"must be a list of {config.layers} entries, 1 where a layer rotates and 0 where it does not")
    return [bool(entry) for entry in value]


SMOLLM3 = variant(
    ROOMY,
    "smollm3",
    "SmolLM3ForCausalLM",
    "SmolLM 3",
    defaults=sizes(V=128256, d=2048, L=36, H=16, K=4, T=32768, rope_theta=2000000.0, tie_word_embeddings=True),
    keys={
        "head_dim": HEAD_IF_GIVEN,
        **read_elsewhere(use_sliding_window=False, sliding_window=None, no_rope_layers=None, no_rope_layer_interval=4),
        "max_window_layers": unread("layer_types says so", 28),
        "layer_types": Key(None, _smol_layers),
    },
)

FAMILIES = (APERTUS, APERTUS15, BITNET, HELIUM, NANOCHAT, SMOLLM3)
