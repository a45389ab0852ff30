"""Model types built like GPT-2: LayerNorm with biases, MLPs without a gate; learned, rotary or no positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gptcalc.spec.huggingface.family import ABSENT, Config, Family, Fields, Key, because, variant, written
from gptcalc.spec.huggingface.handlers import (
    activation,
    agrees,
    epsilon,
    flag,
    nothing,
    only,
    optional_size,
    size,
    standard,
    unread,
    unread_head_width,
    unread_kv_heads,
)
from gptcalc.spec.huggingface.layers import ATTENTION, Layer
from gptcalc.spec.huggingface.rotary import rotary_keys

# The first GPT's code has a table of its own, in which "gelu" is the tanh form.
GPT1_ACTIVATIONS = {"gelu": "gelu_tanh", "relu": "relu", "silu": "silu", "swish": "silu"}

GPT_ALIASES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}
SUMMARY: Mapping[str, str] = because(
    "the pooled head of other classes",
    """
        summary_type summary_use_proj summary_activation summary_proj_to_labels summary_first_dropout
        summary_last_dropout predict_special_tokens""",
)
UNREAD_CONTEXT = Key(ABSENT, agrees(lambda config: config["n_positions"], "n_positions"))

GPT2 = Family(
    "gpt2",
    ("GPT2LMHeadModel",),
    {
        "vocab_size": Key(50257, size("vocab_size")),
        "n_positions": Key(1024, size("n_ctx")),
        "n_embd": Key(768, size("d_model")),
        "n_layer": Key(12, size("n_layer")),
        "n_head": Key(12, size("n_head")),
        "n_inner": Key(None, optional_size("d_ff")),
        "activation_function": Key("gelu_new", activation()),
        "layer_norm_epsilon": Key(1e-5, epsilon),
        "tie_word_embeddings": Key(True, flag("tied")),
        "scale_attn_weights": Key(True, only(True, why="the logits change, and the forward pass here always scales")),
        "scale_attn_by_inverse_layer_idx": Key(
            False, only(False, why="the logits change, and the forward pass here scales all layers alike")
        ),
        "n_ctx": UNREAD_CONTEXT,
        "head_dim": Key(ABSENT, agrees(lambda config: config.size("n_embd") // config.size("n_head"), "n_embd / n_head")),
        "num_key_value_heads": Key(ABSENT, agrees(lambda config: config["n_head"], "n_head")),
    },
    {"family": "GPT-2"},
    GPT_ALIASES,
    {**SUMMARY, "reorder_and_upcast_attn": "the same scores, computed in fp32"},
)

GPT_SW3 = variant(GPT2, "gpt-sw3", "GPT2LMHeadModel", "GPT-SW3")

GPT1 = variant(
    GPT2,
    "openai-gpt",
    "OpenAIGPTLMHeadModel",
    "GPT",
    without="activation_function scale_attn_weights scale_attn_by_inverse_layer_idx reorder_and_upcast_attn",
    defaults={"vocab_size": 40478, "n_positions": 512},
    keys={
        "afn": Key("gelu", activation(GPT1_ACTIVATIONS)),
        "n_special": Key(0, only(0, why="old versions added these tokens to the vocabulary, today's do not")),
        "n_inner": Key(ABSENT, agrees(lambda config: 4 * config.size("n_embd"), "4 * n_embd")),
    },
    fixed={"norm_placement": "post", "final_norm": False},
)

GPTJ = variant(
    GPT2,
    "gptj",
    "GPTJForCausalLM",
    "GPT-J",
    without="scale_attn_by_inverse_layer_idx reorder_and_upcast_attn",
    defaults={"vocab_size": 50400, "n_positions": 2048, "n_embd": 4096, "n_layer": 28, "n_head": 16, "tie_word_embeddings": False},
    keys={
        "rotary_dim": Key(64, size("d_rotary")),
        "rotary": Key(True, only(True, why="GPT-J's code always rotates")),
        "scale_attn_weights": Key(True, only(True, why="GPT-J's code always scales")),
    },
    fixed={
        "position": "rotary",
        "rotary_pairs": "neighbours",
        "parallel_residual": True,
        "shared_norm": True,
        "attention_bias": False,
        "attention_output_bias": False,
        "head_bias": True,
    },
)

CODEGEN = variant(
    GPTJ,
    "codegen",
    "CodeGenForCausalLM",
    "CodeGen",
    keys={"n_ctx": Key(2048, size())},  # its code reads it for a number that nothing uses
)


def _one_key_head(key: str, config: Config) -> Fields:
    return {"n_kv_head": 1} if config.flag(key) and config.size("n_head") > 1 else {}


GPT_BIGCODE = variant(
    GPT2,
    "gpt_bigcode",
    "GPTBigCodeForCausalLM",
    "StarCoder",
    without="scale_attn_by_inverse_layer_idx reorder_and_upcast_attn",
    defaults={"activation_function": "gelu_pytorch_tanh"},
    keys={
        "multi_query": Key(True, _one_key_head),
        "num_key_value_heads": Key(ABSENT, agrees(lambda config: 1 if config.flag("multi_query") else config["n_head"], "multi_query")),
    },
    harmless=because(
        "the same scores, computed another way",
        """
        attention_softmax_in_fp32 scale_attention_softmax_in_fp32 inference_runner max_batch_size
        max_sequence_length pad_key_length pre_allocate_kv_cache validate_runner_input""",
    ),
)


def _neo_layers(key: str, config: Config) -> Fields:
    """GPT-Neo's layers, given as runs such as [[["global", "local"], 12]]."""
    runs: Any = [[["global", "local"], 12]] if config[key] is None else config[key]
    kinds: list[str] = []
    try:
        for names, times in runs:
            if type(times) is not int or not 0 < times <= 10_000:
                raise ValueError
            kinds += list(names) * times
    except (TypeError, ValueError):
        raise config.refuse(key, f"must be a list of runs such as [['global', 'local'], 12], not {written(runs)}") from None
    if len(kinds) != config.layers or any(kind not in ("global", "local") for kind in kinds):
        raise config.refuse(key, f"must name {config.layers} layers, each global or local; it names {len(kinds)}")
    given = config["attention_layers"]
    if given is not ABSENT and given is not None and given != kinds:
        raise config.refuse("attention_layers", f"contradicts {key}")
    window = config.size("window_size")
    return {ATTENTION: [Layer("local", {"sliding_window": window}) if kind == "local" else Layer("global", {}) for kind in kinds]}


