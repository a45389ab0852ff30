"""What one device of a layout computes for one micro-batch: the seconds of a block, of the embedding and of the head, at the clock
that their power allows, and the sizes of what it has to communicate.

t tensor, c context parallel; B sequences of T tokens a micro-batch. Seconds, bytes.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.formulas.cluster.block import EXPERT, TENSOR, cover_of, sends
from gptcalc.formulas.cluster.collectives import Network
from gptcalc.formulas.cluster.traffic import exposed
from gptcalc.formulas.memory.states import of_experts
from gptcalc.formulas.sharding import share_of
from gptcalc.formulas.table import operations
from gptcalc.formulas.time.kernels import Kernel, ceil, sustained_clock
from gptcalc.formulas.time.launches import Work, launches, parameters, work_of
from gptcalc.formulas.time.step import FULL_CLOCK, kind_of
from gptcalc.spec.recipe import PRECISIONS, Layout, Recipe

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.runtime import Host
    from gptcalc.spec.stack import StackSpec

PARTS = ("embedding", "block", "head")
PHASES = ("forward", "backward", "recompute")


class Local(NamedTuple):
    """One block, the embedding and the head on one device: kernels, and numbers of parameters by part.

    Where layers differ the block is their average. `experts` is parameters of a block that only other groups of expert-parallel ranks
    have copies of, beside those in `parameters`.
    """

    work: Work
    kernels: tuple[Kernel, ...]
    products: tuple[Kernel, ...]  # the optimizer's own, over the matrices of a block
    parameters: dict[str, Any]
    experts: Any
    stored: int  # bytes of a weight in the optimizer
    calls: dict[str, Any]  # modules that the processor calls, by part

    def of(self, part: str, phase: str) -> list[Kernel]:
        return [kernel for kernel in self.kernels if part_of(kernel.path) == part and kernel.phase == phase]


class Times(NamedTuple):
    """Seconds by part and phase: of kernels, and of collectives that nothing hides; and of both by part and kind, all phases."""

    compute: dict[tuple[str, str], Any]
    waiting: dict[tuple[str, str], Any]
    kinds: dict[tuple[str, str], Any]
    exposed: dict[tuple[str, str], Any]
    total: dict[tuple[str, str], Any]  # of collectives, hidden or not
    of_kind: dict[tuple[str, str], Any]  # of one layer of a kind of block, by its path and phase, kernels and collectives together
    clock: Any


def part_of(path: str) -> str:
    return "embedding" if path.startswith("embedding") else "block" if path.startswith("block") else "head"


def local(model: "ModelSpec", device: "DeviceSpec", recipe: Recipe, layout: Layout, batch: Any, seq: Any) -> Local:
    """The kernels of one block, the embedding and the head, as this device's share of them.

    Raises GptcalcError for contradictory recipes and impossible divisions.   Source: `launches`; `sharding`.
    """
    from gptcalc.spec.runtime import load_runtime

    runtime = load_runtime(recipe.runtime)
    stored = PRECISIONS[recipe.precision].stored
    sharded = recipe.layout.zero == 3 and recipe.precision.startswith("amp-")
    original = recipe
    if sharded:  # FSDP gathers weights in 16 bits: activations are in 16 bits from the first on
        recipe = recipe._replace(precision=recipe.precision.removeprefix("amp-"))
    work = work_of(model, device, recipe, batch, seq)
    alone = layout._replace(pp=1, virtual_stages=1)
    share = share_of(work.shape._replace(n_layer=1), alone, seq, "only", pad=runtime.pads_vocabulary or layout.tp > 1)
    keys = seq if layout.cp > 1 else None
    here = {"shape": share.shape, "seq": share.seq, "outside": share.seq_outside, "keys": keys, "expert_ranks": layout.ep}
    work = work._replace(**here)
    everything = launches(work)
    kernels = tuple(kernel for kernel in everything if kernel.phase != "optimizer")
    products = tuple(kernel for kernel in everything if kernel.phase == "optimizer" and kernel.kind == "matmul")
    if products and layout.tp > 1:
        raise GptcalcError(
            f"optimizer {recipe.optimizer} multiplies whole matrices: its step is not timed where tensor parallelism divides them",
            hint="leave --tp out, or --optimizer adamw",
        )
    if sharded:  # autocast takes the loss in fp32 all the same
        wide = work_of(model, device, original, batch, seq)
        wide = wide._replace(**here)
        kernels = (*(k for k in kernels if k.path != "loss"), *(k for k in launches(wide) if k.path == "loss"))
    rows = {row.path: row for row in operations(share.shape, 1, 1, 1)}
    apart = {path: row for path, row in rows.items() if layout.ep > 1 and of_experts(path)}
    of_part = {part: {path: row for path, row in rows.items() if part_of(path) == part and path not in apart} for part in PARTS}
    sizes = {part: parameters(several) for part, several in of_part.items()}
    calls = {part: sum(part_of(path) == part for path in work.implementation.operations) for part in PARTS}
    one = Local(work, kernels, products, sizes, parameters(apart) // layout.ep, stored, calls)
    return _averaged(one) if share.shape.kinds else one


def _averaged(one: Local) -> Local:
    """One block in place of all of them, where layers differ: the average of their kinds."""
    of_kind = {path: kind.n_layer for path, kind in one.work.shape.blocks}
    layers = sum(of_kind.values())
    kernels = tuple(k._replace(runs=k.runs / layers) if part_of(k.path) == "block" else k for k in one.kernels)
    called = sum(of_kind.get(path.partition("/")[0], 0) for path in one.work.implementation.operations)
    block = one.parameters["block"] / layers
    return one._replace(
        kernels=kernels,
        products=tuple(k._replace(runs=k.runs / layers) for k in one.products),
        parameters=one.parameters | {"block": block},
        experts=one.experts / layers,
        calls=one.calls | {"block": called / layers},
    )


def orthogonalised(one: Local, layers: Any, clock: Any) -> Any:
    """Seconds of the optimizer's products for the matrices of `layers` blocks.   Source: `launches`."""
    return layers * sum((kernel.seconds(one.work.chip, clock) for kernel in one.products), 0.0)


