"""Hunyuan: norms of heads, behind the rotation in its first version."""

from __future__ import annotations

from gptcalc.spec.huggingface.families.llama import MLP_UNBIASED, ROOMY
from gptcalc.spec.huggingface.family import Config, Fields, Key, sizes, variant, written
from gptcalc.spec.huggingface.handlers import head_width_needed, heads, nothing, only, read_elsewhere, unread
from gptcalc.spec.huggingface.layers import experts_listed, from_key
from gptcalc.spec.huggingface.mixture import SIGMOID, everywhere, first_dense, mixture, shares

HUNYUAN = variant(
    MLP_UNBIASED,
    "hunyuan_v1_dense",
    "HunYuanDenseV1ForCausalLM",
    "Hunyuan",
    defaults={"vocab_size": 290943, "rms_norm_eps": 1e-5},
    keys={"head_dim": Key(None, head_width_needed), "use_qk_norm": unread("the model's code always has it", True)},
    fixed={"qk_norm": "head", "qk_norm_after_rotary": True},
)


def _experts(config: Config) -> Fields:
    """The published files give the experts of a token for each layer."""
    listed, plain = config["moe_topk"], config
    if isinstance(listed, list):
        if len(listed) < config.layers or any(type(one) is not int for one in listed):
            raise config.refuse("moe_topk", f"must be a whole number for each of {config.layers} layers, not {written(listed)}")
        if len({*listed[: config.layers]}) > 1:
            raise config.refuse("moe_topk", "differs from layer to layer")
        plain = Config({**config.data, "moe_topk": listed[0]}, config.family, config.where)
        plain.sources = config.sources
    return mixture(k="moe_topk", shared=from_key("intermediate_size"))(plain)


HUNYUAN_MOE = variant(
    MLP_UNBIASED,
    "hunyuan_v1_moe",
    "HunYuanMoEV1ForCausalLM",
    "Hunyuan",
    defaults={"vocab_size": 290943, "rms_norm_eps": 1e-5},
    keys={
        "head_dim": Key(None, head_width_needed),
        "num_experts": Key(1, everywhere(_experts)),
        "moe_topk": Key(1, lambda key, config: {}),
        "use_qk_norm": unread("the model's code always has it", True),
    },
    fixed={"qk_norm": "head", "qk_norm_after_rotary": True},
    aliases={"num_experts_per_tok": "moe_topk", "num_local_experts": "num_experts"},
)


def _shared_of_v3(config: Config) -> int:
    """None at all are one of the dense layers' width: the code takes a width of zero for one that was not given."""
    return shares("num_shared_experts")(config) or config.size("intermediate_size")


HY_V3 = variant(
    ROOMY,
    "hy_v3",
    "HYV3ForCausalLM",
    "Hunyuan 3",
    defaults=sizes(V=120832, F=13312, L=80, H=64, T=131072, rms_norm_eps=1e-5, rope_theta=11158840.0),
    keys={
        **heads(8, 128),
        "mlp_bias": Key(False, only(False, why="the shared experts would have biases and the routed ones none")),
        **read_elsewhere(moe_intermediate_size=1536, num_experts=192, num_experts_per_tok=8, num_shared_experts=1),
        "router_scaling_factor": Key(2.826, nothing),
        "mlp_layer_types": Key(
            None,
            experts_listed(
                mixture(shared=_shared_of_v3, scale="router_scaling_factor", **SIGMOID),
                first_dense,
            ),
        ),
    },
    fixed={"qk_norm": "head", "mlp_bias": False},
    aliases={"num_local_experts": "num_experts"},
    harmless={"enable_moe_fp32_combine": "the same sum, computed in fp32"},
)

FAMILIES = (HUNYUAN, HUNYUAN_MOE, HY_V3)