GPT_NEO = Family(
    "gpt_neo",
    ("GPTNeoForCausalLM",),
    {
        **standard(vocab_size=50257, max_position_embeddings=2048, hidden_size=2048),
        "num_layers": Key(24, size("n_layer")),
        "num_heads": Key(16, size("n_head")),
        "intermediate_size": Key(None, optional_size("d_ff")),
        "window_size": Key(256, nothing),
        "attention_types": Key(None, _neo_layers),
        "attention_layers": Key(ABSENT, nothing),
        "activation_function": Key("gelu_new", activation()),
        "layer_norm_epsilon": Key(1e-5, epsilon),
        "tie_word_embeddings": Key(True, flag("tied")),
        "head_dim": unread_head_width(),
        "num_key_value_heads": unread_kv_heads(),
    },
    {"family": "GPT-Neo", "attention_bias": False, "attention_scale": 1.0},
    {"num_attention_heads": "num_heads", "num_hidden_layers": "num_layers"},
    SUMMARY,
)

_NEOX_ROTARY = rotary_keys(share=0.25, theta_key="rotary_emb_base", share_key="rotary_pct")
_NEOX_OLD_NAMES = {
    # Older versions wrote the same two numbers under these names as well.
    "rope_theta": Key(ABSENT, agrees(lambda config: config["rotary_emb_base"], "rotary_emb_base")),
    "partial_rotary_factor": Key(ABSENT, agrees(lambda config: config["rotary_pct"], "rotary_pct")),
}
GPT_NEOX = Family(
    "gpt_neox",
    ("GPTNeoXForCausalLM",),
    {
        **standard(vocab_size=50432, hidden_size=6144, num_hidden_layers=44, num_attention_heads=64, intermediate_size=24576),
        **standard(hidden_act="gelu", max_position_embeddings=2048, layer_norm_eps=1e-5, tie_word_embeddings=False, attention_bias=True),
        "use_parallel_residual": Key(True, flag("parallel_residual")),
        **_NEOX_ROTARY,
        **_NEOX_OLD_NAMES,
        "head_dim": unread_head_width(),
        "num_key_value_heads": unread_kv_heads(),
    },
    {"family": "GPT-NeoX", "position": "rotary"},
)


