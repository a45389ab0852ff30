"""Pools of their own for reading prompts and for decoding: a queue of prompts, a transfer of caches, steps that no prompt interrupts.

W workers read prompts, s seconds each; the others decode. Source: Zhong et al. 2024 (DistServe), arXiv:2401.09670; Patel et al. 2024
(Splitwise), arXiv:2311.18677.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError, NegativeAnswer
from gptcalc.serve.capacity import kept_of
from gptcalc.serve.demand import Demand, Devices, layout_of, replica_on
from gptcalc.serve.replica import Worker
from gptcalc.serve.steady import Load, Steady, Times, times_of
from gptcalc.spec.reading import quoted
from gptcalc.time.kernels import least, most

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec

CARD = 50e9
"""Bytes a second of one device's network card, where the devices of the pools have no cluster that says more (400 Gb/s)."""

GRID = 32
ROUNDS_OF_SEARCH = 60
ROUNDS = 4
"""Requests of a pools' benchmark for each one in flight: what its first burst is averaged over. Fitted on 84 runs of DeepSeek-V3
(ai-dynamo/aiconfigurator): 10, as in one pool, makes them 45 % too soon in the median."""

SIZES = ("tp", "pp", "ep", "attention_dp")


class Pool(NamedTuple):
    """`workers` alike, each of so many devices of one kind."""

    workers: int
    each: Devices
    device: DeviceSpec

    @property
    def devices(self) -> int:
        return self.workers * self.each.total

    def to_dict(self) -> dict[str, Any]:
        return {"workers": self.workers, **self.each._asdict(), "device": self.device.name}


class Pools(NamedTuple):
    """One pool for prompts and one for all further tokens."""

    prefill: Pool
    decode: Pool

    @property
    def devices(self) -> int:
        return self.prefill.devices + self.decode.devices


def read_pool(text: Any, name: str, model: ModelSpec, device: DeviceSpec) -> Pool:
    """A pool from its text: "4x(tp 4)", "2x(attention-dp 8 ep 8 h200)".

    Raises GptcalcError for text that is none, and for sizes that do not divide.

    >>> from gptcalc.spec.device import load_device
    >>> from gptcalc.spec.files import load_model
    >>> read_pool("4x(tp 4)", "prefill_pool", load_model("llama3.1-70b"), load_device("h100")).devices
    16
    """
    from gptcalc.spec.device import load_device

    found = re.fullmatch(r"\s*(?:([1-9]\d{0,5})\s*[x*×]\s*)?\(?\s*([^()]*?)\s*\)?\s*", text) if isinstance(text, str) else None
    if not found or not found[2]:
        raise GptcalcError(f"{name} {quoted(text)} is no pool", hint="write 4x(tp 4), or 2x(attention-dp 8 ep 8 h200)")
    words = re.split(r"[\s,=]+", found[2])
    sizes: dict[str, int] = {}
    while words:
        word = words.pop(0).lower().replace("-", "_")
        if word in SIZES and words and re.fullmatch(r"[1-9]\d{0,5}", words[0]):
            sizes[word] = int(words.pop(0))
        elif word in SIZES:
            raise GptcalcError(f"{name} {quoted(text)}: {word} has no number", hint="write 4x(tp 4)")
        else:
            device = load_device(word.replace("_", "-"))
    each = layout_of(model, None, sizes.get("tp"), sizes.get("pp"), sizes.get("ep"), sizes.get("attention_dp"))
    return Pool(int(found[1] or 1), each, device)


def pools_of(model: ModelSpec, device: DeviceSpec, prefill: Any, decode: Any, count: Any) -> Pools:
    """Both pools.

    Raises GptcalcError where one is missing, and where they are not as many devices as `count` says.
    """
    if prefill is None or decode is None:
        missing = "prefill_pool" if prefill is None else "decode_pool"
        raise GptcalcError(f"pools are two: {missing} is missing", hint="give both --prefill-pool and --decode-pool")
    pools = Pools(read_pool(prefill, "prefill_pool", model, device), read_pool(decode, "decode_pool", model, device))
    if count is not None and count != pools.devices:
        there = f"{pools.prefill.devices} + {pools.decode.devices}"
        raise GptcalcError(
            f"pools of {there} devices are not the {count} that --count says", hint=f"leave --count out, or give {pools.devices}"
        )
    return pools


