"""What the value of a key becomes, for the keys that many model types share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gptcalc.spec.huggingface.family import ABSENT, Config, Fields, Handler, Key, Unread, because, written
from gptcalc.spec.reading import shown

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    **dict.fromkeys(("gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_accurate"), "gelu_tanh"),
    "quick_gelu": "gelu_sigmoid",
    "relu": "relu",
    "relu2": "relu_squared",
    "silu": "silu",
    "swish": "silu",
}


def size(*fields: str) -> Handler:
    return lambda key, config: dict.fromkeys(fields, config.size(key))


def optional_size(name: str) -> Handler:
    return lambda key, config: {} if config[key] is None else {name: config.size(key)}


def flag(*fields: str) -> Handler:
    return lambda key, config: dict.fromkeys(fields, config.flag(key))


def epsilon(key: str, config: Config) -> Fields:
    return {"norm_epsilon": config.number(key, config[key])}


def factor(name: str) -> Handler:
    """A multiplier: no weights. One changes nothing, and is left out."""

    def read(key: str, config: Config) -> Fields:
        value = config.number(key, config[key])
        return {} if value == 1 else {name: value}

    return read


def optional_number(name: str) -> Handler:
    """A number that null leaves out."""
    return lambda key, config: {} if config[key] is None else {name: config.number(key, config[key])}


def nothing(key: str, config: Config) -> Fields:
    """For keys that another key's handler reads, or none for these values of the others: of the type that the class's default is of."""
    default, value = config.family.keys[key].default, config[key]
    for kind, name in ((bool, "true or false"), (int | float, "a number"), (str, "text"), (dict, "a mapping")):
        if isinstance(default, kind):
            if value is not None and (not isinstance(value, kind) or isinstance(value, bool) != isinstance(default, bool)):
                raise config.refuse(key, f"must be {name}, not {written(value)}")
            break
    return {}


def read_elsewhere(**defaults: object) -> dict[str, Key]:
    """Keys that another key's handler reads, with the class's defaults."""
    return {key: Key(default, nothing) for key, default in defaults.items()}


def activation(known: Mapping[str, str] = ACTIVATIONS) -> Handler:
    def read(key: str, config: Config) -> Fields:
        value = config[key]
        if not isinstance(value, str) or value not in known:
            raise config.refuse(key, f"{written(value)} is an activation that gptcalc does not know", f"known: {', '.join(known)}")
        return {"activation": known[value]}

    return read


OF_ANY_CONFIG = because(
    "says what the config is of",
    """
    model_type return_dict architectures _name_or_path dtype id2label label2id problem_type output_hidden_states output_attentions
    chunk_size_feed_forward is_encoder_decoder transformers_version torch_dtype""",
)


def config_inside(key: str, config: Config, known: str) -> Mapping[str, Any]:
    """A config within a config. `known` are the keys that the code reads or that must agree with what it builds; others change nothing."""
    given = config[key] or {}
    if not isinstance(given, dict):
        raise config.refuse(key, f"must be a mapping, not {written(given)}")
    for name in given:
        if name not in known.split() and name not in OF_ANY_CONFIG:
            config.unread[f"{key}.{shown(name)}"] = ""
    return given


def only(*values: object, why: str) -> Handler:
    """A key that is understood for these values alone; leaving it out is fine."""

    def read(key: str, config: Config) -> Fields:
        value = config[key]
        if value is not ABSENT and not any(type(value) is type(known) and value == known for known in values):
            raise config.refuse(key, f"{written(value)} is not understood: {why}")
        return {}

    return read


def agrees(built: Callable[[Config], object], what: str) -> Handler:
    """A key that says again what others say: its value must be what the class builds anyway."""

    def read(key: str, config: Config) -> Fields:
        value = config[key]
        if value is not ABSENT and value is not None and (isinstance(value, bool) or value != built(config)):
            raise config.refuse(key, f"{written(value)} contradicts {what}, {written(built(config))}")
        return {}

    return read


def unread(why: str = "the model's code does not read it", *values: object) -> Key:
    """A key that the class lacks and files carry all the same, saying what is built anyway as these values or as null."""
    return Key(ABSENT, Unread(only(None, *values, why=why)))


def read_but(why: str, *values: object) -> Key:
    """A key that the class does not declare and its code reads where a file gives it, understood as these values or as null."""
    return Key(ABSENT, only(None, *values, why=why))


def kv_heads(key: str, config: Config) -> Fields:
    """Null, where the class takes that, is as many as the heads."""
    if config[key] is None or config.size(key) == config.size("num_attention_heads"):
        return {}  # multi-head attention follows from n_head
    return {"n_kv_head": config.size(key)}


def kv_heads_needed(key: str, config: Config) -> Fields:
    """For classes that fail on null."""
    config.size(key)
    return kv_heads(key, config)


def head_width(key: str, config: Config) -> Fields:
    """As given; where left out or null, the width over the heads, rounded down as `//` does."""
    d_head = config.d_head
    if d_head < 1:
        raise config.refuse("num_attention_heads", f"{config.size('num_attention_heads')} is more than hidden_size: a head has no channel")
    return {} if d_head * config.size("num_attention_heads") == config.size("hidden_size") else {"d_head": d_head}


def head_width_needed(key: str, config: Config) -> Fields:
    """For classes that fail on null, or have no such key and take one that is given."""
    if config[key] is not ABSENT:
        config.size(key)
    return head_width(key, config)


HEAD_IF_GIVEN = Key(ABSENT, head_width_needed)
"""For classes that have no `head_dim` of their own and take one that a file gives."""


def heads(K: int, Q: int | None = None) -> dict[str, Key]:
    """Key-value heads that may not be null, and the width of a head: of the class, or as a file gives it to a class that has none."""
    width = HEAD_IF_GIVEN if Q is None else Key(Q, head_width_needed)
    return {"num_key_value_heads": Key(K, kv_heads_needed), "head_dim": width}


_WIDTH_OVER_HEADS = agrees(lambda config: config.size("hidden_size") // config.size("num_attention_heads"), "the width over the heads")

COMPUTED_HEAD_WIDTH = Key(ABSENT, Unread(_WIDTH_OVER_HEADS))
"""For config classes that write the width over the heads in the place of one that a file gives."""


def unread_head_width() -> Key:
    """Code that does not read it for its projections reads it for its angles, where it has some."""
    return Key(ABSENT, Unread(_WIDTH_OVER_HEADS, lambda family: family.fixed.get("position") == "rotary"))


def unread_kv_heads() -> Key:
    return Key(ABSENT, Unread(agrees(lambda config: config["num_attention_heads"], "num_attention_heads")))


def divides(key: str, config: Config) -> Fields:
    """Some config classes refuse a width that its heads do not divide, even with a `head_dim` of its own."""
    d_model, n_head = config.size("hidden_size"), config.size(key)
    if d_model % n_head:
        raise config.refuse("hidden_size", f"{d_model} is not a multiple of {key} {n_head}")
    return {"n_head": n_head}


def norm_of_heads(key: str, config: Config) -> Fields:
    """A norm for each head, with a weight for each of its channels in each head."""
    return {"qk_norm": "heads"} if config.flag(key) else {}


def norm_of_each_head(key: str, config: Config) -> Fields:
    """A norm that all heads share, with biases."""
    return {"qk_norm": "head", "qk_norm_bias": True} if config.flag(key) else {}


HANDLERS: Mapping[str, Handler] = {
    "vocab_size": size("vocab_size"),
    "hidden_size": size("d_model"),
    "intermediate_size": size("d_ff"),
    "num_hidden_layers": size("n_layer"),
    "num_attention_heads": size("n_head"),
    "num_key_value_heads": kv_heads,
    "head_dim": head_width,
    "hidden_act": activation(),
    "max_position_embeddings": size("n_ctx"),
    "rms_norm_eps": epsilon,
    "layer_norm_eps": epsilon,
    "tie_word_embeddings": flag("tied"),
    "attention_bias": flag("attention_bias", "attention_output_bias"),
    "mlp_bias": flag("mlp_bias"),
    "embedding_multiplier": factor("embedding_scale"),
    "residual_multiplier": factor("residual_scale"),
    "attention_multiplier": optional_number("attention_scale"),
    "final_logit_softcapping": optional_number("logit_softcap"),
    "attn_logit_softcapping": optional_number("attention_softcap"),
    "clip_qkv": optional_number("qkv_clip"),
}
"""By the name that most classes give the key."""


def standard(**defaults: object) -> dict[str, Key]:
    """Keys with their usual handlers and the class's own defaults."""
    return {key: Key(default, HANDLERS[key]) for key, default in defaults.items()}
