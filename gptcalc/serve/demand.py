"""Reading what is asked of a server under load: its code, how its devices share the model, and what comes to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.footprint.serving import STORED, cache_precision, group_of
from gptcalc.serve.replica import Worker, check_layout
from gptcalc.serve.request import check_decoder, group_named, lengths_of, precision_named, sizes_of
from gptcalc.serve.work import work_of
from gptcalc.spec.catalogue import is_path
from gptcalc.spec.options import LARGEST, check_shapes, check_word, float_array, whole_number
from gptcalc.spec.reading import quoted
from gptcalc.spec.server import Engine, engine_names, load_server, server_names
from gptcalc.spec.shape import shape_of

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.server import ServerSpec
    from gptcalc.spec.serving import LoadOptions

SERVER = "vllm"
MOST = "max"
LENGTHS = {"drawn": 0.0, "alike": 1.0}
MOST_LOADS = 100_000
"""Places of arrays of loads."""

UNSAID = 0.5
"""How alike the requests of a closed loop are taken to be where nothing is said: the mean time to the first token is the geometric mean of
that of equal lengths and that of lengths drawn from [0.8, 1], none of the two being likelier."""


class Devices(NamedTuple):
    """`total` devices are `replicas` groups of tp times pp times attention_dp."""

    tp: int
    pp: int
    ep: int
    attention_dp: int
    total: int

    @property
    def replicas(self) -> int:
        return self.total // (self.tp * self.pp * self.attention_dp)


class Demand(NamedTuple):
    """`concurrency` requests in flight or `rate` a second over all replicas; both None: as many as there is room for. `shared` tokens of a
    prompt are in the cache already for a `hit` share of requests; `draft` tokens are guessed a step, each right with `accepted`."""

    model: ModelSpec
    device: DeviceSpec
    server: ServerSpec
    layout: Devices
    precision: str
    kv_precision: str
    group_size: int | None
    prompt: Any
    output: Any
    concurrency: Any
    rate: float | None
    memory_share: float
    chunk: int
    lengths: str | None
    shared: int
    hit: float
    draft: int
    accepted: float

    @property
    def alike(self) -> float:
        """1 where a loop runs in step; requests that arrive by chance never do."""
        if self.lengths is not None:
            return LENGTHS[self.lengths]
        return UNSAID if self.rate is None else 0.0

    @property
    def inputs(self) -> dict[str, Any]:
        """As JSON has them, defaults included."""
        from gptcalc.node import plain

        fields = {name: plain(value) for name, value in self._asdict().items() if name not in ("model", "device", "server", "layout")}
        fields |= {"device": self.device.name, "server": self.server.name, "server_version": self.server.version}
        fields |= {**self.layout._asdict(), "count": self.layout.total, "replicas": self.layout.replicas}
        fields["group_size"] = group_of(self.precision, self.group_size)
        fields["concurrency"] = MOST if self.concurrency is None and self.rate is None else fields["concurrency"]
        return fields


def demand_of(model: ModelSpec, device: DeviceSpec, asked: LoadOptions) -> Demand:
    """The question with its defaults.

    Raises GptcalcError for numbers that are none, divisions that leave a rest, and options that contradict each other.
    """
    check_decoder(model)
    code = load_server(_server_named(asked.server, asked.runtime))
    engine = code.engine or Engine()
    if asked.concurrency is not None and asked.rate is not None:
        raise GptcalcError("a concurrency and a rate contradict: requests are kept in flight, or they arrive", hint="give one of the two")
    prompt, output = lengths_of(model, asked.prompt, asked.output)
    check_shapes(MOST_LOADS, concurrency=asked.concurrency, prompt=prompt, output=output)
    if asked.lengths is not None:
        check_word("lengths", asked.lengths, LENGTHS)
    shared = 0 if asked.shared_prefix is None else whole_number("shared_prefix", asked.shared_prefix)
    shortest = prompt if isinstance(prompt, int) else int(prompt.min())
    if shared > shortest:
        raise GptcalcError(f"a shared prefix of {shared:,} tokens is longer than the prompt of {shortest:,}")
    precision = precision_of(model, device, asked.precision)
    layout = layout_of(model, asked.count, asked.tp, asked.pp, asked.ep, asked.attention_dp)
    group_size = group_named(precision, asked.group_size)
    kv = asked.kv_precision or (engine.cache.get(precision) if precision in engine.cache else None)
    share = engine.memory_share if asked.memory_share is None else _share("memory_share", asked.memory_share)
    return Demand(
        model,
        device,
        code,
        layout,
        precision,
        cache_precision(precision, kv),
        group_size,
        prompt,
        output,
        _in_flight(asked, layout),
        None if asked.rate is None else _positive("rate", asked.rate),
        share,
        engine.chunk if asked.chunk is None else whole_number("chunk", asked.chunk),
        asked.lengths,
        shared,
        _hits(asked.hit_share, shared),
        *_speculation(asked.draft, asked.accepted),
    )


def _server_named(server: Any, runtime: Any) -> str:
    """Whose code serves: a server's, or that of one batch."""
    if runtime is not None:
        if server is not None:
            raise GptcalcError("a runtime and a server contradict: a server has its own code", hint="leave out --runtime")
        check_word("inference runtime named", runtime, server_names())
        return str(runtime)
    if server is not None and not (isinstance(server, str) and is_path(server)):
        check_word("server named", server, (*engine_names(), *server_names()))
    return SERVER if server is None else str(server)


