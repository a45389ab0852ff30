"""Pictures that are read with a prompt: the tower's kernels over their patches, and the projector's over what becomes tokens.

A bound: each matrix of the tower is one matmul, attention is over all patches of a picture (a window sees fewer), and passes over memory
between them are not counted. None was measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.serve.linear import linear
from gptcalc.spec.images import Picture
from gptcalc.time.kernels import Kernel

if TYPE_CHECKING:
    from gptcalc.serve.work import Work
    from gptcalc.spec.tower import Tower

OF_PATCHES = ("patches/", "layers/", "stem/")
"""Where a tower works on patches; elsewhere on what they are merged to."""


class Seen(NamedTuple):
    """`number` pictures in each prompt, alike, and the towers that read them."""

    number: int
    picture: Picture
    towers: tuple[Tower, ...]

    @property
    def tokens(self) -> int:
        """In each prompt."""
        return self.number * self.picture.tokens


def towers(work: Work, seen: Seen, batch: Any) -> Iterator[tuple[Kernel, Any, Any]]:
    """The kernels that read every picture of `batch` prompts; with FLOPs and bytes. A tower is whole on each rank."""
    pictures = batch * seen.number
    for tower in seen.towers:
        for path, (runs, *shape) in tower.tensors.items():
            if len(shape) != 2 or not path.endswith("/weight") or "positions" in path:
                continue
            of_patches = path.startswith(OF_PATCHES) and "tower" in tower.name
            rows = pictures * (seen.picture.patches if of_patches else seen.picture.tokens)
            k, n = shape
            kernel, flops, moved = linear(work, rows, k, n, work.width * k * n, quantized=False)
            yield kernel._replace(path=f"{tower.name}/{path.removesuffix('/weight')}", runs=runs), flops, moved
        yield from _attention(work, seen, tower, pictures)


def _attention(work: Work, seen: Seen, tower: Tower, pictures: Any) -> Iterator[tuple[Kernel, Any, Any]]:
    query = next((sizes for path, sizes in tower.tensors.items() if path.startswith("layers/") and path.endswith("query/weight")), None)
    if query is None:
        return
    layers, _, width = query
    each = seen.picture.patches // seen.picture.crops
    flops = 4 * pictures * seen.picture.crops * each * each * width
    moved = 4 * work.width * pictures * seen.picture.patches * width
    rate = work.chip.flash_forward * work.chip.peak(work.plain)
    kernel = Kernel(f"{tower.name}/layers/attention/core", "", "attention", flops / rate, 0.0, work.chip.flash_fixed, layers)
    yield kernel._replace(text=f"{each:,} patches of a picture, each over all: a bound"), flops, moved