def _wide_mlp(key: str, config: Config) -> Fields:
    return {"d_ff": int(config.size("hidden_size") * config.number(key, config[key]))}


def _bias_in_the_last(key: str, config: Config) -> Fields:
    """Only the last layer's attention adds a bias to what it puts out."""
    layers = [Layer("plain", {})] * (config.layers - 1) + [Layer("last", {"attention_output_bias": True})]
    return {**size("n_layer")(key, config), ATTENTION: layers}


GPT_NEOX_JAPANESE = variant(
    GPT_NEOX,
    "gpt_neox_japanese",
    "GPTNeoXJapaneseForCausalLM",
    "GPT-NeoX Japanese",
    without="intermediate_size attention_bias use_parallel_residual",
    defaults={"vocab_size": 32000, "hidden_size": 2560, "num_attention_heads": 32, "tie_word_embeddings": True, "rotary_pct": 1.0},
    keys={"intermediate_multiple_size": Key(4, _wide_mlp), "num_hidden_layers": Key(32, _bias_in_the_last)},
    fixed={"attention_bias": False, "attention_output_bias": False, "mlp_bias": False},
)

# --- OPT and its kin: the layout of fairseq -----------------------------------------------------------------------------------------


def _positions_after_two(key: str, config: Config) -> Fields:
    """The table starts with two rows that no position uses."""
    return {"n_ctx": config.size(key), "n_position": config.size(key) + 2}


def _norms_of_opt(key: str, config: Config) -> Fields:
    before = config.flag(key)
    return {"norm_placement": "pre" if before else "post", "final_norm": before and not config.flag("_remove_final_layer_norm")}


def _embedding_of_opt(key: str, config: Config) -> Fields:
    if config[key] is None or config.size(key) == config.size("hidden_size"):
        return {}
    return {"d_embedding": config.size(key)}


def _scaled_embedding(key: str, config: Config) -> Fields:
    return {"embedding_scale": config.size("hidden_size") ** 0.5} if config.flag(key) else {}


OPT = Family(
    "opt",
    ("OPTForCausalLM",),
    {
        **standard(vocab_size=50272, hidden_size=768, num_hidden_layers=12, num_attention_heads=12),
        "ffn_dim": Key(3072, size("d_ff")),
        "max_position_embeddings": Key(2048, _positions_after_two),
        "do_layer_norm_before": Key(True, _norms_of_opt),
        "_remove_final_layer_norm": Key(False, nothing),
        "word_embed_proj_dim": Key(None, _embedding_of_opt),
        "activation_function": Key("relu", activation()),
        "enable_bias": Key(True, flag("attention_bias", "attention_output_bias", "mlp_bias")),
        "layer_norm_elementwise_affine": Key(True, flag("norm_weight", "norm_bias")),
        "tie_word_embeddings": Key(True, flag("tied")),
        "head_dim": unread_head_width(),
        "num_key_value_heads": unread_kv_heads(),
    },
    {"family": "OPT"},
)

BIOGPT = Family(
    "biogpt",
    ("BioGptForCausalLM",),
    {
        **standard(vocab_size=42384, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096),
        **standard(hidden_act="gelu", tie_word_embeddings=True),
        "max_position_embeddings": Key(1024, _positions_after_two),
        "scale_embedding": Key(True, _scaled_embedding),
        "head_dim": unread_head_width(),
        "num_key_value_heads": unread_kv_heads(),
    },
    {"family": "BioGPT"},
    harmless={"layer_norm_eps": "BioGPT's code keeps LayerNorm's own 1e-5"},
)

XGLM = Family(
    "xglm",
    ("XGLMForCausalLM",),
    {
        **standard(vocab_size=256008, max_position_embeddings=2048),
        "d_model": Key(1024, size("d_model")),
        "ffn_dim": Key(4096, size("d_ff")),
        "num_layers": Key(24, size("n_layer")),
        "attention_heads": Key(16, size("n_head")),
        "activation_function": Key("gelu", activation()),
        "scale_embedding": Key(True, _scaled_embedding),
        "tie_word_embeddings": Key(True, flag("tied")),
        "head_dim": unread_head_width(),
        "num_key_value_heads": unread_kv_heads(),
    },
    {"family": "XGLM", "position": "sinusoidal"},
    {"num_attention_heads": "attention_heads", "hidden_size": "d_model", "num_hidden_layers": "num_layers"},
)

