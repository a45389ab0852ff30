"""Many plans at once: the seconds, the peak and the legality of every layout of a space, by the formulas of `train` and `memory`.

- `grids`: a space in open grids, in each of which the structure of a step is one. `weigh`: what each place of a grid comes to.
- `evaluate`: the same of rows of layouts that someone gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.footprint.phases import Beside, Reach, reach_on_grid
from gptcalc.spec.grids import AXES, Sizes, follow, open_grid, rows
from gptcalc.spec.legality import Sizes as Judged
from gptcalc.spec.legality import legal
from gptcalc.spec.recipe import Layout, Recipe
from gptcalc.symbols import pick
from gptcalc.time.local import local
from gptcalc.time.plan import StepPlan
from gptcalc.time.step import step_seconds

if TYPE_CHECKING:
    from gptcalc.spec.cluster import ClusterSpec
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.stack import StackSpec
    from gptcalc.time.local import Local

MOST_KEPT = 1_000_000
"""Places of grids whose memory is kept for other stages of ZeRO: some 100 MB."""

ROOM = 2_000_000
"""Places of one grid: some 16 MB for each array of them."""


@dataclass(frozen=True)
class Task:
    """What every plan of a search has in common. `recipe`: what is not searched of it."""

    model: ModelSpec
    device: DeviceSpec
    recipe: Recipe
    cluster: ClusterSpec
    stack: StackSpec

    @property
    def layout(self) -> Layout:
        return Layout(shard_within=self.cluster.node if self.stack.shard_in_node else None)


@dataclass(frozen=True)
class Space:
    """The sizes to be tried, each a list; every combination is a plan, legal or not."""

    tp: tuple[int, ...]
    pp: tuple[int, ...]
    cp: tuple[int, ...]
    ep: tuple[int, ...]
    batch: tuple[int, ...]
    virtual_stages: tuple[int, ...]
    seq: int
    count: int
    global_batch: int
    recompute: tuple[str, ...]
    zero: tuple[int, ...]
    sequence_parallel: tuple[bool, ...]
    dp: tuple[int, ...] | None = None  # None: whatever follows

    @property
    def size(self) -> int:
        return prod(len(axis) for axis in self.lists().values())

    def lists(self) -> dict[str, tuple[Any, ...]]:
        """What is tried of each, by the name of its option."""
        names = ("tp", "pp", "cp", "ep", "batch", "virtual_stages", "recompute", "zero", "sequence_parallel")
        return {name: getattr(self, name) for name in names}

    def to_dict(self) -> dict[str, Any]:
        found = {name: list(values) for name, values in self.lists().items()}
        return found | {
            "dp": None if self.dp is None else list(self.dp),
            "seq": self.seq,
            "count": self.count,
            "global_batch": self.global_batch,
        }


class Grid(NamedTuple):
    """Plans of one recipe: `sizes` broadcast to `shape`, an axis for each of `spec.grids.AXES`."""

    recompute: str
    sizes: Sizes
    shape: tuple[int, ...]
    axes: Mapping[str, tuple[int, ...]]


class Weighed(NamedTuple):
    """Arrays of the grid's shape: seconds of a step and of its parts, bytes of the fullest stage, legality."""

    step_time: Any
    waiting: Any
    sending: Any
    again: Any
    peak: Any
    peak_high: Any
    standing: Any
    legal: Any


@dataclass
class Known:
    """What has been computed already: the kernels of one recipe whatever the pipeline is, and activations whatever ZeRO divides."""

    locals: dict[Any, Local] = field(default_factory=dict)
    beside: dict[Any, list[Beside]] = field(default_factory=dict)
    places: int = 0  # of the grids of `beside`

    def beside_of(self, sizes: Sizes) -> dict[Any, list[Beside]] | None:
        """What is known of the memory of other grids; nothing of large ones, each of which is hundreds of megabytes."""
        import numpy as np

        size = prod(
            np.broadcast_shapes(*(np.shape(one) for one in (*sizes.layout, sizes.batch, sizes.seq, sizes.m) if hasattr(one, "dtype")))
        )
        if size > MOST_KEPT:
            return None
        if self.places + size > MOST_KEPT:
            self.beside.clear()
            self.places = 0
        self.places += size
        return self.beside


def grids(task: Task, space: Space) -> Iterator[Grid]:
    """The space, each place in one grid."""
    for recompute in space.recompute:
        for parallel in space.sequence_parallel:
            for ep in _apart(space.ep, lambda g: g == 1):
                for zero in space.zero:
                    for pp, v in _pipelines(task, space):
                        axes = {"tp": space.tp, "pp": pp, "cp": space.cp, "ep": ep, "batch": space.batch, "virtual_stages": v}
                        layout = task.layout._replace(zero=zero, sequence_parallel=parallel)
                        for part in _of_size(axes | {"seq": (space.seq,), "count": (space.count,), "global_batch": (space.global_batch,)}):
                            yield Grid(recompute, follow(layout, open_grid(part)), tuple(len(part[name]) for name in AXES), part)


