"""Operations under a device's roof: how much arithmetic they do for each byte, and how fast.

Source: Williams, Waterman & Patterson 2009, Communications of the ACM 52(4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gptcalc.serve.answer import Inference


def roofline_of(answer: Inference) -> dict[str, Any]:
    """`ridge` is the intensity (FLOP per byte) at which the roof's slope, memory, meets its top, the peak of the matmuls' arithmetic.

    Points are operations that do arithmetic, at the rate that they reach.

    Units: FLOP/s, byte/s, FLOP per byte.
    """
    work, point = answer.work, answer.point
    peak = work.chip.peak(work.arithmetic)
    points = []
    for phase, passed in (("prefill", point.prefill), ("decode", point.decode)):
        points += [
            {
                "phase": phase,
                "operation": one["operation"],
                "intensity": one["intensity"],
                "flops_per_second": one["flops"] / one["time"],
                "roof": min(peak, one["intensity"] * work.chip.bandwidth),
                "share_of_roof": one["flops"] / one["time"] / min(peak, one["intensity"] * work.chip.bandwidth),
                "share_of_time": one["share"],
                "bound": one["bound"],
            }
            for one in passed.to_list()
            if one["flops"] and one["intensity"]
        ]
    return {
        "arithmetic": work.arithmetic,
        "peak": peak,
        "bandwidth": work.chip.bandwidth,
        "ridge": peak / work.chip.bandwidth,
        "points": points,
    }