# --- ALiBi --------------------------------------------------------------------------------------------------------------------------

BLOOM = Family(
    "bloom",
    ("BloomForCausalLM",),
    {
        **standard(vocab_size=250880, hidden_size=64),
        "n_layer": Key(2, size("n_layer")),
        "n_head": Key(8, size("n_head")),
        "layer_norm_epsilon": Key(1e-5, epsilon),
        "tie_word_embeddings": Key(True, flag("tied")),
        "apply_residual_connection_post_layernorm": Key(False, only(False, why="the residual stream would be the norm's output")),
        "seq_length": Key(2048, size("n_ctx")),  # the class has no longest sequence; BLOOM was trained on 2,048
        "n_embed": Key(ABSENT, agrees(lambda config: config["hidden_size"], "hidden_size")),
        "n_inner": Key(ABSENT, agrees(lambda config: 4 * config.size("hidden_size"), "4 * hidden_size")),
        "head_dim": unread_head_width(),
        "num_key_value_heads": unread_kv_heads(),
    },
    {"family": "BLOOM", "position": "alibi", "embedding_norm": True},
    {"num_hidden_layers": "n_layer", "num_attention_heads": "n_head"},
    because(
        "the same numbers, computed another way",
        """
        slow_but_exact skip_bias_add skip_bias_add_qkv attention_softmax_in_fp32 bias_dropout_fusion
        masked_softmax_fusion offset_alibi unk_token_id""",
    ),
)


def _attention_of_mpt(key: str, config: Config) -> Fields:
    """The mapping `attn_config`, of which the code reads three keys and takes the others as they are by default."""
    given = config[key] or {}
    if not isinstance(given, dict):
        raise config.refuse(key, f"must be a mapping, not {written(given)}")
    fixed = {"attn_type": "multihead_attention", "alibi": True, "qk_ln": False, "prefix_lm": False}
    for name, expected in fixed.items():
        if given.get(name, expected) != expected:
            raise config.refuse(f"{key}.{name}", f"{written(given[name])} is not understood: the model's code builds {written(expected)}")
    read = {"clip_qkv": "qkv_clip", "softmax_scale": "attention_scale"}
    known = {*fixed, *read, "attn_pdrop", "attn_impl", "attn_uses_sequence_id", "alibi_bias_max"}
    about = {"model_type", "return_dict", "architectures", "_name_or_path", "dtype", "id2label", "label2id", "problem_type"}
    for name in given:
        if (
            name not in known
            and name not in about
            and name not in ("output_hidden_states", "output_attentions", "chunk_size_feed_forward", "is_encoder_decoder")
        ):
            raise config.refuse(f"{key}.{name}", "is a key that gptcalc does not understand")
    return {field: config.number(f"{key}.{name}", given[name]) for name, field in read.items() if given.get(name) is not None}


MPT = Family(
    "mpt",
    ("MptForCausalLM", "MPTForCausalLM"),
    {
        "vocab_size": Key(50368, size("vocab_size")),
        "d_model": Key(2048, size("d_model")),
        "n_heads": Key(16, size("n_head")),
        "n_layers": Key(24, size("n_layer")),
        "max_seq_len": Key(2048, size("n_ctx")),
        "expansion_ratio": Key(4, only(4, why="the model's code builds MLPs of 4 * d_model")),
        "layer_norm_epsilon": Key(1e-5, epsilon),
        "attn_config": Key(None, _attention_of_mpt),
        "no_bias": Key(True, only(True, why="the model's code has no biases")),
        "logit_scale": Key(None, only(None, why="the model's code does not scale logits")),
        "norm_type": Key("low_precision_layernorm", only("low_precision_layernorm", why="the model's code has LayerNorm")),
        "tie_word_embeddings": Key(True, flag("tied")),
        "head_dim": unread_head_width(),
        "num_key_value_heads": unread_kv_heads(),
    },
    {
        "family": "MPT",
        "position": "alibi",
        "norm_bias": False,
        "attention_bias": False,
        "attention_output_bias": False,
        "mlp_bias": False,
        "activation": "gelu",
    },
    {"num_attention_heads": "n_heads", "hidden_size": "d_model", "num_hidden_layers": "n_layers"},
    because("the model's code does not read it", "learned_pos_emb init_device embedding_fraction verbose init_config use_pad_tok_in_ffn"),
)


