"""`scale` as tables: each law's optimum, what a budget buys, batch and learning rate, the valley of the loss as a plot."""

from typing import Any

from gptcalc.search.scale import Optimum, Scale
from gptcalc.show.table import Column, Table, percent
from gptcalc.units import short

DAY = 86400


def tables(answer: Scale, explain: bool) -> list[Table]:
    """The laws first; what else was asked for below."""
    found = [_laws(answer, explain), _rates(answer, explain)]
    repeated = answer.optima[0].repeated
    if repeated:
        found.insert(1, _repeated(answer.optima[0], repeated))
    served = [(one, one.serving) for one in answer.optima if one.serving]
    if served:
        found.insert(1, _serving(served))
    return found


def size(value: float) -> str:
    return short(value, digits=3)


def nats(value: float) -> str:
    return f"{value:.3f}"


def headline(answer: Scale) -> str:
    """The answer in one line: model, tokens, loss, and with money the days.

    >>> from gptcalc.search.scale import scale
    >>> headline(scale(flops=5.76e23))
    '5.76e+23 FLOP: 72.2 B parameters on 1.33 T tokens, loss 1.974, 192 times beyond its data (besiroglu-2024; 40.3 B to ...)'
    """
    best = answer.optima[0]
    others = [one for one in answer.optima[1:] if not one.law.startswith("kaplan") and one.granularity is None]
    far = f", {best.beyond:,.0f} times beyond its data" if best.beyond else ""
    loss = f"loss {nats(best.loss or 0)}{far}"

    def between(values: list[float]) -> str:
        return f"({best.law}; {size(min(values))} to {size(max(values))} by other laws but Kaplan)"

    if answer.start == "params":
        ends = between([one.tokens for one in others])
        return f"{size(best.parameters)} parameters: best on {size(best.tokens)} tokens, {best.flops:.3g} FLOP, {loss} {ends}"
    ends = between([one.parameters for one in others])
    if answer.start == "tokens":
        return f"{size(best.tokens)} tokens: best for {size(best.parameters)} parameters, {best.flops:.3g} FLOP, {loss} {ends}"
    line = f"{best.flops:.3g} FLOP: {size(best.parameters)} parameters on {size(best.tokens)} tokens, {loss} {ends}"
    if answer.money:
        bought = answer.money
        days = "" if bought.time is None else f", {bought.time / DAY:,.1f} days on {bought.devices:,} of them"
        line = f"${bought.budget:,.0f} on {bought.device} buys {bought.device_hours:,.0f} device-hours{days}; {line}"
    return line


def _laws(answer: Scale, explain: bool) -> Table:
    columns = [
        Column("law"),
        Column("parameters", size, right=True),
        Column("tokens", size, right=True),
        Column("tokens/param", lambda value: f"{value:,.3g}", right=True),
        Column("FLOP", lambda value: f"{value:.3g}", right=True, drop=2),
        Column("loss", nats, right=True),
        Column("beyond its data", lambda times: f"{times:,.0f} times", right=True),
        *([Column("source", fold=True)] if explain else []),
    ]
    rows: list[list[Any]] = [
        [one.law, one.parameters, one.tokens, one.tokens_per_parameter, one.flops, one.loss, one.beyond, *([one.source] if explain else [])]
        for one in answer.optima
    ]
    notes = ["loss: nats a token, each law's on its own data: losses of different laws do not compare"]
    if any(one.beyond for one in answer.optima):
        notes.append("beyond its data: how many times the compute is outside the range that the law was fitted on")
    notes += [f"{one.law} counts {one.counts}" for one in answer.optima if one.counts != "all parameters"]
    notes += [f"{one.law}: {one.note}" for one in answer.optima if one.note and explain]
    if answer.money:
        bought = answer.money
        notes.append(
            f"${bought.price:,.2f} an hour, {short(bought.peak, 'FLOP/s')} dense peak, MFU {percent(bought.mfu)}: {bought.flops:.3g} FLOP"
        )
    notes.append("next: --serve-tokens 2T (what serving changes), --unique-tokens 1T (repeated data), --plot, --explain (sources)")
    return Table(headline(answer), columns, rows, notes, bold=frozenset({0}))


def _repeated(best: Optimum, found: dict[str, float]) -> Table:
    columns = [
        Column("unique tokens", size, right=True),
        Column("parameters", size, right=True),
        Column("tokens", size, right=True),
        Column("epochs", lambda value: f"{value:,.2f}", right=True),
        Column("loss", nats, right=True),
    ]
    row = [found["unique_tokens"], found["parameters"], found["tokens"], found["epochs"], found["loss"]]
    notes = ["Muennighoff et al. 2023, arXiv:2305.16264: up to 4 epochs cost almost nothing; what repeating is worth fades near 15"]
    return Table(f"with {size(found['unique_tokens'])} unique tokens, for the same {best.flops:.3g} FLOP", columns, [row], notes)


def _serving(rows: list[tuple[Optimum, dict[str, float]]]) -> Table:
    columns = [
        Column("law"),
        Column("parameters", size, right=True),
        Column("tokens", size, right=True),
        Column("FLOP in all", lambda value: f"{value:.3g}", right=True),
        Column("saved", percent, right=True),
    ]
    body: list[list[Any]] = [[one.law, s["params"], s["tokens"], s["flops"], s["saved"]] for one, s in rows]
    note = "as good as the training-optimal model, 6·N·D to train and 2·N a token to serve: Sardana et al. 2023, arXiv:2401.00448"
    return Table(f"cheapest to train and to serve {size(rows[0][1]['serve_tokens'])} tokens with", columns, body, [note])


def _rates(answer: Scale, explain: bool) -> Table:
    columns = [
        Column("rule"),
        Column("batch, tokens", size, right=True),
        Column("learning rate", lambda value: f"{value:.2e}", right=True),
        Column("fitted on", fold=True, drop=1),
        *([Column("source", fold=True)] if explain else []),
    ]
    rows: list[list[Any]] = [
        [one.rule, one.batch_tokens, one.learning_rate, one.fitted, *([one.source] if explain else [])] for one in answer.rates
    ]
    return Table(f"batch and learning rate for {size(answer.value)} parameters", columns, rows)
