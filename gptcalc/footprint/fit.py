"""Does it fit: the room on a device, the largest batch in it, and the cheapest change where it does not."""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.footprint.phases import Training, peak_of
from gptcalc.footprint.reserve import Reserve
from gptcalc.footprint.serving import largest
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.recipe import Recipe

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec


class Change(NamedTuple):
    """`option` is what to write; `price` what it costs; `peak` the bytes allocated with it.

    `another_method`: it trains something else, so that it is no cheaper way to the same model.
    """

    option: str
    price: str
    peak: int
    another_method: bool = False


class Verdict(NamedTuple):
    """Bytes; `room` is what a program can allocate on the device, `left` negative where it does not fit.

    `fits` is None where it cannot be said: of a lower bound that is within the room, and of an interval that has the room inside. Then
    `largest_batch` is the most that could fit. `largest_peak` is the peak with that batch.
    """

    device: str
    memory: int
    room: int
    fits: bool | None
    left: int
    weights_fit: bool
    largest_batch: int
    largest_peak: int | None
    change: Change | None

    def to_dict(self) -> dict[str, Any]:
        return self._asdict() | {"change": self.change._asdict() if self.change else None}


def verdict(
    model: ModelSpec, recipe: Recipe, batch: int, seq: int, answer: Training, apart: Reserve, device: "DeviceSpec", sequences: int | None
) -> Verdict:
    """Whether a training step fits, counted in allocated bytes: the allocator gives unused segments back before it fails.

    `sequences` are those of a step where they are given: what divides them must divide them without a rest.

    Units: bytes.   Source: torch's CUDACachingAllocator (garbage collection before an out-of-memory error).
    """
    room = device.memory - apart.apart
    peak = int(answer.value)

    @cache
    def needs(n: int) -> int:
        return peak if n == batch else int(peak_of(model, recipe, n, seq).value)

    fits = said(answer.value, answer.high, room, lower_bound=answer.lower_bound)
    weights = int(answer.phases["before_forward"]["weights"].value)
    most = largest(lambda n: needs(n) <= room, limit=2**20)
    change = cheapest(model, recipe, batch, seq, room, sequences=sequences) if fits is False else None
    return Verdict(device.name, device.memory, room, fits, room - peak, weights <= room, most, needs(most) if most else None, change)


def said(low: Any, high: Any, room: Any, *, lower_bound: bool) -> bool | None:
    """Whether a peak between `low` and `high` fits; None where that cannot be said. With arrays, whether all do.

    >>> said(10, 10, 12, lower_bound=False), said(10, 14, 12, lower_bound=False), said(13, 14, 12, lower_bound=False)
    (True, None, False)
    >>> said(10, 10, 12, lower_bound=True), said(13, 13, 12, lower_bound=True)
    (None, False)
    """
    over, inside = low > room, high <= room
    if over.any() if hasattr(over, "any") else over:
        return False
    return None if lower_bound or not (inside.all() if hasattr(inside, "all") else inside) else True


def cheapest(
    model: ModelSpec, recipe: Recipe, batch: int, seq: int, room: int, *, sequences: int | None = None, timed: bool = False
) -> Change | None:
    """The first change that makes it fit, in the order of what they cost, from nothing upwards; None where none does.

    `timed`: of those that `train` has options for, and that leave a run's sequences a step as they are: more replicas take more.
    """
    from gptcalc.errors import GptcalcError

    for change, new, n in candidates(recipe, batch, sequences):
        if timed and change.option.startswith(("--offload-optimizer", "--lora-rank", "--zero 3 --count")):
            continue
        try:
            peak = int(peak_of(model, new, n, seq).high)
        except GptcalcError:  # this runtime or layout cannot do it
            continue
        if peak <= room:
            return change._replace(peak=peak)
    return None


def candidates(recipe: Recipe, batch: int, sequences: int | None = None) -> Iterator[tuple[Change, Recipe, int]]:
    """Changes in order of their price, each with the recipe and the batch that it makes; other methods of training last."""
    for option, price, new, n in [*_of_recipe(recipe, batch), *_of_devices(recipe, batch, sequences)]:
        yield Change(option, price, 0), new, n
    if recipe.lora_rank is None:
        for option, price, new in _of_method(recipe):
            yield Change(option, price, 0, another_method=True), new, batch


