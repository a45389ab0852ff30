"""Serving a model: time to first token, time per token, tokens per second, what bounds it, how many requests fit, what tokens cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, overload

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.footprint.reserve import reserve
from gptcalc.footprint.serving import MOST_PREFILL
from gptcalc.node import Node, plain
from gptcalc.serve.certainty import Certainty, certainty_of
from gptcalc.serve.economy import Cost, Steady, cost_of, steady_of
from gptcalc.serve.point import Point, point_of, settings
from gptcalc.serve.request import Request, request_of
from gptcalc.serve.room import Room, room_of
from gptcalc.serve.work import Work, work_for
from gptcalc.shown import frame, shown

if TYPE_CHECKING:
    from gptcalc.serve.fleet import Fleet
    from gptcalc.serve.loaded import Loaded
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


@overload
def infer(model: ModelSpec | str, *, rate: float, target: str, **options: Any) -> Fleet: ...


@overload
def infer(model: ModelSpec | str, *, server: str, **options: Any) -> Loaded: ...


@overload
def infer(model: ModelSpec | str, **options: Any) -> Inference: ...


def infer(
    model: ModelSpec | str,
    *,
    device: Any = "h100-80gb",
    count: int | None = None,
    batch: Any = None,
    prompt: Any = None,
    output: Any = None,
    precision: str | None = None,
    kv_precision: str | None = None,
    group_size: int | None = None,
    block_size: int | None = None,
    runtime: str | None = None,
    tp: int | None = None,
    pp: int | None = None,
    price: Any = None,
    sweep: str | None = None,
    target: str | None = None,
    images: int | None = None,
    image_size: str | None = None,
    **load: Any,
) -> Inference | Loaded | Fleet:
    """What serving a model takes, on `count` devices of one kind: `batch` sequences at once in each replica, or a server under load.

    Options: `count`, `batch`, `prompt`, `output` (new tokens, the first from the prefill), `precision` (of weights; "stored", as the
    model's quantized file has them, where it has one), `kv_precision`, `group_size` (of int4), `block_size` (of the cache's pages),
    `runtime` (graph or eager), `tp` (all of `count` where left out), `pp`, `price` (USD per device and hour).
    `images` pictures of `image_size` ("1024x1024") go with each prompt.
    `batch` and `prompt` may be arrays. `sweep` is "batch=1..256"; `target` "ttft=200ms,tpot=30ms", either or both.

    Under load, by any of: `server` (a name of presets/servers or a file of one), `concurrency` (requests in flight, "max") or `rate` (a
    second), `ep`, `attention_dp`, `memory_share`, `chunk` (tokens of a pass), `lengths` ("drawn", "alike"; left out: between the two),
    `prefill_pool` and `decode_pool` ("4x(tp 4)", "2x(attention-dp 8 ep 8 h200)"), `shared_prefix` with `hit_share`, `draft` (tokens
    guessed a step) with `accepted`. With `rate` and `target` devices are searched: `device` may be several, "h200,b200"; owned hardware
    costs `capex` over `amortise` ("4y") and `power_price` (USD per kWh); `write` gives the winner's command line.

    Units: seconds, bytes, tokens per second, USD.   Raises: GptcalcError for contradictory or impossible inputs.
    Source: the operation table through the kernel model; constants in presets/devices, passes in presets/servers.

    >>> answer = infer("gpt3-13b", device="h100-80gb", batch=8, prompt=1024, output=256)
    >>> round(answer.point.prefill_time, 2), round(answer.point.per_token, 4), answer.point.decode.bound
    (0.32, 0.014, 'bandwidth')
    """
    from gptcalc.spec.device import load_device
    from gptcalc.spec.files import as_model

    spec = as_model(model)
    options: dict[str, Any] = {"count": count, "prompt": prompt, "output": output, "precision": precision, "kv_precision": kv_precision}
    options |= {"group_size": group_size, "tp": tp, "pp": pp}
    load = {name: value for name, value in load.items() if value is not None}
    unknown = [name for name in load if name not in LOADED]
    if unknown:
        raise GptcalcError(f"infer has no option '{unknown[0]}'", hint=did_you_mean(unknown[0], (*LOADED, *options)))
    owning = {name: load.pop(name) for name in OWNING if name in load}
    if target is not None and "rate" in load:
        return _fleet(spec, device, target, price, owning, options | load, [block_size, sweep, batch, runtime])
    if isinstance(device, str) and "," in device:
        raise GptcalcError("several devices are compared for a promise", hint="give --rate 20 --target ttft=1s,tpot=30ms too")
    if "write" in load:
        raise GptcalcError("a command line is written of what keeps a promise", hint="give --rate and --target too")
    found = device if hasattr(device, "peak") else load_device(device)
    price = _owned(found, price, owning) if owning else price
    if load and images is not None:
        raise GptcalcError("how a server under load reads pictures is not known", hint="leave out --images, or what is about the load")
    if load:
        given = {"batch": batch, "block_size": block_size, "runtime": runtime, "sweep": sweep, "target": target}
        return _under_load(spec, found, price, given, options | load)
    options |= {"images": images, "image_size": image_size}
    options |= {"batch": 1 if batch is None else batch, "block_size": 1 if block_size is None else block_size}
    return _alone(spec, found, price, sweep, target, options | {"runtime": "graph" if runtime is None else runtime})


OWNING = ("capex", "amortise", "power_price")
LOADED: tuple[str, ...] = ("server", "concurrency", "rate", "ep", "attention_dp", "memory_share", "chunk", "lengths")
LOADED += (*OWNING, "write", "prefill_pool", "decode_pool", "shared_prefix", "hit_share", "draft", "accepted")
"""Options that are about a server under load."""


def _under_load(model: ModelSpec, device: DeviceSpec, price: Any, given: dict[str, Any], options: dict[str, Any]) -> Loaded:
    from gptcalc.serve.loaded import served

    if given["runtime"] is not None and "server" in options:
        raise GptcalcError("a runtime and a server contradict: a server has its own code", hint="leave out --runtime")
    for name in ("block_size", "sweep", "target"):
        if given[name] is not None:
            raise GptcalcError(f"{name} means nothing for a server under load", hint=f"leave out --{name.replace('_', '-')}")
    if given["batch"] is not None:
        if "concurrency" in options or "rate" in options:
            raise GptcalcError(
                "batch is of a replica that is never idle: under load give concurrency or rate alone", hint="leave out --batch"
            )
        options["concurrency"] = given["batch"]
    if given["runtime"] is not None:
        options["server"] = given["runtime"]
    return served(model, device, price=price, **options)


def _owned(device: DeviceSpec, price: Any, owning: dict[str, Any]) -> Any:
    from gptcalc.serve.owning import owned

    if price is not None:
        raise GptcalcError("a price and a capex contradict: hardware is rented or owned", hint="give one of the two")
    if "capex" not in owning:
        raise GptcalcError(f"{next(iter(owning))} is of owned hardware", hint="give --capex, the price of one device, too")
    return owned(device, owning["capex"], owning.get("amortise"), owning.get("power_price"))


def _fleet(
    model: ModelSpec, device: Any, target: str, price: Any, owning: dict[str, Any], options: dict[str, Any], none: list[Any]
) -> Fleet:
    from gptcalc.serve.fleet import fleet_of
    from gptcalc.spec.device import load_device

    if any(one is not None for one in none) or {"concurrency", "prefill_pool", "decode_pool", "count"} & {
        name for name, value in options.items() if value is not None
    }:
        raise GptcalcError(
            "a search of devices for a promise takes no count, batch, concurrency, runtime, sweep or pools", hint="leave it out"
        )
    names: list[Any] = device.split(",") if isinstance(device, str) else list(device) if isinstance(device, list | tuple) else [device]
    found: list[DeviceSpec] = [
        name if hasattr(name, "peak") else load_device(name.strip() if isinstance(name, str) else name) for name in names
    ]
    for one in found if owning else []:
        _owned(one, price, owning)
    options.pop("count")
    return fleet_of(model, found, target, options.pop("rate"), price=price, owning=owning, **options)


def _alone(spec: ModelSpec, device: DeviceSpec, price: Any, sweep: Any, target: Any, options: dict[str, Any]) -> Inference:
    from gptcalc.spec.options import check_shapes, check_word
    from gptcalc.spec.server import server_names

    check_word("inference runtime named", options["runtime"], server_names())
    request = request_of(spec, device, **{name: value for name, value in options.items() if value is not None})
    check_shapes(batch=request.batch, prompt=request.prompt, price=price)
    asked = settings(request.batch, request.prompt)
    if asked > MOST_SETTINGS:
        raise GptcalcError(f"{asked:,} settings at once are more than {MOST_SETTINGS:,}", hint="ask for fewer batches or prompts at a time")
    several = any(isinstance(one, list) or getattr(one, "ndim", 0) for one in (request.batch, request.prompt, price))
    if several and not (sweep is None and target is None):
        raise GptcalcError("sweeps and targets are about one batch, one prompt and one price, not arrays of them")
    work = work_for(request)
    point = point_of(work, request.batch, request.prompt, request.output, pp=request.pp)
    cost, notes = cost_of(request, point, price)
    answer = Inference(request, work, point, room_of(request), cost, steady_of(request, work, point), [*_notes(request, work), *notes])
    if sweep is not None:
        from gptcalc.serve.sweep import sweep_of

        answer = answer._replace(sweep=sweep_of(request, work, answer.room.room, sweep, price))
    if target is not None:
        from gptcalc.serve.target import targets_of

        answer = answer._replace(targets=targets_of(spec, request.device, target, price, options))
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
