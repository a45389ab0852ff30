"""One replica of a server: how its devices share a model, and the kernels of one of its passes.

A pass decodes one token of each of b sequences and reads a chunk of c tokens of prompts; every matmul sees b + c rows, its weights once.
t tensor-parallel ranks share a sequence's heads; D groups of them (attention data parallel) have sequences of their own and share the
experts, of which g parts (expert parallel) hold E/g each. b and c are those of one group; they may be arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.serve.attend import cached_elements, decode_attention, prefill_attention
from gptcalc.serve.forward import REDUCED, Launch, elements_of, fused, name_of, passes
from gptcalc.serve.grouped import experts, projection
from gptcalc.serve.linear import a_pass, matrix_bytes
from gptcalc.serve.phase import Phase, timed
from gptcalc.serve.recur import convolved, recurrence, rows_of
from gptcalc.serve.work import Work
from gptcalc.spec.legality import near_divisors
from gptcalc.symbols import pick, product
from gptcalc.table.operation import Operation
from gptcalc.table.operations import operations
from gptcalc.time.collectives import Network, collective, one_shot, send
from gptcalc.time.kernels import Kernel, least, most

if TYPE_CHECKING:
    from gptcalc.spec.server import Engine

EXCHANGE = 12e-6
"""Seconds a layer, for each other rank, that starting the exchange of attention data parallelism takes. Fitted on DeepSeek-V3's
decode pools."""


class Worker(NamedTuple):
    """One replica; `work` is that of one of its ranks."""

    work: Work
    engine: Engine
    tp: int
    pp: int
    ep: int
    attention_dp: int
    network: Network | None

    @property
    def devices(self) -> int:
        return self.tp * self.pp * self.attention_dp

    @property
    def groups(self) -> int:
        """Groups of sequences that never wait for each other's tokens: of attention data parallelism, and of the pipeline."""
        return self.attention_dp * self.pp


class Pass(NamedTuple):
    """What one pass does in one group: `decoding` sequences over `context` positions each; `chunk` tokens of prompts, over the `before`
    ones that were read already; `ends` prompts end in it. `width` tokens of a sequence are decoded at once: one and the drafted ones.
    `groups` do so at once: all, where it is not said."""

    decoding: Any
    context: Any
    chunk: Any = 0.0
    before: Any = 0.0
    ends: Any = 0.0
    width: int = 1
    groups: int | None = None

    @property
    def tokens(self) -> Any:
        return self.decoding * self.width + self.chunk


def time_of(replica: Worker, one: Pass) -> Phase:
    """Seconds of a pass through all stages, the processor's own time not among them."""
    return timed(replica.work, kernels_of(replica, one))


def on_device(replica: Worker, one: Pass) -> Any:
    """Seconds of a pass: kernels and messages between stages, the processor's time not among them."""
    shape = replica.work.shape
    device = time_of(replica, one).seconds
    if one.width > 1:
        device = device + (one.width - 1) * time_of(drafting(replica), one._replace(width=1, chunk=0.0 * one.chunk, ends=0.0)).seconds
    if replica.pp > 1:
        assert replica.network is not None
        device = device + (replica.pp - 1) * send(replica.network, replica.work.width * one.tokens * shape.d_model, replica.tp)
    return device


def seconds(replica: Worker, one: Pass, device: Any = None) -> Any:
    """Seconds of a pass from one token to the next: those of the device, which may be known, and the processor's (nothing hides it)."""
    engine, shape = replica.engine, replica.work.shape
    device = on_device(replica, one) if device is None else device
    layers = sum(kind.n_layer for _, kind in shape.blocks)
    eager = pick(one.chunk > 0, engine.layer * layers, 0.0) if replica.work.server.graph else engine.layer * layers
    return most((device + replica.pp * engine.step + engine.sequence * one.decoding * replica.groups, eager))


def drafting(replica: Worker) -> Worker:
    """What guesses tokens: one layer like the last, and the head (DeepSeek-AI 2024, arXiv:2412.19437, section 2.2; Li et al. 2024, EAGLE,
    arXiv:2401.15077)."""
    shape = replica.work.shape
    kinds = tuple((name, kind._replace(n_layer=1)) for name, kind in shape.kinds[-1:])
    return replica._replace(work=replica.work._replace(shape=shape._replace(n_layer=1, kinds=kinds)))


