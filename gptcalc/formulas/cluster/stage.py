"""What one device of a layout computes for one micro-batch: the seconds of a block, of the embedding and of the head, at the clock
that their power allows, and the sizes of what it has to communicate.

t tensor, c context parallel; B sequences of T tokens a micro-batch. Seconds, bytes.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.formulas.cluster.collectives import Network, collective
from gptcalc.formulas.table import operations
from gptcalc.formulas.time.kernels import Kernel, ceil, most, sustained_clock
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
    """One block, the embedding and the head on one device: kernels, and numbers of parameters by part."""

    work: Work
    kernels: tuple[Kernel, ...]
    parameters: dict[str, Any]
    stored: int  # bytes of a weight in the optimizer
    calls: dict[str, int]  # modules that the processor calls, by part

    def of(self, part: str, phase: str) -> list[Kernel]:
        return [kernel for kernel in self.kernels if part_of(kernel.path) == part and kernel.phase == phase]


class Times(NamedTuple):
    """Seconds by (part, phase), with tensor-parallel communication that nothing hides in `exposed`, all of it in `total`."""

    compute: dict[tuple[str, str], Any]
    kinds: dict[tuple[str, str], Any]  # by part and kind of kernel, all phases
    exposed: dict[tuple[str, str], Any]
    total: dict[tuple[str, str], Any]
    clock: Any

    def seconds(self, part: str, *phases: str) -> Any:
        return sum((self.compute[part, phase] + self.exposed[part, phase] for phase in phases), 0.0)


def part_of(path: str) -> str:
    return "embedding" if path.startswith("embedding") else "block" if path.startswith("block/") else "head"


def local(model: "ModelSpec", device: "DeviceSpec", recipe: Recipe, layout: Layout, batch: Any, seq: Any) -> Local:
    """The kernels of one block, the embedding and the head, as this device's share of them.

    Raises GptcalcError for contradictory recipes and impossible divisions.   Source: `launches`; `sharding`.
    """
    from gptcalc.formulas.sharding import share_of
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
    work = work._replace(shape=share.shape, seq=share.seq, outside=share.seq_outside, keys=keys)
    kernels = tuple(kernel for kernel in launches(work) if kernel.phase != "optimizer")
    if sharded:  # autocast takes the loss in fp32 all the same
        wide = work_of(model, device, original, batch, seq)
        wide = wide._replace(shape=share.shape, seq=share.seq, outside=share.seq_outside, keys=keys)
        kernels = (*(k for k in kernels if k.path != "loss"), *(k for k in launches(wide) if k.path == "loss"))
    rows = list(operations(share.shape, 1, 1, 1))
    sizes = {part: parameters({row.path: row for row in rows if part_of(row.path) == part}) for part in PARTS}
    calls = {part: sum(part_of(path) == part for path in work.implementation.operations) for part in PARTS}
    return Local(work, kernels, sizes, stored, calls)


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
    """The seconds of each part, on a stage of `layers` blocks, and of its tensor-parallel collectives.

    Megatron's column-row pairs: an all-reduce behind attention and behind the MLP, forward and backward (Shoeybi et al. 2019,
    arXiv:1909.08053); with sequence parallelism a gather before and a scatter behind each, and the input is gathered again for the
    weight gradients (Korthikanti et al. 2022, arXiv:2205.05198, 4.2.2).
    """
    chip = one.work.chip
    weight = {"embedding": 1, "block": layers, "head": 1}
    every = one.work.recipe.checkpoint_every
    again = ceil(layers, every) / layers if every > 1 else 1  # of each block, where only each K-th is computed again
    t, parallel = layout.tp, layout.sequence_parallel
    comm = _tensor(one, net, t, parallel) if t > 1 else {}
    often = {(part, phase): again if phase == "recompute" else 1 for part in PARTS for phase in PHASES}
    total = {key: often[key] * sum(seconds for seconds, _ in comm.get(key, ())) for key in often}
    placed = [(kernel, (part_of(kernel.path), kernel.phase)) for kernel in one.kernels]
    busy = sum(weight[key[0]] * often[key] * kernel.runs * kernel.arithmetic for kernel, key in placed)
    whole = sum(weight[key[0]] * often[key] * kernel.seconds(chip) for kernel, key in placed)
    everything = sum(weight[part] * one.parameters[part] for part in PARTS)
    other = whole - busy + update_kernels(one, everything) + sum(weight[part] * total[part, phase] for part, phase in total)
    clock = 1.0 if one.work.arithmetic in FULL_CLOCK else sustained_clock(chip, busy, other)
    if not alone:  # all wait for the slowest device
        clock = clock * chip.sustained
    compute: dict[tuple[str, str], Any] = dict.fromkeys(total, 0.0)
    kinds: dict[tuple[str, str], Any] = {}
    matmuls: dict[tuple[str, str], list[Any]] = {}
    for kernel, key in placed:
        seconds = kernel.seconds(chip, clock)
        compute[key] += often[key] * seconds
        kind = key[0], kind_of(kernel)
        kinds[kind] = kinds.get(kind, 0.0) + often[key] * seconds
        if kernel.kind.endswith("matmul"):
            matmuls.setdefault((kernel.path, kernel.phase), []).append(seconds)
    exposed = {key: often[key] * sum((_left(seconds, cover, matmuls, stack) for seconds, cover in comm.get(key, ())), 0.0) for key in total}
    return Times(compute, kinds, exposed, total, clock)


COLUMN = ("block/attention/query_key_value", "block/mlp/up")
ROW = ("block/attention/output", "block/mlp/down")


def _left(seconds: Any, cover: tuple[str, str, int] | None, matmuls: dict[tuple[str, str], list[Any]], stack: "StackSpec") -> Any:
    """What of a collective no matmul hides; what is hidden slows computing by its contention."""
    if cover is None:
        return seconds
    path, phase, which = cover
    found = matmuls.get((path, phase), [])
    share = stack.overlap.tensor_forward if phase != "backward" else stack.overlap.tensor_backward
    under = share * found[which] if len(found) > which else 0.0
    left = most((seconds - under, 0.0))
    return left + stack.contention * (seconds - left)


Pieces = dict[tuple[str, str], list[tuple[Any, tuple[str, str, int] | None]]]


def _tensor(one: Local, net: Network, t: Any, sequence_parallel: bool) -> Pieces:
    """Every tensor-parallel collective of one block, of the embedding and of the head, with the matmul that could hide it."""
    w = one.work
    c = PRECISIONS[w.recipe.precision].compute
    size = c * w.batch * w.seq * w.shape.d_model
    reduce, gather, scatter = (collective(net, name, size, t) for name in ("all_reduce", "all_gather", "reduce_scatter"))
    forward: list[Any] = []
    backward: list[Any] = []
    for column, row in zip(COLUMN, ROW, strict=True):
        if sequence_parallel:
            forward += [(gather, (column, "forward", 0)), (scatter, (row, "forward", 0))]
            # of the row's output gradient; of the input once more, under the input gradient; of that gradient, under the weight's
            backward += [(gather, None), (gather, (column, "backward", 0)), (scatter, (column, "backward", 1))]
        else:
            forward += [(reduce, (row, "forward", 0))]
            backward += [(reduce, (column, "backward", 1))]
    again = [(seconds, cover and (cover[0], "recompute", 0)) for seconds, cover in forward] if w.recipe.checkpoint_every else []
    logits = collective(net, "all_reduce", 4 * w.batch * w.seq, t)  # maximum, sum of exponentials, the right token's
    found: Pieces = {
        ("block", "forward"): forward,
        ("block", "backward"): backward,
        ("block", "recompute"): again,
        ("embedding", "forward"): [(scatter if sequence_parallel else reduce, None)],
        ("embedding", "backward"): [(gather, None)] if sequence_parallel else [],
        ("head", "forward"): [(3 * logits, None)] + ([(gather, None)] if sequence_parallel else []),
        ("head", "backward"): [(scatter, ("head/output", "backward", 1))]
        if sequence_parallel
        else [(reduce, ("head/output", "backward", 1))],
    }
    return found


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
