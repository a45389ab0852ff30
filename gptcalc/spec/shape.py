"""The plain form of a model that formulas read: its numbers as ints, arrays or symbols, its categories as `Switches`.

The papers' letters: L n_layer, d d_model, H n_head, K n_kv_head, Q d_head, F d_ff, V vocab_size, P n_position, e d_embedding,
R d_rotary, W sliding_window, y n_token_type, Z d_head_value, q q_lora_rank, c kv_lora_rank, E n_expert, k n_expert_per_token,
f d_expert, s d_shared_expert, j d_expert_latent, o d_output, n n_index_head, i d_index_head, a n_chosen, x n_index_block, p d_per_layer,
u n_per_layer_row, w compression, g n_output_group, l d_output_latent, m n_stream, z norm_gate_rank.
"""

from typing import TYPE_CHECKING, Any, Generic, NamedTuple, cast

from gptcalc.errors import GptcalcError
from gptcalc.spec.sublayers import MIXER_LETTERS, MixerShape, stack_of
from gptcalc.symbols import N

if TYPE_CHECKING:
    from gptcalc.spec.model import ModelSpec
    from gptcalc.symbols import FloatArray

LETTERS = {
    "n_layer": "L",
    "d_model": "d",
    "n_head": "H",
    "n_kv_head": "K",
    "d_head": "Q",
    "d_head_value": "Z",
    "d_ff": "F",
    "vocab_size": "V",
    "n_position": "P",
    "d_embedding": "e",
    "d_output": "o",
    "d_rotary": "R",
    "sliding_window": "W",
    "n_token_type": "y",
    "q_lora_rank": "q",
    "kv_lora_rank": "c",
    "n_index_head": "n",
    "d_index_head": "i",
    "n_chosen": "a",
    "n_index_block": "x",
    "d_per_layer": "p",
    "n_per_layer_row": "u",
    "compression": "w",
    "n_output_group": "g",
    "d_output_latent": "l",
    "n_stream": "m",
    "norm_gate_rank": "z",
    "n_expert": "E",
    "n_expert_per_token": "k",
    "d_expert": "f",
    "d_shared_expert": "s",
    "d_expert_latent": "j",
}
ABSENT_IS_NONE = frozenset(
    (
        "n_position",
        "d_rotary",
        "sliding_window",
        "n_token_type",
        "q_lora_rank",
        "kv_lora_rank",
        "n_index_head",
        "d_index_head",
        "n_chosen",
        "n_index_block",
        "d_per_layer",
        "n_per_layer_row",
        "compression",
        "n_output_group",
        "d_output_latent",
        "n_stream",
        "norm_gate_rank",
        "n_expert",
        "n_expert_per_token",
        "d_expert",
        "d_shared_expert",
        "d_expert_latent",
    )
)
"""Numbers that are zero where an architecture does without what they measure."""

MODEL_LETTERS = frozenset("dVPeoypum")
"""Numbers of the whole model; the others may differ from one kind of block to another."""


class Switches(NamedTuple):
    """The categories of an architecture, which formulas may branch on. The fields are explained in `spec.model.ModelSpec`.

    Those after `head_transform` say whether a number is there at all, or differs from one where one changes nothing.
    """

    position: str = "learned"
    norm: str = "layernorm"
    norm_weight: bool = True
    norm_bias: bool = True
    norm_placement: str = "pre"
    embedding_norm: bool = False
    final_norm: bool = True
    parallel_residual: bool = False
    shared_norm: bool = False
    attention_bias: bool = True
    attention_output_bias: bool = True
    key_bias: bool = True
    causal: bool = True
    cross_attention: bool = False
    idle_cross_attention: bool = False
    window_chunks: bool = False
    qk_norm: str = "none"
    qk_norm_bias: bool = False
    value_norm: bool = False
    keys_are_values: bool = False
    shares_keys: bool = False
    qk_norm_after_rotary: bool = False
    attention_sinks: bool = False
    attention_gate: str = "none"
    inner_norm: bool = False
    mlp_bias: bool = True
    activation: str = "gelu_tanh"
    gated: bool = False
    mlp_beside_experts: bool = False
    shared_expert_gate: bool = False
    router_bias: bool = False
    router_score: str = "softmax"
    router_normalised: bool = True
    router_weighs_input: bool = False
    tied: bool = True
    head_bias: bool = False
    head_transform: str = "none"
    head_transform_bias: bool = True
    projected_embedding: bool = False
    projected_last: bool = False
    rotary_table: bool = False
    windowed: bool = False
    token_types: bool = False
    latent: bool = False
    latent_query: bool = False
    per_layer: bool = False
    compressed_attention: bool = False
    compressed: bool = False
    streams: bool = False
    streams_mixed: bool = False
    norm_gated: bool = False
    mlp_norm_gated: bool = True
    latent_rotary_norm: bool = False
    latent_turns: bool = True
    differential: bool = False
    value_masks: bool = False
    block_scaled: bool = False
    indexed: bool = False
    indexer: bool = False
    index_blocks: bool = False
    experts: bool = False
    shared_expert: bool = False
    latent_experts: bool = False
    qkv_clipped: bool = False
    attention_softcapped: bool = False
    value_scaled: bool = False
    router_scaled: bool = False
    embedding_scaled: bool = False
    residual_scaled: bool = False
    logit_scaled: bool = False
    logit_softcapped: bool = False
    mixer: str = "none"


