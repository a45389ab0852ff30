"""Names of modules as quantized files list them, and the matrices of the operation table that they are.

A plain name, `model.layers.3.self_attn`, is a module with all that is in it; with a `*` it is a shell's pattern; after `re:` it is a
regular expression from the name's start.
"""

from __future__ import annotations

import fnmatch
import functools
import itertools
import re
import warnings
from collections.abc import Iterable
from typing import NamedTuple

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.spec.reading import shown

ROOTS = ("model", "transformer", "language_model", "gpt_neox", "base_model", "decoder", "backbone", "text_model")
STACKS = ("layers", "h", "blocks")

HEAD, EMBEDDING = "head/output", "embedding/token"
IN_BLOCK = (
    *(f"attention/{name}" for name in ("query", "key", "value", "output", "gate")),
    *(f"attention/{name}" for name in ("query_down", "query_up", "key_value_down", "key_value_up")),
    *(f"attention/indexer/{name}" for name in ("query", "key", "weights")),
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
    **_called("experts switch_mlp", "experts"),
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
    **_called("indexer", "indexer"),
    **_called("wq_b", "query"),
    **_called("wk", "key"),
    **_called("weights_proj", "weights"),
    **_called("indexers_proj", "indexer/weights"),
    **_called("index_q_proj", "indexer/query"),
    **_called("index_k_proj", "indexer/key"),
    **_called("gate_proj w1", "gate"),
    **_called("up_proj w3 fc1 c_fc fc_in dense_h_to_4h", "up"),
    **_called("down_proj w2 fc2 fc_out dense_4h_to_h", "down"),
    **_called("gate_up_proj", "gate", "up"),
}
"""What implementations call the parts of a block: their names in the operation table."""

BELOW = ("experts", "router", "gate", "shared_expert", "shared_experts")
"""Parts of an MLP. A block that has them beside its MLP is of an implementation whose MLP is not all of it."""

OUTSIDE = {
    **_called("lm_head embed_out output output_layer head", HEAD),
    **_called("embed_tokens wte word_embeddings embed_in", EMBEDDING),
}
"""Matrices outside the blocks."""

NEVER = {
    **_called("wpe embed_positions", "positions"),
    **_called("ln_1 ln_2 ln_f", "norms"),
    **_called("rotary_emb e_score_correction_bias sinks", "no matrices"),
    **_called("eh_proj enorm hnorm shared_head", "what multi-token prediction has beside its block"),
}
"""What no method quantizes in any case."""

OTHER = {
    **_called("vision_tower vision_model visual vision vit vision_encoder vision_embedder embed_vision", "images"),
    **_called("multi_modal_projector mm_projector image_projector patch_merge_mlp connector merger resampler aligner mlp_AR", "images"),
    **_called("modality_projection img_processor vpm", "images"),
    **_called("qformer perceiver projector encoder vision_embed_tokens sam_model vqmodel", "images"),
    **_called("audio_tower audio_model audio_encoder embed_audio audio", "sound"),
    **_called("mtp", "further tokens"),
}
"""Roots of what is beside the language model: towers that read images and sound, and the prediction of further tokens."""

ROOTED = ("model.layers", "language_model.model.layers", "model.language_model.layers", "transformer.h", "layers", "backbone.layers")
"""How the names of a stack of blocks begin, where a pattern does not say."""

SAMPLES = [f"{root}.weight" for root in (*OUTSIDE, *NEVER, "model.norm", *(f"model.{name}" for name in (*OUTSIDE, *NEVER)))]
SAMPLES += [f"{before}{root}.encoder.layers.0.linear" for root in OTHER for before in ("", "model.")]
SAMPLES += [f"{root}.0.{norm}.weight" for root in ROOTED for norm in ("input_layernorm", "post_attention_layernorm", "self_attn.q_norm")]


class Kept(NamedTuple):
    """`layer` and `expert` None: all. Each of `parts` is a run of names in a path of the operation table; the empty one is all."""

    layer: int | None
    parts: tuple[tuple[str, ...], ...]
    expert: int | None = None

    def has(self, path: str, layer: int = 0, expert: int = 0) -> bool:
        """Whether a matrix, `attention/query` of a block or `head/output`, is in it."""
        if self.layer not in (None, layer) or (self.expert not in (None, expert) and "experts" in path):
            return False
        names = tuple(path.split("/"))
        return names in self.parts if path in (HEAD, EMBEDDING) else any(_within(part, names) for part in self.parts)