def kernels_of(replica: Worker, one: Pass) -> list[Launch]:
    """The kernels of one pass on one rank, layer by layer. The head sees the last token of each sequence only."""
    work = replica.work
    rows = operations(work.shape, one.tokens, 1, 1, "causal")
    heads = {row.path: row for row in operations(work.shape, one.decoding * one.width + one.ends, 1, 1)}
    rows = [heads[row.path] if row.path.startswith(("final_norm", "head/")) else row for row in rows]
    found: list[Launch] = []
    for group in fused(work, rows):
        first = group[0]
        path = first.path if len(group) == 1 else f"{first.path.rpartition('/')[0]}/{name_of(work, first)}"
        for runs, quantized in work.stored_runs(first):
            found += [launch.at(_place(path, launch), runs) for launch in _of(replica, one, group, runs, quantized)]
    return found


def _place(path: str, launch: Launch) -> str:
    path = path.replace("attention/scores", "attention/core")
    return f"{path.rpartition('/')[0]}/{launch.kernel.path}" if launch.kernel.path else path


def _of(replica: Worker, one: Pass, group: list[Operation[Any]], runs: Any, quantized: Any) -> Iterator[Launch]:
    row, work = group[0], replica.work
    if row.kind == "matmul":
        yield from _linear(replica, one, group, runs, quantized)
    elif row.kind == "scores":
        yield from _attention(work, one, row)
    elif row.kind == "recurrence":
        yield from _recurrence(work, one, row)
    elif row.kind == "convolution":
        size = convolved(work, row, one.tokens)
        yield Launch(a_pass(work, "pass", size), product(row.matmul), size)
    elif row.kind != "mix":
        arithmetic = sum((product(term) for term in row.other), 0)
        for launch in passes(work, row.kind, {"n": elements_of(row, one.tokens), "c": work.width}, "decode"):
            yield launch._replace(flops=arithmetic)
            arithmetic = 0


def _recurrence(work: Work, one: Pass, row: Operation[Any]) -> Iterator[Launch]:
    """Decoding sequences through their states, and the chunk of a prompt."""
    if not _none(one.decoding):
        for own in rows_of(work, row.path, one.decoding, one.width, decode=True):
            kernel, flops, moved = recurrence(work, own, one.decoding, one.width, decode=True)
            yield Launch(kernel._replace(fixed=kernel.fixed * pick(one.decoding > 0, 1.0, 0.0)), flops, moved)
    if not _none(one.chunk):
        for own in rows_of(work, row.path, 1, one.chunk, decode=False):
            kernel, flops, moved = recurrence(work, own, 1, one.chunk, decode=False)
            there = pick(one.chunk > 0, 1.0, 0.0)
            yield Launch(kernel._replace(path="prompts", memory=kernel.memory * there, fixed=kernel.fixed * there), flops, moved * there)


def _attention(work: Work, one: Pass, row: Operation[Any]) -> Iterator[Launch]:
    """Decoding sequences over their caches, and the chunk's queries over its own prompt."""
    name = row.path.split("/")[0]
    s = dict(work.shape.blocks)[name]
    half, share = cached_elements(s) / 2, 1 if s.switches.latent else s.n_head // s.n_kv_head
    seen = one.decoding * seen_by_one(s, one.context) + one.chunk
    letters = {"n": one.tokens * half, "s": seen * half, "c": work.kv_bits / 8, "g": share}
    for launch in passes(work, "cache", letters, "decode", {"grouped"} if share > 1 else ()):
        yield launch._replace(kernel=launch.kernel._replace(path="cache"))
    if not _none(one.decoding):
        kernel, flops, moved = decode_attention(work, s, one.decoding, seen_by_one(s, one.context))
        there = pick(one.decoding > 0, 1.0, 0.0)
        yield Launch(kernel._replace(fixed=kernel.fixed * there), flops, moved)
    if not _none(one.chunk):
        length = pick(one.chunk > 0, one.chunk, 1.0)
        kernel, flops, moved = prefill_attention(work, s, 1, length, pairs_of(s, one.chunk, one.before))
        there = pick(one.chunk > 0, 1.0, 0.0)
        kernel = kernel._replace(path="prompts", arithmetic=kernel.arithmetic * there, fixed=kernel.fixed * there)
        yield Launch(kernel, flops, moved * there)


def _none(amount: Any) -> bool:
    return isinstance(amount, int | float) and amount == 0


def seen_by_one(s: Any, context: Any) -> Any:
    """Keys that one new token sees."""
    rows = operations(s._replace(kinds=()), 1, 1, context, "causal")
    return next(product(row.matmul[:-1]) / 2 for row in rows if row.kind == "scores")


def pairs_of(s: Any, chunk: Any, before: Any) -> Any:
    """Query-key pairs of a chunk over what was read before it and over itself."""
    rows = operations(s._replace(kinds=()), 1, chunk, before + chunk, "causal")
    return next(product(row.matmul[:-1]) / 2 for row in rows if row.kind == "scores")


