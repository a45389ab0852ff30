"""Matmuls of a server under load: a projection of all rows of a pass, and the experts of a layer as one grouped kernel."""

from __future__ import annotations

from typing import Any

from gptcalc.serve.attend import QUERY_ROWS
from gptcalc.serve.linear import TILE_ROWS, gap
from gptcalc.serve.work import Work
from gptcalc.symbols import pick
from gptcalc.time.kernels import FEW_ROWS, TILES, Kernel, ceil, least, matmul

WIDTHS = {"fp8": 1, "int8": 1, "fp4": 0.5, "fp32": 4, "tf32": 4}


def projection(work: Work, m: Any, k: Any, n: Any, weights: Any, *, quantized: Any) -> tuple[Kernel, Any, Any]:
    """An [m, k] by [k, n] product whose `weights` bytes are read once, as they are stored; with its FLOPs and bytes."""
    chip = work.chip
    arithmetic = work.arithmetic if quantized else work.plain
    speed = chip.streaming * chip.bandwidth * pick(m <= FEW_ROWS, chip.weight_streaming * _narrow(work, weights, k, n), 1.0)
    return _kernel(work, m, k, n, weights, 1, arithmetic, speed, 1.0, quantized=quantized)


def experts(work: Work, m: Any, k: Any, n: Any, weights: Any, used: Any, *, quantized: Any) -> tuple[Kernel, Any, Any]:
    """`used` products of m rows each in one kernel: tiles of all of them fill the waves together.

    Source: its share of the dense rate, `grouped`, in presets/devices.
    """
    chip = work.chip
    arithmetic = work.arithmetic if quantized else work.plain
    speed = chip.streaming * chip.bandwidth * chip.expert_streaming
    return _kernel(work, m, k, n, weights, used, arithmetic, speed, chip.grouped, quantized=quantized)


def _narrow(work: Work, weights: Any, k: Any, n: Any) -> float:
    return work.chip.narrow_streaming if 8 * weights < 5 * k * n else 1.0


def _kernel(
    work: Work, m: Any, k: Any, n: Any, weights: Any, matrices: Any, arithmetic: str, speed: Any, share: float, *, quantized: Any
) -> tuple[Kernel, Any, Any]:
    chip = work.chip
    size = WIDTHS.get(arithmetic, 2)
    dense = matmul(chip, m, n, k, arithmetic, batch=matrices)
    least_rows = QUERY_ROWS if chip.cuda else 1
    rows = least((1.0, ceil(m, least_rows) * least_rows / TILES[0][0]))  # few rows need not fill the smallest tile
    moved = (size * m * k + work.width * m * n) * matrices
    memory = weights * matrices / speed + moved / (chip.streaming * chip.bandwidth)
    if quantized and work.dequantised:
        memory = memory + matrices * ceil(m, TILE_ROWS) * k * n / (chip.rate_dequantise * chip.lanes)
    text = f"{dense.text}, weights of {8 * weights / (k * n):.4g} bits"
    kernel = dense._replace(arithmetic=dense.arithmetic * rows / share, memory=memory, fixed=gap(work, "matmul"), text=text)
    return kernel, 2 * m * k * n * matrices, weights * matrices + moved