class Shape(NamedTuple, Generic[N]):
    """A model's numbers. What a model does not have is zero: no learned positions, no rotary width, no window, no experts.

    `vocab_size` is the number of rows of the embedding matrix, padding included. Where layers differ, `kinds` has a shape for each kind
    of block, with the number of its layers as `n_layer`; the numbers beside it are then those of the kind that most layers are of.
    """

    n_layer: N
    d_model: N
    n_head: N
    n_kv_head: N
    d_head: N
    d_head_value: N
    d_attention: N  # n_head * d_head, the width of the queries
    d_kv: N  # n_kv_head * d_head, the width of the keys
    d_value: N  # n_kv_head * d_head_value, the width of the values
    d_mixed: N  # n_head * d_head_value, the width of what attention puts out
    d_ff: N
    vocab_size: N
    n_position: N
    d_embedding: N
    d_output: N  # the width of what the head multiplies
    d_rotary: N
    sliding_window: N
    n_token_type: N
    q_lora_rank: N
    kv_lora_rank: N
    n_index_head: N
    d_index_head: N
    n_chosen: N  # the keys that an indexer leaves a query
    n_index_block: N  # keys that it chooses together
    d_per_layer: N
    n_per_layer_row: N
    compression: N  # tokens of an entry
    n_output_group: N
    d_output_latent: N
    n_stream: N
    norm_gate_rank: N
    n_expert: N
    n_expert_per_token: N
    d_expert: N
    d_shared_expert: N
    d_expert_latent: N
    switches: Switches
    kinds: "tuple[tuple[str, Shape[N]], ...]" = ()
    stack: tuple[tuple[str, ...], ...] = ()  # the sublayers of a block; those of one group stand side by side
    mixer: "MixerShape[N] | None" = None

    def has(self, *names: str) -> bool:
        """Whether a block of this kind has one of these sublayers."""
        return any(name in names for group in self.stack for name in group)

    @property
    def blocks(self) -> "list[tuple[str, Shape[N]]]":
        """Each kind of block: the first part of its operations' paths, and its shape."""
        return [(block_path(name), kind) for name, kind in self.kinds] or [("block", self)]

    @property
    def letters(self) -> dict[str, N]:
        """The value of each letter that a formula's text may use; `F_moe` is F in the blocks of kind moe, where kinds differ in it."""
        letters = {letter: getattr(self, name) for name, letter in LETTERS.items()}
        for kind, shape in [*self.kinds, ("", self)]:
            for name, letter in MIXER_LETTERS.items() if shape.mixer else ():
                letters |= {letter: getattr(shape.mixer, name)} | ({f"{letter}_{kind}": getattr(shape.mixer, name)} if kind else {})
        for kind, shape in self.kinds:
            for name, letter in LETTERS.items():
                value: Any = getattr(shape, name)
                lacking = isinstance(letters[letter], int | None) and not letters[letter]  # an array has it in some place
                letters |= {letter: value} if lacking else {}
                letters |= {} if letter in MODEL_LETTERS else {f"{letter}_{kind}": value}
        return letters


