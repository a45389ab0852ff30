"""Like Llama with experts in every layer: Aria, DBRX, gpt-oss, MiniMax M2."""

from __future__ import annotations

from gptcalc.spec.huggingface.families.llama import LLAMA, ROOMY, UNBIASED
from gptcalc.spec.huggingface.family import ABSENT, Config, Family, Fields, Key, Unread, sizes, variant, written
from gptcalc.spec.huggingface.handlers import (
    ACTIVATIONS,
    agrees,
    config_inside,
    divides,
    heads,
    nothing,
    only,
    read_elsewhere,
    size,
    unread,
    unread_head_width,
)
from gptcalc.spec.huggingface.layers import attentions, every
from gptcalc.spec.huggingface.mixture import everywhere, mixture, shares
from gptcalc.spec.huggingface.rotary import rope, rotary_keys

ARIA = variant(
    LLAMA,
    "aria_text",
    "AriaTextForCausalLM",
    "Aria",
    defaults={"intermediate_size": 4096},
    keys={
        "hidden_act": Key("silu", only("silu", "swish", why="the shared experts would have another activation than the routed ones")),
        "mlp_bias": Key(False, only(False, why="the shared experts would have biases and the routed ones none")),
        "moe_num_experts": Key(
            8, everywhere(mixture("moe_num_experts", "moe_topk", shared=shares("moe_num_shared_experts", "intermediate_size")))
        ),
        **read_elsewhere(moe_topk=2, moe_num_shared_experts=2),
    },
    fixed={"mlp_bias": False, "activation": "silu"},
)


def _attention_of_dbrx(key: str, config: Config) -> Fields:
    given = config_inside(key, config, "kv_n_heads clip_qkv attn_pdrop rope_theta")
    theta = config.number(f"{key}.rope_theta", given.get("rope_theta", 10000.0))
    kv = given.get("kv_n_heads", 1)
    if type(kv) is not int or kv < 1:
        raise config.refuse(f"{key}.kv_n_heads", f"must be a whole number above zero, not {written(kv)}")
    if "rope_theta" not in given:
        raise config.refuse(f"{key}.rope_theta", "is missing: the model's code fails without it")
    clip = given.get("clip_qkv")
    return {"n_kv_head": kv, "rope_theta": theta, **({} if clip is None else {"qkv_clip": config.number(f"{key}.clip_qkv", clip)})}


def _experts_of_dbrx(key: str, config: Config) -> Fields:
    given = config_inside(
        key,
        config,
        """
        ffn_act_fn ffn_hidden_size moe_num_experts moe_top_k moe_jitter_eps moe_loss_weight moe_normalize_expert_weights
        uniform_expert_assignment hidden_size""",
    )
    numbers = {"n_expert": ("moe_num_experts", 4), "n_expert_per_token": ("moe_top_k", 1), "d_expert": ("ffn_hidden_size", 3584)}
    fields: Fields = {}
    for field, (name, default) in numbers.items():
        value = given.get(name, default)
        if type(value) is not int or value < 1:
            raise config.refuse(f"{key}.{name}", f"must be a whole number above zero, not {written(value)}")
        fields[field] = value
    named = given.get("ffn_act_fn") or {"name": "silu"}
    act = named.get("name") if isinstance(named, dict) else None
    if not isinstance(act, str) or act not in ACTIVATIONS:
        raise config.refuse(f"{key}.ffn_act_fn", f"{written(named)} is not a mapping with the name of an activation that gptcalc knows")
    if given.get("moe_normalize_expert_weights", 1.0) not in (None, 1, 1.0):
        raise config.refuse(f"{key}.moe_normalize_expert_weights", "must be 1 or null")
    normalised = given.get("moe_normalize_expert_weights", 1.0) is not None
    return {**fields, "activation": ACTIVATIONS[act], "router_normalised": normalised}


