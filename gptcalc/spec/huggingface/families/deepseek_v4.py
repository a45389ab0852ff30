"""DeepSeek V4: compressed attention, several residual streams, experts in every layer."""

from __future__ import annotations

from gptcalc.spec.huggingface.families.deepseek import further_tokens
from gptcalc.spec.huggingface.families.llama import UNBIASED
from gptcalc.spec.huggingface.family import ABSENT, Config, Fields, Key, because, sizes, variant, written
from gptcalc.spec.huggingface.handlers import only, read_elsewhere, size, unread
from gptcalc.spec.huggingface.layers import ATTENTION, MLP, Layer
from gptcalc.spec.huggingface.mixture import mixture
from gptcalc.spec.huggingface.rotary import scaling_of

CSA, HCA = "compressed_sparse_attention", "heavily_compressed_attention"
KINDS = {"sliding_attention": "window", CSA: "sparse", HCA: "heavy"}
RATIOS = {0: "sliding_attention", 4: CSA, 128: HCA}


def _kinds(config: Config) -> list[str]:
    layers, given, ratios = config.layers, config["layer_types"], config["compress_ratios"]
    if given is None and ratios is not None:
        if not isinstance(ratios, list) or any(type(one) is not int or one not in RATIOS for one in ratios):
            raise config.refuse("compress_ratios", f"{written(ratios)} must be a list of 0, 4 and 128, one for each layer")
        given = [RATIOS[one] for one in ratios]
    if given is None:
        given = [HCA] * min(layers, 2) + [CSA if i % 2 else HCA for i in range(max(layers - 2, 0))]
    if not isinstance(given, list) or len(given) < layers or any(one not in KINDS for one in given):
        raise config.refuse("layer_types", f"must be a list of {layers} kinds, not {written(given)}", f"known: {', '.join(KINDS)}")
    return given[:layers]


def _rate(config: Config, kind: str) -> int:
    older = config.data.get("compress_rate_csa" if kind == CSA else "compress_rate_hca")
    rates = config["compress_rates"] or {CSA: 4, HCA: 128}
    rate = older if older is not None else rates.get(kind) if isinstance(rates, dict) else None
    if type(rate) is not int or rate < 2:
        raise config.refuse("compress_rates", f"must have whole numbers above one, not {written(rate)}")
    return rate


def _layers(key: str, config: Config) -> Fields:
    columns: dict[str, Fields] = {}
    latent: Fields = {"n_group": config.size("o_groups"), "d_latent": config.size("o_lora_rank")}
    if config.size("num_attention_heads") % config.size("o_groups"):
        raise config.refuse("o_groups", f"{config.size('o_groups')} does not divide num_attention_heads")
    for kind in dict.fromkeys(_kinds(config)):
        compressed = latent if kind == "sliding_attention" else latent | {"rate": _rate(config, kind)}
        columns[kind] = {"compressed": compressed, **_angles(config, main=kind == "sliding_attention")}
        if kind == CSA:
            names = {"n_head": "index_n_heads", "d_head": "index_head_dim", "top_k": "index_topk"}
            columns[kind]["indexer"] = {field: config.size(name) for field, name in names.items()}
            if config.size("index_head_dim") < _rotated(config):
                raise config.refuse("index_head_dim", f"is below the {_rotated(config)} channels that turn")
    return {ATTENTION: [Layer(KINDS[kind], columns[kind]) for kind in _kinds(config)]}


def _rotated(config: Config) -> int:
    width, share = config["qk_rope_head_dim"], config["partial_rotary_factor"]
    if share is not None:
        return int(config.size("head_dim") * config.number("partial_rotary_factor", share))
    return config.size("head_dim") // 8 if width in (None, ABSENT) else config.size("qk_rope_head_dim")


def _angles(config: Config, *, main: bool) -> Fields:
    """Layers with entries have a base of their own, which may be stretched."""
    given = config["rope_scaling"] or config["rope_parameters"] or {}
    if not isinstance(given, dict):
        raise config.refuse("rope_parameters", f"must be a mapping, not {written(given)}")
    name = "main" if main else "compress"
    nested = "main" in given and "compress" in given
    inside = dict(given[name]) if nested else {} if main else dict(given)
    usual = config["rope_theta"] if main else config["compress_rope_theta"]
    theta = config.number("rope_theta", inside.pop("rope_theta", usual) if nested else usual)
    inside = {key: value for key, value in inside.items() if key not in ("partial_rotary_factor", "rope_theta")}
    scaling = scaling_of("rope_parameters", inside, config)
    if scaling and scaling["rope_type"] == "yarn":
        scaling.setdefault("attention_factor", 1.0)
    return {"d_rotary": _rotated(config), "rope_theta": theta, **({"rope_scaling": scaling} if scaling else {})}


