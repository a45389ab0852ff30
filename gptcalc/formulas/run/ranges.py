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
        return self.low is self.likely and self.likely is self.high


def exactly(value: Any) -> Range:
    return Range(value, value, value)


def read_range(value: Any, name: str) -> Range:
    """A number, `low..high` (the middle is likely), `low..likely..high`, a tuple of two or three, or an array of numbers.

    Raises GptcalcError for anything else, and for values that fall.

    >>> read_range("0.35..0.45", "mfu")
    Range(low=0.35, likely=0.4, high=0.45)
    """
    if isinstance(value, Range):
        return value
    if isinstance(value, tuple) or (isinstance(value, str) and ".." in value):
        ends = [float(parse_number(part)) for part in (value if isinstance(value, tuple) else value.split(".."))]
        if len(ends) == 2:
            ends.insert(1, round((ends[0] + ends[1]) / 2, 12))
        if len(ends) != 3 or ends != sorted(ends):
            raise GptcalcError(f"{name} {value!r} is not a range", hint="write low..high or low..likely..high, as in 0.35..0.45")
        return Range(*ends)
    if hasattr(value, "dtype") or isinstance(value, list):
        return exactly(_filled(value, name))
    try:
        return exactly(float(parse_number(value)))
    except GptcalcError as error:
        raise GptcalcError(f"{name}: {error}", hint=error.hint) from None


def check_range(range_: Range, name: str, *, above: float = 0.0, upto: float = float("inf"), at_least: float | None = None) -> Range:
    """Raises GptcalcError unless every value is above one bound (or is `at_least` as much) and at most the other."""
    for value in set(range_) if not hasattr(range_.low, "dtype") else (range_.low,):
        enough = value > above if at_least is None else value >= at_least
        inside = enough & (value <= upto)
        if not (inside.all() if hasattr(inside, "all") else inside):
            lower = f"above {above:g}" if at_least is None else f"{at_least:g} or more"
            bounds = f"in ({above:g}, {upto:g}]" if upto != float("inf") else lower
            raise GptcalcError(f"{name} must be {bounds}, not {quoted(value)}")
    return range_


def whole(value: Any, name: str, *, most: int = LARGEST) -> Any:
    """A whole number above zero, or an array of them.

    Raises GptcalcError for anything else.

    >>> whole("300B", "tokens")
    300000000000
    """
    if isinstance(value, list) or hasattr(value, "dtype"):
        import numpy as np

        array = _filled(value, name)
        if not ((array >= 1) & (array == np.floor(array)) & (array <= min(most, 2**53 - 1))).all():
            raise GptcalcError(f"{name} must be whole numbers above zero in every place of the array")
        return array if array.ndim else int(array)
    number = parse_number(value)
    if not isinstance(number, int) or number < 1:
        raise GptcalcError(f"{name} must be a whole number above zero, not {value}")
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

    >>> [one["input"] for one in spreads({"mfu": Range(0.4, 0.45, 0.5), "price": Range(1.0, 2.0, 4.0), "pue": exactly(1.1)})]
    ['price', 'mfu']
    """
    found = [
        {"input": name, "low": r.low, "likely": r.likely, "high": r.high, "factor": r.high / r.low}
        for name, r in ranges.items()
        if not r.known
    ]
    return sorted(found, key=lambda one: -float(one["factor"].max() if hasattr(one["factor"], "max") else one["factor"]))
