"""`infer` for a promise as a table: the cheapest and the fastest devices that keep it."""

from typing import Any

from gptcalc.serve.fleet import Fleet, Offer
from gptcalc.show.amounts import span, whole
from gptcalc.show.infer import usd
from gptcalc.show.table import Column, Table, Verdict


def table(answer: Fleet) -> Table:
    """Offers from the cheapest on, each with what its requests see."""
    promised = ", ".join(f"{name.upper()} {span(value)}" for name, value in answer.promises.items())
    columns = [
        Column("devices"),
        Column("each replica", fold=True),
        Column("TTFT", span, right=True),
        Column("TPOT", span, right=True),
        Column("$/hour", usd, right=True),
        Column("$/M tokens", usd, right=True, drop=1),
        Column("", style="bold"),
    ]
    offers = list(answer.offers) or ([answer.closest] if answer.closest else [])
    if answer.fastest and answer.fastest not in offers:
        offers.append(answer.fastest)
    names = {id(answer.cheapest): "cheapest", id(answer.fastest): "fastest", id(answer.closest): "closest"}
    if answer.cheapest is answer.fastest and answer.cheapest:
        names[id(answer.cheapest)] = "cheapest, fastest"
    rows = [[*_row(offer), names.get(id(offer), "")] for offer in offers]
    model = answer.demand.model.name
    asked = f"{answer.rate:g} requests a second of {_lengths(answer)} within {promised}"
    if answer.cheapest:
        best = answer.cheapest
        what = f"{best.devices} devices in two pools" if best.pools else f"{best.devices} × {best.device}"
        headline = f"{model}: {what} hold {asked}"
    else:
        headline = f"{model}: nothing that was tried holds {asked}"
    notes = [
        f"{answer.demand.server.title}; promises are about means; {answer.considered} layouts of up to 16 devices, {answer.fit} fit",
        "the rate is a mean of requests that arrive by chance: for a day's peak give --rate the peak",
    ]
    verdict: Verdict = "yes" if answer.met else "no"
    return Table(headline, columns, rows, notes, verdict=verdict)


def _lengths(answer: Fleet) -> str:
    return f"{answer.demand.prompt:,} + {answer.demand.output:,} tokens"


def _row(o: Offer) -> list[Any]:
    sizes = [("tp", o.tp), ("pp", o.pp), ("ep", o.ep), ("attention dp", o.attention_dp)]
    each = ", ".join([f"{name} {size}" for name, size in sizes if size > 1] or ["one device"])
    if o.pools is not None:
        each = f"prompts {o.pools['prefill']}, decoding {o.pools['decode']}"
        return [f"{whole(o.devices)} in two pools", each, o.ttft, o.tpot, o.usd_per_hour, o.usd_per_million_output_tokens]
    return [
        f"{whole(o.devices)} × {o.device}",
        f"{each}; chunk {o.chunk:,}",
        o.ttft,
        o.tpot,
        o.usd_per_hour,
        o.usd_per_million_output_tokens,
    ]


def unmet(answer: Fleet) -> str:
    """What stderr says where nothing keeps the promises."""
    if answer.closest is None:
        return "no layout of these devices has room for one such request; hint: other devices, or --precision fp8"
    missed = ", ".join(
        f"{name.upper()} {ratio:.2f} times as long as promised" for name, ratio in answer.closest.ratios.items() if ratio > 1
    )
    o = answer.closest
    return f"nothing keeps the promises; the closest is {whole(o.devices)} × {o.device}: {missed}"