def update_kernels(one: Local, parameters: Any) -> Any:
    """Seconds of the optimizer's passes over `parameters` weights.   Source: presets/kernels."""
    from gptcalc.formulas.time.launches import pass_of

    letters = one.work.letters | {"P": parameters, "w": one.stored}
    chosen = one.work.pieces.optimizers.get(one.work.recipe.optimizer, [])
    return sum((pass_of(one.work.chip, each, letters, "optimizer").seconds(one.work.chip) for each in chosen), 0.0)


def accumulation(one: Local, parameters: Any, stack: "StackSpec | None") -> Any:
    """Seconds to add a micro-batch's gradients to the earlier ones.   Source: presets/stacks, else presets/kernels."""
    from gptcalc.formulas.time.kernels import streaming
    from gptcalc.formulas.time.launches import pass_of

    chip = one.work.chip
    if stack is not None and stack.accumulation is not None:
        return streaming(chip, "pass", stack.accumulation * parameters).seconds(chip) if stack.accumulation else 0.0
    letters = one.work.letters | {"P": parameters, "w": one.stored}
    return sum((pass_of(chip, each, letters, "accumulation").seconds(chip) for each in one.work.pieces.accumulate), 0.0)


def times(one: Local, net: Network, stack: "StackSpec", layers: Any, layout: Layout, *, alone: bool) -> Times:
    """The seconds of each part, on a stage of `layers` blocks, and of its collectives.

    Source: of kernels, `launches`; of collectives, `sends`.
    """
    chip = one.work.chip
    weight = {"embedding": 1, "block": layers, "head": 1}
    every = one.work.recipe.checkpoint_every
    again = ceil(layers, every) / layers if every > 1 else 1  # of each block, where only each K-th is computed again
    often = {(part, phase): again if phase == "recompute" else 1 for part in PARTS for phase in PHASES}
    sent = {key: [(each, often[key] * each.often) for each in several] for key, several in sends(one, net, stack, layout).items()}
    placed = [(kernel, (part_of(kernel.path), kernel.phase)) for kernel in one.kernels]
    busy = sum(weight[key[0]] * often[key] * kernel.runs * kernel.arithmetic for kernel, key in placed)
    whole = sum(weight[key[0]] * often[key] * kernel.seconds(chip) for kernel, key in placed)
    busy += layers * sum(kernel.runs * kernel.arithmetic for kernel in one.products)
    whole += orthogonalised(one, layers, 1.0)
    everything = sum(weight[part] * one.parameters[part] for part in PARTS) + layers * one.experts
    sending = sum(weight[key[0]] * sum(times * each.seconds for each, times in several) for key, several in sent.items())
    other = whole - busy + update_kernels(one, everything) + sending
    clock = 1.0 if one.work.arithmetic in FULL_CLOCK else sustained_clock(chip, busy, other)
    if not alone:  # all wait for the slowest device
        clock = clock * chip.sustained
    compute: dict[tuple[str, str], Any] = dict.fromkeys(often, 0.0)
    waiting: dict[tuple[str, str], Any] = dict.fromkeys(often, 0.0)
    kinds: dict[tuple[str, str], Any] = {}
    matmuls: dict[tuple[str, str], list[Any]] = {}
    paths = one.work.shape.blocks
    all_layers = sum(kind.n_layer for _, kind in paths)
    share = {path: kind.n_layer / all_layers for path, kind in paths}
    of_kind = {(path, phase): 0.0 for path in share for phase in PHASES}
    for kernel, key in placed:
        seconds = kernel.seconds(chip, clock)
        compute[key] += often[key] * seconds
        if key[0] == "block":
            path = kernel.path.partition("/")[0]
            of_kind[path, key[1]] += often[key] * seconds / share[path]
        kind = key[0], kind_of(kernel)
        kinds[kind] = kinds.get(kind, 0.0) + often[key] * seconds
        if kernel.kind.endswith("matmul"):
            matmuls.setdefault((kernel.path, kernel.phase), []).append(seconds / kernel.runs)
    open_: dict[tuple[str, str], Any] = {(part, kind): 0.0 for part in PARTS for kind in (TENSOR, EXPERT)}
    total, layer = dict(open_), dict(of_kind)
    for key, several in sent.items():
        for each, times in several:
            left = times * exposed(stack, each.seconds, cover_of(each, key[1], matmuls, layer, stack))
            waiting[key] += left
            if each.block:
                of_kind[each.block, key[1]] += left / share[each.block]
            open_[key[0], each.kind] += left
            total[key[0], each.kind] += times * each.seconds
    return Times(compute, waiting, kinds, open_, total, of_kind, clock)


def host_seconds(one: Local, host: "Host | None", part: str, phase: str, layers: Any) -> Any:
    """The processor's time for one micro-batch: per operation forward and in recomputation, per kernel backward.

    Source: the runtime's preset.
    """
    if host is None or one.work.recipe.compiled:
        return 0.0
    runs = layers if part == "block" else 1
    if phase == "forward":
        return runs * one.calls[part] * host.operation
    started = sum(kernel.runs for kernel in one.of(part, "backward")) * runs
    every = one.work.recipe.checkpoint_every
    again = host.operation * one.calls[part] * ceil(layers, every) if every and part == "block" else 0.0
    return started * host.launch + again


def host_update(one: Local, host: "Host | None", layers: Any) -> Any:
    """The processor's time for the optimizer."""
    if host is None:
        return 0.0
    rows = operations(one.work.shape, 1, 1, 1)
    tensors = sum((layers if row.path.startswith("block/") else 1) * len(row.weights) for row in rows)
    return host.optimizer + host.tensor * tensors
