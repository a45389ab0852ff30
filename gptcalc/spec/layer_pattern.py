"""Models whose layers are not all alike: which kind of block each layer is."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.spec.reading import quoted

BLOCK_FIELDS = frozenset(
    (
        "n_head",
        "n_kv_head",
        "d_head",
        "d_head_value",
        "d_ff",
        "position",
        "d_rotary",
        "rotary_pairs",
        "rope_theta",
        "rope_scaling",
        "sliding_window",
        "window_chunks",
        "causal",
        "cross_attention",
        "mixer",
        "composition",
        "idle_cross_attention",
        "key_bias",
        "q_lora_rank",
        "kv_lora_rank",
        "indexer",
        "compressed",
        "latent_rotary_norm",
        "latent_turns",
        "differential",
        "value_masks",
        "norm_gate_rank",
        "mlp_norm_gated",
        "attention_scale",
        "attention_softcap",
        "attention_sinks",
        "attention_gate",
        "inner_norm",
        "qkv_clip",
        "qk_norm",
        "qk_norm_bias",
        "value_norm",
        "keys_are_values",
        "shares_keys",
        "qk_norm_after_rotary",
        "norm_placement",
        "parallel_residual",
        "shared_norm",
        "attention_bias",
        "attention_output_bias",
        "mlp_bias",
        "activation",
        "gated",
        "n_expert",
        "n_expert_per_token",
        "d_expert",
        "d_expert_latent",
        "d_shared_expert",
        "shared_expert_gate",
        "mlp_beside_experts",
        "router_bias",
        "router_score",
        "router_correction",
        "router_normalised",
        "router_scale",
        "router_weighs_input",
        "n_router_group",
        "n_router_group_per_token",
    )
)
"""The fields of a model that a kind of block may set for itself."""

OF_ROTARY = ("d_rotary", "rope_scaling")
OF_EXPERTS = (
    "mlp_beside_experts",
    "n_expert_per_token",
    "d_expert",
    "d_expert_latent",
    "d_shared_expert",
    "shared_expert_gate",
    "router_bias",
    "router_weighs_input",
    "n_router_group",
    "n_router_group_per_token",
)
"""Fields that mean nothing without position "rotary", and without n_expert."""

MOST_LAYERS = 100_000

MOST_KINDS = 64
"""Kinds of block of one model. No preset has ten; formulas take their time for each."""

_ITEM = re.compile(r"([a-z][a-z0-9_]*)(?:\*([1-9][0-9]{0,5}))?")


def layers_of(layout: Sequence[str], n_layer: int, kinds: Iterable[str]) -> tuple[str, ...]:
    """The kind of each layer, in order. `dense*3` is three layers; a last `...` repeats all that stands before it, up to n_layer.

    Raises GptcalcError for kinds that are not there, and for a layout of more or fewer layers than the model has.

    >>> layers_of(["dense", "moe*2"], 3, ["dense", "moe"])
    ('dense', 'moe', 'moe')
    >>> layers_of(["local*2", "global", "..."], 5, ["local", "global"])
    ('local', 'local', 'global', 'local', 'local')
    """
    known = list(kinds)
    if n_layer > MOST_LAYERS:
        raise GptcalcError(f"n_layer {n_layer:,} is too large for a layout: at most {MOST_LAYERS:,}")
    repeats = bool(layout) and layout[-1] == "..."
    layers: list[str] = []
    for item in layout[:-1] if repeats else layout:
        match = _ITEM.fullmatch(item)
        if match is None or match[1] not in known:
            hint = did_you_mean(item, known, otherwise=f"blocks has {', '.join(known)}; write 'dense*3' for three layers")
            raise GptcalcError(f"layout names {quoted(item)}, which is no kind of block", hint=hint)
        layers += [match[1]] * min(int(match[2] or 1), MOST_LAYERS)
        if len(layers) > n_layer and not repeats:
            raise GptcalcError(f"layout names more than {n_layer:,} layers, which is n_layer")
        if len(layers) > n_layer:
            break
    if repeats and layers:
        layers *= -(-n_layer // len(layers))
        return tuple(layers[:n_layer])
    if len(layers) != n_layer:
        raise GptcalcError(
            f"layout names {len(layers)} layers, and n_layer is {n_layer}", hint="a last '...' repeats a layout up to n_layer"
        )
    return tuple(layers)


def fields_of_kind(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A kind's fields over those of the model; without what the kind has no use for, where it has no rotary positions or no experts.

    >>> fields_of_kind({"n_expert": 8, "n_expert_per_token": 2}, {"n_expert": None})
    {'n_expert': None}
    """
    fields = {**shared, **own}
    idle = (*(() if fields.get("position") == "rotary" else OF_ROTARY), *(OF_EXPERTS if fields.get("n_expert") is None else ()))
    return {name: value for name, value in fields.items() if name not in idle or name in own}
