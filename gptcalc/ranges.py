"""Reading numbers, also those that are known only between two values: a low, a likely and a high one; and which spreads an answer most."""

from __future__ import annotations

from typing import Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.spec.options import LARGEST, float_array
from gptcalc.spec.reading import quoted
from gptcalc.units import parse_number


class Range(NamedTuple):
    """Three values of one input; all the same where it is known. Each may be an array."""

    low: Any
    likely: Any
    high: Any

    @property
    def known(self) -> bool:
        """Whether low, likely and high are one value."""
        return self.low is self.likely and self.likely is self.high


def exactly(value: Any) -> Range:
    """The range of a value that is known."""
    return Range(value, value, value)


def read_range(value: Any, name: str) -> Range:
    """A number, `low..high` (the middle is likely), `low..likely..high`, a tuple of two or three, or an array of numbers.

    A price may have its dollar sign, a share its per cent.
    Raises GptcalcError for anything else, and for values that fall.

    >>> read_range("0.35..0.45", "mfu"), read_range("45%", "mfu").likely, read_range("$2.50", "price").likely
    (Range(low=0.35, likely=0.4, high=0.45), 0.45, 2.5)
    """
    if isinstance(value, Range):
        return value
    if hasattr(value, "dtype") or isinstance(value, list):
        return exactly(_filled(value, name))
    try:
        if not isinstance(value, tuple) and not (isinstance(value, str) and ".." in value):
            return exactly(_end(value, name))
        ends = [_end(part, name) for part in (value if isinstance(value, tuple) else value.split(".."))]
    except GptcalcError as error:
        raise GptcalcError(f"{name}: {error}", hint=error.hint) from None
    if len(ends) == 2:
        ends.insert(1, round((ends[0] + ends[1]) / 2, 12))
    if len(ends) != 3 or ends != sorted(ends):
        raise GptcalcError(f"{name} {quoted(value)} is not a range", hint="write low..high or low..likely..high, as in 0.35..0.45")
    return Range(*ends)


def _end(value: Any, name: str) -> float:
    text = value.strip() if isinstance(value, str) else value
    if name == PRICE and isinstance(text, str):
        text = text.removeprefix("$").removesuffix("USD").strip()
    if name in SHARES and isinstance(text, str) and text.endswith("%"):
        return float(parse_number(text[:-1], of_bytes=False)) / 100
    return float(parse_number(text, of_bytes=False))


PRICE, SHARES = "price", ("mfu", "share of TDP")

LEAST_SHARE = 1e-6
"""Of a peak: a smaller one makes a step of a second last a week and more."""


def check_range(range_: Range, name: str, *, upto: float = float("inf"), at_least: float | None = None) -> Range:
    """Raises GptcalcError unless every value is above zero (or is `at_least` as much), and no more than a share may be."""
    least = LEAST_SHARE if name in SHARES else at_least
    for value in range_ if not hasattr(range_.low, "dtype") else (range_.low,):
        enough = value > 0 if least is None else value >= least
        inside = enough & (value <= upto)
        if not (inside.all() if hasattr(inside, "all") else inside):
            bounds = "above 0" if least is None else f"{least:g} or more"
            bounds = f"from {least:g} to {upto:g}" if least is not None and upto != float("inf") else bounds
            where = "in every place of the array" if hasattr(value, "dtype") else f"not {value:g}"
            percent = name in SHARES and not hasattr(value, "dtype") and 2 <= value <= 100
            raise GptcalcError(f"{name} must be {bounds}, {where}", hint=f"did you mean {value / 100:g}?" if percent else None)
    return range_


def whole(value: Any, name: str, *, most: int = LARGEST) -> Any:
    """A whole number above zero, or an array of them.

    Raises GptcalcError for anything else.

    >>> whole("300B", "tokens")
    300000000000
    """
    if isinstance(value, list | tuple) or hasattr(value, "dtype"):
        import numpy as np

        array = _filled(value, name)
        if not ((array >= 1) & (array == np.floor(array)) & (array <= min(most, 2**53 - 1))).all():
            raise GptcalcError(f"{name} must be whole numbers above zero in every place of the array")
        return array if array.ndim else int(array)
    try:
        number = parse_number(value, of_bytes=False)
    except GptcalcError as error:
        raise GptcalcError(f"{name}: {error}", hint=error.hint) from None
    if not isinstance(number, int) or number < 1:
        raise GptcalcError(f"{name} must be a whole number above zero, not {quoted(value)}")
    if number > most:
        raise GptcalcError(f"{name} {quoted(value)} is too large: at most {most:,}")
    return number


def _filled(value: Any, name: str) -> Any:
    import numpy as np

    array = float_array(name, value)
    if not array.size:
        raise GptcalcError(f"{name} is an empty array")
    if not np.isfinite(array).all():
        raise GptcalcError(f"{name} must be numbers in every place of the array")
    return array


def spreads(ranges: dict[str, Range]) -> list[dict[str, Any]]:
    """The inputs that are ranges, the widest first: by what factor each alone moves an answer that is proportional to it.

    None: by any factor, where a range begins at zero.

    >>> [one["input"] for one in spreads({"mfu": Range(0.4, 0.45, 0.5), "price": Range(1.0, 2.0, 4.0), "pue": exactly(1.1)})]
    ['price', 'mfu']
    """
    found = [
        {"input": name, "low": r.low, "likely": r.likely, "high": r.high, "factor": _factor(r)} for name, r in ranges.items() if not r.known
    ]
    return sorted(found, key=lambda one: -_widest(one["factor"]))


def _factor(r: Range) -> Any:
    return r.high / r.low if hasattr(r.low, "dtype") or r.low else None


def _widest(factor: Any) -> float:
    return float("inf") if factor is None else float(factor.max() if hasattr(factor, "max") else factor)
