"""Reading the options of a call: a word of a list, a flag, a whole number, some words. What is none of them is refused in one line.

Whatever a caller hands in: nothing is compared, hashed or asked for its truth before its type is known.
"""

from __future__ import annotations

import operator
from collections.abc import Collection
from math import prod
from typing import Any

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.spec.reading import quoted

LARGEST = 10**12
"""A larger batch, sequence or number of devices is a slip of the keyboard."""

MOST_PLACES = 4_000_000
"""Places of an array of models: each takes some 500 bytes of results."""

MOST_PLANS = 1_000_000
"""Places of an array of steps, whose bills take some 3 KB each."""


def check_word(name: str, value: object, known: Collection[str]) -> None:
    """Raises GptcalcError for what is not one of the known words.

    >>> check_word("optimizer", "adam", ["adamw", "sgd"])
    Traceback (most recent call last):
    gptcalc.errors.GptcalcError: no optimizer 'adam'
    """
    if not isinstance(value, str) or value not in known:
        typed = value[:100] if isinstance(value, str) else ""
        raise GptcalcError(f"no {name} {quoted(value)}", hint=did_you_mean(typed, known, otherwise=f"one of {', '.join(known)}"))


def check_flag(name: str, value: object) -> None:
    """Raises GptcalcError for what is neither True nor False.

    >>> check_flag("compiled", "yes")
    Traceback (most recent call last):
    gptcalc.errors.GptcalcError: compiled must be True or False, not 'yes'
    """
    if not isinstance(value, bool):
        raise GptcalcError(f"{name} must be True or False, not {quoted(value)}")


def whole_number(name: str, value: Any, *, most: int = LARGEST) -> int:
    """A whole number above zero, of whatever integer type it came as.

    Raises GptcalcError for everything else.

    >>> whole_number("batch", 0)
    Traceback (most recent call last):
    gptcalc.errors.GptcalcError: batch must be a whole number above zero, not 0
    """
    if not isinstance(value, bool) and getattr(getattr(value, "dtype", None), "kind", "") != "b":
        try:
            number = operator.index(value)
        except TypeError:
            number = 0
        if 1 <= number <= most:
            return int(number)
        if number > most:
            raise GptcalcError(f"{name} {quoted(value)} is too large: at most {most:,}")
    raise GptcalcError(f"{name} must be a whole number above zero, not {quoted(value)}")


def float_array(name: str, value: Any) -> Any:
    """A number or numbers as a float64 array, which holds every count below 2**53 exactly.

    Raises GptcalcError for everything else: text, flags, None, lists of different lengths.

    >>> float_array("batch", [1, 2]).tolist()
    [1.0, 2.0]
    """
    import numpy as np

    try:
        array = np.asarray(value)
    except (TypeError, ValueError, OverflowError):
        array = np.asarray(None)
    if array.dtype.kind not in "iuf":
        raise GptcalcError(f"{name} is not a number or an array of numbers")
    if array.size > MOST_PLACES:
        raise GptcalcError(f"{name} has {array.size:,} places: at most {MOST_PLACES:,} are computed at once")
    return array.astype(np.float64)


def check_shapes(most: int = MOST_PLANS, **values: Any) -> tuple[int, ...]:
    """The shape that arrays have together; what is no array goes with everything, and () is the shape of no array at all.

    Raises GptcalcError for shapes that do not go together, and for more than `most` places.

    >>> check_shapes(batch=[1, 2], seq=128)
    (2,)
    >>> check_shapes(batch=[1, 2], seq=[128, 256, 512])
    Traceback (most recent call last):
    gptcalc.errors.GptcalcError: arrays of different lengths: batch (2,), seq (3,)
    """
    arrays = {name: float_array(name, value) if isinstance(value, list) else value for name, value in values.items()}
    shapes = {name: array.shape for name, array in arrays.items() if isinstance(getattr(array, "shape", None), tuple)}
    if not any(shapes.values()):
        return ()
    import numpy as np

    listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items() if shape)
    try:
        together = np.broadcast_shapes(*shapes.values())
    except ValueError:
        raise GptcalcError(f"arrays of different lengths: {listed}") from None
    if prod(together) > most:
        raise GptcalcError(f"{listed} have {prod(together):,} places together: at most {most:,} are computed at once")
    return together


def filled(value: Any, shape: tuple[int, ...]) -> Any:
    """A number as an array of that shape; as it is where there is no shape, and None as it is.

    >>> filled(7, (2,)).tolist(), filled(7, ())
    ([7.0, 7.0], 7)
    """
    if not shape or value is None or getattr(value, "shape", None) == shape:
        return value
    import numpy as np

    return np.broadcast_to(np.asarray(value, dtype=np.float64), shape)


def word_or_array(name: str, value: Any) -> Any:
    """A word as it is; of a list or an array of words an array.

    Raises GptcalcError for everything else.

    >>> word_or_array("recompute", "full"), word_or_array("recompute", ["none", "full"]).tolist()
    ('full', ['none', 'full'])
    """
    if isinstance(value, list | tuple) or hasattr(value, "dtype"):
        import numpy as np

        try:
            array = np.asarray(value)
        except ValueError:  # lists of different lengths
            array = np.asarray(None)
        if array.dtype.kind == "U" and array.size:
            return array if array.ndim else str(array)
    elif isinstance(value, str):
        return value
    raise GptcalcError(f"{name} must be a word or an array of words, not {quoted(value)}")


def distinct_words(value: Any) -> tuple[list[str], Any]:
    """The words that are in an array of words, and which of them each place has; a word alone is its only one.

    >>> import numpy as np
    >>> distinct_words("full"), distinct_words(np.array(["none", "full"]))[0]
    ((['full'], 0), ['full', 'none'])
    """
    if not hasattr(value, "dtype"):
        return [value], 0
    import numpy as np

    found, place = np.unique(value, return_inverse=True)
    return found.tolist(), place.reshape(value.shape)


def words(name: str, value: object) -> tuple[str, ...]:
    """Some words, in a list or a tuple.

    Raises GptcalcError for everything else; one word alone too, which would be read letter by letter.

    >>> words("freeze", ["embedding"])
    ('embedding',)
    """
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise GptcalcError(f"{name} must be a list of words, not {quoted(value)}")
    return tuple(value)
