"""How much memory: the peak of a training step, or what serving a model takes, itemised; and whether it fits on a device."""

from typing import Any

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.footprint.answer import ServingMemory, TrainingMemory
from gptcalc.footprint.fit import verdict
from gptcalc.footprint.reserve import reserve
from gptcalc.footprint.serving import (
    MOST_PREFILL,
    STORED,
    WEIGHTS,
    Serving,
    cache_precision,
    group_of,
    largest,
    one_pass,
    serving_memory,
)
from gptcalc.node import plain, spread
from gptcalc.spec.files import as_model
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.options import MOST_PLANS, check_shapes, check_word, whole_number, words
from gptcalc.spec.reading import quoted
from gptcalc.spec.recipe import Layout, Recipe, peak_of, usual_precision
from gptcalc.symbols import differ, product


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
    check_word("mode", mode, ("training", "inference"))
    try:
        return training(model, **options) if mode == "training" else inference(model, **options)
    except TypeError as error:
        if "unexpected keyword argument" in str(error):
            name = str(error).rpartition(" ")[2].strip("'")
            from inspect import signature

            known = signature(training if mode == "training" else inference).parameters
            raise GptcalcError(f"{mode} memory has no option '{name}'", hint=did_you_mean(name, known)) from None
        raise


def training(
    model: ModelSpec,
    *,
    batch: Any = 1,
    seq: Any = None,
    precision: str | None = None,
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
    tp: Any = None,
    pp: Any = None,
    dp: Any = None,
    cp: Any = None,
    ep: Any = None,
    virtual_stages: Any = None,
    sequence_parallel: bool | None = None,
    zero: int | None = None,
    stage: str = "worst",
    count: Any = None,
    global_batch: Any = None,
    stack: str | None = None,
    device: str | None = None,
) -> TrainingMemory:
    """Peak memory of one training step on one device. `batch` is its micro-batch; batch, seq and the parallel sizes may be arrays.

    Without a `precision` a model is trained under autocast to bf16, or the type that the device has instead, and adapters over a base in
    it (`spec.recipe.usual_precision`). On a TPU the stack is MaxText where neither it nor a runtime is named, as for `train`.

    Units: bytes, as PyTorch's allocator counts them.   Raises: GptcalcError.   Source: presets/runtimes, mechanisms in each part.
    """
    from gptcalc.footprint.layouts import in_groups, read_numbers
    from gptcalc.spec.cluster import cluster_for
    from gptcalc.spec.device import load_device
    from gptcalc.spec.division import SIZES, choices_of, divided
    from gptcalc.spec.legality import has_experts
    from gptcalc.spec.runtime import load_runtime
    from gptcalc.spec.stack import asked_stack, load_stack

    chip = None if device is None else load_device(device)
    stack = asked_stack(stack, runtime, chip)
    software = None if stack is None else load_stack(stack)
    preset = {} if software is None else software.defaults
    place = cluster_for(chip.name) if chip is not None and software is not None and software.shard_in_node else None
    seq = model.usual_seq if seq is None else seq
    asked = {"tp": tp, "pp": pp, "dp": dp, "cp": cp, "ep": ep, "virtual_stages": virtual_stages}
    asked |= {"count": count, "global_batch": global_batch}
    read = read_numbers(model, batch=batch, seq=seq, **{name: size for name, size in asked.items() if size is not None})
    batch, seq = read["batch"], read["seq"]
    accumulate = None if accumulate is None else whole_number("accumulate", accumulate)
    if not (zero is None or isinstance(zero, int)):
        raise GptcalcError(f"zero {quoted(zero)} is not one of 0, 1, 2, 3")
    division = divided(
        model,
        preset,
        {name: read.get(name) for name in SIZES} | choices_of({"zero": zero, "sequence_parallel": sequence_parallel}),
        batch=batch,
        seq=seq,
        count=read.get("count"),
        global_batch=read.get("global_batch"),
        accumulate=accumulate,
    )
    pieces = division.micro_batches
    layout = division.layout._replace(stage=stage, shard_within=None if place is None else place.node)
    if accumulate is not None and global_batch is not None and differ(accumulate, pieces):
        raise GptcalcError(
            f"accumulate {accumulate} and global batch {quoted(global_batch)} contradict: that is {quoted(pieces)} micro-batches",
            hint="give one of the two",
        )
    code = load_runtime((preset.get("runtime") or default_runtime(model)) if runtime is None else runtime)
    usual, adapters = usual_precision(lora_rank, qlora=qlora, experts=has_experts(model), type_="bf16" if chip is None else chip.usual_type)
    recipe = Recipe(
        runtime=code.name,
        precision=usual if precision is None else precision,
        adapter_precision=adapters if precision is None else None,
        optimizer=optimizer,
        recompute=preset.get("recompute", "none") if recompute is None else recompute,
        attention_kernel=preset.get("attention_kernel", "flash") if attention_kernel is None else attention_kernel,
        compiled=compiled,
        dropout=preset.get("dropout", code.dropout) if dropout is None else dropout,
        accumulate=pieces,
        freeze=words("freeze", freeze),
        lora_rank=None if lora_rank is None else whole_number("the LoRA rank", lora_rank),
        lora_targets=words("lora_targets", lora_targets),
        qlora=qlora,
        offload_optimizer=offload_optimizer,
        layout=layout,
    )
    if chip is not None:
        peak_of(chip.name, chip.peak, recipe.precision)
    answer = in_groups(model, recipe, batch, seq)
    if shape := check_shapes(MOST_PLANS, **read):
        answer = answer._replace(phases={name: spread(bill, shape) for name, bill in answer.phases.items()})
    apart = reserve(answer.value, answer.logits, answer.trained, chip)
    if chip is None:
        return TrainingMemory(answer, apart, recipe, batch=batch)
    if not isinstance(answer.value, int | float):
        raise GptcalcError("a verdict is about one configuration, not an array of them", hint="compare the peaks with the device's memory")
    return TrainingMemory(
        answer, apart, recipe, verdict(model, recipe, batch, seq, answer, apart, chip, read.get("global_batch")), chip, batch
    )


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
    """Memory of serving `batch` sequences of up to `seq` tokens each, prompt and answer, on one device; with a device also how many and how
    long fit. Without a `seq` it is the model's usual one.

    Without a `precision` weights are as the model's quantized file stores them (precision "stored") or, where it has none, in bf16 or the
    type that the device has instead.

    Units: bytes.   Raises: GptcalcError.   Source: see `serving` and `quantized`.
    """
    from gptcalc.footprint.layouts import read_numbers
    from gptcalc.spec.device import load_device

    spec = None if device is None else load_device(device)
    if precision is None:
        precision = STORED if model.quantization else "bf16" if spec is None else spec.usual_type
    check_word("precision", precision, (*WEIGHTS, STORED))
    usual = seq is None
    seq = model.usual_seq if seq is None else seq
    read = read_numbers(model, batch=batch, seq=seq, tp=tp, pp=pp)
    batch, seq = read["batch"], read["seq"]
    tokens = product((batch, seq))
    if prefill is None:
        limit = None
    else:
        limit = read_numbers(model, seq=seq, prefill=prefill, batch=batch)["prefill"]
        beyond = limit > tokens
        if beyond.any() if hasattr(beyond, "any") else beyond:
            raise GptcalcError(f"a prefill of {quoted(limit)} tokens is beyond the prompts, which have {quoted(tokens)} together")
    block_size = whole_number("block_size", block_size)
    group_size = None if group_size is None else whole_number("group_size", group_size)
    for size in ("tp", "pp"):
        if not isinstance(read[size], int):
            raise GptcalcError(f"{size} must be one whole number where a model is served, not an array")
    layout = Layout(tp=read["tp"], pp=read["pp"])

    def served(n: Any, tokens: Any, at_once: Any = limit) -> Serving:
        return serving_memory(
            model, n, tokens, precision, kv_precision, layout, group_size=group_size, block_size=block_size, prefill=at_once
        )

    def longest(at_once: Any) -> int:
        found = largest(lambda tokens: served(batch, tokens, at_once).value <= room, limit=2**30)
        return min(found, model.n_ctx) if model.position == "learned" else found

    answer = served(batch, seq)
    if shape := check_shapes(batch=batch, seq=seq, prefill=limit):
        answer = answer._replace(bill=spread(answer.bill, shape))
    apart = reserve(answer.value, 0, 0, spec)
    inputs: dict[str, Any] = {
        "seq": plain(seq),
        "precision": precision,
        "kv_precision": cache_precision(precision, kv_precision),
        "group_size": group_of(precision, group_size),
        "block_size": block_size,
        "prefill": plain(one_pass(batch, seq) if limit is None else limit),
        "tp": tp,
        "pp": pp,
    }
    if precision == STORED and model.quantization:
        inputs["quantization"] = model.quantization.said
    if spec is None:
        return ServingMemory(answer, apart, {}, inputs, usual)
    if not isinstance(answer.value, int):
        raise GptcalcError("a verdict is about one configuration, not an array of them", hint="compare the peaks with the device's memory")
    room = spec.memory - apart.apart
    limits = {
        "device": spec.name,
        "memory": spec.memory,
        "room": room,
        "fits": bool(answer.value <= room),
        "left": room - int(answer.value),
        "weights_fit": bool(answer.bill["weights"].value <= room),
        "max_batch": largest(lambda n: served(n, seq).value <= room, limit=2**24),
        "max_context": longest(limit),
        "max_context_in_passes": longest(MOST_PREFILL if limit is None else limit),
    }
    return ServingMemory(answer, apart, limits, inputs, usual)


def default_runtime(model: ModelSpec) -> str:
    """transformers, where it has code for all of the model; else ideal."""
    from gptcalc.spec.runtime import load_runtime
    from gptcalc.table.code import code_of

    try:
        code_of(load_runtime("transformers"), model)
    except GptcalcError:
        return "ideal"
    return "transformers"
