"""Least squares of a few constants within bounds, from where they stand: robust against rows that are far off."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    Numbers = np.ndarray[Any, np.dtype[np.float64]]
    Flags = np.ndarray[Any, np.dtype[np.bool_]]

ROUNDS = 5
STEP = 0.02
"""Of the way between its bounds, how far a constant is moved to see what depends on it."""

FAR = 1.5
"""Errors of so many standard deviations and more count by their size, not by its square (Huber 1964, Ann. Math. Statist. 35(1))."""

HELD = 0.5
"""Of the way between its bounds: how far a constant is expected from where it stood, as its standard deviation. Rows outweigh it at once;
what no row says anything about stays."""

DEPENDS = 1e-4
"""The share of a prediction that a constant must move on its way between the bounds, for some row, to be fitted at all."""

NOT_TOLD_APART = 0.943
"""Cosine between what two constants change, from which on the uncertainty of one is threefold where the other is free too."""

Errors = Callable[[Sequence[float]], "Numbers"]
"""Of every row the logarithm of predicted over measured, as a function of the constants."""


class Fitted(NamedTuple):
    """`values` of the constants; `deviations`: their standard deviations, None where no row depends on one; `slopes`: of the errors, by
    the share of the way between the bounds; `left_out`: the errors of each row where it was not fitted on."""

    values: list[float]
    deviations: list[float | None]
    before: Numbers
    after: Numbers
    slopes: Numbers
    left_out: Numbers


def fit(
    errors: Errors, start: Sequence[float], bounds: Sequence[tuple[float, float]], one: Callable[[int, Sequence[float]], float]
) -> Fitted:
    """The constants within `bounds` that make `errors` least; `one` is the error of a single row.

    >>> import numpy as np
    >>> line = lambda x: np.log(np.array([1.0, 2.0, 3.0]) * x[0] / np.array([2.0, 4.0, 6.0]))
    >>> found = fit(line, [1.5], [(1.0, 3.0)], lambda row, x: float(line(x)[row]))
    >>> round(found.values[0], 2)
    2.0
    """
    import numpy as np

    low, wide = np.array([a for a, _ in bounds]), np.array([b - a for a, b in bounds])
    origin = (np.array(start, dtype=float) - low) / wide
    u = origin.copy()
    before = now = errors(list(start))
    slopes = _slopes(errors, u, now, low, wide, range(len(u)))
    live = [j for j in range(len(u)) if np.abs(slopes[:, j]).max() > DEPENDS]
    for turn in range(ROUNDS if live else 0):
        if turn:
            slopes[:, live] = _slopes(errors, u, now, low, wide, live)[:, live]
        u = _better(u, now, slopes, origin, live, np.ones(len(now), dtype=bool))
        now = errors(list(low + u * wide))
    noise = _noise(now)
    weights = _weights(now, noise)
    deviations: list[float | None] = [None] * len(u)
    if live:
        inverse = np.linalg.pinv((slopes[:, live].T * weights) @ slopes[:, live])
        for j, variance in zip(live, np.diag(inverse), strict=True):
            deviations[j] = float(noise * variance**0.5 * wide[j])
    left_out = []
    for row in range(len(now)):
        others = np.arange(len(now)) != row
        apart = _better(u, now, slopes, origin, live, others) if live and others.any() else (u if others.any() else origin)
        left_out.append(one(row, list(low + apart * wide)))
    return Fitted([float(x) for x in low + u * wide], deviations, before, now, slopes, np.array(left_out))


def slopes_of(errors: Errors, at: Sequence[float], now: Numbers) -> Numbers:
    """What each constant changes, by the share of its own size."""
    import numpy as np

    columns = []
    for j, value in enumerate(at):
        moved = list(at)
        moved[j] = value * (1 - STEP)
        columns.append((errors(moved) - now) / -STEP)
    return np.array(columns).T.reshape(len(now), len(at))


def alike(one: Numbers, other: Numbers) -> bool:
    """Whether two constants change the predictions in so nearly the same way that rows cannot tell them apart."""
    import numpy as np

    sizes = float(np.linalg.norm(one) * np.linalg.norm(other))
    return sizes > 0 and abs(float(one @ other)) / sizes >= NOT_TOLD_APART


def _slopes(errors: Errors, u: Numbers, now: Numbers, low: Numbers, wide: Numbers, which: Iterable[int]) -> Numbers:
    import numpy as np

    found = np.zeros((len(now), len(u)))
    for j in which:
        moved = u.copy()
        step = STEP if u[j] + STEP <= 1 else -STEP
        moved[j] += step
        found[:, j] = (errors(list(low + moved * wide)) - now) / step
    return found


def _better(u: Numbers, now: Numbers, slopes: Numbers, origin: Numbers, live: list[int], rows: Flags) -> Numbers:
    """One step of Gauss and Newton with Huber's weights, cut at the bounds."""
    import numpy as np

    noise = _noise(now[rows])
    weights, J = _weights(now[rows], noise), slopes[rows][:, live]
    held = (noise / HELD) ** 2
    left = (J.T * weights) @ J + held * np.eye(len(live))
    right = -(J.T * weights) @ now[rows] - held * (u - origin)[live]
    moved = u.copy()
    moved[live] = np.clip(u[live] + np.linalg.solve(left, right), 0.0, 1.0)
    return moved


def _noise(errors: Numbers) -> float:
    """Their standard deviation, by the median of their sizes; a half of a percent at least."""
    import numpy as np

    return max(1.4826 * float(np.median(np.abs(errors))), 0.005)


def _weights(errors: Numbers, noise: float) -> Numbers:
    import numpy as np

    found: Numbers = np.minimum(1.0, FAR * noise / np.maximum(np.abs(errors), 1e-12))
    return found
