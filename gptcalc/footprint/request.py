"""How much memory: the peak of a training step, or what serving a model takes, itemised; and whether it fits on a device."""

from typing import Any

from gptcalc.errors import GptcalcError
from gptcalc.footprint.answer import ServingMemory, TrainingMemory
from gptcalc.footprint.fit import verdict
from gptcalc.footprint.kept import kept_of_one
from gptcalc.footprint.plan import plan_of
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
from gptcalc.spec.cache import LEAST
from gptcalc.spec.device import as_device
from gptcalc.spec.fields import asked, takes_either
from gptcalc.spec.files import as_model
from gptcalc.spec.images import pictures_of
from gptcalc.spec.legality import Sizes, check
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.options import check_shapes, check_word, whole_number
from gptcalc.spec.plan import MemoryOptions, ServingOptions
from gptcalc.spec.reading import quoted
from gptcalc.spec.recipe import Layout
from gptcalc.symbols import product


@takes_either(MemoryOptions, TrainingMemory, ServingOptions, ServingMemory)
def memory(model: Any, *, mode: str = "training", **options: Any) -> TrainingMemory | ServingMemory:
    """The memory of one device, in training, where `batch` is its micro-batch, or in serving. Sizes may be arrays.

    Without a `precision` a model is trained under autocast to bf16, or the type that the device has instead, and adapters over a base in
    it (`spec.recipe.usual_precision`). On a TPU the stack is MaxText where neither it nor a runtime is named, as for `train`.
    Served weights are as the model's quantized file stores them (precision "stored") or, where it has none, in 16 bits. With a device
    also how many sequences, and how long ones, fit.

    Units: bytes, as PyTorch's allocator counts them.   Raises: GptcalcError for unknown and contradictory options and for impossible
    divisions.   Source: presets/runtimes, mechanisms in each part; of serving `serving` and `quantized`.

    >>> from gptcalc.spec.files import load_model
    >>> memory(load_model("gpt2"), batch=8, seq=1024).value // 2**20
    12463
    >>> memory(load_model("gpt3-175b"), mode="inference", batch=1, seq=2048).to_dict()["kv_cache"] / 2**30
    9.0
    """
    check_word("mode", mode, ("training", "inference"))
    options["mode"] = mode
    if mode == "training":
        return training(as_model(model), asked(MemoryOptions, "training memory", options))
    return inference(as_model(model), asked(ServingOptions, "inference memory", options))


def training(model: ModelSpec, asked: MemoryOptions) -> TrainingMemory:
    """Peak memory of one training step on one device.

    Units: bytes.   Raises: GptcalcError.   Source: see `memory`.
    """
    from gptcalc.footprint.arrays import memory_of_arrays

    plan = plan_of(model, None if asked.device is None else as_device(asked.device), asked, adapters=asked)
    recipe = plan.recipe
    if asked.stage is not None:
        recipe = recipe._replace(layout=recipe.layout._replace(stage=asked.stage))
    answer = memory_of_arrays(model, recipe, plan.batch, plan.seq)
    if plan.shape:
        answer = answer._replace(phases={name: spread(phase, plan.shape) for name, phase in answer.phases.items()})
    apart = reserve(answer.value, answer.logits, answer.trained, plan.device)
    if plan.device is None:
        return TrainingMemory(answer, apart, recipe, batch=plan.batch)
    if not isinstance(answer.value, int | float):
        raise GptcalcError("a verdict is about one configuration, not an array of them", hint="compare the peaks with the device's memory")
    sequences = None if asked.global_batch is None else plan.sequences
    said = verdict(model, recipe, plan.batch, plan.seq, answer, apart, plan.device, sequences)
    return TrainingMemory(answer, apart, recipe, said, plan.device, plan.batch)


