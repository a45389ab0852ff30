"""Llama, Llama 4, and Llama's code in other numbers: rotary positions, RMSNorm before each sublayer, gated MLPs, no biases."""

from __future__ import annotations

from gptcalc.spec.huggingface.family import Config, Family, Fields, Key, sizes, variant, written
from gptcalc.spec.huggingface.handlers import divides, flag, nothing, read_but, read_elsewhere, size, standard, unread
from gptcalc.spec.huggingface.layers import ATTENTION, Layer, attentions, experts_in, from_key
from gptcalc.spec.huggingface.mixture import mixture
from gptcalc.spec.huggingface.rotary import rotary_keys

NO_WINDOW = unread("the model's code has no window")

NO_BIAS = unread("the model's code has no biases", False)

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

ARCEE = variant(
    LLAMA,
    "arcee",
    "ArceeForCausalLM",
    "Arcee",
    defaults=sizes(d=2560, F=18432, T=4096, hidden_act="relu2", rms_norm_eps=1e-5),
    fixed={"gated": False},
)

_CWM_ROPE = {
    "rope_theta": 1000000.0,
    "factor": 16.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}
COSMOS3_EDGE = variant(
    ARCEE,
    "cosmos3_edge_text",
    "Cosmos3EdgeForConditionalGeneration Cosmos3EdgeTextModel Cosmos3EdgeModel",
    "Cosmos 3 Edge",
    defaults=sizes(V=131072, d=2048, F=9216, L=28, H=16, K=8, Q=128, T=131072, rms_norm_eps=1e-5),
    keys={
        **rotary_keys(100000000.0, sections=True),
        "tie_word_embeddings": Key(False, lambda key, config: {"tied": config.flag(key) and False}),  # the head is never tied
    },
)

CWM = variant(
    UNBIASED,
    "cwm",
    "CwmForCausalLM",
    "CWM",
    defaults=sizes(V=128256, d=6144, F=21504, L=64, K=8, Q=128, T=131072, rms_norm_eps=1e-5, rope_theta=1000000.0)
    | {"rope_parameters": _CWM_ROPE},
    keys={
        "num_attention_heads": Key(48, divides),
        "mlp_bias": Key(False, flag("mlp_bias")),
        "sliding_window": Key(8192, nothing),
        "layer_types": Key(None, attentions(lambda config: lambda i: "sliding" if i % 4 else "full")),
    },
)

IQUESTCODER = variant(
    LLAMA,
    "iquestcoder",
    "LlamaForCausalLM",
    "IQuest-Coder",
    defaults=sizes(V=76800, d=5120, F=27648, L=80, H=40, K=8, Q=128, T=131072, rms_norm_eps=1e-5),
    keys={"clip_qkv": read_but("the model's code does not clip"), "use_sliding_window": read_but("the model's code has no window", False)},
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
    defaults=sizes(V=128512, F=10240, L=48, K=2, Q=128, T=32768, rms_norm_eps=1e-5),
    keys={"attention_bias": Key(False, _same_bias)},
    aliases={"qkv_bias": "attention_bias", "bias": "mlp_bias"},
)

SEED_OSS = variant(
    ROOMY,
    "seed_oss",
    "SeedOssForCausalLM",
    "Seed-OSS",
    defaults=sizes(V=155136, F=27648, L=64, H=80, K=8, Q=128, T=524288),
    keys={"attention_bias": Key(True, flag("attention_bias")), "attention_out_bias": Key(False, flag("attention_output_bias"))},
)


def _llama4_layers(key: str, config: Config) -> Fields:
    """Layers that rotate attend within chunks; the others see everything, and are not rotated."""
    value, period = config["no_rope_layers"], config.size("no_rope_layer_interval")
    rotated = value or [int((i + 1) % period != 0) for i in range(config.layers)]
    if not isinstance(rotated, list) or len(rotated) != config.layers or not all(entry in (0, 1) for entry in rotated):
        raise config.refuse("no_rope_layers", f"must be a list of {config.layers} entries, 1 where a layer rotates and 0 where it does not")
    kinds = config[key] or ["chunked_attention" if entry else "full_attention" for entry in rotated]
    if kinds != ["chunked_attention" if entry else "full_attention" for entry in rotated]:
        raise config.refuse(key, "contradicts no_rope_layers: the layers that rotate are those that attend within chunks")
    chunked: Fields = {
        "sliding_window": config.size("attention_chunk_size"),
        "window_chunks": True,
        **({"qk_norm": "l2", "qk_norm_after_rotary": True} if config.flag("use_qk_norm") else {}),
    }
    return {ATTENTION: [Layer("chunked", chunked) if entry else Layer("full", {"position": "none"}) for entry in rotated]}


def _scaled_queries(key: str, config: Config) -> Fields:
    """Layers that see everything scale their queries by how many times `floor_scale` positions stand before."""
    if not config[key] or not config["attn_scale"]:
        return {}
    return {"query_scale_from": config.size("floor_scale") - 1}


def _llama4_sparse(config: Config, layer: int) -> bool:
    given = config["moe_layers"]
    if given is None:
        return (layer + 1) % config.size("interleave_moe_layer_step") == 0
    if not isinstance(given, list) or not all(type(entry) is int for entry in given):
        raise config.refuse("moe_layers", f"must be a list of layers, not {written(given)}")
    return layer in given


LLAMA4 = variant(
    MLP_UNBIASED,
    "llama4_text",
    "Llama4ForCausalLM",
    "Llama 4",
    without="intermediate_size sliding_window max_sequence_length rope_interleaved",
    defaults=sizes(V=202048, d=5120, L=48, H=40, K=8, Q=128, T=131072, rms_norm_eps=1e-5, rope_theta=500000.0),
    keys={
        "intermediate_size_mlp": Key(16384, size("d_ff")),
        "num_local_experts": Key(
            16,
            experts_in(
                _llama4_sparse,
                mixture(
                    "num_local_experts",
                    shared=from_key("intermediate_size"),
                    normalised=False,
                    router_score="sigmoid",
                    router_weighs_input=True,
                ),
            ),
        ),
        **read_elsewhere(intermediate_size=8192, num_experts_per_tok=1, moe_layers=None, interleave_moe_layer_step=1, use_qk_norm=True),
        **read_elsewhere(no_rope_layers=None, no_rope_layer_interval=4, attention_chunk_size=8192),
        "layer_types": Key(None, _llama4_layers),
        "attn_temperature_tuning": Key(True, _scaled_queries),
        **read_elsewhere(floor_scale=8192, attn_scale=0.1),
        "for_llm_compressor": unread("a way to store the experts", False),
    },
    fixed={"rotary_pairs": "neighbours"},
)

FAMILIES = (LLAMA, ARCEE, COSMOS3_EDGE, CWM, IQUESTCODER, INTERNLM3, SEED_OSS, LLAMA4)
