"""What tokens cost, and what a server does when requests never stop coming."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.node import plain
from gptcalc.ranges import Range, exactly
from gptcalc.serve.point import Point, point_of
from gptcalc.serve.work import Work

if TYPE_CHECKING:
    from gptcalc.serve.request import Request

MILLION = 1e6


class Cost(NamedTuple):
    """USD for a million tokens that were read and that were written, each a range where offers differ."""

    per_hour: Range
    input: Range
    output: Range

    def to_dict(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "usd_per_hour": plain(self.per_hour.likely),
            "usd_per_million_input_tokens": plain(self.input.likely),
            "usd_per_million_output_tokens": plain(self.output.likely),
        }
        if not self.per_hour.known:
            fields["usd_ranges"] = {name: {k: plain(v) for k, v in getattr(self, name)._asdict().items()} for name in self._fields}
        return fields


def cost_of(r: Request, point: Point, price: Any) -> tuple[Cost | None, list[str]]:
    """Prefill's time is charged to the tokens of prompts, decoding's to all O new ones: together they are the time of all devices.

    Units: USD.   Source: prices and their dates in presets/devices.
    """
    from gptcalc.money import cost_of

    found = cost_of(exactly(float(r.count)), r.device, price=price)
    if found.cost is None:
        return None, [note for note in found.notes if "price" in note]
    seconds = [point.prefill_time / (r.batch * r.prompt), point.decode_time / (r.batch * r.output)]
    return Cost(found.cost, *(_times(found.cost, one * MILLION / 3600 / r.replicas) for one in seconds)), []


def _times(usd: Range, factor: Any) -> Range:
    return exactly(usd.likely * factor) if usd.known else Range(usd.low * factor, usd.likely * factor, usd.high * factor)


class Steady(NamedTuple):
    """Continuous batching: as one sequence ends the next one's prompt is read. Seconds, and rates of all replicas."""

    requests_per_second: Any
    tokens_per_second: Any
    time_per_output_token: Any
    time_to_first_token: Any
    prefill_share: Any

    def to_dict(self) -> dict[str, Any]:
        return {name: plain(value) for name, value in self._asdict().items()}


def steady_of(r: Request, work: Work, point: Point) -> Steady:
    """B slots that are never empty, their contexts spread evenly from P + 1 to P + O - 1.

    While one sequence makes its O tokens, B prompts are read, its own among them, one at a time, and decoding waits meanwhile. A new
    request waits for half a step and reads its prompt; the time per output token is the rest of its stay over its other O - 1 tokens.

    Source: Yu et al. 2022 (Orca), OSDI: scheduling by iteration; prompts are not cut into chunks here.

    Units: seconds, tokens per second.
    """
    alone = point_of(work, 1, r.prompt, 1, pp=r.pp).prefill_time
    prompts = r.batch * alone
    turn = point.decode_time + prompts
    others = (prompts - alone) / max(1, r.output - 1)
    return Steady(
        r.replicas * r.batch / turn,
        r.replicas * r.batch * r.output / turn,
        point.per_token + others,
        point.per_token / 2 + alone,
        prompts / turn,
    )
