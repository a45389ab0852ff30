"""A shape in letters, so that a formula writes its own text down."""

from typing import Any, cast

from gptcalc.spec.shape import LETTERS, MODEL_LETTERS, Shape
from gptcalc.spec.sublayers import MIXER_LETTERS
from gptcalc.symbols import Symbol


def symbolic(shape: Shape[int], *, identities: bool = True) -> Shape[Symbol]:
    """The same architecture in letters, with the identities that hold for it: F is written 4d where it is, H·Q as d, K as H.

    Without `identities` every number has its own letter: on one of several devices they do not hold.

    >>> from gptcalc.spec.files import load_model
    >>> from gptcalc.spec.shape import shape_of
    >>> str(symbolic(shape_of(load_model("gpt2"))).d_ff), str(symbolic(shape_of(load_model("llama2-7b"))).d_ff)
    ('4*d', 'F')
    """
    if not shape.kinds:
        return _symbolic(shape, dict(LETTERS), identities)
    kinds = []
    for name, kind in shape.kinds:
        letters = {
            field: letter if letter in MODEL_LETTERS or _same_in_all(shape, field) else f"{letter}_{name}"
            for field, letter in LETTERS.items()
        }
        mixer = {field: letter if _same_mixer(shape, field) else f"{letter}_{name}" for field, letter in MIXER_LETTERS.items()}
        kinds.append((name, _symbolic(kind, letters, identities, mixer)))
    return _symbolic(shape._replace(kinds=()), dict(LETTERS), identities)._replace(kinds=tuple(kinds))


def _same_in_all(shape: Shape[int], field: str) -> bool:
    """Whether all kinds that have such a number have the same one."""
    return field != "n_layer" and len({getattr(kind, field) for _, kind in shape.kinds} - {0}) <= 1


def _same_mixer(shape: Shape[int], field: str) -> bool:
    return len({getattr(kind.mixer, field) for _, kind in shape.kinds if kind.mixer}) <= 1


def _symbolic(shape: Shape[int], letters: dict[str, str], identities: bool, mixer: dict[str, str] = MIXER_LETTERS) -> Shape[Symbol]:
    letter: dict[str, Any] = {name: Symbol.letter(text) for name, text in letters.items()}
    if shape.mixer is not None:
        letter["mixer"] = shape.mixer._replace(**{name: Symbol.letter(text) for name, text in mixer.items()})  # type: ignore[arg-type]
    d, H, K, Q = letter["d_model"], letter["n_head"], letter["n_kv_head"], letter["d_head"]
    if shape.d_output == shape.d_embedding:
        letter["d_output"] = letter["d_embedding"]
    if not identities:
        Z = letter["d_head_value"]
        return cast("Shape[Symbol]", shape._replace(**letter, d_attention=H * Q, d_kv=K * Q, d_value=K * Z, d_mixed=H * Z))
    if shape.n_kv_head == shape.n_head:
        letter["n_kv_head"] = K = H
    attention = d if shape.n_head * shape.d_head == shape.d_model else H * Q
    letter["d_attention"] = attention
    letter["d_kv"] = attention if shape.n_kv_head == shape.n_head else K * Q
    if shape.d_head_value == shape.d_head:
        letter |= {"d_head_value": Q, "d_value": letter["d_kv"], "d_mixed": attention}
    else:
        letter |= {"d_value": K * letter["d_head_value"], "d_mixed": H * letter["d_head_value"]}
    if shape.d_ff == 4 * shape.d_model:
        letter["d_ff"] = 4 * d
    if shape.d_expert == shape.d_ff:
        letter["d_expert"] = letter["d_ff"]
    if shape.d_embedding == shape.d_model:
        letter["d_embedding"] = d
        letter["d_output"] = d if shape.d_output == shape.d_model else letter["d_output"]
    if shape.d_rotary == shape.d_head:
        letter["d_rotary"] = Q
    return cast("Shape[Symbol]", shape._replace(**letter))
