"""Serving a model: time to first token, time per token, tokens per second, what bounds it, how many requests fit, what tokens cost."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.footprint.reserve import reserve
from gptcalc.footprint.serving import MOST_PREFILL
from gptcalc.node import Node, plain
from gptcalc.serve.certainty import Certainty, certainty_of
from gptcalc.serve.economy import Cost, Steady, cost_of, steady_of
from gptcalc.serve.fleet import Fleet, fleet_of
from gptcalc.serve.loaded import Loaded, served
from gptcalc.serve.owning import price_of
from gptcalc.serve.point import Point, point_of, settings
from gptcalc.serve.request import Request, request_of
from gptcalc.serve.room import Room, room_of
from gptcalc.serve.work import Work, work_for
from gptcalc.shown import frame, shown
from gptcalc.spec.fields import takes_one_of
from gptcalc.spec.serving import FleetOptions, InferOptions, LoadOptions, under_load

if TYPE_CHECKING:
    from gptcalc.serve.sweep import Sweep
    from gptcalc.serve.target import Targets
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec


BETWEEN_STEPS = "vLLM 0.6 took 8 to 22 % longer for Qwen2.5-7B and -32B on A100s, and twice as long for 0.5B"
"""Against these formulas, one sequence at a time after prompts of 1 to 129,024 tokens: Qwen's speed benchmark (its documentation,
2024-11)."""

MOST_SETTINGS = 100_000
"""Batches and prompts that one call takes."""


@shown
class Inference(NamedTuple):
    """One server. Seconds, bytes, USD; arrays where batch or prompt are."""

    request: Request
    work: Work
    point: Point
    room: Room
    cost: Cost | None
    steady: Steady
    notes: list[str]
    sweep: Sweep | None = None
    targets: Targets | None = None

    def to_frame(self) -> Any:
        """A pandas DataFrame of the parts; GptcalcError where pandas is not installed."""
        return frame(self)

    @property
    def value(self) -> Any:
        """Seconds of a whole request: its prompt and with it the first token, then the other O - 1."""
        return self.point.prefill_time + self.point.decode_time

    @property
    def tokens_per_second(self) -> Any:
        """New tokens of all replicas while they decode."""
        return self.request.replicas * self.point.rate

    @property
    def fits(self) -> bool:
        return bool(self.room.fits.all() if hasattr(self.room.fits, "all") else self.room.fits)

    @property
    def interval(self) -> dict[str, list[Any]]:
        """The least and the most that the time to the first token and the time per output token may be."""
        return {name: self.certainty.around(one) for name, one in (("ttft", self.point.prefill_time), ("tpot", self.point.per_token))}

    @property
    def spread(self) -> float | None:
        """The share of a time that it is expected within, where that is the same up and down."""
        return self.certainty.share

    @property
    def certainty(self) -> Certainty:
        return certainty_of(self.request, self.work, max(one.recurring for one in (self.point.prefill, self.point.decode)))

    @property
    def parts(self) -> tuple[Node[Any], Node[Any]]:
        """The breakdown of one prefill pass and of one decode step (their mean), operation by operation."""
        return self.point.prefill.breakdown("prefill"), self.point.decode.breakdown("decode step")

    def to_dict(self) -> dict[str, Any]:
        p, single = self.point, not hasattr(self.value, "dtype") or self.value.ndim == 0
        result: dict[str, Any] = {
            "prefill_time": plain(p.prefill_time),
            "decode_step_time_first": plain(p.first),
            "decode_step_time_last": plain(p.last),
            "time_to_first_token": plain(p.prefill_time),
            "time_per_output_token": plain(p.per_token),
            "decode_time": plain(p.decode_time),
            "request_time": plain(self.value),
            "tokens_per_second": plain(self.tokens_per_second),
            "tokens_per_second_of_one_user": plain(1 / p.per_token),
            "prompt_tokens_per_second": plain(self.request.replicas * p.batch * p.prompt / p.prefill_time),
            "kv_cache_bytes": plain(self.room.kv_cache),
            "state_bytes": self.room.to_dict()["state"],
            "max_batch": self.room.max_batch,
            "max_users": None if self.room.max_batch is None else self.room.max_batch * self.request.replicas,
            "fits": plain(self.room.fits),
            "memory": self.room.to_dict(),
            "steady": self.steady.to_dict(),
            "calibrated": self.request.device.serves_as_measured,
            "spread": self.spread,
            "interval": {name: [plain(end) for end in ends] for name, ends in self.interval.items()},
            "notes": self.notes,
        }
        if single:
            result |= {"bound": p.decode.bound, "prefill_bound": p.prefill.bound, "decode_bound": p.decode.bound}
            result |= {"operations": {"prefill": p.prefill.to_list(), "decode": p.decode.to_list()}}
            result |= {"parts": [part.to_dict() for part in self.parts]}
        result |= self.cost.to_dict() if self.cost else {"usd_per_million_input_tokens": None, "usd_per_million_output_tokens": None}
        result |= {"sweep": self.sweep.to_dict()} if self.sweep else {}
        return result | ({"targets": self.targets.to_dict()} if self.targets else {})


@takes_one_of(InferOptions, Inference, LoadOptions, Loaded, FleetOptions, Fleet)
def infer(model: Any, **options: Any) -> Inference | Loaded | Fleet:
    """What serving a model takes: one batch at a time as fast as the devices can, or a server that requests come to.

    With any option of a load (`server`, `concurrency`, `rate`, ...) it is a server under load: means of its steady state. With `rate` and
    `target` the fewest devices that keep the promise are searched, and `device` may be several. `batch`, `prompt` and `price` may be
    arrays; under load `concurrency`, `prompt` and `output`.

    Units: seconds, bytes, tokens per second, USD.   Raises: GptcalcError for contradictory or impossible inputs.
    Source: the operation table through the kernel model; constants in presets/devices, passes in presets/servers.

    >>> answer = infer("gpt3-13b", device="h100-80gb", batch=8, prompt=1024, output=256)
    >>> round(answer.point.prefill_time, 2), round(answer.point.per_token, 4), answer.point.decode.bound
    (0.32, 0.014, 'bandwidth')
    """
    from gptcalc.spec.device import as_device
    from gptcalc.spec.files import as_model

    spec = as_model(model)
    given = {name: value for name, value in options.items() if value is not None}
    check_known(given)
    if "target" in given and "rate" in given:
        return _fleet(spec, given)
    device = options.get("device", "h100-80gb")
    if isinstance(device, list | tuple) or (isinstance(device, str) and "," in device):
        raise GptcalcError("several devices are compared for a promise", hint="give --rate 20 --target ttft=1s,tpot=30ms too")
    if "write" in given:
        raise GptcalcError("a command line is written of what keeps a promise", hint="give --rate and --target too")
    found = as_device(device)
    if not under_load(given):
        return _alone(spec, found, InferOptions(**given))
    for name in ("block_size", "sweep", "target", "images", "image_size", "cache_layout"):
        if name in given:
            raise GptcalcError(f"{name} means nothing for a server under load", hint=f"leave out --{name.replace('_', '-')}")
    return served(spec, found, LoadOptions(**given))


def check_known(given: Collection[str]) -> None:
    """Raises GptcalcError for an option that there is not, with the nearest that there is."""
    known = dict.fromkeys((*InferOptions._fields, *LoadOptions._fields, *FleetOptions._fields))
    for name in given:
        if name not in known:
            raise GptcalcError(f"infer has no option '{name}'", hint=did_you_mean(name, known))


def _fleet(model: ModelSpec, given: dict[str, Any]) -> Fleet:
    from gptcalc.spec.device import as_device

    odd = [name for name in given if name not in FleetOptions._fields]
    if odd:
        raise GptcalcError(f"a search of devices for a promise takes no {odd[0]}", hint=f"leave out --{odd[0].replace('_', '-')}")
    asked = FleetOptions(**given)
    device = asked.device
    names = device.split(",") if isinstance(device, str) else device if isinstance(device, list | tuple) else [device]
    return fleet_of(model, [as_device(name.strip() if isinstance(name, str) else name) for name in names], asked)


def _alone(spec: ModelSpec, device: DeviceSpec, asked: InferOptions) -> Inference:
    from gptcalc.spec.options import check_shapes

    price = price_of(device, asked)
    request = request_of(spec, device, asked)
    check_shapes(batch=request.batch, prompt=request.prompt, price=price)
    count = settings(request.batch, request.prompt)
    if count > MOST_SETTINGS:
        raise GptcalcError(f"{count:,} settings at once are more than {MOST_SETTINGS:,}", hint="ask for fewer batches or prompts at a time")
    several = any(isinstance(one, list) or getattr(one, "ndim", 0) for one in (request.batch, request.prompt, price))
    if several and not (asked.sweep is None and asked.target is None):
        raise GptcalcError("sweeps and targets are about one batch, one prompt and one price, not arrays of them")
    work = work_for(request)
    point = point_of(work, request.batch, request.prompt, request.output, pp=request.pp)
    cost, notes = cost_of(request, point, price)
    answer = Inference(request, work, point, room_of(request), cost, steady_of(request, work, point), [*_notes(request, work), *notes])
    if asked.sweep is not None:
        from gptcalc.serve.sweep import sweep_of

        answer = answer._replace(sweep=sweep_of(request, work, answer.room.room, asked.sweep, price))
    if asked.target is not None:
        from gptcalc.serve.target import targets_of

        answer = answer._replace(targets=targets_of(spec, request.device, asked, price))
    return answer


def _notes(r: Request, work: Work) -> list[str]:
    notes = list(work.notes)
    if not r.device.serves_as_measured:
        notes.append(f"uncalibrated: peaks of {r.device.name}, constants measured on an H100")
    if work.server.graph:
        notes.append(f"memory is that of {MOST_PREFILL:,} prompt tokens in one pass, or of one longer prompt: servers cut what they read")
        notes.append("what a server does between two steps (scheduling, sampling) is not counted: " + BETWEEN_STEPS)
    if reserve(0, 0, 0, r.device).context is None:
        notes.append(f"what the software of {r.device.name} takes of its memory is not known: not counted")
    if work.server.host:
        notes.append("the processor's time for an operation was fitted on training steps, which record gradients: without them it is less")
    if r.tp * r.pp > 1:
        from gptcalc.spec.cluster import cluster_for
        from gptcalc.spec.recipe import Layout
        from gptcalc.time.software import warnings

        notes += warnings(Layout(tp=r.tp), cluster_for(r.device.name))
    return notes