def inference(model: ModelSpec, asked: ServingOptions) -> ServingMemory:
    """Memory of serving `batch` sequences of up to `seq` tokens each, prompt and answer, on one device.

    Units: bytes.   Raises: GptcalcError.   Source: see `serving` and `quantized`.
    """
    from gptcalc.footprint.arrays import read_numbers

    spec = None if asked.device is None else as_device(asked.device)
    precision, kv_precision = asked.precision, asked.kv_precision
    if precision is None:
        precision = STORED if model.quantization else "bf16" if spec is None else spec.usual_type
    check_word("precision", precision, (*WEIGHTS, STORED))
    usual = asked.seq is None
    given = {name: getattr(asked, name) for name in ("batch", "tp", "pp")}
    given = {name: 1 if size is None else size for name, size in given.items()}
    read = read_numbers(model, **given, seq=model.usual_seq if usual else asked.seq)
    batch, seq, tp, pp = (read[name] for name in ("batch", "seq", "tp", "pp"))
    seen = pictures_of(model, asked.images, asked.image_size)
    image_tokens = seen[0] * seen[1].tokens if seen else 0
    seq = seq + image_tokens
    tokens = product((batch, seq))
    limit = None
    if asked.prefill is not None:
        limit = read_numbers(model, seq=seq, prefill=asked.prefill, batch=batch)["prefill"]
        beyond = limit > tokens
        if beyond.any() if hasattr(beyond, "any") else beyond:
            raise GptcalcError(f"a prefill of {quoted(limit)} tokens is beyond the prompts, which have {quoted(tokens)} together")
    block_size = 1 if asked.block_size is None else whole_number("block_size", asked.block_size)
    group_size = None if asked.group_size is None else whole_number("group_size", asked.group_size)
    for size in ("tp", "pp"):
        if not isinstance(read[size], int):
            raise GptcalcError(f"{size} must be one whole number where a model is served, not an array")
    check(model, Sizes(tp=tp, pp=pp, count=tp * pp))
    layout = Layout(tp=tp, pp=pp)

    def served(n: Any, tokens: Any, at_once: Any = limit) -> Serving:
        return serving_memory(
            *(model, n, tokens, precision, kv_precision, layout),
            group_size=group_size,
            block_size=block_size,
            prefill=at_once,
            layout_of_cache=asked.cache_layout,
        )

    def longest(at_once: Any) -> int:
        found = largest(lambda tokens: served(batch, tokens, at_once).value <= room, limit=2**30)
        return min(found, model.n_ctx) if model.position == "learned" else found

    answer = served(batch, seq)
    if shape := check_shapes(batch=batch, seq=seq, prefill=limit):
        answer = answer._replace(breakdown=spread(answer.breakdown, shape))
    apart = reserve(answer.value, 0, 0, spec)
    inputs: dict[str, Any] = {
        "seq": plain(seq),
        **({"images": seen[0], "image_tokens": image_tokens} if seen else {}),
        "precision": precision,
        "kv_precision": cache_precision(precision, kv_precision),
        "group_size": group_of(precision, group_size),
        "block_size": block_size,
        "cache_layout": asked.cache_layout or LEAST,
        "prefill": plain(one_pass(batch, seq) if limit is None else limit),
        "tp": tp,
        "pp": pp,
    }
    if precision == STORED and model.quantization:
        inputs["quantization"] = model.quantization.said
    each = {name: plain(size) for name, size in kept_of_one(model, seq, precision, kv_precision, asked.cache_layout, block_size).items()}
    if spec is None:
        return ServingMemory(answer, apart, {}, inputs, each, usual)
    if not isinstance(answer.value, int):
        raise GptcalcError("a verdict is about one configuration, not an array of them", hint="compare the peaks with the device's memory")
    room = spec.memory - apart.apart
    limits = {
        "device": spec.name,
        "memory": spec.memory,
        "room": room,
        "fits": bool(answer.value <= room),
        "left": room - int(answer.value),
        "weights_fit": bool(answer.breakdown["weights"].value <= room),
        "max_batch": largest(lambda n: served(n, seq).value <= room, limit=2**24),
        "max_context": longest(limit),
        "max_context_in_passes": longest(MOST_PREFILL if limit is None else limit),
    }
    return ServingMemory(answer, apart, limits, inputs, each, usual)
