"""What every answer can do in a notebook and in a script: be shown as the command line's tables, be printed so, become a data frame.

What renders stands above the rooms that answer, and is loaded, by name, when an answer is shown.
"""

from collections.abc import Callable
from typing import Any, TypeVar

R = TypeVar("R")


def shown(kind: type[R]) -> type[R]:
    """A class whose objects notebooks show, and `print` prints, as their command's tables."""
    kind._repr_html_ = _html  # type: ignore[attr-defined]
    kind.__str__ = _text  # type: ignore[method-assign]
    return kind


def _html(answer: Any) -> str:
    return str(_renderer("html")(answer))


def _text(answer: Any) -> str:
    return str(_renderer("text")(answer))


def frame(answer: Any) -> Any:
    """A pandas DataFrame of the answer's rows, in base units: of a tree every part with its path.

    Raises GptcalcError where pandas is not installed.
    """
    return _renderer("frame")(answer)


def _renderer(name: str) -> Callable[[Any], Any]:
    from importlib import import_module

    found: Callable[[Any], Any] = getattr(import_module("gptcalc.show.answers"), name)
    return found


@shown
class Rows(list[R]):
    """An answer of several rows: a list that a notebook shows as the command's table.

    >>> Rows(["a", "b"])
    Rows(2 of str)
    """

    def __repr__(self) -> str:
        return f"Rows({len(self):,} of {' and '.join(dict.fromkeys(type(row).__name__ for row in self)) or 'nothing'})"

    def to_frame(self) -> Any:
        """A pandas DataFrame of the rows; GptcalcError where pandas is not installed."""
        return frame(self)
