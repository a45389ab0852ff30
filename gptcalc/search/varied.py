"""What a sweep varies: the fields that may be, and the values that each takes.

- `read_vary`: fields and their values, from text or from lists.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from math import prod
from typing import Any

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.spec.fields import options_of
from gptcalc.spec.plan import SweepOptions
from gptcalc.spec.reading import quoted
from gptcalc.units import parse_number

MOST_POINTS = 1_000_000
"""Of one sweep: each is a row of the answer."""

SERVING = ("prompt", "output", "kv_precision", "group_size", "block_size", "server", "concurrency", "rate", "attention_dp")
"""Options of `infer` that training does not have."""

COUNTING = ("phase", "attention")
"""Options of `flops`."""

NO_NUMBER = {
    "name",
    "family",
    "source",
    "notes",
    "published",
    "left_out",
    "unread",
    "towers",
    "own_code",
    "quantization",
    "blocks",
    "layout",
}
"""Fields of a model that are no question of more or less."""

RANGE = re.compile(r"\s*([^:\s]+?)\s*\.\.\s*([^:\s]+?)\s*(?::\s*(\S+)\s*)?")
HOW = "for example d_model=768..12288:128, tp=1..8 (doubling), recompute=none,full"


def fields_of_models() -> list[str]:
    """The fields of a model that a sweep may vary."""
    from gptcalc.spec.model import ModelSpec

    return [name for name in ModelSpec.model_fields if name not in NO_NUMBER]


def read_vary(vary: Any) -> dict[str, tuple[Any, ...]]:
    """Fields, each with its values in the order in which they are given; `vary` is a mapping, or texts of the form field=values.

    Raises GptcalcError for fields that there are not, ranges that are empty, and more points than a sweep has.

    >>> read_vary({"tp": "1..8", "d_model": "1024..2048:512", "recompute": "none,full"})
    {'tp': (1, 2, 4, 8), 'd_model': (1024, 1536, 2048), 'recompute': ('none', 'full')}
    """
    pairs = [] if vary is None else _pairs(vary)
    if not pairs:
        raise GptcalcError("a sweep varies at least one field", hint=f"--vary FIELD=VALUES, {HOW}")
    known = [*fields_of_models(), *options_of(SweepOptions), *SERVING, *COUNTING]
    found: dict[str, tuple[Any, ...]] = {}
    for given, values in pairs:
        name = str(given).strip().replace("-", "_")
        if name not in known:
            raise GptcalcError(f"{quoted(given)} is no field of a model, a recipe, a layout or a request", hint=did_you_mean(name, known))
        if name in found:
            raise GptcalcError(f"{name} is varied twice", hint=f"give its values together, {HOW}")
        found[name] = read_values(name, values)
    size = prod(len(values) for values in found.values())
    if size > MOST_POINTS:
        longest = max(found, key=lambda name: len(found[name]))
        raise GptcalcError(
            f"{size:,} points are too many: at most {MOST_POINTS:,}",
            hint=f"vary {longest} in larger steps: it has {len(found[longest]):,} values",
        )
    return found


def _pairs(vary: Any) -> list[tuple[Any, Any]]:
    if isinstance(vary, Mapping):
        return list(vary.items())
    if isinstance(vary, str):
        vary = [vary]
    if not isinstance(vary, list | tuple) or not all(isinstance(one, str) for one in vary):
        raise GptcalcError("what varies is a mapping of fields to values, or a list of texts", hint='as {"n_layer": "12..96:12"}')
    found = []
    for text in vary:
        name, equals, values = text.partition("=")
        if not equals or not name.strip() or not values.strip():
            raise GptcalcError(f"--vary {quoted(text)} is not of the form field=values", hint=HOW)
        found.append((name, values))
    return found


def read_values(name: str, value: Any) -> tuple[Any, ...]:
    """Numbers, flags and words of one field, each once: one, several with commas between them or in a list, ranges.

    >>> read_values("price", "2..3:0.5"), read_values("precision", ["fp8", "bf16"]), read_values("gated", "true,false")
    ((2, 2.5, 3), ('fp8', 'bf16'), (True, False))
    """
    parts: Any = [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value
    if hasattr(parts, "tolist"):
        parts = parts.tolist()
    parts = list(parts) if isinstance(parts, list | tuple | range) else [parts]
    found: list[Any] = []
    for part in parts:
        match = RANGE.fullmatch(part) if isinstance(part, str) else None
        found += _range(name, part, match) if match else [_one(name, part)]
        if len(found) > MOST_POINTS:
            raise GptcalcError(f"{name} has {len(found):,} values: at most {MOST_POINTS:,}", hint="give a larger step")
    if not found:
        raise GptcalcError(f"{name} has no values", hint=HOW)
    return tuple(dict.fromkeys(found))


FLAGS = {"true": True, "false": False, "yes": True, "no": False}


def _one(name: str, part: Any) -> Any:
    if isinstance(part, bool):
        return part
    if isinstance(part, int | float):
        return parse_number(part, of_bytes=False)
    if not isinstance(part, str):
        raise GptcalcError(f"{name} {quoted(part)} is no number and no word", hint=HOW)
    text = part.strip()
    if text.lower() in FLAGS:
        return FLAGS[text.lower()]
    try:
        return parse_number(text, of_bytes=False)
    except GptcalcError as error:
        if name in _counts():
            raise GptcalcError(f"{name}: {error}", hint=error.hint) from None
        return text


def _counts() -> list[str]:
    return [name for name, option in options_of(SweepOptions).items() if option.kind == "count"]


def _range(name: str, text: str, match: re.Match[str]) -> Iterable[int | float]:
    low, high = (_number(name, match[group]) for group in (1, 2))
    if low > high:
        raise GptcalcError(f"{name} {quoted(text)} is a range from high to low", hint=f"write {match[2]}..{match[1]}")
    if match[3] is None:
        if not isinstance(low, int) or low < 1:
            raise GptcalcError(
                f"{name} {quoted(text)} has no step", hint=f"write {match[1]}..{match[2]}:STEP; whole numbers double without"
            )
        found = [low]
        while found[-1] * 2 <= high:
            found.append(found[-1] * 2)
        return found
    step = _number(name, match[3])
    if step <= 0:
        raise GptcalcError(f"{name} {quoted(text)} has a step of {match[3]}", hint="a step is above zero")
    first, apart = Decimal(str(low)), Decimal(str(step))
    count = int((Decimal(str(high)) - first) // apart) + 1
    if count > MOST_POINTS:
        raise GptcalcError(f"{name} has {count:,} values: at most {MOST_POINTS:,}", hint="give a larger step")
    return [_plain(first + apart * number) for number in range(count)]


def _plain(number: Decimal) -> int | float:
    return int(number) if number == number.to_integral_value() else float(number)


def _number(name: str, text: str) -> int | float:
    try:
        return parse_number(text, of_bytes=False)
    except GptcalcError as error:
        raise GptcalcError(f"{name}: {error}", hint=error.hint) from None
