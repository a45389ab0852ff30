"""EXAONE: norms behind the sublayers, and layers that see everything without positions beside windows."""

from __future__ import annotations

from gptcalc.spec.huggingface.families.llama import LLAMA, UNBIASED
from gptcalc.spec.huggingface.family import Config, Fields, Key, sizes, variant
from gptcalc.spec.huggingface.handlers import heads, nothing, read_elsewhere
from gptcalc.spec.huggingface.layers import attentions, every, experts_listed, unrotated_beside_windows
from gptcalc.spec.huggingface.mixture import DEEPSEEK_ROUTER, MTP, after, mixture, shares


def pattern_or_none(config: Config) -> int:
    """EXAONE's period: all layers see everything where there is no window."""
    if config["layer_types"] is not None:
        return 0  # each layer is listed
    if config["sliding_window"] is None:
        raise config.refuse("sliding_window", "null needs layer_types: the model's own rule divides by a period of zero")
    if isinstance(config["sliding_window_pattern"], str):  # "LLLG", of the first files
        raise config.refuse("sliding_window_pattern", "in letters is not understood: write layer_types")
    return config.size("sliding_window_pattern")


def _pattern(key: str, config: Config) -> Fields:
    """A period, or letters: the code reads neither where the file lists the layers."""
    return {} if isinstance(config[key], str) else nothing(key, config)


EXAONE = variant(
    LLAMA,
    "exaone",
    "ExaoneForCausalLM LlamaForCausalLM",
    "EXAONE",
    defaults=sizes(V=102400, F=14336, K=8, T=4096, rms_norm_eps=1e-5, rope_theta=500000.0),
    aliases={"num_layers": "num_hidden_layers", "layer_norm_epsilon": "rms_norm_eps", "activation_function": "hidden_act"},
)

EXAONE4 = variant(
    UNBIASED,
    "exaone4",
    "Exaone4ForCausalLM",
    "EXAONE 4",
    defaults=sizes(V=102400, F=16384, rms_norm_eps=1e-5),
    keys={
        **heads(32),
        "sliding_window": Key(4096, nothing),
        "sliding_window_pattern": Key(4, _pattern),
        "layer_types": Key(None, attentions(every(pattern_or_none), full=unrotated_beside_windows)),
    },
    fixed={"norm_placement": "output", "qk_norm": "head"},
)

EXAONE_MOE = variant(
    EXAONE4,
    "exaone_moe",
    "ExaoneMoeForCausalLM",
    "EXAONE MoE",
    keys={
        **read_elsewhere(first_k_dense_replace=1, moe_intermediate_size=1024, num_experts=64, num_experts_per_tok=8),
        **read_elsewhere(num_shared_experts=1, norm_topk_prob=True, routed_scaling_factor=2.5, n_group=1, topk_group=1),
        "mlp_layer_types": Key(
            None, experts_listed(mixture(shared=shares("num_shared_experts"), **DEEPSEEK_ROUTER), after("first_k_dense_replace"))
        ),
    },
    fixed={"norm_placement": "pre"},
    harmless=MTP,
)

FAMILIES = (EXAONE, EXAONE4, EXAONE_MOE)
