"""Gemma: a scaled embedding, tanh-GELU in gated MLPs, and since Gemma 2 norms on both sides, windows and soft-caps."""

from __future__ import annotations

import struct

from gptcalc.spec.huggingface.families.llama import MLP_UNBIASED
from gptcalc.spec.huggingface.families.mamba import UNLIMITED
from gptcalc.spec.huggingface.family import ABSENT, Config, Fields, Key, because, sizes, variant, written
from gptcalc.spec.huggingface.handlers import (
    ACTIVATIONS,
    COMPUTED_HEAD_WIDTH,
    activation,
    divides,
    flag,
    heads,
    kv_heads,
    nothing,
    only,
    read_elsewhere,
    standard,
    unread,
)
from gptcalc.spec.huggingface.layers import ATTENTION, Layer, angles_by_kind, attentions, every, from_key
from gptcalc.spec.huggingface.rotary import rotary_keys


def _gemma_width(key: str, config: Config) -> Fields:
    """The embedding is multiplied by the square root of its width."""
    return {"d_model": config.size(key), "embedding_scale": config.size(key) ** 0.5}


def _query_scale(key: str, config: Config) -> Fields:
    return {"attention_scale": config.number(key, config[key]) ** -0.5}


BOTH_WAYS = Key(None, only(None, False, why="queries would see the keys after them"))

GEMMA = variant(
    MLP_UNBIASED,
    "gemma",
    "GemmaForCausalLM",
    "Gemma",
    defaults=sizes(V=256000, F=24576, L=28, H=16, T=8192, tie_word_embeddings=True),
    keys={
        "hidden_size": Key(3072, _gemma_width),
        **heads(16, 256),
        # "gelu" is an old slip in these files, which the config class corrects
        "hidden_act": Key("gelu_pytorch_tanh", activation({**ACTIVATIONS, "gelu": "gelu_tanh"})),
        "hidden_activation": unread("Gemma's code reads hidden_act", "gelu_pytorch_tanh"),
        "use_bidirectional_attention": BOTH_WAYS,
    },
    fixed={"norm_weight_plus_one": True},
)

GEMMA2 = variant(
    GEMMA,
    "gemma2",
    "Gemma2ForCausalLM",
    "Gemma 2",
    without="hidden_act",
    defaults=sizes(F=9216, L=26, K=4),
    keys={
        "hidden_size": Key(2304, _gemma_width),
        "num_attention_heads": Key(8, divides),
        "hidden_activation": Key("gelu_pytorch_tanh", activation()),
        "hidden_act": unread("Gemma 2's code reads hidden_activation", "gelu_pytorch_tanh"),
        "query_pre_attn_scalar": Key(256, _query_scale),
        **standard(final_logit_softcapping=30.0, attn_logit_softcapping=50.0),
        "sliding_window": Key(4096, nothing),
        "layer_types": Key(None, attentions(every(2))),
        "cache_implementation": unread("how keys and values are stored", "hybrid"),
        "sliding_window_size": unread("Gemma 2's code reads sliding_window", 4096),
    },
    fixed={"norm_placement": "sandwich"},
)

VAULTGEMMA = variant(
    GEMMA2, "vaultgemma", "VaultGemmaForCausalLM", "VaultGemma", without="use_bidirectional_attention", fixed={"norm_placement": "pre"}
)

_GEMMA3_ANGLES = angles_by_kind(
    {"full_attention": 1_000_000.0, "sliding_attention": 10_000.0},
    old={"full_attention": "rope_theta", "sliding_attention": "rope_local_base_freq"},
)

GEMMA3 = variant(
    GEMMA2,
    "gemma3_text",
    "Gemma3ForCausalLM",
    "Gemma 3",
    defaults=sizes(V=262208, T=131072, final_logit_softcapping=None, attn_logit_softcapping=None, use_bidirectional_attention=False),
    keys={
        **read_elsewhere(rope_parameters=None, rope_local_base_freq=10_000.0, sliding_window_pattern=ABSENT),
        "_sliding_window_pattern": Key(ABSENT, nothing),
        "use_bidirectional_attention": BOTH_WAYS,
        "layer_types": Key(
            None,
            attentions(
                every(from_key("sliding_window_pattern", 6)),
                full=_GEMMA3_ANGLES("full_attention"),
                sliding=_GEMMA3_ANGLES("sliding_attention"),
            ),
        ),
    },
    fixed={"qk_norm": "head"},
)

