"""Numbers that are linear in the layers in flight, so that moments of all layouts are computed without them, and the fullest last."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, eq=False)
class Linear:
    """`constant` + `slope` times the number of layers whose activations stand at once; both may be arrays.

    >>> layers = Linear(0, 1)
    >>> (2 * (layers - 3) + 10).at(8)
    20
    """

    constant: Any
    slope: Any

    __array_ufunc__: ClassVar[None] = None  # an array times this is this, not an array of them

    def __add__(self, other: Any) -> "Linear":
        if isinstance(other, Linear):
            return Linear(self.constant + other.constant, self.slope + other.slope)
        return Linear(self.constant + other, self.slope)

    def __sub__(self, other: Any) -> "Linear":
        return self.__add__(other * -1)

    def __mul__(self, other: Any) -> "Linear":
        return Linear(self.constant * other, self.slope * other)

    __radd__ = __add__
    __rmul__ = __mul__

    def at(self, flying: Any) -> Any:
        return self.constant + self.slope * flying


def highest(values: Iterable[Any], flying: Any) -> Any:
    """The largest of numbers, some of them linear in `flying`: of those with one slope the one with the largest constant decides."""
    import numpy as np

    lines: list[Linear] = []
    for value in values:
        new = value if isinstance(value, Linear) else Linear(value, 0)
        for number, known in enumerate(lines):
            if known.slope is new.slope or np.array_equal(known.slope, new.slope):
                lines[number] = Linear(np.maximum(known.constant, new.constant), known.slope)
                break
        else:
            lines.append(new)
    largest = lines[0].at(flying)
    for line in lines[1:]:
        largest = np.maximum(largest, line.at(flying))
    return largest
