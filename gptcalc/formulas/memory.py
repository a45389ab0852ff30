"""How much memory: the peak of a training step, or what serving a model takes, itemised; and whether it fits on a device."""

from typing import Any

from gptcalc.errors import GptcalcError
from gptcalc.formulas.fit import verdict
from gptcalc.formulas.memory_answer import ServingMemory, TrainingMemory
from gptcalc.formulas.reserve import reserve
from gptcalc.formulas.serving import STORED, Serving, cache_precision, largest, serving_memory
from gptcalc.spec.files import as_model
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.recipe import Layout, Recipe


def memory(model: ModelSpec | str, *, mode: str = "training", **options: Any) -> TrainingMemory | ServingMemory:
    """The memory of one device: `mode` "training" (see `training`) or "inference" (see `inference`), whose options it takes.

    Units: bytes.   Raises: GptcalcError for unknown and contradictory options and for impossible divisions.

    >>> from gptcalc.spec.files import load_model
    >>> memory(load_model("gpt2"), batch=8, seq=1024).value // 2**20
    12463
    >>> memory(load_model("gpt3-175b"), mode="inference", batch=1, seq=2048).to_dict()["kv_cache"] / 2**30
    9.0
    """
    model = as_model(model)
    if mode not in ("training", "inference"):
        raise GptcalcError(f"mode '{mode}' is not one of training, inference")
    try:
        return training(model, **options) if mode == "training" else inference(model, **options)
    except TypeError as error:
        if "unexpected keyword argument" in str(error):
            name = str(error).rpartition(" ")[2].strip("'")
            raise GptcalcError(f"{mode} memory has no option '{name}'") from None
        raise


def training(
    model: ModelSpec,
    *,
    batch: Any = 1,
    seq: Any = None,
    precision: str = "amp-bf16",
    runtime: str | None = None,
    compiled: bool = False,
    optimizer: str = "adamw",
    recompute: str | None = None,
    attention_kernel: str | None = None,
    dropout: bool | None = None,
    accumulate: int | None = None,
    freeze: tuple[str, ...] = (),
    lora_rank: int | None = None,
    lora_targets: tuple[str, ...] = (),
    qlora: bool = False,
    offload_optimizer: bool = False,
    tp: Any = 1,
    pp: Any = 1,
    dp: Any = None,
    cp: Any = 1,
    ep: Any = 1,
    virtual_stages: Any = 1,
    sequence_parallel: bool | None = None,
    zero: int | None = None,
    stage: str = "worst",
    count: int | None = None,
    global_batch: int | None = None,
    stack: str | None = None,
    device: str | None = None,
) -> TrainingMemory:
    """Peak memory of one training step on one device. `batch` is its micro-batch; batch, seq and the parallel sizes may be arrays.

    Units: bytes, as PyTorch's allocator counts them.   Raises: GptcalcError.   Source: presets/runtimes, mechanisms in each part.
    """
    from gptcalc.formulas.layouts import in_groups, layout_of, read_numbers
    from gptcalc.spec.runtime import load_runtime
    from gptcalc.spec.stack import load_stack

    preset = load_stack(stack).defaults if stack else {}
    seq = model.n_ctx if seq is None else seq
    read = read_numbers(model, batch=batch, seq=seq, tp=tp, pp=pp, dp=1 if dp is None else dp, cp=cp, ep=ep, virtual_stages=virtual_stages)
    batch, seq = read["batch"], read["seq"]
    layout, pieces = layout_of(
        Layout(
            tp=read["tp"],
            pp=read["pp"],
            cp=read["cp"],
            ep=read["ep"],
            virtual_stages=read["virtual_stages"],
            sequence_parallel=preset.get("sequence_parallel", False) if sequence_parallel is None else sequence_parallel,
            zero=preset.get("zero", 0) if zero is None else zero,
            stage=stage,
        ),
        model=model,
        dp=None if dp is None else read["dp"],
        count=count,
        batch=batch,
        global_batch=global_batch,
    )
    code = load_runtime(runtime or preset.get("runtime") or default_runtime(model))
    recipe = Recipe(
        runtime=code.name,
        precision=precision,
        optimizer=optimizer,
        recompute=recompute or preset.get("recompute", "none"),
        attention_kernel=attention_kernel or preset.get("attention_kernel", "flash"),
        compiled=compiled,
        dropout=preset.get("dropout", code.dropout) if dropout is None else dropout,
        accumulate=pieces if accumulate is None else accumulate,
        freeze=tuple(freeze),
        lora_rank=lora_rank,
        lora_targets=tuple(lora_targets),
        qlora=qlora,
        offload_optimizer=offload_optimizer,
        layout=layout,
    )
    answer = in_groups(model, recipe, batch, seq)
    apart = reserve(answer.value, answer.logits, answer.phases["before_forward"]["weights"].value)
    if device is None:
        return TrainingMemory(answer, apart, recipe)
    if not isinstance(answer.value, int | float):
        raise GptcalcError("a verdict is about one configuration, not an array of them", hint="compare the peaks with the device's memory")
    name, room = _device(device)
    return TrainingMemory(answer, apart, recipe, verdict(model, recipe, batch, seq, answer, apart, name, room))


