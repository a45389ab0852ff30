"""One training step on one device as a list of moments: what stands in memory at each, of which the fullest is the peak.

A moment is groups of items with multipliers (the kept tensors of a block times the blocks that still hold them, and so on). Memory is
linear in the number of blocks done, so that of all the blocks of a pass only the first and the last can be the fullest.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gptcalc.footprint.allocator import taken
from gptcalc.footprint.moments import Group, Held, Moment, OfOperation, Standing, Step
from gptcalc.footprint.saved import Saved, Setting, checkpointed, is_frozen, kept, n_bytes
from gptcalc.footprint.states import of_experts
from gptcalc.spec.paths import block_of, part_of
from gptcalc.spec.runtime import Implementation
from gptcalc.symbols import Symbol, ceiling, is_zero, maximum
from gptcalc.table.sharding import Shard, on_stage

ROUNDING = "activations/allocator rounding"


class Adapter(NamedTuple):
    """Bytes of one run of an operation's adapter: saved, of copies of its weights, and alive in its backward pass."""

    saved: Any
    copies: Any
    backward: Any


class Structure(NamedTuple):
    """What decides the shape of a step besides the numbers."""

    implementation: Implementation
    setting: Setting
    loss: Setting  # autocast computes the loss in fp32 whatever else it does
    shard: Shard
    checkpoint_every: int
    copies: bool  # low-precision copies of weights are made; FSDP gathers the weights in that type
    copies_cached: bool  # ... once for all micro-batches
    copies_live_on: bool  # autocast's copies of trained weights stand until the forward pass ends, kept or not; of frozen ones none
    idle: frozenset[str]  # operations below the first trained weight: no gradient flows there, and nothing is kept for one
    first: str  # the operation of that weight where it is above the blocks: it keeps what its weight's gradient needs alone
    fresh_gradients: bool  # gradients of a micro-batch are added to those that stand already
    settings: Mapping[str, Setting]  # of each kind of block, by its path
    layers: Mapping[str, Any]  # ... and how many there are of it
    divided: Any = 1  # gradients: over how many data-parallel ranks
    divided_experts: Any = 1  # ... an expert's
    adapters: Mapping[str, Adapter] = {}  # by operation
    further: Mapping[str, int] = {}  # where layers differ: how many of each kind keep what they kept for other micro-batches
    order: tuple[tuple[str, int], ...] = ()  # where layers differ: how many of one kind, then of another, from the bottom upwards


def step_of(plan: Structure, held: Held, gradients: Mapping[str, Any]) -> Step:
    """The moments of a step; `gradients`: one run's bytes for each operation.

    Units: bytes.   Source: the order of execution of autograd, measured phase by phase (see tests/data).
    """
    shard = plan.shard
    paths = [path for path in plan.implementation.operations if on_stage(path, shard.role)]
    of = {path: _of_operation(path, plan, gradients.get(path, 0)) for path in paths}
    embedding, blocks, head = ([path for path in paths if part_of(path) == part] for part in ("embedding", "block", "head"))
    flowing, given = (n_bytes(each, plan.setting) for each in (plan.implementation.residual_gradient, plan.implementation.returned))
    residual = Group({} if plan.idle.intersection(blocks) else {"transients/residual gradient": flowing})
    returned = Group({"logits and loss/returned": given} if "loss" in paths else {})

    base: Standing = [*held.throughout, *((of[path].cached, plan.layers.get(block_of(path), 1)) for path in paths if of[path].cached.items)]
    below: Standing = [(of[path].saved, shard.batches_in_flight) for path in embedding]
    above: Standing = [(of[path].saved, 1) for path in head]
    in_all, inside, layers = _layers(plan, {path: of[path] for path in blocks})
    after: Standing = [*base, *below, *in_all, *above]
    copies: Standing = []
    if plan.copies_live_on and plan.checkpoint_every:
        for path in blocks:
            L = shard.layers_in_flight if not plan.order else plan.layers[block_of(path)]
            copies.append((of[path].copies, ceiling(L, plan.checkpoint_every)))

    def beside(path: str) -> Standing:
        return [(held.gathered, 1), *([(held.unpacked, 1)] if path in plan.setting.packed else [])]

    def done_with(path: str) -> Standing:
        return [(of[path].fresh, 1), (of[path].transient, 1)]

    forward = {"return": Moment([*after, *copies, (held.gathered, 1), (returned, 1)], "head")}
    for name, layer in inside.items():
        own = [path for path in blocks if block_of(path) == layer.block]
        for index, path in enumerate(own):
            if of[path].momentary.items:
                done_here: Standing = [] if plan.checkpoint_every else [(of[one].saved, 1) for one in own[: index + 1]]
                still = [*base, *below, *layer.others, *done_here, *copies, *beside(path)]
                forward[f"{name}, {path}"] = Moment([*still, (of[path].momentary, 1)], "block", name)

    backward: dict[str, Moment] = {}
    done: Standing = []
    for index in range(len(head) - 1, -1, -1):
        path = head[index]
        done = [*done, (of[path].gradients, 1)]
        still = [*base, *below, *in_all, *above[: index + 1], *done, (held.gathered, 1)]
        backward[path] = Moment([*still, *done_with(path)], "head")
    for name, layer in layers.items():
        own = [path for path in blocks if block_of(path) == layer.block]
        still = [*base, *below, *layer.others, *done, (residual, 1), (held.reduced, 1)]
        still += [(of[path].gradients, layer.upper[block_of(path)]) for path in blocks if not is_zero(layer.upper[block_of(path)])]
        for index in range(len(own) - 1, -1, -1):
            path = own[index]
            standing: Standing = [(of[one].recomputed if plan.checkpoint_every else of[one].saved, 1) for one in own[: index + 1]]
            made: Standing = [(of[one].gradients, 1) for one in own[index:]]
            backward[f"{name}, {path}"] = Moment([*still, *beside(path), *standing, *made, *done_with(path)], "block", name)
    done = [*done, *((of[path].gradients, plan.layers[block_of(path)]) for path in blocks)]
    for path in reversed(embedding):
        done = [*done, (of[path].gradients, 1)]
        backward[path] = Moment([*base, *below, *done, (held.gathered, 1), *done_with(path)], "embedding")
    moments = {
        "before_forward": {"start": Moment(base, "embedding")},
        "after_forward": {"end": Moment(after, "head")},
        "forward": forward,
        "backward": backward,
        "optimizer": {"update": Moment([*base, *done, (held.update, 1)], "embedding")},
    }
    token = of["embedding/token"].gradients if "embedding/token" in of else Group()
    return Step(moments, Moment([*base, *below, *in_all]), held, token)