def _mlps(key: str, config: Config) -> Fields:
    """The experts of the first layers are those of a table of tokens."""
    layers, given = config.layers, config[key]
    if given is None:
        first = config.size("num_hash_layers", least=0)
        given = ["hash_moe"] * min(layers, first) + ["moe"] * max(0, layers - first)
    if not isinstance(given, list) or len(given) < layers or any(one not in ("hash_moe", "moe") for one in given):
        raise config.refuse(key, f"must be a list of {layers} words, hash_moe or moe, not {written(given)}")
    experts = mixture(
        "n_routed_experts",
        width="moe_intermediate_size",
        shared=lambda config: config.size("moe_intermediate_size"),
        scale="routed_scaling_factor",
        router_score="sqrt_softplus",
    )
    return {MLP: [Layer("moe", experts(config))] * layers}


def _streams(key: str, config: Config) -> Fields:
    if config.size(key) < 2:
        raise config.refuse(key, f"{config.size(key)} is no number of several streams")
    return {"streams": {"n": config.size(key)}}


DEEPSEEK_V4 = variant(
    UNBIASED,
    "deepseek_v4",
    "DeepseekV4ForCausalLM",
    "DeepSeek V4",
    without="intermediate_size num_key_value_heads attention_bias",
    defaults=sizes(V=129280, d=4096, L=43, H=64, T=1048576),
    keys={
        "head_dim": Key(512, size("d_head")),
        "q_lora_rank": Key(1024, size("q_lora_rank")),
        "sliding_window": Key(128, size("sliding_window")),
        "mlp_bias": Key(False, only(False, why="the shared expert alone would have biases")),
        **read_elsewhere(num_experts_per_tok=6, n_routed_experts=256, routed_scaling_factor=1.5, moe_intermediate_size=2048),
        **read_elsewhere(compress_ratios=None, compress_rates=None, num_hash_layers=3, o_groups=8, o_lora_rank=1024),
        **read_elsewhere(index_n_heads=64, index_head_dim=128, index_topk=512, compress_rope_theta=160000.0),
        **read_elsewhere(rope_parameters=None, rope_scaling=None, rope_theta=10000.0, partial_rotary_factor=None, qk_rope_head_dim=ABSENT),
        "scoring_func": Key("sqrtsoftplus", only("sqrtsoftplus", why="scores are roots of softplus")),
        "hidden_act": Key("silu", only("silu", why="the clamped product is of SiLU")),
        "layer_types": Key(None, _layers),
        "mlp_layer_types": Key(None, _mlps),
        "hc_mult": Key(4, _streams),
        "num_nextn_predict_layers": Key(1, further_tokens),
        "topk_method": unread("the model's code corrects scores", "noaux_tc"),
    },
    fixed={
        "n_kv_head": 1,
        "attention_bias": False,
        "attention_output_bias": False,
        "rotary_pairs": "neighbours",
        "attention_sinks": True,
        "activation": "silu",
        "unexecuted": ("its gated MLPs clamp both projections, and its first layers' experts are those of a table of tokens",),
    },
    aliases={"num_local_experts": "n_routed_experts", "intermediate_size": "moe_intermediate_size"},
    harmless=because("how the streams are mixed: no weights", "hc_sinkhorn_iters hc_eps")
    | because("where both projections of a gated MLP are clamped", "swiglu_limit")
    | because("there is one key-value head", "num_key_value_heads")
    | because("there is one shared expert", "n_shared_experts")
    | because("the model's code always divides by the sum", "norm_topk_prob")
    | because("the attention's code has no biases", "attention_bias")
    | because("rates of entries, read with the kinds of layers", "compress_rate_csa compress_rate_hca")
    | because("how the file stores its experts", "expert_dtype"),
)

FAMILIES = (DEEPSEEK_V4,)
