"""Keys that any model type may carry: those that change nothing, each with the reason, and those that must say nothing unusual."""

from __future__ import annotations

from collections.abc import Mapping

from gptcalc.spec.huggingface.family import ABSENT, Config, Fields, Handler, Key, written
from gptcalc.spec.huggingface.handlers import only
from gptcalc.spec.huggingface.quantization import quantization
from gptcalc.spec.huggingface.wrappers import own_code

_KEYS: Mapping[str, str] = {
    "says where the file came from": """
        model_type architectures _name_or_path name_or_path transformers_version _commit_hash unsloth_version unsloth_fixed
        tokenizer_class prefix _class_name""",
    "the number format of the stored weights: gptcalc is told the precision": "torch_dtype dtype use_bfloat16",
    "what a call returns besides the logits": """
        output_hidden_states output_attentions return_dict use_return_dict use_cache tie_last_hidden_states output_past
        keys_to_ignore_at_inference""",
    "which kernel or memory layout computes the same numbers": """
        attn_implementation _attn_implementation _attn_implementation_internal _attn_implementation_autoset _flash_attn_2_enabled
        experts_implementation _experts_implementation _experts_implementation_internal torchscript tf_legacy_loss
        chunk_size_feed_forward gradient_checkpointing""",
    "splits the same products over devices": """
        pretraining_tp ep_size base_model_tp_plan base_model_pp_plan base_model_ep_plan base_model_fsdp_plan""",
    "labels and heads of other tasks, which the language model does not have": """
        id2label label2id num_labels problem_type finetuning_task task_specific_params classifier_dropout classifier_dropout_prob""",
    "token ids": "bos_token_id eos_token_id pad_token_id sep_token_id cls_token_id decoder_start_token_id eod_token_id",
    "a default of text generation, which transformers drops too": """
        assistant_confidence_threshold assistant_lookbehind bad_words_ids begin_suppress_tokens diversity_penalty do_sample
        early_stopping encoder_no_repeat_ngram_size encoder_repetition_penalty epsilon_cutoff eta_cutoff
        exponential_decay_length_penalty forced_bos_token_id forced_eos_token_id length_penalty max_length min_length
        max_new_tokens no_repeat_ngram_size num_assistant_tokens num_assistant_tokens_schedule num_beam_groups num_beams
        num_return_sequences output_scores remove_invalid_values repetition_penalty return_dict_in_generate suppress_tokens
        target_lookbehind temperature top_k top_p typical_p""",
    "how weights are drawn before training": "initializer_range init_std embedding_initializer_range initializer_cutoff_factor",
    "dropout: no weights, no matrix multiplication, and off in inference": """
        attention_dropout hidden_dropout hidden_dropout_prob attention_probs_dropout_prob resid_pdrop embd_pdrop attn_pdrop emb_pdrop
        dropout activation_dropout layerdrop residual_dropout embedding_dropout embed_dropout resid_dropout""",
    "the routers' loss and noise in training, and what a call returns of them": """
        output_router_logits router_aux_loss_coef aux_loss_alpha aux_loss_coef seq_aux router_jitter_noise input_jitter_noise
        router_z_loss_coef""",
}
HARMLESS: Mapping[str, str] = {key: why for why, keys in _KEYS.items() for key in keys.split()}
"""Each key with the reason why it changes nothing that gptcalc computes."""


def _own_code(key: str, config: Config) -> Fields:
    named = own_code(config.data, config.family.classes, config.where)
    return {"own_code": named} if named else {}


def _decoder_alone(key: str, config: Config) -> Fields:
    """True is understood of the classes that build the decoder of two alone."""
    known = (False, True) if config.family.fixed.get("idle_cross_attention") else (False,)
    return only(*known, why="gptcalc knows decoders only")(key, config)


def _of_each_layer(key: str, config: Config) -> Fields:
    """Read by the families that say so."""
    return {} if key in config.family.harmless else only(None, {}, why="layers differ from one another")(key, config)


COMMON: Mapping[str, Key] = {
    "is_encoder_decoder": Key(False, _decoder_alone),
    "is_decoder": Key(True, only(True, False, why="it must be true or false")),
    "add_cross_attention": Key(False, only(False, None, why="cross-attention has weights of its own")),
    "cross_attention_hidden_size": Key(None, only(None, why="cross-attention has weights of its own")),
    "tie_encoder_decoder": Key(False, only(False, why="gptcalc knows decoders only")),
    "pruned_heads": Key(None, only(None, {}, [], why="layers differ in their number of heads")),
    "per_layer_config": Key(None, _of_each_layer),
    "auto_map": Key(None, _own_code),
    "quantization_config": Key(None, quantization),
    "quantization": Key(None, quantization),
    "compression_config": Key(None, only(None, why="compressed weights are stored in ways of their own")),
}
"""Keys that no class reads the way a model would be built with them; they may say what every model here is."""


def _all_full(key: str, config: Config) -> Fields:
    if config[key] is not None and config[key] != ["full_attention"] * config.layers:
        raise config.refuse(
            key, f"{written(config[key])} is not understood: the model's code has no windows, and its cache would have them"
        )
    return {}


def _cached(key: str, config: Config) -> Fields:
    """The cache and the masks read it where the class does not list the kinds of its layers."""
    if "layer_types" in config.family.keys and config.family.keys["layer_types"].default is not ABSENT:
        return {}
    return only(None, why="the model's code has no window, and its cache would have one")(key, config)


GENERIC: Mapping[str, Handler] = {
    "sliding_window": _cached,
    "attention_chunk_size": _cached,
    "layer_types": _all_full,
    "is_causal": only(True, why="gptcalc knows decoders only"),
    "kv_sharing_modes": only(None, why="layers share keys and values"),
}
"""Keys that the code of every class reads for its masks and its cache: they matter to classes that do not know them."""
