"""Families of several generations that began like Llama: Qwen, OLMo, Gemma, GLM, Command R and Granite."""

from __future__ import annotations

from gptcalc.spec.huggingface.family import ABSENT, Config, Fields, Key, variant
from gptcalc.spec.huggingface.handlers import (
    ACTIVATIONS,
    activation,
    divides,
    flag,
    head_width_needed,
    kv_heads_needed,
    norm_of_heads,
    nothing,
    only,
    standard,
    unread,
)
from gptcalc.spec.huggingface.layers import (
    angles_by_kind,
    attentions,
    every,
    from_key,
    window_or_none,
)
from gptcalc.spec.huggingface.llama import HEAD_IF_GIVEN, LLAMA, MLP_UNBIASED, ROOMY, UNBIASED
from gptcalc.spec.huggingface.rotary import rotary_keys

# --- Qwen ---------------------------------------------------------------------------------------------------------------------------

_QWEN_WINDOW = {
    "use_sliding_window": Key(False, nothing),
    "sliding_window": Key(4096, nothing),
    "max_window_layers": Key(28, nothing),
}


def qwen_window(config: Config) -> int | None:
    if config.flag("use_sliding_window"):
        return window_or_none(config)
    raise config.refuse("layer_types", "has windowed layers and use_sliding_window is false")


def _qwen_rule(config: Config) -> object:
    first = config.size("max_window_layers", least=0)
    windowed = config.flag("use_sliding_window") and config["sliding_window"] is not None
    return lambda i: "sliding" if windowed and i >= first else "full"


QWEN2 = variant(
    UNBIASED,
    "qwen2",
    "Qwen2ForCausalLM",
    "Qwen 2",
    defaults={"vocab_size": 151936, "intermediate_size": 22016, "num_key_value_heads": 32, "max_position_embeddings": 32768},
    keys={
        "head_dim": HEAD_IF_GIVEN,
        "attention_bias": unread("Qwen 2's code has biases of queries, keys and values, and no others", True),
        **_QWEN_WINDOW,
        "layer_types": Key(None, attentions(_qwen_rule, window=qwen_window)),  # type: ignore[arg-type]
        "use_mrope": unread("the model's code has no multimodal positions", False),
    },
    fixed={"attention_bias": True},
)

QWEN3 = variant(
    QWEN2,
    "qwen3",
    "Qwen3ForCausalLM",
    "Qwen 3",
    keys={"head_dim": Key(128, head_width_needed), **standard(attention_bias=False)},
    fixed={"qk_norm": "head"},
)

# --- OLMo ---------------------------------------------------------------------------------------------------------------------------

OLMO = variant(
    MLP_UNBIASED,
    "olmo",
    "OlmoForCausalLM",
    "OLMo",
    without="rms_norm_eps",
    defaults={"vocab_size": 50304},
    keys={"head_dim": HEAD_IF_GIVEN, **standard(clip_qkv=None)},
    fixed={"norm": "layernorm", "norm_weight": False, "norm_epsilon": 1e-5},
)

OLMO2 = variant(
    MLP_UNBIASED,
    "olmo2",
    "Olmo2ForCausalLM",
    "OLMo 2",
    defaults={"vocab_size": 50304, "rms_norm_eps": 1e-5},
    keys={"head_dim": HEAD_IF_GIVEN},
    fixed={"norm_placement": "output", "qk_norm": "full"},
)

_OLMO3_ANGLES = angles_by_kind(
    {"full_attention": 500000.0, "sliding_attention": 500000.0}, old={"full_attention": "rope_theta", "sliding_attention": "rope_theta"}
)
OLMO3 = variant(
    OLMO2,
    "olmo3",
    "Olmo3ForCausalLM",
    "OLMo 3",
    keys={
        "rope_parameters": Key(None, nothing),
        "sliding_window": Key(4096, nothing),
        "layer_types": Key(None, attentions(every(4), full=_OLMO3_ANGLES("full_attention"), sliding=_OLMO3_ANGLES("sliding_attention"))),
    },
)

