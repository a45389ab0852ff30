"""The options of `train`, `memory` and the command line: each once, with its type, its help, its unit and its default.

- `LayoutOptions`, `RecipeOptions`, `AdapterOptions`: how a model is cut over devices, how it is trained, what of it.
- `StepOptions`: of one step. `TrainOptions` (of a run), `MemoryOptions`, `ServingOptions`: all of a function; of `infer`: `spec.serving`.

None, or (), is an option that is left out. `recipe.Layout` and `recipe.Recipe` are what the formulas read: the same fields, decided.
A new option of training is a field here, and the formula that reads it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from gptcalc.choices import USUAL_SEQ
from gptcalc.spec.fields import Fields, Option

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from gptcalc.ranges import Range
    from gptcalc.spec.device import DeviceSpec

    Array: TypeAlias = NDArray[Any]
else:

    class Array:
        """A NumPy array of numbers."""


Whole: TypeAlias = float | str | Sequence[float] | Array
"""A whole number above zero, also as people write it, 300B; or an array of them."""
Words: TypeAlias = str | Sequence[str] | Array
"""A word, or an array of them."""
Number: TypeAlias = "float | str | Sequence[float] | Array | Range"
"""A number or its range, "0.35..0.45"; or an array of numbers."""
Device: TypeAlias = "str | DeviceSpec"
"""A name of the catalogue, a file, or a device."""

RECIPE, ADAPTERS, LAYOUT, SERVING, MONEY = "Recipe", "Adapters", "Layout", "Serving", "Money and energy"
PRECISION = "fp32 tf32 fp16 bf16 amp-bf16 amp-fp16 fp8 mxfp8 nvfp4"
MODE = ("What the model is used for: training or inference.", "training")
STACKS = (
    "megatron megatron-2025 megatron-2024 megatron-2022 megatron-2021 nemo-fp8 fsdp torchtitan llm-foundry-2023 deepspeed-zero3-2021"
    " ddp maxtext deepseek-v3"
)


class LayoutOptions(Fields):
    """How a model is cut over devices."""

    tp: Annotated[Whole | None, Option("Tensor parallel size.", "1", LAYOUT, "devices", "count")] = None
    pp: Annotated[Whole | None, Option("Pipeline stages.", "1", LAYOUT, "devices", "count")] = None
    dp: Annotated[Whole | None, Option("Data parallel size.", "what the others leave of the count", LAYOUT, "replicas", "count")] = None
    cp: Annotated[Whole | None, Option("Context parallel size.", "1", LAYOUT, "devices", "count")] = None
    ep: Annotated[Whole | None, Option("Expert parallel size.", "1", LAYOUT, "replicas", "count")] = None
    virtual_stages: Annotated[Whole | None, Option("Interleaved chunks of a stage.", "1", LAYOUT, "", "count")] = None
    sequence_parallel: Annotated[
        "bool | list[bool] | Array | None", Option("With --tp, norms are divided too.", "the stack's, or no", LAYOUT, "", "choice")
    ] = None
    zero: Annotated[
        "int | list[int] | Array | None",
        Option(
            "What data parallel ranks divide: 1 the optimizer's state, 2 gradients too, 3 weights too (FSDP).",
            "the stack's, or 0",
            LAYOUT,
            "",
            "level",
            "0..3",
        ),
    ] = None


class RecipeOptions(Fields):
    """How a model is trained."""

    precision: Annotated[str | None, Option(f"{PRECISION}.", "autocast to the 16 bits that the device has", RECIPE, wants="TYPE")] = None
    optimizer: Annotated[
        str | None, Option("adamw adamw-foreach sgd sgd-momentum adamw-8bit adafactor lion muon.", "adamw, fused", RECIPE, wants="NAME")
    ] = None
    recompute: Annotated[
        Words | None, Option("none selective full every-K (each K-th block).", "the stack's, or none", RECIPE, wants="WHAT")
    ] = None
    attention_kernel: Annotated[
        str | None, Option("flash eager flash-1 flash-2 flash-3 cudnn.", "the stack's, or flash", RECIPE, wants="KERNEL")
    ] = None
    runtime: Annotated[
        str | None,
        Option(
            "Whose code runs the model: nanogpt transformers megatron ideal.",
            "the stack's, or transformers; ideal for models that it lacks",
            RECIPE,
            wants="NAME",
            completes="runtimes",
        ),
    ] = None
    compiled: Annotated[bool | None, Option("Under torch.compile.", "", RECIPE, kind="flag")] = None
    dropout: Annotated[
        bool | None, Option("Dropout's passes over memory, and its masks.", "the stack's, or the runtime's", RECIPE, kind="choice")
    ] = None


class AdapterOptions(Fields):
    """What of a model is trained, and where its optimizer's state is."""

    accumulate: Annotated[
        int | None,
        Option("Micro-batches whose gradients are added up.", "what --global-batch needs, or 1", RECIPE, "micro-batches", "count"),
    ] = None
    offload_optimizer: Annotated[bool | None, Option("Optimizer state in host memory.", "", RECIPE, kind="flag")] = None
    freeze: Annotated[
        tuple[str, ...] | list[str],
        Option("Operations that are not trained, as `embedding` (repeatable).", "", ADAPTERS, kind="words", wants="PART"),
    ] = ()
    lora_rank: Annotated[int | None, Option("Train adapters of this rank instead.", "", ADAPTERS, kind="count")] = None
    lora_targets: Annotated[
        tuple[str, ...] | list[str],
        Option(
            "A matmul to adapt, as `query` or `q_proj`; all-linear (repeatable).",
            "peft's: query, value",
            ADAPTERS,
            kind="words",
            wants="PART",
            called="--lora-target",
        ),
    ] = ()
    qlora: Annotated[bool | None, Option("The frozen matrices in nf4.", "", ADAPTERS, kind="flag")] = None