class Pattern(NamedTuple):
    """`layer`: the digits that stand where a layer's number does, if any; `expression` is of what follows them."""

    layer: str | None
    expression: re.Pattern[str]

    def has(self, path: str, layer: int = 0, expert: int = 0) -> bool:
        """As `Kept.has`."""
        if self.layer is not None:
            if path in (HEAD, EMBEDDING) or not str(layer).startswith(self.layer):
                return False
            return _tried(self.expression, path, str(layer)[len(self.layer) :], expert)
        return _tried(self.expression, path, str(layer) if _numbered(self.expression.pattern) else "0", expert)


def _numbered(pattern: str) -> bool:
    """Whether a pattern may be of some layers only."""
    return re.search(r"\d|\\d|\[|\?|\{", ANY_NUMBER.sub("", pattern)) is not None


def names_experts(name: str) -> bool:
    """Whether a name or a pattern may be of some experts only.

    >>> names_experts("mlp.experts.3.w1"), names_experts("mlp.experts"), names_experts(r"re:.*experts\\.\\d+\\.w1")
    (True, False, False)
    """
    return re.search(r"experts\\?\.([\[(\d?]|\\d)", ANY_NUMBER.sub("", name)) is not None


ANY_NUMBER = re.compile(r"(\\d|\[0-9\])[+*]")
"""The part of a pattern that is every number."""


@functools.lru_cache(maxsize=65536)
def _tried(expression: re.Pattern[str], path: str, number: str, expert: int) -> bool:
    """Whether a pattern fits a name of a matrix: of a layer, after what the pattern has before `number`, or anywhere in a model."""
    if path in (HEAD, EMBEDDING):
        words = [word for word, parts in OUTSIDE.items() if path in parts]
        return any(expression.match(root + word) for root in ("", "model.", "language_model.", "language_model.model.") for word in words)
    roots = ("",) if expression.pattern.startswith(AFTER) else tuple(f"{root}." for root in ROOTED)
    return any(expression.match(f"{root}{number}.{tail}") for root in roots for tail in tails(path, expert))


MOST_LAYERS = 128
"""Layers that a pattern is tried on, to know whether it is of any."""

AFTER = "(?#layer)"
"""Begins the expression of a pattern whose layer was taken off."""


class Names:
    """Many names together: which matrices at least one of them has."""

    def __init__(self, names: Iterable[str]) -> None:
        self._of_layer: dict[int | None, list[Kept | Pattern]] = {}
        for name in names:
            one = kept_part(name)
            layer = one.layer if isinstance(one, Kept) else None
            if isinstance(one, Pattern) and one.layer is not None and re.search(rf"\.{one.layer}\.", name):
                layer = int(one.layer)  # its digits are the whole number
            self._of_layer.setdefault(layer, []).append(one)

    def __bool__(self) -> bool:
        return bool(self._of_layer)

    def has(self, path: str, layer: int = 0, expert: int = 0) -> bool:
        """Whether a module stays as it is, not quantized."""
        places: tuple[int | None, ...] = (layer, None)
        return any(one.has(path, layer, expert) for place in places for one in self._of_layer.get(place, ()))


@functools.lru_cache(maxsize=1024)
def kept_part(name: str) -> Kept | Pattern:
    """What a module's name or pattern, such as `model.layers.3.self_attn`, is in the operation table.

    Raises GptcalcError, with the name, for one that is no part that gptcalc knows.   Source: the modules' names in transformers.

    >>> kept_part("model.layers.3.self_attn")
    Kept(layer=3, parts=(('attention',),), expert=None)
    >>> kept_part("re:.*self_attn").has("attention/query"), kept_part("re:.*self_attn").has("mlp/up")
    (True, False)
    """
    if name.startswith("re:") or "*" in name:
        return _pattern(name)
    layer, numbered, words = _place(name)
    if words and words[0] in OTHER:
        return Kept(layer, ())
    if len(words) == 1 and words[0] in OUTSIDE and not numbered:
        return Kept(None, tuple(tuple(part.split("/")) for part in OUTSIDE[words[0]]))
    if words and (words[-1] in NEVER or words[0] in NEVER or "norm" in words[-1] or words[-1] == "bias"):
        return Kept(layer, ())
    if numbered and words and words[0] in NEVER | OUTSIDE:  # copies that multi-token prediction has
        return Kept(layer, ())
    if numbered and words and words[0] in BELOW:
        raise _refused(name)
    expert = None
    if "experts" in words[:-1] and words[words.index("experts") + 1].isdecimal():
        expert = int(words.pop(words.index("experts") + 1))
    unknown = next((word for word in words if word not in WORDS), None)
    if unknown is not None:
        raise _refused(name, did_you_mean(unknown, [*WORDS, *OUTSIDE, *NEVER]))
    parts: list[tuple[str, ...]] = [()]
    for word in words:
        parts = [(*part, *step.split("/")) for part in parts for step in WORDS[word]]
    found = tuple(part for part in parts if any(_within(part, tuple(path.split("/"))) for path in IN_BLOCK))
    if not found or not (words or numbered):
        raise _refused(name)
    return Kept(layer, found, expert)