def inference(
    model: ModelSpec,
    *,
    batch: Any = 1,
    seq: Any = None,
    precision: str | None = None,
    kv_precision: str | None = None,
    group_size: int | None = None,
    block_size: int = 1,
    prefill: Any = None,
    tp: Any = 1,
    pp: Any = 1,
    device: str | None = None,
) -> ServingMemory:
    """Memory of serving `batch` sequences of up to `seq` tokens each, on one device; with a device also how many and how long fit.

    Without a `precision` weights are as the model's quantized file stores them (precision "stored"), or in bf16 where it has none.

    Units: bytes.   Raises: GptcalcError.   Source: see `serving` and `quantized`.
    """
    from gptcalc.formulas.layouts import read_numbers

    if precision is None:
        precision = STORED if model.quantization else "bf16"

    seq = model.n_ctx if seq is None else seq
    read = read_numbers(model, batch=batch, seq=seq, tp=tp, pp=pp)
    batch, seq = read["batch"], read["seq"]
    for size in ("tp", "pp"):
        if not isinstance(read[size], int):
            raise GptcalcError(f"{size} must be one whole number where a model is served, not an array")
    layout = Layout(tp=read["tp"], pp=read["pp"])

    def served(n: Any, tokens: Any) -> Serving:
        return serving_memory(
            model, n, tokens, precision, kv_precision, layout, group_size=group_size, block_size=block_size, prefill=prefill
        )

    answer = served(batch, seq)
    apart = reserve(answer.value, 0, 0)
    inputs: dict[str, Any] = {
        "precision": precision,
        "kv_precision": cache_precision(precision, kv_precision),
        "block_size": block_size,
        "tp": tp,
        "pp": pp,
    }
    if precision == STORED and model.quantization:
        inputs["quantization"] = model.quantization.model_dump(include={"method", "bits"})
    if device is None:
        return ServingMemory(answer, apart, {}, inputs)
    if not isinstance(answer.value, int):
        raise GptcalcError("a verdict is about one configuration, not an array of them", hint="compare the peaks with the device's memory")
    name, total = _device(device)
    room = total - apart.apart
    longest = largest(lambda n: served(batch, n).value <= room, limit=2**30)
    if model.position == "learned":
        longest = min(longest, model.n_ctx)
    limits = {
        "device": name,
        "memory": total,
        "room": room,
        "fits": bool(answer.value <= room),
        "left": room - int(answer.value),
        "weights_fit": bool(answer.bill["weights"].value <= room),
        "max_batch": largest(lambda n: served(n, seq).value <= room, limit=2**24),
        "max_context": longest,
    }
    return ServingMemory(answer, apart, limits, inputs)


def default_runtime(model: ModelSpec) -> str:
    """transformers, where it has code for all of the model; else ideal."""
    from gptcalc.formulas.code import code_of
    from gptcalc.spec.runtime import load_runtime

    try:
        code_of(load_runtime("transformers"), model)
    except GptcalcError:
        return "ideal"
    return "transformers"


def _device(name: str) -> tuple[str, int]:
    from gptcalc.spec.device import load_device

    device = load_device(name)
    return device.name, device.memory
