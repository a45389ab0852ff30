"""What is served: a model's shape on one of its tensor-parallel ranks, how its weights and cache are stored, the code, the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.formulas.memory.serving import CACHE_BITS, Stored, cache_precision, stored_as
from gptcalc.formulas.time.chip import Chip
from gptcalc.spec.shape import Shape

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.server import ServerSpec

AUTOCAST = {"amp-bf16": "bf16", "amp-fp16": "fp16"}
WEIGHT_ONLY = ("int8", "int4")
"""Weights that are only stored so: activations stay in 16 bits, and so does the arithmetic (LLM.int8 apart: see the notes)."""


class Work(NamedTuple):
    """`arithmetic` is what the matmuls of the blocks compute in, `width` the bytes of an activation; weights that no arithmetic
    unit takes as they are stored are `dequantised` on their way."""

    chip: Chip
    shape: Shape[Any]
    server: ServerSpec
    stored: Stored
    arithmetic: str
    plain: str
    width: int
    cast: bool
    dequantised: bool
    kv_bits: int
    tp: int
    link: float | None
    notes: tuple[str, ...] = ()

    @property
    def tags(self) -> frozenset[str]:
        c = self.shape.switches
        return frozenset({c.norm, c.activation, *(["gated"] if c.gated else [])})


def work_of(
    model: ModelSpec,
    device: DeviceSpec,
    *,
    precision: str,
    kv_precision: str | None,
    runtime: str,
    tp: int = 1,
    group_size: int | None = None,
) -> Work:
    """What serving a model on a device launches on each rank.

    Raises GptcalcError for unknown precisions and runtimes, arithmetic that the device lacks, and heads that do not divide.
    """
    from gptcalc.formulas.sharding import share_of
    from gptcalc.formulas.time.chip import chip_of
    from gptcalc.spec.recipe import Layout
    from gptcalc.spec.server import load_server
    from gptcalc.spec.shape import shape_of

    stored = stored_as(precision, group_size)
    chip = chip_of(device)
    share = share_of(shape_of(model), Layout(tp=tp), 1, "only", pad=tp > 1)
    half = "bf16" if chip.has("bf16") else "fp16" if chip.has("fp16") else "fp32"
    plain = AUTOCAST.get(precision, precision if stored.bits >= 16 else half)
    if not chip.has(plain):
        raise GptcalcError(f"{chip.name} has no {plain} arithmetic", hint=f"--precision {half} runs there")
    notes = []
    arithmetic = plain
    if stored.bits < 16:
        if precision not in WEIGHT_ONLY and chip.has(precision):
            arithmetic = precision
        else:
            why = f"{chip.name} has no {precision} arithmetic" if not chip.has(precision) else "its activations stay in 16 bits"
            notes.append(f"{precision} weights are dequantised to {plain} on their way into each matmul: {why}")
    kv = cache_precision(precision, kv_precision)
    return Work(
        chip,
        share.shape,
        load_server(runtime),
        stored,
        arithmetic,
        plain,
        4 if plain in ("fp32", "tf32") else 2,
        precision in AUTOCAST,
        arithmetic == plain and stored.bits < 16,
        CACHE_BITS[kv],
        tp,
        device.link.bandwidth if device.link else None,
        tuple(notes),
    )
