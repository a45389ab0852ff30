"""The plain form of a model that formulas read: its numbers as ints, arrays or symbols, its categories as `Switches`.

The papers' letters: L n_layer, d d_model, H n_head, K n_kv_head, Q d_head, F d_ff, V vocab_size, P n_position, e d_embedding,
R d_rotary, W sliding_window.
"""

from typing import TYPE_CHECKING, Any, Generic, NamedTuple, cast

from gptcalc.errors import GptcalcError
from gptcalc.symbols import N, Symbol

if TYPE_CHECKING:
    from gptcalc.spec.model import ModelSpec
    from gptcalc.symbols import FloatArray

LETTERS = {
    "n_layer": "L",
    "d_model": "d",
    "n_head": "H",
    "n_kv_head": "K",
    "d_head": "Q",
    "d_ff": "F",
    "vocab_size": "V",
    "n_position": "P",
    "d_embedding": "e",
    "d_rotary": "R",
    "sliding_window": "W",
}


class Switches(NamedTuple):
    """The categories of an architecture, which formulas may branch on. The fields are explained in `spec.model.ModelSpec`."""

    position: str = "learned"
    norm: str = "layernorm"
    norm_weight: bool = True
    norm_bias: bool = True
    norm_placement: str = "pre"
    final_norm: bool = True
    parallel_residual: bool = False
    shared_norm: bool = False
    attention_bias: bool = True
    attention_output_bias: bool = True
    mlp_bias: bool = True
    activation: str = "gelu_tanh"
    gated: bool = False
    tied: bool = True
    head_bias: bool = False
    projected_embedding: bool = False
    windowed: bool = False


class Shape(NamedTuple, Generic[N]):
    """A model's numbers. What a model does not have is zero: no learned positions, no rotary width, no window.

    `vocab_size` is the number of rows of the embedding matrix, padding included.
    """

    n_layer: N
    d_model: N
    n_head: N
    n_kv_head: N
    d_head: N
    d_attention: N  # n_head * d_head, the width of the queries
    d_kv: N  # n_kv_head * d_head, the width of the keys and of the values
    d_ff: N
    vocab_size: N
    n_position: N
    d_embedding: N
    d_rotary: N
    sliding_window: N
    switches: Switches

    @property
    def letters(self) -> dict[str, N]:
        """The value of each letter that a formula's text may use."""
        return {letter: getattr(self, name) for name, letter in LETTERS.items()}


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
    for name, value in numbers.items():
        if name not in LETTERS:
            from gptcalc.errors import did_you_mean

            raise GptcalcError(f"'{name}' is not a number of a model", hint=did_you_mean(name, LETTERS))
        arrays[name] = np.asarray(value, dtype=np.float64)
        if not np.all((arrays[name] >= 1) & (arrays[name] == np.floor(arrays[name])) & (arrays[name] < 2**53)):
            raise GptcalcError(f"{name} must be whole numbers from 1 to 2**53 in every place of the array")
    return cast("Shape[FloatArray]", _resolve(spec, arrays))


def _resolve(spec: "ModelSpec", given: dict[str, Any]) -> Shape[Any]:
    def number(name: str) -> Any:
        return given.get(name, getattr(spec, name))

    d_model, n_head = number("d_model"), number("n_head")
    n_kv_head, d_head = number("n_kv_head"), number("d_head")
    if d_head is None:
        d_head = _divide(d_model, n_head, "d_model", "n_head")
    if n_kv_head is None:
        n_kv_head = n_head
    else:
        _divide(n_head, n_kv_head, "n_head", "n_kv_head")
    rotary = number("d_rotary")
    position = number("n_position")
    padded = spec.padded_vocab_size if "vocab_size" not in given else None
    return Shape(
        n_layer=number("n_layer"),
        d_model=d_model,
        n_head=n_head,
        n_kv_head=n_kv_head,
        d_head=d_head,
        d_attention=n_head * d_head,
        d_kv=n_kv_head * d_head,
        d_ff=4 * d_model if number("d_ff") is None else number("d_ff"),
        vocab_size=padded or number("vocab_size"),
        n_position=(spec.n_ctx if position is None else position) if spec.position == "learned" else 0,
        d_embedding=d_model if number("d_embedding") is None else number("d_embedding"),
        d_rotary=(d_head if rotary is None else rotary) if spec.position == "rotary" else 0,
        sliding_window=number("sliding_window") or 0,
        switches=switches_of(spec),
    )


def switches_of(spec: "ModelSpec") -> Switches:
    derived = {"projected_embedding": spec.d_embedding is not None, "windowed": spec.sliding_window is not None}
    values: dict[str, Any] = {name: derived[name] if name in derived else getattr(spec, name) for name in Switches._fields}
    return Switches(**values)


def symbolic(shape: Shape[int]) -> Shape[Symbol]:
    """The same architecture in letters, with the identities that hold for it: F is written 4d where it is, H·Q as d, K as H.

    >>> from gptcalc.spec.files import load_model
    >>> str(symbolic(shape_of(load_model("gpt2"))).d_ff), str(symbolic(shape_of(load_model("llama2-7b"))).d_ff)
    ('4*d', 'F')
    """
    letter: dict[str, Any] = {name: Symbol.letter(text) for name, text in LETTERS.items()}
    d, H, K, Q = letter["d_model"], letter["n_head"], letter["n_kv_head"], letter["d_head"]
    if shape.n_kv_head == shape.n_head:
        letter["n_kv_head"] = K = H
    attention = d if shape.n_head * shape.d_head == shape.d_model else H * Q
    letter["d_attention"] = attention
    letter["d_kv"] = attention if shape.n_kv_head == shape.n_head else K * Q
    if shape.d_ff == 4 * shape.d_model:
        letter["d_ff"] = 4 * d
    if shape.d_embedding == shape.d_model:
        letter["d_embedding"] = d
    if shape.d_rotary == shape.d_head:
        letter["d_rotary"] = Q
    return cast("Shape[Symbol]", shape._replace(**letter))


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
