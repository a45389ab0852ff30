"""Latent attention over the keys that an indexer chooses: DeepSeek V3.2, GLM-5."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gptcalc.spec.huggingface.families.deepseek import DEEPSEEK_V3, SIGMOID_EXPERTS, dense_between
from gptcalc.spec.huggingface.family import Config, Fields, Key, because, sizes, variant, written
from gptcalc.spec.huggingface.handlers import nothing, read_elsewhere, size, unread
from gptcalc.spec.huggingface.layers import ATTENTION, MLP, Layer, experts_listed
from gptcalc.spec.huggingface.mixture import after, first_dense, mixture


def indexer(config: Config, **own: Any) -> Fields:
    """The indexer of a layer. Its width must hold the rotated channels."""
    width, rotated = config.size("index_head_dim"), config.size("qk_rope_head_dim")
    if width < rotated:
        raise config.refuse("index_head_dim", f"{width} is below qk_rope_head_dim {rotated}: so many of its channels turn")
    return {"indexer": {"n_head": config.size("index_n_heads"), "d_head": width, "top_k": config.size("index_topk"), **own}}


def _everywhere(key: str, config: Config) -> Fields:
    return indexer(config)


def indexed(key: str, config: Config) -> Fields:
    """Says again that every layer has an indexer."""
    same = [[name] * config.layers for name in ("indexed_attention", "deepseek_sparse_attention")]
    if config[key] is not None and config[key] not in same:
        raise config.refuse(key, f"{written(config[key])} is not understood: every layer is of indexed attention")
    return {}


DEEPSEEK_V32 = variant(
    DEEPSEEK_V3,
    "deepseek_v32",
    "DeepseekV32ForCausalLM",
    "DeepSeek V3.2",
    without="n_routed_experts rope_interleave head_dim mlp_bias",
    defaults=sizes(T=163840),
    keys={
        "q_lora_rank": Key(1536, size("q_lora_rank")),
        "n_routed_experts": Key(256, nothing),
        "mlp_layer_types": Key(None, experts_listed(SIGMOID_EXPERTS, after("first_k_dense_replace"))),
        **read_elsewhere(index_head_dim=128, index_n_heads=64),
        "index_topk": Key(2048, _everywhere),
        "layer_types": Key(None, indexed),
        "rope_interleave": unread("the model's code turns neighbours, but in the indexer", True),
    },
    fixed={"rotary_pairs": "neighbours", "mlp_bias": False},
    aliases={"num_experts": "n_routed_experts"},
    harmless=because("the config's code writes qk_rope_head_dim there, whatever the file says", "head_dim")
    | because("the model's code has no biases there", "mlp_bias"),
)


def _owners(config: Config) -> list[bool]:
    """Which layers have an indexer of their own, and do not read what the last one before them has chosen."""
    layers, given = config.layers, config["indexer_types"]
    if given is None and config["index_topk_pattern"] is not None:
        pattern = config["index_topk_pattern"]
        given = [{"F": "full", "S": "shared"}.get(one, one) for one in pattern] if isinstance(pattern, str) else pattern
    if given is None:
        period, offset = max(config.size("index_topk_freq", least=0), 1), config["index_skip_topk_offset"]
        if type(offset) is not int:
            raise config.refuse("index_skip_topk_offset", f"must be a whole number, not {written(offset)}")
        given = ["shared" if max(i - offset + 1, 0) % period else "full" for i in range(layers)]
    return _full(given, config)


def _full(given: object, config: Config) -> list[bool]:
    """Which words of a list, one for each layer, say `full` where the others say `shared`."""
    layers = config.layers
    if not isinstance(given, list) or len(given) != layers or any(one not in ("full", "shared") for one in given):
        raise config.refuse("indexer_types", f"must be a list of {layers} words, full or shared, not {written(given)}")
    if given[0] == "shared":
        raise config.refuse("indexer_types", "begins with a shared layer: no layer before it has chosen keys")
    return [one == "full" for one in given]


def _some(owners_of: Callable[[Config], list[bool]], **own: Any) -> Any:
    def read(key: str, config: Config) -> Fields:
        owners = owners_of(config)
        return {
            ATTENTION: [
                Layer("indexed", indexer(config, **own)) if owner else Layer("shared", indexer(config, **own, shared=True))
                for owner in owners
            ]
        }

    return read


GLM_MOE_DSA = variant(
    DEEPSEEK_V32,
    "glm_moe_dsa",
    "GlmMoeDsaForCausalLM",
    "GLM-5",
    defaults=sizes(V=154880, d=6144, F=12288, L=78, H=64, K=64, T=202752, rms_norm_eps=1e-5)
    | {"q_lora_rank": 2048, "qk_nope_head_dim": 192, "v_head_dim": 256, "index_n_heads": 32, "n_group": 1, "topk_group": 1},
    keys={
        "index_topk": Key(2048, _some(_owners, rotary_pairs="neighbours")),
        **read_elsewhere(indexer_types=None, index_topk_pattern=None, index_topk_freq=1, index_skip_topk_offset=2),
    },
)


AXK2 = variant(
    DEEPSEEK_V32,
    "axk2",
    "AXK2ForCausalLM",
    "A.X K2",
    without="num_nextn_predict_layers topk_method scoring_func",
    defaults=sizes(V=163840, d=2048, F=5120, L=48, H=32, K=32, T=131072)
    | {"moe_intermediate_size": 512, "n_routed_experts": 128, "kv_lora_rank": 128, "q_lora_rank": 384, "qk_rope_head_dim": 32}
    | {"v_head_dim": 64, "qk_nope_head_dim": 64, "n_group": None, "topk_group": None, "index_n_heads": 16},
    keys={
        **read_elsewhere(first_k_dense_replace=1, moe_layer_freq=1),
        "gated_norm_rank": Key(16, size("norm_gate_rank")),
        "mlp_layer_types": Key(None, lambda key, config: _plain_norms(experts_listed(SIGMOID_EXPERTS, dense_between)(key, config))),
    },
    fixed={"attention_gate": "latent", "unexecuted": ("its norms and its attention have gates of their own",)},
)


def _plain_norms(fields: Fields) -> Fields:
    """The norm before a dense MLP has no gate."""
    layers: Any = fields[MLP]
    return {MLP: [Layer(layer.kind, layer.fields if layer.kind == "moe" else {"mlp_norm_gated": False}) for layer in layers]}


def _owners_of_hunyuan(config: Config) -> list[bool]:
    given = config["indexer_types"]
    usual = ["full" if i == 0 or (i - 1) % 4 == 0 else "shared" for i in range(config.layers)]
    return _full(usual if given is None else given, config)


def _several_streams(key: str, config: Config) -> Fields:
    if config.size(key) < 2:
        raise config.refuse(key, f"{config.size(key)} is no number of several streams")
    return {"streams": {"n": config.size(key), "mixed": False}}


HY_V4 = variant(
    DEEPSEEK_V32,
    "hy_v4",
    "HYV4ForCausalLM",
    "Hunyuan V4",
    without="num_nextn_predict_layers topk_method scoring_func num_key_value_heads first_k_dense_replace",
    defaults=sizes(V=120832, d=2816, F=6912, L=34, H=32, T=262144, rms_norm_eps=1e-5)
    | {"moe_intermediate_size": 768, "qk_nope_head_dim": 192, "v_head_dim": 256, "index_n_heads": 16, "n_group": 1, "topk_group": 1}
    | {"routed_scaling_factor": 2.827},
    keys={
        "mlp_layer_types": Key(None, experts_listed(SIGMOID_EXPERTS, first_dense)),
        **read_elsewhere(indexer_types=None),
        "index_topk": Key(2048, _some(_owners_of_hunyuan, rotary_last=True)),
        "hc_mult": Key(4, _several_streams),
        "swiglu_limit": Key(10.0, nothing),
    },
    fixed={
        "rotary_pairs": "halves",
        "attention_sinks": True,
        "attention_gate": "channel",
        "unexecuted": ("its residual streams are several, and its MLPs clamp both projections",),
    },
    harmless=because("how streams are weighed and sinks begin: no sizes", "hc_magnitude hc_eps learnable_sink_init")
    | because("every head has its own keys and values", "num_key_value_heads"),
)


def _dots_kinds(config: Config) -> list[str]:
    """Indexed or sliding; a file that has layers without an indexer is refused."""
    if config["use_dsa"] is False:
        raise config.refuse("use_dsa", "is not understood: layers without an indexer")
    layers, given = config.layers, config["layer_types"]
    if given is None:
        given = [
            "indexed_attention" if not config.flag("use_sliding_window") or i < 2 or i % 4 == 1 else "sliding_attention"
            for i in range(layers)
        ]
    words = {"indexed_attention": "indexed", "sliding_attention": "sliding"}
    if config.data.get("per_layer_config") is None or config["use_dsa"]:
        words["full_attention"] = "indexed"
    if not isinstance(given, list) or len(given) != layers or any(one not in words for one in given):
        raise config.refuse("layer_types", f"must be a list of {layers} kinds, not {written(given)}", f"known: {', '.join(words)}")
    return [words[one] for one in given]


_SLIDING = (
    "num_attention_heads",
    "num_key_value_heads",
    "q_lora_rank",
    "kv_lora_rank",
    "head_dim",
    "qk_nope_head_dim",
    "qk_rope_head_dim",
    "v_head_dim",
)


def _dots_sliding(config: Config, kinds: list[str]) -> dict[str, int]:
    """Sizes of the sliding layers: as `swa_` keys, or as the library writes them, those of each layer that differ from the others'."""
    given = config.data.get("per_layer_config")
    if given is None:
        found = {name: config.size(f"swa_{name}") for name in _SLIDING if name != "qk_rope_head_dim"}
        rest = found["head_dim"] - found["qk_nope_head_dim"]
        return found | {"qk_rope_head_dim": rest if config["swa_qk_rope_head_dim"] is None else config.size("swa_qk_rope_head_dim")}
    layers = {str(i) for i, kind in enumerate(kinds) if kind == "sliding"}
    if (
        not isinstance(given, dict)
        or {str(layer).lstrip("0") or "0" for layer in given} != layers
        or any(one != next(iter(given.values())) for one in given.values())
    ):
        raise config.refuse("per_layer_config", f"{written(given)} is not understood: the sizes of all sliding layers, alike")
    own = next(iter(given.values()))
    if not isinstance(own, dict) or own.keys() - set(_SLIDING) or any(type(one) is not int or one < 1 for one in own.values()):
        raise config.refuse("per_layer_config", f"{written(own)} must be whole numbers above zero of {', '.join(_SLIDING)}")
    usual = {name: config.size(name) for name in _SLIDING if name not in ("head_dim", "num_key_value_heads")}
    head = config.data.get("head_dim", 256)
    return {**usual, "head_dim": head, "num_key_value_heads": usual["num_attention_heads"], **own}


