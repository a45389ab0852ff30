"""Hugging Face config.json files: exact, or refused with the name of the key that is not understood.

One `Family` per model type says, key by key, what transformers' own class does with it (read in its configuration and modeling
code): the class's default, and the spec fields that the value becomes. Every other key of a file must be known to change nothing
that gptcalc computes, with the reason, or the file is refused. A new model type is a new row of `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.spec.reading import quoted, shown

LARGEST_SIZE = 10**12
"""As `ModelSpec.Count`: wider than this is a slip of the keyboard."""

# --- What a family is made of ---------------------------------------------------------------------------------------------------

Fields = dict[str, object]


class Config:
    """A config with its class's defaults filled in, and the words of an error that names the file and the key."""

    def __init__(self, data: Mapping[str, Any], family: Family, where: str) -> None:
        self.data, self.family, self.where = data, family, where

    def __getitem__(self, key: str) -> Any:
        return self.data[key] if key in self.data else self.family.keys[key][0]

    def refuse(self, key: str, why: str, hint: str | None = None) -> GptcalcError:
        return GptcalcError(f"{self.where}: {shown(key)} {why}", hint=hint)

    def size(self, key: str) -> int:
        value = self[key]
        if type(value) is not int or not 1 <= value <= LARGEST_SIZE:
            raise self.refuse(key, f"must be a whole number above zero, not {_value(value)}")
        return value

    def flag(self, key: str) -> bool:
        value = self[key]
        if not isinstance(value, bool):
            raise self.refuse(key, f"must be true or false, not {_value(value)}")
        return value

    def number(self, key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e30:
            raise self.refuse(key, f"must be a number above zero, not {_value(value)}")
        return float(value)


Handler = Callable[[str, Config], Fields]
"""What a key becomes. It is called whether or not the file gives the key: `config[key]` is then the class's default."""


@dataclass(frozen=True)
class Family:
    """One model type: the class's keys with their defaults, and what the class builds whatever its config says."""

    classes: tuple[str, ...]
    keys: Mapping[str, tuple[object, Handler]]
    fixed: Fields
    aliases: Mapping[str, str] = field(default_factory=dict)
    harmless: Mapping[str, str] = field(default_factory=dict)  # key: why it changes nothing, beside HARMLESS


ABSENT = object()
"""The default of a key that the class does not read, where a value could still contradict what it builds."""


# --- Handlers: a key's value becomes spec fields ----------------------------------------------------------------------------------


def size(*fields: str) -> Handler:
    return lambda key, config: dict.fromkeys(fields, config.size(key))


def optional_size(name: str) -> Handler:
    return lambda key, config: {} if config[key] is None else {name: config.size(key)}


def flag(*fields: str) -> Handler:
    return lambda key, config: dict.fromkeys(fields, config.flag(key))


def epsilon(key: str, config: Config) -> Fields:
    return {"norm_epsilon": config.number(key, config[key])}


def activation(known: Mapping[str, str]) -> Handler:
    def read(key: str, config: Config) -> Fields:
        value = config[key]
        if not isinstance(value, str) or value not in known:
            hint = f"known: {', '.join(known)}"
            raise config.refuse(key, f"{_value(value)} is an activation that gptcalc does not know", hint)
        return {"activation": known[value]}

    return read


def only(*values: object, why: str) -> Handler:
    """A key that is understood for these values alone; leaving it out is fine."""

    def read(key: str, config: Config) -> Fields:
        value = config[key]
        if value is not ABSENT and not any(type(value) is type(known) and value == known for known in values):
            raise config.refuse(key, f"{_value(value)} is not understood: {why}")
        return {}

    return read


def agrees(built: Callable[[Config], object], what: str) -> Handler:
    """A key that the class does not read: its value must be what the class builds anyway."""

    def read(key: str, config: Config) -> Fields:
        value = config[key]
        if value is not ABSENT and value is not None and (isinstance(value, bool) or value != built(config)):
            raise config.refuse(
                key, f"{_value(value)} contradicts {what}, {_value(built(config))}: the model's code does not read {shown(key)}"
            )
        return {}

    return read


def kv_heads(key: str, config: Config) -> Fields:
    if config[key] is None or config.size(key) == config.size("num_attention_heads"):
        return {}  # multi-head attention follows from n_head
    return {"n_kv_head": config.size(key)}


def head_width(key: str, config: Config) -> Fields:
    """Llama's and Mistral's `head_dim`: as given, or hidden_size over the heads, rounded down as `//` does."""
    d_model, n_head = config.size("hidden_size"), config.size("num_attention_heads")
    d_head = d_model // n_head if config[key] is None else config.size(key)
    return {} if d_head * n_head == d_model else {"d_head": d_head}


def divides(key: str, config: Config) -> Fields:
    """Llama's config class refuses a width that its heads do not divide, even with a `head_dim` of its own."""
    d_model, n_head = config.size("hidden_size"), config.size(key)
    if d_model % n_head:
        raise config.refuse("hidden_size", f"{d_model} is not a multiple of {key} {n_head}")
    return {"n_head": n_head}


def same_layers(key: str, config: Config) -> Fields:
    """Mistral's code makes every layer alike, windowed or not: a list that says so changes nothing, another is a different model."""
    value = config[key]
    expected = "full_attention" if config["sliding_window"] is None else "sliding_attention"
    if value is not ABSENT and value is not None and value != [expected] * config.size("num_hidden_layers"):
        raise config.refuse(key, f"differs from what Mistral's code builds, {expected} in every layer")
    return {}


# --- Rotary positions -------------------------------------------------------------------------------------------------------------

# Per kind of scaling: the keys it cannot do without, and those that it also reads.
ROPE_KINDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "default": ((), ()),
    "linear": (("factor",), ()),
    "dynamic": (("factor",), ()),
    "yarn": (("factor",), ("attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate")),
    "longrope": (("short_factor", "long_factor"), ("factor", "attention_factor")),
    "llama3": (("factor", "low_freq_factor", "high_freq_factor"), ()),
}
NAMES_THE_CONTEXT = ("yarn", "longrope", "llama3")


