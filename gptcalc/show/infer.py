"""`infer` as tables: the server's answers, where a decode step and a prefill go; sweeps, targets, the roofline."""

from typing import Any

from gptcalc.serve.answer import Inference
from gptcalc.serve.phase import Phase
from gptcalc.serve.recur import recurrent
from gptcalc.serve.target import Offer
from gptcalc.show.amounts import Amount, span, whole
from gptcalc.show.memory import stored, whole_pages
from gptcalc.show.table import Column, Table, Verdict, bar, gauge, in_unit, judged, percent, small
from gptcalc.units import binary, short

OPERATION_NAMES = {"block/attention/core": "block/attention/scores and mixing"}


def tables(answer: Inference, *, explain: bool, roofline: dict[str, Any] | None) -> list[Table]:
    """What was asked for beside the answer comes first."""
    found = [targets(answer)] if answer.targets else []
    found += [sweep(answer)] if answer.sweep else []
    found += [roof(roofline)] if roofline else []
    if found:
        return found
    one = derivation if explain else operations
    return [summary(answer), one("a decode step", answer.point.decode), one("prefill", answer.point.prefill)]


@in_unit("tokens/s")
def rate(value: float) -> str:
    """New tokens a second."""
    return f"{value:,.1f}" if value < 1000 else whole(value)


@in_unit("USD")
def usd(value: float) -> str:
    """Money for tokens, which may be far below a cent.

    >>> usd(1.4536), usd(0.00317)
    ('$1.45', '$0.0032')
    """
    return f"${value:,.2f}" if value >= 0.1 or value == 0 else f"${value:.2g}"


def _where(answer: Inference) -> str:
    r = answer.request
    return f"{r.model.name} on {r.count} × {r.device.name}" if r.count > 1 else f"{r.model.name} on {r.device.name}"


def _uncalibrated(answer: Inference) -> str:
    return "" if answer.request.device.serves_as_measured else " (uncalibrated)"


def summary(answer: Inference) -> Table:
    """The answers, in s, tokens/s, bytes and USD."""
    r, p, room, steady = answer.request, answer.point, answer.room, answer.steady
    times = f"{span(p.prefill_time)} to the first token, {span(p.per_token)} for each further one, "
    times += f"{rate(answer.tokens_per_second)} tokens/s"
    if not answer.fits:
        times = f"does not fit, {binary(room.serving.value)} of {binary(room.room)}; if it did: {times}"
    headline = f"{_where(answer)}: {times}{_uncalibrated(answer)}"
    last = p.prompt + max(1, p.output - 1)
    others = max(0.0, 1 - p.per_token / steady.time_per_output_token)
    rows: list[list[Any]] = [
        ["time to first token (TTFT)", Amount(p.prefill_time, span), f"bound by {p.prefill.bound}"],
        ["time per output token (TPOT)", Amount(p.per_token, span), f"bound by {p.decode.bound}"],
        ["  the second token" if r.output > 1 else "  of one more", Amount(p.first, span), f"over {r.prompt + 1:,} positions"],
        *[["  the last one", Amount(p.last, span), f"over {last:,} positions"]] * (r.output > 1),
        ["a request from end to end", Amount(answer.value, span), ""],
        ["tokens per second", Amount(answer.tokens_per_second, rate), "while decoding"],
        ["  one user's", Amount(1 / p.per_token, rate), ""],
        ["weights, of a device", Amount(room.to_dict()["weights"], binary), stored(r.inputs).partition(":")[0]],
        ["KV cache of all sequences", Amount(room.kv_cache, binary), r.inputs["kv_precision"]],
        *([["state of all sequences", Amount(room.to_dict()["state"], binary), ""]] if recurrent(answer.work) else []),
        ["the largest batch that fits", Amount(room.max_batch or 0, whole), f"of {r.context:,} positions each"],
        ["steady state: tokens per second", Amount(steady.tokens_per_second, rate), f"{rate(steady.requests_per_second)} requests/s"],
        ["  time per output token (TPOT)", Amount(steady.time_per_output_token, span), f"{percent(others)} of it others' prompts"],
    ]
    if answer.cost:
        hour = f"at {usd(answer.cost.per_hour.likely)} an hour"
        rows.append(["a million input tokens", Amount(answer.cost.input.likely, usd), hour])
        rows.append(["a million output tokens", Amount(answer.cost.output.likely, usd), hour if r.output > 1 else "the prefill makes them"])
    columns = [Column(""), Column("value", lambda amount: amount.write(amount), right=True), Column("", fold=True, style="dim")]
    drawn = gauge(room.serving.value, room.room)
    return Table(headline, columns, rows, _notes(answer), verdict=_verdict(answer), gauge=drawn)


def _verdict(answer: Inference) -> Verdict:
    """Red does not fit; yellow was measured on no such server; green is the rest."""
    return "no" if not answer.fits else "yes" if answer.request.device.serves_as_measured else "beware"