def _in_flight(asked: LoadOptions, layout: Devices) -> Any:
    """Requests in flight over all replicas; None where a rate, or the room for them, says how many."""
    if asked.batch is None:
        return _concurrency(asked.concurrency, asked.rate)
    if asked.concurrency is not None or asked.rate is not None:
        raise GptcalcError("batch is of a replica that is never idle: under load give concurrency or rate alone", hint="leave out --batch")
    return _concurrency(asked.batch, None) * layout.replicas


def _hits(hit_share: Any, shared: int) -> float:
    if hit_share is None:
        return 1.0 if shared else 0.0
    if not shared:
        raise GptcalcError("a share of hits means nothing without a shared prefix", hint="give --shared-prefix too")
    return _share("hit_share", hit_share, none=True)


def layout_of(model: ModelSpec, count: Any, tp: Any, pp: Any, ep: Any, attention_dp: Any) -> Devices:
    """How many devices share what: all of `count` in one tensor-parallel group where nothing else is said."""
    dp, parts = (1 if one is None else whole_number(name, one) for name, one in (("attention_dp", attention_dp), ("ep", ep)))
    tp, pp, count = sizes_of(model, tp, pp, count, dp)
    check_layout(shape_of(model), tp, parts, dp)
    return Devices(tp, pp, parts, dp, count)


def precision_of(model: ModelSpec, device: DeviceSpec, precision: str | None) -> str:
    """The precision of the weights; a model that is published in fp8 or in four bits is served from its own file."""
    named = precision_named(model, device, precision)
    own = model.quantization
    if own is None or precision is None:
        return named
    return STORED if {"fp8": 8, "fp4": 4}.get(precision) == int(own.bits) else named


def replica_of(d: Demand) -> Worker:
    """One of the replicas that answer."""
    return replica_on(d.model, d.device, d.server, d.layout, d.precision, d.kv_precision, d.group_size, chunk=d.chunk, share=d.memory_share)


def replica_on(
    model: ModelSpec,
    device: DeviceSpec,
    server: ServerSpec,
    layout: Devices,
    precision: str,
    kv_precision: str,
    group_size: int | None = None,
    *,
    chunk: int,
    share: float,
) -> Worker:
    """One replica of a server's code on so many devices."""
    tp, dp = layout.tp, layout.attention_dp
    work = work_of(
        model,
        device,
        precision=precision,
        kv_precision=kv_precision,
        runtime=server.path or server.name,
        tp=tp,
        group_size=group_size,
        expert_tp=tp * dp // layout.ep,
    )
    engine = (server.engine or Engine()).model_copy(update={"chunk": chunk, "memory_share": share})
    return Worker(work, engine, tp, layout.pp, layout.ep, dp, work.network if tp * dp * layout.pp > 1 else None)


def _concurrency(value: Any, rate: Any) -> Any:
    if value is None:
        return None if rate is not None else 1
    if isinstance(value, str):
        if value.strip().lower() == MOST:
            return None
        if not value.strip().isdigit():
            raise GptcalcError(f"concurrency {quoted(value)} is no number of requests", hint="give a whole number, or max")
        value = int(value)
    if isinstance(value, list) or hasattr(value, "dtype"):
        array = float_array("concurrency", value)
        if not array.size or not ((array >= 1) & (array <= LARGEST)).all():
            raise GptcalcError(f"concurrency must be a number from 1 to {LARGEST:,} in every place of the array")
        return array
    return whole_number("concurrency", value)


def _positive(name: str, value: Any) -> float:
    array = float_array(name, value)
    if array.ndim or not 0 < float(array) < float("inf"):
        raise GptcalcError(f"{name} must be a number above zero, not {quoted(value)}")
    return float(array)


def _share(name: str, value: Any, *, none: bool = False) -> float:
    array = float_array(name, value)
    if array.ndim or not (0 <= float(array) <= 1) or (float(array) == 0 and not none):
        raise GptcalcError(f"{name} must be a share up to 1, not {quoted(value)}")
    return float(array)


def _speculation(draft: Any, accepted: Any) -> tuple[int, float]:
    if draft is None:
        if accepted is not None:
            raise GptcalcError("an acceptance means nothing without drafted tokens", hint="give --draft too")
        return 0, 0.0
    if accepted is None:
        raise GptcalcError("how many drafted tokens are right decides what they are worth", hint="give --accepted 0.8 or what you measured")
    return whole_number("draft", draft, most=64), _share("accepted", accepted, none=True)
