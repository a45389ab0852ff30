"""`Recipe`: how a model is trained - precision, optimizer, recomputation, runtime, layout - checked for contradictions."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.spec.options import check_flag, check_word, distinct_words, whole_number
from gptcalc.spec.plan import AdapterOptions, LayoutOptions, RecipeOptions
from gptcalc.spec.reading import quoted
from gptcalc.spec.shape import Switches

if TYPE_CHECKING:
    from gptcalc.spec.runtime import RuntimeSpec


class Precision(NamedTuple):
    """Bytes of a stored weight, of what matmuls compute with, and of a matmul input kept for the backward pass; and its tag.

    `wide_output`: a linear layer puts out what it is given, in its type, and not what it computes with.
    """

    stored: int
    compute: int
    matmul: int
    tag: str
    wide_output: bool = False

    @property
    def output(self) -> int:
        """Bytes of what a linear layer puts out."""
        return self.stored if self.wide_output else self.compute


PRECISIONS = {
    "fp32": Precision(4, 4, 4, "wide"),
    "tf32": Precision(4, 4, 4, "wide"),
    "bf16": Precision(2, 2, 2, "low"),
    "fp16": Precision(2, 2, 2, "low"),
    "amp-bf16": Precision(4, 2, 2, "amp"),
    "amp-fp16": Precision(4, 2, 2, "amp"),
    "fp8": Precision(2, 2, 1, "low fp8"),
    "mxfp8": Precision(2, 2, 1, "low fp8"),
    "nvfp4": Precision(2, 2, 1, "low fp8"),  # inputs kept as in fp8: what is kept in four bits was not compared
}
ARITHMETIC = {"amp-bf16": "bf16", "amp-fp16": "fp16"}
"""What matmuls compute in, where the name of a precision says more."""

SCALED = {"mxfp8": "fp8", "nvfp4": "fp4"}
"""Types whose blocks of 32 or 16 elements have a scale each, and the data sheet's name of their arithmetic."""

NARROW = ("fp8", *SCALED)
"""Precisions whose matmuls are in 8 bits or fewer, and all else in 16."""


def peak_of(device: str, peaks: Mapping[Any, float], precision: str) -> float:
    """FLOP/s of a device's dense arithmetic in a precision.

    Raises GptcalcError for a type that the device has no arithmetic for.

    >>> peak_of("a100-80gb", {"bf16": 312e12}, "amp-bf16")
    312000000000000.0
    """
    arithmetic = ARITHMETIC.get(precision, SCALED.get(precision, precision))
    if precision in SCALED and "fp4" not in peaks:  # tensor cores that take blocks with scales came with fp4
        raise GptcalcError(f"{device} has no {precision} arithmetic", hint=f"it has {', '.join(peaks)}")
    if arithmetic not in peaks:
        raise GptcalcError(f"{device} has no {arithmetic} arithmetic", hint=f"it has {', '.join(peaks)}")
    return peaks[arithmetic]


OPTIMIZERS = ("adamw", "adamw-foreach", "sgd", "sgd-momentum", "adamw-8bit", "adafactor", "lion", "muon")
QUANTIZED = "gptcalc memory answers for adapters over a quantized base: --lora-rank 16 --qlora"
EPSILON = ("adamw", "adamw-foreach", "muon")
KERNELS = ("flash", "eager", "flash-1", "flash-2", "flash-3", "cudnn")
"""Of attention: flash is the kernel of today; the others name a generation (`OF_GENERATION`)."""

OF_GENERATION = ("flash-1", "flash-2", "flash-3", "cudnn")
RECOMPUTE = re.compile(r"none|selective|full|every-[1-9]\d{0,5}", re.ASCII)


class Layout(LayoutOptions):
    """How the model is cut over devices. The sizes may be arrays. `zero` is 0 to 3, 3 being FSDP's full sharding."""

    tp: Any = 1
    pp: Any = 1
    dp: Any = 1
    cp: Any = 1
    ep: Any = 1
    virtual_stages: Any = 1
    sequence_parallel: Any = False
    zero: Any = 0
    stage: str = "worst"  # first, middle, last; worst: the one that needs most
    micro_batches: Any = None  # of one step; None: enough to fill the pipeline
    shard_within: int | None = None  # devices of a node or slice, where ZeRO-3 divides over those alone