def _dots_layers(key: str, config: Config) -> Fields:
    kinds = _dots_kinds(config)
    columns: dict[str, Fields] = {"indexed": indexer(config) if "indexed" in kinds else {}, "sliding": {}}
    if "sliding" in kinds:
        own = _dots_sliding(config, kinds)
        nope, turned, whole = own["qk_nope_head_dim"], own["qk_rope_head_dim"], own["head_dim"]
        if turned < 1 or nope + turned != whole:
            raise config.refuse("swa_head_dim", f"{whole} is not the sum of {nope} channels and {turned} that turn")
        window = config["sliding_window_size"] if config["sliding_window"] is None else config.size("sliding_window")
        if type(window) is not int or window < 1:
            raise config.refuse("sliding_window_size", f"must be a whole number above zero, not {written(window)}")
        ranks: Fields = {name: own[name] for name in ("q_lora_rank", "kv_lora_rank")}
        widths: Fields = {"d_head": whole, "d_rotary": turned, "d_head_value": own["v_head_dim"]}
        columns["sliding"] = {"n_head": own["num_attention_heads"], "sliding_window": window, **ranks, **widths}
    return {ATTENTION: [Layer(kind, columns[kind]) for kind in kinds]}


def _dots_sparse(config: Config) -> Callable[[int], str]:
    first, step = config.size("first_k_dense_replace", least=0), config["moe_layer_freq"]
    if isinstance(step, list):
        if len(step) < config.layers:
            raise config.refuse("moe_layer_freq", f"names {len(step)} of {config.layers} layers")
        return lambda i: "moe" if i >= first and step[i] else "dense"
    period = config.size("moe_layer_freq")
    return lambda i: "moe" if i >= first and not i % period else "dense"


