"""Model types built like Llama: rotary positions, a norm before each sublayer, mostly RMSNorm, gated MLPs and no biases."""

from __future__ import annotations

from gptcalc.spec.huggingface.family import ABSENT, Config, Family, Fields, Key, variant
from gptcalc.spec.huggingface.handlers import (
    activation,
    divides,
    epsilon,
    flag,
    head_width,
    head_width_needed,
    kv_heads_needed,
    norm_of_heads,
    nothing,
    optional_size,
    standard,
    unread,
    unread_head_width,
    unread_kv_heads,
)
from gptcalc.spec.huggingface.layers import (
    ATTENTION,
    ATTENTIONS,
    Layer,
    always,
    attentions,
    every,
    listed,
    window_or_none,
)
from gptcalc.spec.huggingface.rotary import rotary_keys

HEAD_IF_GIVEN = Key(ABSENT, head_width_needed)
"""For classes that have no `head_dim` of their own and take one that a file gives."""

NO_WINDOW = unread("the model's code has no window")
NO_BIAS = unread("the model's code has no biases", False)
KV_NEEDED = kv_heads_needed

LLAMA = Family(
    "llama",
    ("LlamaForCausalLM", "LLaMAForCausalLM"),
    {
        **standard(vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32),
        "num_attention_heads": Key(32, divides),
        **standard(num_key_value_heads=None, head_dim=None, hidden_act="silu", max_position_embeddings=2048, rms_norm_eps=1e-6),
        **standard(tie_word_embeddings=False, attention_bias=False, mlp_bias=False),
        **rotary_keys(),
        "sliding_window": NO_WINDOW,
        "rope_interleaved": unread("the model's code turns halves", False),
        "max_sequence_length": unread("the older name of a limit that the code does not read", 2048, 4096, 8192),
    },
    {"family": "Llama", "position": "rotary", "norm": "rmsnorm", "norm_bias": False, "gated": True},
)

ROOMY = variant(LLAMA, "", "", keys=standard(num_attention_heads=32))
"""Llama's code under a config class that lets heads be wider than the model."""

UNBIASED = variant(
    ROOMY,
    "",
    "",
    keys={"attention_bias": NO_BIAS, "mlp_bias": NO_BIAS},
    fixed={"attention_bias": False, "attention_output_bias": False, "mlp_bias": False},
)
"""... and whose linear layers have no biases."""

MLP_UNBIASED = variant(ROOMY, "", "", keys={"mlp_bias": NO_BIAS}, fixed={"mlp_bias": False})


def _same_layers(key: str, config: Config) -> Fields:
    """The code makes every layer alike, windowed or not: a list that says so changes nothing, another is a different model."""
    value = config[key]
    expected = "full_attention" if config["sliding_window"] is None else "sliding_attention"
    if value is not ABSENT and value is not None and value != [expected] * config.layers:
        raise config.refuse(key, f"differs from what the model's code builds, {expected} in every layer")
    return {}


MISTRAL = variant(
    UNBIASED,
    "mistral",
    "MistralForCausalLM",
    "Mistral",
    defaults={"intermediate_size": 14336, "num_key_value_heads": 8, "max_position_embeddings": 4096 * 32},
    keys={"sliding_window": Key(4096, optional_size("sliding_window")), "layer_types": Key(ABSENT, _same_layers)},
)

_MINISTRAL3_ROPE = {
    "type": "yarn",
    "rope_theta": 1000000.0,
    "factor": 16.0,
    "original_max_position_embeddings": 16384,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "mscale_all_dim": 1.0,
    "mscale": 1.0,
}
MINISTRAL3 = variant(
    MISTRAL,
    "ministral3",
    "Ministral3ForCausalLM",
    "Ministral",
    defaults={
        "vocab_size": 131072,
        "num_hidden_layers": 34,
        "head_dim": 128,
        "max_position_embeddings": 262144,
        "rms_norm_eps": 1e-5,
        "sliding_window": None,
        "rope_parameters": _MINISTRAL3_ROPE,
    },
)


def _all_or_none(config: Config) -> object:
    return always("full" if config["sliding_window"] is None else "sliding")(config)


