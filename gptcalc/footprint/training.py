"""Training memory of one device: states, activations and transients of a recipe put together into the moments of a step.

P parameters, N = B·T tokens; other letters in `spec.shape`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.footprint.adapters import adapter_elements, adapter_keeps, targets_of
from gptcalc.footprint.allocator import taken
from gptcalc.footprint.moments import Group, Held, Moment, Standing, Step
from gptcalc.footprint.saved import Setting, width, within
from gptcalc.footprint.states import Weight, bytes_per_weight, of_experts, states_of, update_transients, weights_of
from gptcalc.footprint.step import Adapter, Structure, step_of
from gptcalc.spec.paths import block_of, part_of
from gptcalc.spec.recipe import PRECISIONS, Recipe
from gptcalc.symbols import Symbol, ceiling, is_one, is_zero, maximum, minimum, product
from gptcalc.table.operation import Operation
from gptcalc.table.operations import operations
from gptcalc.table.sharding import Shard, on_stage

if TYPE_CHECKING:
    from gptcalc.spec.runtime import Implementation, RuntimeSpec


class Inputs(NamedTuple):
    """One kind of number for everything: ints, arrays, or letters for the text of the formulas."""

    shard: Shard
    batch: Any
    recipe: Recipe
    runtime: "RuntimeSpec"
    implementation: "Implementation"
    tags: frozenset[str]
    dp: Any  # ranks that ZeRO divides among
    kinds: Mapping[str, frozenset[str]] = {}  # where layers differ: each kind of block, by its path, and the conditions that hold in it
    order: tuple[tuple[str, int], ...] = ()  # ... and its layers from the bottom upwards: so many of one kind, then of another
    further: Mapping[str, int] = {}  # ... and how many of each kind keep activations of other micro-batches of the pipeline

    @property
    def dp_experts(self) -> Any:
        """The data-parallel ranks that have the same experts."""
        ep = self.recipe.layout.ep
        return self.dp if is_one(ep) else maximum(1, self.dp // ep)


def _low(tags: frozenset[str]) -> frozenset[str]:
    return (tags - {"amp"}) | {"low"}


def training_step(i: Inputs) -> Step:
    """The moments of one training step.

    Units: bytes.   Source: the formulas of its parts.
    """
    s, recipe, precision, state = i.shard.shape, i.recipe, PRECISIONS[i.recipe.precision], i.runtime.state
    zero = recipe.layout.zero
    tied = s.switches.tied
    rows = {row.path: row for row in operations(s, i.batch, i.shard.seq, i.shard.seq)}
    paths = [path for path in rows if on_stage(path, i.shard.role)]
    weights = _of_model(i, list(rows.values()), paths)
    frozen = ("",) if recipe.lora_rank is not None else recipe.freeze
    if tied and within("embedding/token", recipe.freeze):
        frozen = (*frozen, "head/output")
    outside = {"B": i.batch, "T": i.shard.seq, "S": i.shard.seq_outside}
    owners = {name: path for path, op in i.implementation.operations.items() for name in (op.covers if op.covers is not None else (path,))}
    packed = frozenset(owners[weight.path] for weight in weights if weight.quantized)
    # bitsandbytes' Linear4bit casts its product back to the type of its input, which norms under autocast leave in fp32
    widened = precision._replace(wide_output=recipe.qlora)
    wide = Setting(s.letters | outside | _own_experts(i, s), widened, i.tags, frozen, packed, recipe.recompute == "selective")
    # FSDP gathers weights in 16 bits: activations are in 16 bits from the first on, the loss in fp32
    narrow = zero == 3 and "amp" in i.tags
    setting = wide
    if narrow:
        setting = wide._replace(precision=PRECISIONS[recipe.precision.removeprefix("amp-")], tags=_low(i.tags))
    settings = {}
    for block, kind in s.blocks:
        tags = i.kinds.get(block, i.tags)
        letters = kind.letters | outside | _own_experts(i, kind)
        settings[block] = setting._replace(letters=letters, tags=_low(tags) if narrow else tags)
    layers = {block: kind.n_layer for block, kind in s.blocks}

    adapters: dict[str, tuple[Any, Any]] = {}
    if recipe.lora_rank is not None:
        adapters = targets_of(i.implementation, rows, recipe.lora_targets)
        for path, (k, n) in adapters.items():
            size = adapter_elements(k, n, recipe.lora_rank)
            in_fp32 = recipe.adapter_precision == "fp32"
            weights.append(Weight(f"{path}, adapter", layers[block_of(path)], (size,), trained=True, wide=in_fp32))

    learning = PRECISIONS[recipe.adapter_precision or recipe.precision]
    gradient = width(state.gradients, learning)
    gradients = _gradients(weights, owners, gradient)
    states, standing = _standing(i, weights)
    if recipe.offload_optimizer and not states and any(weight.trained for weight in weights):
        raise GptcalcError(f"optimizer {recipe.optimizer} has no state to offload", hint="leave --offload-optimizer out")
    resident = state.resident_gradients or recipe.accumulate > 1
    divided, divided_experts = (i.dp, i.dp_experts) if zero >= 2 else (1, 1)
    trained = [weight for weight in weights if weight.trained]
    compute = precision.compute
    reduced = {"transients/gradients of a block, before they are scattered": _largest_block(trained, compute)}
    packed_one = {"transients/a matrix, out of its 4 bits": _largest_quantized(weights, compute)} if recipe.qlora else {}
    held = Held(
        weights=Group(_weights(i, weights, zero)),
        optimizer=Group({} if recipe.offload_optimizer else states),
        resident=Group(standing),
        gathered=Group({"transients/gathered weights": _gathered(weights, compute)} if zero == 3 else {}),
        reduced=Group(reduced if zero >= 2 and not resident else {}),
        unpacked=Group(packed_one if zero < 3 else {}),
        update=Group(update_transients(recipe, weights, width(state.weights, learning))),
    )
    kept_by_adapters = {path: _adapter_keeps(i, path, k, n) for path, (k, n) in adapters.items()}
    idle, first = _below_the_first_trained(list(i.implementation.operations), set(gradients))
    structure = Structure(
        i.implementation,
        setting,
        wide,
        i.shard,
        recipe.checkpoint_every,
        copies=zero < 3,
        copies_cached=i.runtime.caches_copies,
        copies_live_on=_autocast(recipe) and not recipe.compiled,
        idle=idle,
        first=first,
        fresh_gradients=resident and not state.resident_gradients,
        divided=divided,
        divided_experts=divided_experts,
        adapters=kept_by_adapters,
        settings=settings,
        layers=layers,
        order=i.order,
        further=i.further,
    )
    if state.resident_gradients:
        gradients = {}
    step = step_of(structure, held, gradients)
    if zero == 0 and not state.resident_gradients and not isinstance(i.batch, Symbol):
        _round_states(step)
    learned = _weights(i, trained, zero)
    return step._replace(trained=sum(learned.values()))


def states_alone(i: Inputs) -> Any:
    """Bytes of the optimizer's state and of gradients that stand throughout, which are all that ZeRO-1 and 2 change where gradients do.

    A model without adapters.
    """
    s = i.shard.shape
    rows = operations(s, i.batch, i.shard.seq, i.shard.seq)
    weights = _of_model(i, rows, [row.path for row in rows if on_stage(row.path, i.shard.role)])
    states, gradients = _standing(i, weights)
    return sum(gradients.values(), 0 if i.recipe.offload_optimizer else sum(states.values()))


def _of_model(i: Inputs, rows: list[Operation[Any]], paths: list[str]) -> list[Weight]:
    """The weights of a stage; where head and embedding are one and stages two, the head has a copy of its own."""
    s, recipe = i.shard.shape, i.recipe
    weights = weights_of(rows, recipe, paths)
    if s.switches.tied and i.shard.role == "last":
        learns = recipe.lora_rank is None and not within("embedding/token", recipe.freeze)
        weights.append(Weight("head/output", 1, (s.vocab_size, s.d_embedding), learns, name="weight"))
    return weights


def _standing(i: Inputs, weights: list[Weight]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The optimizer's state, and the gradients that stand throughout; each divided as ZeRO has it."""
    recipe, state, zero = i.recipe, i.runtime.state, i.recipe.layout.zero
    learning = PRECISIONS[recipe.adapter_precision or recipe.precision]
    states = states_of(weights, recipe, learning, state, *((i.dp, i.dp_experts) if zero >= 1 else (1, 1)))
    divided, divided_experts = (i.dp, i.dp_experts) if zero >= 2 else (1, 1)
    resident = state.resident_gradients or recipe.accumulate > 1
    sizes = _by_path([weight for weight in weights if weight.trained], width(state.gradients, learning)) if resident else {}
    return states, {f"gradients/{path}": ceiling(n, divided_experts if of_experts(path) else divided) for path, n in sizes.items()}


