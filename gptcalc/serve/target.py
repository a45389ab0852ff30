"""Promised latencies: the largest batch that keeps them, the cheapest devices that do, and what binds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.footprint.serving import largest
from gptcalc.node import plain
from gptcalc.serve.economy import cost_of
from gptcalc.serve.point import point_of
from gptcalc.serve.request import Request, request_of
from gptcalc.serve.room import largest_batch, room_on, serving_of
from gptcalc.serve.work import Work, work_for
from gptcalc.spec.reading import quoted

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.serving import InferOptions

PROMISES = {"ttft": "prefill_time", "tpot": "per_token"}
SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
COUNTS = (1, 2, 4, 8)
"""Devices of one server that share a fast link."""
SHOWN = 3


class Offer(NamedTuple):
    """One kind and number of devices. `ratios`: times over promises at the asked batch; `binds`: what one more sequence would break."""

    device: str
    count: Any
    meets: bool
    ratios: dict[str, float]
    fits: bool
    batch: int
    binds: str
    usd_per_hour: float | None
    usd_per_million_output_tokens: float | None
    time_to_first_token: float
    time_per_output_token: float
    calibrated: bool

    @property
    def worst(self) -> float:
        """How far the worst promise is missed."""
        return max(self.ratios.values()) * (1.0 if self.fits else 1e3)


class Targets(NamedTuple):
    """`here` is what was asked about; `cheapest` those that meet all promises for the asked batch, by price."""

    promises: dict[str, float]
    batch: int
    here: Offer
    cheapest: list[Offer]
    closest: Offer | None

    @property
    def met(self) -> bool:
        return self.here.meets or bool(self.cheapest)

    def to_dict(self) -> dict[str, Any]:
        return {
            "promises": self.promises,
            "batch": self.batch,
            "met": self.met,
            "here": self.here._asdict(),
            "cheapest": [offer._asdict() for offer in self.cheapest],
            "closest": self.closest._asdict() if self.closest else None,
        }


def targets_of(model: ModelSpec, device: DeviceSpec, options: InferOptions, price: Any) -> Targets:
    """The asked device, and every device of the catalogue that has a price, one to eight of them, from the cheapest on.

    Prompts of a batch are taken to arrive at once. Raises GptcalcError for promises that are none.
    """
    from gptcalc.spec.device import all_devices

    promises = read_targets(options.target)
    asked = request_of(model, device, options)
    here = _offer(asked, promises, price, asked.batch)
    found: list[tuple[float, Request]] = []
    for other in all_devices():
        for count in COUNTS:
            if other.prices:
                request = _request(model, other, options._replace(count=count, tp=None, pp=None))
                if request is not None:
                    found.append((other.prices[0].usd * count, request))
    found.sort(key=lambda pair: pair[0])
    met: list[Offer] = []
    missed: list[Offer] = [] if here.meets else [here]
    for _, request in found:
        offer = _check(request, promises)
        if offer is None:
            continue
        if not offer.meets:
            missed.append(offer)
        else:
            met.append(_offer(request, promises, None, asked.batch))
            if len(met) == SHOWN:
                break
    closest = None if here.meets or met else min(missed, key=lambda offer: offer.worst)
    return Targets(promises, asked.batch, here, met, closest)


def _request(model: ModelSpec, device: DeviceSpec, options: InferOptions) -> Request | None:
    """The same question about another device; None where it cannot be asked (heads that do not divide)."""
    try:
        return request_of(model, device, options)
    except GptcalcError:
        return None


def _check(r: Request, promises: dict[str, float]) -> Offer | None:
    """Whether the asked batch fits and keeps the promises, without looking for the largest one."""
    try:
        fits = bool(serving_of(r, r.batch).value <= room_on(r.device))
        point = point_of(work_for(r), r.batch, r.prompt, r.output, pp=r.pp)
    except GptcalcError:  # no such arithmetic, no link, heads that do not divide
        return None
    ratios = {name: float(getattr(point, PROMISES[name]) / promise) for name, promise in promises.items()}
    meets = fits and max(ratios.values()) <= 1
    usd = r.device.prices[0].usd * r.count if r.device.prices else None
    times = (float(plain(point.prefill_time)), float(plain(point.per_token)))
    return Offer(r.device.name, r.count, meets, ratios, fits, r.batch if meets else 0, "", usd, None, *times, r.device.serves_as_measured)


def _offer(r: Request, promises: dict[str, float], price: Any, batch: int) -> Offer:
    """The largest batch within memory and promises, what the next one would break, and times at that batch (at one where there is none)."""
    work = work_for(r)
    most = largest_batch(r, room_on(r.device))
    best = largest(lambda n: n <= most and not _broken(r, work, promises, n), limit=max(1, most))
    binds = "memory" if best >= most else " and ".join(_broken(r, work, promises, best + 1))
    point = point_of(work, max(1, best), r.prompt, r.output, pp=r.pp)
    asked = point_of(work, batch, r.prompt, r.output, pp=r.pp)
    cost, _ = cost_of(r._replace(batch=max(1, best)), point, price)
    return Offer(
        r.device.name,
        r.count,
        best >= batch,
        {name: float(getattr(asked, PROMISES[name]) / promise) for name, promise in promises.items()},
        batch <= most,
        best,
        binds,
        cost.per_hour.likely if cost else None,
        plain(cost.output.likely) if cost else None,
        float(plain(point.prefill_time)),
        float(plain(point.per_token)),
        r.device.serves_as_measured,
    )


def _broken(r: Request, work: Work, promises: dict[str, float], batch: int) -> list[str]:
    point = point_of(work, batch, r.prompt, r.output, pp=r.pp)
    return [name for name, promise in promises.items() if getattr(point, PROMISES[name]) > promise]


def read_targets(text: Any) -> dict[str, float]:
    """Seconds by promise.

    Raises GptcalcError for unknown promises and times that are none.

    >>> read_targets("ttft=200ms,tpot=30ms")
    {'ttft': 0.2, 'tpot': 0.03}
    """
    found = {}
    for part in text.split(",") if isinstance(text, str) else [quoted(text)]:
        name, _, value = part.partition("=")
        name = name.strip().lower()
        if name not in PROMISES:
            hint = did_you_mean(name, PROMISES, otherwise="write ttft=200ms,tpot=30ms")
            raise GptcalcError(f"no target {quoted(part.strip())}", hint=hint)
        if name in found:
            raise GptcalcError(f"{name} is given twice")
        match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(us|ms|s)\s*", value)
        seconds = float(match[1]) * SECONDS[match[2]] if match else 0.0
        if not 0 < seconds < float("inf"):
            raise GptcalcError(f"{name}: {quoted(value.strip())} is no time", hint="write it as 200ms, 1.5s or 800us")
        found[name] = seconds
    return found