MINISTRAL = variant(
    UNBIASED,
    "ministral",
    "MinistralForCausalLM",
    "Ministral",
    defaults={"intermediate_size": 14336, "num_key_value_heads": 8, "max_position_embeddings": 4096 * 32},
    keys={
        "head_dim": Key(None, head_width_needed),
        "sliding_window": Key(4096, nothing),
        "layer_types": Key(None, attentions(_all_or_none, window=window_or_none)),  # type: ignore[arg-type]
    },
)

CWM = variant(
    UNBIASED,
    "cwm",
    "CwmForCausalLM",
    "CWM",
    defaults={
        "vocab_size": 128256,
        "hidden_size": 6144,
        "intermediate_size": 21504,
        "num_hidden_layers": 64,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "head_dim": 128,
        "rope_theta": 1000000.0,
        "rope_parameters": {
            "rope_theta": 1000000.0,
            "factor": 16.0,
            "high_freq_factor": 4.0,
            "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192,
            "rope_type": "llama3",
        },
    },
    keys={
        "num_attention_heads": Key(48, divides),
        "mlp_bias": Key(False, flag("mlp_bias")),
        "sliding_window": Key(8192, nothing),
        "layer_types": Key(None, attentions(lambda config: lambda i: "sliding" if i % 4 else "full")),
    },
)

ARCEE = variant(
    LLAMA,
    "arcee",
    "ArceeForCausalLM",
    "Arcee",
    defaults={
        "hidden_size": 2560,
        "intermediate_size": 18432,
        "hidden_act": "relu2",
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
    },
    fixed={"gated": False},
)

ERNIE45 = variant(
    UNBIASED,
    "ernie4_5",
    "Ernie4_5ForCausalLM",
    "ERNIE 4.5",
    defaults={
        "vocab_size": 103424,
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 18,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "rope_theta": 500000.0,
        "head_dim": 128,
    },
    keys={"use_bias": Key(False, flag("attention_bias", "attention_output_bias", "mlp_bias"))},
    fixed={"rotary_pairs": "neighbours"},
)

IQUESTCODER = variant(
    LLAMA,
    "iquestcoder",
    "LlamaForCausalLM",
    "IQuest-Coder",
    defaults={
        "vocab_size": 76800,
        "hidden_size": 5120,
        "intermediate_size": 27648,
        "num_hidden_layers": 80,
        "num_attention_heads": 40,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "head_dim": 128,
    },
    keys={"clip_qkv": unread("the model's code does not clip"), "use_sliding_window": unread("the model's code has no window", False)},
)


def _same_bias(key: str, config: Config) -> Fields:
    if config.flag(key) != config.flag("mlp_bias"):
        raise config.refuse("qkv_bias", "differs from bias: the model's code has one setting for both")
    return {"attention_bias": config.flag(key), "attention_output_bias": config.flag(key)}


INTERNLM3 = variant(
    LLAMA,
    "internlm3",
    "LlamaForCausalLM",
    "InternLM 3",
    defaults={
        "vocab_size": 128512,
        "intermediate_size": 10240,
        "num_hidden_layers": 48,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-5,
        "head_dim": 128,
    },
    keys={"attention_bias": Key(False, _same_bias)},
    aliases={"qkv_bias": "attention_bias", "bias": "mlp_bias"},
)

JAIS2 = variant(
    LLAMA,
    "jais2",
    "Jais2ForCausalLM",
    "Jais 2",
    without="rms_norm_eps",
    defaults={
        "vocab_size": 150272,
        "hidden_size": 3328,
        "intermediate_size": 26624,
        "num_attention_heads": 26,
        "hidden_act": "relu2",
        "max_position_embeddings": 8192,
        "attention_bias": True,
        "mlp_bias": True,
    },
    keys=standard(layer_norm_eps=1e-5),
    fixed={"norm": "layernorm", "norm_bias": True, "gated": False},
)

NEMOTRON = variant(
    ROOMY,
    "nemotron",
    "NemotronForCausalLM",
    "Nemotron",
    without="rms_norm_eps",
    defaults={
        "vocab_size": 256000,
        "hidden_size": 6144,
        "intermediate_size": 24576,
        "num_attention_heads": 48,
        "hidden_act": "relu2",
        "max_position_embeddings": 4096,
    },
    keys={"norm_eps": Key(1e-5, epsilon), "num_key_value_heads": Key(None, kv_heads_needed), **rotary_keys(share=0.5)},
    fixed={"norm": "layernorm", "norm_bias": True, "norm_weight_plus_one": True, "gated": False},
)

