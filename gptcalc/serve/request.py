"""Reading what was asked of a server: how many devices make one replica, how long prompt and answer are; and what contradicts itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.footprint.arrays import read_numbers
from gptcalc.footprint.serving import STORED, WEIGHTS, cache_precision, group_of
from gptcalc.serve.seeing import Seen
from gptcalc.spec.images import pictures_of
from gptcalc.spec.legality import Sizes, check
from gptcalc.spec.options import check_word, whole_number

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec

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
            fields |= {"images": self.seen.count, "image_tokens": self.seen.tokens}
        fields |= {
            "device": self.device.name,
            "kv_precision": cache_precision(self.precision, self.kv_precision),
            "group_size": group_of(self.precision, self.group_size),
            "replicas": self.replicas,
        }
        if self.precision == STORED and self.model.quantization:
            fields["quantization"] = self.model.quantization.said
        return fields


def request_of(
    model: ModelSpec,
    device: DeviceSpec,
    *,
    count: int | None = None,
    batch: Any = 1,
    prompt: Any = None,
    output: Any = None,
    precision: str | None = None,
    kv_precision: str | None = None,
    group_size: int | None = None,
    block_size: int = 1,
    runtime: str = "graph",
    tp: int | None = None,
    pp: int | None = None,
    images: int | None = None,
    image_size: str | None = None,
) -> Request:
    """The request with its defaults: all devices in one tensor-parallel replica, as many as one takes where no count is given; weights
    as the model's quantized file stores them or, where it has none, in the 16-bit type that the device computes in.

    `images` pictures of `image_size` go with each prompt, whose tokens are those of its text.

    Raises GptcalcError for numbers that are none, counts that do not divide, and contexts that the model was not made for.
    """
    check_decoder(model)
    output = min(OUTPUT, max(1, model.n_ctx // 4)) if output is None else output
    if prompt is None:
        prompt = max(1, min(PROMPT, model.n_ctx - output)) if isinstance(output, int) else PROMPT
    seen = seen_of(model, images, image_size)
    if seen is not None:
        prompt = prompt + seen.tokens
    given = {"batch": batch, "prompt": prompt, "output": output, "block_size": block_size}
    given |= {name: value for name, value in (("count", count), ("tp", tp), ("pp", pp)) if value is not None}
    read = read_numbers(model, seq=1, **given)
    for name in ("count", "output", "block_size", "tp", "pp"):
        if name in read and not isinstance(read[name], int):
            raise GptcalcError(f"{name} must be one whole number where a model is served, not an array")
    output, block_size, tp, pp = read["output"], read["block_size"], read.get("tp"), read.get("pp", 1)
    count = read.get("count", (tp or 1) * pp)
    tp = max(1, count // pp) if tp is None else tp
    replicas = count // (tp * pp)
    check(model, Sizes(tp=tp, pp=pp, dp=replicas, count=count, global_batch=replicas))
    longest = read["prompt"] if isinstance(read["prompt"], int) else int(read["prompt"].max())
    check_context(model, longest, output)
    if precision is not None:
        check_word("precision", precision, (*WEIGHTS, STORED))
    elif model.quantization:
        precision = STORED
    else:
        precision = device.usual_type
    group_size = None if group_size is None else whole_number("group_size", group_size)
    return Request(
        *(model, device, count, read["batch"], read["prompt"], output),
        *(precision, kv_precision, group_size, block_size, runtime, tp, pp, seen),
    )


def seen_of(model: ModelSpec, images: int | None, image_size: str | None) -> Seen | None:
    """The pictures that go with a prompt; None where there are none.

    Raises GptcalcError for a model whose pictures are not known.
    """
    found = pictures_of(model, images, image_size)
    return None if found is None else Seen(*found, model.towers)


def check_decoder(model: ModelSpec) -> None:
    """Raises GptcalcError for a model with an encoder, whose prompts and answers are two different passes."""
    from gptcalc.spec.shape import shape_of

    if any(kind.switches.cross_attention or not kind.switches.causal for _, kind in shape_of(model).blocks):
        raise GptcalcError(f"{model.name} has an encoder: only decoders are served")
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
