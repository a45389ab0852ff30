"""Throughput against latency: many batches or prompts at once, and the batch at which decoding turns from bandwidth- to compute-bound."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.node import plain
from gptcalc.serve.economy import cost_of
from gptcalc.serve.point import Point, point_of
from gptcalc.serve.room import serving_of
from gptcalc.spec.options import whole_number
from gptcalc.spec.reading import quoted
from gptcalc.units import parse_count

if TYPE_CHECKING:
    from gptcalc.serve.request import Request
    from gptcalc.serve.work import Work

SWEPT = ("batch", "prompt")
MOST_VALUES = 1000
"""Values of one sweep: more are more than a table or a picture shows."""

MOST_BATCHES = 4096
"""How far the turning point is looked for."""


class Sweep(NamedTuple):
    """A row for each value of one option; `turns` are batches, None where none up to 4,096 is one."""

    option: str
    rows: list[dict[str, Any]]
    turns: dict[str, int | None]

    def to_dict(self) -> dict[str, Any]:
        return {"option": self.option, "points": self.rows, "compute_bound_from_batch": self.turns}


def sweep_of(r: Request, work: Work, room: int, text: str, price: Any) -> Sweep:
    """`text` is "batch=1..256" (powers of two and both ends), "batch=1,8,20", or the same of prompt; `room` bytes for it.

    Raises GptcalcError for text that is neither, and prompts that the model does not reach.
    """
    import numpy as np

    from gptcalc.serve.request import check_context

    option, values = read_sweep(text)
    if option == "prompt":
        check_context(r.model, max(values), r.output)
    swept = np.array(values, dtype=float)
    batch, prompt = (swept if name == option else np.full_like(swept, getattr(r, name)) for name in SWEPT)
    point = point_of(work, batch, prompt, r.output, pp=r.pp)
    return Sweep(option, _rows(r._replace(batch=batch, prompt=prompt), point, values, option, room, price), turning_points(work, r))


def _rows(r: Request, point: Point, values: list[int], option: str, room: int, price: Any) -> list[dict[str, Any]]:
    import numpy as np

    cost, _ = cost_of(r, point, price)
    bounds = point.decode.by_bound()
    names = list(bounds)
    winner = np.stack([np.broadcast_to(bounds[name], (len(values),)) for name in names]).argmax(axis=0)
    fits = serving_of(r, r.batch).value <= room
    columns = {
        "time_to_first_token": point.prefill_time,
        "time_per_output_token": point.per_token,
        "tokens_per_second": r.replicas * point.rate,
        "tokens_per_second_of_one_user": 1 / point.per_token,
        "usd_per_million_output_tokens": cost.output.likely if cost else None,
    }
    return [
        {
            option: value,
            **{name: None if column is None else plain(column[i]) for name, column in columns.items()},
            "bound": names[winner[i]],
            "fits": bool(fits[i]),
        }
        for i, value in enumerate(values)
    ]


def turning_points(work: Work, r: Request) -> dict[str, int | None]:
    """From which batch on arithmetic takes longer than memory in a decode step: its matmuls, and the step with its cache.

    The cache is read anew for every sequence, so that a step over a long context may never turn.
    """
    import numpy as np

    batches = np.arange(1.0, MOST_BATCHES + 1)
    middle = int(np.max(r.prompt)) + max(1, r.output // 2)
    point = point_of(work, batches * r.pp, middle - 1, 1, pp=r.pp)
    found: dict[str, int | None] = {}
    for name, of in (("matmuls", "matmul"), ("decode_step", "")):
        seconds = {bound: np.broadcast_to(value, batches.shape) for bound, value in point.decode.by_bound(of=of).items()}
        above = np.flatnonzero(seconds["compute"] > sum(value for bound, value in seconds.items() if bound != "compute"))
        found[name] = int(batches[above[0]]) * r.pp if above.size else None
    return found


def read_sweep(text: str) -> tuple[str, list[int]]:
    """The option and its values.

    >>> read_sweep("batch=1..20")
    ('batch', [1, 2, 4, 8, 16, 20])
    """
    name, equals, values = (text if isinstance(text, str) else "").partition("=")
    if name.strip() not in SWEPT or not equals:
        near = did_you_mean(name.strip(), SWEPT) if equals else None
        hint = near or "write batch=1..256 or prompt=128,1024,4096"
        raise GptcalcError(f"no sweep over {quoted(text)}", hint=hint)
    low, dots, high = values.partition("..")
    if values.count(",") >= MOST_VALUES:
        hint = f"{name.strip()}=1..256 takes the powers of two between two ends"
        raise GptcalcError(f"a sweep takes {MOST_VALUES:,} values at most, not {values.count(',') + 1:,}", hint=hint)
    if not dots:
        if re.fullmatch(r"\s*\w+\s*-\s*\w+\s*", values):
            raise GptcalcError(f"no sweep over {quoted(text)}", hint=f"did you mean {name.strip()}={values.replace('-', '..', 1).strip()}?")
        return name.strip(), [whole_number(name.strip(), parse_count(value, of_bytes=False)) for value in values.split(",")]
    first, last = (whole_number(name.strip(), parse_count(value, of_bytes=False)) for value in (low, high))
    if first > last:
        raise GptcalcError(f"the sweep {quoted(values)} falls", hint="write the smaller end first")
    inside = [2**power for power in range(first.bit_length(), last.bit_length()) if first < 2**power < last]
    return name.strip(), sorted({first, *inside, last})