class Layer(NamedTuple):
    """A layer that the forward or backward pass has reached."""

    block: str
    others: Standing  # what the layers keep that are not yet done, with its own checkpoint
    upper: Mapping[str, Any]  # how many layers of each kind the backward pass has left behind


def _layers(plan: Structure, blocks: Mapping[str, OfOperation]) -> tuple[Standing, dict[str, Layer], dict[str, Layer]]:
    """What all layers keep; the last layer of the forward pass; and those of the backward pass that may be the fullest."""
    checkpoint = _checkpoint(plan)
    if plan.order:
        return _layers_that_differ(plan, blocks, checkpoint)
    every, L, flying = plan.checkpoint_every, plan.shard.shape.n_layer, plan.shard.layers_in_flight
    other = flying - L  # of other micro-batches, when the backward pass of one reaches its last block
    if not every:
        once: Standing = [(own.once, 1) for own in blocks.values()]

        def saved(times: Any) -> Standing:
            return [(own.saved, times) for own in blocks.values()] + once

        in_all, at_top, at_bottom = saved(flying), saved(flying - 1) if not is_zero(flying - 1) else once, saved(other)
    else:

        def checkpoints(layers: Any) -> Standing:
            return [(checkpoint.each["block"], layers), (checkpoint.once, 1)]

        def between(layers: Any) -> Standing:
            return [(own.saved, layers - ceiling(layers, every)) for own in blocks.values()] if every > 1 else []

        in_all = at_top = between(flying) + checkpoints(ceiling(flying, every))
        at_bottom = checkpoints(ceiling(other, every) + 1) + between(other)
    top, bottom = Layer("block", at_top, {"block": 0}), Layer("block", at_bottom, {"block": L - 1})
    return in_all, {"last block": top}, {"first block": top, "last block": bottom}


def _layers_that_differ(
    plan: Structure, blocks: Mapping[str, OfOperation], checkpoint: "Checkpoint"
) -> tuple[Standing, dict[str, Layer], dict[str, Layer]]:
    """Between two kinds memory bends: the first and the last layer of each run of layers of one kind may be the fullest."""
    once: Standing = [(checkpoint.once, 1)] if plan.checkpoint_every else _once(blocks)
    kinds = list(plan.layers)

    def below(counts: Mapping[str, int]) -> Standing:
        standing = {kind: counts[kind] + plan.further[kind] for kind in kinds}
        if plan.checkpoint_every:
            return [(checkpoint.each[kind], standing[kind]) for kind in kinds if not is_zero(standing[kind])] + once
        return [(own.saved, standing[block_of(path)]) for path, own in blocks.items() if not is_zero(standing[block_of(path)])] + once

    total = {kind: sum(n for name, n in plan.order if name == kind) for kind in kinds}
    tops: dict[str, Layer] = {}
    reached: dict[str, Layer] = {}
    under = dict.fromkeys(kinds, 0)
    number = 0
    for kind, n in plan.order:
        for place in (1, n) if n > 1 else (1,):
            beneath = {**under, kind: under[kind] + place - 1}
            own = 1 if plan.checkpoint_every else 0  # its checkpoint stands while it is computed again
            upper = {name: total[name] - beneath[name] - (name == kind) for name in kinds}
            reached[f"layer {number + place}"] = Layer(kind, below({**beneath, kind: beneath[kind] + own}), upper)
        tops[f"layer {number + n}"] = reached[f"layer {number + n}"]
        under[kind] += n
        number += n
    return below(total), tops, dict(reversed(reached.items()))


