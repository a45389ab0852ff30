"""Gemma 4: two widths of heads, values that are the keys, layers that read the keys of earlier ones, an embedding for each layer, and an
MLP beside experts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gptcalc.spec.huggingface.families.gemma import GEMMA3
from gptcalc.spec.huggingface.family import ABSENT, Config, Fields, Key, sizes, variant, written
from gptcalc.spec.huggingface.handlers import nothing, only, read_elsewhere, size
from gptcalc.spec.huggingface.layers import ATTENTION, ATTENTIONS, MLP, Layer, listed
from gptcalc.spec.huggingface.rotary import angles

_ANGLES: Mapping[str, Mapping[str, Any]] = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
    "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1_000_000.0},
}


def _angles(kind: str, config: Config) -> Fields:
    return angles_under(kind, config, _ANGLES)


def angles_under(kind: str, config: Config, usual: Mapping[str, Mapping[str, Any]]) -> Fields:
    """The angles of one kind of layer, which a file gives under its name; of type 'proportional' the first channels of a head turn."""
    given = usual if config["rope_parameters"] is None else config["rope_parameters"]
    if not isinstance(given, dict) or not isinstance(given.get(kind), dict):
        raise config.refuse("rope_parameters", f"must have a mapping for {kind}")
    inside = dict(given[kind])
    if inside.get("rope_type") != "proportional":
        return angles("rope_parameters", inside, config, theta=10_000.0, share=inside.get("partial_rotary_factor", 1.0))
    share = config.number("rope_parameters", inside.pop("partial_rotary_factor", 1.0))
    theta = config.number("rope_parameters", inside.pop("rope_theta", None))
    inside.pop("rope_type")
    if share > 1 or inside.pop("factor", 1.0) not in (1, 1.0):
        raise config.refuse("rope_parameters", "of type 'proportional' turns a share of the channels, at most all, without a factor")
    config.unread |= {f"rope_parameters.{name}": "" for name in inside}
    return {"rope_theta": theta, "rope_scaling": {"rope_type": "proportional", "partial_rotary_factor": share}}


def _kinds(config: Config) -> list[str]:
    """The kind of each layer, of which the last sees everything, whatever the list says."""
    kinds = listed("layer_types", config, ATTENTIONS, lambda i: "sliding" if (i + 1) % 6 else "full")
    return [*kinds[:-1], "full"]


def _sharing(config: Config, kinds: list[str]) -> int:
    """The first of the layers that read the keys of earlier ones."""
    shared = config.size("num_kv_shared_layers", least=0)
    first = len(kinds) - shared
    if shared and (first < 1 or set(kinds[:first]) != set(kinds)):
        raise config.refuse("num_kv_shared_layers", f"{shared} leaves no layer of each kind before them, whose keys they could read")
    return first


def _own_heads(config: Config, layer: int, kind: str) -> tuple[int, int]:
    """Width of a head and key-value heads of a layer: by a list of layers, as the library writes it, or those of full layers."""
    width, kv = config.size("head_dim"), config.size("num_key_value_heads")
    given = config.data.get("per_layer_config")
    if given is None:
        if kind == "sliding":
            return width, kv
        groups = config["num_global_key_value_heads"]
        own = kv if groups is None or not _values_are_keys(config) else config.size("num_global_key_value_heads")
        return config.size("global_head_dim"), own
    known = {"head_dim", "num_key_value_heads"}
    if not isinstance(given, dict) or not all(isinstance(one, dict) and one.keys() <= known for one in given.values()):
        raise config.refuse("per_layer_config", f"{written(given)} is not understood: only {' and '.join(sorted(known))} of a layer")
    own_of = {int(name): one for name, one in given.items() if str(name).isdigit()}.get(layer, {})
    sizes_of = [own_of.get(name, usual) for name, usual in (("head_dim", width), ("num_key_value_heads", kv))]
    if not all(type(one) is int and one > 0 for one in sizes_of):
        raise config.refuse("per_layer_config", f"of layer {layer} must have whole numbers above zero, not {written(own_of)}")
    return sizes_of[0], sizes_of[1]


def _values_are_keys(config: Config) -> bool:
    return "attention_k_eq_v" not in config.family.keys or config.flag("attention_k_eq_v")


def _layers(key: str, config: Config) -> Fields:
    kinds = _kinds(config)
    first, heads, found = _sharing(config, kinds), config.size("num_attention_heads"), []
    for layer, kind in enumerate(kinds):
        width, kv = _own_heads(config, layer, kind)
        if heads % kv:
            raise config.refuse("num_key_value_heads", f"{kv} does not divide num_attention_heads {heads}")
        fields: Fields = {"d_head": width, "n_kv_head": kv, **_angles(f"{kind}_attention", config)}
        if kind == "sliding":
            fields["sliding_window"] = config.size("sliding_window")
        elif "attention_k_eq_v" in config.family.keys and config.flag("attention_k_eq_v"):
            fields["keys_are_values"] = True
        if layer >= first:
            fields["shares_keys"] = True
        found.append(Layer(f"{kind}_reader" if layer >= first else kind, fields))
    return {ATTENTION: found}


def _mlps(key: str, config: Config) -> Fields:
    """The layers that read the keys of others may have MLPs of twice the width."""
    width, kinds = config.size("intermediate_size"), _kinds(config)
    first = _sharing(config, kinds)
    if not config.flag(key) or first == len(kinds):
        return {}
    return {MLP: [Layer("mlp", {"d_ff": width}) if layer < first else Layer("wide", {"d_ff": 2 * width}) for layer in range(len(kinds))]}


def _per_layer(key: str, config: Config) -> Fields:
    width = config[key]
    if width in (None, 0):
        return {}
    return {"own_embedding": {"width": config.size(key), "vocab_size": config.size("vocab_size_per_layer_input")}}


def _experts(key: str, config: Config) -> Fields:
    if not config.flag(key):
        return {}
    n, k = config.size("num_experts"), config.size("top_k_experts")
    if k > n:
        raise config.refuse("top_k_experts", f"{k} is above num_experts {n}")
    chosen: Fields = {"n_expert": n, "n_expert_per_token": k, "d_expert": config.size("moe_intermediate_size")}
    return {**chosen, "router_normalised": True, "mlp_beside_experts": True}


GEMMA4 = variant(
    GEMMA3,
    "gemma4_text",
    "Gemma4ForCausalLM",
    "Gemma 4",
    without="query_pre_attn_scalar attn_logit_softcapping rope_local_base_freq sliding_window_pattern _sliding_window_pattern "
    "norm_weight_plus_one rope_scaling rope_theta",
    defaults=sizes(V=262_144, F=9216, L=30, K=4, T=131_072, final_logit_softcapping=None),
    keys={
        "num_attention_heads": Key(8, size("n_head")),
        **read_elsewhere(num_key_value_heads=4, head_dim=256, global_head_dim=512, num_global_key_value_heads=None, rope_parameters=None),
        **read_elsewhere(partial_rotary_factor=ABSENT, rope_theta=ABSENT, sliding_window=512, num_kv_shared_layers=0),
        **read_elsewhere(vocab_size_per_layer_input=262_144, num_experts=None, top_k_experts=None, moe_intermediate_size=None),
        "attention_k_eq_v": Key(False, nothing),
        "layer_types": Key(None, _layers),
        "use_double_wide_mlp": Key(False, _mlps),
        "hidden_size_per_layer_input": Key(256, _per_layer),
        "enable_moe_block": Key(False, _experts),
        "use_bidirectional_attention": Key(None, only(None, "vision", why="queries would see the keys after them")),
    },
    fixed={"attention_scale": 1.0, "value_norm": True, "block_scaled": True},
    harmless={"per_layer_config": "said of each layer, and read with the kinds of layers"},
)

GEMMA4_UNIFIED = variant(
    GEMMA4,
    "gemma4_unified_text",
    "Gemma4UnifiedForCausalLM",
    "Gemma 4",
    defaults={"max_position_embeddings": 262_144, "sliding_window": 1024, "use_bidirectional_attention": "vision"},
    without="hidden_size_per_layer_input vocab_size_per_layer_input enable_moe_block num_experts top_k_experts moe_intermediate_size",
)

FAMILIES = (GEMMA4, GEMMA4_UNIFIED)
