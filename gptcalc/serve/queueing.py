"""How far single requests are from the mean: queues of prompts, and the prompts of others between one's own tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gptcalc.symbols import pick
from gptcalc.time.kernels import most

if TYPE_CHECKING:
    from gptcalc.serve.demand import Demand
    from gptcalc.serve.steady import Steady

POINTS = {"p50": (0.5, 0.0), "p90": (0.9, 1.2816), "p99": (0.99, 2.3263)}
"""Shares, and how many standard deviations of a normal distribution are below each."""


def percentiles(d: Demand, s: Steady) -> dict[str, dict[str, Any]]:
    """Of time to first token, time per token and the whole request.

    A wait is none for a share 1 - rho of requests, and exponential for the others (M/G/1 in heavy traffic: Kingman 1962). Prompts that
    interrupt one's O tokens are as many as a Poisson distribution says.
    """
    found: dict[str, dict[str, Any]] = {"ttft": {}, "tpot": {}, "e2e": {}}
    rest = s.ttft - s.wait
    interruptions = s.busy * d.output
    each = s.added / d.output
    mean = s.e2e(d.output)
    for name, (share, deviations) in POINTS.items():
        ttft = rest + waited(s.wait, s.load, share)
        tpot = s.tpot + deviations * interruptions**0.5 * each
        off = ((ttft - s.ttft) ** 2 + ((d.output - 1) * (tpot - s.tpot)) ** 2) ** 0.5
        found["ttft"][name], found["tpot"][name] = ttft, tpot
        found["e2e"][name] = mean + (off if share > 0.5 else ttft - s.ttft)
    return found


def waited(mean: Any, busy: Any, share: float) -> Any:
    """The wait that so many requests have at most.

    >>> round(waited(1.0, 0.5, 0.9), 2), waited(1.0, 0.5, 0.4)
    (3.22, 0.0)
    """
    import math

    busy = most((busy, 1e-9))
    if not hasattr(busy, "dtype"):
        return max(0.0, mean / busy * math.log(busy / (1 - share)))
    import numpy as np

    return most((pick(busy > 1 - share, mean / busy * np.log(busy / (1 - share)), 0.0), 0.0))
