"""The memory of one model on several devices, or in several precisions, side by side: each alone, or why it cannot be."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.footprint.answer import ServingMemory, TrainingMemory
from gptcalc.footprint.request import inference, training
from gptcalc.footprint.serving import STORED, WEIGHTS
from gptcalc.spec.device import DeviceSpec, as_device
from gptcalc.spec.fields import asked, options_of
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.options import check_word
from gptcalc.spec.plan import MemoryOptions, ServingOptions
from gptcalc.spec.recipe import PRECISIONS

MOST = 200
"""Answers side by side."""


class Held(NamedTuple):
    """One device, precision and mode of several; `refused` says why there is no answer. None is a device or a precision of no choice."""

    device: DeviceSpec | None
    number: int
    precision: str | None
    mode: str
    answer: TrainingMemory | ServingMemory | None
    refused: str = ""

    @property
    def fits(self) -> bool | None:
        """None where it cannot be said, and where there is no device or no answer."""
        if isinstance(self.answer, ServingMemory):
            return bool(self.answer.limits["fits"]) if self.answer.limits else None
        return self.answer.verdict.fits if self.answer and self.answer.verdict else None

    @property
    def price(self) -> float | None:
        """USD an hour of all its devices, at the catalogue's likely price."""
        return None if self.device is None or not self.device.prices else self.number * self.device.prices[0].usd

    def to_dict(self) -> dict[str, Any]:
        """The answer as it serialises alone, under what it is of."""
        of = {"device": self.device.name, "count": self.number, "price": self.price} if self.device else {}
        of |= {"precision": self.precision} if self.precision else {}
        said = {"refused": self.refused} if self.answer is None else self.answer.to_dict()
        return of | {"mode": self.mode} | said


def several(
    model: ModelSpec,
    devices: Sequence[tuple[Any, int | None]],
    precisions: Sequence[str],
    mode: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> list[Held]:
    """`memory` of each device, with its own count or the common one, in each precision.

    Without a `mode` several precisions are answered for serving and for training, unless an option is of training alone.

    Units: bytes.   Raises: GptcalcError for an unknown device, too many answers, and where every one of them is refused.

    >>> from gptcalc.spec.files import load_model
    >>> rows = several(load_model("gpt2"), [], ["fp32", "bf16"], "inference")
    >>> [row.answer.to_dict()["weights"] for row in rows]
    [497759232, 248879616]
    """
    given = {name: value for name, value in (options or {}).items() if name not in ("device", "precision", "mode")}
    both = mode is None and len(precisions) > 1 and given.keys() <= options_of(ServingOptions).keys()
    modes = ["inference", "training"] if both else [mode or "training"]
    kinds: list[tuple[DeviceSpec | None, int | None]] = [(as_device(name), own) for name, own in devices]
    types: list[str | None] = list(precisions)
    cases = list(product(kinds or [(None, None)], types or [None], modes))
    if len(cases) > MOST:
        raise GptcalcError(f"{len(cases):,} answers side by side are too many: at most {MOST}")
    for word in precisions:
        check_word("precision", word, {*PRECISIONS, *WEIGHTS, STORED})
    found: list[Held] = []
    errors: list[GptcalcError] = []
    for (device, own), precision, one in cases:
        of = {"device": device, "precision": precision} | ({"count": own} if own else {})
        full = given | {name: value for name, value in of.items() if value is not None}
        count = int(full.get("count") or 1)
        try:
            answer = _memory(model, one, full)
            if isinstance(answer, TrainingMemory):
                layout = answer.recipe.layout
                count = layout.tp * layout.pp * layout.cp * layout.dp
            found.append(Held(device, count, precision, one, answer))
        except GptcalcError as error:
            errors.append(error)
            found.append(Held(device, count, precision, one, None, str(error)))
    if len(errors) == len(found):
        raise errors[0]
    return found


def _memory(model: ModelSpec, mode: str, options: Mapping[str, Any]) -> TrainingMemory | ServingMemory:
    check_word("mode", mode, ("training", "inference"))
    if mode == "inference":
        return inference(model, asked(ServingOptions, "inference memory", {**_served(options), "mode": mode}))
    return training(model, asked(MemoryOptions, "training memory", options))


def _served(options: Mapping[str, Any]) -> dict[str, Any]:
    """Devices that serve one replica: tensor parallel, unless the options say how they do it."""
    count = options.get("count") or 1
    rest = {name: value for name, value in options.items() if name != "count"}
    tp, pp = rest.get("tp"), rest.get("pp") or 1
    if count % (pp * (tp or 1)):
        raise GptcalcError(f"{count} devices are not whole replicas of {pp * (tp or 1)}")
    return rest if tp is not None else rest | {"tp": count // pp}