def _notes(answer: Inference) -> list[str]:
    r = answer.request
    split = [f"tensor parallel {r.tp}"] * (r.tp > 1) + [f"{r.pp} pipeline stages"] * (r.pp > 1)
    split += [f"{r.replicas} replicas"] * (r.replicas > 1)
    what = [
        f"{r.batch} × {r.prompt:,} tokens of prompt{_pictures(answer)}, {r.output:,} new {'one' if r.output == 1 else 'ones'}",
        f"weights in {stored(r.inputs)}",
    ]
    what += [answer.work.title, *split]
    notes = [*answer.notes, *whole_pages(answer.room.kv_cache, answer.room.whole_cache)]
    return [", ".join(what), answer.certainty.text, *(f"note: {note}" for note in notes)]


def _pictures(answer: Inference) -> str:
    seen = answer.request.seen
    return f" ({seen.tokens:,} of them of {seen.number} picture{'s' * (seen.number > 1)})" if seen else ""


def operations(name: str, phase: Phase) -> Table:
    """Each operation with its share, what bounds it, and its arithmetic for each byte."""
    columns = [
        Column("operation"),
        Column("time", span, right=True),
        Column("share", percent, right=True, style=small),
        Column("", bar, drop=3, drawn=True, style="cyan"),
        Column("bound", drop=1),
        Column("FLOP/byte", lambda value: f"{value:,.1f}", right=True, drop=2),
    ]
    merged: dict[tuple[str, str], list[Any]] = {}
    for one in phase.to_list():
        row = merged.setdefault((one["operation"], one["bound"]), [0.0, 0.0, 0.0, 0.0])
        for i, key in enumerate(("time", "share", "flops", "bytes")):
            row[i] += one[key]
    rows: list[list[Any]] = [
        [OPERATION_NAMES.get(path, path), seconds, share, share, bound, flops / moved if moved else None]
        for (path, bound), (seconds, share, flops, moved) in merged.items()
    ]
    idle = float(phase.mean) - sum(row[1] for row in rows)
    if idle > 1e-9 * float(phase.mean):
        rows.append(["waiting for the processor", idle, *[idle / float(phase.mean)] * 2, "launch", None])
    rows.append(["total", float(phase.mean), 1.0, 1.0, phase.bound, None])
    return Table(f"where {name} goes", columns, rows, [], bold=frozenset({len(rows) - 1}))


def derivation(name: str, phase: Phase) -> Table:
    """Every operation with the kernels of one run of it."""
    columns = [Column("operation"), Column("time", span, right=True), Column("kernels of one run", fold=True)]
    rows: list[list[Any]] = [[path, float(node.value), node.formula] for path, node in phase.breakdown(name).leaves()]
    notes = ["times are of all layers; each constant's meaning and source: gptcalc devices NAME; each pass: presets/servers"]
    return Table(f"what {name} is made of", columns, [*rows, ["total", float(phase.mean), ""]], notes, bold=frozenset({len(rows)}))


def sweep(answer: Inference) -> Table:
    """Throughput against latency."""
    assert answer.sweep is not None
    s = answer.sweep
    columns = [
        Column(s.option, whole, right=True),
        Column("TTFT", span, right=True),
        Column("TPOT", span, right=True),
        Column("tokens/s", rate, right=True),
        Column("one user's", rate, right=True, drop=2),
        Column("$/M tokens", usd, right=True, drop=3),
        Column("bound"),
        Column("fits", lambda fits: "yes" if fits else "no", style=judged),
    ]
    keys = ["time_to_first_token", "time_per_output_token", "tokens_per_second", "tokens_per_second_of_one_user"]
    keys += ["usd_per_million_output_tokens", "bound", "fits"]
    rows = [[row[s.option], *(row[key] for key in keys)] for row in s.rows]
    names = {"matmuls": "the matmuls of a decode step", "decode_step": "a whole decode step, its cache included,"}
    notes = [
        f"{names[name]} turn{'s' if name == 'decode_step' else ''} compute-bound at batch {batch:,}"
        if batch
        else f"{names[name]} never turn{'s' if name == 'decode_step' else ''} compute-bound (up to batch 4,096)"
        for name, batch in s.turns.items()
    ]
    headline = f"{_where(answer)}: throughput against latency, {s.option} by {s.option}{_uncalibrated(answer)}"
    verdict: Verdict = "" if answer.request.device.serves_as_measured else "beware"
    return Table(headline, columns, rows, [answer.certainty.text, *notes], verdict=verdict)