def _norms_of_falcon(key: str, config: Config) -> Fields:
    parallel, new, norms = config.flag(key), config.flag("new_decoder_architecture"), config["num_ln_in_parallel_attn"]
    if norms not in (None, 1, 2) or isinstance(norms, bool):
        raise config.refuse("num_ln_in_parallel_attn", f"must be 1 or 2, not {written(norms)}")
    if new and not parallel:
        raise config.refuse("parallel_attn", "false with new_decoder_architecture is a model that cannot run")
    two = (norms or (2 if new else 1)) == 2
    if parallel and two and not new:
        raise config.refuse("num_ln_in_parallel_attn", "2 without new_decoder_architecture is a model that cannot run")
    return {"parallel_residual": parallel, "shared_norm": parallel and not two}


def _key_heads_of_falcon(key: str, config: Config) -> Fields:
    heads = config.size("num_attention_heads")
    given = heads if config[key] is None else config.size(key)
    built = given if config.flag("new_decoder_architecture") else 1 if config.flag("multi_query") else heads
    return {} if built == heads else {"n_kv_head": built}


def _positions_of_falcon(key: str, config: Config) -> Fields:
    return {"position": "alibi"} if config.flag(key) else {**rotary_keys()["rope_parameters"].handler("rope_parameters", config)}


FALCON = Family(
    "falcon",
    ("FalconForCausalLM", "RWForCausalLM"),
    {
        **standard(vocab_size=65024, hidden_size=4544, num_hidden_layers=32, num_attention_heads=71, max_position_embeddings=2048),
        "layer_norm_epsilon": Key(1e-5, epsilon),
        "num_kv_heads": Key(None, _key_heads_of_falcon),
        "multi_query": Key(True, nothing),
        "new_decoder_architecture": Key(False, nothing),
        "num_ln_in_parallel_attn": Key(None, nothing),
        "parallel_attn": Key(True, _norms_of_falcon),
        "bias": Key(False, flag("attention_bias", "attention_output_bias", "mlp_bias")),
        "ffn_hidden_size": Key(None, optional_size("d_ff")),
        "activation": Key("gelu", activation()),
        "tie_word_embeddings": Key(True, flag("tied")),
        **rotary_keys(),
        "rope_parameters": Key(None, nothing),
        "alibi": Key(False, _positions_of_falcon),
        "apply_residual_connection_post_layernorm": unread("the model's code does not read it", False),
        "n_embed": Key(ABSENT, agrees(lambda config: config["hidden_size"], "hidden_size")),
        "head_dim": unread_head_width(),
        "num_key_value_heads": unread("the model's code reads num_kv_heads"),
    },
    {"family": "Falcon", "position": "rotary"},
)

CTRL = Family(
    "ctrl",
    ("CTRLLMHeadModel",),
    {
        "vocab_size": Key(246534, size("vocab_size")),
        "n_positions": Key(256, size("n_ctx")),
        "n_embd": Key(1280, lambda key, config: {"d_model": config.size(key), "embedding_scale": config.size(key) ** 0.5}),
        "dff": Key(8192, size("d_ff")),
        "n_layer": Key(48, size("n_layer")),
        "n_head": Key(16, size("n_head")),
        "layer_norm_epsilon": Key(1e-6, epsilon),
        "tie_word_embeddings": Key(True, flag("tied")),
        "n_ctx": UNREAD_CONTEXT,
    },
    {"family": "CTRL", "position": "sinusoidal", "activation": "relu", "head_bias": True},
    GPT_ALIASES,
    {**SUMMARY, "from_tf": "says where the weights came from"},
)

FAMILIES = (
    GPT1, GPT2, GPT_SW3, GPTJ, CODEGEN, GPT_BIGCODE, GPT_NEO, GPT_NEOX, GPT_NEOX_JAPANESE, OPT, BIOGPT, XGLM, BLOOM, MPT, FALCON, CTRL,
)  # fmt: skip
