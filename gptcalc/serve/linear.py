"""A linear layer that serves: weights as they are stored, few rows or many, one matrix or the experts that a batch touches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gptcalc.footprint.quantized import packed
from gptcalc.footprint.serving import Stored
from gptcalc.serve.attend import QUERY_ROWS
from gptcalc.serve.work import Work
from gptcalc.symbols import pick, product
from gptcalc.table.operation import Operation
from gptcalc.time.kernels import FEW_ROWS, TILES, Kernel, ceil, least, matmul, streaming

if TYPE_CHECKING:
    from gptcalc.spec.model import Form

TILE_ROWS = 128
"""Rows of one tile: each tile converts its weights for itself."""


def weight_bytes(stored: Stored, k: Any, n: Any) -> Any:
    """Bytes of a k x n matrix as it is stored, scales included.

    >>> weight_bytes(Stored(4, 20, 128), 4096, 4096) / 4096**2 * 8
    4.15625
    """
    scales = 0 if stored.group is None else n if stored.group == 0 else k * n / stored.group
    return (stored.bits * k * n + stored.scale_bits * scales) / 8


def matrix_bytes(work: Work, row: Operation[Any], runs: Any, *, quantized: Form | bool) -> Any:
    """Bytes of a row's matrix, or of one expert's, in one of the `runs` layers that store it so."""
    _, _, k, n = row.matmul
    if isinstance(quantized, bool):
        return weight_bytes(work.stored if quantized else Stored(max(work.stored.bits, 16)), k, n)
    shape = row.weights[0][1] if row.weights else (k, n)  # a tied head has the embedding's
    return packed(quantized, runs, shape) / product((runs, *shape[:-2]))


def distinct_experts(n_expert: Any, per_token: Any, tokens: Any) -> Any:
    """How many of E experts at least one of N tokens goes to, each token choosing k at random: E·(1 - (1 - k/E)^N) expected.

    >>> distinct_experts(8, 2, 1), round(distinct_experts(8, 2, 4), 3)
    (2.0, 5.469)
    """
    return n_expert * (1 - (1 - per_token / n_expert) ** tokens)


def linear(work: Work, m: Any, k: Any, n: Any, weights: Any, *, quantized: Form | bool, matrices: Any = 1) -> tuple[Kernel, Any, Any]:
    """An [m, k] by [k, n] product, or `matrices` of them with m rows each; with its FLOPs and the bytes that it moves.

    The `weights` bytes of a matrix are read once, as they are stored; what the arithmetic units do not take so is converted on the way.
    One row is a product of a matrix and a vector: it streams the weights, and no tensor core cares for alignment.
    """
    chip = work.chip
    arithmetic = work.arithmetic if quantized else work.plain
    size = 1 if arithmetic in ("fp8", "int8") else work.width
    dense = matmul(chip, m, n, k, arithmetic, batch=1)
    if chip.cuda and not ((n * size) % 16 == 0 and (k * size) % 16 == 0):
        odd = matmul(chip, m, n, k, arithmetic, aligned=False)
        alone = m <= 1
        dense = dense._replace(arithmetic=pick(alone, dense.arithmetic, 0.0), memory=pick(alone, dense.memory, odd.memory))
    least_rows = QUERY_ROWS if chip.cuda else 1
    rows = least((1.0, ceil(m, least_rows) * least_rows / TILES[0][0]))  # few rows need not fill the smallest tile
    dense = dense._replace(arithmetic=dense.arithmetic * rows)
    speed = chip.streaming * chip.bandwidth * pick(m <= FEW_ROWS, chip.weight_streaming, 1.0)
    memory = dense.memory + (weights - size * k * n) / speed
    if quantized and work.dequantised:
        memory = memory + ceil(m, TILE_ROWS) * k * n / (chip.rate_dequantise * chip.lanes)
    text = dense.text if weights == size * k * n else f"{dense.text}, weights of {8 * weights / (k * n):.4g} bits"
    kernel = dense._replace(arithmetic=matrices * dense.arithmetic, memory=matrices * memory, fixed=gap(work, "matmul"), text=text)
    return kernel, 2 * m * k * n * matrices, (weights + size * m * k + work.width * m * n) * matrices


def gap(work: Work, kind: str) -> float:
    """Seconds that starting a kernel costs on the device itself: fewer inside a CUDA graph, where nothing is between two kernels."""
    chip = work.chip
    if not work.server.graph:
        return chip.matmul_gap if kind == "matmul" else chip.gap
    return {"matmul": chip.graph_matmul, "norm": chip.graph_norm}.get(kind, chip.graph_pass)


def a_pass(work: Work, kind: str, n_bytes: Any, elements: Any = None, count: int = 1) -> Kernel:
    """`count` passes over memory."""
    return streaming(work.chip, kind, n_bytes, elements, count)._replace(fixed=gap(work, kind))