def rope(theta_key: str, share_key: str | None = None) -> Handler:
    """The handler of `rope_parameters`, which today's transformers writes; `rope_scaling` and `theta_key` are the older way to say it."""

    def read(key: str, config: Config) -> Fields:
        # The order of transformers: rope_scaling before rope_parameters, and what stands inside before what stands beside.
        given = config["rope_scaling"] or config[key] or {}
        if not isinstance(given, dict):
            raise config.refuse(key, f"must be a mapping, not {_value(given)}")
        if config["rope_scaling"] and config[key] and config["rope_scaling"] != config[key]:
            raise config.refuse("rope_scaling", f"and {key} say different things")
        inside = dict(given)
        theta = config.number(theta_key, inside.pop("rope_theta", config[theta_key]))
        share = inside.pop("partial_rotary_factor", config[share_key] if share_key else 1)
        rotated = _rotated(share, config, share_key)
        fields: Fields = {"rope_theta": theta, **({} if rotated == _head(config) else {"d_rotary": rotated})}
        scaling = _scaling(key, inside, config)
        if scaling and scaling["rope_type"] == "dynamic" and rotated < 4:  # the base is raised to R / (R - 2)
            raise config.refuse(key, f"of type 'dynamic' needs 4 rotated channels or more, not {rotated}")
        return {**fields, "rope_scaling": scaling} if scaling else fields

    return read


def _head(config: Config) -> int:
    given = config["head_dim"]
    return (
        config.size("head_dim")
        if given is not None and given is not ABSENT
        else config.size("hidden_size") // config.size("num_attention_heads")
    )


def _rotated(share: Any, config: Config, share_key: str | None) -> int:
    """How many channels of a head are rotated."""
    fraction = config.number(share_key or "partial_rotary_factor", share)
    if share_key is None and fraction != 1:
        raise config.refuse("partial_rotary_factor", f"{_value(share)} is not understood: the model's code rotates whole heads")
    rotated = int(_head(config) * fraction)
    if rotated < 1:
        raise config.refuse(share_key or "hidden_size", f"leaves no channel of a head of {_head(config)} to rotate")
    return rotated


