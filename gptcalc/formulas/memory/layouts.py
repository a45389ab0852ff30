"""Reading sizes, and the memory of arrays of them."""

from typing import Any

from gptcalc.errors import GptcalcError
from gptcalc.formulas.memory.phases import PHASES, Training, nodes, training_memory
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.options import LARGEST, check_layouts, check_shapes, float_array
from gptcalc.spec.reading import quoted
from gptcalc.spec.recipe import Recipe


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


def differ(a: Any, b: Any) -> bool:
    """Whether two sizes differ, in any place where they are arrays."""
    odd = a != b
    return bool(odd.any() if hasattr(odd, "any") else odd)


GROUPED = ("tp", "pp", "ep", "virtual_stages", "micro_batches")
"""Sizes that decide which stages there are and what is replicated: arrays of them are computed one value at a time."""


def in_groups(model: ModelSpec, recipe: Recipe, batch: Any, seq: Any) -> Training:
    """`training_memory`, whichever of batch, seq and the parallel sizes are arrays; these are broadcast against each other.

    Raises GptcalcError as it does, and for shapes that do not go together.
    """
    layout = recipe.layout
    numbers = {"batch": batch, "seq": seq, **{name: getattr(layout, name) for name in ("dp", "cp", *GROUPED)}}
    numbers["accumulate"] = recipe.accumulate
    if all(value is None or isinstance(value, int) for name, value in numbers.items() if name in GROUPED or name == "accumulate"):
        return training_memory(model, recipe, batch, seq)
    import numpy as np

    given = {name: np.asarray(value, dtype=np.float64) for name, value in numbers.items() if value is not None}
    given["accumulate"] = np.minimum(given["accumulate"], 2)  # one micro-batch or more is all that matters
    arrays = dict(zip(given, (a.ravel() for a in np.broadcast_arrays(*given.values())), strict=True))
    shape = np.broadcast_shapes(*(a.shape for a in given.values()))
    keys = [*(name for name in GROUPED if name in arrays), "accumulate"]
    groups, which = np.unique(np.stack([arrays[name] for name in keys]), axis=1, return_inverse=True)
    check_layouts(groups.shape[1])
    found: dict[str, dict[str, Any]] = {phase: {} for phase in PHASES}
    sums = {name: np.zeros(which.size) for name in ("logits", "trained", "unsettled")}
    roles = np.empty(which.size, dtype=object)
    last = None
    for number, sizes in enumerate(groups.T):
        here = np.flatnonzero(which.ravel() == number)
        fixed: dict[str, Any] = {name: int(size) for name, size in zip(keys, sizes, strict=True)}
        changed = recipe._replace(accumulate=fixed.pop("accumulate"))
        one = layout._replace(dp=arrays["dp"][here], cp=arrays["cp"][here], **fixed)
        last = training_memory(model, changed._replace(layout=one), arrays["batch"][here], arrays["seq"][here])
        roles[here] = last.role
        for name, array in sums.items():
            array[here] = getattr(last, name)
        for phase in PHASES:
            for path, node in last.phases[phase].leaves():
                found[phase].setdefault(path, np.zeros(which.size))[here] = node.value
    assert last is not None
    phases = {name: nodes(name, {path: (size.reshape(shape), None) for path, size in items.items()}) for name, items in found.items()}
    peak = np.stack([phases[name].value for name in PHASES]).argmax(axis=0)
    anew: dict[str, Any] = {name: array.reshape(shape) for name, array in {**sums, "role": roles}.items()}
    return last._replace(phases=phases, peak=peak, when={}, stages={}, **anew)
