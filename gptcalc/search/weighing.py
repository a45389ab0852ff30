"""Going through a space: what is illegal by which rule, what does not fit, the best of what does, and what the others lose their time to.

A plan fits where the high end of its peak does. Seconds, bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

from gptcalc.search.columns import Grid, Known, Space, Task, Weighed, grids, judged, weigh
from gptcalc.spec.grids import AXES
from gptcalc.spec.legality import RULES, Sizes

KEPT = 8_000_000
"""Plans that fit whose parts are kept until the best is known; those of more are computed once more."""

SLOWER = ("waiting for other stages", "communication", "recomputation", "slower kernels")


class Ranked(NamedTuple):
    """A search of one recipe on one cluster: what is tried, the room of a device, and what a second of a step weighs in its score, None
    where the share of the room decides."""

    task: Task
    space: Space
    room: int
    weight: float | None


class Candidate(NamedTuple):
    """One plan and what it is ranked by, the least first; `parts` as in `SLOWER`."""

    score: float
    ranked: Ranked
    layout: dict[str, Any]
    step_time: float
    peak_high: float
    parts: tuple[float, ...]


@dataclass
class Found:
    """What became of every plan that was tried."""

    considered: int = 0
    legal: int = 0
    fit: int = 0
    rules: Counter[str] = field(default_factory=Counter)
    states: int = 0
    activations: int = 0
    least_excess: float | None = None
    slower: Counter[str] = field(default_factory=Counter)
    tied: int = 0
    best: list[Candidate] = field(default_factory=list)
    nearest: Candidate | None = None
    interrupted: bool = False

    def lost(self) -> dict[str, int]:
        """Counts by reason of all plans but the best."""
        found = {f"illegal: {name}": number for name, number in self.rules.most_common()}
        found |= {"weights and states alone do not fit": self.states, "activations do not fit": self.activations}
        found |= {f"slower: {name}": self.slower[name] for name in SLOWER}
        found["within the error of the best"] = self.tied
        return {name: number for name, number in found.items() if number}


def search(several: list[Ranked], spread: float, moved: Callable[[int], None] | None = None) -> Found:
    """The best plan of each (tp, pp, cp, ep), best first, and the counts of the others; what has been found so far after an interrupt."""
    found = Found()
    best: dict[Any, Candidate] = {}
    kept: list[tuple[Any, ...]] = []
    left: list[tuple[Ranked, Grid]] = []
    held = 0
    try:
        for number, ranked in enumerate(several):
            known = Known()
            for grid in grids(ranked.task, ranked.space):
                found.considered += prod(grid.shape)
                allowed = _allowed(ranked, grid, found)
                if allowed.any():
                    parts = _fitting(ranked, grid, allowed, known, found, best, number)
                    if held + len(parts[0]) <= KEPT:
                        kept.append(parts)
                        held += len(parts[0])
                    else:
                        left.append((ranked, grid))
                if moved:
                    moved(found.considered)
        found.best = _different(best)
        if found.best:
            _tally(found, [*kept, *_again(left)] if left else kept, spread)
    except KeyboardInterrupt:
        found.interrupted = True
        found.best = _different(best)
    return found


def _different(best: dict[Any, Candidate]) -> list[Candidate]:
    """The best first; of those that come to the same, which tokens cut along the sequence do, the one that cuts least."""
    found: dict[Any, Candidate] = {}
    for one in sorted(best.values(), key=lambda one: (float(f"{one.score:.9g}"), one.layout["cp"], one.layout["ep"])):
        own = (id(one.ranked), one.layout["tp"], one.layout["pp"], f"{one.step_time:.9g}", f"{one.peak_high:.9g}")
        found.setdefault(own, one)
    return list(found.values())


def legal_places(ranked: Ranked, grid: Grid) -> Any:
    """Whether each place keeps every rule, and is a plan of its own."""
    import numpy as np

    allowed = judged(ranked.task, grid.sizes, ranked.space.count, ranked.space.global_batch)
    for _, holds in _own_rules(ranked, grid):
        allowed = allowed & holds
    return np.broadcast_to(allowed, grid.shape)


def _own_rules(ranked: Ranked, grid: Grid) -> list[tuple[str, Any]]:
    """What a search leaves out beside what is illegal: other data-parallel sizes than asked, and what would be another plan again."""
    import numpy as np

    space, layout = ranked.space, grid.sizes.layout
    found: list[tuple[str, Any]] = []
    if space.dp is not None:
        found.append(("another data-parallel size than asked", np.isin(layout.dp, space.dp)))
    if layout.zero and 0 in space.zero:
        found.append(("ZeRO: one replica has nothing to divide", np.asarray(layout.dp * layout.cp > 1)))
    if layout.sequence_parallel and False in space.sequence_parallel:
        found.append(("sequence parallel: without tensor parallelism the same as without it", np.asarray(layout.tp > 1)))
    return found


def _allowed(ranked: Ranked, grid: Grid, found: Found) -> Any:
    """`legal_places`, with each place that is not counted under the first rule that it breaks."""
    import numpy as np

    model, space, layout = ranked.task.model, ranked.space, grid.sizes.layout
    names = ("tp", "pp", "cp", "dp", "ep", "virtual_stages", "sequence_parallel")
    sizes = Sizes(**{name: getattr(layout, name) for name in names}, batch=grid.sizes.batch, seq=space.seq, count=space.count)
    sizes = Sizes(**{**vars(sizes), "global_batch": space.global_batch})
    alive: Any = np.broadcast_to(True, grid.shape)
    count = alive.size
    for rule in RULES:
        alive = alive & rule.holds(model, sizes)
        left = int(np.count_nonzero(alive))
        if left < count:
            found.rules[rule.name] += count - left
            count = left
    for name, holds in _own_rules(ranked, grid):
        alive = alive & holds
        left = int(np.count_nonzero(alive))
        if left < count:
            found.rules[name] += count - left
            count = left
    found.legal += count
    return alive


def _fitting(
    ranked: Ranked, grid: Grid, allowed: Any, known: Known, found: Found, best: dict[Any, Candidate], number: int
) -> tuple[Any, ...]:
    """The seconds and their parts of the plans of a grid that fit; those that do not are counted, the best are kept."""
    import numpy as np

    weighed = weigh(ranked.task, grid.recompute, grid.sizes, allowed, known)
    fits = allowed & (weighed.peak_high <= ranked.room)
    fit = int(np.count_nonzero(fits))
    found.fit += fit
    if fit < np.count_nonzero(allowed):
        _too_large(ranked, grid, weighed, allowed & ~fits, found)
    if fit:
        score = weighed.peak_high / ranked.room if ranked.weight is None else ranked.weight * weighed.step_time
        score = np.where(fits, score, np.inf).reshape(prod(grid.shape[:4]), -1)
        places = score.argmin(axis=1)
        for row in np.flatnonzero(np.isfinite(score[np.arange(len(places)), places])).tolist():
            place = row * score.shape[1] + int(places[row])
            layout = _layout(grid, place)
            key = (number, *(layout[name] for name in AXES[:4]))
            if key not in best or score[row, places[row]] < best[key].score:
                best[key] = _candidate(float(score[row, places[row]]), ranked, grid, weighed, place, layout)
    return tuple(np.broadcast_to(part, grid.shape)[fits] for part in _parts(weighed))


def _parts(weighed: Weighed) -> tuple[Any, ...]:
    """The seconds of a step, and of its parts in the order of `SLOWER`."""
    rest = weighed.step_time - (weighed.waiting + weighed.sending + weighed.again)
    return weighed.step_time, weighed.waiting, weighed.sending, weighed.again, rest


def _too_large(ranked: Ranked, grid: Grid, weighed: Weighed, large: Any, found: Found) -> None:
    import numpy as np

    of_states = int(np.count_nonzero(large & (weighed.standing > ranked.room)))
    found.states += of_states
    found.activations += int(np.count_nonzero(large)) - of_states
    excess = np.where(large, weighed.peak_high - ranked.room, np.inf)
    place = int(excess.argmin())
    least = float(excess.flat[place])
    if found.least_excess is None or least < found.least_excess:
        found.least_excess = least
        found.nearest = _candidate(least, ranked, grid, weighed, place, _layout(grid, place))


def _layout(grid: Grid, place: int) -> dict[str, Any]:
    """The options of `train` that make one place of a grid."""
    import numpy as np

    at = np.unravel_index(place, grid.shape)
    sizes = {name: grid.axes[name][int(index)] for name, index in zip(AXES, at, strict=True)}
    layout = grid.sizes.layout
    return sizes | {"recompute": grid.recompute, "zero": layout.zero, "sequence_parallel": layout.sequence_parallel}


def _candidate(score: float, ranked: Ranked, grid: Grid, weighed: Weighed, place: int, layout: dict[str, Any]) -> Candidate:
    import numpy as np

    def one(value: Any) -> float:
        return float(np.broadcast_to(value, grid.shape).flat[place])

    step_time, *parts = (one(part) for part in _parts(weighed))
    return Candidate(score, ranked, layout, step_time, one(weighed.peak_high), tuple(parts))


def _again(left: list[tuple[Ranked, Grid]]) -> Iterator[tuple[Any, ...]]:
    import numpy as np

    known = Known()
    for ranked, grid in left:
        allowed = legal_places(ranked, grid)
        weighed = weigh(ranked.task, grid.recompute, grid.sizes, allowed, known)
        fits = allowed & (weighed.peak_high <= ranked.room)
        yield tuple(np.broadcast_to(part, grid.shape)[fits] for part in _parts(weighed))


def _tally(found: Found, kept: Any, spread: float) -> None:
    """How many plans are as good as the best within the error, and what the others lose most of their time to."""
    import numpy as np

    best = min(found.best, key=lambda one: one.step_time)
    for total, *parts in kept:
        slow = total > best.step_time * (1 + spread)
        found.tied += int(np.count_nonzero(~slow))
        more = np.stack([part[slow] - own for part, own in zip(parts, best.parts, strict=True)])
        if more.size:
            for name, number in zip(SLOWER, np.bincount(more.argmax(axis=0), minlength=len(SLOWER)).tolist(), strict=True):
                found.slower[name] += number
    found.tied -= 1  # the best itself


def columns_of(several: list[Ranked]) -> dict[str, Any]:
    """All legal plans, an array of each of their sizes and of what they come to; `fits` by the high end of the peak.

    Units: seconds, bytes.
    """
    import numpy as np

    found: dict[str, list[Any]] = {}
    for ranked in several:
        known = Known()
        for grid in grids(ranked.task, ranked.space):
            allowed = legal_places(ranked, grid)
            if not allowed.any():
                continue
            weighed = weigh(ranked.task, grid.recompute, grid.sizes, allowed, known)
            places = np.nonzero(allowed)
            layout = grid.sizes.layout
            own: dict[str, Any] = {name: np.asarray(grid.axes[name])[at] for name, at in zip(AXES, places, strict=True)}
            for name, value in (("dp", layout.dp), ("micro_batches", grid.sizes.m)):
                own[name] = np.broadcast_to(value, grid.shape)[allowed].astype(np.int64)
            words: dict[str, Any] = {
                "device": ranked.task.device.name,
                "stack": ranked.task.stack.name,
                "precision": ranked.task.recipe.precision,
            }
            words |= {"recompute": grid.recompute, "zero": layout.zero, "sequence_parallel": layout.sequence_parallel}
            own |= {name: np.full(len(places[0]), value) for name, value in words.items()}
            numbers = {"step_time": weighed.step_time, "peak_allocated": weighed.peak, "fits": weighed.peak_high <= ranked.room}
            own |= {name: np.broadcast_to(value, grid.shape)[allowed] for name, value in numbers.items()}
            own["tokens_per_second"] = own["global_batch"] * own["seq"] / own["step_time"]
            for name, column in own.items():
                found.setdefault(name, []).append(column)
    return {name: np.concatenate(columns) for name, columns in found.items()}
