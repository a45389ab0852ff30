"""Model types built like BERT, read from left to right: segments, a norm on the embedding, norms after each sum, a transform before the
head. Their classes read both ways unless `is_decoder` is true; the parameters are the same.
"""

from __future__ import annotations

from gptcalc.spec.huggingface.family import Config, Family, Fields, Key, because, variant
from gptcalc.spec.huggingface.handlers import (
    ACTIVATIONS,
    activation,
    only,
    size,
    standard,
    unread,
    unread_head_width,
    unread_kv_heads,
)


def _activations(key: str, config: Config) -> Fields:
    """BERT's transform has the activation of its MLPs."""
    fields = activation({name: known for name, known in ACTIVATIONS.items() if known in ("gelu", "gelu_tanh", "relu", "silu")})(key, config)
    return {**fields, "head_transform": fields["activation"]}


BERT = Family(
    "bert",
    ("BertLMHeadModel",),
    {
        **standard(vocab_size=30522, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072),
        **standard(max_position_embeddings=512, layer_norm_eps=1e-12),
        "tie_word_embeddings": Key(True, only(True, why="the class then holds the head's bias twice")),
        "hidden_act": Key("gelu", _activations),
        "type_vocab_size": Key(2, size("n_token_type")),
        "position_embedding_type": unread("the model's code adds a learned position", "absolute"),
        "head_dim": unread_head_width(),
        "num_key_value_heads": unread_kv_heads(),
    },
    {
        "family": "BERT",
        "notes": ["Counted as it reads from left to right; its class does so where is_decoder is true."],
        "norm_placement": "post",
        "embedding_norm": True,
        "final_norm": False,
        "head_bias": True,
    },
)

ERNIE = variant(
    BERT,
    "ernie",
    "ErnieForCausalLM",
    "ERNIE",
    keys={"use_task_id": Key(False, only(False, why="the embedding would have a table of tasks")), "task_type_vocab_size": Key(3, size())},
)

MEGATRON_BERT = variant(
    BERT,
    "megatron-bert",
    "MegatronBertForCausalLM",
    "Megatron BERT",
    defaults={"vocab_size": 29056, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    fixed={"norm_placement": "pre", "embedding_norm": False, "final_norm": True},
)

BERT_GENERATION = variant(
    BERT,
    "bert-generation",
    "BertGenerationDecoder",
    "BERT Generation",
    without="type_vocab_size",
    defaults={"vocab_size": 50358, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    keys=standard(hidden_act="gelu"),
)


def _room_for_padding(key: str, config: Config) -> Fields:
    """RoBERTa counts positions from behind the padding token's: the last rows are as many fewer than the table has."""
    padding = config["pad_token_id"]
    if padding is None:
        raise config.refuse("pad_token_id", "null: the positions start behind the padding token's")
    first = config.size("pad_token_id", least=0) + 1
    if config.size(key) <= first:
        raise config.refuse(key, f"{config.size(key)} leaves no position behind the padding token's")
    return {"n_ctx": config.size(key) - first, "n_position": config.size(key)}


def _roberta(model_type: str, cls: str, name: str, **defaults: object) -> Family:
    """RoBERTa and its kin, whose transform has an exact GELU whatever the MLPs have."""
    return variant(
        BERT,
        model_type,
        cls,
        name,
        defaults=defaults,
        keys={
            **standard(hidden_act="gelu"),
            "max_position_embeddings": Key(512, _room_for_padding),
            "pad_token_id": Key(1, lambda key, config: {}),
        },
        fixed={"head_transform": "gelu"},
    )


ROBERTA = _roberta("roberta", "RobertaForCausalLM", "RoBERTa", vocab_size=50265)
CAMEMBERT = _roberta("camembert", "CamembertForCausalLM", "CamemBERT")
XLM_ROBERTA = _roberta("xlm-roberta", "XLMRobertaForCausalLM", "XLM-RoBERTa")
DATA2VEC = _roberta("data2vec-text", "Data2VecTextForCausalLM", "data2vec")
ROBERTA_PRE = variant(
    ROBERTA,
    "roberta-prelayernorm",
    "RobertaPreLayerNormForCausalLM",
    "RoBERTa",
    fixed={"norm_placement": "pre", "final_norm": True},
)
XLM_ROBERTA_XL = variant(
    ROBERTA_PRE,
    "xlm-roberta-xl",
    "XLMRobertaXLForCausalLM",
    "XLM-RoBERTa XL",
    defaults={
        "vocab_size": 250880,
        "hidden_size": 2560,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "intermediate_size": 10240,
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
    },
    fixed={"embedding_norm": False},
)


def _narrow_embedding(key: str, config: Config) -> Fields:
    """Words, positions and segments are so wide, and projected behind their norm; the head's transform goes back to that width."""
    return {} if config.size(key) == config.size("hidden_size") else {"d_embedding": config.size(key), "projected_last": True}


ELECTRA = variant(
    BERT,
    "electra",
    "ElectraForCausalLM",
    "ELECTRA",
    defaults={"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024},
    keys={**standard(hidden_act="gelu"), "embedding_size": Key(128, _narrow_embedding)},
    fixed={"head_transform": "gelu"},  # whatever the MLPs have
    harmless=because("the head of another task", "summary_type summary_use_proj summary_activation summary_last_dropout"),
)


def _output_width(key: str, config: Config) -> Fields:
    embedding = config.size("input_embedding_size")
    return {"tied": False} | ({} if config.size(key) == embedding else {"d_output": config.size(key)})


REMBERT = variant(
    BERT,
    "rembert",
    "RemBertForCausalLM",
    "RemBERT",
    defaults={"vocab_size": 250300, "hidden_size": 1152, "num_hidden_layers": 32, "num_attention_heads": 18, "intermediate_size": 4608},
    keys={
        "input_embedding_size": Key(256, _narrow_embedding),
        "output_embedding_size": Key(1664, _output_width),
        "tie_word_embeddings": Key(False, lambda key, config: {"tied": config.flag(key) and False}),  # its head is never tied
    },
)

ROFORMER = variant(
    BERT,
    "roformer",
    "RoFormerForCausalLM",
    "RoFormer",
    defaults={"vocab_size": 50000, "max_position_embeddings": 1536},
    keys={
        "embedding_size": Key(None, lambda key, config: {} if config[key] is None else _narrow_embedding(key, config)),
        "rotary_value": Key(False, only(False, why="values would be rotated too")),
    },
    fixed={
        "position": "rotary",
        "rotary_pairs": "neighbours",
        "rotary_table": True,
    },
)

OTHER_WIDTHS = (ELECTRA, REMBERT, ROFORMER)
FAMILIES = (
    BERT,
    ERNIE,
    MEGATRON_BERT,
    BERT_GENERATION,
    ROBERTA,
    CAMEMBERT,
    XLM_ROBERTA,
    DATA2VEC,
    ROBERTA_PRE,
    XLM_ROBERTA_XL,
    *OTHER_WIDTHS,
)