def _scaling(key: str, inside: dict[str, Any], config: Config) -> Fields | None:
    """The scaling in full, with the length that transformers fills in; None where the angles are the plain ones."""
    kind = inside.get("rope_type", inside.get("type", "default"))
    if not isinstance(kind, str) or kind not in ROPE_KINDS or inside.get("type", kind) != kind:
        raise config.refuse(key, f"of type {_value(kind)} is not understood", f"known: {', '.join(ROPE_KINDS)}")
    needed, read = ROPE_KINDS[kind]
    known = {*needed, *read, "rope_type", "type", "original_max_position_embeddings", "finetuned"}
    for name in inside:
        if name not in known:
            raise config.refuse(key, f"has the key {shown(name)!r}, which is not understood for type '{kind}'", did_you_mean(name, known))
    for name in needed:
        if inside.get(name) is None:
            raise config.refuse(key, f"of type '{kind}' needs {name!r}")
    if kind == "default":
        return None
    scaling: Fields = {name: inside[name] for name in (*needed, *read) if inside.get(name) is not None}
    if kind in NAMES_THE_CONTEXT:
        original = inside.get("original_max_position_embeddings")
        scaling["original_max_position_embeddings"] = config.size("max_position_embeddings") if original is None else original
    for name, value in scaling.items():
        _check_rope_number(key, name, value, config)
    return {"rope_type": kind, **scaling}


def _check_rope_number(key: str, name: str, value: Any, config: Config) -> None:
    if name == "truncate":
        good = isinstance(value, bool)
    else:
        numbers = value if isinstance(value, list) and name in ("short_factor", "long_factor") else [value]
        good = bool(numbers) and all(isinstance(x, int | float) and not isinstance(x, bool) and 0 < x < 1e30 for x in numbers)
    if not good:
        raise config.refuse(key, f"has {name} {_value(value)}, which must be {'true or false' if name == 'truncate' else 'above zero'}")


# --- Keys that every model type may carry -------------------------------------------------------------------------------------------

HARMLESS: Mapping[str, str] = {
    "says where the file came from": """
        model_type architectures _name_or_path name_or_path transformers_version _commit_hash unsloth_version unsloth_fixed
        tokenizer_class prefix""",
    "the number format of the stored weights: gptcalc is told the precision": "torch_dtype dtype use_bfloat16",
    "what a call returns besides the logits": """
        output_hidden_states output_attentions return_dict use_return_dict use_cache tie_last_hidden_states output_past""",
    "which kernel or memory layout computes the same numbers": """
        attn_implementation _attn_implementation _attn_implementation_internal _attn_implementation_autoset _flash_attn_2_enabled
        experts_implementation _experts_implementation _experts_implementation_internal torchscript tf_legacy_loss
        chunk_size_feed_forward gradient_checkpointing""",
    "labels and heads of other tasks, which the language model does not have": """
        id2label label2id num_labels problem_type finetuning_task task_specific_params classifier_dropout""",
    "token ids": "bos_token_id eos_token_id pad_token_id sep_token_id decoder_start_token_id",
    "a default of text generation, which transformers drops too": """
        assistant_confidence_threshold assistant_lookbehind bad_words_ids begin_suppress_tokens diversity_penalty do_sample
        early_stopping encoder_no_repeat_ngram_size encoder_repetition_penalty epsilon_cutoff eta_cutoff
        exponential_decay_length_penalty forced_bos_token_id forced_eos_token_id length_penalty max_length min_length
        max_new_tokens no_repeat_ngram_size num_assistant_tokens num_assistant_tokens_schedule num_beam_groups num_beams
        num_return_sequences output_scores remove_invalid_values repetition_penalty return_dict_in_generate suppress_tokens
        target_lookbehind temperature top_k top_p typical_p""",
    "how weights are drawn before training": "initializer_range init_std",
    "says that the model is read from left to right, which all of these are": "is_decoder",
}
_HARMLESS_KEYS = frozenset(key for keys in HARMLESS.values() for key in keys.split())

