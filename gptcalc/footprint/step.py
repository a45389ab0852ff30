"""One training step on one device as a list of moments: what stands in memory at each, of which the fullest is the peak.

A moment is groups of items with multipliers (the kept tensors of a block times the blocks that still hold them, and so on). Memory is
linear in the number of blocks done, so that of all the blocks of a pass only the first and the last can be the fullest.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gptcalc.footprint.allocator import taken
from gptcalc.footprint.linear import Linear
from gptcalc.footprint.saved import Saved, Setting, checkpointed, is_frozen, kept, n_bytes
from gptcalc.footprint.states import of_experts
from gptcalc.spec.runtime import Implementation
from gptcalc.symbols import Symbol, ceiling, is_one, maximum
from gptcalc.table.sharding import Shard, on_stage

ROUNDING = "activations/allocator rounding"
Group = Mapping[str, Any]  # path in the breakdown -> bytes
Moment = list[tuple[str, Any]]  # group, how many times


class Step(NamedTuple):
    """`groups` by name; `moments` by phase and name."""

    groups: dict[str, Group]
    moments: dict[str, dict[str, Moment]]
    blocks_done: Moment  # the end of the last block, forward
    trained: Any = 0  # bytes of those weights that are trained

    def values(self) -> dict[str, list[Any]]:
        """The bytes at each moment, phase by phase."""
        totals = {name: sum(group.values()) for name, group in self.groups.items()}
        return {phase: [self.total(moment, totals) for moment in moments.values()] for phase, moments in self.moments.items()}

    def total(self, moment: Moment, totals: Mapping[str, Any]) -> Any:
        total: Any = 0
        flying: Any = 0  # what is linear apart: sums of plain numbers are quicker
        for group, times in moment:
            amount = totals[group] if is_one(times) else times * totals[group]
            if isinstance(amount, Linear):
                flying = flying + amount
            else:
                total = total + amount
        return total + flying if isinstance(flying, Linear) else total

    def breakdown(self, moment: Moment) -> dict[str, Any]:
        items: dict[str, Any] = {}
        for group, times in moment:
            for path, size in self.groups[group].items():
                amount = times * size
                items[path] = items[path] + amount if path in items else amount
        return items


class Kept(NamedTuple):
    """Bytes of one run of an operation's adapter: kept, of copies of its weights, and alive in its backward pass."""

    kept: Any
    copies: Any
    backward: Any


class Plan(NamedTuple):
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
    adapters: Mapping[str, Kept] = {}  # by operation
    further: Mapping[str, int] = {}  # where layers differ: how many of each kind keep what they kept for other micro-batches
    order: tuple[tuple[str, int], ...] = ()  # where layers differ: how many of one kind, then of another, from the bottom upwards


