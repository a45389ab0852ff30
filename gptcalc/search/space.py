"""Which layouts a search tries: what was asked for, and for the rest every size that the model, the batch and the devices allow.

- `read_set`: one value, several, or a range. `space_of`: the lists of one search.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from math import isqrt
from typing import TYPE_CHECKING, Any

from gptcalc.errors import GptcalcError
from gptcalc.search.columns import Space
from gptcalc.spec.legality import Sizes, has_experts, legal
from gptcalc.spec.options import LARGEST
from gptcalc.spec.reading import quoted
from gptcalc.spec.recipe import check_recompute
from gptcalc.units import parse_number

if TYPE_CHECKING:
    from gptcalc.spec.model import ModelSpec

FEWEST_TOKENS = 512
"""Tokens of a sequence that a context-parallel rank has at least, where no sizes are asked for: with fewer, rings are all latency."""

RECOMPUTE = ("none", "selective", "full")
MOST_VALUES = 10_000
RANGE = re.compile(r"\s*([^.:,\s]+)\s*\.\.\s*([^.:,\s]+)\s*(?::\s*([^.:,\s]+)\s*)?")


def read_set(name: str, value: Any) -> tuple[int, ...]:
    """Whole numbers above zero, ascending: one, several ("1,2,4,8" or a list), or a range: "64..4096" doubles, "8..96:8" steps.

    Raises GptcalcError for everything else, and for a range without a number in it.

    >>> read_set("tp", "1,2,4"), read_set("count", "64..512"), read_set("count", "96..384:96"), read_set("pp", 8)
    ((1, 2, 4), (64, 128, 256, 512), (96, 192, 288, 384), (8,))
    """
    found: list[int] = []
    parts: Any = [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value
    parts = parts if isinstance(parts, list | tuple | range) or hasattr(parts, "tolist") else [parts]
    for part in parts.tolist() if hasattr(parts, "tolist") else parts:
        match = RANGE.fullmatch(part) if isinstance(part, str) else None
        if match:
            low, high = _whole(name, match[1]), _whole(name, match[2])
            if low > high:
                raise GptcalcError(f"{name} {quoted(value)} is a range from high to low", hint=f"write {high}..{low}")
            step = None if match[3] is None else _whole(name, match[3])
            found += _stepped(name, low, high, step)
        else:
            found.append(_whole(name, part))
    if not found:
        raise GptcalcError(f"{name} names no size", hint=f"for example {name} 8, 1,2,4,8, 1..64 (doubling) or 8..96:8")
    return tuple(sorted(set(found)))


def _stepped(name: str, low: int, high: int, step: int | None) -> list[int]:
    if step is None:
        found = [low]
        while found[-1] * 2 <= high:
            found.append(found[-1] * 2)
        return found
    if (high - low) // step > MOST_VALUES:
        raise GptcalcError(f"{name} has {(high - low) // step + 1:,} sizes: at most {MOST_VALUES:,}", hint="give a larger step")
    return list(range(low, high + 1, step))


def _whole(name: str, value: Any) -> int:
    try:
        number = parse_number(value.strip() if isinstance(value, str) else value, of_bytes=False)
    except GptcalcError as error:
        raise GptcalcError(f"{name}: {error}", hint=error.hint) from None
    if isinstance(value, bool) or not isinstance(number, int) or not 1 <= number <= LARGEST:
        raise GptcalcError(f"{name} must be whole numbers above zero, not {quoted(value)}")
    return number


def read_words(name: str, value: Any, check: Callable[[str], object]) -> tuple[str, ...]:
    """One word or several, with commas between them or in a list; `check` refuses what is none."""
    parts = [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not parts or not all(isinstance(word, str) for word in parts):
        raise GptcalcError(f"{name} {quoted(value)} is not a list of words")
    for word in parts:
        check(word)
    return tuple(dict.fromkeys(parts))


def read_flags(name: str, value: Any) -> tuple[bool, ...]:
    """One flag, or both, without repeats.

    Raises GptcalcError for what is none.

    >>> read_flags("sequence_parallel", [True, False, True])
    (False, True)
    """
    parts = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not parts or not all(isinstance(one, bool) for one in parts):
        raise GptcalcError(f"{name} must be True, False or both, not {quoted(value)}")
    return tuple(sorted(set(parts)))


def divisors(number: int) -> list[int]:
    """Ascending.

    >>> divisors(12)
    [1, 2, 3, 4, 6, 12]
    """
    small = [n for n in range(1, isqrt(number) + 1) if number % n == 0]
    return sorted({*small, *(number // n for n in small)})


def space_of(
    model: ModelSpec, count: int, global_batch: int, seq: int, asked: Mapping[str, Any], *, sequence_parallel: bool, whole: bool = False
) -> Space:
    """Every size that alone breaks no rule; `sequence_parallel`: whether the software divides sequences among tensor-parallel ranks;
    `whole`: whether the optimizer needs whole matrices.

    Raises GptcalcError for what is asked and is no size.
    """

    def alone(name: str, values: Iterable[int], **beside: int) -> tuple[int, ...]:
        """Those that a layout of this one size may have; all, where none may, so that the refusal can say why."""
        values = tuple(values)
        kept = tuple(value for value in values if legal(model, _judged(name, value, global_batch, seq, beside)))
        return kept or values

    def sizes(name: str, usual: Iterable[int]) -> tuple[int, ...]:
        return read_set(name, asked[name]) if asked.get(name) is not None else alone(name, usual)

    of_count = divisors(count)
    experts = [kind.n_expert or 1 for kind in (model.kinds.values() if model.kinds else [model])] if has_experts(model) else [1]
    stages = [p for p in of_count if p <= model.n_layer]
    chunks = _chunks(model.n_layer, read_set("pp", asked["pp"]) if asked.get("pp") is not None else stages)
    flags = (False, True) if sequence_parallel else (False,)
    recompute, zero = asked.get("recompute"), asked.get("zero")
    return Space(
        tp=sizes("tp", [1] if whole else of_count),
        pp=sizes("pp", stages),
        cp=sizes("cp", [c for c in of_count if c == 1 or seq // c >= FEWEST_TOKENS]),
        ep=sizes("ep", sorted({g for n in experts for g in divisors(n) if count % g == 0})),
        batch=sizes("batch", divisors(global_batch)),
        virtual_stages=read_set("virtual_stages", asked["virtual_stages"]) if asked.get("virtual_stages") is not None else chunks,
        dp=None if asked.get("dp") is None else read_set("dp", asked["dp"]),
        seq=seq,
        count=count,
        global_batch=global_batch,
        recompute=RECOMPUTE if recompute is None else read_words("recompute", recompute, check_recompute),
        zero=(0, 1, 2, 3) if zero is None else _stages(zero),
        sequence_parallel=flags if asked.get("sequence_parallel") is None else read_flags("sequence_parallel", asked["sequence_parallel"]),
    )


def _chunks(n_layer: int, stages: Iterable[int]) -> tuple[int, ...]:
    """The numbers of chunks that leave less than a layer of a stage empty, or the two that embedding and loss stand for.

    >>> _chunks(126, [16]), _chunks(61, [8]), _chunks(96, [8])
    ((1, 2, 4, 8), (1, 2, 4, 8), (1, 2, 3, 4, 6, 12))
    """
    found = {1}
    for p in stages:
        for v in range(2, n_layer // max(p, 1) + 2) if p > 1 else ():
            whole = v * -(-n_layer // (p * v))
            if whole > 1 and p * whole - n_layer <= max(2, p - 1):
                found.add(v)
    return tuple(sorted(found))


def _judged(name: str, value: int, global_batch: int, seq: int, beside: dict[str, int]) -> Sizes:
    """A layout of one size alone: as many devices as it needs."""
    own = {"dp": value} if name == "ep" else {}
    count = value if name in ("tp", "pp", "cp", "ep") else 1
    rest = {"global_batch": global_batch if name == "batch" else value, "seq": seq} | own | beside
    return Sizes(**{name: value, "count": count, **rest})


def _stages(value: Any) -> tuple[int, ...]:
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    found = []
    for part in parts:
        text = str(part).strip()
        if isinstance(part, bool) or text not in ("0", "1", "2", "3"):
            raise GptcalcError(f"zero {quoted(value)} is not one of 0, 1, 2, 3, or several of them")
        found.append(int(text))
    if not found:
        raise GptcalcError("zero names no stage", hint="0, 1, 2, 3 or several of them")
    return tuple(sorted(set(found)))


def nearest_count(model: ModelSpec, space: Space, asked: Mapping[str, Any]) -> int | None:
    """The number of devices nearest to those of a space that has a legal plan of what is asked; None where none is near."""
    for apart in range(1, MOST_TRIED + 1):
        for count in (space.count - apart, space.count + apart):
            if count >= 1 and _any_legal(model, space_of(model, count, space.global_batch, space.seq, asked, sequence_parallel=True)):
                return count
    return None


MOST_TRIED = 300


def _any_legal(model: ModelSpec, space: Space) -> bool:
    import numpy as np

    axes = [np.asarray(axis, dtype=np.float64) for axis in (space.tp, space.pp, space.cp, space.ep, space.batch, space.virtual_stages)]
    tp, pp, cp, ep, batch, v = np.ix_(*axes)
    dp = np.maximum(space.count // (tp * pp * cp), 1)
    fields = {"tp": tp, "pp": pp, "cp": cp, "dp": dp, "ep": ep, "virtual_stages": v, "count": space.count, "batch": batch}
    held = False
    for parallel in space.sequence_parallel:
        sizes = Sizes(**fields, sequence_parallel=parallel, global_batch=space.global_batch, seq=space.seq)
        allowed = legal(model, sizes)
        held = held or bool((allowed if space.dp is None else allowed & np.isin(dp, space.dp)).any())
    return held
