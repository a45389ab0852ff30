"""The fields of a mixture of experts, and which layers have one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gptcalc.spec.huggingface.family import Config, Fields, Key, because, written
from gptcalc.spec.huggingface.handlers import (
    nothing,
)


def mixture(
    n: str = "num_experts",
    k: str = "num_experts_per_tok",
    width: str = "intermediate_size",
    *,
    shared: Callable[[Config], int] | None = None,
    normalised: bool | str = True,
    scale: str = "",
    groups: bool = False,
    **fixed: object,
) -> Callable[[Config], Fields]:
    """The fields of a layer of experts; the names are those of the class's keys.

    `shared` is the width of the MLP that every token goes through; `normalised` a key, or what the code always does.
    """

    def fields(config: Config) -> Fields:
        found: Fields = {"n_expert": config.size(n), "n_expert_per_token": config.size(k), "d_expert": config.size(width), **fixed}
        if config.size(k) > config.size(n):
            raise config.refuse(k, f"{config.size(k)} is above {n} {config.size(n)}")
        if shared is not None and shared(config):
            found["d_shared_expert"] = shared(config)
        found["router_normalised"] = config.flag(normalised) if isinstance(normalised, str) else normalised
        if scale and config.number(scale, config[scale]) != 1:
            found["router_scale"] = config.number(scale, config[scale])
        config.sources |= {"n_expert": n, "n_expert_per_token": k, "d_expert": width, "router_scale": scale}
        config.sources |= {"router_normalised": normalised if isinstance(normalised, str) else "", **dict.fromkeys(fixed, "")}
        return {**found, **(_groups(config) if groups else {})}

    return fields


def _groups(config: Config) -> Fields:
    if config["n_group"] in (None, 1) and config["topk_group"] in (None, 1):
        return {}
    config.sources |= {"n_router_group": "n_group", "n_router_group_per_token": "topk_group"}
    return {"n_router_group": config.size("n_group"), "n_router_group_per_token": config.size("topk_group")}


def everywhere(experts: Callable[[Config], Fields]) -> Any:
    """The handler of the key that counts the experts, where every layer has them."""
    return lambda key, config: experts(config)


def shares(count: str, width: str = "moe_intermediate_size") -> Callable[[Config], int]:
    """Shared experts side by side are one MLP as wide as all of them."""
    return lambda config: config.size(count, least=0) * config.size(width)


EXPERT_KEYS = {"num_experts_per_tok": Key(2, nothing)}


def after(key: str) -> Callable[[Config], Callable[[int], str]]:
    """Dense layers first, as many as a key says."""

    def rule(config: Config) -> Callable[[int], str]:
        given = config[key]
        if type(given) is not int:
            raise config.refuse(key, f"must be a whole number, not {written(given)}")
        return lambda i: "moe" if i >= given else "dense"

    return rule


def first_dense(config: Config) -> Callable[[int], str]:
    """One dense layer, and experts in all after it."""
    return lambda i: "moe" if i else "dense"


def past(key: str) -> Callable[[Config, int], bool]:
    """As `after`, layer by layer."""
    return lambda config, layer: layer >= config.size(key, least=0)


SIGMOID: dict[str, Any] = {"width": "moe_intermediate_size", "router_score": "sigmoid"}
DEEPSEEK_ROUTER: dict[str, Any] = {**SIGMOID, "normalised": "norm_topk_prob", "scale": "routed_scaling_factor", "groups": True}

MTP = because(
    "modules that predict further tokens: counted apart, outside the total",
    "num_nextn_predict_layers num_mtp_layers mtp_layer_types mtp_mlp_layer_types",
)