def _once(blocks: Mapping[str, OfOperation]) -> Standing:
    """What all layers keep together, such as rotary angles: of the first kind that has it."""
    first: dict[str, Group] = {}
    for path, own in blocks.items():
        first.setdefault(path.partition("/")[2], own.once)
    return [(group, 1) for group in first.values()]


def rounding(saved: Saved) -> Any:
    """What the allocator hands out beyond the tensors themselves.

    Units: bytes.
    """
    each = saved.bytes // saved.count
    return saved.count * (taken(each) - each)


class Checkpoint(NamedTuple):
    """What a recomputed block of each kind keeps of itself, and what all of them keep together."""

    each: dict[str, Group]
    once: Group


def _checkpoint(plan: Structure) -> Checkpoint:
    if not plan.checkpoint_every:
        return Checkpoint({}, Group())
    idle = any(part_of(path) == "block" for path in plan.idle)
    if idle:
        return Checkpoint(dict.fromkeys(plan.layers, Group()), Group())
    each = {}
    for block in plan.layers:
        saved = checkpointed(plan.implementation, plan.settings[block])
        each[block] = Group({f"activations/{block}/checkpoint": sum((one.bytes for one in saved if not one.tensor.once), 0)})
    shared = n_bytes(plan.implementation.checkpoint.arguments, plan.setting)
    return Checkpoint(each, Group({"activations/block/checkpoint arguments": shared} if not is_zero(shared) else {}))


def _of_operation(path: str, plan: Structure, gradient: Any) -> OfOperation:
    """What one operation keeps (once for the model apart), its low-precision copies, and what lives beside it for a moment."""
    operation = plan.implementation.operations[path]
    setting = plan.loss if path == "loss" else plan.settings.get(block_of(path), plan.setting)
    place = "logits and loss" if path in ("loss", "head/output") else "activations"
    keeps: dict[str, Any] = {}
    again: dict[str, Any] = {}
    once: dict[str, Any] = {}
    copies: dict[str, Any] = {}
    cached: dict[str, Any] = {}
    frozen = is_frozen(path, operation, setting)
    idle = path in plan.idle
    for saved in kept(path, operation, setting):
        stands = plan.copies_cached and saved.tensor.copy_of_weight
        passes = idle or (path == plan.first and not saved.tensor.for_weight)
        if (saved.tensor.copy_of_weight and not plan.copies) or (passes and not stands):
            continue
        where = f"low-precision copies/{path}" if saved.tensor.copy_of_weight else f"{place}/{path}"
        extra = 0 if isinstance(setting.letters["d"], Symbol) else rounding(saved)  # in letters it would bury the text
        for target, wanted in (
            (keeps, not saved.tensor.once and not stands),
            (again, not saved.tensor.once and not saved.tensor.block_input and not stands),
            (once, saved.tensor.once),
            (copies, saved.tensor.copy_of_weight and not frozen),
            (cached, stands),
        ):
            if wanted:
                target[where] = target[where] + saved.bytes if where in target else saved.bytes
                if not is_zero(extra):
                    target[ROUNDING] = target[ROUNDING] + extra if ROUNDING in target else extra
    if path in plan.adapters:
        own = plan.adapters[path]
        for target in (keeps, again):
            target[f"activations/{path}, adapter"] = own.saved + own.copies
        copies[f"low-precision copies/{path}, adapter"] = own.copies
    whole = setting._replace(selective=False)
    recomputed = sum(s.bytes for s in kept(path, operation, whole) if s.tensor.core) if setting.selective else 0
    flowing = [tensor for tensor in operation.backward if not (frozen and tensor.for_weight)]
    transient = n_bytes(flowing, setting) + recomputed + (plan.adapters[path].backward if path in plan.adapters else 0)
    momentary = n_bytes(operation.forward, setting)
    if not plan.checkpoint_every and not is_zero(momentary):  # part of it is what is kept
        kept_of_it = sum(keeps.values())
        momentary = maximum(momentary, kept_of_it) - kept_of_it
    divided = ceiling(gradient, plan.divided_experts if of_experts(path) else plan.divided)
    return OfOperation(
        saved=Group(keeps),
        recomputed=Group(again),
        once=Group(once),
        copies=Group(copies),
        cached=Group(cached),
        transient=Group({f"transients/{path}": transient} if not is_zero(transient) and not idle else {}),
        momentary=Group({f"transients/{path}": momentary} if not is_zero(momentary) else {}),
        gradients=Group({} if plan.fresh_gradients else {f"gradients/{path}": divided}),
        fresh=Group({f"transients/fresh gradients/{path}": gradient} if plan.fresh_gradients else {}),
    )