def _linear(replica: Worker, one: Pass, group: list[Operation[Any]], runs: Any, quantized: Any) -> Iterator[Launch]:
    row, work = group[0], replica.work
    _, m, k, _ = row.matmul
    n = sum(each.matmul[3] for each in group)
    weights = sum(matrix_bytes(work, each, runs, quantized=quantized) for each in group)
    shape = row.weights[0][1] if row.weights else ()
    if quantized and work.cast_by_block:
        yield Launch(a_pass(work, "pass", 3 * m * k)._replace(path="quantise"), 0, 3 * m * k)
    if len(shape) == 3:
        everyone = (one.groups or replica.attention_dp) * one.tokens
        per_token = m / one.tokens
        used = touched(shape[0], per_token, everyone) / replica.ep
        yield Launch(*experts(work, everyone * per_token / (replica.ep * used), k, n, weights, used, quantized=quantized))
    else:
        yield Launch(*projection(work, m, k, n, weights, quantized=quantized))
    yield from _messages(replica, one, row, m, n)


def _messages(replica: Worker, one: Pass, row: Operation[Any], m: Any, n: Any) -> Iterator[Launch]:
    """Each rank has a part of every sum of a row-parallel matmul; groups of sequences gather their tokens before the experts."""
    work, t, dp = replica.work, replica.tp, replica.attention_dp
    net, size = replica.network, work.width * one.tokens * n
    if net is None:
        return
    if row.path.endswith("experts/down") and dp > 1:
        ranks = t * dp
        narrow = 0.5625 if work.arithmetic == "fp4" else work.width
        gathered = soonest(replica, "all_gather", narrow * dp * one.tokens * n, ranks)
        spread = soonest(replica, "reduce_scatter", work.width * dp * one.tokens * n, ranks)
        yield Launch(Kernel("exchange", "", "all-gather", memory=gathered + spread + (ranks - 1) * EXCHANGE))
    elif t > 1 and (row.path.endswith(REDUCED) or (row.role == "mixer" and row.path.endswith("/output"))):
        yield Launch(Kernel("all-reduce", "", "all-reduce", memory=soonest(replica, "all_reduce", size, t)))
    elif row.path == "head/output" and t > 1:
        yield Launch(Kernel("all-gather", "", "all-gather", memory=collective(net, "all_gather", work.width * m * n * t, t)))


def touched(n_expert: Any, per_token: Any, tokens: Any) -> Any:
    """How many of E experts at least one of N tokens goes to, where some are more popular than others: their popularity is taken to be
    exponentially distributed, so that E·(1 - 1/(1 + k·N/E)) are expected, and never fewer than the k of one token.

    Source: fitted on gpt-oss-120b and DeepSeek-V3 (runs of aiconfigurator), whose steps grow more slowly than with experts chosen evenly;
    the shape of a gamma distribution that fits them best is 0.9, an exponential's is 1.

    >>> touched(128, 4, 1), round(touched(128, 4, 64), 1)
    (4.0, 85.3)
    """
    uneven = n_expert * (1 - 1 / (1 + per_token * tokens / n_expert))
    return most((uneven, least((1.0 * per_token * tokens, 1.0 * per_token))))


def soonest(replica: Worker, operation: str, size: Any, n: int) -> Any:
    """Seconds of NCCL's collective or of the server's own one in a single kernel, whichever is sooner."""
    assert replica.network is not None
    seconds = collective(replica.network, operation, size, n)
    read = size if operation == "all_reduce" else size / n
    return least((seconds, one_shot(replica.network, read, n))) if replica.engine.one_shot else seconds


def check_layout(shape: Any, tp: int, ep: int, attention_dp: int) -> None:
    """Raises GptcalcError for parts of experts that do not divide."""
    ranks = tp * attention_dp
    if ep > 1 and not any(kind.switches.experts for _, kind in shape.blocks):
        raise GptcalcError(f"expert parallel {ep} of a model without experts", hint="leave out --ep")
    if ranks % ep:
        raise GptcalcError(f"tensor parallel {tp} times attention data parallel {attention_dp} is not a multiple of expert parallel {ep}")
    sharing = ranks // ep
    for _, kind in shape.blocks:
        if kind.switches.experts and kind.d_expert % sharing:
            hint = near_divisors(kind.d_expert, sharing, "d_expert", "ranks that share an expert")
            raise GptcalcError(f"d_expert {kind.d_expert} is not a multiple of ranks that share an expert {sharing}", hint=hint)
