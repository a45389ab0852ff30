"""The three kinds of number a formula runs on: exact ints, float64 arrays, and symbols that write the formula down.

A formula body uses plain arithmetic only. Given `Symbol.letter("L")` instead of 96 it returns its own text, ASCII and valid Python
(`4*L*d**2`), so the text that a user reads is the code that was run.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias, TypeVar, cast, overload

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    BoolArray: TypeAlias = NDArray[np.bool_]
else:

    class FloatArray:
        """A NumPy array of float64."""

    class BoolArray:
        """A NumPy array of conditions."""


Quantity: TypeAlias = float | FloatArray
"""What formulas of seconds take and give: a number, or an array of them."""

Condition: TypeAlias = bool | BoolArray


class Number(Protocol):
    """What a formula body may do with a number of any of the three kinds."""

    def __add__(self, other: Any, /) -> Self: ...
    def __radd__(self, other: Any, /) -> Self: ...
    def __sub__(self, other: Any, /) -> Self: ...
    def __rsub__(self, other: Any, /) -> Self: ...
    def __mul__(self, other: Any, /) -> Self: ...
    def __rmul__(self, other: Any, /) -> Self: ...


N = TypeVar("N", bound=Number)

Factors = tuple[Any, ...]
"""Numbers of one kind and plain ints, to be multiplied."""

ALPHABET = "BTCMLkEVPydjeoqcHKQZFfsRWniaxpuwglmzND"
"""The order in which papers write the letters of a product: B·T·L·d², V·d, d·H·Q. A letter of a kind of block, F_moe, goes with its own."""


class Symbol:
    """A polynomial in the papers' letters, kept expanded with like terms collected.

    >>> L, d = Symbol.letter("L"), Symbol.letter("d")
    >>> str(4 * d * L * d + L * d + 8 * L * d * d)
    '12*L*d**2 + L*d'
    """

    __slots__ = ("terms",)

    def __init__(self, terms: Mapping[tuple[str, ...], int]) -> None:
        self.terms = {letters: number for letters, number in terms.items() if number}

    @classmethod
    def letter(cls, name: str) -> "Symbol":
        """The symbol of one letter."""
        return cls({(name,): 1})

    @classmethod
    def _of(cls, value: "Symbol | int") -> "Symbol":
        return value if isinstance(value, Symbol) else cls({(): value})

    def __add__(self, other: "Symbol | int") -> "Symbol":
        total = dict(self.terms)
        for letters, number in self._of(other).terms.items():
            total[letters] = total.get(letters, 0) + number
        return Symbol(total)

    def __mul__(self, other: "Symbol | int") -> "Symbol":
        total: dict[tuple[str, ...], int] = {}
        for mine, a in self.terms.items():
            for theirs, b in self._of(other).terms.items():
                letters = tuple(sorted(mine + theirs, key=_place))
                total[letters] = total.get(letters, 0) + a * b
        return Symbol(total)

    def __sub__(self, other: "Symbol | int") -> "Symbol":
        return self + -1 * self._of(other)

    def __rsub__(self, other: int) -> "Symbol":
        return -1 * self + other

    __radd__ = __add__
    __rmul__ = __mul__

    def __str__(self) -> str:
        text = ""
        for letters, number in sorted(self.terms.items(), key=lambda term: -len(term[0])):
            factors = [] if abs(number) == 1 and letters else [str(abs(number))]
            factors += [f"{letter}**{n}" if (n := letters.count(letter)) > 1 else letter for letter in dict.fromkeys(letters)]
            text += ((" - " if number < 0 else " + ") if text else ("-" if number < 0 else "")) + "*".join(factors)
        return text or "0"


def _place(letter: str) -> tuple[int, str]:
    plain = letter.partition("_")[0]
    return (ALPHABET.find(plain) if plain in ALPHABET else len(ALPHABET), letter)


def minimum(a: N, b: N) -> N:
    """The smaller of two numbers of the same kind, element by element for arrays.

    >>> minimum(4096, 8192), str(minimum(Symbol.letter("W"), Symbol.letter("T")))
    (4096, 'min(W, T)')
    """
    return _extreme("min", min, a, b)


def maximum(a: N, b: N) -> N:
    """The larger of two numbers of the same kind, element by element for arrays.

    >>> maximum(4096, 8192), str(maximum(Symbol.letter("W"), Symbol.letter("T")))
    (8192, 'max(W, T)')
    """
    return _extreme("max", max, a, b)


def _extreme(name: str, of_two: Callable[[Any, Any], Any], a: N, b: N) -> N:
    if isinstance(a, Symbol) or isinstance(b, Symbol):
        return cast(N, Symbol.letter(f"{name}({a}, {b})"))
    if isinstance(a, int | float) and isinstance(b, int | float):
        return cast(N, of_two(a, b))
    import numpy as np

    return cast(N, getattr(np, f"{name}imum")(a, b))


def ceiling(a: N, b: Any) -> N:
    """a / b, rounded up: what the fullest of b devices holds. `b` may be an array; a symbol is written as the fraction.

    >>> ceiling(10, 4), str(ceiling(Symbol.letter("d"), 4)), ceiling(10, 1)
    (3, '(d)/4', 10)
    """
    if is_one(b):
        return a
    if isinstance(a, Symbol):
        return cast(N, Symbol.letter(f"({a})/{b}"))
    if isinstance(a, int) and isinstance(b, int):
        return cast(N, -(-a // b))
    import numpy as np

    return cast(N, np.ceil(np.asarray(a, dtype=np.float64) / b))


@overload
def pick(condition: Condition, yes: Quantity, no: Quantity) -> Quantity: ...
@overload
def pick(condition: Any, yes: Any, no: Any) -> Any: ...
def pick(condition: Any, yes: Any, no: Any) -> Any:
    """`yes` where the condition holds, else `no`; element by element for arrays of conditions.

    >>> pick(True, 3, 4), str(pick(False, 3, Symbol.letter("T")))
    (3, 'T')
    """
    if isinstance(condition, bool):
        return yes if condition else no
    import numpy as np

    return np.where(condition, yes, no)


def is_one(size: Any) -> bool:
    """Whether a size is the number 1; an array is not, whatever is in it: the structure of a formula is chosen by numbers alone.

    >>> is_one(1), is_one(8)
    (True, False)
    """
    return isinstance(size, int) and size == 1


def is_zero(size: Any) -> bool:
    """Whether a size is the number 0; an array is not, nor is a symbol.

    >>> is_zero(0), is_zero(0.0), is_zero(2)
    (True, True, False)
    """
    return isinstance(size, int | float) and size == 0


def differ(a: Any, b: Any) -> bool:
    """Whether two numbers differ, in any place where they are arrays.

    >>> differ(2, 2), differ(2, 4)
    (False, True)
    """
    odd = a != b
    return bool(odd.any() if hasattr(odd, "any") else odd)


COUNTED = 2**20


def numbered(column: Any) -> tuple[Any, Any]:
    """The distinct values of an array, ascending, and which of them each place has: of whole numbers up to `COUNTED` without sorting.

    >>> import numpy as np
    >>> [array.tolist() for array in numbered(np.array([8.0, 1.0, 8.0]))]
    [[1.0, 8.0], [1, 0, 1]]
    """
    import numpy as np

    if column.size and column.min() >= 0 and column.max() <= COUNTED:
        whole = column.astype(np.intp)
        if (whole == column).all():
            there = np.zeros(int(whole.max()) + 1, dtype=bool)
            there[whole] = True
            values = np.flatnonzero(there)
            place = np.empty(len(there), dtype=np.intp)
            place[values] = np.arange(len(values))
            return values.astype(column.dtype), place[whole]
    values, place = np.unique(column, return_inverse=True)
    return values, place


def distinct(columns: list[Any]) -> tuple[Any, Any]:
    """The distinct rows of columns of numbers, as columns, and which of them each row is: as np.unique does, a column at a time."""
    import numpy as np

    which: Any = np.zeros(columns[0].shape, dtype=np.intp)
    for column in columns:
        values, place = numbered(column)
        if len(values) > 1:
            _, which = numbered(which * len(values) + place)
    some = np.empty(which.max() + 1, dtype=np.intp)
    some[which] = np.arange(which.size)  # any row of each kind
    return np.stack([column[some] for column in columns]), which


def quotient(a: N, b: N) -> tuple[N, N]:
    """How often b goes into a, and what is left, of two numbers of the same kind.

    >>> quotient(20, 8), [str(part) for part in quotient(Symbol.letter("T"), Symbol.letter("W"))]
    ((2, 4), ['(T // W)', '(T % W)'])
    """
    if isinstance(a, Symbol) or isinstance(b, Symbol):
        whole = f"({a})" if isinstance(a, Symbol) and len(a.terms) > 1 else a
        return cast(N, Symbol.letter(f"({whole} // {b})")), cast(N, Symbol.letter(f"({whole} % {b})"))
    first, second = cast("Any", a), cast("Any", b)
    return first // second, first % second


def product(factors: Iterable[Any]) -> Any:
    """All factors multiplied, plain ints first (cheapest for arrays).

    >>> product([2, 3, 4]), str(product([Symbol.letter("d"), 2, Symbol.letter("d")]))
    (24, '2*d**2')
    """
    number, rest = 1, []
    for factor in factors:
        if isinstance(factor, int):
            number *= factor
        else:
            rest.append(factor)
    if not rest:
        return number
    result = rest[0] if number == 1 else number * rest[0]
    for factor in rest[1:]:
        result = result * factor
    return result