COMMON: Mapping[str, tuple[object, Handler]] = {
    "is_encoder_decoder": (False, only(False, why="gptcalc knows decoders only")),
    "add_cross_attention": (False, only(False, None, why="cross-attention has weights of its own")),
    "cross_attention_hidden_size": (None, only(None, why="cross-attention has weights of its own")),
    "tie_encoder_decoder": (False, only(False, why="gptcalc knows decoders only")),
    "pruned_heads": (None, only(None, {}, [], why="layers differ in their number of heads")),
    "per_layer_config": (None, only(None, {}, why="layers differ from one another")),
    "quantization_config": (None, only(None, why="quantized weights are stored with scales; give the unquantized model's file")),
    "compression_config": (None, only(None, why="compressed weights are stored with scales; give the unquantized model's file")),
    "auto_map": (None, only(None, {}, why="the model brings code of its own")),
}

DROPOUT = "dropout: no weights, no matrix multiplication, and off in inference"


def _because(reason: str, keys: str) -> dict[str, str]:
    return dict.fromkeys(keys.split(), reason)


# --- The model types ------------------------------------------------------------------------------------------------------------------

TANH_GELUS = ("gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_accurate")
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    **dict.fromkeys(TANH_GELUS, "gelu_tanh"),
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
# The first GPT's code has a table of its own, in which "gelu" is the tanh form.
GPT1_ACTIVATIONS = {"gelu": "gelu_tanh", "relu": "relu", "silu": "silu", "swish": "silu"}

GPT_ALIASES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}
GPT_HARMLESS = {
    **_because(DROPOUT, "resid_pdrop embd_pdrop attn_pdrop"),
    **_because(
        "the pooled head of other classes",
        "summary_type summary_use_proj summary_activation summary_proj_to_labels summary_first_dropout summary_last_dropout "
        "predict_special_tokens",
    ),
}


def _gpt_d_head(config: Config) -> object:
    return config.size("n_embd") // config.size("n_head")


def _d_head(config: Config) -> object:
    return config.size("hidden_size") // config.size("num_attention_heads")


def _gpt_unread(n_ctx: bool = True) -> dict[str, tuple[object, Handler]]:
    """Keys that the GPT classes do not read, though their names say something about the shape."""
    return {
        **({"n_ctx": (ABSENT, agrees(lambda config: config["n_positions"], "n_positions"))} if n_ctx else {}),
        "head_dim": (ABSENT, agrees(_gpt_d_head, "n_embd / n_head")),
        "num_key_value_heads": (ABSENT, agrees(lambda config: config["n_head"], "n_head")),
    }


def _unread_heads() -> dict[str, tuple[object, Handler]]:
    return {
        "head_dim": (ABSENT, agrees(_d_head, "hidden_size / num_attention_heads")),
        "num_key_value_heads": (ABSENT, agrees(lambda config: config["num_attention_heads"], "num_attention_heads")),
    }


def _positions_of_opt(key: str, config: Config) -> Fields:
    """OPT's table starts with two rows that no position uses."""
    return {"n_ctx": config.size(key), "n_position": config.size(key) + 2}


def _norms_of_opt(key: str, config: Config) -> Fields:
    before = config.flag(key)
    return {"norm_placement": "pre" if before else "post", "final_norm": before and not config.flag("_remove_final_layer_norm")}


def _embedding_of_opt(key: str, config: Config) -> Fields:
    if config[key] is None or config.size(key) == config.size("hidden_size"):
        return {}
    return {"d_embedding": config.size(key)}


def _nothing(key: str, config: Config) -> Fields:
    """For keys that another key's handler reads."""
    return {}


