"""What one device of a layout computes for one micro-batch: the seconds of a block, of the embedding and of the head, at the clock
that their power allows, and of the collectives beside them.

t tensor, c context parallel; B sequences of T tokens a micro-batch. Seconds, bytes.
"""

from typing import TYPE_CHECKING, NamedTuple

from gptcalc.spec.recipe import Layout
from gptcalc.symbols import Quantity
from gptcalc.table.operations import operations
from gptcalc.time.block import EXPERT, TENSOR, cover_of, sends
from gptcalc.time.breakdown import kind_of
from gptcalc.time.collectives import Network
from gptcalc.time.kernels import FULL_CLOCK, Kernel, ceil, sustained_clock
from gptcalc.time.local import PARTS, PHASES, Local, part_of
from gptcalc.time.traffic import exposed

if TYPE_CHECKING:
    from gptcalc.spec.runtime import Host
    from gptcalc.spec.stack import StackSpec


class Times(NamedTuple):
    """Seconds by part and phase: of kernels, and of collectives that nothing hides; and of both by part and kind, all phases."""

    compute: dict[tuple[str, str], Quantity]
    waiting: dict[tuple[str, str], Quantity]
    kinds: dict[tuple[str, str], Quantity]
    exposed: dict[tuple[str, str], Quantity]
    total: dict[tuple[str, str], Quantity]  # of collectives, hidden or not
    of_kind: dict[tuple[str, str], Quantity]  # of one layer of a kind of block, by its path and phase, kernels and collectives together
    clock: Quantity


def orthogonalised(one: Local, layers: Quantity, clock: Quantity) -> Quantity:
    """Seconds of the optimizer's products for the matrices of `layers` blocks.   Source: `launches`."""
    return layers * sum((kernel.seconds(one.work.chip, clock) for kernel in one.products), 0.0)


def update_kernels(one: Local, parameters: Quantity) -> list[Kernel]:
    """The optimizer's passes over `parameters` weights.   Source: presets/kernels."""
    from gptcalc.time.launches import pass_of

    letters = one.work.letters | {"P": parameters, "w": one.stored}
    chosen = one.work.passes.optimizers.get(one.work.recipe.optimizer, [])
    return [pass_of(one.work.chip, each, letters, "optimizer") for each in chosen]


def update_seconds(one: Local, parameters: Quantity) -> Quantity:
    """Seconds of the same."""
    return sum((kernel.seconds(one.work.chip) for kernel in update_kernels(one, parameters)), 0.0)


def accumulation(one: Local, parameters: Quantity, stack: "StackSpec | None") -> Quantity:
    """Seconds to add a micro-batch's gradients to the earlier ones.   Source: presets/stacks, else presets/kernels."""
    from gptcalc.time.kernels import streaming
    from gptcalc.time.launches import pass_of

    chip = one.work.chip
    if stack is not None and stack.accumulation is not None:
        return streaming(chip, "pass", stack.accumulation * parameters).seconds(chip) if stack.accumulation else 0.0
    letters = one.work.letters | {"P": parameters, "w": one.stored}
    return sum((pass_of(chip, each, letters, "accumulation").seconds(chip) for each in one.work.passes.accumulate), 0.0)


