"""The fewest devices for a promise: every layout of every kind of device at many loads at once, and what each way of keeping it costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.serve.capacity import capacity_of
from gptcalc.serve.demand import Demand, demand_of, replica_of
from gptcalc.serve.launching import KNOWN, command_line
from gptcalc.serve.owning import price_of
from gptcalc.serve.replica import Worker
from gptcalc.serve.steady import Load, Steady, steady_of
from gptcalc.serve.target import read_targets
from gptcalc.spec.options import check_word, float_array, whole_number
from gptcalc.spec.serving import FleetOptions, LoadOptions

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec

POWERS = (1, 2, 4, 8, 16)
LARGEST = 16
"""Devices of one replica."""

LOADS, CHUNKS = 16, (2048, 8192)
"""Requests in flight and tokens of a pass that are tried of each layout."""

GAP = 0.99
"""A replica is filled to this share of the rate that its promise allows."""


class Offer(NamedTuple):
    """`replicas` of one layout that keep the promises, with what each request sees at their share of the rate."""

    device: str
    devices: int
    replicas: int
    tp: int
    pp: int
    ep: int
    attention_dp: int
    chunk: int
    concurrency: float
    ttft: float
    tpot: float
    tokens_per_second: float
    usd_per_hour: float | None
    usd_per_million_output_tokens: float | None
    ratios: dict[str, float]

    @property
    def meets(self) -> bool:
        return max(self.ratios.values()) <= 1

    @property
    def worst(self) -> float:
        return max(self.ratios.values())


class Corner(NamedTuple):
    """A load of a layout that no other beats in both: tokens a second of a device and of one user."""

    device: str
    layout: str
    of_a_device: float
    of_a_user: float


class Fleet(NamedTuple):
    """`cheapest` and `fastest` keep the promises; where none does, `closest` misses them by the least."""

    demand: Demand
    promises: dict[str, float]
    rate: float
    considered: int
    fit: int
    cheapest: Offer | None
    fastest: Offer | None
    offers: list[Offer]
    closest: Offer | None
    front: list[Corner]
    command_line: str | None = None

    @property
    def value(self) -> Any:
        """Devices of the cheapest."""
        return self.cheapest.devices if self.cheapest else None

    @property
    def inputs(self) -> dict[str, Any]:
        """What was asked, sizes of the layout aside: those were searched."""
        searched = ("tp", "pp", "ep", "attention_dp", "total", "count", "replicas", "chunk", "device")
        return {name: value for name, value in self.demand.inputs.items() if name not in searched} | {"rate": self.rate}

    @property
    def met(self) -> bool:
        return self.cheapest is not None

    def to_dict(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in ("promises", "rate", "considered", "fit", "met")}
        fields |= {name: one._asdict() if one else None for name, one in (("cheapest", self.cheapest), ("fastest", self.fastest))}
        fields |= {"closest": self.closest._asdict() if self.closest else None, "offers": [one._asdict() for one in self.offers]}
        return fields | {"front": [one._asdict() for one in self.front], "command_line": self.command_line}


def fleet_of(model: ModelSpec, devices: list[DeviceSpec], asked: FleetOptions) -> Fleet:
    """The cheapest and the fastest way to serve `rate` requests a second within the promised mean times.

    Sizes of a layout that are given are kept; the others are searched: powers of two up to sixteen devices a replica.

    Raises GptcalcError for promises that are none, and where no device can serve the model.
    """
    promises = read_targets(asked.target)
    rate = _rate(asked.rate)
    if asked.write is not None:
        check_word("server to write for named", asked.write, KNOWN)
    shared = {name: value for name, value in asked._asdict().items() if name in LoadOptions._fields}
    base = LoadOptions(**shared | {"rate": rate, "server": asked.server or asked.write, "device": devices[0]})
    considered = fit = 0
    found: list[Offer] = []
    corners: list[Corner] = []
    demands: dict[tuple[Any, ...], Demand] = {}
    trouble: GptcalcError | None = None
    for device in devices:
        usd = _usd(device, asked)
        for layout in _layouts(model, asked):
            try:
                d = demand_of(model, device, base._replace(**layout))
                replica = replica_of(d)
            except GptcalcError as error:
                trouble = trouble or error
                continue
            considered += 1
            demands[device.name, *layout.values()] = d
            one = _tried(d, replica, rate, promises, usd, corners)
            fit += one is not None
            found += [one] if one is not None else []
    if not considered:
        raise trouble or GptcalcError("no layout of these devices can serve the model")
    holds = sorted((one for one in found if one.meets), key=lambda one: (_cost(one), one.devices, one.pp, one.attention_dp, one.tpot))
    fastest = min(holds, key=lambda one: (one.tpot, one.ttft), default=None)
    closest = None if holds else min(found, key=lambda one: one.worst, default=None)
    best = holds[0] if holds else closest
    demand = next(iter(demands.values()))
    line = None
    if best is not None:
        demand = demands[best.device, best.tp, best.pp, best.ep, best.attention_dp]
        demand = demand._replace(chunk=best.chunk, layout=demand.layout._replace(total=best.devices))
        if asked.write is not None:
            line = command_line(demand, asked.write, max(1, round(2 * best.concurrency / best.replicas)))
    return Fleet(demand, promises, rate, considered, fit, holds[0] if holds else None, fastest, holds[:8], closest, _front(corners), line)


def _rate(value: Any) -> float:
    array = float_array("rate", value)
    if array.ndim or not 0 < float(array) < float("inf"):
        raise GptcalcError("rate must be one number above zero")
    return float(array)


def _cost(one: Offer) -> float:
    return one.usd_per_hour if one.usd_per_hour is not None else float("inf")


def _usd(device: DeviceSpec, asked: FleetOptions) -> float | None:
    from gptcalc.money import cost_of
    from gptcalc.ranges import exactly

    cost = cost_of(exactly(1.0), device, price=price_of(device, asked)).cost
    return None if cost is None else float(cost.likely)


def _layouts(model: ModelSpec, asked: FleetOptions) -> Iterator[dict[str, int]]:
    from gptcalc.spec.legality import has_experts

    experts = has_experts(model)
    latent = any(kind.kv_lora_rank is not None for kind in (model, *model.kinds.values()))

    def sizes(name: str, found: tuple[int, ...]) -> tuple[int, ...]:
        given = getattr(asked, name)
        return found if given is None else (whole_number(name, given),)

    for tp in sizes("tp", POWERS):
        for dp in sizes("attention_dp", (1, 4, 8, 16) if experts and latent else (1, 2, 4) if experts else (1,)):
            for pp in sizes("pp", (1, 2)):
                for ep in sizes("ep", (1, tp * dp) if experts and tp * dp > 1 else (1,)):
                    if tp * dp * pp <= LARGEST and not (dp > 1 and ep == 1):
                        yield {"tp": tp, "pp": pp, "ep": ep, "attention_dp": dp}


def _tried(d: Demand, replica: Worker, rate: float, promises: dict[str, float], usd: float | None, corners: list[Corner]) -> Offer | None:
    """The best chunk and load of one layout; None where the model does not fit."""
    import numpy as np

    capacity = capacity_of(replica, d.prompt, d.output, shared=d.shared * d.hit)
    if float(capacity.running) < 1:
        return None
    room = min(float(capacity.running), float(replica.engine.most_sequences))
    loads = np.geomspace(1.0, room * replica.attention_dp, LOADS)
    chunk = np.repeat(np.array(CHUNKS if d.chunk == 8192 else (d.chunk,), float), LOADS)
    many = np.tile(loads, chunk.size // LOADS)
    load = Load(many, d.prompt, d.output, room, 0.0, d.shared * d.hit, d.draft, d.accepted, chunk)
    s = steady_of(replica, load)
    flow = many / s.e2e(d.output)
    name = _name(d)
    corners += [Corner(d.device.name, name, float(f) * d.output / replica.devices, 1 / float(t)) for f, t in zip(flow, s.tpot, strict=True)]
    misses = np.max([getattr(s, promise) / most for promise, most in promises.items()], axis=0)
    best = int(np.argmax(np.where(misses <= 1, flow, -misses)))
    flow_each = GAP * float(flow[best])
    count = max(1.0, -(-rate // flow_each))
    return _offer(d, replica, s, best, int(count), rate, promises, usd, many, flow, chunk)


def _name(d: Demand) -> str:
    sizes = {"tp": d.layout.tp, "pp": d.layout.pp, "ep": d.layout.ep, "attention dp": d.layout.attention_dp}
    return ", ".join(f"{name} {size}" for name, size in sizes.items() if size > 1) or "one device"


def _offer(
    d: Demand,
    replica: Worker,
    s: Steady,
    best: int,
    count: int,
    rate: float,
    promises: dict[str, float],
    usd: float | None,
    many: Any,
    flow: Any,
    chunk: Any,
) -> Offer:
    import numpy as np

    alike = np.flatnonzero(chunk == chunk[best])
    each = rate / count

    def at(values: Any) -> float:
        return float(np.interp(each, flow[alike], values[alike]))

    times = {"ttft": at(s.ttft), "tpot": at(s.tpot)}
    devices = count * replica.devices
    hour = None if usd is None else usd * devices
    tokens = rate * d.output
    million = None if hour is None else hour / 3600 / tokens * 1e6
    sizes = (d.layout.tp, d.layout.pp, d.layout.ep, d.layout.attention_dp)
    ratios = {promise: times[promise] / most for promise, most in promises.items()}
    flight = count * at(many)
    return Offer(
        d.device.name, devices, count, *sizes, int(chunk[best]), flight, times["ttft"], times["tpot"], tokens, hour, million, ratios
    )


def _front(corners: list[Corner]) -> list[Corner]:
    """Those that no other beats in both, from the most of a device on."""
    kept: list[Corner] = []
    for one in sorted(corners, key=lambda one: (-one.of_a_device, -one.of_a_user)):
        if not kept or one.of_a_user > kept[-1].of_a_user * 1.01:
            kept.append(one)
    return kept
