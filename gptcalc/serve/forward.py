"""Every kernel of one forward pass that serves: the rows of the operation table, as the server's code fuses them.

B sequences of T new tokens, C positions in all; N = B·T.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.serve.attend import cached_elements, decode_attention, prefill_attention
from gptcalc.serve.linear import a_pass, distinct_experts, linear, matrix_bytes
from gptcalc.serve.recur import convolved, recurrence
from gptcalc.serve.seeing import towers
from gptcalc.serve.work import Work
from gptcalc.spec.expression import evaluate
from gptcalc.spec.runtime import applies
from gptcalc.spec.shape import Shape
from gptcalc.symbols import product
from gptcalc.table.operation import Operation
from gptcalc.table.operations import operations
from gptcalc.time.collectives import collective
from gptcalc.time.kernels import Kernel

if TYPE_CHECKING:
    from gptcalc.spec.model import Form

REDUCED = ("attention/output", "mlp/down", "experts/down")
"""Row-parallel matmuls: each rank has a part of every sum (Shoeybi et al. 2019, Megatron-LM, arXiv:1909.08053, section 3)."""


class Launch(NamedTuple):
    """One kernel with what it computes and moves in one run."""

    kernel: Kernel
    flops: Any = 0
    n_bytes: Any = 0

    @property
    def path(self) -> str:
        return self.kernel.path

    def at(self, path: str, runs: Any) -> Launch:
        return self._replace(kernel=self.kernel._replace(path=path, runs=self.kernel.runs * runs))


def launches(work: Work, batch: Any, seq: Any, context: Any, phase: str) -> list[Launch]:
    """The kernels of one forward pass on one rank: `phase` "prefill" (whole prompts) or "decode" (one token a sequence).

    The head is computed for the last token of each sequence only.
    """
    rows = operations(work.shape, batch, seq, context, "causal", decode=phase == "decode")
    heads = {row.path: row for row in operations(work.shape, batch, 1, 1)}
    rows = [heads[row.path] if row.path.startswith(("final_norm", "head/")) else row for row in rows]
    found: list[Launch] = []
    for group in fused(work, rows):
        first = group[0]
        path = first.path if len(group) == 1 else f"{first.path.rpartition('/')[0]}/{name_of(work, first)}"
        for runs, quantized in work.stored_runs(first):
            found += [launch.at(_place(path, launch), runs) for launch in _of(work, group, batch, seq, phase, runs, quantized)]
    if work.seen is not None and phase == "prefill":
        found += [Launch(*one) for one in towers(work, work.seen, batch)]
    return found


def _place(path: str, launch: Launch) -> str:
    """Messages and the cache are parts of a breakdown of their own, beside the operation that they belong to."""
    apart = {"all-reduce": "all-reduce", "all-gather": "all-gather"}.get(launch.kernel.kind, launch.kernel.path)
    path = path.replace("attention/scores", "attention/core")
    return f"{path.rpartition('/')[0]}/{apart}" if apart else path


def fused(work: Work, rows: list[Operation[Any]]) -> Iterator[list[Operation[Any]]]:
    """Rows that run as one kernel together: matmuls of one input, as the server's code has them, whose weights are stored alike."""
    taken: set[str] = set()
    by_path = {row.path: row for row in rows}
    for row in rows:
        if row.path in taken:
            continue
        folder, _, leaf = row.path.rpartition("/")
        group = [row]
        for names in work.server.fused.values():
            if names[0] == leaf and all(f"{folder}/{name}" in by_path for name in names):
                together = [by_path[f"{folder}/{name}"] for name in names]
                group = together if all(work.stored_runs(one) == work.stored_runs(row) for one in together) else group
        taken |= {one.path for one in group}
        yield group


def name_of(work: Work, first: Operation[Any]) -> str:
    """What a server calls the kernel that it fuses an operation and those behind it into."""
    leaf = first.path.rpartition("/")[2]
    return next(name for name, leaves in work.server.fused.items() if leaves[0] == leaf)


