"""Reading what was asked of a server: how many devices make one replica, how long prompt and answer are; and what contradicts itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.footprint.arrays import read_numbers
from gptcalc.footprint.serving import STORED, WEIGHTS, cache_precision, group_of, stored_as
from gptcalc.serve.seeing import Seen
from gptcalc.spec.cache import LEAST, cache_layout
from gptcalc.spec.images import pictures_of
from gptcalc.spec.legality import Sizes, check
from gptcalc.spec.options import check_word, whole_number
from gptcalc.spec.server import server_names

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.serving import InferOptions

PROMPT, OUTPUT = 1024, 256


class Request(NamedTuple):
    """`batch` sequences are served at once by each of `replicas` groups of tp times pp devices."""

    model: ModelSpec
    device: DeviceSpec
    count: Any
    batch: Any
    prompt: Any
    output: int
    precision: str
    kv_precision: str | None
    group_size: int | None
    block_size: int
    runtime: str
    tp: int
    pp: int
    seen: Seen | None = None
    cache_layout: str = LEAST

    @property
    def replicas(self) -> int:
        return int(self.count // (self.tp * self.pp))

    @property
    def context(self) -> Any:
        """Positions of a sequence at its end."""
        return self.prompt + self.output

    @property
    def inputs(self) -> dict[str, Any]:
        """As JSON has them, defaults included."""
        from gptcalc.node import plain

        fields = {name: plain(value) for name, value in self._asdict().items() if name not in ("model", "device", "seen")}
        if self.seen is not None:
            fields |= {"images": self.seen.number, "image_tokens": self.seen.tokens}
        fields |= {
            "device": self.device.name,
            "kv_precision": cache_precision(self.precision, self.kv_precision),
            "group_size": group_of(self.precision, self.group_size),
            "replicas": self.replicas,
        }
        if self.precision == STORED and self.model.quantization:
            fields["quantization"] = self.model.quantization.said
        return fields


def request_of(model: ModelSpec, device: DeviceSpec, asked: InferOptions) -> Request:
    """The request with its defaults: all devices in one tensor-parallel replica, as many as one takes where no count is given; weights
    as the model's quantized file stores them or, where it has none, in the 16-bit type that the device computes in. Tokens of pictures
    are tokens of the prompt.

    Raises GptcalcError for numbers that are none, counts that do not divide, and contexts that the model was not made for.
    """
    check_decoder(model)
    batch = read_numbers(model, seq=1, batch=1 if asked.batch is None else asked.batch)["batch"]
    prompt, output = lengths_of(model, asked.prompt, asked.output)
    pictures = pictures_of(model, asked.images, asked.image_size)
    seen = None if pictures is None else Seen(*pictures, model.towers)
    if seen is not None:
        prompt, output = lengths_of(model, prompt + seen.tokens, output)
    if not isinstance(output, int):
        raise GptcalcError("output must be one whole number where a batch is served, not an array")
    block_size = 1 if asked.block_size is None else whole_number("block_size", asked.block_size)
    precision = precision_named(model, device, asked.precision)
    tp, pp, count = sizes_of(model, asked.tp, asked.pp, asked.count)
    group_size = group_named(precision, asked.group_size)
    cache_precision(precision, asked.kv_precision)
    runtime = "graph" if asked.runtime is None else asked.runtime
    check_word("inference runtime named", runtime, server_names())
    kept = LEAST if asked.cache_layout is None else asked.cache_layout
    cache_layout(kept)
    sizes = (group_size, block_size, runtime, tp, pp, seen, kept)
    return Request(model, device, count, batch, prompt, output, precision, asked.kv_precision, *sizes)


def precision_named(model: ModelSpec, device: DeviceSpec, precision: Any) -> str:
    """The precision of the weights: as the model's quantized file stores them or, where it has none, 16 bits as the device has them.

    Raises GptcalcError for one that there is not.
    """
    if precision is None:
        return STORED if model.quantization else device.usual_type
    check_word("precision", precision, (*WEIGHTS, STORED))
    return str(precision)


def group_named(precision: str, group_size: Any) -> int | None:
    """Weights that share a scale, where it is said.

    Raises GptcalcError where the precision has no groups.
    """
    if group_size is None:
        return None
    size = whole_number("group_size", group_size)
    if precision == STORED:
        raise GptcalcError(f"a group size of {size} means nothing for weights as they are stored", hint="give --precision int4")
    stored_as(precision, size)
    return size


def lengths_of(model: ModelSpec, prompt: Any, output: Any) -> tuple[Any, Any]:
    """Tokens of a prompt and new ones, which may be arrays.

    Raises GptcalcError for numbers that are none, and contexts that the model was not made for.
    """
    output = min(OUTPUT, max(1, model.n_ctx // 4)) if output is None else output
    output = read_numbers(model, seq=1, output=output)["output"]
    if prompt is None:
        prompt = max(1, min(PROMPT, model.n_ctx - (output if isinstance(output, int) else int(output.max()))))
    prompt = read_numbers(model, seq=1, prompt=prompt)["prompt"]
    check_context(model, *(one if isinstance(one, int) else int(one.max()) for one in (prompt, output)))
    return prompt, output


def sizes_of(model: ModelSpec, tp: Any, pp: Any, count: Any, groups: int = 1) -> tuple[int, int, int]:
    """Ranks that share a sequence, stages, and devices in all: what stages and groups leave of the count is tensor parallel.

    Raises GptcalcError for sizes that are none, and layouts that break a rule (`spec.legality`).
    """
    pp = 1 if pp is None else whole_number("pp", pp)
    count = None if count is None else whole_number("count", count)
    if tp is None:
        tp = 1 if count is None else max(1, count // (pp * groups))
    tp = whole_number("tp", tp)
    own = tp * pp * groups
    count = own if count is None else count
    replicas = count // own * groups
    check(model, Sizes(tp=tp, pp=pp, dp=replicas, count=count, global_batch=replicas))
    return tp, pp, count


def check_decoder(model: ModelSpec) -> None:
    """Raises GptcalcError for a model with an encoder, whose prompts and answers are two different passes."""
    from gptcalc.spec.shape import shape_of

    if any(kind.switches.cross_attention or not kind.switches.causal for _, kind in shape_of(model).blocks):
        raise GptcalcError(f"{model.name} has an encoder: only decoders are served")
    if any(kind.switches.indexed and not kind.switches.compressed_attention for _, kind in shape_of(model).blocks):
        why = "attends to keys that an indexer chooses, and no runtime here has its kernels"
        raise GptcalcError(f"{model.name} {why}", hint="memory --mode inference takes it")
    own = ("compressed_attention", "streams", "norm_gated", "differential", "value_masks")
    if any(getattr(kind.switches, name) for _, kind in shape_of(model).blocks for name in own):
        why = "has an attention, residual streams or norms whose kernels no runtime here has"
        raise GptcalcError(f"{model.name} {why}", hint="memory --mode inference takes it")
    if any(kind.switches.shares_keys for _, kind in shape_of(model).blocks):
        why = "has layers that read the keys of others, and no runtime here has their kernels"
        raise GptcalcError(f"{model.name} {why}", hint="memory --mode inference takes it")
    if any(kind.switches.idle_cross_attention for _, kind in shape_of(model).blocks):
        raise GptcalcError(f"{model.name} is a decoder without its encoder, and has nothing to read in its second attention")


def check_context(model: ModelSpec, prompt: int, output: int) -> None:
    """Raises GptcalcError where prompt and answer together are longer than the model's longest sequence."""
    if prompt + output > model.n_ctx:
        room = model.n_ctx - output
        shorter = f"use --prompt {room} or less, or " if room > 0 else ""
        raise GptcalcError(
            f"a prompt of {prompt:,} and {output:,} new tokens are {prompt + output:,}: {model.name} reaches {model.n_ctx:,} (n_ctx)",
            hint=f"{shorter}--set n_ctx={prompt + output} for a model that reaches further",
        )
