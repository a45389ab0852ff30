"""Which of many models can be served on one device."""

from collections.abc import Iterable
from typing import NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.footprint.request import memory
from gptcalc.footprint.reserve import reserve
from gptcalc.footprint.serving import WEIGHTS
from gptcalc.spec.device import load_device
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.options import check_word, whole_number


class Fitting(NamedTuple):
    """A model that fits: one sequence of `seq` tokens takes `peak_allocated` of the `room`, in bytes."""

    model: ModelSpec
    seq: int
    peak_allocated: int
    room: int


def fitting(
    models: Iterable[ModelSpec], device: str, precision: str | None = None, context: int | None = None
) -> tuple[list[Fitting], list[ModelSpec]]:
    """The models whose weights, cache of one sequence and activations fit on a device, the largest first; and those that cannot be served
    so: they reach no such context, or have no such precision.

    `precision` is that of the weights, `context` the tokens of the sequence (None: as `memory` would have them for each model).

    Units: bytes.   Raises: GptcalcError for a device or a precision that there is not.   Source: `memory` in its inference mode.

    >>> from gptcalc.spec.files import load_model
    >>> found, _ = fitting([load_model("llama2-7b"), load_model("llama2-70b")], "rtx-4090")
    >>> [(one.model.name, one.seq) for one in found]
    [('llama2-7b', 4096)]
    """
    spec = load_device(device)
    room = spec.memory - reserve(0, 0, 0, spec).apart
    if precision is not None:
        check_word("precision", precision, WEIGHTS)
    if context is not None:
        context = whole_number("context", context)
    found, refused = [], []
    for model in models:
        if context is not None and context > model.n_ctx:
            refused.append(model)
            continue
        try:
            answer = memory(model, mode="inference", seq=context, precision=precision)
        except GptcalcError:  # its shape has no such precision
            refused.append(model)
            continue
        if answer.value <= room:
            found.append(Fitting(model, answer.inputs["seq"], int(answer.value), room))
    return sorted(found, key=lambda one: -one.peak_allocated), refused