class Recipe(RecipeOptions, AdapterOptions):
    """How a model is trained, with nothing left open."""

    runtime: str = "transformers"
    precision: str = "amp-bf16"
    optimizer: str = "adamw"
    recompute: Any = "none"  # none, selective, full, or every-K: each K-th block; of arrays of steps a word for each place
    attention_kernel: str = "flash"
    compiled: bool = False
    dropout: bool | None = None  # None: as the runtime has it
    accumulate: Any = 1
    freeze: tuple[str, ...] = ()
    lora_targets: tuple[str, ...] = ()
    adapter_precision: Literal["fp32"] | None = None  # of adapters that autocast takes beside a 16-bit base; None: as the rest
    qlora: bool = False
    offload_optimizer: bool = False
    layout: Layout = Layout()

    @property
    def base(self) -> str | None:
        """The type of the frozen model under adapters; None where the model itself is trained.

        >>> Recipe(lora_rank=16, precision="bf16").base, Recipe(lora_rank=16).base, Recipe(lora_rank=16, qlora=True).base, Recipe().base
        ('bf16', 'fp32', 'nf4', None)
        """
        if self.lora_rank is None:
            return None
        return "nf4" if self.qlora else self.unpacked

    @property
    def unpacked(self) -> str:
        """The type of weights that are trained, or frozen without being put in 4 bits.

        >>> Recipe(precision="fp8").unpacked, Recipe().unpacked
        ('bf16', 'fp32')
        """
        return "fp32" if PRECISIONS[self.precision].stored == 4 else "bf16" if self.precision in NARROW else self.precision

    @property
    def checkpoint_every(self) -> int:
        """Every how many blocks one is recomputed; 0: none."""
        if self.recompute.startswith("every-"):
            return int(self.recompute.removeprefix("every-"))
        return 1 if self.recompute == "full" else 0


def autocast(type_: str) -> str:
    """Training under autocast to a type; in fp32 there is nothing to cast.

    >>> autocast("fp16"), autocast("fp32")
    ('amp-fp16', 'fp32')
    """
    return type_ if type_ == "fp32" else f"amp-{type_}"


def usual_precision(
    lora_rank: int | None, *, qlora: bool, experts: bool = False, type_: str = "bf16"
) -> tuple[str, Literal["fp32"] | None]:
    """The precision of training where none is asked for, on a device that computes in `type_`, and that of adapters where it differs.

    A model is trained under autocast. Under adapters it is loaded in 16 bits and they are made fp32 (peft, autocast_adapter_dtype); where
    its matrices are in 4 bits, the rest of it is widened to fp32 too (peft, prepare_model_for_kbit_training). Experts are no linear
    layers, so that bitsandbytes leaves them as they are: a model that has some stays in 16 bits, or most of it would be widened.

    >>> usual_precision(None, qlora=False), usual_precision(16, qlora=False), usual_precision(16, qlora=True)
    (('amp-bf16', None), ('bf16', 'fp32'), ('amp-bf16', None))
    >>> usual_precision(16, qlora=True, experts=True), usual_precision(None, qlora=False, type_="fp16")
    (('bf16', 'fp32'), ('amp-fp16', None))
    """
    if lora_rank is None or (qlora and not experts):
        return autocast(type_), None
    return type_, None if type_ == "fp32" else "fp32"


def check_recipe(recipe: Recipe, runtime: "RuntimeSpec") -> None:
    """Raises GptcalcError for an unknown choice and for choices that contradict each other."""
    _check_words(recipe)
    _check_flags(recipe, runtime)
    if recipe.precision not in runtime.precisions:
        raise GptcalcError(
            f"runtime '{runtime.name}' does not train in {recipe.precision}", hint=f"it trains in {', '.join(runtime.precisions)}"
        )
    _check_optimizer(recipe, runtime)
    _check_adapters(recipe)
    whole_number("accumulate", recipe.accumulate)
    if recipe.layout.sequence_parallel and not runtime.sequence_parallel:
        raise GptcalcError(f"runtime '{runtime.name}' has no sequence parallelism", hint="use --runtime megatron or --runtime ideal")


