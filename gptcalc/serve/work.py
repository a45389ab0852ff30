"""What is served: a model's shape on one of its tensor-parallel ranks, how its weights and cache are stored, the code, the device."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.footprint.quantized import AsStored, as_stored
from gptcalc.footprint.serving import CACHE_BITS, STORED, Stored, cache_precision, stored_as
from gptcalc.spec.shape import Shape
from gptcalc.table.operation import Operation
from gptcalc.time.chip import Chip
from gptcalc.time.collectives import Network, network_of

if TYPE_CHECKING:
    from gptcalc.serve.request import Request
    from gptcalc.serve.seeing import Seen
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import Form, ModelSpec
    from gptcalc.spec.server import ServerSpec

AUTOCAST = {"amp-bf16": "bf16", "amp-fp16": "fp16"}
COMPUTED_IN = {"fp8": "fp8", "fbgemm_fp8": "fp8", "fp4": "fp4", "nvfp4": "fp4"}
"""Precisions and files' methods whose kernels compute in what they store, where the chip can (transformers, FP8Linear and
FbgemmFp8Linear). All others only store weights so: activations stay in 16 bits, and so does the arithmetic (LLM.int8's too, here)."""

NARROW = ("mxfp8", "int8")
"""Files' methods that quantize activations too, for arithmetic whose rate nothing measured says."""


STARTS = ("gap", "matmul_gap", "graph_gap", "graph_pass", "graph_matmul", "graph_norm", "flash_fixed", "decode_attention_fixed")
"""Constants of a chip that are seconds of starting a kernel."""


class Work(NamedTuple):
    """`arithmetic` is what the matmuls of the blocks compute in, `width` the bytes of an activation; weights that no arithmetic
    unit takes as they are stored are `dequantised` on their way. `file`: of weights as the model's file has them."""

    chip: Chip
    shape: Shape[Any]
    server: ServerSpec
    stored: Stored
    file: AsStored | None
    arithmetic: str
    plain: str
    width: int
    cast: bool
    dequantised: bool
    kv: str
    tp: int
    device: DeviceSpec
    notes: tuple[str, ...] = ()
    seen: Seen | None = None

    @property
    def kv_bits(self) -> int:
        return CACHE_BITS[self.kv]

    @property
    def widened(self) -> bool:
        """Whether cached numbers become 16 bits on their way: all narrower ones but fp8, where the chip computes in it."""
        return self.kv_bits < 8 * self.width and not (self.kv == "fp8" and self.chip.has("fp8"))

    @property
    def cast_by_block(self) -> bool:
        """Whether a kernel of its own finds the scale of each block of activations before a matmul (DeepSeek-AI 2024, 3.3.2)."""
        return self.file is not None and self.arithmetic == "fp8" and any(form.rows > 1 for form in self.file.quantization.forms)

    @property
    def title(self) -> str:
        """Whose code serves, by a name that is true of the device."""
        return self.server.title if self.device.cuda else self.server.title_without_cuda or self.server.title

    @property
    def tags(self) -> frozenset[str]:
        c = self.shape.switches
        return frozenset({c.norm, c.activation, *(["gated"] if c.gated else [])})

    @property
    def network(self) -> Network:
        """What joins the devices.

        Raises GptcalcError where the catalogue knows of nothing.
        """
        from gptcalc.spec.cluster import GENERIC, cluster_for

        cluster = cluster_for(self.device.name)
        if cluster.name == GENERIC and self.device.link is None:
            raise GptcalcError(f"the catalogue has no link between devices of {self.device.name}", hint="use --tp 1 --pp 1")
        return network_of(cluster, self.device)

    def stored_runs(self, row: Operation[Any]) -> list[tuple[Any, Form | bool]]:
        """In how many layers a row's matrix is quantized, with its form where a file says it, and in how many it stays as it is."""
        if self.file is None or row.kind != "matmul":
            return [(row.runs, row.path.startswith("block") and not (self.arithmetic == "fp4" and self._latent(row.path)))]
        return [(number, form or False) for form, number in self.file.stored(row.path, row.runs) if number]

    def _latent(self, path: str) -> bool:
        """Whether a row is of latent attention, which NVFP4 checkpoints keep in 16 bits (nvidia/DeepSeek-V3-0324-FP4)."""
        block, _, rest = path.partition("/")
        return rest.startswith("attention/") and dict(self.shape.blocks)[block].switches.latent


def work_for(r: Request) -> Work:
    """What a request launches on one rank."""
    options: dict[str, Any] = {"precision": r.precision, "kv_precision": r.kv_precision, "group_size": r.group_size}
    return work_of(r.model, r.device, runtime=r.runtime, tp=r.tp, **options)._replace(seen=r.seen)


def work_of(
    model: ModelSpec,
    device: DeviceSpec,
    *,
    precision: str,
    kv_precision: str | None,
    runtime: str,
    tp: int = 1,
    group_size: int | None = None,
    expert_tp: int | None = None,
) -> Work:
    """What serving a model on a device launches on each rank; `expert_tp` ranks share each expert, `tp` where it is not given.

    Raises GptcalcError for unknown precisions and runtimes, arithmetic that the device lacks, and heads that do not divide.
    """
    from gptcalc.spec.recipe import Layout
    from gptcalc.spec.server import load_server
    from gptcalc.spec.shape import shape_of
    from gptcalc.table.sharding import shard_of
    from gptcalc.time.chip import chip_of

    file = as_stored(model) if precision == STORED else None
    stored = stored_as(precision, group_size) if file is None else Stored(16)
    narrow = file is not None or stored.bits < 16
    chip, unknown = _launched(chip_of(device), device)
    shard = shard_of(shape_of(model), Layout(tp=tp), 1, "only", pad=tp > 1)
    shape = shard.shape if expert_tp is None else _experts_over(shard.shape, shape_of(model), expert_tp)
    half = "bf16" if chip.has("bf16") else "fp16" if chip.has("fp16") else "fp32"
    plain = AUTOCAST.get(precision, half if narrow else precision)
    if not chip.has(plain):
        raise GptcalcError(f"{chip.name} has no {plain} arithmetic", hint=f"--precision {half} runs there")
    arithmetic, notes = _arithmetic(chip, precision, file, plain, engine=load_server(runtime).engine is not None) if narrow else (plain, ())
    if precision == "fp4" and not chip.has("fp4"):
        raise GptcalcError(f"{chip.name} has no fp4 arithmetic", hint="--precision int4 has weights of 4 bits, and its arithmetic in 16")
    kv = cache_precision(precision, kv_precision)
    return Work(
        chip,
        shape,
        load_server(runtime),
        stored,
        file,
        arithmetic,
        plain,
        4 if plain in ("fp32", "tf32") else 2,
        precision in AUTOCAST,
        narrow and arithmetic == plain,
        kv,
        tp,
        device,
        (*notes, *unknown),
    )


def _experts_over(local: Shape[Any], whole: Shape[Any], ranks: int) -> Shape[Any]:
    """A rank's shape whose experts are each divided over so many ranks."""
    kinds = zip(local.kinds, whole.kinds, strict=True)
    return local._replace(
        d_expert=whole.d_expert // ranks,
        kinds=tuple((name, kind._replace(d_expert=all_.d_expert // ranks)) for (name, kind), (_, all_) in kinds),
    )


def _launched(chip: Chip, device: DeviceSpec) -> tuple[Chip, tuple[str, ...]]:
    """The chip, without the time of starting a kernel where it was measured on no such machine: GPUs of AMD record and launch them as
    NVIDIA's do, other devices run a compiled program. And what to say of it."""
    if device.cuda or device.platform == "rocm":
        return chip, ()
    constants = chip.constants | dict.fromkeys(STARTS, 0.0)
    return replace(chip, constants=constants), (f"what starting an operation costs on {device.name} is not known: not counted",)


def _arithmetic(chip: Chip, precision: str, file: AsStored | None, plain: str, *, engine: bool) -> tuple[str, tuple[str, ...]]:
    """What the matmuls of quantized weights compute in, and what of it is assumed."""
    kind = precision if file is None else file.quantization.method
    own = "fp8" if kind == "mxfp4" and chip.has("fp4") and engine else COMPUTED_IN.get(kind)
    if own is not None and chip.has(own):
        return own, () if file is None else (f"{kind} weights, as stored, meet activations in {own}: casting these is not counted",)
    why = "its activations stay in 16 bits" if own is None else f"{chip.name} has no {own} arithmetic"
    if file is not None and kind in NARROW:
        why = f"what chips gain from {kind} arithmetic is not counted"
    rate = "" if file is None else ", at the rate of gpt-fast's int8 and int4 kernels"
    return plain, (f"{kind} weights are dequantised to {plain} on their way into each matmul{rate}: {why}",)