def _pipelines(task: Task, space: Space) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Numbers of stages and of virtual ones that one grid may have; where layers differ each pair is one."""
    for pp in _apart(space.pp, lambda p: p == 1):
        if task.model.layers:
            yield from (((p,), (v,)) for p in pp for v in space.virtual_stages)
        elif pp == (1,):
            yield from ((pp, v) for v in _apart(space.virtual_stages, lambda v: v == 1))
        else:
            yield pp, space.virtual_stages


def _apart(values: tuple[int, ...], first: Any) -> list[tuple[int, ...]]:
    both = tuple(v for v in values if first(v)), tuple(v for v in values if not first(v))
    return [one for one in both if one]


def _of_size(axes: dict[str, tuple[int, ...]]) -> Iterator[dict[str, tuple[int, ...]]]:
    """Parts of a grid that have room."""
    if prod(len(axis) for axis in axes.values()) <= ROOM:
        yield axes
        return
    name = max(axes, key=lambda name: len(axes[name]))
    half = len(axes[name]) // 2
    for side in (axes[name][:half], axes[name][half:]):
        yield from _of_size(axes | {name: side})


def weigh(task: Task, recompute: str, sizes: Sizes, allowed: Any, known: Known) -> Weighed:
    """What every place of a grid comes to, by the formulas of one plan; where it is not `allowed` the numbers mean nothing.

    Units: seconds, bytes.   Source: `step_time`, `peak_of`.
    """
    import numpy as np

    layout = sizes.layout
    recipe = task.recipe._replace(recompute=recompute, layout=layout)
    plan = StepPlan(task.model, task.device, recipe, task.cluster, task.stack, sizes.batch, sizes.seq, sizes.m)
    with np.errstate(all="ignore"):  # what is not legal may divide by nothing
        key = (recompute, layout.sequence_parallel, layout.zero == 3, *map(_key, (layout.tp, layout.cp, layout.ep, sizes.batch, sizes.seq)))
        if key not in known.locals:
            known.locals[key] = local(plan)
        return Weighed(*step_seconds(plan, known.locals[key]), *_peaks(task, recipe, sizes, known), allowed)


def judged(task: Task, sizes: Sizes, count: Any, global_batch: Any) -> Any:
    """Whether each place keeps every rule.   Source: `spec.legality`."""
    names = ("tp", "pp", "cp", "dp", "ep", "virtual_stages", "sequence_parallel")
    own = {name: getattr(sizes.layout, name) for name in names}
    return legal(task.model, Judged(**own, count=count, global_batch=global_batch, batch=sizes.batch, seq=sizes.seq))


def _key(size: Any) -> Any:
    return size if isinstance(size, int) else (size.shape, size.tobytes())


def _peaks(task: Task, recipe: Recipe, sizes: Sizes, known: Known) -> Reach:
    """Gradients stand throughout where there are several micro-batches, or in code that always keeps them."""
    from gptcalc.spec.runtime import load_runtime

    layout = recipe.layout
    key = (recipe.recompute, layout.sequence_parallel, *map(_key, (layout.tp, layout.pp, layout.cp, layout.dp, layout.ep)))
    key = (*key, *map(_key, (layout.virtual_stages, sizes.batch, sizes.seq, sizes.m)))

    def of(pieces: int) -> Reach:
        own = recipe._replace(accumulate=pieces)
        return reach_on_grid(task.model, own, sizes.batch, sizes.seq, known.beside_of(sizes), (*key, pieces))

    if isinstance(sizes.m, int):
        return of(min(sizes.m, 2))
    if load_runtime(recipe.runtime).state.resident_gradients:
        return of(2)
    one, several = of(1), of(2)
    return Reach(*(pick(sizes.m > 1, b, a) for a, b in zip(one, several, strict=True)))


class Columns(NamedTuple):
    """A row for each layout: seconds of a step, bytes of the fullest stage, whether it is legal. What is not legal is NaN."""

    step_time: Any
    peak_allocated: Any
    legal: Any


def evaluate(task: Task, columns: Mapping[str, Any]) -> Columns:
    """Rows of layouts, legal or not: arrays of tp, pp, dp, cp, ep, virtual stages, batch, seq, count, global batch, ZeRO's stage,
    sequence parallelism and recomputation's words, each an array or one value for all.

    Units: seconds, bytes.   Source: `weigh`.
    """
    import numpy as np

    given = {name: np.asarray(value) for name, value in ({"ep": 1, "virtual_stages": 1} | dict(columns)).items()}
    size = np.broadcast_shapes(*(value.shape for value in given.values()))
    recompute = given.pop("recompute")
    words = sorted(set(recompute.ravel().tolist()))
    which = np.broadcast_to(sum(number * (recompute == word) for number, word in enumerate(words)), size)
    flat = {name: np.broadcast_to(value, size).astype(np.float64).ravel() for name, value in given.items()}
    own = flat["tp"] * flat["pp"] * flat["cp"]
    flat.setdefault("count", own * flat.get("dp", 1.0))
    flat.setdefault("dp", np.maximum(flat["count"] // own, 1.0))
    fields = {name: flat[name] for name in ("tp", "pp", "cp", "dp", "ep", "virtual_stages", "sequence_parallel", *AXES[4:6], *AXES[7:])}
    allowed = np.broadcast_to(legal(task.model, Judged(**fields)), prod(size))
    step_time, peak = np.full(prod(size), np.nan), np.full(prod(size), np.nan)
    kept = np.flatnonzero(allowed)  # a grid has the sizes of legal rows alone, if in combinations that are not
    known = Known()
    words_of = which.ravel()[kept]
    for place in rows(
        task.layout, {name: column[kept] for name, column in flat.items()}, layers_differ=bool(task.model.layers), apart=(words_of * 1.0,)
    ):
        found = weigh(task, words[words_of[place.here[0]]], place.sizes, True, known)
        for array, value in ((step_time, found.step_time), (peak, found.peak)):
            array[kept[place.here]] = place.take(value)
    return Columns(step_time.reshape(size), peak.reshape(size), allowed.reshape(size))
