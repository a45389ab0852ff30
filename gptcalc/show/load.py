"""`infer` under load as tables: times with their queues, what saturates, where a step and a prompt go."""

from typing import Any

from gptcalc.serve.loaded import Loaded
from gptcalc.show.amounts import Amount, span, whole
from gptcalc.show.infer import derivation, operations, rate, usd
from gptcalc.show.memory import stored
from gptcalc.show.table import Column, Table, Verdict, gauge, percent
from gptcalc.units import binary


def tables(answer: Loaded, *, explain: bool) -> list[Table]:
    """The answers, then a pass that decodes and one over a prompt."""
    if hasattr(answer.value, "ndim") and answer.value.ndim:
        return [by_load(answer)]
    one = derivation if explain else operations
    return [summary(answer), one("a decode step", answer.decode), one("a pass over a prompt", answer.prefill)]


def _where(answer: Loaded) -> str:
    r = answer.request
    devices = f"{answer.devices} × {r.device.name}" if answer.devices > 1 else r.device.name
    if answer.pools is not None:
        devices = " + ".join(f"{pool.devices} × {pool.device.name}" for pool in answer.pools)
    return f"{r.model.name} with {r.server.title} on {devices}"


def summary(answer: Loaded) -> Table:
    """Means, 90th and 99th percentiles, rates."""
    r, found, cap = answer.request, answer.to_dict(), answer.capacity
    times = f"{span(answer.ttft)} to the first token, {span(answer.tpot)} for each further one, {rate(answer.tokens_per_second)} tokens/s"
    if not answer.fits:
        times = f"does not fit: weights and one pass take {binary(cap.weights + cap.activations)} of {binary(cap.taken)}"
    rows: list[list[Any]] = []
    likely = {name: f"{span(low)} to {span(high)}" for name, (low, high) in answer.interval.items()}
    names = (("ttft", "time to first token (TTFT)"), ("tpot", "time per output token (TPOT)"), ("e2e", "a request from end to end"))
    for name, title in names:
        by = found["percentiles"][name]
        within = f"; expected: {likely[name]}" if name in likely else ""
        rows.append([title, Amount(found[name], span), f"p90 {span(by['p90'])}, p99 {span(by['p99'])}{within}"])
    rows += [
        ["a benchmark's mean TTFT", Amount(found["ttft_benchmark"], span), "all start at once; 10 requests for each in flight"],
        ["tokens per second", Amount(answer.tokens_per_second, rate), f"{rate(answer.requests_per_second)} requests/s"],
        ["  of a device", Amount(found["tokens_per_second_per_device"], rate), ""],
        ["requests in flight", Amount(found["in_flight"], _count), f"{_count(found['running'])} of them run"],
        ["the most that fit", Amount(found["max_concurrency"], whole), f"of {r.prompt + r.output:,} positions each"],
        ["passes with prompts", Amount(found["prompt_share_of_passes"], percent), f"{span(found['pass_times']['mixed'])} each"],
        ["a pass that only decodes", Amount(found["pass_times"]["decode"], span), f"bound by {found['bound']}"],
        ["weights, of a device", Amount(cap.weights, binary), stored(r.inputs).partition(":")[0]],
        [
            "room for the cache, of a device",
            Amount(max(cap.cache, 0.0), binary),
            f"{whole(found['kv_cache_tokens'])} tokens in {r.kv_precision}",
        ],
    ]
    log = found["server_log"]
    if r.server.engine is not None:
        held = f"{log['maximum_concurrency']:.2f} requests of {log['tokens_per_request']:,} tokens"
        rows.append(["  as vLLM logs it", Amount(log["kv_cache_size"], _tokens), f"maximum concurrency: {held}"])
    if answer.usd_per_hour is not None:
        hour = f"at {usd(answer.usd_per_hour.likely)} an hour"
        rows.append(["a million output tokens", Amount(answer.usd_per_million_output_tokens, usd), hour])
    columns = [Column(""), Column("value", lambda amount: amount.write(amount), right=True), Column("", fold=True, style="dim")]
    drawn = gauge(cap.weights + cap.activations + cap.reserve, cap.taken)
    return Table(f"{_where(answer)}: {times}", columns, rows, _notes(answer), verdict=_verdict(answer), gauge=drawn)


def _tokens(value: float) -> str:
    return f"{value:,.0f} tokens"


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.3g}"


def _verdict(answer: Loaded) -> Verdict:
    return "no" if not answer.fits else "yes" if answer.factors.measured else "beware"


def _notes(answer: Loaded) -> list[str]:
    r, layout = answer.request, answer.request.layout
    come = f"{r.rate:g} requests a second" if r.rate else f"{_count(float(answer.in_flight))} requests in flight"
    split = [f"tensor parallel {layout.tp}"] * (layout.tp > 1) + [f"{layout.pp} pipeline stages"] * (layout.pp > 1)
    split += [f"attention data parallel {layout.attention_dp}"] * (layout.attention_dp > 1) + [f"expert parallel {layout.ep}"] * (
        layout.ep > 1
    )
    split += [f"{layout.replicas} replicas"] * (layout.replicas > 1 and answer.pools is None)
    split += [
        f"{pool.workers} × {pool.each.total} devices {what}" for pool, what in zip(answer.pools or (), ("read", "decode"), strict=False)
    ]
    lengths = f"{r.prompt:,} tokens of prompt, {r.output:,} new ones" if isinstance(r.prompt, int) and isinstance(r.output, int) else ""
    version = f"{r.server.title} {r.server.version}".strip()
    what = [f"{come}, held back by {answer.saturated}", *([lengths] if lengths else []), f"weights in {stored(r.inputs)}", version, *split]
    return [", ".join(what), answer.factors.text, *(f"note: {note}" for note in answer.notes)]


def by_load(answer: Loaded) -> Table:
    """A row for each place of the arrays."""
    import numpy as np

    r = answer.request
    shape = answer.value.shape
    names = {"in flight": answer.in_flight, "prompt": r.prompt, "output": r.output}
    values = [*names.values(), answer.ttft, answer.tpot, answer.tokens_per_second]
    body = [list(row) for row in zip(*(np.broadcast_to(one, shape).ravel().tolist() for one in values), strict=True)]
    columns = [Column(name, whole, right=True) for name in names]
    columns += [Column("TTFT", span, right=True), Column("TPOT", span, right=True), Column("tokens/s", rate, right=True)]
    return Table(f"{_where(answer)}: {len(body)} loads", columns, body, _notes(answer)[1:], verdict=_verdict(answer))


def too_large(answer: Loaded) -> str:
    """What stderr says of a server without room for one sequence."""
    cap = answer.capacity
    need, there = cap.weights + cap.activations + cap.reserve, cap.taken
    if cap.cache <= 0:
        return f"does not fit: {binary(need)} needed on each device before any cache, {binary(there)} there; hint: more devices (--tp), fp8"
    return f"does not fit: no sequence of this length has room in {binary(cap.cache)} of cache; hint: --kv-precision fp8, or more devices"