# --- RecurrentGemma -----------------------------------------------------------------------------------------------------------------------


def _scaled_in_bf16(key: str, config: Config) -> Fields:
    """As Gemma's embedding, by a root that is rounded to bf16 whatever the model is in."""
    root = struct.unpack("<I", struct.pack("<f", config.size(key) ** 0.5))[0]
    rounded = struct.unpack("<f", struct.pack("<I", (root + 0x7FFF + (root >> 16 & 1)) & 0xFFFF0000))[0]
    return {"d_model": config.size(key), "embedding_scale": rounded}


def _griffin_layers(key: str, config: Config) -> Fields:
    """The list is repeated over all layers."""
    given = config[key]
    if not isinstance(given, list | tuple) or not given or any(one not in ("recurrent", "attention") for one in given):
        raise config.refuse(key, f"must be a list of the words recurrent and attention, not {written(given)}")
    kinds = [str(given[layer % len(given)]) for layer in range(config.layers)]
    if len(given) * 100 < len(kinds):
        raise config.refuse(key, f"is repeated 100 times, which names {len(given) * 100} of {len(kinds)} layers")
    columns: dict[str, Fields] = {"attention": {}, "recurrent": {}}
    if "attention" in kinds:
        columns["attention"] = {"sliding_window": config.size("attention_window_size")}
    if "recurrent" in kinds:
        heads = config.size("num_attention_heads")
        width = config.size("hidden_size" if config["lru_width"] is None else "lru_width")
        if width % heads:
            raise config.refuse("lru_width", f"{width} is not a multiple of num_attention_heads {heads}: its gates are of blocks")
        columns["recurrent"] = {
            "mixer": {"kind": "rg_lru", "n_head": heads, "d_head": width // heads, "d_conv": config.size("conv1d_width")}
        }
    return {ATTENTION: [Layer(kind, columns[kind]) for kind in kinds]}


def _half_width(key: str, config: Config) -> Fields:
    if config.size(key) < 2:
        raise config.refuse(key, f"{config.size(key)} leaves an MLP no channel: it is twice as wide as one")
    return {"d_ff": config.size(key) // 2}


RECURRENT_GEMMA = variant(
    GEMMA,
    "recurrent_gemma",
    "RecurrentGemmaForCausalLM",
    "Gemma",
    without="hidden_act head_dim max_position_embeddings use_bidirectional_attention mlp_bias sliding_window",
    defaults=sizes(L=26, H=10, num_key_value_heads=None),
    keys={
        "hidden_size": Key(2560, _scaled_in_bf16),
        "intermediate_size": Key(7680, _half_width),
        "head_dim": COMPUTED_HEAD_WIDTH,
        "num_key_value_heads": Key(None, kv_heads),
        "hidden_activation": Key("gelu_pytorch_tanh", activation()),
        "attention_bias": Key(False, flag("attention_bias")),  # the output projection has one, whatever it says
        "attention_window_size": Key(2048, nothing),
        "logits_soft_cap": Key(30.0, lambda key, config: {"logit_softcap": config.number(key, config[key])}),
        **rotary_keys(share=0.5),
        **read_elsewhere(lru_width=None, conv1d_width=4),
        "block_types": Key(("recurrent", "recurrent", "attention"), _griffin_layers),
    },
    fixed={"n_ctx": UNLIMITED, "mlp_bias": True, "attention_output_bias": True},
    aliases={"sliding_window": "attention_window_size"},
    harmless=because("how weights are drawn before training", "w_init_variance_scale final_w_init_variance_scale"),
)

FAMILIES = (GEMMA, GEMMA2, VAULTGEMMA, GEMMA3, RECURRENT_GEMMA)
