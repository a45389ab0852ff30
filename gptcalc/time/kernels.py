"""How long one kernel takes on one chip: matrix multiplications, attention, and passes over memory.

A kernel's time has three parts: what the arithmetic units need, which slows down as the chip lowers their clock under load; what memory
needs; and what starting it costs. Plain arithmetic only, so that arrays of sizes give arrays of times. Seconds, bytes, FLOP.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from gptcalc.spec.recipe import NARROW
from gptcalc.symbols import Condition, FloatArray, Quantity, distinct, is_one, pick
from gptcalc.time.chip import Chip
from gptcalc.units import short

Operand = Literal["forward", "input_gradient", "weight_gradient"]

TILES = tuple((m, n) for m in (64, 128, 192, 256, 320) for n in (64, 128, 192, 256) if m * n <= 40960)
"""Output tiles of one multiprocessor: rows and columns of the accumulators that its registers hold (names of cuBLAS kernels, sm_90)."""

SPLITS = (1, 2, 3, 4, 6, 8, 12, 16)
SHORTEST_SPLIT = 512
"""A sum over k is divided among multiprocessors only into parts of at least this length."""


class Kernel(NamedTuple):
    """`arithmetic` seconds at the full clock, `memory` seconds, and `fixed` ones that nothing hides; `runs` times in a step."""

    path: str
    phase: str
    kind: str
    arithmetic: Quantity = 0.0
    memory: Quantity = 0.0
    fixed: Quantity = 0.0
    runs: Quantity = 1
    piece: str = ""
    text: str = ""  # what it does, in numbers

    def seconds(self, chip: Chip, clock: Quantity = 1.0) -> Quantity:
        """All runs, with the tensor cores at `clock` of their full rate."""
        if self.kind != "matmul":
            return self.runs * (self.arithmetic / clock + self.memory + self.fixed)
        p = chip.overlap
        busy = self.arithmetic / clock
        return self.runs * ((busy**p + self.memory**p) ** (1 / p) + self.fixed)


def matmul(
    chip: Chip,
    m: Quantity,
    n: Quantity,
    k: Quantity,
    arithmetic: str,
    operand: Operand = "forward",
    *,
    aligned: Condition = True,
    batch: Quantity = 1,
) -> Kernel:
    """`batch` products of an [m, k] with a [k, n] matrix: tiles in waves over the multiprocessors, or memory, whichever is longer.

    `aligned`: whether the innermost dimensions are multiples of 16 bytes; where not, copies cannot be vectorised and the kernels that
    remain are those of an older generation, in tiles of 128 rows. An array where some sizes of arrays are and others are not.

    Units: seconds.   Source: fitted on an NVIDIA H100 (tests/data/h100_kernels.jsonl); the tiles are those of its cuBLAS kernels' names.

    >>> from gptcalc.time.chip import chip_of
    >>> from gptcalc.spec.device import load_device
    >>> h100 = chip_of(load_device("h100"))
    >>> round(1e6 * matmul(h100, 4096, 12288, 12288, "bf16").seconds(h100))  # measured: 1549 us
    1614
    """
    if not isinstance(aligned, bool):
        yes, no = (matmul(chip, m, n, k, arithmetic, operand, aligned=either, batch=batch) for either in (True, False))
        return yes._replace(arithmetic=pick(aligned, yes.arithmetic, no.arithmetic), memory=pick(aligned, yes.memory, no.memory))
    size = {"fp32": 4, "tf32": 4, "int8": 1, "fp4": 0.5, **dict.fromkeys(NARROW, 1)}.get(arithmetic, 2)
    text = f"{_times(batch)}[{_size_of(m)}, {_size_of(k)}] x [{_size_of(k)}, {_size_of(n)}] {arithmetic}"
    per_unit = chip.matmul_rate(arithmetic, operand) / chip.multiprocessors
    if not aligned and arithmetic != "fp32":
        share = chip.unaligned_forward if operand == "forward" else chip.unaligned_gradient
        if arithmetic == "tf32":
            share = chip.unaligned_tf32
        slow = 2 * ceil(m, 128) * 128 * n * (k + chip.unaligned_prologue) * batch / (share * chip.peak(arithmetic))
        text = f"{text}, unaligned"
        return Kernel("", "", "unaligned matmul", 0.0, slow, chip.matmul_gap, text=text)  # too slow to draw much power: the clock stays up
    losses = (1.0, 1.0) if arithmetic == "fp32" else (chip.small_tile, chip.tiny_tile)  # ordinary units are fed from registers
    rates = Rates(chip.multiprocessors, per_unit, *losses, chip.prologue, chip.streaming * chip.bandwidth)
    if isinstance(m, int) and isinstance(n, int) and isinstance(k, int) and isinstance(batch, int):
        busy = _known(m, n, k, batch, rates)
    else:
        busy = _arrays(m, n, k, batch, rates)
    speed = chip.streaming * chip.bandwidth * pick(batch == 1, 1.0, chip.batched)
    weights = size * n * k * batch / (speed * pick(m <= FEW_ROWS, chip.weight_streaming, 1.0))
    return Kernel("", "", "matmul", busy, size * (m * k + m * n) * batch / speed + weights, chip.matmul_gap, text=text)


FULL_CLOCK = ("fp32", "tf32")
"""Arithmetic whose kernels draw too little power to lower the clock."""

FEW_ROWS = 1024
"""Up to here a matmul streams its weights: too few rows to reuse a tile of them."""


class Rates(NamedTuple):
    """What a chip makes of tiles: multiprocessors, FLOP/s of each, what is left of it with small and with tiny tiles; the length of a sum
    that starting one is worth; bytes/s."""

    units: int
    per_unit: float
    small: float
    tiny: float
    prologue: float
    streaming: float


def _tiled(m: Quantity, n: Quantity, k: Quantity, batch: Quantity, rates: Rates) -> Quantity:
    """Seconds of waves of the best tile, with the sum over k in the best number of parts."""
    parts = []
    for split in SPLITS:
        partial_sums: Quantity = 0.0
        if split > 1:
            enough = k >= split * SHORTEST_SPLIT
            if enough is False:
                continue
            partial_sums = pick(enough, 4 * m * n * split * batch / rates.streaming, float("inf"))
        parts.append((split, k / split + rates.prologue, partial_sums))
    down, across = ({size: ceil(length, size) for size in {tile[side] for tile in TILES}} for side, length in enumerate((m, n)))
    found = []
    for rows, columns in TILES:
        area = rows * columns
        loss = 1.0 if area >= 24576 else rates.small if area >= 8192 else rates.tiny
        tiles, speed = down[rows] * across[columns], rates.per_unit * loss
        for split, depth, partial_sums in parts:
            found.append(ceil(tiles * split * batch, rates.units) * 2 * area * depth / speed + partial_sums)
    return least(found)


FEW = 2**14
"""Different sizes whose tiles fit in memory together."""


_known = functools.lru_cache(maxsize=2**14)(_tiled)
"""Of ints: layouts share most of their matmuls."""


def _arrays(m: Quantity, n: Quantity, k: Quantity, batch: Quantity, rates: Rates) -> Quantity:
    """`_tiled` of arrays that broadcast."""
    import numpy as np

    sizes = [np.asarray(size, dtype=np.float64) for size in (m, n, k, batch)]
    return _waves(tuple((size.shape, size.tobytes()) for size in sizes), rates)


@functools.lru_cache(maxsize=2**10)
def _waves(sizes: tuple[tuple[tuple[int, ...], bytes], ...], rates: Rates) -> Quantity:
    """Seconds of m, n, k and batch, each a shape and its float64 numbers: as `_tiled`, all tiles at once, of sizes that differ."""
    import numpy as np

    together = np.broadcast_arrays(*(np.frombuffer(numbers, dtype=np.float64).reshape(shape) for shape, numbers in sizes))
    (m, n, k, batch), which = distinct([size.ravel() for size in together])
    best = np.asarray((_best_of if m.size <= FEW else _tiled)(m, n, k, batch, rates))
    found: FloatArray = best[which].reshape(together[0].shape)
    return found


def _best_of(m: FloatArray, n: FloatArray, k: FloatArray, batch: FloatArray, rates: Rates) -> FloatArray:
    import numpy as np

    tiles = np.array(TILES, dtype=np.float64)[:, :, np.newaxis]
    area = tiles[:, 0] * tiles[:, 1]
    speed = rates.per_unit * np.where(area >= 24576, 1.0, np.where(area >= 8192, rates.small, rates.tiny))
    count = ceil(m, tiles[:, 0]) * ceil(n, tiles[:, 1])
    best = np.full(m.shape, np.inf)
    for split in SPLITS:
        sums = 0.0 if split == 1 else np.where(k >= split * SHORTEST_SPLIT, 4 * m * n * split * batch / rates.streaming, np.inf)
        waves = ceil(count * split * batch, rates.units) * 2 * area * (k / split + rates.prologue) / speed
        best = np.minimum(best, waves.min(axis=0) + sums)
    return best


def flash(
    chip: Chip,
    batch: Quantity,
    heads: Quantity,
    seq: Quantity,
    d_head: Quantity,
    phase: str,
    *,
    causal: bool = True,
    window: Quantity | None = None,
) -> Kernel:
    """Attention whose scores never leave the chip: two matmuls forward, five backward, and an exponential for every score.

    A kernel skips the tiles that a causal mask hides, and those before a `window`; the tiles on an edge are computed whole.

    Units: seconds.   Source: Dao 2023 (FlashAttention-2), arXiv:2307.08691; rates fitted on an NVIDIA H100 (tests/data/h100_kernels.jsonl).
    """
    width = padded_width(d_head)
    seen = seq if window is None else least((window, seq))
    scores = batch * heads * (seen * (seen + chip.diagonal) / 2 + (seq - seen) * (seen + chip.diagonal - 1) if causal else seq * seq)
    peak = chip.peak("bf16" if chip.has("bf16") else "fp16")
    text = f"{_times(batch)}{_size_of(heads)} heads of {_size_of(d_head)}, {_size_of(seq)} tokens"
    if phase == "forward":
        one = 4 * width / (chip.flash_forward * peak) + 1 / (chip.scores_forward * chip.lanes)
        return Kernel("", phase, "attention", scores * one, 0.0, chip.flash_fixed, text=text)
    one = 10 * width / (chip.flash_backward * peak) + 1 / (chip.scores_backward * chip.lanes)
    return Kernel("", phase, "attention", scores * one, 0.0, 2 * chip.flash_fixed, text=text)


def padded_width(d_head: Quantity) -> Quantity:
    """Channels of a head that an attention kernel computes: its tiles are 64 wide, or a multiple of 128.

    >>> [padded_width(width) for width in (64, 80, 128, 192)]
    [64, 128, 128, 256]
    """
    return pick(d_head <= 64, 64, ceil(d_head, 128) * 128)


def efficient(chip: Chip, batch: Quantity, heads: Quantity, seq: Quantity, d_head: Quantity, phase: str) -> Kernel:
    """The memory-efficient attention kernel of fp32 operands: on the ordinary units, TF32 or not.

    Units: seconds.   Source: Rabe & Staats 2021, arXiv:2112.05682; rates fitted on an NVIDIA H100.
    """
    share, width = (chip.efficient_forward, 4) if phase == "forward" else (chip.efficient_backward, 10)
    scores = batch * heads * seq * (seq + chip.diagonal) / 2
    return Kernel("", phase, "attention", 0.0, scores * d_head * width / (share * chip.peak("fp32")), chip.flash_fixed)


def streaming(chip: Chip, kind: str, n_bytes: Quantity, elements: Quantity | None = None, count: Quantity = 1) -> Kernel:
    """`count` passes of `n_bytes` each, at memory's rate or, where PyTorch's kernel cannot vectorise, at the multiprocessors' own.

    Short passes stay in the on-chip memory that the previous one filled; `elements` bound those kinds that have a rate in `chip`.

    Units: seconds.   Source: fitted on an NVIDIA H100 (tests/data/h100_kernels.jsonl).
    """
    hits = most((0.0, least((1.0, 2 - 2 * n_bytes / chip.on_chip))))  # all up to half of it, none from the whole on
    slow = chip.share(kind) * chip.bandwidth
    quick = chip.on_chip_rate * chip.lanes
    seconds = n_bytes * ((1 - hits) / slow + hits / most((quick, slow)))
    rate = chip.rate(kind)
    if rate is not None and elements is not None:
        units = elements / (rate * chip.lanes)
        seconds = seconds + units if kind == "update" else most((seconds, units))  # an optimizer's divisions and roots hide under nothing
    fixed = chip.gap + (chip.columns_fixed if kind == "columns" else 0.0)
    return Kernel("", "", kind, 0.0, seconds, fixed, count, text=_of_pass(kind, n_bytes, count))


def sustained_clock(chip: Chip, arithmetic: Quantity, other: Quantity) -> Quantity:
    """The share of their full clock at which tensor cores run when they are busy `arithmetic` seconds at that clock and others `other`.

    The chip may draw its TDP on average: (P_t·f²·a + P_m·b) / (a/f + b) <= 1, powers in units of TDP. A cubic in f, solved by Newton's
    method from f = 1.

    Source: fitted on an NVIDIA H100; a tensor core's power falls as the cube of its clock.

    >>> from gptcalc.time.chip import chip_of
    >>> from gptcalc.spec.device import load_device
    >>> round(sustained_clock(chip_of(load_device("h100")), 1.0, 0.0), 2)
    0.9
    """
    f: Quantity = 1.0
    for _ in range(12):
        value = chip.tensor_power * arithmetic * f**3 + (chip.memory_power - 1) * other * f - arithmetic
        slope = 3 * chip.tensor_power * arithmetic * f**2 + (chip.memory_power - 1) * other
        f = f - pick(value > 0, value / pick(value > 0, slope, 1.0), 0.0)  # from above: convex, and nothing to do where it is met
    return f


def _of_pass(kind: str, n_bytes: Quantity, count: Quantity) -> str:
    size = short(n_bytes, "B") if isinstance(n_bytes, int | float) else "bytes by the array"
    return f"{_times(count)}{size}, {kind.replace('_', ' ')}"


def _times(count: Quantity) -> str:
    return "" if is_one(count) else f"{_size_of(count)} x "


def _size_of(value: Quantity) -> str:
    """A number as text; of an array, whose text takes longer than its kernels' times, that it is one."""
    return "..." if getattr(value, "ndim", 0) else f"{value}"


