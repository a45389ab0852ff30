"""Servers under load with each table left out in turn: a server's constants are fitted on its other tables, the factors of the interval on
all other tables, and the table is predicted by them. Run as `python tests/benchmarks/serving_left_out.py`: some twenty seconds.

A table is one server with one model on one device (presets/served). Printed by kind: errors and coverage in sample and left out.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from gptcalc.run.loads import answers
from gptcalc.serve.certainty import LOADED
from gptcalc.serve.replica import on_device
from gptcalc.serve.steady import passes_of, running_of, steady_of
from gptcalc.spec.files import load_model
from gptcalc.spec.legality import has_experts

START = {"step": 0.5e-3, "layer": 0.3e-3, "request": 60e-3}  # seconds
CLIPPED = (0.5, 1.0)  # what errors of TPOT and TTFT (of logarithms) count as at most: versions of a server differ
WEIGHT = 0.25  # of TTFT beside TPOT


class Layout(NamedTuple):
    server: str
    table: str
    kind: str
    answer: Any
    device: Any
    tpot: Any
    ttft: Any

    def errors(self, constants: dict[str, float] | None = None) -> tuple[Any, Any]:
        replica = self.answer.replica
        if constants is not None:
            replica = replica._replace(engine=replica.engine.model_copy(update=constants))
        s = steady_of(replica, self.answer.load, self.device)
        return np.log(s.tpot / self.tpot), np.log(s.ttft_benchmark / self.ttft)


def layouts() -> list[Layout]:
    found = []
    for one, answer in answers():
        ttft, tpot = (1e-3 * np.array([row[at] for row in one.rows]) for at in (3, 4))
        device = on_device(answer.replica, passes_of(answer.replica, running_of(answer.replica, answer.load)[1], answer.load)[0])
        kind = "experts" if has_experts(load_model(one.model)) else "dense"
        found.append(Layout(one.server, f"{one.server}, {one.model}, {one.device}", kind, answer, device, tpot, ttft))
    return found


def loss(rows: Iterable[Layout], constants: dict[str, float]) -> float:
    errors = [row.errors(constants) for row in rows]
    tpot, ttft = (np.concatenate(one) for one in zip(*errors, strict=True))
    return float(np.mean(np.minimum(abs(tpot), CLIPPED[0])) + WEIGHT * np.mean(np.minimum(abs(ttft), CLIPPED[1])))


def fitted(rows: list[Layout]) -> dict[str, float]:
    """One constant after another, in ever smaller steps."""
    constants, best, factor = dict(START), loss(rows, START), 2.0
    while factor > 1.05:
        moved = False
        for name in constants:
            for value in (constants[name] * factor, constants[name] / factor):
                found = loss(rows, constants | {name: value})
                if found < best - 1e-6:
                    best, moved = found, True
                    constants[name] = value
        factor = factor if moved else factor**0.5
    return constants


Errors = dict[str, list[Any]]


def by_kind(rows: list[Layout]) -> dict[tuple[str, int], tuple[Errors, Errors]]:
    """Logarithms of predicted over measured by table: in sample and left out; of TPOT (0) and TTFT (1) of each kind of model."""
    without = {}
    for table in dict.fromkeys(row.table for row in rows):
        server = table.split(",")[0]
        without[table] = fitted([row for row in rows if row.server == server and row.table != table])
    found: dict[tuple[str, int], tuple[Errors, Errors]] = {}
    for row in rows:
        for at in (0, 1):
            sample, left = found.setdefault((row.kind, at), ({}, {}))
            sample.setdefault(row.table, []).append(row.errors()[at])
            left.setdefault(row.table, []).append(row.errors(without[row.table])[at])
    return found


def inside(errors: Errors, factor: Callable[[str], float]) -> float:
    """The share of runs within a factor each way, which may be each table's own."""
    logs = {table: np.concatenate(one) for table, one in errors.items()}
    return sum(int(np.sum(abs(one) <= math.log(factor(table)))) for table, one in logs.items()) / sum(one.size for one in logs.values())


def others(errors: Errors) -> Callable[[str], float]:
    """The factor that nine in ten runs of all other tables are within."""

    def factor(table: str) -> float:
        logs = np.concatenate([one for name, each in errors.items() if name != table for one in each])
        return float(np.exp(np.quantile(abs(logs), 0.9)))

    return factor


def main() -> None:
    rows = layouts()
    for server in dict.fromkeys(row.server for row in rows):
        print(server, {name: f"{value:.2e}" for name, value in fitted([row for row in rows if row.server == server]).items()})
    print(f"{'%':28s} median   9/10   bias  in the interval")
    for (kind, at), (sample, left) in by_kind(rows).items():
        said = LOADED[kind][at]
        for name, errors, factor in (
            (f"{kind} {('TPOT', 'TTFT')[at]}, in sample", sample, lambda _, said=said: said),
            ("    left out", left, lambda _, said=said: said),
            ("    and the interval too", left, others(left)),
        ):
            all_ = 100 * np.expm1(np.concatenate([one for each in errors.values() for one in each]))
            middle, ninth, bias = np.median(abs(all_)), np.quantile(abs(all_), 0.9), np.median(all_)
            print(f"{name:28s} {middle:6.1f} {ninth:6.1f} {bias:+6.1f}  {100 * inside(errors, factor):6.1f} of {all_.size}")


if __name__ == "__main__":
    main()
