"""Reading sizes, and the memory of arrays of them."""

from math import prod
from typing import Any

from gptcalc.errors import GptcalcError
from gptcalc.footprint.breakdown import nodes
from gptcalc.footprint.phases import PHASES, Peak, Training, peak_of, training_memory
from gptcalc.spec.grids import Place, places, varies
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.options import LARGEST, check_shapes, distinct_words, float_array
from gptcalc.spec.reading import quoted
from gptcalc.spec.recipe import Layout, Recipe


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


GROUPED = ("tp", "pp", "ep", "virtual_stages", "micro_batches", "zero", "sequence_parallel")
"""Sizes of which arrays have no formula in text: it differs from place to place."""


def _places(model: ModelSpec, recipe: Recipe, batch: Any, seq: Any) -> tuple[tuple[int, ...], list[tuple[Place, Recipe]]]:
    """The shape that the sizes have together, and its places in grids, each of which one evaluation answers with its recipe."""
    import numpy as np

    several = np.minimum(recipe.accumulate, 2)  # one micro-batch or more is all that matters
    m = recipe.accumulate if recipe.layout.micro_batches is None else recipe.layout.micro_batches
    words, which = distinct_words(recipe.recompute)
    shape, found = places(recipe.layout, batch, seq, m, layers_differ=bool(model.layers), apart=(several, which))
    together, word = (np.broadcast_to(one, shape).ravel() for one in (several, which))

    def own(place: Place) -> Recipe:
        at = place.here[0]
        return recipe._replace(accumulate=int(together[at]), recompute=words[int(word[at])], layout=place.sizes.layout)

    return shape, [(place, own(place)) for place in found]


def peaks_of(model: ModelSpec, recipe: Recipe, batch: Any, seq: Any) -> Peak:
    """`peak_of`, whichever of batch, seq and the sizes of a layout are arrays; these are broadcast against each other.

    Raises GptcalcError as it does, and for shapes that do not go together.
    """
    if not varies(recipe.layout, batch, seq, recipe.accumulate, recipe.recompute):
        return peak_of(model, recipe, batch, seq)
    import numpy as np

    shape, groups = _places(model, recipe, batch, seq)
    found = {name: np.zeros(shape).ravel() for name in ("value", "high", "logits", "trained")}
    for place, own in groups:
        with np.errstate(all="ignore"):  # of places that nobody asks for
            peak = peak_of(model, own, place.sizes.batch, place.sizes.seq)
        for name, array in found.items():
            array[place.here] = place.take(getattr(peak, name))
    numbers: dict[str, Any] = {name: array.reshape(shape) for name, array in found.items()}
    return Peak(**numbers, role=None, stages={}, lower_bound=peak.lower_bound)


def memory_of_arrays(model: ModelSpec, recipe: Recipe, batch: Any, seq: Any) -> Training:
    """`training_memory`, whichever of batch, seq and the sizes of a layout are arrays; these are broadcast against each other.

    Raises GptcalcError as it does, and for shapes that do not go together.
    """
    layout = recipe.layout
    if not varies(Layout(), recipe.accumulate, recipe.recompute, *(getattr(layout, name) for name in GROUPED)):
        return training_memory(model, recipe, batch, seq)
    import numpy as np

    shape, groups = _places(model, recipe, batch, seq)
    size = prod(shape)
    found: dict[str, dict[str, Any]] = {phase: {} for phase in PHASES}
    sums = {name: np.zeros(size) for name in ("logits", "trained", "unsettled")}
    roles = np.empty(size, dtype=object)
    for place, own in groups:
        with np.errstate(all="ignore"):
            last = training_memory(model, own, place.sizes.batch, place.sizes.seq, text=False)
        roles[place.here] = place.take(last.role)
        for name, array in sums.items():
            array[place.here] = place.take(getattr(last, name))
        for phase in PHASES:
            for path, node in last.phases[phase].leaves():
                found[phase].setdefault(path, np.zeros(size))[place.here] = place.take(node.value)
    phases = {
        name: nodes(name, {path: (size.reshape(shape), None) for path, size in items.items() if size.any()})
        for name, items in found.items()
    }
    peak = np.stack([phases[name].value for name in PHASES]).argmax(axis=0)
    anew: dict[str, Any] = {name: array.reshape(shape) for name, array in {**sums, "role": roles}.items()}
    return last._replace(phases=phases, peak=peak, when={}, stages={}, **anew)