def _round_states(step: Step) -> None:
    """States and gradients are cut from what the first step's activations leave in the cache, without waste; beyond that they waste
    as the weights do. Fitted on nothing, and about right on two runs with few tokens (see tests/data).

    Where the fullest moment comes after those activations are gone, all is wasted that can be: else more tokens would need less.
    """
    held = step.held
    saved = step.moments["after_forward"]["end"].total - step.moments["before_forward"]["start"].total
    waste, weights = held.weights.items["weights/allocator rounding"], held.weights.total
    gradients = step.moments["optimizer"]["update"].total - weights - held.optimizer.total - held.update.total
    of_gradients = held.resident if held.resident.items else step.token_gradients
    late: list[tuple[Group, Group]] = []
    for group, place, size in ((held.optimizer, "optimizer state", held.optimizer.total), (of_gradients, "gradients", gradients)):
        cached = minimum(size, saved)
        path, early = f"{place}/allocator rounding", (size - cached) * waste // weights
        group.add(path, early)
        late.append((group, Group({path: size * waste // weights - early})))
    before: Any = 0
    after: Any = 0
    emptier: list[tuple[Moment, Standing]] = []
    for phase, moments in step.moments.items():
        for moment in moments.values():
            if phase == "optimizer" or (phase == "backward" and moment.part != "head"):
                more = [(extra, 1) for group, extra in late if any(group is one for one, _ in moment.standing)]
                emptier.append((moment, more))
                after = maximum(after, moment._replace(standing=[*moment.standing, *more]).total)
            else:
                before = maximum(before, moment.total)
    for moment, more in emptier:
        moment.standing.extend((group, (after > before) * 1) for group, _ in more)


def _below_the_first_trained(paths: list[str], trained: set[str]) -> tuple[frozenset[str], str]:
    """The operations that no gradient reaches, and the first that has one where it is above the blocks. Blocks have one or none.

    >>> _below_the_first_trained(["embedding/token", "block/mlp/up", "final_norm", "head/output"], {"head/output"})[1]
    'head/output'
    """
    idle: list[str] = []
    blocks = any(part_of(path) == "block" for path in trained)
    for path in paths:
        if path in trained or (blocks and part_of(path) == "block"):
            return frozenset(idle), path if part_of(path) == "head" else ""
        idle.append(path)
    return frozenset(), ""


def _gradients(weights: list[Weight], owners: Mapping[str, str], width: int) -> dict[str, Any]:
    """Bytes of the gradients of one run of each operation that has a trained weight; `owners`: what runs the operations of the table."""
    found: dict[str, Any] = {}
    for weight in weights:
        if weight.trained:
            path = owners.get(weight.path, weight.path.removesuffix(", adapter"))
            one = width * (weight.size if part_of(path) == "block" else weight.total)
            found[path] = found[path] + one if path in found else one
    return found


def _autocast(recipe: Recipe) -> bool:
    """Whether fp32 weights are cast for their matmuls: the model's, or those of adapters over a 16-bit base."""
    return recipe.precision.startswith("amp-") or recipe.adapter_precision is not None


def _by_path(weights: list[Weight], factor: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for weight in weights:
        found[weight.path] = found.get(weight.path, 0) + factor * weight.total
    return found


def _weights(i: Inputs, weights: list[Weight], zero: int) -> dict[str, Any]:
    precision, stored = PRECISIONS[i.recipe.precision], i.runtime.state.weights
    found: dict[str, Any] = {}
    for weight in weights:
        divided = (i.dp_experts if weight.of_experts else i.dp) if zero == 3 else 1
        numerator, denominator = bytes_per_weight(weight, precision, stored)
        path = f"weights/{weight.path}"
        found[path] = found.get(path, 0) + ceiling(ceiling(numerator * weight.total, denominator), divided)
    if not is_zero(i.shard.padding):
        row = width(stored, precision) * i.shard.shape.d_embedding
        padding = ceiling(ceiling(i.shard.padding * row, i.recipe.layout.tp), i.dp if zero == 3 else 1)
        for path in ("weights/embedding/token", "weights/head/output"):
            if path in found:
                found[path] = found[path] - padding
                found[f"weights/vocabulary padding{'' if 'token' in path else ' of the head'}"] = padding
    if zero < 3:
        found["weights/allocator rounding"] = _rounding(i, weights, width(stored, precision))
    return found


def _rounding(i: Inputs, weights: list[Weight], stored: int) -> Any:
    """What the allocator hands out beyond the weights; matmuls that the runtime fuses are one tensor."""
    fused: dict[tuple[str, str], list[Weight]] = {}
    owners = {name: path for path, op in i.implementation.operations.items() for name in (op.covers or ())}
    for weight in weights:
        fused.setdefault((owners.get(weight.path, weight.path), weight.name), []).append(weight)
    extra: Any = 0
    for tensors in fused.values():
        if any(weight.quantized for weight in tensors):
            continue
        size = (4 if tensors[0].wide else stored) * sum((weight.size for weight in tensors[1:]), tensors[0].size)
        if isinstance(size, Symbol):
            return Symbol.letter("rounding")
        extra = extra + tensors[0].runs * (taken(size) - size)
    return extra


def _largest_quantized(weights: list[Weight], compute: int) -> Any:
    sizes = [weight.size for weight in weights if weight.quantized]
    largest = sizes[0]
    for size in sizes[1:]:
        largest = maximum(largest, size)
    return compute * largest


def _gathered(weights: list[Weight], compute: int) -> Any:
    """FSDP gathers one block while it computes with another, and keeps what is outside the blocks gathered."""
    total: Any = 2 * _largest_block(weights, compute)
    for weight in weights:
        if part_of(weight.path) != "block":
            total = total + compute * weight.total
    return total


def _largest_block(weights: list[Weight], compute: int) -> Any:
    """The weights of one layer, of the kind that has most."""
    sizes: dict[str, Any] = {}
    for weight in weights:
        block = block_of(weight.path)
        if part_of(block) == "block":
            sizes[block] = sizes[block] + compute * weight.size if block in sizes else compute * weight.size
    largest, *rest = list(sizes.values()) or [0]
    for size in rest:
        largest = maximum(largest, size)
    return largest


def _own_experts(i: Inputs, kind: Any) -> dict[str, Any]:
    """Y: the experts of one expert-parallel rank."""
    return {"Y": ceiling(kind.n_expert, i.recipe.layout.ep)}


def _adapter_keeps(i: Inputs, path: str, k: Any, n: Any) -> Adapter:
    assert i.recipe.lora_rank is not None
    amp = _autocast(i.recipe)
    compute = PRECISIONS[i.recipe.precision].compute
    tokens = product((i.batch, i.shard.seq))
    copies = compute * adapter_elements(k, n, i.recipe.lora_rank) if amp else 0
    # In one type, adapters that read the same tensor keep it once: the first of query, key and value does.
    shared = (
        not amp
        and path.rsplit("/", 1)[-1] in ("key", "value", "up")
        and any(name.rsplit("/", 1)[-1] in ("query", "gate") for name in i.implementation.operations)
    )
    # The gradient of its input comes beside the base's: in fp32 under autocast, and then in the type that was widened to it.
    flowing = (4 if i.recipe.qlora else 4 + compute) if amp else compute
    kept = adapter_keeps(k, i.recipe.lora_rank, tokens, compute=compute, own_input=not shared)
    return Adapter(kept, copies, flowing * product((tokens, k)))