def block_path(kind: str) -> str:
    """The first part of the paths of a block's operations, in formulas and in the reference.

    >>> block_path("moe"), block_path("")
    ('block moe', 'block')
    """
    return f"block {kind}" if kind else "block"


def shape_of(spec: "ModelSpec") -> Shape[int]:
    """The shape of a spec, with everything that it leaves to its default filled in.

    Raises GptcalcError where a width does not divide by its number of heads, naming both numbers.
    """
    return cast("Shape[int]", _resolve(spec, {}))


def vary(spec: "ModelSpec", **numbers: Any) -> "Shape[FloatArray]":
    """The shapes of many variants at once: any numeric field of the spec as an array; what depends on it follows.

    Arrays are float64, which holds every count below 2**53 exactly; int64 would overflow in silence.
    Raises GptcalcError for fields that are not a model's numbers, values below one, and widths that do not divide.
    """
    import numpy as np

    arrays: dict[str, Any] = {}
    if spec.blocks and "n_layer" in numbers:
        raise GptcalcError("n_layer cannot vary in a model whose layout says what each layer is")
    for name, value in numbers.items():
        if name not in LETTERS:
            from gptcalc.errors import did_you_mean

            raise GptcalcError(f"'{name}' is not a number of a model", hint=did_you_mean(name, LETTERS))
        if name in ABSENT_IS_NONE and getattr(shape_of(spec), name) == 0:
            raise GptcalcError(f"{name} cannot vary in a model that has none")
        arrays[name] = np.asarray(value, dtype=np.float64)
        if not np.all((arrays[name] >= 1) & (arrays[name] == np.floor(arrays[name])) & (arrays[name] < 2**53)):
            raise GptcalcError(f"{name} must be whole numbers from 1 to 2**53 in every place of the array")
    return cast("Shape[FloatArray]", _resolve(spec, arrays))


def _resolve(spec: "ModelSpec", given: dict[str, Any]) -> Shape[Any]:
    if not spec.blocks:
        return _resolve_alike(spec, given)
    kinds = []
    for name, kind in spec.kinds.items():
        # What varies is the model's own field: a kind that sets the field for itself keeps it.
        kinds.append((name, _resolve_alike(kind, {field: value for field, value in given.items() if field not in spec.blocks[name]})))
    main = max(kinds, key=lambda kind: spec.kinds[kind[0]].n_layer)[1]
    return main._replace(n_layer=spec.n_layer, kinds=tuple(kinds))


def _resolve_alike(spec: "ModelSpec", given: dict[str, Any]) -> Shape[Any]:
    def number(name: str, default: Any = 0) -> Any:
        value = given.get(name, getattr(spec, name))
        return default if value is None else value

    d_model, n_head = number("d_model"), number("n_head")
    n_kv_head, d_head = number("n_kv_head", None), number("d_head", None)
    if d_head is None:
        d_head = _divide(d_model, n_head, "d_model", "n_head")
    if n_kv_head is None:
        n_kv_head = n_head
    else:
        _divide(n_head, n_kv_head, "n_head", "n_kv_head")
    d_attention, d_kv = n_head * d_head, n_kv_head * d_head
    d_value = number("d_head_value", None)  # reused where left out: arrays of variants are not multiplied twice
    d_ff = number("d_ff", 4 * d_model)
    d_embedding = number("d_embedding", d_model)
    padded = spec.padded_vocab_size if "vocab_size" not in given else None
    return Shape(
        n_layer=number("n_layer"),
        d_model=d_model,
        n_head=n_head,
        n_kv_head=n_kv_head,
        d_head=d_head,
        d_head_value=d_head if d_value is None else d_value,
        d_attention=d_attention,
        d_kv=d_kv,
        d_value=d_kv if d_value is None else n_kv_head * d_value,
        d_mixed=d_attention if d_value is None else n_head * d_value,
        d_ff=d_ff,
        vocab_size=padded or number("vocab_size"),
        n_position=number("n_position", spec.n_ctx) if spec.position == "learned" or spec.rotary_table else 0,
        d_embedding=d_embedding,
        d_output=number("d_output", d_embedding),
        d_rotary=number("d_rotary", d_head) if spec.position == "rotary" else 0,
        sliding_window=number("sliding_window"),
        n_token_type=number("n_token_type"),
        q_lora_rank=number("q_lora_rank"),
        kv_lora_rank=number("kv_lora_rank"),
        **_of_indexer(spec, given),
        d_per_layer=given.get("d_per_layer", spec.own_embedding.width if spec.own_embedding else 0),
        compression=given.get("compression", (spec.compressed and spec.compressed.rate) or 0),
        n_output_group=given.get("n_output_group", spec.compressed.n_group if spec.compressed else 0),
        d_output_latent=given.get("d_output_latent", spec.compressed.d_latent if spec.compressed else 0),
        n_stream=given.get("n_stream", spec.streams.n if spec.streams else 0),
        norm_gate_rank=number("norm_gate_rank"),
        n_per_layer_row=given.get("n_per_layer_row", spec.own_embedding.vocab_size if spec.own_embedding else 0),
        n_expert=number("n_expert"),
        n_expert_per_token=number("n_expert_per_token"),
        d_expert=number("d_expert", d_ff) if spec.n_expert else 0,
        d_shared_expert=number("d_shared_expert"),
        d_expert_latent=number("d_expert_latent"),
        switches=_switches_of(spec),
        stack=stack_of(spec),
        mixer=None if spec.mixer is None else MixerShape(*spec.mixer.sizes, spec.mixer),
    )


