"""Decoders of encoder-decoder models, as their `...ForCausalLM` classes build them: BART and its kin, TrOCR, Whisper.

Each block keeps the weights of the attention that read the encoder's output; without the encoder it never runs.
"""

from __future__ import annotations

from gptcalc.spec.huggingface.families.opt import positions_after_two
from gptcalc.spec.huggingface.family import Config, Family, Fields, Key, because, variant
from gptcalc.spec.huggingface.handlers import activation, flag, only, size

ALONE = (
    "Counted as its ForCausalLM class builds it: the decoder without the encoder, whose attention to the encoder is kept and never runs."
)


def _scaled_embedding(key: str, config: Config) -> Fields:
    return {"embedding_scale": config.size("d_model") ** 0.5} if config.flag(key) else {}


_OF_THE_ENCODER = because(
    "of the encoder, which the class leaves out",
    """
    encoder_layers encoder_ffn_dim encoder_attention_heads encoder_layerdrop num_hidden_layers num_attention_heads
    share_encoder_decoder_embeddings decoder_vocab_size""",
)

BART = Family(
    "bart",
    ("BartForCausalLM",),
    {
        "vocab_size": Key(50265, size("vocab_size")),
        "d_model": Key(1024, size("d_model")),
        "decoder_layers": Key(12, size("n_layer")),
        "decoder_attention_heads": Key(16, size("n_head")),
        "decoder_ffn_dim": Key(4096, size("d_ff")),
        "max_position_embeddings": Key(1024, positions_after_two),
        "activation_function": Key("gelu", activation()),
        "scale_embedding": Key(False, _scaled_embedding),
        "tie_word_embeddings": Key(True, flag("tied")),
    },
    {
        "family": "BART",
        "notes": [ALONE],
        "idle_cross_attention": True,
        "norm_placement": "post",
        "embedding_norm": True,
        "final_norm": False,
    },
    {"hidden_size": "d_model"},
    {
        **_OF_THE_ENCODER,
        **because("no layer is skipped but in training", "decoder_layerdrop"),
        **because("the head of another task", "classifier_dropout"),
        **because("of text generation", "num_beams forced_bos_token_id gradient_checkpointing normalize_before normalize_embedding"),
    },
)

_PRE: Fields = {"norm_placement": "pre", "final_norm": True}

MBART = variant(BART, "mbart", "MBartForCausalLM", "mBART", fixed=_PRE)
PLBART = variant(
    BART,
    "plbart",
    "PLBartForCausalLM",
    "PLBART",
    defaults={"vocab_size": 50005, "d_model": 768, "decoder_layers": 6}
    | {"decoder_attention_heads": 12, "decoder_ffn_dim": 3072, "scale_embedding": True},
)
MVP = variant(
    BART,
    "mvp",
    "MvpForCausalLM",
    "MVP",
    defaults={"vocab_size": 50267},
    keys={"use_prompt": Key(False, only(False, why="each layer would have prompts with weights of their own"))},
    harmless=because("of prompts, which the model has not", "prompt_length prompt_mid_dim"),
)
BLENDERBOT = variant(
    BART,
    "blenderbot",
    "BlenderbotForCausalLM",
    "Blenderbot",
    defaults={"vocab_size": 8008, "d_model": 2560, "decoder_layers": 24, "decoder_attention_heads": 32, "decoder_ffn_dim": 10240},
    keys={"max_position_embeddings": Key(128, size("n_ctx"))},
    fixed=_PRE | {"embedding_norm": False},
)
BLENDERBOT_SMALL = variant(
    BART,
    "blenderbot-small",
    "BlenderbotSmallForCausalLM",
    "Blenderbot",
    defaults={"d_model": 512, "decoder_layers": 8, "decoder_ffn_dim": 2048},
    keys={"max_position_embeddings": Key(512, size("n_ctx"))},
    fixed={"unexecuted": ("its embedding is normalised before positions are added",)},
)
BIGBIRD_PEGASUS = variant(
    BLENDERBOT,
    "bigbird_pegasus",
    "BigBirdPegasusForCausalLM",
    "BigBird Pegasus",
    defaults={"vocab_size": 96103, "d_model": 1024, "decoder_layers": 16, "decoder_attention_heads": 16, "decoder_ffn_dim": 4096}
    | {"max_position_embeddings": 4096, "activation_function": "gelu_new", "scale_embedding": True},
    keys={
        "use_bias": Key(False, flag("attention_bias", "attention_output_bias")),
        "tie_word_embeddings": Key(True, lambda key, config: {"tied": config.flag(key) and False}),  # its head is never tied
    },
    harmless=because("the encoder's attention", "attention_type block_size num_random_blocks"),
)
MARIAN = variant(
    BLENDERBOT_SMALL,
    "marian",
    "MarianForCausalLM",
    "Marian",
    without="unexecuted",
    defaults={"vocab_size": 58101, "d_model": 1024, "decoder_layers": 12, "decoder_ffn_dim": 4096, "max_position_embeddings": 1024},
    keys={
        "decoder_vocab_size": Key(None, lambda key, config: {} if config[key] is None else {"vocab_size": config.size(key)}),
    },
    fixed={"embedding_norm": False, "notes": [ALONE, "Its positions are a table of sines, among the parameters and not trained."]},
)
PEGASUS = variant(
    MARIAN, "pegasus", "PegasusForCausalLM", "Pegasus", without="decoder_vocab_size", defaults={"vocab_size": 50265}, fixed=_PRE
)


def _learned(key: str, config: Config) -> Fields:
    if config.flag(key):
        return {}
    return {"position": "sinusoidal", "unexecuted": ("its positions begin at 2, and all sines come before all cosines",)}


def _positions_of_trocr(key: str, config: Config) -> Fields:
    read = positions_after_two(key, config)
    return read if config.flag("use_learned_position_embeddings") else {"n_ctx": read["n_ctx"]}


TROCR = variant(
    BART,
    "trocr",
    "TrOCRForCausalLM",
    "TrOCR",
    defaults={"max_position_embeddings": 512},
    keys={
        "max_position_embeddings": Key(512, _positions_of_trocr),
        "use_learned_position_embeddings": Key(True, _learned),
        "layernorm_embedding": Key(True, flag("embedding_norm")),
    },
)
WHISPER = variant(
    BART,
    "whisper",
    "WhisperForCausalLM",
    "Whisper",
    without="max_position_embeddings scale_embedding",
    defaults={"vocab_size": 51865, "d_model": 384, "decoder_layers": 4, "decoder_attention_heads": 6, "decoder_ffn_dim": 1536},
    keys={"max_target_positions": Key(448, size("n_ctx"))},
    fixed=_PRE | {"embedding_norm": False, "key_bias": False},
    aliases={"max_position_embeddings": "max_target_positions"},
    harmless=because("the decoder's code does not scale its embedding", "scale_embedding")
    | because(
        "of the encoder and of what goes into it",
        """
        num_mel_bins max_source_positions apply_spec_augment mask_time_prob mask_time_length mask_time_min_masks mask_feature_prob
        mask_feature_length mask_feature_min_masks median_filter_width use_weighted_layer_sum classifier_proj_size num_key_value_heads""",
    ),
)

FAMILIES = (BART, MBART, PLBART, MVP, BLENDERBOT, BLENDERBOT_SMALL, BIGBIRD_PEGASUS, MARIAN, PEGASUS, TROCR, WHISPER)
