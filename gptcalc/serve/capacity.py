"""What a server's replica has room for: the share of a device's memory that it takes, less weights, one pass and its own reserve."""

from __future__ import annotations

from typing import Any, NamedTuple

from gptcalc.footprint.serving import kv_cache, state
from gptcalc.serve.linear import matrix_bytes
from gptcalc.serve.replica import Worker
from gptcalc.serve.work import Work
from gptcalc.spec.shape import Shape
from gptcalc.symbols import product
from gptcalc.table.operations import operations
from gptcalc.time.kernels import ceil


class Capacity(NamedTuple):
    """Bytes on the fullest device. `tokens` fit in one group's cache, `full` sequences of prompt and answer, `running` at once."""

    memory: int
    taken: float
    weights: float
    activations: float
    reserve: float
    cache: float
    per_token: float
    tokens: Any
    full: Any
    running: Any

    def to_dict(self) -> dict[str, Any]:
        from gptcalc.node import plain

        fields: dict[str, Any] = plain({name: value for name, value in self._asdict().items() if name not in ("full", "running")})
        return fields


def weights_of(replica: Worker) -> float:
    """Bytes of the weights on the fullest device: its stage's layers, and the embedding or the head."""
    layers = outside = 0.0
    work = replica.work
    ends = {"embedding": 0.0, "head": 0.0}
    for row in operations(work.shape, 1, 1, 1):
        size = sum(2.0 * product((row.runs, *shape)) for name, shape in row.weights if not (row.kind == "matmul" and name == "weight"))
        for runs, quantized in work.stored_runs(row) if row.kind == "matmul" and row.weights else []:
            experts = row.weights[0][1][0] / replica.ep if len(row.weights[0][1]) == 3 else 1
            size += runs * experts * matrix_bytes(work, row, runs, quantized=quantized)
        if row.path.startswith("block"):
            layers += size
        elif (end := row.path.partition("/")[0]) in ends:
            ends[end] += size
            if replica.pp > 1 and row.path == "embedding/token" and work.shape.switches.tied:
                ends["head"] += size  # a copy on the last stage
        else:
            outside += size
    if replica.pp == 1:
        return float(layers + sum(ends.values()) + outside)
    n_layer = sum(kind.n_layer for _, kind in work.shape.blocks)
    return float(layers * ceil(n_layer, replica.pp) / n_layer + max(ends.values()) + outside)


def widest(s: Shape[Any]) -> Any:
    """Channels of a token that a block holds at once."""
    inner = s.n_expert_per_token * s.d_expert + s.d_shared_expert if s.switches.experts else s.d_ff
    return max((3 if s.switches.gated else 2) * inner, s.d_attention + s.d_kv + s.d_value + s.d_mixed)


def cache_of(work: Work, tokens: Any, *, whole: bool, page: int = 1) -> Any:
    """Bytes of one sequence's cache of so many tokens on one rank, over all layers."""
    return kv_cache(work.shape, 1, tokens, kv_bits=work.kv_bits, block=page, windows=not whole)


def kept_of(work: Work, tokens: Any, *, whole: bool) -> Any:
    """`cache_of` with the state of recurrent layers."""
    return cache_of(work, tokens, whole=whole) + state(work.shape, 1, width=work.width)


def capacity_of(replica: Worker, prompt: Any, output: Any, *, shared: float = 0.0) -> Capacity:
    """How many sequences of P tokens of prompt and O new ones run at once in one group.

    A sequence that grows page by page is O/2 tokens into its answer on average; an engine that reserves has room for all of it.
    `shared` tokens stand in it once for all; the state of recurrent layers is each sequence's own.

    Source: vLLM, gpu_worker.py, determine_available_memory: the share, less the peak of a profiling pass, is the cache.
    """
    engine, work = replica.engine, replica.work
    total = work.device.memory
    weights = weights_of(replica)
    activations = float(work.width * engine.chunk * (2 * work.shape.d_model + max(widest(kind) for _, kind in work.shape.blocks)))
    part = engine.memory_share
    taken = part * total if engine.share_of == "memory" else total - (1 - part) * (total - weights - activations)
    cache = taken - weights - activations - engine.reserve
    whole = engine.windows == "whole"
    length = prompt + output
    grown = length if engine.reserves == "whole" else prompt + output / 2
    common = cache_of(work, shared, whole=whole) / replica.pp if shared else 0.0  # stands once
    full, running = ((cache - common) / (kept_of(work, tokens - shared, whole=whole) / replica.pp) for tokens in (length, grown))
    per_token = cache_of(work, 1, whole=True) / replica.pp
    tokens = cache / per_token if per_token else full * length
    return Capacity(total, taken, weights, activations, engine.reserve, cache, per_token, tokens, full, running)