DBRX = Family(
    "dbrx",
    ("DbrxForCausalLM",),
    {
        "d_model": Key(2048, size("d_model")),
        "n_heads": Key(16, divides),
        "n_layers": Key(24, size("n_layer")),
        "max_seq_len": Key(2048, size("n_ctx")),
        "vocab_size": Key(32000, size("vocab_size")),
        "attn_config": Key(None, _attention_of_dbrx),
        "ffn_config": Key(None, _experts_of_dbrx),
        "tie_word_embeddings": Key(
            False, lambda key, config: only(False, why="DBRX's head is a matrix of its own")(key, config) | {"tied": False}
        ),
        "rope_parameters": Key(None, only(None, {"rope_theta": 10000.0, "rope_type": "default"}, why="DBRX's base is in attn_config")),
        "num_key_value_heads": Key(ABSENT, nothing),
        "head_dim": unread_head_width(),
    },
    {
        "family": "DBRX",
        "position": "rotary",
        "norm_bias": False,
        "attention_bias": False,
        "attention_output_bias": False,
        "mlp_bias": False,
        "gated": True,
    },
    {"num_attention_heads": "n_heads", "hidden_size": "d_model", "num_hidden_layers": "n_layers", "max_position_embeddings": "max_seq_len"},
)

_GPT_OSS_ROPE = {
    "rope_type": "yarn",
    "factor": 32.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
    "original_max_position_embeddings": 4096,
}
GPT_OSS = variant(
    ROOMY,
    "gpt_oss",
    "GptOssForCausalLM",
    "gpt-oss",
    without="mlp_bias",
    defaults=sizes(V=201088, d=2880, F=2880, L=36, H=64, K=8, Q=64, T=131072, rms_norm_eps=1e-5)
    | {"attention_bias": True, "rope_theta": 150000.0, "rope_parameters": _GPT_OSS_ROPE},
    keys={
        # The experts' code has its own activation, a clamped SiLU, and does not read the key.
        "hidden_act": Key("silu", only("silu", why="the experts' code has an activation of its own")),
        "swiglu_alpha": Key(1.702, only(1.702, why="the experts' activation would be another")),
        "swiglu_limit": Key(7.0, only(7.0, 7, why="the experts' activation would be another")),
        "layer_types": Key(None, attentions(every(2))),
        "num_local_experts": Key(128, everywhere(mixture("num_local_experts", router_bias=True))),
        **read_elsewhere(sliding_window=128, num_experts_per_tok=4),
        "experts_per_token": unread("num_experts_per_tok says so", 4),
        "initial_context_length": unread("the scaling of rotary positions says so", 4096),
    },
    fixed={"attention_sinks": True, "activation": "silu_clamped"},
    aliases={"num_experts": "num_local_experts"},
)


def _turned_of_minimax(key: str, config: Config) -> Fields:
    """`rotary_dim` says how many channels turn, where nothing else does."""
    fields = rope(partly=True, odd_up=True)(key, config)
    given = (config["rope_scaling"] or config[key] or {}).get("partial_rotary_factor", config.data.get("partial_rotary_factor"))
    if given is not None or config["rotary_dim"] in (None, ABSENT):
        return fields
    return {**fields, "d_rotary": config.size("rotary_dim")}


MINIMAX_M2 = variant(
    UNBIASED,
    "minimax_m2",
    "MiniMaxM2ForCausalLM",
    "MiniMax M2",
    defaults=sizes(V=200064, d=3072, F=1536, L=62, H=48, T=196608),
    keys={
        **heads(8, 128),
        "num_local_experts": Key(256, everywhere(mixture("num_local_experts", router_score="sigmoid"))),
        **rotary_keys(5000000.0, share=1.0),
        "rope_parameters": Key(None, _turned_of_minimax),
        **read_elsewhere(num_experts_per_tok=8, rotary_dim=ABSENT),
        "scoring_func": unread("the model's code scores by a sigmoid", "sigmoid"),
        "use_qk_norm": unread("the model's code always has it", True),
        "qk_norm_type": unread("the model's code normalises all heads as one row", "per_layer"),
        "use_routing_bias": unread("a correction of scores, which is no parameter", True),
        "attn_type_list": Key(ABSENT, Unread(agrees(lambda config: [1] * config.layers, "full attention in every layer"))),
    },
    fixed={"qk_norm": "full"},
    aliases={"num_experts": "num_local_experts"},
)

FAMILIES = (ARIA, DBRX, GPT_OSS, MINIMAX_M2)
