"""What tensor- and pipeline-parallel ranks send each other: short messages, most of whose time is latency."""

from __future__ import annotations

from typing import Any

from gptcalc.errors import GptcalcError
from gptcalc.formulas.time.chip import Chip
from gptcalc.formulas.time.kernels import Kernel


def all_reduce(chip: Chip, bandwidth: float | None, n_bytes: Any, ranks: int) -> Kernel:
    """Sums of `n_bytes` that every rank has a part of.

    A start, a hop for each rank, 2(n - 1)/n of the bytes through the link, and a root for the pieces that fill the ring.

    Units: seconds.   Source: nccl-tests on A100, H100 and B200 (aiconfigurator's database), 7 % mean error from 8 KiB to 512 MiB.

    >>> from gptcalc.formulas.time.chip import chip_of
    >>> from gptcalc.spec.device import load_device
    >>> a100 = load_device("a100")
    >>> round(all_reduce(chip_of(a100), a100.link.bandwidth, 8192, 8).seconds(chip_of(a100)) * 1e6, 1)  # measured: 21.27
    21.3
    """
    return _ring(chip, bandwidth, n_bytes, ranks, 2, "all-reduce")


def all_gather(chip: Chip, bandwidth: float | None, n_bytes: Any, ranks: int) -> Kernel:
    """`n_bytes` in all, put together on every rank: half of an all-reduce. See there."""
    return _ring(chip, bandwidth, n_bytes, ranks, 1, "all-gather")


def send(chip: Chip, bandwidth: float | None, n_bytes: Any) -> Any:
    """Seconds of a message from one stage to the next. See `all_reduce`."""
    return chip.link_start + chip.link_rank + n_bytes / (chip.link_share * _known(chip, bandwidth))


def _ring(chip: Chip, bandwidth: float | None, n_bytes: Any, ranks: int, times: int, name: str) -> Kernel:
    wire = times * (ranks - 1) / ranks * n_bytes / (chip.link_share * _known(chip, bandwidth))
    return Kernel("", "", name, 0.0, wire + chip.link_root * (wire * 1e-6) ** 0.5, chip.link_start + chip.link_rank * ranks)


def _known(chip: Chip, bandwidth: float | None) -> float:
    if bandwidth is None:
        raise GptcalcError(f"the catalogue has no link between devices of {chip.name}", hint="use --tp 1 --pp 1")
    return bandwidth
