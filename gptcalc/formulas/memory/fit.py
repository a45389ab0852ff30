"""Does it fit: the room on a device, the largest batch in it, and the cheapest single change where it does not."""

from collections.abc import Callable
from typing import Any, NamedTuple

from gptcalc.formulas.memory.phases import Training, training_memory
from gptcalc.formulas.memory.reserve import Reserve
from gptcalc.formulas.memory.serving import largest
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.recipe import Recipe


class Change(NamedTuple):
    """`option` is what to write; `price` what it costs; `peak` the bytes allocated with it."""

    option: str
    price: str
    peak: int


class Verdict(NamedTuple):
    """Bytes; `room` is what a program can allocate on the device, `left` negative where it does not fit."""

    device: str
    memory: int
    room: int
    fits: bool
    left: int
    weights_fit: bool
    largest_batch: int
    change: Change | None

    def to_dict(self) -> dict[str, Any]:
        return self._asdict() | {"change": self.change._asdict() if self.change else None}


def verdict(model: ModelSpec, recipe: Recipe, batch: int, seq: int, answer: Training, apart: Reserve, device: str, memory: int) -> Verdict:
    """Whether a training step fits, counted in allocated bytes: the allocator gives unused segments back before it fails.

    Units: bytes.   Source: torch's CUDACachingAllocator (garbage collection before an out-of-memory error).
    """
    room = memory - apart.apart
    peak = int(answer.value)

    def needs(n: int) -> int:
        return int(training_memory(model, recipe, n, seq).value)

    fits = peak <= room
    weights = int(answer.phases["before_forward"]["weights"].value)
    most = largest(lambda n: needs(n) <= room, limit=2**20)
    return Verdict(
        device, memory, room, fits, room - peak, weights <= room, most, None if fits else cheapest(model, recipe, batch, seq, room)
    )


def cheapest(model: ModelSpec, recipe: Recipe, batch: int, seq: int, room: int) -> Change | None:
    """The first change that makes it fit, in the order of what they cost, from nothing upwards; None where no single one does."""
    from gptcalc.errors import GptcalcError

    for option, price, changed in candidates(recipe, batch):
        new, n = changed()
        try:
            peak = int(training_memory(model, new, n, seq).value)
        except GptcalcError:  # this runtime or layout cannot do it
            continue
        if peak <= room:
            return Change(option, price, peak)
    return None


def candidates(recipe: Recipe, batch: int) -> list[tuple[str, str, Callable[[], tuple[Recipe, int]]]]:
    """Changes in order of their price."""
    layout = recipe.layout
    found: list[tuple[str, str, Callable[[], tuple[Recipe, int]]]] = []
    if recipe.attention_kernel == "eager":
        found.append(("--attention-kernel flash", "none: it is faster", lambda: (recipe._replace(attention_kernel="flash"), batch)))
    if recipe.optimizer == "adamw-foreach":
        found.append(("--optimizer adamw (fused)", "none: it is faster", lambda: (recipe._replace(optimizer="adamw"), batch)))
    if layout.dp > 1 and layout.zero < 1:
        found.append(("--zero 1", "next to none: the same traffic", lambda: (recipe._replace(layout=layout._replace(zero=1)), batch)))
    for pieces in sorted(n for n in {*range(2, 65), *(2**k for k in range(7, 40)), batch} if 2 <= n <= batch and batch % n == 0):
        less, steps = batch // pieces, recipe.accumulate * pieces
        found.append(
            (
                f"--batch {less} --accumulate {steps}",
                "next to none: the same tokens a step, in smaller pieces",
                lambda less=less, steps=steps: (recipe._replace(accumulate=steps), less),  # type: ignore[misc]
            )
        )
    if recipe.recompute == "none" and recipe.attention_kernel == "eager":
        found.append(("--recompute selective", "about 3 % more time", lambda: (recipe._replace(recompute="selective"), batch)))
    if recipe.optimizer.startswith("adamw") and recipe.optimizer != "adamw-8bit":
        found.append(("--optimizer adamw-8bit", "little time; quantized states", lambda: (recipe._replace(optimizer="adamw-8bit"), batch)))
    if layout.dp > 1 and layout.zero < 3:
        found.append(("--zero 3", "half as much traffic again", lambda: (recipe._replace(layout=layout._replace(zero=3)), batch)))
    if recipe.recompute != "full":
        found.append(("--recompute full", "a third more arithmetic", lambda: (recipe._replace(recompute="full"), batch)))
    if recipe.precision.startswith("amp-"):
        low = recipe.precision.removeprefix("amp-")
        found.append(
            (f"--precision {low}", "16-bit weights and states: less exact updates", lambda: (recipe._replace(precision=low), batch))
        )
    if not recipe.offload_optimizer:
        found.append(
            ("--offload-optimizer", "states over the host link each step", lambda: (recipe._replace(offload_optimizer=True), batch))
        )
    if recipe.lora_rank is None:
        found.append(("--lora-rank 16", "trains adapters instead of the model", lambda: (recipe._replace(lora_rank=16), batch)))
        found.append(("--lora-rank 16 --qlora", "adapters over a 4-bit model", lambda: (recipe._replace(lora_rank=16, qlora=True), batch)))
    found += [
        (f"--tp {n}", f"{n} devices", lambda n=n: (recipe._replace(layout=layout._replace(tp=n)), batch))  # type: ignore[misc]
        for n in (2, 4, 8)
        if n > layout.tp
    ]
    return found
