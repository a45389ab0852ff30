"""A server under load: time to first token and per token with their queues, tokens per second, what saturates, what tokens cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError, NegativeAnswer
from gptcalc.footprint.serving import state
from gptcalc.node import Node, plain
from gptcalc.serve.capacity import Capacity, cache_of, capacity_of
from gptcalc.serve.certainty import Factors, factors_of
from gptcalc.serve.demand import Demand, demand_of, replica_of
from gptcalc.serve.owning import price_of
from gptcalc.serve.phase import Phase
from gptcalc.serve.queueing import percentiles
from gptcalc.serve.replica import Pass, Worker, time_of
from gptcalc.serve.steady import Load, Steady, steady_of
from gptcalc.spec.server import Engine
from gptcalc.time.kernels import least, most

if TYPE_CHECKING:
    from gptcalc.ranges import Range
    from gptcalc.serve.pools import Pools
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.serving import LoadOptions

GRID, GRIDS = 48, 3
"""Numbers of requests in flight that are tried at once, and how often: the last two are 1e-5 of the most apart."""


class Loaded(NamedTuple):
    """A server's steady state. Seconds, bytes, USD; arrays where lengths or concurrency are."""

    request: Demand
    replica: Worker
    capacity: Capacity
    load: Load
    steady: Steady
    usd_per_hour: Range | None
    notes: list[str]
    pools: Pools | None = None

    @property
    def devices(self) -> int:
        return self.request.layout.total if self.pools is None else self.pools.devices

    @property
    def replicas(self) -> int:
        """Groups of devices that decode; of pools what is in flight is that of all together."""
        return self.request.layout.replicas if self.pools is None else self.pools.decode.workers

    @property
    def in_flight(self) -> Any:
        return self.load.concurrency * (self.replicas if self.pools is None else 1)

    @property
    def value(self) -> Any:
        """Mean seconds of a request from end to end."""
        return self.e2e

    @property
    def ttft(self) -> Any:
        return self.steady.ttft

    @property
    def tpot(self) -> Any:
        return self.steady.tpot

    @property
    def e2e(self) -> Any:
        return self.steady.e2e(self.request.output)

    @property
    def requests_per_second(self) -> Any:
        """Of all replicas. Source: Little 1961, Operations Research 9(3)."""
        if self.request.rate is not None:
            return self.request.rate
        return self.in_flight / self.e2e

    @property
    def tokens_per_second(self) -> Any:
        """New tokens of all replicas."""
        return self.requests_per_second * self.request.output

    @property
    def fits(self) -> bool:
        room = self.capacity.running
        return bool((room >= 1).all() if hasattr(room, "all") else room >= 1)

    @property
    def max_concurrency(self) -> Any:
        """Whole sequences, prompt and answer, that the caches of all replicas hold at once."""
        return self._everywhere(self.capacity.full)

    def _everywhere(self, each: Any) -> Any:
        return _whole(self.replicas * self.replica.attention_dp * most((each // 1, 0)))

    @property
    def factors(self) -> Factors:
        return factors_of(self.request, self.replica)

    @property
    def interval(self) -> dict[str, list[Any]]:
        """Within which nine in ten measured times are."""
        by = self.factors
        return {"ttft": [self.ttft / by.ttft, self.ttft * by.ttft], "tpot": [self.tpot / by.tpot, self.tpot * by.tpot]}

    @property
    def saturated(self) -> str:
        """What keeps more requests from being served at once, or faster: the cache's room, the prompts, or what bounds a step."""
        s = self.steady
        if self.pools is not None and float(_mean(s.busy)) > 0.95:
            return "the prefill pool"
        if float(_mean(s.running)) > 0.999 * float(_mean(self.load.room)) / self.replica.pp:
            return "room for the cache"
        return "prompts" if float(_mean(s.busy)) >= 1 else self.decode.bound

    @property
    def decode(self) -> Phase:
        """A pass that only decodes."""
        r = self.request
        return time_of(self.replica, Pass(_one(self.steady.running), _one(r.prompt + r.output / 2), width=1 + r.draft))

    @property
    def prefill(self) -> Phase:
        """A pass over one chunk alone."""
        chunk = min(float(_one(self.request.prompt)), float(self.request.chunk))
        return time_of(self.replica, Pass(0.0, float(_one(self.request.prompt)), chunk, 0.0, 1.0))

    @property
    def usd_per_million_output_tokens(self) -> Any:
        """All that a server costs, charged to what it writes."""
        return None if self.usd_per_hour is None else self.usd_per_hour.likely / 3600 / self.tokens_per_second * 1e6

    def to_dict(self) -> dict[str, Any]:
        r, s, cap = self.request, self.steady, self.capacity
        devices = self.devices
        single = not hasattr(self.value, "ndim") or self.value.ndim == 0
        result: dict[str, Any] = {
            "ttft": self.ttft,
            "tpot": self.tpot,
            "e2e": self.e2e,
            "ttft_benchmark": s.ttft_benchmark,
            "percentiles": percentiles(r, s),
            "interval": self.interval,
            "tokens_per_second": self.tokens_per_second,
            "tokens_per_second_per_device": self.tokens_per_second / devices,
            "requests_per_second": self.requests_per_second,
            "tokens_per_second_of_one_user": 1 / self.tpot,
            "prompt_tokens_per_second": self.requests_per_second * r.prompt,
            "running": s.running * self.replica.groups * self.replicas,
            "in_flight": self.in_flight,
            "max_concurrency": self.max_concurrency,
            "max_running": self._everywhere(cap.running),
            "kv_cache_tokens": _whole(most((cap.tokens // 1, 0))),
            "prompt_share_of_passes": least((1.0, s.busy)),
            "queue_time": s.wait,
            "pass_times": {"decode": s.decode, "mixed": s.mixed, "prompt": s.alone},
            "time_to_first_token": self.ttft,
            "time_per_output_token": self.tpot,
            "request_time": self.e2e,
            "prefill_time": s.alone * s.chunks,
            "decode_step_time_first": s.first,
            "decode_step_time_last": s.last,
            "decode_time": (r.output - 1) * self.tpot,
            "kv_cache_bytes": self._cached(),
            "state_bytes": self._state(),
            "max_batch": self._everywhere(cap.full) // self.replicas,
            "max_users": self.max_concurrency,
            "fits": self.fits,
            "memory": cap.to_dict(),
            "calibrated": self.factors.measured,
            "spread": None,
            "usd_per_hour": None if self.usd_per_hour is None else self.usd_per_hour.likely,
            "usd_per_million_output_tokens": self.usd_per_million_output_tokens,
            "notes": self.notes,
        }
        if self.pools is not None:
            result["pools"] = {name: pool.to_dict() for name, pool in self.pools._asdict().items()}
        if single:
            decode, prefill = self.decode, self.prefill
            result |= {"saturated_by": self.saturated, "bound": decode.bound, "decode_bound": decode.bound, "prefill_bound": prefill.bound}
            result |= {"operations": {"prefill": prefill.to_list(), "decode": decode.to_list()}}
            result |= {"parts": [part.to_dict() for part in self.parts]}
        found: dict[str, Any] = plain(result)
        return found

    @property
    def parts(self) -> tuple[Node[Any], Node[Any]]:
        return self.prefill.breakdown("prefill"), self.decode.breakdown("decode step")

    def _cached(self) -> Any:
        r = self.request
        one = cache_of(self.replica.work, r.prompt + r.output / 2, whole=self.replica.engine.windows == "whole")
        return self.steady.running * one / self.replica.pp

    def _state(self) -> Any:
        return self.steady.running * state(self.replica.work.shape, 1, width=self.replica.work.width) / self.replica.pp


def served(model: ModelSpec, device: DeviceSpec, asked: LoadOptions) -> Loaded:
    """A server under load.

    Raises GptcalcError for contradictory inputs, models that do not fit, and rates beyond saturation (with the largest that holds).

    >>> from gptcalc.spec.files import load_model
    >>> from gptcalc.spec.device import load_device
    >>> from gptcalc.spec.serving import LoadOptions
    >>> asked = LoadOptions(server="vllm", concurrency=16, prompt=1024, output=256)
    >>> 0.008 < served(load_model("llama3.1-8b"), load_device("h100"), asked).tpot < 0.012
    True
    """
    from gptcalc.money import cost_of
    from gptcalc.ranges import exactly

    if asked.prefill_pool is not None or asked.decode_pool is not None:
        return _pooled(model, device, asked)
    d = demand_of(model, device, asked)
    replica = replica_of(d)
    capacity = capacity_of(replica, d.prompt, d.output, shared=d.shared * d.hit)
    load = _load(d, replica, capacity)
    load = load._replace(concurrency=_in_flight(d, replica, load))
    found = cost_of(exactly(float(d.layout.total)), d.device, price=price_of(device, asked))
    return Loaded(d, replica, capacity, load, steady_of(replica, load), found.cost, _notes(d, replica))


def _load(d: Demand, replica: Worker, capacity: Capacity) -> Load:
    return Load(1.0, d.prompt, d.output, _room(replica.engine, capacity), d.alike, d.shared * d.hit, d.draft, d.accepted)


def _pooled(model: ModelSpec, device: DeviceSpec, asked: LoadOptions) -> Loaded:
    """A pool that reads prompts and one that decodes."""
    from gptcalc.money import cost_of
    from gptcalc.ranges import exactly
    from gptcalc.serve.pools import pools_of, replicas_of, steady_pools

    given = [name for name in ("tp", "pp", "ep", "attention_dp") if getattr(asked, name) is not None]
    if given:
        raise GptcalcError(f"{given[0]} and pools contradict: each pool has its own", hint="write 4x(tp 4)")
    pools = pools_of(model, device, asked.prefill_pool, asked.decode_pool, asked.count)
    d = demand_of(model, pools.decode.device, asked._replace(count=None))
    reader, writer = replicas_of(d, pools)
    for pool, replica in zip(pools, (reader, writer), strict=True):
        if float(_mean(capacity_of(replica, d.prompt, d.output).cache)) <= 0:
            each = f"{pool.each.total} × {pool.device.name}"
            raise NegativeAnswer(f"does not fit: a worker of {each} has no room for a cache", hint="more devices a worker")
    capacity = capacity_of(writer, d.prompt, d.output, shared=d.shared * d.hit)
    load = _load(d, writer, capacity)
    most_ = load.room * writer.attention_dp * pools.decode.workers
    load = load._replace(concurrency=most_ if d.concurrency is None else d.concurrency)
    steady, flight = steady_pools(reader, writer, pools, load, d.rate)
    usd = [cost_of(exactly(float(pool.devices)), pool.device, price=price_of(pool.device, asked)).cost for pool in pools]
    cost = exactly(sum(one.likely for one in usd if one)) if all(usd) else None
    notes = ["a cache goes from pool to pool through the network cards of the devices that hold it"]
    d = d._replace(layout=pools.decode.each._replace(total=pools.decode.devices))
    return Loaded(d, writer, capacity, load._replace(concurrency=flight), steady, cost, [*_notes(d, writer), *notes], pools)


def _room(engine: Engine, capacity: Capacity) -> Any:
    return most((least((capacity.running, float(engine.most_sequences))), 1.0))


def _in_flight(d: Demand, replica: Worker, load: Load) -> Any:
    """Requests in flight in one replica."""
    if d.rate is not None:
        if any(hasattr(size, "dtype") for size in (d.prompt, d.output)):
            raise GptcalcError("a rate is about one prompt and one output, not arrays of them")
        return at_rate(replica, load, d.rate / d.layout.replicas, d.layout.replicas)
    if d.concurrency is None:
        return load.room * replica.attention_dp
    return most((d.concurrency / d.layout.replicas, 1.0))


def at_rate(replica: Worker, load: Load, rate: float, replicas: int = 1) -> Any:
    """How many requests are in flight where so many arrive a second.

    Raises GptcalcError for a rate beyond saturation, with the largest that holds.
    """
    top = load.room * replica.attention_dp
    flow = throughput(replica, load, top)
    if rate > float(_mean(flow)):
        most_ = float(_mean(flow)) * replicas
        raise NegativeAnswer(
            f"{rate * replicas:g} requests a second are beyond saturation: {most_:.3g} a second is the largest rate that holds",
            hint=f"--rate {most_ * 0.9:.2g} or more replicas (--count)",
        )
    import numpy as np

    low, high = 0.0, float(top)
    for _ in range(GRIDS):
        grid = np.linspace(low, high, GRID)
        at = int(np.searchsorted(throughput(replica, load, grid), rate))
        low, high = float(grid[max(at - 1, 0)]), float(grid[min(at, GRID - 1)])
    return high


def throughput(replica: Worker, load: Load, concurrency: Any) -> Any:
    """Requests a second of a replica that has so many in flight; less than one in flight is one for part of the time."""
    return concurrency / steady_of(replica, load._replace(concurrency=most((concurrency, 1.0)))).e2e(load.output)


def _notes(d: Demand, replica: Worker) -> list[str]:
    work = replica.work
    notes = [note for note in work.notes if "at the rate of gpt-fast" not in note]
    if d.server.engine is None:
        notes.append(f"{d.server.title} is no server: its scheduler takes no time here")
    if d.layout.attention_dp > 1:
        notes.append("groups of attention data parallelism are taken to have as much to do as each other")
    return notes


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) else value


def _mean(value: Any) -> Any:
    return value.mean() if hasattr(value, "mean") else value


def _one(value: Any) -> Any:
    return float(_mean(value))