def _of(work: Work, group: list[Operation[Any]], batch: Any, seq: Any, phase: str, runs: Any, quantized: Form | bool) -> Iterator[Launch]:
    row = group[0]
    if row.kind == "matmul":
        yield from _linear(work, group, batch, seq, runs, quantized)
    elif row.kind == "scores":
        s = dict(work.shape.blocks)[row.path.split("/")[0]]
        pairs = product(row.matmul[:-1]) / (2 * batch)  # of one sequence; of the one query of a decode step, its keys
        yield from _cache(work, s, batch, seq, batch * (pairs if phase == "decode" else seq), phase)
        yield Launch(*(prefill_attention(work, s, batch, seq, pairs) if phase == "prefill" else decode_attention(work, s, batch, pairs)))
    elif row.kind == "recurrence":
        yield Launch(*recurrence(work, row, batch, seq, decode=phase == "decode"))
    elif row.kind == "convolution":
        size = convolved(work, row, batch * seq)
        yield Launch(a_pass(work, "pass", size), product(row.matmul), size)
    elif row.kind != "mix":
        arithmetic = sum((product(term) for term in row.other), 0)
        for launch in passes(work, row.kind, {"n": elements_of(row, batch * seq), "c": work.width}, phase):
            yield launch._replace(flops=arithmetic)
            arithmetic = 0  # it is done once, in however many passes


def elements_of(row: Operation[Any], tokens: Any) -> Any:
    """How many numbers a row writes: the last factors of its arithmetic are rows and width."""
    if row.kind == "lookup":
        return product((tokens, row.weights[0][1][-1]))
    return product(row.other[0][-3:] if row.kind == "rotary" else row.other[0][-2:])


def _linear(work: Work, group: list[Operation[Any]], batch: Any, seq: Any, runs: Any, quantized: Form | bool) -> Iterator[Launch]:
    row = group[0]
    _, m, k, _ = row.matmul
    n = sum(one.matmul[3] for one in group)
    weights = sum(matrix_bytes(work, one, runs, quantized=quantized) for one in group)
    shape = row.weights[0][1] if row.weights else ()
    if len(shape) == 3:  # experts
        tokens = batch * seq
        used = distinct_experts(shape[0], m / tokens, tokens)
        yield Launch(*linear(work, m / used, k, n, weights, quantized=quantized, matrices=used))
    else:
        yield Launch(*linear(work, m, k, n, weights, quantized=quantized))
    if work.cast:
        yield Launch(a_pass(work, "pass", 6 * k * n), 0, 6 * k * n)
    if work.tp > 1 and (row.path.endswith(REDUCED) or (row.role == "mixer" and row.path.endswith("/output"))):
        yield _sent(work, "all-reduce", work.width * batch * seq * n)  # of experts after their sum
    if work.tp > 1 and row.path == "head/output":
        yield _sent(work, "all-gather", work.width * m * n * work.tp)


def _sent(work: Work, kind: str, size: Any) -> Launch:
    return Launch(Kernel("", "", kind, memory=collective(work.network, kind.replace("-", "_"), size, work.tp)))


def _cache(work: Work, s: Shape[Any], batch: Any, seq: Any, tokens: Any, phase: str) -> Iterator[Launch]:
    """`n` new keys or values, `s` of all `tokens` that can be seen."""
    half = cached_elements(s) / 2
    share = 1 if s.switches.latent else s.n_head // s.n_kv_head
    letters = {"n": batch * seq * half, "s": tokens * half, "c": work.kv_bits / 8, "g": share}
    for launch in passes(work, "cache", letters, phase, {"grouped"} if share > 1 else set()):
        yield launch._replace(kernel=launch.kernel._replace(path="cache"))


def passes(work: Work, kind: str, letters: dict[str, Any], phase: str, tags: Collection[str] = ()) -> Iterator[Launch]:
    """The passes over memory of one kind that a server makes in a phase, where their conditions hold.   Source: presets/servers."""
    for one in work.server.passes.get(kind, []):
        if applies(one.when, work.tags | {phase, *tags}):
            size = evaluate(one.bytes, letters)
            count = None if one.elements is None else evaluate(one.elements, letters)
            what = "norm" if kind == "norm" and one.kind == "pass" else one.kind
            yield Launch(a_pass(work, what, size, count, one.count), 0, size)