GPT2 = Family(
    classes=("GPT2LMHeadModel",),
    aliases=GPT_ALIASES,
    keys={
        "vocab_size": (50257, size("vocab_size")),
        "n_positions": (1024, size("n_ctx")),
        "n_embd": (768, size("d_model")),
        "n_layer": (12, size("n_layer")),
        "n_head": (12, size("n_head")),
        "n_inner": (None, optional_size("d_ff")),
        "activation_function": ("gelu_new", activation(ACTIVATIONS)),
        "layer_norm_epsilon": (1e-5, epsilon),
        "tie_word_embeddings": (True, flag("tied")),
        "scale_attn_weights": (True, only(True, why="the logits change, and the forward pass here always scales")),
        "scale_attn_by_inverse_layer_idx": (False, only(False, why="the logits change, and the forward pass here scales all layers alike")),
        **_gpt_unread(),
    },
    fixed={"family": "GPT-2"},
    harmless={**GPT_HARMLESS, "reorder_and_upcast_attn": "the same scores, computed in fp32"},
)

GPT1 = Family(
    classes=("OpenAIGPTLMHeadModel",),
    aliases=GPT_ALIASES,
    keys={
        "vocab_size": (40478, size("vocab_size")),
        "n_positions": (512, size("n_ctx")),
        "n_embd": (768, size("d_model")),
        "n_layer": (12, size("n_layer")),
        "n_head": (12, size("n_head")),
        "afn": ("gelu", activation(GPT1_ACTIVATIONS)),
        "layer_norm_epsilon": (1e-5, epsilon),
        "tie_word_embeddings": (True, flag("tied")),
        "n_special": (0, only(0, why="old versions added these tokens to the vocabulary, today's do not")),
        "n_inner": (ABSENT, agrees(lambda config: 4 * config.size("n_embd"), "4 * n_embd")),
        **_gpt_unread(),
    },
    fixed={"family": "GPT", "norm_placement": "post", "final_norm": False},
    harmless=GPT_HARMLESS,
)

GPTJ = Family(
    classes=("GPTJForCausalLM",),
    aliases=GPT_ALIASES,
    keys={
        "vocab_size": (50400, size("vocab_size")),
        "n_positions": (2048, size("n_ctx")),
        "n_embd": (4096, size("d_model")),
        "n_layer": (28, size("n_layer")),
        "n_head": (16, size("n_head")),
        "rotary_dim": (64, size("d_rotary")),
        "n_inner": (None, optional_size("d_ff")),
        "activation_function": ("gelu_new", activation(ACTIVATIONS)),
        "layer_norm_epsilon": (1e-5, epsilon),
        "tie_word_embeddings": (False, flag("tied")),
        "rotary": (True, only(True, why="GPT-J's code always rotates")),
        "scale_attn_weights": (True, only(True, why="GPT-J's code always scales")),
        **_gpt_unread(),
    },
    fixed={
        "family": "GPT-J",
        "position": "rotary",
        "rotary_pairs": "neighbours",
        "parallel_residual": True,
        "shared_norm": True,
        "attention_bias": False,
        "attention_output_bias": False,
        "head_bias": True,
    },
    harmless=GPT_HARMLESS,
)

_LLAMA_KEYS: dict[str, tuple[object, Handler]] = {
    "vocab_size": (32000, size("vocab_size")),
    "hidden_size": (4096, size("d_model")),
    "intermediate_size": (11008, size("d_ff")),
    "num_hidden_layers": (32, size("n_layer")),
    "num_attention_heads": (32, divides),
    "num_key_value_heads": (None, kv_heads),
    "head_dim": (None, head_width),
    "hidden_act": ("silu", activation(ACTIVATIONS)),
    "max_position_embeddings": (2048, size("n_ctx")),
    "rms_norm_eps": (1e-6, epsilon),
    "tie_word_embeddings": (False, flag("tied")),
    "rope_parameters": (None, rope("rope_theta")),
    "rope_scaling": (None, _nothing),
    "rope_theta": (10000.0, _nothing),
    "partial_rotary_factor": (1.0, only(1, 1.0, None, why="the model's code rotates whole heads")),
}
_LLAMA_FIXED: Fields = {"position": "rotary", "norm": "rmsnorm", "norm_bias": False, "gated": True}