def ceil(a: Quantity, b: Quantity) -> Quantity:
    """a / b rounded up.

    >>> ceil(7, 2), ceil(8.0, 2.0)
    (4, 4.0)
    """
    return -(-a // b)


def settled(condition: Condition) -> Condition:
    """True or False where an array of conditions says the same in every place, so that one branch alone is computed.

    >>> settled(True), settled(3 > 4)
    (True, False)
    """
    if isinstance(condition, bool):
        return condition
    return True if condition.all() else condition if condition.any() else False


def many(size: Quantity) -> bool:
    """Whether a size divides anything; of arrays some places may, and what one rank sends itself takes no time."""
    return size > 1 if isinstance(size, int) else True


def least(values: Iterable[Quantity]) -> Quantity:
    """The smallest, element by element for arrays."""
    return _extreme(values, "minimum", min)


def most(values: Iterable[Quantity]) -> Quantity:
    """The largest, element by element for arrays."""
    return _extreme(values, "maximum", max)


def _extreme(values: Iterable[Quantity], ufunc: str, scalar: Callable[[list[float]], float]) -> Quantity:
    several = list(values)
    numbers = [value for value in several if isinstance(value, int | float)]
    if len(numbers) == len(several):
        return scalar(numbers)
    import numpy as np

    extreme: Quantity = functools.reduce(getattr(np, ufunc), several)
    return extreme