def step_of(plan: Plan, held: dict[str, Group], gradients: Mapping[str, Any], optimizer_transients: Group) -> Step:
    """The moments of a step. `held` are the groups that stand throughout, `gradients` one run's bytes for each operation.

    Units: bytes.   Source: the order of execution of autograd, measured phase by phase (see tests/data).
    """
    implementation, shard = plan.implementation, plan.shard
    paths = [path for path in implementation.operations if on_stage(path, shard.role)]
    blocks = [path for path in paths if path.startswith("block")]
    groups: dict[str, Group] = dict(held)
    for path in paths:
        groups |= _groups_of(path, plan)
        own = ceiling(gradients.get(path, 0), plan.divided_experts if of_experts(path) else plan.divided)
        groups[f"gradients:{path}"] = {} if plan.fresh_gradients else {f"gradients/{path}": own}
        groups[f"fresh:{path}"] = {f"transients/fresh gradients/{path}": gradients.get(path, 0)} if plan.fresh_gradients else {}
    groups |= _checkpoint_groups(plan)
    groups["returned"] = {"logits and loss/returned": n_bytes(implementation.returned, plan.setting)} if "loss" in paths else {}
    residual = {"transients/residual gradient": n_bytes(implementation.residual_gradient, plan.setting)}
    groups["residual"] = {} if plan.idle.intersection(blocks) else residual
    groups["optimizer transients"] = optimizer_transients

    base: Moment = [(name, 1) for name in held if name not in ("gathered", "reduced", "unpacked")]
    base += [(f"cached:{path}", plan.layers.get(_block(path), 1)) for path in paths if groups[f"cached:{path}"]]
    gathered: Moment = [("gathered", 1)] if "gathered" in held else []
    reduced: Moment = [("reduced", 1)] if "reduced" in held else []
    unpacked: Moment = [("unpacked", 1)] if "unpacked" in held else []

    def beside(path: str) -> Moment:
        return gathered + (unpacked if path in plan.setting.packed else [])

    in_all, inside, layers = _layers(plan, blocks)

    def outside(names: list[str]) -> Moment:
        return [(f"kept:{name}", shard.batches_in_flight if name.startswith("embedding/") else 1) for name in names]

    before_blocks = [path for path in paths if path.startswith("embedding/")]
    after_blocks = [path for path in paths if not path.startswith(("embedding/", "block"))]
    after: Moment = [*base, *outside(before_blocks), *in_all, *outside(after_blocks)]
    copies: Moment = []
    if plan.copies_live_on and plan.checkpoint_every:
        for name in blocks:
            L = shard.layers_in_flight if not plan.order else plan.layers[_block(name)]
            copies.append((f"copies:{name}", ceiling(L, plan.checkpoint_every)))

    moments: dict[str, dict[str, Moment]] = {"before_forward": {"start": base}, "after_forward": {"end": after}}
    forward = {"return": [*after, *copies, *gathered, ("returned", 1)]}
    for name, layer in inside.items():
        own = [path for path in blocks if _block(path) == layer.block]
        for index, path in enumerate(own):
            if groups[f"momentary:{path}"]:
                done_here: Moment = [] if plan.checkpoint_every else [(f"kept:{one}", 1) for one in own[: index + 1]]
                still = [*base, *outside(before_blocks), *layer.others, *done_here]
                forward[f"{name}, {path}"] = [*still, *copies, *beside(path), (f"momentary:{path}", 1)]
    moments["forward"] = forward

    backward: dict[str, Moment] = {}
    done: Moment = []
    for index in range(len(after_blocks) - 1, -1, -1):
        path = after_blocks[index]
        done = [*done, (f"gradients:{path}", 1)]
        still = [*base, *outside(before_blocks), *in_all, *outside(after_blocks[: index + 1])]
        backward[path] = [*still, *done, *gathered, (f"fresh:{path}", 1), (f"transient:{path}", 1)]
    for name, layer in layers.items():
        own = [path for path in blocks if _block(path) == layer.block]
        base_block = [*base, *outside(before_blocks), *layer.others, *done, ("residual", 1), *reduced]
        base_block += [(f"gradients:{path}", layer.upper[_block(path)]) for path in blocks if _some(layer.upper[_block(path)])]
        for index in range(len(own) - 1, -1, -1):
            path = own[index]
            kept_inside: Moment = [(f"{'again' if plan.checkpoint_every else 'kept'}:{one}", 1) for one in own[: index + 1]]
            made: Moment = [(f"gradients:{one}", 1) for one in own[index:]]
            here = [*base_block, *beside(path), *kept_inside, *made]
            backward[f"{name}, {path}"] = [*here, (f"fresh:{path}", 1), (f"transient:{path}", 1)]
    done = [*done, *((f"gradients:{path}", plan.layers[_block(path)]) for path in blocks)]
    for path in reversed(before_blocks):
        done = [*done, (f"gradients:{path}", 1)]
        backward[path] = [*base, *outside(before_blocks), *done, *gathered, (f"fresh:{path}", 1), (f"transient:{path}", 1)]
    moments["backward"] = backward
    moments["optimizer"] = {"update": [*base, *done, ("optimizer transients", 1)]}
    return Step(groups, moments, [*base, *outside(before_blocks), *in_all])


class Layer(NamedTuple):
    """A layer that the forward or backward pass has reached."""

    block: str
    others: Moment  # what the layers keep that are not yet done, with its own checkpoint
    upper: Mapping[str, Any]  # how many layers of each kind the backward pass has left behind


def _block(path: str) -> str:
    return path.partition("/")[0]


def _layers(plan: Plan, blocks: list[str]) -> tuple[Moment, dict[str, Layer], dict[str, Layer]]:
    """What all layers keep; the last layer of the forward pass; and those of the backward pass that may be the fullest."""
    if plan.order:
        return _layers_that_differ(plan, blocks)
    every, L, flying = plan.checkpoint_every, plan.shard.shape.n_layer, plan.shard.layers_in_flight
    whole = flying - (ceiling(flying, every) if every else 0)

    def in_blocks(less: int = 0) -> Moment:
        """What all the blocks keep, or all but one that keeps everything."""
        found: Moment = [(f"kept:{name}", whole - less if not every else whole) for name in blocks] if _some(whole) else []
        found += [(f"once:{name}", 1) for name in blocks if not every]
        return found + ([("checkpoint:block", ceiling(flying, every)), ("once:checkpoint", 1)] if every else [])

    top = Layer("block", in_blocks(1), {"block": 0})
    bottom = Layer("block", _last_left(plan, blocks, flying - L), {"block": L - 1})
    return in_blocks(), {"last block": top}, {"first block": top, "last block": bottom}