def targets(answer: Inference) -> Table:
    """The promises, the asked devices, and the cheapest that keep them."""
    assert answer.targets is not None
    t = answer.targets
    promised = ", ".join(f"{name.upper()} {span(value)}" for name, value in t.promises.items())
    columns = [
        Column("devices"),
        Column("largest batch", whole, right=True),
        Column("what binds"),
        Column("TTFT", span, right=True),
        Column("TPOT", span, right=True),
        Column("$/hour", usd, right=True),
        Column("$/M tokens", usd, right=True, drop=1),
    ]
    offers = [t.here, *(offer for offer in t.cheapest if (offer.device, offer.count) != (t.here.device, t.here.count))]
    rows = [_row(offer) for offer in ([*offers, t.closest] if t.closest and t.closest is not t.here else offers)]
    notes = [f"cheapest by the hour that keep {promised} for a batch of {t.batch:,}, all prompts arriving at once: " + _named(t.cheapest)]
    if t.closest:
        notes = [f"nothing in the catalogue keeps {promised} for a batch of {t.batch:,}; the closest: {_missed(t.closest)}"]
    best = min((offer for offer in offers if offer.batch and offer.usd_per_million_output_tokens), key=_a_million, default=None)
    if best:
        notes.append(f"cheapest by the token of these, each at its largest batch: {best.count} × {best.device} ({_at_most(best)})")
    guessed = dict.fromkeys(offer.device for offer in offers if not offer.calibrated)
    if guessed:
        notes.append(f"uncalibrated, as no server was measured there: {', '.join(guessed)}")
    most = f"{t.here.batch:,} sequence{'' if t.here.batch == 1 else 's'} at once" if t.here.batch else "not one sequence"
    headline = f"{_where(answer)}: {most} within {promised}, bound by {_binds(t.here)}{_uncalibrated(answer)}"
    verdict: Verdict = "no" if not t.here.batch else "yes" if answer.request.device.serves_as_measured else "beware"
    return Table(headline, columns, rows, notes, verdict=verdict)


def _binds(o: Offer) -> str:
    return o.binds.replace("ttft", "TTFT").replace("tpot", "TPOT")


def _a_million(o: Offer) -> float:
    return o.usd_per_million_output_tokens or 0.0


def _at_most(o: Offer) -> str:
    return f"{usd(_a_million(o))} a million new tokens at batch {o.batch:,}"


def _row(o: Offer) -> list[Any]:
    return [
        f"{o.count} × {o.device}",
        o.batch,
        _binds(o),
        o.time_to_first_token,
        o.time_per_output_token,
        o.usd_per_hour,
        o.usd_per_million_output_tokens,
    ]


def _named(offers: list[Offer]) -> str:
    return ", ".join(f"{o.count} × {o.device} ({usd(o.usd_per_hour or 0)} an hour)" for o in offers) or "only what was asked about"


def _missed(o: Offer) -> str:
    times = ", ".join(f"{name.upper()} {ratio:.2f} times as long as promised" for name, ratio in o.ratios.items() if ratio > 1)
    return f"{o.count} × {o.device}: " + (times if o.fits else "it does not fit")


def unmet(answer: Inference) -> str:
    """What stderr says where nothing keeps the promises."""
    assert answer.targets is not None
    assert answer.targets.closest is not None
    return f"no device of the catalogue, one to eight of them, meets the targets; the closest is {_missed(answer.targets.closest)}"


def roof(roofline: dict[str, Any]) -> Table:
    """Operations under the roof."""
    columns = [
        Column("phase"),
        Column("operation"),
        Column("FLOP/byte", lambda value: f"{value:,.1f}", right=True),
        Column("reaches", lambda value: short(value, "FLOP/s"), right=True),
        Column("of its roof", percent, right=True, drop=2),
        Column("bound"),
        Column("", drawn=True, style="bold"),
    ]
    keys = ("phase", "operation", "intensity", "flops_per_second", "share_of_roof", "bound")
    top, slope = short(roofline["peak"], "FLOP/s"), short(roofline["bandwidth"], "B/s")
    headline = f"under the roof: {top} of {roofline['arithmetic']}, {slope}; they meet at {roofline['ridge']:,.0f} FLOP/byte"
    from gptcalc.show.plots import letters  # here: only a picture's table needs names for points

    rows = [[*(one[key] for key in keys), name] for one, name in zip(roofline["points"], letters(roofline["points"]), strict=True)]
    notes = ["above its roof: the bytes were still on the chip"] if any(one["share_of_roof"] > 1 for one in roofline["points"]) else []
    return Table(headline, columns, rows, ["the letters name the points of the picture, capital in the prefill", *notes])


def too_large(answer: Inference) -> list[str]:
    """What stderr says of sequences that do not fit."""
    room, r = answer.room, answer.request
    line = f"does not fit: {binary(room.serving.value)} needed on each device, {binary(room.room)} there, {binary(-room.left)} short"
    if room.max_batch:
        return [line, f"hint: the largest batch that fits is {room.max_batch:,}: --batch {room.max_batch}"]
    if int(room.to_dict()["weights"]) > room.room:
        return [line, "hint: the weights alone do not fit: --precision int4, or more devices (--count)"]
    return [line, f"hint: not one sequence of {r.context:,} positions fits: shorten it, or --kv-precision fp8"]
