"""Nemotron-H and Nemotron 3: each layer is Mamba 2, attention, an MLP, or experts."""

from __future__ import annotations

from gptcalc.spec.huggingface.families.llama import UNBIASED
from gptcalc.spec.huggingface.family import ABSENT, MOST_LAYERS, Config, Fields, Key, because, sizes, variant, written
from gptcalc.spec.huggingface.handlers import (
    activation,
    epsilon,
    flag,
    head_width_needed,
    kv_heads,
    nothing,
    only,
    read_elsewhere,
)
from gptcalc.spec.huggingface.layers import ATTENTION, Layer, from_key
from gptcalc.spec.huggingface.mixture import DEEPSEEK_ROUTER, mixture
from gptcalc.spec.huggingface.recurrent import (
    LINEAR,
    grouped,
    silu_only,
)

_LOGITS = because("of how many tokens a call returns logits", "num_logits_to_keep logits_to_keep")
# --- Nemotron-H and Nemotron 3 -----------------------------------------------------------------------------------------------------------

_LETTERS = {"M": "linear", "E": "moe", "*": "full", "-": "mlp"}
_NEMOTRON = {**LINEAR, "moe": "moe", "mlp": "mlp"}


def _nemotron_kinds(config: Config) -> list[str]:
    given, pattern = config["layers_block_type"], config["hybrid_override_pattern"]
    if given is not None:
        if not isinstance(given, list) or not given or not all(isinstance(one, str) and one in _NEMOTRON for one in given):
            raise config.refuse("layers_block_type", f"must be a list of {', '.join(_NEMOTRON)}, not {written(given)}")
        return [_NEMOTRON[one] for one in given]
    if pattern is ABSENT:
        return ["linear", "moe", "full", "mlp"]
    if not isinstance(pattern, str) or not pattern or not set(pattern) <= set(_LETTERS):
        raise config.refuse("hybrid_override_pattern", f"must be of the letters {' '.join(_LETTERS)}, not {written(pattern)}")
    return [_LETTERS[letter] for letter in pattern]


def _nemotron_layers(key: str, config: Config) -> Fields:
    """Each layer is one sublayer."""
    kinds = _nemotron_kinds(config)
    if len(kinds) > MOST_LAYERS:
        raise config.refuse(key, f"names {len(kinds):,} layers: at most {MOST_LAYERS:,}")
    given = config.data.get("num_hidden_layers")
    if given is not None and given != len(kinds):
        config.unread["num_hidden_layers"] = f"{written(given)} contradicts the list of layers, which has {len(kinds)}"
    columns: dict[str, Fields] = {"full": {"composition": ["attention"]}, "mlp": {"composition": ["mlp"]}}
    if "linear" in kinds:
        columns["linear"] = {**_nemotron_mixer(config), "composition": ["mamba2"]}
    if "moe" in kinds:
        columns["moe"] = {**_nemotron_experts(config), "composition": ["mlp"]}
    config.sources["n_layer"] = "hybrid_override_pattern" if config["layers_block_type"] is None else "layers_block_type"
    return {"n_layer": len(kinds), ATTENTION: [Layer(kind, columns[kind]) for kind in kinds]}


def _nemotron_mixer(config: Config) -> Fields:
    silu_only(config)
    heads, least = config.size("mamba_num_heads"), config["time_step_min"]
    sizes: Fields = {
        "kind": "mamba2",
        "n_head": heads,
        "d_head": config.size("mamba_head_dim"),
        "n_group": grouped(config, "n_groups", heads),
    }
    sizes |= {"d_state": config.size("ssm_state_size"), "d_conv": config.size("conv_kernel"), "chunk": config.size("chunk_size")}
    sizes |= {"bias": config.flag("use_bias"), "output_bias": config.flag("use_bias"), "conv_bias": config.flag("use_conv_bias")}
    return {"mixer": sizes | ({"step_least": config.number("time_step_min", least)} if least else {})}


def _nemotron_experts(config: Config) -> Fields:
    shared = from_key("moe_shared_expert_intermediate_size")
    found = mixture("n_routed_experts", shared=shared, **DEEPSEEK_ROUTER)(config)
    return found if config["moe_latent_size"] is None else found | {"d_expert_latent": config.size("moe_latent_size")}


_OLD = {"mamba_n_groups": "n_groups", "mamba_d_conv": "conv_kernel", "mamba_conv_bias": "use_conv_bias", "mamba_chunk_size": "chunk_size"}

NEMOTRON_H = variant(
    UNBIASED,
    "nemotron_h",
    "NemotronHForCausalLM",
    "Nemotron",
    without="num_hidden_layers hidden_act rms_norm_eps rope_parameters rope_scaling rope_theta partial_rotary_factor",
    defaults=sizes(V=131072, F=21504, T=4096),
    keys={
        "num_hidden_layers": Key(ABSENT, nothing),
        "num_key_value_heads": Key(8, kv_heads),
        "head_dim": Key(128, head_width_needed),
        "layers_block_type": Key(None, _nemotron_layers),
        "hybrid_override_pattern": Key(ABSENT, nothing),
        "layer_norm_epsilon": Key(1e-5, epsilon),
        "mlp_hidden_act": Key("relu2", activation()),
        "attention_bias": Key(False, nothing),  # its projections have none, whatever it says
        "mlp_bias": Key(False, flag("mlp_bias")),
        "tie_word_embeddings": Key(False, nothing),
        "sliding_window": Key(None, only(None, why="the model's code has no window, and its cache would have one")),
        **read_elsewhere(ssm_state_size=128, mamba_num_heads=128, mamba_head_dim=64, mamba_hidden_act="silu", n_groups=8, conv_kernel=4),
        **read_elsewhere(
            use_conv_bias=True, chunk_size=128, time_step_min=0.001, use_bias=False, n_routed_experts=8, num_experts_per_tok=2
        ),
        **read_elsewhere(moe_intermediate_size=7688, moe_shared_expert_intermediate_size=7688, moe_latent_size=None),
        **read_elsewhere(norm_topk_prob=True, n_group=1, topk_group=1, routed_scaling_factor=1.0),
    },
    fixed={"gated": False, "position": "none", "tied": False},
    aliases={"layer_types": "layers_block_type", "num_local_experts": "n_routed_experts", "mamba_dt_min": "time_step_min", **_OLD},
    harmless=_LOGITS
    | because(
        "how weights are drawn before training, a kernel's own, or not read",
        """time_step_max time_step_floor time_step_limit mamba_dt_max mamba_dt_limit mamba_dt_init_floor rescale_prenorm_residual expand
        mamba_expand use_mamba_kernels mamba_proj_bias n_shared_experts moe_shared_expert_overlap""",
    )
    | because("in what type a stream or a state stands", "residual_in_fp32 mamba_ssm_cache_dtype")
    | because(
        "modules that predict further tokens: counted apart, outside the total",
        "num_nextn_predict_layers mtp_layers_block_type mtp_hybrid_override_pattern",
    ),
)

FAMILIES = (NEMOTRON_H,)