def _layers_that_differ(plan: Plan, blocks: list[str]) -> tuple[Moment, dict[str, Layer], dict[str, Layer]]:
    """Between two kinds memory bends: the first and the last layer of each run of layers of one kind may be the fullest."""
    once: Moment = [("once:checkpoint", 1)] if plan.checkpoint_every else _once(blocks)
    kinds = list(plan.layers)

    def below(counts: Mapping[str, int]) -> Moment:
        standing = {kind: counts[kind] + plan.further[kind] for kind in kinds}
        if plan.checkpoint_every:
            return [(f"checkpoint:{kind}", standing[kind]) for kind in kinds if _some(standing[kind])] + once
        return [(f"kept:{name}", standing[_block(name)]) for name in blocks if _some(standing[_block(name)])] + once

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


def _once(blocks: list[str]) -> Moment:
    """What all layers keep together, such as rotary angles: of the first kind that has it."""
    first: dict[str, str] = {}
    for name in blocks:
        first.setdefault(name.partition("/")[2], name)
    return [(f"once:{name}", 1) for name in first.values()]


def _last_left(plan: Plan, blocks: list[str], others_in_flight: Any) -> Moment:
    """What the blocks keep when the backward pass of one micro-batch reaches its last block."""
    if plan.checkpoint_every:
        rest: Moment = [("checkpoint:block", ceiling(others_in_flight, plan.checkpoint_every) + 1), ("once:checkpoint", 1)]
        return rest + [(f"kept:{name}", others_in_flight - ceiling(others_in_flight, plan.checkpoint_every)) for name in blocks]
    return [(f"kept:{name}", others_in_flight) for name in blocks] + [(f"once:{name}", 1) for name in blocks]


def _all(group: Group) -> Any:
    return sum(group.values())


def rounding(saved: Saved) -> Any:
    """What the allocator hands out beyond the tensors themselves.

    Units: bytes.
    """
    each = saved.bytes // saved.count
    return saved.count * (taken(each) - each)


def _some(number: Any) -> bool:
    return not (isinstance(number, int) and number == 0)


def _checkpoint_groups(plan: Plan) -> dict[str, Group]:
    """What a recomputed block of each kind keeps of itself, and what all of them keep together."""
    idle = any(path.startswith("block") for path in plan.idle)
    shared = 0 if idle else n_bytes(plan.implementation.checkpoint.arguments, plan.setting)
    groups: dict[str, Group] = {"once:checkpoint": {"activations/block/checkpoint arguments": shared} if _some(shared) else {}}
    for block in plan.layers:
        saved = checkpointed(plan.implementation, plan.settings[block])
        kept_of_it = sum((one.bytes for one in saved if not one.tensor.once), 0)
        groups[f"checkpoint:{block}"] = {} if idle else {f"activations/{block}/checkpoint": kept_of_it}
    return groups


def _groups_of(path: str, plan: Plan) -> dict[str, Group]:
    """What one operation keeps (once for the model apart), its low-precision copies, and what lives beside it for a moment."""
    operation = plan.implementation.operations[path]
    setting = plan.loss if path == "loss" else plan.settings.get(_block(path), plan.setting)
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
                if _some(extra):
                    target[ROUNDING] = target[ROUNDING] + extra if ROUNDING in target else extra
    if path in plan.adapters:
        own = plan.adapters[path]
        for target in (keeps, again):
            target[f"activations/{path}, adapter"] = own.kept + own.copies
        copies[f"low-precision copies/{path}, adapter"] = own.copies
    whole = setting._replace(selective=False)
    recomputed = sum(s.bytes for s in kept(path, operation, whole) if s.tensor.core) if setting.selective else 0
    flowing = [tensor for tensor in operation.backward if not (frozen and tensor.for_weight)]
    transient = n_bytes(flowing, setting) + recomputed + (plan.adapters[path].backward if path in plan.adapters else 0)
    momentary = n_bytes(operation.forward, setting)
    if not plan.checkpoint_every and _some(momentary):  # part of it is what is kept
        momentary = maximum(momentary, _all(keeps)) - _all(keeps)
    return {
        f"kept:{path}": keeps,
        f"again:{path}": again,
        f"once:{path}": once,
        f"copies:{path}": copies,
        f"cached:{path}": cached,
        f"transient:{path}": {f"transients/{path}": transient} if _some(transient) and not idle else {},
        f"momentary:{path}": {f"transients/{path}": momentary} if _some(momentary) else {},
    }
