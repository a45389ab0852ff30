"""Counting by doing: an array that notes every arithmetic operation on it, and the `Tally` where the notes add up.

A multiply-accumulate of a matrix product is 2 FLOP; any other ufunc is 1 FLOP per element that it writes, a reduction 1 per element that it
reads. Moving numbers is free: indexing, views, copies, concatenation, masks. What cannot be counted is refused, never missed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MOVES = {np.copyto, np.concatenate, np.empty_like, np.shape, np.ndim, np.size}
"""NumPy functions, not ufuncs, that a counted array may pass through: they only move numbers."""


class Tally:
    """What a forward pass did, by path: FLOP of matrix products, FLOP of everything else, parameters held.

    >>> tally = Tally()
    >>> x = tally.counted(np.ones((3, 4)))
    >>> at(x, "block/mlp/up")
    >>> y = x @ np.ones((4, 5)) + np.ones(5)
    >>> tally.matmul, tally.other
    ({'block/mlp/up': 120}, {'block/mlp/up': 15})
    """

    def __init__(self) -> None:
        self.path = ""
        self.matmul: dict[str, int] = {}
        self.other: dict[str, int] = {}
        self.parameters: dict[str, int] = {}

    def counted(self, array: Array) -> Array:
        """A view of `array` whose arithmetic, and that of everything computed from it, is counted here."""
        view = np.asarray(array).view(Counted)
        view.tally = self
        return view

    def hold(self, weights: Mapping[str, Array]) -> None:
        """Note the parameters that the arrays hold: `block.3.mlp.up.weight` under `block/mlp/up`."""
        held: dict[str, int] = defaultdict(int)
        for name, array in weights.items():
            if not name.endswith((".correction", ".scalar")):  # of a router or a layer, no parameters
                held[path_of(name)] += array.size
        self.parameters = dict(held)

    def note(self, ufunc: np.ufunc, method: str, inputs: list[Any], result: Any) -> None:
        if ufunc is np.matmul and method == "__call__":
            self.matmul[self.path] = self.matmul.get(self.path, 0) + 2 * result.size * np.shape(inputs[0])[-1]
        elif ufunc.signature is None and ufunc.nout == 1 and method in ("__call__", "reduce"):
            elements = result.size if method == "__call__" else np.size(inputs[0])
            self.other[self.path] = self.other.get(self.path, 0) + elements
        else:
            raise TypeError(f"{ufunc.__name__}.{method} cannot be counted")


class Counted(np.ndarray[Any, Any]):
    """An array that belongs to a tally. Made by `Tally.counted`; views of it and results computed from it are of the same tally."""

    tally: Tally | None

    def __array_finalize__(self, source: Any) -> None:
        self.tally = getattr(source, "tally", None)

    def __array_ufunc__(self, ufunc: np.ufunc, method: Any, *inputs: Any, out: Any = None, **options: Any) -> Any:
        plain = [_plain(array) for array in inputs]
        if out is not None:
            options["out"] = tuple(_plain(array) for array in out)
        result = getattr(ufunc, method)(*plain, **options)
        assert self.tally is not None
        self.tally.note(ufunc, method, plain, result)
        return out[0] if out is not None and isinstance(out[0], Counted) else self.tally.counted(result)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        if function not in MOVES:
            raise TypeError(f"{function.__name__} cannot be counted")
        return super().__array_function__(function, types, arguments, options)


def at(x: Array, path: str) -> None:
    """From here on, what is done to `x` and to anything else of its pass is counted under `path`. Nothing for a plain array."""
    if isinstance(x, Counted) and x.tally is not None:
        x.tally.path = path


def moved(function: Callable[..., Array], x: Array, *rest: Any) -> Array:
    """What `function` makes of the plain numbers of x, which only moves them: counted again where x is."""
    result = function(_plain(x), *rest)
    return x.tally.counted(result) if isinstance(x, Counted) and x.tally is not None else result


def one_each(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Make a function of plain arrays count as a ufunc does, 1 FLOP per element, whatever it takes inside."""

    def counting(x: Array) -> Array:
        if not isinstance(x, Counted) or x.tally is None:
            return function(x)
        result = function(_plain(x))
        x.tally.other[x.tally.path] = x.tally.other.get(x.tally.path, 0) + result.size
        return x.tally.counted(result)

    counting.__doc__, counting.__name__ = function.__doc__, function.__name__
    return counting


def one_pair(function: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    """As `one_each`, of two arrays: 1 FLOP for each element of the result."""

    def counting(x: Array, y: Array) -> Array:
        if not isinstance(x, Counted) or x.tally is None:
            return function(x, y)
        result = function(_plain(x), _plain(y))
        x.tally.other[x.tally.path] = x.tally.other.get(x.tally.path, 0) + result.size
        return x.tally.counted(result)

    return counting


def path_of(name: str) -> str:
    """The path of the operation that owns an array.

    >>> path_of("block.3.mlp.up.weight"), path_of("final_norm.bias")
    ('block/mlp/up', 'final_norm')
    """
    return "/".join(part for part in name.split(".")[:-1] if not part.isdigit())


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, Counted) else value