class StepOptions(LayoutOptions, RecipeOptions):
    """One step: of what, on how many devices, under whose software."""

    count: Annotated[Whole | None, Option("Devices in all.", "as many as the layout needs", unit="devices", kind="count")] = None
    batch: Annotated[Whole | None, Option("Sequences of one device's micro-batch.", "1", unit="sequences", kind="count")] = None
    seq: Annotated[Whole | None, Option("Tokens of a sequence.", USUAL_SEQ, unit="tokens", kind="count")] = None
    global_batch: Annotated[Whole | None, Option("Sequences of a step.", "batch times dp", unit="sequences", kind="count")] = None
    stack: Annotated[
        str | None,
        Option(
            f"Defaults and overlap of: {STACKS}; 'gptcalc devices --stacks'.",
            "maxtext on TPUs; else no defaults, and the overlap of fsdp (ZeRO-3), megatron (--tp, --pp) or ddp",
            LAYOUT,
            wants="NAME",
            completes="stacks",
        ),
    ] = None


class RunOptions(StepOptions):
    """A run: all of `train`'s options but its devices."""

    tokens: Annotated[Whole | None, Option("Tokens of the run, such as 300B.", "those of its preset", unit="tokens", wants="N")] = None
    mfu: Annotated[
        "Number | None", Option("Your own MFU or its range, 0.35..0.45, instead of the model of a step.", unit="share", wants="0.4")
    ] = None
    goodput: Annotated[bool | None, Option("Count failures and checkpoints in.", kind="flag")] = None
    cluster: Annotated[
        str | None,
        Option(
            "What joins the devices, such as dgx-a100, or a file: 'gptcalc devices --clusters' lists them.",
            "the device's usual one",
            LAYOUT,
            wants="NAME",
            completes="clusters",
        ),
    ] = None
    slice: Annotated[int | None, Option("Devices that share the fast link.", "the cluster's number", LAYOUT, "devices", "count")] = None
    power: Annotated[str | float | None, Option("What a device is held at, such as 500W.", "its TDP", unit="W", wants="WATTS")] = None
    price: Annotated["Number | None", Option("USD per device and hour, or a range.", "the catalogue's", MONEY, "USD/h", wants="USD")] = None
    tdp_share: Annotated["Number | None", Option("Power over TDP, or a range.", "1.0", MONEY, wants="SHARE")] = None
    pue: Annotated["Number | None", Option("Power of the facility over that of its devices, or a range.", "1.1", MONEY, wants="RATIO")] = (
        None
    )
    carbon: Annotated["Number | None", Option("kg of CO2 per kWh, or a range.", "0.385", MONEY, "kg/kWh", wants="KG")] = None


