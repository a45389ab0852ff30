"""MiniMax M3: an indexer chooses blocks of keys, for each group of heads by itself; experts as gpt-oss has them."""

from __future__ import annotations

from gptcalc.spec.huggingface.families.llama import UNBIASED
from gptcalc.spec.huggingface.family import ABSENT, Config, Fields, Key, because, sizes, variant, written
from gptcalc.spec.huggingface.handlers import heads, nothing, only, read_elsewhere, unread
from gptcalc.spec.huggingface.layers import ATTENTION, MLP, Layer
from gptcalc.spec.huggingface.mixture import mixture
from gptcalc.spec.huggingface.rotary import rotary_keys

_OLDER = {
    "index_n_heads": "sparse_num_index_heads",
    "index_head_dim": "sparse_index_dim",
    "index_block_size": "sparse_block_size",
    "index_topk_blocks": "sparse_topk_blocks",
    "index_local_blocks": "sparse_local_block",
}
"""What files call the indexer's sizes inside `sparse_attention_config`, which holds."""


def _older(config: Config) -> dict[str, object]:
    given = config["sparse_attention_config"] or {}
    if not isinstance(given, dict):
        raise config.refuse("sparse_attention_config", f"must be a mapping, not {written(given)}")
    return given


def _index_size(key: str, config: Config) -> int:
    value = _older(config).get(_OLDER[key], config[key])
    if type(value) is not int or value < 1:
        raise config.refuse(key, f"must be a whole number above zero, not {written(value)}")
    return value


def _indexer(config: Config) -> Fields:
    groups, width, kept = (
        _index_size("index_n_heads", config),
        _index_size("index_head_dim", config),
        _index_size("index_topk_blocks", config),
    )
    if config.size("num_attention_heads") % groups:
        raise config.refuse("index_n_heads", f"{groups} does not divide num_attention_heads {config.size('num_attention_heads')}")
    if width < _rotated(config):
        raise config.refuse("index_head_dim", f"{width} is below the {_rotated(config)} channels that turn")
    if _index_size("index_local_blocks", config) > kept:
        raise config.refuse("index_local_blocks", "is more than index_topk_blocks: not even the nearest blocks are all kept")
    return {"indexer": {"n_head": groups, "d_head": width, "top_k": kept, "block": _index_size("index_block_size", config)}}


def _rotated(config: Config) -> int:
    return int(config.d_head * _share(config))


def _share(config: Config) -> float:
    inside = config["rope_parameters"] or {}
    share = inside.get("partial_rotary_factor", config["partial_rotary_factor"]) if isinstance(inside, dict) else None
    return 1.0 if share is None or share is ABSENT else config.number("partial_rotary_factor", share)


def _kinds(config: Config, key: str, older: object, words: tuple[str, str], default: str) -> list[str]:
    """A list of words, or the older one of zeros and ones, which holds where the other is absent."""
    layers, given = config.layers, config[key]
    if given is None and older is not None:
        if not isinstance(older, list) or any(one not in (0, 1) for one in older):
            raise config.refuse(key, f"{written(older)} must be a list of zeros and ones")
        given = [words[one] for one in older]
    given = [default] * layers if given is None else given
    if not isinstance(given, list) or len(given) != layers or any(one not in words for one in given):
        raise config.refuse(key, f"must be a list of {layers} words, {words[0]} or {words[1]}, not {written(given)}")
    return given


def _attentions(key: str, config: Config) -> Fields:
    kinds = _kinds(config, key, _older(config).get("sparse_attention_freq"), ("full_attention", "minimax_m3_sparse"), "full_attention")
    own = _indexer(config) if "minimax_m3_sparse" in kinds else {}
    return {ATTENTION: [Layer("full", {}) if kind == "full_attention" else Layer("indexed", own) for kind in kinds]}


def _mlps(key: str, config: Config) -> Fields:
    kinds = _kinds(config, key, config["moe_layer_freq"], ("dense", "sparse"), "sparse")
    experts = mixture(
        "num_local_experts",
        width="intermediate_size",
        shared=lambda config: config.size("shared_intermediate_size"),
        scale="routed_scaling_factor",
        router_score="sigmoid",
    )
    own = experts(config) if "sparse" in kinds else {}
    return {MLP: [Layer("moe", own) if kind == "sparse" else Layer("dense", {}) for kind in kinds]}


def _dense_width(key: str, config: Config) -> Fields:
    return {"d_ff": config.size(key)}


MINIMAX_M3 = variant(
    UNBIASED,
    "minimax_m3_vl_text",
    "MiniMaxM3VLForCausalLM MiniMaxM3SparseForCausalLM",
    "MiniMax M3",
    without="hidden_act sliding_window",
    defaults=sizes(V=200064, d=6144, L=60, H=64, T=524288),
    keys={
        **heads(4, 128),
        **rotary_keys(5000000.0, share=1.0),
        "intermediate_size": Key(3072, nothing),
        "dense_intermediate_size": Key(12288, _dense_width),
        **read_elsewhere(shared_intermediate_size=3072, num_experts_per_tok=4, num_local_experts=128, routed_scaling_factor=2.0),
        **read_elsewhere(index_n_heads=4, index_head_dim=128, index_block_size=128, index_topk_blocks=16, index_local_blocks=1),
        **read_elsewhere(sparse_attention_config=None, moe_layer_freq=None),
        "swiglu_alpha": Key(1.702, only(1.702, why="the clamped product would have another slope")),
        "swiglu_limit": Key(7.0, only(7.0, 7, why="the clamped product would have another limit")),
        "layer_types": Key(None, _attentions),
        "mlp_layer_types": Key(None, _mlps),
        "attention_output_gate": unread("the model's code has no gate", False),
        "use_qk_norm": unread("queries and keys are always normalised", True),
        "qk_norm_type": unread("each head is normalised", "per_head"),
        "use_gemma_norm": unread("norms have weights less one", True),
        "scoring_func": unread("the model's code scores by a sigmoid", "sigmoid"),
        "use_routing_bias": unread("scores are corrected", True),
    },
    fixed={"activation": "silu_clamped", "qk_norm": "head", "norm_weight_plus_one": True},
    aliases={"num_experts": "num_local_experts"},
    harmless=because("the code takes the clamped product, whatever the key says", "hidden_act")
    | because("what a whole head's rotated channels are is said by partial_rotary_factor", "rotary_dim")
    | because("modules that predict further tokens: counted apart, outside the total", "num_mtp_modules num_nextn_predict_layers"),
)

FAMILIES = (MINIMAX_M3,)