def _of_indexer(spec: "ModelSpec", given: dict[str, Any]) -> dict[str, Any]:
    one = spec.indexer
    own = 0 if one is None or one.shared else 1
    found = {"n_index_head": one.n_head * own, "d_index_head": one.d_head * own, "n_chosen": one.top_k * (one.block or 1)} if one else {}
    found |= {"n_index_block": one.block} if one and one.block else {}
    return {name: given.get(name, found.get(name, 0)) for name in ("n_index_head", "d_index_head", "n_chosen", "n_index_block")}


PRESENT = {
    "projected_embedding": "d_embedding",
    "windowed": "sliding_window",
    "token_types": "n_token_type",
    "latent": "kv_lora_rank",
    "latent_query": "q_lora_rank",
    "indexed": "indexer",
    "per_layer": "own_embedding",
    "compressed_attention": "compressed",
    "streams": "streams",
    "norm_gated": "norm_gate_rank",
    "experts": "n_expert",
    "shared_expert": "d_shared_expert",
    "latent_experts": "d_expert_latent",
    "qkv_clipped": "qkv_clip",
    "attention_softcapped": "attention_softcap",
    "logit_softcapped": "logit_softcap",
}
SCALED = {
    "value_scaled": "value_scale",
    "router_scaled": "router_scale",
    "embedding_scaled": "embedding_scale",
    "residual_scaled": "residual_scale",
    "logit_scaled": "logit_scale",
}


def _switches_of(spec: "ModelSpec") -> Switches:
    values: dict[str, Any] = {}
    for name in Switches._fields:
        if name == "indexer":
            values[name] = spec.indexer is not None and not spec.indexer.shared
        elif name == "compressed":
            values[name] = spec.compressed is not None and spec.compressed.rate is not None
        elif name == "streams_mixed":
            values[name] = spec.streams is not None and spec.streams.mixed
        elif name == "index_blocks":
            values[name] = spec.indexer is not None and spec.indexer.block is not None
        elif name in PRESENT:
            values[name] = getattr(spec, PRESENT[name]) is not None
        elif name == "mixer":
            values[name] = "none" if spec.mixer is None else spec.mixer.kind
        elif name in SCALED:
            values[name] = getattr(spec, SCALED[name]) != 1
        else:
            values[name] = getattr(spec, name)
    return Switches(**values)


def _divide(a: Any, b: Any, name_a: str, name_b: str) -> Any:
    left = a % b
    if left if isinstance(left, int) else left.any():
        shown = (
            f"{name_a} {a} is not a multiple of {name_b} {b}"
            if isinstance(left, int)
            else f"{name_a} is not a multiple of {name_b} in every place of the array"
        )
        raise GptcalcError(shown, hint=f"choose {name_b} so that it divides {name_a}" + (", or give d_head" if name_b == "n_head" else ""))
    return a // b
