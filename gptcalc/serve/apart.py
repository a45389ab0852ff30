"""Pools for a promise: the cheapest workers that read prompts in time, and the cheapest that decode in time, each kind for itself.

Prompts never interrupt a step, so that the one promise is the prefill pool's and the other the decode pool's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.serve.capacity import capacity_of
from gptcalc.serve.pools import Pool, Pools, reading_of, steady_pools
from gptcalc.serve.steady import Load, times_of

if TYPE_CHECKING:
    from gptcalc.serve.demand import Demand
    from gptcalc.serve.replica import Worker

BUSIEST = 0.9
"""How busy a prefill pool may be where nothing is promised of the first token."""

MOST_WORKERS = 4096
SIZES = 24
"""Numbers of running sequences that are tried of a decode worker."""


class Candidate(NamedTuple):
    """A layout of one device with what an hour of it costs, None where that is not known."""

    demand: Demand
    replica: Worker
    usd: float | None


class Apart(NamedTuple):
    """A pair of pools that keeps the promises, with what requests see."""

    pools: Pools
    demand: Demand  # of a worker that decodes
    ttft: float
    tpot: float
    in_flight: float
    usd_per_hour: float | None

    @property
    def texts(self) -> dict[str, str]:
        """As --prefill-pool and --decode-pool take them."""
        return {name: _text(pool) for name, pool in self.pools._asdict().items()}


def _text(pool: Pool) -> str:
    sizes = {"tp": pool.each.tp, "pp": pool.each.pp, "ep": pool.each.ep, "attention-dp": pool.each.attention_dp}
    words = [f"{name} {size}" for name, size in sizes.items() if size > 1 or name == "tp"]
    return f"{pool.workers}x({' '.join(words)} {pool.device.name})"


def apart(candidates: list[Candidate], rate: float, promises: dict[str, float]) -> Apart | None:
    """The cheapest pair of pools; None where no pair keeps the promises.

    Source: Zhong et al. 2024 (DistServe), arXiv:2401.09670, section 4: each phase has its own parallelism and number of workers.
    """
    readers = [(_workers_reading(one, rate, promises.get("ttft")), one) for one in candidates]
    writers = [(_workers_writing(one, rate, promises.get("tpot")), one) for one in candidates]
    for reading in sorted(((n, one) for n, one in readers if n), key=_cost)[:3]:
        for writing in sorted(((n, one) for n, one in writers if n), key=_cost)[:3]:
            found = _checked(reading, writing, rate, promises)
            if found is not None:
                return found
    return None


def _cost(pair: tuple[int, Candidate]) -> tuple[float, int]:
    workers, one = pair
    devices = workers * one.replica.devices
    return (float("inf") if one.usd is None else one.usd * devices), devices


def _load(one: Candidate) -> Load:
    d, engine = one.demand, one.replica.engine
    room = float(capacity_of(one.replica, d.prompt, d.output, shared=d.shared * d.hit).running)
    return Load(1.0, d.prompt, d.output, max(1.0, min(room, engine.most_sequences)), 0.0, d.shared * d.hit, d.draft, d.accepted)


def _workers_reading(one: Candidate, rate: float, promise: float | None) -> int:
    """The fewest workers whose queue of prompts is short enough; 0 where no number of them is."""
    reading = reading_of(one.replica, _load(one))
    base = float(one.replica.engine.request + reading.alone + reading.sent)
    each = float(reading.each)
    if promise is not None and base >= promise:
        return 0
    workers = int(rate * each) + 1
    while workers <= MOST_WORKERS:
        rho = rate * each / workers
        if rho < (1 if promise else BUSIEST) and (promise is None or base + rho * each / (2 * (1 - rho)) <= promise):
            return workers
        workers += 1
    return 0


def _workers_writing(one: Candidate, rate: float, promise: float | None) -> int:
    """The fewest workers whose steps are short enough at the load that each then has; 0 where no number of them is."""
    import numpy as np

    load = _load(one)
    sizes = np.geomspace(1.0, max(load.room / one.replica.pp, 1.001), SIZES)
    tpot = np.asarray(times_of(one.replica, sizes, load).decode) / load.per_step
    kept = tpot <= promise if promise is not None else np.ones_like(sizes, dtype=bool)
    if not kept.any():
        return 0
    flow = float(np.max(sizes[kept] * one.replica.groups / (load.output * tpot[kept])))
    workers = -int(-rate // flow)
    return workers if workers <= MOST_WORKERS else 0


def _checked(reading: tuple[int, Candidate], writing: tuple[int, Candidate], rate: float, promises: dict[str, float]) -> Apart | None:
    first, second = (
        Pool(workers, one.demand.layout._replace(total=one.replica.devices), one.demand.device) for workers, one in (reading, writing)
    )
    pools = Pools(first, second)
    try:
        steady, flight = steady_pools(reading[1].replica, writing[1].replica, pools, _load(writing[1]), rate)
    except GptcalcError:  # beyond saturation by rounding
        return None
    seen: dict[str, Any] = {"ttft": float(steady.ttft), "tpot": float(steady.tpot)}
    if any(seen[name] > most for name, most in promises.items()):
        return None
    costs = [None if one.usd is None else one.usd * pool.devices for (_, one), pool in zip((reading, writing), pools, strict=True)]
    usd = None if None in costs else sum(cost for cost in costs if cost is not None)
    return Apart(pools, writing[1].demand, seen["ttft"], seen["tpot"], float(flight), usd)