def _of_recipe(recipe: Recipe, batch: int) -> Iterator[tuple[str, str, Recipe, int]]:
    layout = recipe.layout
    if recipe.attention_kernel == "eager":
        yield "--attention-kernel flash", "none: it is faster", recipe._replace(attention_kernel="flash"), batch
    if recipe.optimizer == "adamw-foreach":
        yield "--optimizer adamw (fused)", "none: it is faster", recipe._replace(optimizer="adamw"), batch
    if layout.dp > 1 and layout.zero < 1:
        yield "--zero 1", "next to none: the same traffic", recipe._replace(layout=layout._replace(zero=1)), batch
    if layout.tp > 1 and not layout.sequence_parallel:
        alone = recipe._replace(layout=layout._replace(sequence_parallel=True))
        yield "--sequence-parallel", "little time: a quarter more is sent", alone, batch
    for pieces in sorted(n for n in {*range(2, 65), *(2**k for k in range(7, 40)), batch} if 2 <= n <= batch and batch % n == 0):
        smaller = _in_pieces(recipe, pieces)
        option = f"--batch {batch // pieces} --accumulate {smaller.accumulate}"
        yield option, "next to none: the same tokens a step, in smaller pieces", smaller, batch // pieces
    if recipe.recompute == "none" and recipe.attention_kernel == "eager":
        yield "--recompute selective", "about 3 % more time", recipe._replace(recompute="selective"), batch
    if recipe.optimizer.startswith("adamw") and recipe.optimizer != "adamw-8bit":
        yield "--optimizer adamw-8bit", "little time; quantized states", recipe._replace(optimizer="adamw-8bit"), batch
    sharded = recipe._replace(layout=layout._replace(zero=3))
    if layout.dp > 1 and layout.zero < 3:
        yield "--zero 3", "half as much traffic again", sharded, batch
    if recipe.recompute != "full":
        yield "--recompute full", "a third more arithmetic", recipe._replace(recompute="full"), batch
    if layout.dp > 1 and layout.zero < 3 and recipe.recompute != "full":
        yield "--zero 3 --recompute full", "half as much traffic again, a third more arithmetic", sharded._replace(recompute="full"), batch
    if recipe.precision.startswith("amp-"):
        low = recipe.precision.removeprefix("amp-")
        yield f"--precision {low}", "16-bit weights and states: less exact updates", recipe._replace(precision=low), batch
    if not recipe.offload_optimizer:
        yield "--offload-optimizer", "states over the host link each step", recipe._replace(offload_optimizer=True), batch


def _of_devices(recipe: Recipe, batch: int, sequences: int | None) -> Iterator[tuple[str, str, Recipe, int]]:
    """The model divided among more devices, or among the same ones."""
    layout = recipe.layout
    for n in (2, 4, 8):
        changes = []
        if layout.tp == layout.pp == layout.dp == layout.cp == 1 and (sequences is None or sequences % (n * batch) == 0):
            pieces = recipe.accumulate if sequences is None else sequences // (n * batch)
            sharded = recipe._replace(accumulate=pieces, layout=layout._replace(zero=3, dp=n))
            changes.append((f"--zero 3 --count {n}", f"{n} devices", sharded))
        if n > layout.tp and n % layout.tp == 0:
            changes.append(_wider(recipe, n))
        for option, price, divided in changes:
            yield option, price, divided, batch
            if recipe.recompute != "full":
                yield f"{option} --recompute full", f"{price}; a third more arithmetic", divided._replace(recompute="full"), batch


def _of_method(recipe: Recipe) -> Iterator[tuple[str, str, Recipe]]:
    """Adapters over a frozen model: in 16 bits, or in 4."""
    low = recipe.precision.removeprefix("amp-")
    lora = "--lora-rank 16" if low == recipe.precision else f"--lora-rank 16 --precision {low}"
    for option, new in (
        (lora, recipe._replace(lora_rank=16, precision=low)),
        ("--lora-rank 16 --qlora", recipe._replace(lora_rank=16, qlora=True)),
    ):
        price = "trains adapters over a 4-bit model" if new.qlora else "trains adapters instead of the model"
        yield option, price, new
        if recipe.recompute != "full":
            yield f"{option} --recompute full", f"{price}; a third more arithmetic", new._replace(recompute="full")


def _in_pieces(recipe: Recipe, pieces: int) -> Recipe:
    """The same step in so many times as many micro-batches."""
    layout = recipe.layout
    if layout.micro_batches is not None:
        layout = layout._replace(micro_batches=layout.micro_batches * pieces)
    return recipe._replace(accumulate=recipe.accumulate * pieces, layout=layout)


def _wider(recipe: Recipe, tp: int) -> tuple[str, str, Recipe]:
    """More tensor parallelism: of the same devices where they divide, which then take their sequences one after another, else of more."""
    layout = recipe.layout
    by = tp // layout.tp
    dp, rest = divmod(layout.dp, by)
    if rest or dp * layout.cp % layout.ep:
        count = tp * layout.pp * layout.dp * layout.cp
        return f"--tp {tp} --count {count}", f"{count} devices", recipe._replace(layout=layout._replace(tp=tp))
    return (
        f"--tp {tp}",
        "the same devices, each with less of a sequence's work",
        _in_pieces(recipe._replace(layout=layout._replace(tp=tp, dp=dp)), by),
    )
