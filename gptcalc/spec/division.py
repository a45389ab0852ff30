"""From the options of a run to its layout: what follows from the numbers of devices and of sequences. `legality` says what cannot be."""

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.spec.legality import Sizes, check
from gptcalc.spec.plan import LayoutOptions
from gptcalc.spec.reading import quoted
from gptcalc.spec.recipe import Layout
from gptcalc.symbols import is_one, maximum

if TYPE_CHECKING:
    from gptcalc.spec.model import ModelSpec

SIZES = ("tp", "pp", "dp", "cp", "ep", "virtual_stages")
CHOICES = ("sequence_parallel", "zero")


class Division(NamedTuple):
    """A run divided over devices. `parallel`: whether there is anything to divide."""

    layout: Layout
    count: Any
    sequences: Any
    micro_batches: Any
    parallel: bool


def choices_of(asked: LayoutOptions) -> dict[str, Any]:
    """ZeRO's stage and whether sequences are divided, where they are given: one value each, or an array.

    Raises GptcalcError for what is no stage and no flag.
    """
    known: dict[str, tuple[tuple[Any, ...], str]] = {"zero": ((0, 1, 2, 3), "iuf"), "sequence_parallel": ((False, True), "b")}
    given = {name: getattr(asked, name) for name in CHOICES}
    return {name: _one_of(name, value, *known[name]) for name, value in given.items() if value is not None}


def _one_of(name: str, value: Any, known: tuple[Any, ...], kinds: str) -> Any:
    """One of the known values, or an array of them whose type is one of the `kinds` of NumPy."""
    if isinstance(value, list) or hasattr(value, "dtype"):
        import numpy as np

        try:
            array = np.asarray(value)
        except ValueError:  # lists of different lengths
            array = np.asarray(None)
        if array.dtype.kind in kinds and array.size and np.isin(array, known).all():
            return array if array.ndim else type(known[0])(array)
    elif type(value) is type(known[0]) and value in known:
        return value
    raise GptcalcError(f"{name} {quoted(value)} is not one of {', '.join(map(str, known))}")


def divided(
    model: "ModelSpec",
    defaults: dict[str, Any],
    options: dict[str, Any],
    *,
    batch: Any,
    seq: Any,
    count: Any,
    global_batch: Any,
    accumulate: int | None = None,
) -> Division:
    """The layout of a run: dp from the count of devices or the count from dp, micro-batches from the step's sequences.

    Raises GptcalcError for every rule that is broken, naming both numbers and the nearest legal ones.
    """
    layout, sizes = sized(defaults, options, batch=batch, seq=seq, count=count, global_batch=global_batch, accumulate=accumulate)
    check(model, sizes)
    micro_batches = sizes.global_batch // (batch * sizes.dp)
    layout = layout._replace(dp=sizes.dp, micro_batches=None if is_one(layout.pp) else micro_batches)
    return Division(layout, sizes.count, sizes.global_batch, micro_batches, not is_one(sizes.count))


def sized(
    defaults: dict[str, Any],
    options: dict[str, Any],
    *,
    batch: Any,
    seq: Any,
    count: Any,
    global_batch: Any,
    accumulate: int | None = None,
) -> tuple[Layout, Sizes]:
    """The layout that is asked for, its dp still one, and all sizes that follow from it, legal or not.

    `options` are the sizes that are given, `defaults` those of a stack.
    Without a global batch a step is one micro-batch of each replica, or `accumulate` of them.
    """
    given = {name: options[name] for name in (*SIZES, *CHOICES) if options.get(name) is not None}
    layout = Layout(**{**{name: defaults[name] for name in CHOICES if name in defaults}, **given, "dp": 1})
    own = layout.tp * layout.pp * layout.cp
    dp = given.get("dp")
    if count is None:
        count = own * (1 if dp is None else dp)
    if dp is None:
        dp = maximum(count // own, 1)  # of fewer devices than a replica has there is none, as `check` says
    sequences = batch * dp * (accumulate or 1) if global_batch is None else global_batch
    sizes = {name: getattr(layout, name) for name in ("tp", "pp", "cp", "ep", "virtual_stages", "sequence_parallel")}
    return layout, Sizes(**sizes, dp=dp, count=count, global_batch=sequences, batch=batch, seq=seq)