class TrainOptions(RunOptions):
    """`train` on one kind of device."""

    device: Annotated[
        Device,
        Option(
            "A name, or several with commas between them: 'gptcalc devices' lists them; or a file.",
            "h100-80gb",
            wants="NAME",
            completes="devices",
        ),
    ] = "h100-80gb"


class SweepOptions(TrainOptions, AdapterOptions):
    """All that a sweep may hold of a run or a step, and all of it that may vary."""


class DevicesOptions(RunOptions):
    """`train` on several kinds of device, one run each."""

    device: list[str] | tuple[str, ...] | list["DeviceSpec"]


class MemoryOptions(StepOptions, AdapterOptions):
    """`memory` of a training step."""

    mode: Annotated[Literal["training"], Option(*MODE, wants="MODE")] = "training"
    batch: Annotated[
        Whole | None, Option("Sequences: a device's micro-batch, or those served at once.", "1", unit="sequences", kind="count")
    ] = None
    precision: Annotated[
        str | None,
        Option(
            f"{PRECISION}; served int8 and int4 too; or several, fp32,bf16.",
            "autocast to the 16 bits that the device has; LoRA: those; inference: as stored, or bf16 (fp16 without)",
            RECIPE,
            wants="TYPE",
        ),
    ] = None
    device: Annotated[
        "Device | None", Option("Does it fit there? A name, or several: a100:8,h100; or a file.", wants="NAME", completes="devices")
    ] = None
    stage: Annotated[
        Literal["worst", "first", "middle", "last"] | None,
        Option("Of the pipeline: worst first middle last.", "worst", LAYOUT, wants="WHICH"),
    ] = None


class StoredOptions(Fields):
    """How a model that serves is stored, in `memory` as in `infer`."""

    precision: Annotated[
        str | None, Option("Of the weights; int8, int4, w4a8 and fp4 too.", "as stored, or bf16 (fp16 without)", SERVING, wants="TYPE")
    ] = None
    kv_precision: Annotated[
        str | None,
        Option("Of the cache: fp32 fp16 bf16 fp8 int8 int4.", "bf16; beside fp32 weights fp32", SERVING, wants="TYPE"),
    ] = None
    group_size: Annotated[int | None, Option("Weights that share a scale in int4.", "128", SERVING, "weights", "count")] = None


class KeptOptions(Fields):
    """What of a prompt is kept, and the pictures that go with it."""

    images: Annotated[Whole | None, Option("Pictures that go with each prompt.", unit="images", kind="count")] = None
    image_size: Annotated[str | None, Option("Pixels of each picture.", "1024x1024", wants="WxH")] = None
    cache_layout: Annotated[
        str | None, Option("Whose: least full expanded vllm sglang llama.cpp.", "least: what is read again", SERVING, wants="NAME")
    ] = None


class ServingOptions(StoredOptions, KeptOptions):
    """`memory` of serving."""

    mode: Annotated[Literal["inference"], Option(*MODE, wants="MODE")]
    batch: Annotated[Whole | None, Option("Sequences that are served at once.", "1", unit="sequences", kind="count")] = None
    seq: Annotated[Whole | None, Option("Tokens of a sequence, prompt and answer.", USUAL_SEQ, unit="tokens", kind="count")] = None
    device: Annotated["Device | None", Option("Does it fit there?", wants="NAME", completes="devices")] = None
    tp: Annotated[Whole | None, Option("Tensor parallel size.", "1", LAYOUT, "devices", "count")] = None
    pp: Annotated[Whole | None, Option("Pipeline stages.", "1", LAYOUT, "devices", "count")] = None
    block_size: Annotated[int | None, Option("Tokens of a page of the cache.", "1", SERVING, "tokens", "count")] = None
    prefill: Annotated[
        Whole | None, Option("Prompt tokens in one pass at most.", "8192, or one whole prompt", SERVING, "tokens", "count")
    ] = None
