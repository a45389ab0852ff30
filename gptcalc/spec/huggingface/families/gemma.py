"""Gemma: a scaled embedding, tanh-GELU in gated MLPs, and since Gemma 2 norms on both sides, windows and soft-caps."""

from __future__ import annotations

from gptcalc.spec.huggingface.families.llama import MLP_UNBIASED
from gptcalc.spec.huggingface.family import ABSENT, Config, Fields, Key, sizes, variant
from gptcalc.spec.huggingface.handlers import ACTIVATIONS, activation, divides, heads, nothing, only, read_elsewhere, standard, unread
from gptcalc.spec.huggingface.layers import angles_by_kind, attentions, every, from_key


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

FAMILIES = (GEMMA, GEMMA2, VAULTGEMMA, GEMMA3)