def _check_words(recipe: Recipe) -> None:
    check_word("optimizer", recipe.optimizer, OPTIMIZERS)
    if isinstance(recipe.precision, str) and recipe.precision in ("int8", "int4"):
        raise GptcalcError(
            f"precision {recipe.precision} and optimizer {recipe.optimizer} contradict: integers have no gradients", hint=QUANTIZED
        )
    check_word("precision", recipe.precision, PRECISIONS)
    check_word("attention kernel", recipe.attention_kernel, KERNELS)
    for word in distinct_words(recipe.recompute)[0]:
        check_recompute(word)


def check_recompute(value: object) -> None:
    """Raises GptcalcError for what is no way to recompute."""
    if not isinstance(value, str) or not RECOMPUTE.fullmatch(value):
        raise GptcalcError(f"recompute {quoted(value)} is not one of none, selective, full, every-K")


def _check_flags(recipe: Recipe, runtime: "RuntimeSpec") -> None:
    """An option that nothing in the runtime's file asks about would be lost in silence."""
    for name in ("compiled", "dropout", "qlora", "offload_optimizer"):
        value = getattr(recipe, name)
        if name != "dropout" or value is not None:
            check_flag(name, value)
    check_flag("sequence_parallel", recipe.layout.sequence_parallel)
    for name in ("compiled", "dropout"):
        if getattr(recipe, name) and name not in runtime.conditions:
            raise GptcalcError(f"runtime '{runtime.name}' is the same with and without {name}", hint=f"leave --{name} out")


def _check_optimizer(recipe: Recipe, runtime: "RuntimeSpec") -> None:
    if (recipe.adapter_precision or recipe.precision) == "fp16" and recipe.optimizer in EPSILON and runtime.state.master is None:
        raise GptcalcError(
            f"precision fp16 and optimizer {recipe.optimizer} contradict: Adam's epsilon of 1e-8 is zero in fp16",
            hint="use --precision amp-fp16, or --runtime megatron, which keeps fp32 master weights",
        )


def _check_adapters(recipe: Recipe) -> None:
    if recipe.lora_rank is None:
        if recipe.lora_targets or recipe.qlora:
            raise GptcalcError("LoRA targets and QLoRA need a rank", hint="add --lora-rank 16")
        return
    whole_number("the LoRA rank", recipe.lora_rank)
    if recipe.freeze:
        raise GptcalcError("freeze and a LoRA rank contradict: adapters freeze the whole model", hint="leave --freeze out")


def attention_that_runs(recipe: Recipe, *, grouped: bool) -> str:
    """The kernel behind scaled_dot_product_attention: flash for 16-bit types, memory-efficient for fp32, explicit matmuls for both grouped.

    >>> attention_that_runs(Recipe(precision="fp32"), grouped=True)
    'math'
    """
    kernel = "flash" if recipe.attention_kernel in OF_GENERATION else recipe.attention_kernel
    if kernel == "eager" or PRECISIONS[recipe.precision].compute == 2:
        return kernel
    return "math" if grouped else "efficient"


def tags_of(recipe: Recipe, switches: Switches, *, grouped: bool, unaligned: bool) -> frozenset[str]:
    """The words that a runtime's conditions may ask for. `unaligned`: the vocabulary is no multiple of 8.

    >>> sorted(tags_of(Recipe(), Switches(), grouped=False, unaligned=True))
    ['amp', 'flash', 'gelu_tanh', 'tied', 'unaligned']
    """
    given = {
        "compiled": recipe.compiled,
        "recompute": recipe.checkpoint_every > 0,
        "dropout": bool(recipe.dropout),
        "tied": switches.tied,
        "parallel": switches.parallel_residual,
        "gated": switches.gated,
        "grouped": grouped,
        "unaligned": unaligned,
        "latent": switches.latent,
        "renormalised": switches.experts and switches.router_normalised,
        "weighs_input": switches.experts and switches.router_weighs_input,
        "chunked": switches.window_chunks,
        "unnormed": switches.norm_placement == "output",
    }
    tags = {name for name, holds in given.items() if holds}
    return frozenset({*PRECISIONS[recipe.precision].tag.split(), attention_that_runs(recipe, grouped=grouped), switches.activation, *tags})
