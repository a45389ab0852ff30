"""Granite, and HyperCLOVA X, which has its multipliers."""

from __future__ import annotations

from typing import Any

from gptcalc.spec.huggingface.families.llama import LLAMA, NO_BIAS, ROOMY
from gptcalc.spec.huggingface.family import Config, Fields, Key, sizes, variant
from gptcalc.spec.huggingface.handlers import HEAD_IF_GIVEN, factor, nothing, standard
from gptcalc.spec.huggingface.layers import ATTENTION, Layer, attentions
from gptcalc.spec.huggingface.mixture import EXPERT_KEYS, everywhere, mixture


def _divided_logits(key: str, config: Config) -> Fields:
    value = config.number(key, config[key])
    return {} if value == 1 else {"logit_scale": 1 / value}


SCALES = {
    **standard(embedding_multiplier=1.0, residual_multiplier=1.0, attention_multiplier=1.0),
    "logits_scaling": Key(1.0, _divided_logits),
}

GRANITE = variant(ROOMY, "granite", "GraniteForCausalLM", "Granite", keys={"head_dim": HEAD_IF_GIVEN, **SCALES})


def _layers_of_swa(key: str, config: Config) -> Fields:
    """Layers differ in their windows and in the base of their angles, which a list may give: zero is a layer without positions."""
    fields = attentions(lambda config: lambda i: "sliding" if i % 4 else "full")(key, config)
    bases = config["layer_rope_theta"]
    if bases is None:
        return fields
    if not isinstance(bases, list) or len(bases) != config.layers:
        raise config.refuse("layer_rope_theta", f"must be a list of {config.layers} numbers, one for each layer")
    config.sources["rope_theta"] = "layer_rope_theta"
    angles: list[Fields] = [
        {"position": "none"} if base in (0, 0.0) and base is not False else {"rope_theta": config.number("layer_rope_theta", base)}
        for base in bases
    ]
    if all(angle == angles[0] for angle in angles):
        return fields | angles[0]
    layers: Any = fields[ATTENTION]
    return {ATTENTION: [Layer(layer.kind, layer.fields | angle) for layer, angle in zip(layers, angles, strict=True)]}


SINKS_AND_WINDOWS = {
    "sliding_window": Key(128, nothing),
    "layer_types": Key(None, _layers_of_swa),
    "layer_rope_theta": Key(None, nothing),
}

GRANITE_SWA = variant(
    GRANITE,
    "granite_swa",
    "GraniteSWAForCausalLM",
    "Granite",
    defaults=sizes(V=100352, d=2560, F=8192, L=24, H=20, K=4, T=8192, rms_norm_eps=1e-5, tie_word_embeddings=True),
    keys=SINKS_AND_WINDOWS,
    fixed={"attention_sinks": True},
)

GRANITEMOE = variant(
    GRANITE,
    "granitemoe",
    "GraniteMoeForCausalLM",
    "Granite MoE",
    keys={"mlp_bias": NO_BIAS, "num_local_experts": Key(8, everywhere(mixture("num_local_experts"))), **EXPERT_KEYS},
    fixed={"mlp_bias": False},
)

GRANITEMOESHARED = variant(
    GRANITEMOE,
    "granitemoeshared",
    "GraniteMoeSharedForCausalLM",
    "Granite MoE",
    keys={
        "num_local_experts": Key(
            8, everywhere(mixture("num_local_experts", shared=lambda config: config.size("shared_intermediate_size", least=0)))
        ),
        "shared_intermediate_size": Key(0, nothing),
    },
)

GRANITEMOE_SWA = variant(
    GRANITEMOESHARED,
    "granitemoe_swa",
    "GraniteMoeSWAForCausalLM",
    "Granite MoE",
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
    keys={
        **SCALES,
        **standard(attention_multiplier=None),
        "logits_scaling": Key(1.0, factor("logit_scale")),  # Granite's key of the same name divides
        "use_post_norm": Key(True, _sandwich),
    },
)

GRANITE_DOCLING = variant(
    GRANITE,
    "granite_docling_text",
    "GraniteDoclingForConditionalGeneration GraniteDoclingTextModel GraniteDoclingModel",
    "Granite Docling",
    defaults=sizes(V=133800, d=1024, F=2048, L=28, H=16, K=4, T=32768, rms_norm_eps=1e-5, tie_word_embeddings=True)
    | {"embedding_multiplier": 12.0, "residual_multiplier": 0.263, "attention_multiplier": 0.015625, "logits_scaling": 4.0},
)

GRANITE4_VISION = variant(
    GRANITE,
    "granite4_vision_text",
    "Granite4VisionForConditionalGeneration Granite4VisionTextModel Granite4VisionModel",
    "Granite 4 Vision",
)

FAMILIES = (
    *(GRANITE, GRANITE_SWA, GRANITEMOE, GRANITEMOESHARED, GRANITEMOE_SWA, HYPERCLOVAX),
    *(GRANITE_DOCLING, GRANITE4_VISION),
)