LLAMA = Family(
    classes=("LlamaForCausalLM", "LLaMAForCausalLM"),
    keys={
        **_LLAMA_KEYS,
        "attention_bias": (False, flag("attention_bias", "attention_output_bias")),
        "mlp_bias": (False, flag("mlp_bias")),
        "sliding_window": (ABSENT, only(None, why="Llama's code has no window")),
    },
    fixed={"family": "Llama", **_LLAMA_FIXED},
    harmless={
        **_because(DROPOUT, "attention_dropout"),
        "pretraining_tp": "splits a product into slices with the same sum",
        "max_sequence_length": "the older name of a limit that the code does not read",
    },
)

MISTRAL = Family(
    classes=("MistralForCausalLM",),
    keys={
        **_LLAMA_KEYS,
        "intermediate_size": (14336, size("d_ff")),
        "num_attention_heads": (32, size("n_head")),
        "num_key_value_heads": (8, kv_heads),
        "max_position_embeddings": (4096 * 32, size("n_ctx")),
        "sliding_window": (4096, optional_size("sliding_window")),
        "layer_types": (ABSENT, same_layers),
        "attention_bias": (ABSENT, only(False, why="Mistral's code has no biases")),
        "mlp_bias": (ABSENT, only(False, why="Mistral's code has no biases")),
    },
    fixed={"family": "Mistral", **_LLAMA_FIXED, "attention_bias": False, "attention_output_bias": False, "mlp_bias": False},
    harmless=_because(DROPOUT, "attention_dropout"),
)

OPT = Family(
    classes=("OPTForCausalLM",),
    keys={
        "vocab_size": (50272, size("vocab_size")),
        "hidden_size": (768, size("d_model")),
        "num_hidden_layers": (12, size("n_layer")),
        "num_attention_heads": (12, size("n_head")),
        "ffn_dim": (3072, size("d_ff")),
        "max_position_embeddings": (2048, _positions_of_opt),
        "do_layer_norm_before": (True, _norms_of_opt),
        "_remove_final_layer_norm": (False, _nothing),
        "word_embed_proj_dim": (None, _embedding_of_opt),
        "activation_function": ("relu", activation(ACTIVATIONS)),
        "enable_bias": (True, flag("attention_bias", "attention_output_bias", "mlp_bias")),
        "layer_norm_elementwise_affine": (True, flag("norm_weight", "norm_bias")),
        "tie_word_embeddings": (True, flag("tied")),
        **_unread_heads(),
    },
    fixed={"family": "OPT"},
    harmless=_because(DROPOUT, "dropout attention_dropout activation_dropout layerdrop"),
)

GPT_NEOX = Family(
    classes=("GPTNeoXForCausalLM",),
    keys={
        "vocab_size": (50432, size("vocab_size")),
        "hidden_size": (6144, size("d_model")),
        "num_hidden_layers": (44, size("n_layer")),
        "num_attention_heads": (64, size("n_head")),
        "intermediate_size": (24576, size("d_ff")),
        "hidden_act": ("gelu", activation(ACTIVATIONS)),
        "max_position_embeddings": (2048, size("n_ctx")),
        "layer_norm_eps": (1e-5, epsilon),
        "tie_word_embeddings": (False, flag("tied")),
        "use_parallel_residual": (True, flag("parallel_residual")),
        "attention_bias": (True, flag("attention_bias", "attention_output_bias")),
        "rope_parameters": (None, rope("rotary_emb_base", "rotary_pct")),
        "rope_scaling": (None, _nothing),
        "rotary_emb_base": (10000.0, _nothing),
        "rotary_pct": (0.25, _nothing),
        # Older versions wrote the same two numbers under these names as well.
        "rope_theta": (ABSENT, agrees(lambda config: config["rotary_emb_base"], "rotary_emb_base")),
        "partial_rotary_factor": (ABSENT, agrees(lambda config: config["rotary_pct"], "rotary_pct")),
        **_unread_heads(),
    },
    fixed={"family": "GPT-NeoX", "position": "rotary"},
    harmless=_because(DROPOUT, "attention_dropout hidden_dropout hidden_dropout_prob attention_probs_dropout_prob"),
)

