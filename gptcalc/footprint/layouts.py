"""Reading sizes, and the memory of arrays of them."""

from math import prod
from typing import Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.footprint.phases import PHASES, Peak, Training, nodes, peak_of, training_memory
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.options import LARGEST, check_layouts, check_shapes, float_array
from gptcalc.spec.reading import quoted
from gptcalc.spec.recipe import Recipe
from gptcalc.symbols import distinct


def read_numbers(model: ModelSpec, **sizes: Any) -> dict[str, Any]:
    """The sizes as ints and float64 arrays, whatever kind of whole number they came as.

    Raises GptcalcError for what is not a whole number above zero, and for sequences that learned positions do not reach.

    >>> from gptcalc.spec.files import load_model
    >>> read_numbers(load_model("gpt2"), seq=1024, batch=[1, 2])["batch"].tolist()
    [1.0, 2.0]
    """
    read = {name: _read(name, value) for name, value in sizes.items()}
    check_shapes(**read)
    seq = read["seq"]
    longest = seq if isinstance(seq, int) else int(seq.max())
    if model.position == "learned" and longest > model.n_ctx:
        raise GptcalcError(
            f"{model.name} has learned positions for {model.n_ctx:,} tokens (n_ctx): there is none for token {longest:,}",
            hint=f"use --seq {model.n_ctx} or less, or --set n_ctx={longest} for a model with a longer table",
        )
    return read


def _read(name: str, value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        if 1 <= value <= LARGEST:
            return value
    elif isinstance(value, list | tuple) or hasattr(value, "dtype"):
        import numpy as np

        array = float_array(name, value)
        if array.size and bool(((array >= 1) & (array == np.floor(array)) & (array <= LARGEST)).all()):
            return array if array.ndim else int(array)
    raise GptcalcError(f"{name} must be a whole number above zero, not {quoted(value)}")


SIZES = ("tp", "pp", "dp", "cp", "ep", "virtual_stages", "micro_batches", "zero", "sequence_parallel")


GROUPED = ("tp", "pp", "ep", "virtual_stages", "micro_batches")
"""Sizes of which arrays have no formula in text: it differs from place to place."""


class Alike(NamedTuple):
    """Some places of arrays, `here`, whose steps have the same stages and tensors: what is one number in all of them is an int."""

    here: Any
    recipe: Recipe
    batch: Any
    seq: Any


def _varies(recipe: Recipe, *sizes: Any) -> bool:
    return any(hasattr(size, "dtype") for size in (*sizes, recipe.accumulate, *recipe.layout))


def _alike(model: ModelSpec, recipe: Recipe, batch: Any, seq: Any) -> tuple[tuple[int, ...], list[Alike]]:
    """The shape that the sizes have together, and its places in groups, each of which one evaluation answers."""
    import numpy as np

    sizes = {name: getattr(recipe.layout, name) for name in SIZES} | {"batch": batch, "seq": seq, "accumulate": recipe.accumulate}
    given = {name: np.asarray(size, dtype=np.float64) for name, size in sizes.items() if size is not None}
    given["accumulate"] = np.minimum(given["accumulate"], 2)  # one micro-batch or more is all that matters
    together = np.broadcast_arrays(*given.values())
    flat = dict(zip(given, (array.ravel() for array in together), strict=True))
    keys = {name: flat[name] for name in ("accumulate", "zero", "sequence_parallel")}
    # whether a vocabulary is padded; which kinds of stage there are; whether chunks are interleaved
    keys |= {name: np.minimum(flat[name], most) for name, most in (("tp", 2), ("pp", 3), ("virtual_stages", 2))}
    if model.layers:  # which layers are on a stage
        keys |= {name: flat[name] for name in ("pp", "virtual_stages", "micro_batches") if name in flat}
    groups, which = distinct(list(keys.values()))
    if model.layers:
        check_layouts(groups.shape[1])
    found = []
    for here in np.split(np.argsort(which, kind="stable"), np.cumsum(np.bincount(which))[:-1]):
        own = {name: _one(array[here]) for name, array in flat.items()}
        changed = recipe._replace(accumulate=own.pop("accumulate"))
        batch, seq, parallel = own.pop("batch"), own.pop("seq"), bool(own.pop("sequence_parallel"))
        found.append(Alike(here, changed._replace(layout=recipe.layout._replace(**own, sequence_parallel=parallel)), batch, seq))
    return together[0].shape, found


def _one(sizes: Any) -> Any:
    return int(sizes[0]) if (sizes == sizes[0]).all() else sizes


def peaks_of(model: ModelSpec, recipe: Recipe, batch: Any, seq: Any) -> Peak:
    """`peak_of`, whichever of batch, seq and the sizes of a layout are arrays; these are broadcast against each other.

    Raises GptcalcError as it does, and for shapes that do not go together.
    """
    if not _varies(recipe, batch, seq):
        return peak_of(model, recipe, batch, seq)
    import numpy as np

    shape, groups = _alike(model, recipe, batch, seq)
    found = {name: np.zeros(shape).ravel() for name in ("value", "high", "logits", "trained")}
    for group in groups:
        peak = peak_of(model, group.recipe, group.batch, group.seq)
        for name, array in found.items():
            array[group.here] = getattr(peak, name)
    numbers: dict[str, Any] = {name: array.reshape(shape) for name, array in found.items()}
    return Peak(**numbers, role=None, stages={}, lower_bound=peak.lower_bound)


def in_groups(model: ModelSpec, recipe: Recipe, batch: Any, seq: Any) -> Training:
    """`training_memory`, whichever of batch, seq and the sizes of a layout are arrays; these are broadcast against each other.

    Raises GptcalcError as it does, and for shapes that do not go together.
    """
    layout = recipe.layout
    if not any(hasattr(getattr(layout, name), "dtype") for name in GROUPED) and not hasattr(recipe.accumulate, "dtype"):
        return training_memory(model, recipe, batch, seq)
    import numpy as np

    shape, groups = _alike(model, recipe, batch, seq)
    size = prod(shape)
    found: dict[str, dict[str, Any]] = {phase: {} for phase in PHASES}
    sums = {name: np.zeros(size) for name in ("logits", "trained", "unsettled")}
    roles = np.empty(size, dtype=object)
    for group in groups:
        last = training_memory(model, group.recipe, group.batch, group.seq, text=False)
        roles[group.here] = last.role
        for name, array in sums.items():
            array[group.here] = getattr(last, name)
        for phase in PHASES:
            for path, node in last.phases[phase].leaves():
                found[phase].setdefault(path, np.zeros(size))[group.here] = node.value
    phases = {
        name: nodes(name, {path: (size.reshape(shape), None) for path, size in items.items() if size.any()})
        for name, items in found.items()
    }
    peak = np.stack([phases[name].value for name in PHASES]).argmax(axis=0)
    anew: dict[str, Any] = {name: array.reshape(shape) for name, array in {**sums, "role": roles}.items()}
    return last._replace(phases=phases, peak=peak, when={}, stages={}, **anew)
