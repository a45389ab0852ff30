"""The phases of a training step on one device, each broken down at its fullest moment; of a pipeline, the stage that needs most."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.footprint.adapters import targets_of
from gptcalc.footprint.breakdown import broken_down, fullest, mixed
from gptcalc.footprint.linear import Linear, highest
from gptcalc.footprint.moments import Step
from gptcalc.footprint.saved import within
from gptcalc.footprint.training import Inputs, states_alone, training_step
from gptcalc.node import Node
from gptcalc.spec.letters import symbolic
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.reading import quoted
from gptcalc.spec.recipe import Recipe, check_recipe, tags_of
from gptcalc.spec.shape import Shape, block_path, shape_of
from gptcalc.symbols import Symbol, ceiling, is_one, is_zero, maximum, pick, product
from gptcalc.table.code import code_of
from gptcalc.table.operations import operations
from gptcalc.table.sharding import Shard, roles_of, shard_of, shards_of, stage_layers, stage_of

if TYPE_CHECKING:
    from gptcalc.spec.runtime import Implementation

PHASES = ("before_forward", "after_forward", "forward", "backward", "optimizer")


class Peak(NamedTuple):
    """The peak of the stage that needs most, as a number. Bytes, as in `Training`, whose `value` and `high` these are."""

    value: Any
    high: Any
    role: Any
    logits: Any
    trained: Any
    stages: Mapping[str, Any]
    lower_bound: bool


class Training(NamedTuple):
    """`phases` are breakdowns by name; `peak` names the fullest; `when` says at which moment of it."""

    phases: dict[str, Node[Any]]
    peak: Any
    when: dict[str, Any]
    role: Any
    step: Step
    layers: Any
    logits: Any  # bytes of one fp32 block of logits
    trained: Any  # ... of the weights that are trained
    letters: dict[str, Any]  # what the formulas' letters stand for
    stages: Mapping[str, Any] = {}  # of a pipeline: the peak of each kind of stage
    unsettled: Any = 0  # bytes of logits that the forward and backward passes may hold besides: the compiler decides
    lower_bound: bool = False  # of code that does not exist: any that does holds as much or more

    @property
    def value(self) -> Any:
        """The peak."""
        return fullest([self.phases[name].value for name in PHASES])[0]

    @property
    def high(self) -> Any:
        """The peak, if all stands that may."""
        return fullest([self.phases[name].value + (self.unsettled if name in ("forward", "backward") else 0) for name in PHASES])[0]


class Stage(NamedTuple):
    """One kind of stage in numbers: `values` are the bytes at each moment of each phase."""

    inputs: Inputs
    step: Step
    values: dict[str, list[Any]]
    logits: Any
    unsettled: Any
    flying: Any = 0  # layers in flight

    @property
    def reach(self) -> "Reach":
        """The peaks of arrays."""
        passes, others = (
            [value for phase, several in self.values.items() if (phase in ("forward", "backward")) is both for value in several]
            for both in (True, False)
        )
        calm, full = highest(others, self.flying), highest(passes, self.flying)
        standing = highest(self.values["before_forward"], self.flying)
        return Reach(maximum(calm, full), maximum(calm, full + self.unsettled), standing)

    @property
    def peak(self) -> Peak:
        each = {phase: fullest(values)[0] for phase, values in self.values.items()}
        high = [value + (self.unsettled if phase in ("forward", "backward") else 0) for phase, value in each.items()]
        role, bound = self.inputs.shard.role, self.inputs.runtime.lower_bound
        return Peak(fullest([*each.values()])[0], fullest(high)[0], role, self.logits, self.step.trained, {}, bound)


def peak_of(model: ModelSpec, recipe: Recipe, batch: Any, seq: Any) -> Peak:
    """The peak of `training_memory`, which of a stage is the same number without names, text and trees.

    Units: bytes.   Raises: GptcalcError as it does.   Source: its own.
    """
    peaks = [stage.peak for stage in _stages(model, recipe, batch, seq)]
    if len(peaks) == 1:
        return peaks[0]
    _, index = fullest([peak.value for peak in peaks])
    stages = {peak.role: peak.value for peak in peaks}
    if isinstance(index, int):
        return peaks[index]._replace(stages=stages)
    numbers = {name: _chosen(index, peaks, name) for name in ("value", "high", "logits", "trained", "role")}
    return Peak(**numbers, stages=stages, lower_bound=peaks[0].lower_bound)


class Reach(NamedTuple):
    """Of the fullest stage: `value` and `high` as in `Peak`, and what stands before a step begins. Bytes."""

    value: Any
    high: Any
    standing: Any


class Beside(NamedTuple):
    """Of one kind of stage: what it is, and its reach without what `states_alone` says."""

    inputs: Inputs
    reach: Reach


def reach_on_grid(
    model: ModelSpec, recipe: Recipe, batch: Any, seq: Any, known: dict[Any, list[Beside]] | None = None, key: Any = None
) -> Reach:
    """`peak_of` without the rest, for sizes that broadcast: the structure of their steps is one (`spec.grids`).

    ZeRO-0, 1 and 2 keep the same activations where gradients stand throughout: `known` has them by `key`, which says all but the stage.
    """
    from gptcalc.spec.runtime import load_runtime

    resident = load_runtime(recipe.runtime).state.resident_gradients and recipe.lora_rank is None
    if known is None or not resident or recipe.layout.zero == 3:
        stages = _stages(model, recipe, batch, seq, linear=True)
        return _of_fullest(recipe, [(stage.inputs.shard.role, stage.reach) for stage in stages])
    if key not in known:
        stages = _stages(model, recipe, batch, seq, linear=True)
        known[key] = [Beside(one.inputs, Reach(*(size - states_alone(one.inputs) for size in one.reach))) for one in stages]
    found = []
    for inputs, reach in known[key]:
        apart = states_alone(inputs._replace(recipe=inputs.recipe._replace(layout=recipe.layout)))
        found.append((inputs.shard.role, Reach(*(size + apart for size in reach))))
    return _of_fullest(recipe, found)


def _of_fullest(recipe: Recipe, stages: list[tuple[str, Reach]]) -> Reach:
    largest: Reach | None = None
    for role, own in stages:
        if role == "middle":  # of two stages there is none
            own = Reach(*(pick(recipe.layout.pp > 2, size, 0) for size in own))
        largest = own if largest is None else Reach(*(maximum(a, b) for a, b in zip(largest, own, strict=True)))
    assert largest is not None
    return largest


def _chosen(index: Any, found: Sequence[Any], name: str) -> Any:
    """One field of the stages that an array of their numbers chooses."""
    import numpy as np

    each = np.stack([np.broadcast_to(getattr(one, name), index.shape) for one in found])
    return np.take_along_axis(each, index[np.newaxis], axis=0)[0]


def training_memory(model: ModelSpec, recipe: Recipe, batch: Any, seq: Any, *, text: bool = True) -> Training:
    """Peak memory of one training step on one device, phase by phase; of a pipeline, the stage that needs most. With the formulas' text.

    Units: bytes, as the allocator counts them.   Raises: GptcalcError for contradictory options and impossible divisions.
    Source: in presets/runtimes and the formulas of the parts.
    """
    stages = _stages(model, recipe, batch, seq)
    peaks = [stage.peak.value for stage in stages]
    _, index = fullest(peaks)
    if isinstance(index, int):  # the others are not shown
        roles = {stage.inputs.shard.role: peak for stage, peak in zip(stages, peaks, strict=True)} if len(stages) > 1 else {}
        return _training(model, stages[index], text=text)._replace(stages=roles)
    results = [_training(model, stage, text=text) for stage in stages]
    return results[0] if len(results) == 1 else _worst(results)


def _stages(model: ModelSpec, recipe: Recipe, batch: Any, seq: Any, *, linear: bool = False) -> list[Stage]:
    """Every kind of stage of a pipeline in numbers; `linear`: those of arrays in terms of the layers in flight, where they are."""
    from gptcalc.spec.runtime import load_runtime

    runtime = load_runtime(recipe.runtime)
    check_recipe(recipe, runtime)
    implementation = code_of(runtime, model)
    if recipe.dropout is None:
        recipe = recipe._replace(dropout=runtime.dropout)
    shape: Shape[Any] = shape_of(model)
    _check_against(recipe, shape, implementation)
    tags, *_ = by_kind = [_tags(recipe, kind) for kind in (shape, *(kind for _, kind in shape.kinds))]
    kinds = dict(zip((block_path(name) for name, _ in shape.kinds), by_kind[1:], strict=True))
    if model.layers and recipe.checkpoint_every > 1:
        raise GptcalcError(
            f"recompute {recipe.recompute} of layers that differ: which of them are recomputed is not known", hint="use --recompute full"
        )
    pad = runtime.pads_vocabulary or recipe.layout.tp > 1

    found = []
    for role in roles_of(recipe.layout):
        shard = shard_of(shape, recipe.layout, seq, role, pad=pad, layers=model.layers)
        # context-parallel ranks have the same weights, and ZeRO divides among them too
        replicas = shards_of(recipe.layout) if recipe.layout.zero == 3 else recipe.layout.dp * recipe.layout.cp
        s, flying = shard.shape, shard.layers_in_flight
        alike = not model.layers and recipe.checkpoint_every < 2
        # where gradients come and go and are not divided, states waste what activations leave of the cache: the smaller of two, no line
        if linear and alike and hasattr(flying, "dtype") and (runtime.state.resident_gradients or recipe.layout.zero):
            shard = shard._replace(layers_in_flight=Linear(0, 1))
        order: tuple[tuple[str, int], ...] = ()
        further: dict[str, int] = {}
        if model.layers:
            order = _order(model, recipe, role)
            further = {block: ceiling(kind.n_layer * shard.layers_in_flight, s.n_layer) - kind.n_layer for block, kind in s.blocks}
        inputs = Inputs(shard, batch, recipe, runtime, implementation, tags, replicas, kinds, order, further)
        step = training_step(inputs)
        logits = 4 * product((batch, shard.seq, s.vocab_size))
        # Inductor pads a matmul whose rows are no multiple of 8 elements where it measures that this pays: the logits' gradient twice.
        padded = recipe.compiled and "loss" in step.moments["backward"]
        unsettled = pick(s.vocab_size % 8 != 0, 2 * product((batch, shard.seq, s.vocab_size)), 0) if padded else 0
        found.append(Stage(inputs, step, step.values, logits, unsettled, flying))
    return found


def _order(model: ModelSpec, recipe: Recipe, role: str) -> tuple[tuple[str, int], ...]:
    """The layers of a stage from the bottom upwards, where they differ: so many of one kind, then of another."""
    layout = recipe.layout
    own = model.layers if role == "only" else stage_layers(model.layers, layout.pp, layout.virtual_stages, stage_of(role, layout.pp))
    return tuple((block_path(name), len(list(same))) for name, same in groupby(own))


def _tags(recipe: Recipe, shape: Shape[Any]) -> frozenset[str]:
    return tags_of(recipe, shape.switches, grouped=shape.n_kv_head < shape.n_head, unaligned=shape.vocab_size % 8 != 0)


def _check_against(recipe: Recipe, shape: Shape[int], implementation: "Implementation") -> None:
    """Raises GptcalcError for what this model has too little of, or none."""
    rows = {row.path: row for row in operations(shape, 1, 1, 1)}
    if recipe.checkpoint_every > shape.n_layer:
        raise GptcalcError(
            f"recompute '{recipe.recompute}' of {shape.n_layer} blocks recomputes none", hint=f"at most every-{shape.n_layer}"
        )
    owners = [path for path, row in rows.items() if row.weights]
    for start in recipe.freeze:
        if not start or not any(within(path, (start,)) for path in owners):
            hint = did_you_mean(start[:100], owners, otherwise="as embedding, or block/mlp")
            raise GptcalcError(f"nothing to freeze is named {quoted(start)}", hint=hint)
    if recipe.lora_rank is not None:
        for path, (k, n) in targets_of(implementation, rows, recipe.lora_targets).items():
            if recipe.lora_rank > min(k, n):
                raise GptcalcError(f"the LoRA rank {recipe.lora_rank} is above {min(k, n)}, the rank of the {k} by {n} matrix of {path}")


def _in_letters(i: Inputs, shape: Shape[int]) -> Inputs:
    """The same in letters. On one of several devices the identities of the whole model (F = 4d) do not hold: plain letters."""
    s = i.shard
    layout = i.recipe.layout
    whole = layout.tp == layout.pp == 1 and is_one(layout.cp)
    letters: Shape[Any] = symbolic(shape, identities=whole)
    T = Symbol.letter("T")
    flying = letters.n_layer if whole else Symbol.letter("A")
    outside = Symbol.letter("S") if i.recipe.layout.sequence_parallel else T
    padding = Symbol.letter("pad") if not is_zero(s.padding) else 0
    shard = Shard(letters, padding, T, outside, flying, s.batches_in_flight, s.role)
    return i._replace(shard=shard, batch=Symbol.letter("B"))


def _training(model: ModelSpec, stage: Stage, *, text: bool) -> Training:
    """The breakdowns of a stage, with their formulas where there is one fullest moment and they are asked for."""
    i, step, shard = stage.inputs, stage.step, stage.inputs.shard
    letters = shard.shape.letters | {
        "B": i.batch,
        "T": shard.seq,
        "S": shard.seq_outside,
        "A": shard.layers_in_flight,
        "pad": shard.padding,
    }
    written = training_step(_in_letters(i, shape_of(model))) if text else None
    phases: dict[str, Node[Any]] = {}
    when: dict[str, Any] = {}
    for phase, values in stage.values.items():
        moments = step.moments[phase]
        _, index = fullest(values)
        names = list(moments)
        if isinstance(index, int):
            when[phase] = names[index]
            formulas = {} if written is None else written.moments[phase][names[index]].breakdown
            phases[phase] = broken_down(phase, moments[names[index]].breakdown, formulas)
        else:
            when[phase] = index
            phases[phase] = mixed(phase, [moment.breakdown for moment in moments.values()], index)
    values = [phases[name].value for name in PHASES]
    peak = fullest(values)[1]
    if not isinstance(peak, int):  # a phase that does not vary is an array like the others
        import numpy as np

        spread = zip(PHASES, np.broadcast_arrays(*values), strict=True)
        phases = {name: Node(name, value, "byte", parts=phases[name].parts) for name, value in spread}
    peak = PHASES[peak] if isinstance(peak, int) else peak
    bound = i.runtime.lower_bound
    return Training(
        phases, peak, when, shard.role, step, shard.shape.n_layer, stage.logits, step.trained, letters, {}, stage.unsettled, bound
    )


def _worst(results: list[Training]) -> Training:
    _, index = fullest([result.value for result in results])
    stages = {result.role: result.value for result in results}
    if isinstance(index, int):
        return results[index]._replace(stages=stages)
    phases = {}
    for phase in PHASES:
        breakdowns = [{path: node.value for path, node in result.phases[phase].leaves()} for result in results]
        phases[phase] = mixed(phase, breakdowns, index)
    peak = fullest([phases[name].value for name in PHASES])[1]
    numbers = {name: _chosen(index, results, name) for name in ("logits", "trained", "unsettled", "role")}
    return results[0]._replace(phases=phases, peak=peak, when={}, stages=stages, **numbers)
