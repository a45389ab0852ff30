"""Mistral, Ministral and Mixtral: Llama without biases, with a window."""

from __future__ import annotations

from gptcalc.spec.huggingface.families.llama import UNBIASED
from gptcalc.spec.huggingface.family import ABSENT, Config, Fields, Key, sizes, variant
from gptcalc.spec.huggingface.handlers import head_width_needed, nothing, optional_size
from gptcalc.spec.huggingface.layers import always, attentions, window_or_none
from gptcalc.spec.huggingface.mixture import EXPERT_KEYS, everywhere, mixture


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
    defaults=sizes(F=14336, K=8, T=4096 * 32),
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
    defaults=sizes(V=131072, L=34, Q=128, T=262144, rms_norm_eps=1e-5, sliding_window=None, rope_parameters=_MINISTRAL3_ROPE),
)


def _all_or_none(config: Config) -> object:
    return always("full" if config["sliding_window"] is None else "sliding")(config)


MINISTRAL = variant(
    UNBIASED,
    "ministral",
    "MinistralForCausalLM",
    "Ministral",
    defaults=sizes(F=14336, K=8, T=4096 * 32),
    keys={
        "head_dim": Key(None, head_width_needed),
        "sliding_window": Key(4096, nothing),
        "layer_types": Key(None, attentions(_all_or_none, window=window_or_none)),  # type: ignore[arg-type]
    },
)

MIXTRAL = variant(
    MISTRAL,
    "mixtral",
    "MixtralForCausalLM",
    "Mixtral",
    defaults={"rms_norm_eps": 1e-5, "sliding_window": None, "rope_theta": 1000000.0},
    keys={"num_local_experts": Key(8, everywhere(mixture("num_local_experts"))), **EXPERT_KEYS},
    aliases={"num_experts": "num_local_experts"},
)

FAMILIES = (MISTRAL, MINISTRAL3, MINISTRAL, MIXTRAL)