FAMILIES: Mapping[str, Family] = {
    "gpt2": GPT2,
    "openai-gpt": GPT1,
    "gptj": GPTJ,
    "gpt_neox": GPT_NEOX,
    "llama": LLAMA,
    "mistral": MISTRAL,
    "opt": OPT,
}


# --- The import -------------------------------------------------------------------------------------------------------------------------


def import_config(data: Mapping[str, Any], *, where: str = "config", name: str = "") -> Fields:
    """The spec fields of a parsed config.json; what the spec derives by default is left out.

    Raises GptcalcError for a model type or a class that gptcalc does not know, and for each key it cannot account for, by name.

    >>> import_config({"model_type": "gpt2", "n_layer": 2})["n_layer"]
    2
    """
    family = _family(data, where)
    config = Config(_without_aliases(data, family, where), family, where)
    _check_class(config)
    for key in config.data:
        if key not in family.keys and key not in COMMON and key not in _HARMLESS_KEYS and key not in family.harmless:
            raise _unknown(key, config)
    fields: Fields = {"name": _name(data, config, name), "source": "Hugging Face config.json", **family.fixed}
    for key, (_, handler) in family.keys.items():
        fields |= handler(key, config)
    for key, (_, handler) in COMMON.items():
        if key in config.data:
            fields |= handler(key, config)
    return fields


def _family(data: Mapping[str, Any], where: str) -> Family:
    model_type = data.get("model_type")
    if isinstance(model_type, str) and model_type in FAMILIES:
        return FAMILIES[model_type]
    inner = data.get("text_config")
    hint = did_you_mean(str(model_type)[:60], FAMILIES, otherwise=f"known: {', '.join(FAMILIES)}")
    if isinstance(inner, dict):
        hint = f"its language model is described under text_config (model_type {_value(inner.get('model_type'))}): give that part alone"
    raise GptcalcError(f"{where}: model_type {_value(model_type)} is not one that gptcalc can import exactly", hint=hint)


def _without_aliases(data: Mapping[str, Any], family: Family, where: str) -> dict[str, Any]:
    """Under the class's own names: it also accepts a second name for some of its keys."""
    renamed: dict[str, Any] = {}
    for key, value in data.items():
        own = family.aliases.get(key, key)
        if own in renamed and renamed[own] != value:
            raise GptcalcError(f"{where}: {shown(key)} and another name of {own} give {_value(value)} and {_value(renamed[own])}")
        renamed[own] = value
    return renamed


def _check_class(config: Config) -> None:
    classes = config.data.get("architectures")
    if classes is None or classes == []:
        return
    if not isinstance(classes, list):
        raise config.refuse("architectures", f"must be a list of class names, not {_value(classes)}")
    for name in classes:
        if name not in config.family.classes:
            raise config.refuse(
                "architectures", f"names {_value(name)}, which has other weights than the language model {config.family.classes[0]}"
            )


def _unknown(key: str, config: Config) -> GptcalcError:
    known = [*config.family.keys, *config.family.aliases]
    hint = did_you_mean(key, known, otherwise="leave it out if it changes neither the weights nor the computation")
    return config.refuse(key, f"is a key that gptcalc does not understand for model_type '{config.data['model_type']}'", hint)


def _name(data: Mapping[str, Any], config: Config, fallback: str) -> str:
    given = data.get("_name_or_path") or data.get("name_or_path") or ""
    if not isinstance(given, str):
        raise config.refuse("_name_or_path", f"must be text, not {_value(given)}")
    return shown(given or fallback or str(data["model_type"]))


def _value(value: object) -> str:
    """A value of a file, as JSON writes it."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return quoted(value)