SEED_OSS = variant(
    ROOMY,
    "seed_oss",
    "SeedOssForCausalLM",
    "Seed-OSS",
    defaults={
        "vocab_size": 155136,
        "intermediate_size": 27648,
        "num_hidden_layers": 64,
        "num_attention_heads": 80,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 524288,
    },
    keys={"attention_bias": Key(True, flag("attention_bias")), "attention_out_bias": Key(False, flag("attention_output_bias"))},
)


def _xielu(key: str, config: Config) -> Fields:
    if config[key] == "xielu":
        return {"activation": "xielu"}
    return activation()(key, config)


APERTUS = variant(
    MLP_UNBIASED,
    "apertus",
    "ApertusForCausalLM",
    "Apertus",
    defaults={
        "vocab_size": 131072,
        "intermediate_size": 14336,
        "max_position_embeddings": 65536,
        "rms_norm_eps": 1e-5,
        "rope_theta": 12000000.0,
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 12000000.0,
            "factor": 8.0,
            "original_max_position_embeddings": 8192,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
        },
    },
    keys={
        "head_dim": HEAD_IF_GIVEN,
        "hidden_act": Key("xielu", _xielu),
        "post_norm": unread("the model's norms come before its sublayers", False),
        "qk_norm": unread("the model's code always has it", True),
    },
    fixed={"qk_norm": "head", "gated": False},
)

BITNET = variant(
    MLP_UNBIASED,
    "bitnet",
    "BitNetForCausalLM",
    "BitNet",
    defaults={
        "vocab_size": 128256,
        "hidden_size": 2560,
        "intermediate_size": 6912,
        "num_hidden_layers": 30,
        "num_attention_heads": 20,
        "num_key_value_heads": 5,
        "hidden_act": "relu2",
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
    },
    keys={"head_dim": unread_head_width()},  # the inner norm is as wide as the model, whatever the heads are
    fixed={"inner_norm": True},
)

# --- Others -------------------------------------------------------------------------------------------------------------------------


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
    defaults={
        "vocab_size": 48000,
        "hidden_size": 2560,
        "intermediate_size": 7040,
        "num_hidden_layers": 24,
        "num_attention_heads": 20,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-8,
        "rope_theta": 100000.0,
    },
    keys={
        "num_key_value_heads": Key(20, kv_heads_needed),
        "head_dim": Key(128, _square_output),
        "attention_bias": Key(False, flag("attention_bias")),
    },
    fixed={"rotary_pairs": "neighbours", "attention_output_bias": False},
)

HUNYUAN = variant(
    MLP_UNBIASED,
    "hunyuan_v1_dense",
    "HunYuanDenseV1ForCausalLM",
    "Hunyuan",
    defaults={"vocab_size": 290943, "rms_norm_eps": 1e-5},
    keys={"head_dim": Key(None, head_width_needed), "use_qk_norm": unread("the model's code always has it", True)},
    fixed={"qk_norm": "head", "qk_norm_after_rotary": True},
)

NANOCHAT = variant(
    MLP_UNBIASED,
    "nanochat",
    "NanoChatForCausalLM",
    "nanochat",
    defaults={
        "vocab_size": 50304,
        "hidden_size": 768,
        "intermediate_size": 8192,
        "num_hidden_layers": 12,
        "num_attention_heads": 6,
        "hidden_act": "relu2",
    },
    keys={"head_dim": HEAD_IF_GIVEN, **standard(final_logit_softcapping=15.0)},
    fixed={"norm_weight": False, "embedding_norm": True, "qk_norm": "l2", "qk_norm_after_rotary": True, "gated": False},
)


PHI3 = variant(
    UNBIASED,
    "phi3",
    "Phi3ForCausalLM",
    "Phi 3",
    defaults={
        "vocab_size": 32064,
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
    },
    keys={
        "head_dim": HEAD_IF_GIVEN,
        "sliding_window": Key(None, optional_size("sliding_window")),
        "original_max_position_embeddings": Key(4096, nothing),
        **rotary_keys(share=1.0),
        "attention_bias": NO_BIAS,
    },
)

