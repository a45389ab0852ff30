"""Arrays of layouts as open grids: each size along an axis of its own, so that a formula is computed for the sizes that it reads alone.

- `places`, `rows`: the places of arrays of layouts, those together that one open grid answers.
- `follow`: the sizes that follow from others: data-parallel ranks from the devices, micro-batches from the step's sequences.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.spec.recipe import Layout
from gptcalc.symbols import distinct, is_one, maximum, numbered

AXES = ("tp", "pp", "cp", "ep", "batch", "seq", "virtual_stages", "count", "global_batch")
"""What may differ from place to place within one grid."""

SMALL, ROOM = 20_000, 500_000
"""Places of a grid: so many are as quick as fewer, and so many at most, each with its bill."""

MOST_GRIDS = 2000


class Sizes(NamedTuple):
    """What is computed with: each an int, or an array along its own axes. `m`: micro-batches of a step."""

    layout: Layout
    batch: Any
    seq: Any
    m: Any


class Place(NamedTuple):
    """Some places of arrays, `here`, that are places of one grid of `shape`: the i-th is number `at[a][i]` of axis a."""

    here: Any
    sizes: Sizes
    shape: tuple[int, ...]
    at: tuple[Any, ...]

    def take(self, value: Any) -> Any:
        """What a value that broadcasts to the grid is in each of the places."""
        import numpy as np

        own = np.shape(value)
        if prod(own) == 1:
            return np.reshape(value, ())
        own = (1,) * (len(self.shape) - len(own)) + own
        flat: Any = 0
        for size, index in zip(own, self.at, strict=True):
            flat = flat * size + (index if size > 1 else 0)
        return np.ravel(value)[flat]


def follow(layout: Layout, sizes: Mapping[str, Any]) -> Sizes:
    """A layout of these sizes of tp, pp, cp, ep and virtual stages, and what follows from the devices and the sequences of a step.

    What cannot be divided, which `spec.legality` refuses or masks, is rounded down, to one at least.
    """
    own = {name: sizes[name] for name in AXES[:4]}
    dp = maximum(sizes["count"] // (own["tp"] * own["pp"] * own["cp"]), 1)
    m = maximum(sizes["global_batch"] // (dp * sizes["batch"]), 1)
    layout = layout._replace(**own, dp=dp, virtual_stages=sizes["virtual_stages"], micro_batches=None if is_one(own["pp"]) else m)
    return Sizes(layout, sizes["batch"], sizes["seq"], m)


def open_grid(axes: Mapping[str, Any]) -> dict[str, Any]:
    """Sorted values of each of `AXES` as arrays that broadcast to one grid; what has one value is an int."""
    import numpy as np

    opened = np.ix_(*(np.asarray(axes[name], dtype=np.float64) for name in AXES))
    return {name: int(array.flat[0]) if array.size == 1 else array for name, array in zip(AXES, opened, strict=True)}


def varies(layout: Layout, *sizes: Any) -> bool:
    """Whether anything of a layout, or of sizes beside it, is an array."""
    return any(hasattr(size, "dtype") for size in (*sizes, *layout))


def places(layout: Layout, batch: Any, seq: Any, m: Any, *, layers_differ: bool, apart: tuple[Any, ...] = ()) -> tuple[Any, list[Place]]:
    """The shape that legal sizes have together, and their places in grids; `apart` as in `rows`.

    Raises GptcalcError for arrays whose shapes do not go together, and for more grids than are computed at once.
    """
    import numpy as np

    given = {name: getattr(layout, name) for name in ("tp", "pp", "cp", "ep", "virtual_stages", "dp", "zero", "sequence_parallel")}
    given |= {"batch": batch, "seq": seq, "m": m} | {f"apart {number}": one for number, one in enumerate(apart)}
    try:
        together = np.broadcast_arrays(*(np.asarray(size, dtype=np.float64) for size in given.values()))
    except ValueError:
        raise GptcalcError(
            "arrays of different lengths: " + ", ".join(f"{name} {np.shape(size)}" for name, size in given.items())
        ) from None
    flat = dict(zip(given, (array.ravel() for array in together), strict=True))
    flat["count"] = flat["tp"] * flat["pp"] * flat["cp"] * flat["dp"]
    flat["global_batch"] = flat["m"] * flat["dp"] * flat["batch"]
    further = tuple(flat[name] for name in flat if name.startswith("apart"))
    return together[0].shape, rows(layout, flat, layers_differ=layers_differ, apart=further)


def rows(layout: Layout, columns: Mapping[str, Any], *, layers_differ: bool, apart: tuple[Any, ...] = ()) -> list[Place]:
    """Rows of `AXES`, ZeRO's stage and whether sequences are divided, in grids in each of which the structure of a step is one: whether
    it is a pipeline, has experts apart, has one device; what else is `apart`; and where layers differ, which of them are on a stage."""
    import numpy as np

    keys = [columns["zero"], columns["sequence_parallel"], *apart]
    keys += [np.minimum(columns["pp"], 3), np.minimum(columns["ep"], 2), np.minimum(columns["count"], 2)]
    keys += [columns["pp"], columns["virtual_stages"]] if layers_differ else []
    if not keys[0].size:
        return []
    _, which = distinct(keys)
    found: list[Place] = []
    for here in np.split(np.argsort(which.astype(np.int32), kind="stable"), np.cumsum(np.bincount(which))[:-1]):
        own = layout._replace(zero=int(columns["zero"][here[0]]), sequence_parallel=bool(columns["sequence_parallel"][here[0]]))
        for place in _grids(own, {name: columns[name][here] for name in AXES}, here):
            found.append(place)
            if len(found) > MOST_GRIDS:
                raise GptcalcError(
                    f"the arrays make more than {MOST_GRIDS:,} grids of different steps: too many to be computed at once",
                    hint="give fewer different sizes at a time",
                )
    return found


def _grids(layout: Layout, columns: dict[str, Any], here: Any) -> Iterator[Place]:
    """One grid, or several where one would be far larger than the places that are asked for."""
    values = {name: numbered(column) for name, column in columns.items()}
    shape = tuple(len(own) for own, _ in values.values())
    if prod(shape) > max(10 * len(here), SMALL) or prod(shape) > ROOM:
        name = max(values, key=lambda name: len(values[name][0]))
        half = values[name][1] < len(values[name][0]) // 2
        for side in (half, ~half):
            yield from _grids(layout, {name: column[side] for name, column in columns.items()}, here[side])
        return
    sizes = follow(layout, open_grid({name: own for name, (own, _) in values.items()}))
    yield Place(here, sizes, shape, tuple(index for _, index in values.values()))
