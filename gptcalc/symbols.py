"""The three kinds of number a formula runs on: exact ints, float64 arrays, and symbols that write the formula down.

A formula body uses plain arithmetic only. Given `Symbol("L")` instead of 96 it returns its own text, ASCII and valid Python
(`4*L*d**2`), so the text that a user reads is the code that was run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

N = TypeVar("N", "int", "FloatArray", "Symbol")

SUM, PRODUCT, POWER = range(3)


class Symbol:
    """A letter, or the text of what was computed from letters.

    >>> L, d = Symbol("L"), Symbol("d")
    >>> str(2 * L * d * (d + 1))
    '2*L*d*(d + 1)'
    """

    __slots__ = ("level", "text")

    def __init__(self, text: str, level: int = POWER) -> None:
        self.text, self.level = text, level

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Symbol({self.text!r})"

    def _inside(self, level: int) -> str:
        return self.text if self.level >= level else f"({self.text})"

    def __add__(self, other: Symbol | int) -> Symbol:
        return self if other == 0 else Symbol(f"{self.text} + {other}", SUM)

    def __radd__(self, other: int) -> Symbol:
        return self if other == 0 else Symbol(f"{other} + {self.text}", SUM)

    def __sub__(self, other: Symbol | int) -> Symbol:
        return Symbol(f"{self.text} - {_text(other, PRODUCT)}", SUM)

    def __rsub__(self, other: int) -> Symbol:
        return Symbol(f"{other} - {self._inside(PRODUCT)}", SUM)

    def __mul__(self, other: Symbol | int) -> Symbol:
        if other == 1:
            return self
        return Symbol(f"{self._inside(PRODUCT)}*{_text(other, PRODUCT)}", PRODUCT)

    def __rmul__(self, other: int) -> Symbol:
        return self if other == 1 else Symbol(f"{other}*{self._inside(PRODUCT)}", PRODUCT)

    def __floordiv__(self, other: Symbol | int) -> Symbol:
        return Symbol(f"{self._inside(PRODUCT)}//{_text(other, POWER)}", SUM)

    def __pow__(self, other: int) -> Symbol:
        return Symbol(f"{self._inside(POWER + 1)}**{other}", POWER) if other != 1 else self


def _text(value: Symbol | int, level: int) -> str:
    return value._inside(level) if isinstance(value, Symbol) else str(value)


def minimum(a: N, b: N) -> N:
    """The smaller of two numbers of the same kind, element by element for arrays.

    >>> minimum(4096, 8192), str(minimum(Symbol("W"), Symbol("T")))
    (4096, 'min(W, T)')
    """
    if isinstance(a, Symbol) or isinstance(b, Symbol):
        return cast(N, Symbol(f"min({a}, {b})"))
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    import numpy as np

    return cast(N, np.minimum(a, b))


def product(factors: Iterable[N | int]) -> N:
    """All factors multiplied, plain ints gathered in front and a repeated symbol written as a power.

    >>> str(product([Symbol("L"), 2, Symbol("d"), Symbol("d")]))
    '2*L*d**2'
    """
    number, rest = 1, list[N]()
    powers: dict[str, int] = {}
    for factor in factors:
        if isinstance(factor, int):
            number *= factor
        elif isinstance(factor, Symbol) and str(factor) in powers:
            powers[str(factor)] += 1
        else:
            if isinstance(factor, Symbol):
                powers[str(factor)] = 1
            rest.append(cast(N, factor))
    result = cast(N, number)
    for factor in rest:
        result = result * (factor ** powers[str(factor)] if isinstance(factor, Symbol) else factor)  # type: ignore[operator]
    return result
