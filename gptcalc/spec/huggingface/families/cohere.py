"""Cohere's Command R and A: LayerNorm without biases, attention and MLP side by side."""

from __future__ import annotations

from gptcalc.spec.huggingface.families.llama import MLP_UNBIASED
from gptcalc.spec.huggingface.family import ABSENT, Config, Fields, Key, sizes, variant, written
from gptcalc.spec.huggingface.handlers import HEAD_IF_GIVEN, head_width_needed, norm_of_heads, only, read_elsewhere, standard, unread
from gptcalc.spec.huggingface.layers import always, attentions, every, experts_listed, from_key
from gptcalc.spec.huggingface.mixture import mixture, shares


def _logit_scale(key: str, config: Config) -> Fields:
    return {"logit_scale": config.number(key, config[key])}


COHERE = variant(
    MLP_UNBIASED,
    "cohere",
    "CohereForCausalLM",
    "Command R",
    without="rms_norm_eps",
    defaults=sizes(V=256000, d=8192, F=22528, L=40, H=64, T=8192, tie_word_embeddings=True, rope_theta=500000.0),
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
        **read_elsewhere(sliding_window=4096, sliding_window_pattern=ABSENT),
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


def _shared_of_cohere(key: str, config: Config) -> Fields:
    strategy = config[key]
    if strategy not in ("average", "sum"):
        raise config.refuse(key, f"must be 'average' or 'sum', not {written(strategy)}")
    if strategy == "average" and config.size("num_shared_experts", least=0):
        return {"unexecuted": ("the sum of the routed and the shared experts is halved",)}
    return {}


def _cohere_score(config: Config) -> Fields:
    score = config["expert_selection_fn"]
    if score not in ("softmax", "sigmoid"):
        raise config.refuse("expert_selection_fn", f"must be 'softmax' or 'sigmoid', not {written(score)}")
    shared = shares("num_shared_experts", "intermediate_size")
    return mixture(shared=shared, normalised="norm_topk_prob" if score == "sigmoid" else True, router_score=score)(config)


def _cohere_mlp(key: str, config: Config) -> Fields:
    kinds = config[key]
    dense = config.data.get("first_k_dense_replace", 0)
    if dense not in (0, None) or (isinstance(kinds, list) and "dense" in kinds):
        raise config.refuse(key, "with dense layers is not understood: they rotate as the others do not")
    return experts_listed(_cohere_score, always("moe"))(key, config)


COHERE2_MOE = variant(
    COHERE2,
    "cohere2_moe",
    "Cohere2MoeForCausalLM",
    "Command A MoE",
    keys={
        "head_dim": Key(128, head_width_needed),
        "shared_expert_combination_strategy": Key("average", _shared_of_cohere),
        **read_elsewhere(sliding_window_pattern=4, num_experts=8, num_experts_per_tok=2, num_shared_experts=0),
        **read_elsewhere(expert_selection_fn="softmax", norm_topk_prob=True, first_k_dense_replace=ABSENT),
        **read_elsewhere(prefix_dense_sliding_window_pattern=1, prefix_dense_intermediate_size=None),
        "rms_norm_eps": Key(None, only(None, why="the norms would be RMSNorm")),
        "mlp_layer_types": Key(None, _cohere_mlp),
    },
)

FAMILIES = (COHERE, COHERE2, COHERE2_MOE)