# --- Gemma --------------------------------------------------------------------------------------------------------------------------


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
    defaults={
        "vocab_size": 256000,
        "intermediate_size": 24576,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
    },
    keys={
        "hidden_size": Key(3072, _gemma_width),
        "num_key_value_heads": Key(16, kv_heads_needed),
        "head_dim": Key(256, head_width_needed),
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
    defaults={"intermediate_size": 9216, "num_hidden_layers": 26, "num_key_value_heads": 4},
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
    defaults={"vocab_size": 262208, "max_position_embeddings": 131072, "final_logit_softcapping": None, "attn_logit_softcapping": None},
    keys={
        "rope_parameters": Key(None, nothing),
        "rope_local_base_freq": Key(10_000.0, nothing),
        "sliding_window_pattern": Key(ABSENT, nothing),
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

# --- GLM ----------------------------------------------------------------------------------------------------------------------------

GLM = variant(
    UNBIASED,
    "glm",
    "GlmForCausalLM",
    "GLM",
    defaults={"vocab_size": 151552, "intermediate_size": 13696, "num_hidden_layers": 40, "max_position_embeddings": 131072},
    keys={
        "num_key_value_heads": Key(2, kv_heads_needed),
        "head_dim": Key(128, head_width_needed),
        "attention_bias": Key(True, flag("attention_bias")),
        **standard(rms_norm_eps=0.00000015625),
        **rotary_keys(share=0.5, odd_up=True),
    },
    fixed={"rotary_pairs": "neighbours"},
)
GLM4 = variant(GLM, "glm4", "Glm4ForCausalLM", "GLM 4", fixed={"norm_placement": "sandwich"})

# --- Cohere -------------------------------------------------------------------------------------------------------------------------


def _logit_scale(key: str, config: Config) -> Fields:
    return {"logit_scale": config.number(key, config[key])}


COHERE = variant(
    MLP_UNBIASED,
    "cohere",
    "CohereForCausalLM",
    "Command R",
    without="rms_norm_eps",
    defaults={
        "vocab_size": 256000,
        "hidden_size": 8192,
        "intermediate_size": 22528,
        "num_hidden_layers": 40,
        "num_attention_heads": 64,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
        "rope_theta": 500000.0,
    },
    keys={
        **standard(layer_norm_eps=1e-5),
        "head_dim": HEAD_IF_GIVEN,
        "logit_scale": Key(0.0625, _logit_scale),
        "use_qk_norm": Key(False, norm_of_heads),
    },
    fixed={"norm": "layernorm", "parallel_residual": True, "shared_norm": True, "rotary_pairs": "neighbours"},
)


def unrotated(config: Config) -> Fields:
    return {"position": "none"}


COHERE2 = variant(
    COHERE,
    "cohere2",
    "Cohere2ForCausalLM",
    "Command R 7B and A",
    without="use_qk_norm",
    defaults={"rope_theta": 10000.0},
    keys={
        "sliding_window": Key(4096, nothing),
        "sliding_window_pattern": Key(ABSENT, nothing),
        "use_parallel_block": unread("the model's blocks are parallel", True),
        "use_embedding_sharing": unread("tie_word_embeddings says so", True),
        "use_parallel_embedding": unread("splits the same table over devices", False),
        "use_gated_activation": unread("the model's MLPs are gated", True),
        "position_embedding_type": unread("the model's code rotates neighbours", "rope_gptj"),
        "order_of_interleaved_layers": unread("the last of a period is the one without a window", "local_attn_first"),
        "layer_switch": unread("sliding_window_pattern says so", 4),
        "rotary_pct": unread("the model's code rotates whole heads", 1.0, 1),
        "cache_implementation": unread("how keys and values are stored", "hybrid"),
        "use_qk_norm": unread("the model's code has no such norm", False),
        "layer_types": Key(None, attentions(every(from_key("sliding_window_pattern", 4)), full=unrotated)),
    },
)

# --- Granite ------------------------------------------------------------------------------------------------------------------------


def _divided_logits(key: str, config: Config) -> Fields:
    value = config.number(key, config[key])
    return {} if value == 1 else {"logit_scale": 1 / value}


SCALES = {
    **standard(embedding_multiplier=1.0, residual_multiplier=1.0, attention_multiplier=1.0),
    "logits_scaling": Key(1.0, _divided_logits),
}

GRANITE = variant(ROOMY, "granite", "GraniteForCausalLM", "Granite", keys={"head_dim": HEAD_IF_GIVEN, **SCALES})


def _theta_of_each(key: str, config: Config) -> Fields:
    value = config[key]
    if value is not None and (not isinstance(value, list) or not value or len(value) != config.layers or len(set(map(str, value))) > 1):
        raise config.refuse(key, "must be one base for all layers")
    if value is not None:
        config.number(key, value[0])
    return {}


SINKS_AND_WINDOWS = {
    "sliding_window": Key(128, nothing),
    "layer_types": Key(None, attentions(lambda config: lambda i: "sliding" if i % 4 else "full")),
    "layer_rope_theta": Key(None, _theta_of_each),
}
GRANITE_SWA = variant(
    GRANITE,
    "granite_swa",
    "GraniteSWAForCausalLM",
    "Granite",
    defaults={
        "vocab_size": 100352,
        "hidden_size": 2560,
        "intermediate_size": 8192,
        "num_hidden_layers": 24,
        "num_attention_heads": 20,
        "num_key_value_heads": 4,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
    },
    keys=SINKS_AND_WINDOWS,
    fixed={"attention_sinks": True},
)


def _sandwich(key: str, config: Config) -> Fields:
    return {"norm_placement": "sandwich"} if config.flag(key) else {}


HYPERCLOVAX = variant(
    LLAMA,
    "hyperclovax",
    "HyperCLOVAXForCausalLM",
    "HyperCLOVA X",
    keys={**SCALES, **standard(attention_multiplier=None), "use_post_norm": Key(True, _sandwich)},
)

FAMILIES = (
    QWEN2, QWEN3, OLMO, OLMO2, OLMO3, GEMMA, GEMMA2, GEMMA3, VAULTGEMMA, GLM, GLM4, COHERE, COHERE2, GRANITE, GRANITE_SWA,
    HYPERCLOVAX,
)  # fmt: skip