def _place(name: str) -> tuple[int | None, bool, list[str]]:
    """The layer's number, whether the name says of which layer it is, and the words below."""
    words = [word for word in name.strip(".").split(".") if word != "weight"]
    while words and words[0] in ROOTS:
        words = words[1:]
    if len(words) < 2 or words[0] not in STACKS or not words[1].isdecimal():
        return None, False, words
    return _number(words[1], name), True, words[2:]


def _number(digits: str, name: str) -> int:
    if len(digits) > 9:
        raise _refused(name)
    return int(digits)


def _pattern(name: str) -> Kept | Pattern:
    given = name.removeprefix("re:")
    layer = None
    if given != name:
        if len(given) > 4000 or len(re.findall(r"[*+{]", given)) > 5 or re.search(r"\)[*+{]|\.[*+]\.[*+]", given):
            raise GptcalcError(f"{shown(name)}, a pattern of modules' names, repeats too much to be tried")
    else:
        _, numbered, words = _place(re.sub(r"\*.*", "", name))
        if words and not numbered and words[0] in OTHER:
            return Kept(None, ())
        rooted = re.match(r"((?:\w+\.)*)(?:" + "|".join(STACKS) + r")\.(\d{1,9})(.*)$", name)
        if rooted and all(word in ROOTS for word in rooted[1].split(".")[:-1]):
            layer, given = rooted[2], rooted[3]
        given = f"{AFTER if layer is not None else ''}(?:{fnmatch.translate(given)}|{fnmatch.translate(given + '.*')})"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of what another version of Python reads otherwise
            found = Pattern(layer, re.compile(given))
    except (re.error, OverflowError, RecursionError, Warning):
        raise GptcalcError(f"{shown(name)}, a pattern of modules' names, is no regular expression") from None
    numbers = [int(layer)] if layer is not None else range(MOST_LAYERS if _numbered(given) else 1)
    if names_experts(given) or any(found.has(path, number) for number in numbers for path in (*IN_BLOCK, HEAD, EMBEDDING)):
        return found
    samples = SAMPLES if layer is None else [f".{sample.partition('.0.')[2]}" for sample in SAMPLES if ".0." in sample]
    if any(found.expression.match(sample) for sample in samples):
        return Kept(None, ())
    raise _refused(name)


@functools.cache
def tails(path: str, expert: int = 0) -> tuple[str, ...]:
    """What implementations call a matrix of a block, below the block: its names in files.

    >>> tails("mlp/shared/scale")[0]
    'mlp.shared_expert_gate'
    """
    first, _, rest = path.partition("/")
    steps = (first, rest) if rest == "shared/scale" else tuple(path.split("/"))
    words = [[word for word, parts in WORDS.items() if step in parts and not word.endswith("_mlp")] for step in steps]
    words = [
        [*(f"{word}.{expert}" for word in each), *each] if step == "experts" else each for step, each in zip(steps, words, strict=True)
    ]
    names = [".".join(each) for each in itertools.product(*words)]
    beside = [name.partition(".")[2] for name in names if name.startswith("mlp.experts")]  # experts beside an MLP (Gemma 4)
    return (*names, *beside, *(("router.proj",) if path == "mlp/router" else ()))


def _within(part: tuple[str, ...], path: tuple[str, ...]) -> bool:
    return any(path[start : start + len(part)] == part for start in range(len(path) - len(part) + 1))


def _refused(name: str, hint: str | None = None) -> GptcalcError:
    return GptcalcError(f"{shown(name)}, a module that a quantized file names, is no part of a model that gptcalc knows", hint=hint)
