"""Reading a layout: which sizes follow from the number of devices and the global batch, and which contradict each other."""

from typing import Any

from gptcalc.errors import GptcalcError
from gptcalc.formulas.sharding import divide
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.recipe import Layout


def check_numbers(model: ModelSpec, **sizes: Any) -> None:
    """Raises GptcalcError for sizes that are not whole numbers above zero, and sequences that learned positions do not reach."""
    for name, value in sizes.items():
        if isinstance(value, int) and not isinstance(value, bool):
            good = 1 <= value <= 10**12
        elif hasattr(value, "dtype"):
            if value.dtype.kind in "iu":
                raise GptcalcError(f"{name}: int64 arrays overflow in silence", hint=f"give float64: {name}.astype(float)")
            good = value.dtype.kind == "f" and bool(((value >= 1) & (value == value // 1) & (value < 2**53)).all())
        else:
            good = False
        if not good:
            raise GptcalcError(f"{name} must be a whole number above zero, not {value!r}")
    seq = sizes["seq"]
    longest = seq if isinstance(seq, int) else seq.max()
    if model.position == "learned" and longest > model.n_ctx:
        raise GptcalcError(
            f"{model.name} has learned positions for {model.n_ctx:,} tokens (n_ctx): there is none for token {longest:,.0f}",
            hint=f"use --seq {model.n_ctx} or less, or --set n_ctx={longest:.0f} for a model with a longer table",
        )


def layout_of(
    layout: Layout, *, model: ModelSpec, dp: Any, count: int | None, batch: Any, global_batch: int | None
) -> tuple[Layout, int]:
    """The layout with what follows from the numbers of devices and of sequences in a step, and the micro-batches that one stage accumulates.

    Raises GptcalcError for sizes that do not divide, naming both numbers.
    """
    if layout.zero not in (0, 1, 2, 3):
        raise GptcalcError(f"zero {layout.zero} is not one of 0, 1, 2, 3")
    if not (isinstance(layout.ep, int) and layout.ep == 1):
        raise GptcalcError(f"expert parallel size {layout.ep} on {model.name}, which has no experts", hint="leave --ep out")
    if _is(layout.pp, 1) and not _is(layout.virtual_stages, 1):
        raise GptcalcError(f"{layout.virtual_stages} virtual stages need a pipeline", hint="give --pp, or leave --virtual-stages out")
    if count is not None:
        model_parallel = layout.tp * layout.pp * layout.cp
        groups = divide(count, model_parallel, "device count", "tp times pp times cp")
        if dp is not None and dp != groups:
            raise GptcalcError(f"dp {dp} times tp {layout.tp}, pp {layout.pp} and cp {layout.cp} is not the device count {count}")
        dp = groups
    dp = 1 if dp is None else dp
    layout = layout._replace(dp=dp)
    if global_batch is None:
        return layout, 1
    pieces = divide(divide(global_batch, dp, "global batch", "data parallel size"), batch, "batch of a replica", "micro-batch")
    if not _is(layout.virtual_stages, 1):
        divide(pieces, layout.pp, "micro-batches of a step", "pipeline stages")
    return (layout, pieces) if _is(layout.pp, 1) else (layout._replace(micro_batches=pieces), pieces)


def _is(size: Any, number: int) -> bool:
    return isinstance(size, int) and size == number