def replicas_of(d: Demand, pools: Pools) -> tuple[Worker, Worker]:
    """A worker that reads prompts and one that decodes."""
    options: Any = {"chunk": d.chunk, "share": d.memory_share}
    first, second = (
        replica_on(d.model, pool.device, d.server, pool.each, d.precision, d.kv_precision, d.group_size, **options) for pool in pools
    )
    return first, second


class Reading(NamedTuple):
    """What the prefill pool needs for a prompt: `alone` seconds of it, `each` seconds of a worker's time, `sent` of its cache."""

    alone: Any
    each: Any
    sent: Any


def reading_of(reader: Worker, load: Load) -> Reading:
    """Each group of attention data parallelism reads its own prompt; the cache goes out through the cards of the devices that hold it."""
    one, all_ = (times_of(reader, 1.0, load, groups) for groups in (1, None))
    alone, together = one.alone * one.chunks, all_.alone * all_.chunks
    card = reader.network.card if reader.network is not None else CARD
    size = kept_of(reader.work, load.prompt, whole=True) / reader.pp
    return Reading(alone, together / reader.attention_dp, size / card)


def steady_pools(reader: Worker, writer: Worker, pools: Pools, load: Load, rate: float | None) -> tuple[Steady, Any]:
    """Means, and how many requests are in flight, of a closed loop of `load.concurrency` requests, or where `rate` come a second.

    Past the rate that the prefill pool reads, it holds the loop: what the decode pool does not have waits before it.

    Raises NegativeAnswer for a rate beyond saturation, with the largest that holds.
    """
    import numpy as np

    reading = reading_of(reader, load)
    workers, groups = pools.prefill.workers, pools.decode.workers * writer.groups
    room = float(load.room * groups / writer.pp)
    sizes = np.geomspace(1.0, max(room / groups, 1.001), GRID)
    steps = times_of(writer, sizes, load).decode * load.output / load.per_step

    def stay(running: Any) -> Any:
        return np.interp(running / groups, sizes, steps)

    base = writer.engine.request + reading.alone + reading.sent
    top = workers / reading.each
    if rate is not None and rate >= top:
        raise NegativeAnswer(_beyond(rate, top, "the prefill pool"), hint="more workers in --prefill-pool")
    most_ = room / stay(room)
    if rate is not None and rate > most_:
        raise NegativeAnswer(_beyond(rate, most_, "the decode pool"), hint="more workers in --decode-pool")
    n = load.concurrency
    running = np.minimum(1.0 * n if rate is None else 1.0, room)
    for _ in range(ROUNDS_OF_SEARCH):
        now = stay(running)
        flow = rate if rate is not None else np.minimum(n / (now + base + _wait(reading, running / now, top)), top)
        running = (running + np.minimum(flow * now, room)) / 2
    running = running if getattr(running, "ndim", 0) else float(running)
    t = times_of(writer, most((running / groups, 1.0)), load)
    return _steady(t, reading, load, running, groups, workers, base, n if rate is None else None, rate)


def _steady(
    t: Times, reading: Reading, load: Load, running: Any, groups: int, workers: int, base: Any, n: Any, rate: float | None
) -> tuple[Steady, Any]:
    tpot = t.decode / load.per_step
    stay = load.output * tpot
    flow = rate if rate is not None else running / stay
    busy = least((flow * reading.each / workers, 1.0))
    ttft = base + _wait(reading, flow, workers / reading.each)
    if n is not None:
        ttft = most((ttft, n / flow - stay))
    flight = n if n is not None else flow * (ttft + stay)
    first = flight * reading.each / (2 * workers)
    wait = ttft - base
    benchmark = ttft + most((first - wait, 0.0)) / ROUNDS
    none = 0.0 * wait
    return Steady(
        tpot, ttft, benchmark, running / groups, busy, busy, wait, none, t.decode, t.decode, reading.alone, 1.0, t.first, t.last
    ), flight


def _wait(reading: Reading, flow: Any, top: Any) -> Any:
    """M/D/1 of the pool's workers as one fast one."""
    rho = least((flow / top, 0.999))
    return rho * reading.each / (2 * (1 - rho))


def _beyond(rate: float, most_: float, what: str) -> str:
    return f"{rate:g} requests a second are beyond saturation of {what}: {most_:.3g} a second is the largest rate that holds"