DOTS3 = variant(
    DEEPSEEK_V32,
    "dots3_note_text",
    "Dots3NoteForCausalLM Dots3NoteTextForCausalLM",
    "dots3",
    without="num_nextn_predict_layers topk_method scoring_func index_topk",
    defaults=sizes(V=152064, d=5120, F=13824, L=46, T=524288, rms_norm_eps=1e-5)
    | {"q_lora_rank": 1024, "moe_intermediate_size": 1536, "n_group": 1, "topk_group": 1, "routed_scaling_factor": 1.0},
    keys={
        **read_elsewhere(first_k_dense_replace=1, moe_layer_freq=1, index_topk=2048, shared_experts_intermediate_size=1536),
        **read_elsewhere(swa_num_attention_heads=64, swa_num_key_value_heads=64, swa_q_lora_rank=1024, swa_kv_lora_rank=1024),
        **read_elsewhere(swa_head_dim=256, swa_qk_nope_head_dim=192, swa_v_head_dim=128, swa_qk_rope_head_dim=None),
        **read_elsewhere(sliding_window=None, sliding_window_size=512, use_dsa=None, use_sliding_window=True, swa_rope_theta=50000.0),
        **read_elsewhere(rope_parameters=None, rope_scaling=None, rope_theta=80000000.0),
        "layer_types": Key(None, _dots_layers),
        "mlp_layer_types": Key(
            None,
            experts_listed(
                mixture(
                    "n_routed_experts",
                    normalised="norm_topk_prob",
                    groups=True,
                    router_score="sigmoid",
                    width="moe_intermediate_size",
                    shared=lambda config: config.size("shared_experts_intermediate_size") * config.size("n_shared_experts"),
                    scale="routed_scaling_factor",
                ),
                _dots_sparse,
            ),
        ),
    },
    fixed={
        "attention_gate": "head_sigmoid",
        "latent_rotary_norm": True,
        "unexecuted": ("its rotated keys are normalised, and its kinds of layers have angles of their own",),
    },
    aliases={"moe_shared_expert_intermediate_size": "shared_experts_intermediate_size"},
    harmless={"per_layer_config": "read with the kinds of layers"},
)

FAMILIES = (DEEPSEEK_V32, GLM_MOE_DSA, AXK2, HY_V4, DOTS3)