STARCODER2 = variant(
    ROOMY,
    "starcoder2",
    "Starcoder2ForCausalLM",
    "StarCoder 2",
    without="rms_norm_eps attention_bias mlp_bias",
    defaults={
        "vocab_size": 49152,
        "hidden_size": 3072,
        "intermediate_size": 12288,
        "num_hidden_layers": 30,
        "num_attention_heads": 24,
        "hidden_act": "gelu_pytorch_tanh",
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
    },
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


def _per_head(key: str, config: Config) -> Fields:
    return {"qk_norm": "head", "qk_norm_bias": True} if config.flag(key) else {}


PERSIMMON = variant(
    ROOMY,
    "persimmon",
    "PersimmonForCausalLM",
    "Persimmon",
    without="rms_norm_eps attention_bias mlp_bias",
    defaults={
        "vocab_size": 262144,
        "intermediate_size": 16384,
        "num_hidden_layers": 36,
        "num_attention_heads": 64,
        "hidden_act": "relu2",
        "max_position_embeddings": 16384,
    },
    keys={
        **standard(layer_norm_eps=1e-5),
        "head_dim": unread_head_width(),
        "num_key_value_heads": unread_kv_heads(),
        "qk_layernorm": Key(True, _per_head),
        **rotary_keys(share=0.5),
    },
    fixed={"norm": "layernorm", "norm_bias": True, "gated": False},
)

PHI = variant(
    ROOMY,
    "phi",
    "PhiForCausalLM",
    "Phi",
    without="rms_norm_eps attention_bias mlp_bias",
    defaults={"vocab_size": 51200, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24, "hidden_act": "gelu_new"},
    keys={
        **standard(layer_norm_eps=1e-5),
        "head_dim": unread_head_width(),
        "qk_layernorm": Key(False, _per_head),
        **rotary_keys(share=0.5),
    },
    fixed={
        "norm": "layernorm",
        "norm_bias": True,
        "gated": False,
        "parallel_residual": True,
        "shared_norm": True,
        "head_bias": True,
    },
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
    defaults={
        "vocab_size": 50304,
        "hidden_size": 2560,
        "intermediate_size": 6912,
        "max_position_embeddings": 4096,
    },
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
    defaults={
        "vocab_size": 128256,
        "hidden_size": 2048,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
        "rope_theta": 2000000.0,
        "tie_word_embeddings": True,
    },
    keys={
        "head_dim": HEAD_IF_GIVEN,
        "use_sliding_window": Key(False, nothing),
        "sliding_window": Key(None, nothing),
        "no_rope_layers": Key(None, nothing),
        "no_rope_layer_interval": Key(4, nothing),
        "max_window_layers": unread("layer_types says so", 28),
        "layer_types": Key(None, _smol_layers),
    },
)


def pattern_or_none(config: Config) -> int:
    """EXAONE's period: all layers see everything where there is no window."""
    if config["sliding_window"] is None:
        if config["layer_types"] is None:
            raise config.refuse("sliding_window", "null needs layer_types: the model's own rule divides by a period of zero")
        return 0
    if isinstance(config["sliding_window_pattern"], str):  # "LLLG", of the first files
        raise config.refuse("sliding_window_pattern", "in letters is not understood: write layer_types")
    return config.size("sliding_window_pattern")


def unrotated_beside_windows(config: Config) -> Fields:
    return {} if config["sliding_window"] is None else {"position": "none"}


EXAONE4 = variant(
    UNBIASED,
    "exaone4",
    "Exaone4ForCausalLM",
    "EXAONE 4",
    defaults={"vocab_size": 102400, "intermediate_size": 16384, "rms_norm_eps": 1e-5},
    keys={
        "num_key_value_heads": Key(32, kv_heads_needed),
        "head_dim": HEAD_IF_GIVEN,
        "sliding_window": Key(4096, nothing),
        "sliding_window_pattern": Key(4, nothing),
        "layer_types": Key(None, attentions(every(pattern_or_none), full=unrotated_beside_windows)),
    },
    fixed={"norm_placement": "output", "qk_norm": "head"},
)

FAMILIES = (
    LLAMA, MISTRAL, MINISTRAL, MINISTRAL3, CWM, ARCEE, ERNIE45, IQUESTCODER, INTERNLM3, JAIS2, NEMOTRON, SEED_OSS, APERTUS, BITNET,
    HELIUM, HUNYUAN, NANOCHAT, PHI3, STARCODER2, PERSIMMON, PHI, STABLELM, SMOLLM3, EXAONE4,
)  # fmt: skip