def times(one: Local, net: Network, stack: "StackSpec", layers: Quantity, layout: Layout, *, alone: bool) -> Times:
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
    busy: Quantity = 0.0
    whole: Quantity = 0.0
    for key, repeated in often.items():
        own = [kernel for kernel, place in placed if place == key]
        busy = busy + weight[key[0]] * (repeated * sum((kernel.runs * kernel.arithmetic for kernel in own), 0.0))
        whole = whole + weight[key[0]] * (repeated * sum((kernel.seconds(chip) for kernel in own), 0.0))
    busy = busy + layers * sum(kernel.runs * kernel.arithmetic for kernel in one.products)
    whole = whole + orthogonalised(one, layers, 1.0)
    everything = sum(weight[part] * one.parameters[part] for part in PARTS) + layers * one.experts
    sending = sum(weight[key[0]] * sum(times * each.seconds for each, times in several) for key, several in sent.items())
    other = whole - busy + update_seconds(one, everything) + sending
    clock = 1.0 if one.work.arithmetic in FULL_CLOCK else sustained_clock(chip, busy, other)
    if not alone:  # all wait for the slowest device
        clock = clock * chip.sustained
    compute: dict[tuple[str, str], Quantity] = dict.fromkeys(often, 0.0)
    waiting: dict[tuple[str, str], Quantity] = dict.fromkeys(often, 0.0)
    kinds: dict[tuple[str, str], Quantity] = {}
    matmuls: dict[tuple[str, str], list[Quantity]] = {}
    paths = one.work.shape.blocks
    all_layers = sum(kind.n_layer for _, kind in paths)
    share = {path: kind.n_layer / all_layers for path, kind in paths}
    of_kind: dict[tuple[str, str], Quantity] = {(path, phase): 0.0 for path in share for phase in PHASES}
    matmul_clock = clock if alone else clock * chip.kept_up(one.work.arithmetic)
    for kernel, key in placed:
        seconds = kernel.seconds(chip, matmul_clock if kernel.kind == "matmul" else clock)
        compute[key] = compute[key] + often[key] * seconds
        if key[0] == "block":
            path = kernel.path.partition("/")[0]
            of_kind[path, key[1]] = of_kind[path, key[1]] + often[key] * seconds / share[path]
        kind = key[0], kind_of(kernel)
        kinds[kind] = kinds.get(kind, 0.0) + often[key] * seconds
        if kernel.kind.endswith("matmul"):
            matmuls.setdefault((kernel.path, kernel.phase), []).append(seconds / kernel.runs)
    open_: dict[tuple[str, str], Quantity] = {(part, kind): 0.0 for part in PARTS for kind in (TENSOR, EXPERT)}
    total, layer = dict(open_), dict(of_kind)
    for key, several in sent.items():
        for each, times in several:
            left = times * exposed(stack, each.seconds, cover_of(each, key[1], matmuls, layer, stack))
            waiting[key] = waiting[key] + left
            if each.block:
                of_kind[each.block, key[1]] = of_kind[each.block, key[1]] + left / share[each.block]
            open_[key[0], each.kind] = open_[key[0], each.kind] + left
            total[key[0], each.kind] = total[key[0], each.kind] + times * each.seconds
    return Times(compute, waiting, kinds, open_, total, of_kind, clock)


def host_seconds(one: Local, host: "Host | None", part: str, phase: str, layers: Quantity) -> Quantity:
    """The processor's time for one micro-batch: per operation forward and in recomputation, per kernel backward.

    Compiled code has only its kernels to start.   Source: the runtime's preset.
    """
    if host is None:
        return 0.0
    runs = layers if part == "block" else 1
    every = one.work.recipe.checkpoint_every
    again = ceil(layers, every) if every and part == "block" else 0
    if one.work.recipe.compiled:
        started = runs * _started(one, part, phase)
        if phase == "backward":
            started = started + (again if every and part == "block" else runs) * _started(one, part, "recompute")
        return host.generated * started
    if phase == "forward":
        return runs * one.calls[part] * host.operation
    return runs * _started(one, part, "backward") * host.launch + host.operation * one.calls[part] * again


def _started(one: Local, part: str, phase: str) -> Quantity:
    """Kernels of one micro-batch, of one block."""
    return sum(kernel.runs for kernel in one.of(part, phase))


def host_update(one: Local, host: "Host | None", layers: Quantity) -> Quantity:
    """The processor's time for the optimizer."""
    if host is None:
        return 0.0
    rows = operations(one.work.shape, 1, 1, 1)
    in_all = sum(kind.n_layer for _, kind in one.work.shape.blocks)
    tensors = sum((layers * row.runs / in_all if row.path.startswith("block") else 1) * len(row.weights) for row in rows)
    return host.optimizer + host.tensor * tensors
