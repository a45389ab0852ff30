"""Servers under load: what was measured beside what `infer` predicts, run by run; and by kind how many lie in their interval.

- `measured_loads`: each run. `kinds_of`: errors of dense models and of mixtures of experts, by server and in all; how many are within the
  factor that is said of them, and within that of the other tables alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from gptcalc.run.published import Replica

if TYPE_CHECKING:
    from gptcalc.serve.loaded import Loaded
    from gptcalc.spec.served import Served

NINE_IN_TEN = 0.9


class Kind(NamedTuple):
    """Errors of many runs. `median`, `ninth` of ten and `bias` of predicted over reported, less one; `inside`: the share within the factor
    that is said of them, `left_out`: of each table within that of nine in ten runs of the others."""

    kind: str
    server: str
    quantity: str
    runs: int
    median: float
    ninth: float
    bias: float
    factor: float
    inside: float
    left_out: float | None


def answers() -> Iterator[tuple[Served, Loaded]]:
    """Every layout of presets/served with what `infer` says of it."""
    import numpy as np

    from gptcalc.serve.answer import infer
    from gptcalc.spec.served import all_loads

    for one in all_loads():
        prompt, output, concurrency, *_ = (np.array(column, float) for column in zip(*one.rows, strict=True))
        yield (
            one,
            infer(
                one.model,
                device=one.device,
                server=one.server,
                precision=one.precision,
                tp=one.tp,
                pp=one.pp,
                ep=one.ep,
                attention_dp=one.attention_dp,
                lengths=one.lengths,
                prompt=np.round(one.mean * prompt),
                output=np.round(one.mean * output),
                concurrency=concurrency,
            ),
        )


def measured_loads() -> list[Replica]:
    """Mean time per output token and to first token of every run of presets/served; of the latter what the benchmark printed.

    `interval`: within which nine in ten are expected, by kind of model.
    """
    rows = []
    formula = "the closed loop's steady state, as gptcalc infer --server computes it"
    for one, answer in answers():
        within = {"tpot_ms": answer.factors.tpot - 1, "ttft_ms": answer.factors.ttft - 1}
        found = {"tpot_ms": 1e3 * answer.tpot, "ttft_ms": 1e3 * answer.steady.ttft_benchmark}
        for at, (prompt, output, concurrency, ttft, tpot) in enumerate(one.rows):
            run = f"{one.title}, {concurrency:.0f} x {prompt:.0f} + {output:.0f}"
            for quantity, reported in (("tpot_ms", tpot), ("ttft_ms", ttft)):
                predicted = float(found[quantity][at])
                error, factor = predicted / reported - 1, within[quantity]
                inside = 1 / (1 + factor) <= predicted / reported <= 1 + factor
                rows.append(
                    Replica(
                        run,
                        one.title,
                        quantity,
                        predicted,
                        reported,
                        error,
                        None,
                        one.source,
                        "",
                        factor,
                        formula,
                        inside,
                    )
                )
    return rows


def kinds_of(rows: Iterable[Replica]) -> list[Kind]:
    """Errors by kind of model, of each server and of all, from `measured_loads`.

    >>> kinds = kinds_of(measured_loads())
    >>> [(one.kind, one.quantity) for one in kinds if one.server == "all"]
    [('dense', 'tpot_ms'), ('dense', 'ttft_ms'), ('experts', 'tpot_ms'), ('experts', 'ttft_ms')]
    """
    import math

    import numpy as np

    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    factors: dict[tuple[str, str], float] = {}
    for row in rows:
        server, model, *_ = row.title.split(", ")
        device = row.title.split(", ")[3]
        key = _kind_of(model), row.quantity
        factors[key] = 1 + (row.interval or 0.0)
        found.setdefault(key, {}).setdefault(f"{server}, {model}, {device}", []).append(math.log1p(row.error or 0.0))
    kinds = []
    for (kind, quantity), tables in sorted(found.items(), key=lambda item: (item[0][0], item[0][1] != "tpot_ms")):
        said = factors[kind, quantity]
        for server in ("all", *sorted({table.split(", ")[0] for table in tables})):
            own = {table: errors for table, errors in tables.items() if server in ("all", table.split(", ")[0])}
            logs = np.concatenate(list(own.values()))
            errors = np.expm1(logs)
            kinds.append(
                Kind(
                    kind,
                    server,
                    quantity,
                    logs.size,
                    float(np.median(abs(errors))),
                    float(np.quantile(abs(errors), NINE_IN_TEN)),
                    float(np.median(errors)),
                    said,
                    float(np.mean(abs(logs) <= math.log(said))),
                    _left_out(tables) if server == "all" else None,
                )
            )
    return kinds


def _left_out(tables: dict[str, list[float]]) -> float:
    """The share of runs within the factor that nine in ten runs of all other tables are within."""
    import numpy as np

    inside = 0
    for name, own in tables.items():
        others = np.concatenate([np.abs(errors) for table, errors in tables.items() if table != name])
        inside += int(np.sum(np.abs(own) <= np.quantile(others, NINE_IN_TEN)))
    return inside / sum(len(own) for own in tables.values())


def _kind_of(model: str) -> str:
    from gptcalc.spec.files import load_model
    from gptcalc.spec.legality import has_experts

    return "experts" if has_experts(load_model(model)) else "dense"
