"""The steady state of a server under load, in closed form: N requests in flight, each of P tokens of prompt and O new ones.

n = min(N, room) of them run. c = min(P, M) tokens are a chunk, j = P/c chunks a prompt. A pass takes g where it only decodes, x where a
chunk goes with it, a where the chunk is alone. All may be arrays, element by element. Seconds.

Checked against an event simulation of the loop (tests/test_serving_load.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.serve.replica import Pass, Worker, seconds
from gptcalc.symbols import pick
from gptcalc.time.kernels import ceil, least, most

if TYPE_CHECKING:
    from gptcalc.spec.server import Engine

ROUNDS = 10
"""Requests of a benchmark for each one in flight: what aiconfigurator's and vLLM's runs average over."""

TOGETHER = 2.5
"""How often one's own prompt counts in the queue where all requests are alike: neighbours stay together, so that half a pass of those
before is under way and one's own is shared with those behind. Fitted on the same runs: 1.7 to 3.3 from 8 to 64 in flight, whatever the
lengths and the server."""


class Load(NamedTuple):
    """`concurrency` requests in flight in one replica; `room`: how many sequences of one of its groups fit. `alike`: 1 where all requests
    have the same lengths, so that a closed loop runs in step, 0 where lengths are drawn. `cached` tokens of a prompt need no reading;
    `draft` tokens are guessed a step. `chunk`: the most tokens of a pass, where it is not the engine's."""

    concurrency: Any
    prompt: Any
    output: Any
    room: Any
    alike: float = 0.0
    cached: Any = 0.0
    draft: int = 0
    accepted: float = 0.0
    chunk: Any = None

    @property
    def per_step(self) -> float:
        """Tokens that a step makes of a sequence: one, and the drafted ones up to the first that is wrong (Leviathan et al. 2023,
        arXiv:2211.17192, equation 1)."""
        return float(sum(self.accepted**i for i in range(self.draft + 1)))


class Steady(NamedTuple):
    """`tpot` and `ttft` are means; `ttft_benchmark` what a benchmark prints that starts all requests at once. `running` sequences of a
    group; `busy`: chunks of prompts in a pass; `load` of what reads prompts; `wait` in its queue; `added` by a prompt to others' passes."""

    tpot: Any
    ttft: Any
    ttft_benchmark: Any
    running: Any
    busy: Any
    load: Any
    wait: Any
    added: Any
    decode: Any
    mixed: Any
    alone: Any
    chunks: Any
    first: Any
    last: Any

    def e2e(self, output: Any) -> Any:
        """Of a whole request."""
        return self.ttft + (output - 1) * self.tpot


class Times(NamedTuple):
    """Seconds of the three kinds of pass, and the chunks of a prompt."""

    decode: Any
    mixed: Any
    alone: Any
    chunks: Any
    first: Any
    last: Any


def times_of(replica: Worker, running: Any, load: Load, groups: int | None = None, device: Any = None) -> Times:
    """The three kinds of pass of one group with so many running sequences, whose seconds on the device may be known."""
    one, chunks = passes_of(replica, running, load, groups)
    found = seconds(replica, one, device)
    decode, mixed, alone, first, last = (float(part) if part.ndim == 0 else part for part in found)
    return Times(decode, mixed, alone, float(chunks) if chunks.ndim == 0 else chunks, first, last)


def passes_of(replica: Worker, running: Any, load: Load, groups: int | None = None) -> tuple[Pass, Any]:
    """The passes of `Times`, one after another along the first axis, and the chunks of a prompt; a pass that decodes is of so many tokens
    as it makes."""
    import numpy as np

    engine = replica.engine
    n, p, o, old = np.broadcast_arrays(*(np.asarray(one, float) for one in (running, load.prompt, load.output, load.cached)))
    read = np.maximum(p - old, 1.0)
    chunk = np.minimum(read, engine.chunk if load.chunk is None else load.chunk)
    chunks = read / chunk
    before = old + (chunks - 1) / 2 * chunk
    context = p + o / 2
    zero, ones = np.zeros_like(chunk), np.ones_like(chunk)
    others, end = np.maximum(n - 1, 0.0), 1 / chunks
    rows = (  # decoding, context, chunk, before, ends
        (n, context, zero, zero, zero),
        (others, context, chunk, before, end),
        (zero, context, chunk, before, end),
        (n, p + 1, zero, zero, zero),
        (n, p + np.maximum(o - 1, ones), zero, zero, zero),
    )
    decoding, contexts, chunks_of, befores, ends = (np.stack(column) for column in zip(*rows, strict=True))
    return Pass(decoding, contexts, chunks_of, befores, ends, 1 + load.draft, groups), chunks


def running_of(replica: Worker, load: Load) -> tuple[Any, Any]:
    """Sequences in flight in one group, and how many of them run."""
    each = most((load.concurrency / replica.groups, 1.0 * (load.concurrency > 0)))
    return each, most((least((each, load.room / replica.pp)), 1.0))


def steady_of(replica: Worker, load: Load, device: Any = None) -> Steady:
    """Means of a closed loop that keeps N requests in flight; `device`: seconds of its passes there, where they are known."""
    engine = replica.engine
    each, n = running_of(replica, load)
    t = times_of(replica, n, load, device=device)
    g, x, a, j = t.decode, t.mixed, t.alone, t.chunks
    share = most((n - 1, 0.0)) * j / (load.output / load.per_step)
    if engine.policy == "mixed":
        tpot = pick(share <= 1, (1 - share) * g + share * x, most((g + share * (x - g), x)))
        more, own = j * (x - g), j * x
    else:
        tpot = g + share * a * (0.5 if load.alike else 1.0)  # in step one waits for half of the others' prompts
        more, own = j * a, j * a
    tpot = tpot / load.per_step
    rho = least((more * n / (load.output * tpot + own), 0.999))
    free = own, least((rho * more / (2 * (1 - rho)), n * more / 2)), most((n - 1, 0.0)) * more / 2
    step = _in_step(engine, load, n, own, j * a, free)
    base = engine.request + g + (each - n) / n * load.output * tpot
    ttft, benchmark = (
        _between(load.alike, *(base + mine + wait + (first - wait) * rounds for mine, wait, first in (step, free)))
        for rounds in (0.0, 1 / ROUNDS)
    )
    wait = most((ttft - base - own, 0.0))
    return Steady(tpot, ttft, benchmark, n, share, rho, wait, more, g, x, a, j, t.first, t.last)


def _in_step(engine: Engine, load: Load, n: Any, own: Any, alone: Any, free: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    """One's own prompt, the wait for others' and that of the first round, where a loop of equal requests runs in step: neighbours are read
    together, and where prompts go first all of them at once."""
    if engine.policy == "mixed":
        return own * least((TOGETHER, n)), free[1], free[2]
    together = most((1.0, engine.chunk // most((load.prompt - load.cached, 1.0))))
    wait = (ceil(n, together) + 1) / 2 * least((together, n)) * alone
    return 0.0, wait, wait


def _between(weight: float, one: Any, other: Any) -> Any:
    return one**weight * other ** (1 - weight) if 0 < weight < 1 else one if weight else other
