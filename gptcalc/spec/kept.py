"""Names of modules that a quantized file keeps as they were, and the parts of a model that they are."""

from typing import NamedTuple

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.spec.reading import shown

ROOTS = ("model", "transformer", "language_model", "gpt_neox", "base_model", "decoder")
STACKS = ("layers", "h", "blocks")

IN_BLOCK = (
    *(f"attention/{name}" for name in ("query", "key", "value", "output", "gate")),
    *(f"attention/{name}" for name in ("query_down", "query_up", "key_value_down", "key_value_up")),
    *(f"mlp/{inner}{name}" for inner in ("", "experts/", "shared/") for name in ("gate", "up", "down")),
    "mlp/router",
    "mlp/shared/scale",
)
"""Where a block has matrices, as the operation table names them."""


def _called(names: str, *parts: str) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(names.split(), parts)


WORDS = {
    **_called("self_attn self_attention attn attention", "attention"),
    **_called("mlp feed_forward ffn block_sparse_moe", "mlp"),
    **_called("experts", "experts"),
    **_called("shared_expert shared_experts shared_mlp", "shared"),
    **_called("shared_expert_gate", "shared/scale"),
    **_called("gate router", "router"),
    **_called("q_proj query", "query"),
    **_called("k_proj key", "key"),
    **_called("v_proj value", "value"),
    **_called("qkv_proj query_key_value c_attn Wqkv", "query", "key", "value"),
    **_called("o_proj dense", "output"),
    **_called("out_proj c_proj", "output", "down"),  # of attention and of the MLP
    **_called("q_a_proj", "query_down"),
    **_called("q_b_proj", "query_up"),
    **_called("kv_a_proj_with_mqa", "key_value_down"),
    **_called("kv_b_proj", "key_value_up"),
    **_called("gate_proj w1", "gate"),
    **_called("up_proj w3 fc1 c_fc fc_in dense_h_to_4h", "up"),
    **_called("down_proj w2 fc2 fc_out dense_4h_to_h", "down"),
    **_called("gate_up_proj", "gate", "up"),
}
"""What implementations call the parts of a block: their names in the operation table."""

NEVER = {
    **_called("lm_head embed_out output output_layer", "the head"),
    **_called("embed_tokens wte wpe word_embeddings embed_in embed_positions", "embeddings"),
    **_called("ln_1 ln_2 ln_f", "norms"),
    **_called("rotary_emb e_score_correction_bias sinks", "no matrices"),
    **_called("eh_proj shared_head", "what multi-token prediction has beside its block"),
}
"""What no method quantizes in any case."""


class Kept(NamedTuple):
    """`layer` None: of every layer. Each of `parts` is a run of names in a path of the operation table; the empty one is all of a block."""

    layer: int | None
    parts: tuple[tuple[str, ...], ...]

    def has(self, path: str) -> bool:
        """Whether a matrix of a block, `attention/query`, is in it."""
        names = tuple(path.split("/"))
        return any(_within(part, names) for part in self.parts)


def kept_part(name: str) -> Kept:
    """What a kept module's name, such as `model.layers.3.self_attn`, is in the operation table.

    Raises GptcalcError, with the name, for one that is no part that gptcalc knows.   Source: the modules' names in transformers.

    >>> kept_part("model.layers.3.self_attn")
    Kept(layer=3, parts=(('attention',),))
    >>> kept_part("lm_head")
    Kept(layer=None, parts=())
    """
    layer, numbered, words = _place(name)
    if words and (words[-1] in NEVER or "norm" in words[-1]):
        return Kept(layer, ())
    unknown = next((word for word in words if word not in WORDS), None)
    if unknown is not None:
        raise _refused(name, did_you_mean(unknown, [*WORDS, *NEVER]))
    parts: list[tuple[str, ...]] = [()]
    for word in words:
        parts = [(*part, *step.split("/")) for part in parts for step in WORDS[word]]
    found = tuple(part for part in parts if any(_within(part, tuple(path.split("/"))) for path in IN_BLOCK))
    if not found or not (words or numbered):
        raise _refused(name)
    return Kept(layer, found)


def _place(name: str) -> tuple[int | None, bool, list[str]]:
    """The layer's number, whether the name says of which layers it is, and the words below: `model.layers.*.mlp` is of all."""
    words = [word for word in name.strip(".").split(".") if word != "weight"]
    while words and words[0] in ROOTS:
        words = words[1:]
    if len(words) < 2 or words[0] not in STACKS or not (words[1] == "*" or words[1].isdecimal()):
        return None, False, words
    return (None if words[1] == "*" else int(words[1])), True, words[2:]


def _within(part: tuple[str, ...], path: tuple[str, ...]) -> bool:
    return any(path[start : start + len(part)] == part for start in range(len(path) - len(part) + 1))


def _refused(name: str, hint: str | None = None) -> GptcalcError:
    return GptcalcError(f"{shown(name)}, a module that is kept unquantized, is no part of a model that gptcalc knows", hint=hint)
