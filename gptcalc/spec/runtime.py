"""`RuntimeSpec`: whose code executes a model. Operation by operation of the table: what it keeps for the backward pass, in which type,
what lives for a moment beside it, and which passes over memory it makes. The format is explained in presets/runtimes/README.md.
"""

import functools
from collections.abc import Collection, Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.spec.catalogue import bundled_folder
from gptcalc.spec.entries import folded
from gptcalc.spec.expression import parse_expression
from gptcalc.spec.reading import quoted, read_text, read_yaml, shown
from gptcalc.spec.record import Record, validated
from gptcalc.spec.shape import Switches

Type = Literal["stored", "compute", "output", "matmul", "fp32", "int64", "int32", "byte"]

SAME = "same"
"""Of an operation of code that extends other code: as it is there."""

TAGS = {
    *("amp", "low", "wide", "fp8"),  # precision: autocast; 16-bit weights; 32-bit weights without autocast; fp8 matmuls
    *("flash", "efficient", "math", "eager"),  # the attention kernel that runs
    *("compiled", "recompute", "dropout", "bias", "tied", "parallel", "gated", "grouped", "unaligned"),
    *("gelu", "gelu_tanh", "relu", "silu"),
    *("latent", "unnormed", "renormalised"),  # keys and values from a latent; no norm before sublayers; scores divided by their sum
    *("weighs_input", "chunked"),  # scores multiply what goes into experts; attention within chunks of the sequence
}


def _expression(value: Any) -> str:
    text = str(value)
    parse_expression(text)
    return text


def _tags(text: str) -> str:
    for word in text.split():
        if word.removeprefix("!") not in TAGS:
            raise GptcalcError(f"'{word}' is no condition", hint=did_you_mean(word, TAGS))
    return text


Size = Annotated[str, BeforeValidator(_expression)]
When = Annotated[str, AfterValidator(_tags)]


class Tensor(Record):
    """`count` tensors of one shape and type. `storage` is the shape of what it is a view of, where that is larger."""

    shape: tuple[Size, ...] = Field(strict=False)
    type: Type
    count: Size = "1"
    storage: tuple[Size, ...] | None = Field(default=None, strict=False)
    once: bool = False  # one for the model, though its operation runs in every layer
    copy_of_weight: bool = False  # autocast's low-precision copy of a weight
    for_weight: bool = False  # kept for the gradient of a weight only: not where that weight is frozen
    block_input: bool = False  # the block's input itself, which a checkpoint keeps already
    core: bool = False  # computed again under selective recomputation
    when: When = ""


class RuntimeOperation(Record):
    """An operation as a code runs it: the rows that it covers, the tensors that it keeps, its passes."""

    covers: tuple[str, ...] | None = Field(default=None, strict=False)  # rows of the operation table; its own path where left out
    module: str = ""  # its name in the code, for comparison with what was measured
    keeps: tuple[Tensor, ...] = Field(default=(), strict=False)
    forward: tuple[Tensor, ...] = Field(default=(), strict=False)
    backward: tuple[Tensor, ...] = Field(default=(), strict=False)
    arithmetic: Literal["compute", "stored"] = "compute"  # the type that its matmuls run in; stored: autocast leaves them alone
    pieces: tuple[str, ...] = Field(default=(), strict=False)  # of presets/kernels: the passes over memory that it makes


class Checkpoint(Record):
    """What is kept of a block under full recomputation."""

    module: str = ""
    keeps: tuple[Tensor, ...] = Field(strict=False)
    arguments: tuple[Tensor, ...] = Field(default=(), strict=False)  # what all blocks are called with: held until their backward pass


class Implementation(Record):
    """One model's code in a runtime. `architecture`: the values that each switch may have; those left out may have any."""

    families: tuple[str, ...] = Field(default=(), strict=False)
    not_families: tuple[str, ...] = Field(default=(), strict=False)  # which have the switches, and code that keeps something else
    architecture: dict[str, list[Any]] = Field(default={})
    timed: bool = True  # false: no step of it was ever compared with its time
    checkpoint: Checkpoint
    operations: dict[str, RuntimeOperation]
    residual_gradient: tuple[Tensor, ...] = Field(default=(), strict=False)  # lives all through a block's backward pass
    returned: tuple[Tensor, ...] = Field(default=(), strict=False)  # lives until the forward pass returns

    @model_validator(mode="after")
    def _known_switches(self) -> "Implementation":
        for name in self.architecture:
            if name not in Switches._fields:
                raise GptcalcError(f"architecture: unknown switch '{name}'", hint=did_you_mean(name, Switches._fields))
        return self


class State(Record):
    """Types of what a 16-bit or autocast run holds for each parameter; a master copy only where it is apart from the weights."""

    weights: Type = "stored"
    gradients: Type = "stored"
    master: Type | None = None
    moments: Type = "stored"
    resident_gradients: bool = False  # one buffer for all gradients, there from the start


class Host(Record):
    """Seconds that the processor needs to start work: the floor of eager code at small batches."""

    operation: float  # of the forward pass: its Python code
    launch: float  # of the backward pass: autograd's, for one kernel
    generated: float  # of compiled code, for one kernel
    optimizer: float
    tensor: float  # of the optimizer, for each parameter tensor
    source: str


class RuntimeSpec(Record):
    """Whose code executes a model: its operations, precisions and conditions. presets/runtimes."""

    name: str
    title: str
    source: str
    notes: tuple[str, ...] = Field(default=(), strict=False)
    precisions: tuple[str, ...] = Field(strict=False)
    state: State = State()
    sequence_parallel: bool = False
    dropout: bool = False  # on where the recipe says nothing
    stops_early: bool = True  # recomputation leaves out what comes after the last tensor that is needed
    caches_copies: bool = False  # low-precision copies of weights stand for good; else each forward pass makes its own
    lower_bound: bool = False  # no code that exists: what it keeps is the least that any could
    pads_vocabulary: bool = False  # to a multiple of 128 even on one device
    kernels: str = "pytorch"  # the file of presets/kernels whose pieces its operations name
    host: Host | None = None  # None: a processor that is never late
    implementations: dict[str, Implementation]

    @functools.cached_property
    def conditions(self) -> frozenset[str]:
        """Every word that a condition in its file asks about.

        >>> "compiled" in load_runtime("nanogpt").conditions, "compiled" in load_runtime("ideal").conditions
        (True, False)
        """
        return frozenset(word.removeprefix("!") for when in _conditions(self.model_dump()) for word in when.split())


def _conditions(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from [value] if key == "when" else _conditions(value)
    elif isinstance(data, list | tuple):
        for value in data:
            yield from _conditions(value)


def load_runtime(name: str) -> RuntimeSpec:
    """The runtime of a name.

    Raises GptcalcError for a name that no file has, and for a malformed file.

    >>> load_runtime("nanogpt").name
    'nanogpt'
    """
    if not isinstance(name, str):
        raise GptcalcError(f"a runtime is named by a word, not {quoted(name)}", hint=_listed())
    return _runtime(folded(name))


@functools.cache
def _runtime(wanted: str) -> RuntimeSpec:
    path = bundled_folder() / "runtimes" / f"{wanted}.yaml"
    if wanted not in runtime_names():
        raise GptcalcError(f"no runtime named {quoted(wanted)}", hint=did_you_mean(wanted[:100], runtime_names(), otherwise=_listed()))
    data = read_yaml(read_text(path), shown(path))
    fields = {"name": wanted, **data, "implementations": _extended(data.get("implementations"))}
    return validated(RuntimeSpec, fields, shown(path))


def _extended(implementations: Any) -> Any:
    """Code that `extends` other code of the file, put together: its own switches and operations over the other's.

    An operation that the other has takes its place; a new one stands after the one that is listed before it, which may be `same`.

    >>> _extended({"a": {"operations": {"x": 1, "y": 2}}, "b": {"extends": "a", "operations": {"x": "same", "z": 3}}})["b"]["operations"]
    {'x': 1, 'z': 3, 'y': 2}
    """
    found: dict[str, Any] = {}
    for name, own in implementations.items() if isinstance(implementations, dict) else ():
        if not isinstance(own, dict) or "extends" not in own:
            found[name] = own
            continue
        if own["extends"] not in found:
            raise GptcalcError(f"{name} extends '{own['extends']}', which is not above it", hint=did_you_mean(own["extends"], found))
        base = found[own["extends"]]
        merged = {**base, **{key: value for key, value in own.items() if key != "extends"}}
        merged["architecture"] = {**base.get("architecture", {}), **own.get("architecture", {})}
        merged["operations"] = _merged(base["operations"], own.get("operations", {}))
        found[name] = merged
    return found or implementations


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    names = list(base)
    after = ""
    for name in own:
        if name not in names:
            names.insert(names.index(after) + 1 if after else 0, name)
        after = name
    return {name: base[name] if own.get(name, SAME) == SAME else own[name] for name in names}


def runtime_names() -> tuple[str, ...]:
    """The runtimes there are files for."""
    return tuple(sorted(path.stem for path in (bundled_folder() / "runtimes").glob("*.yaml")))


UNUSUAL: dict[str, list[Any]] = {
    "attention_softcapped": [False],
    "attention_sinks": [False],
    "qkv_clipped": [False],
    "value_scaled": [False],
    "residual_scaled": [False],
    "logit_scaled": [False],
    "logit_softcapped": [False],
}
"""Steps that have no operation of their own, and keep tensors all the same where they are not fused: no code has them unless it says so."""


def implementation_of(runtime: RuntimeSpec, family: str, switches: Switches, model: str) -> Implementation:
    """The code of `runtime` that executes an architecture: what is for its family before what names none, and the first that has its
    switches.

    Raises GptcalcError where there is none, naming what the nearest code lacks: of those with experts, or without, as the model is.
    """
    lacking: list[tuple[bool, int, str]] = []
    for name, candidate in sorted(runtime.implementations.items(), key=lambda one: not one[1].families):
        if candidate.families and family not in candidate.families:
            continue
        odd = [
            f"{switch} {str(getattr(switches, switch)).lower()}"
            for switch, values in (UNUSUAL | candidate.architecture if candidate.architecture else {}).items()
            if getattr(switches, switch) not in values
        ]
        if not odd and family not in candidate.not_families:
            return candidate
        if not odd:
            lacking.append((False, 0, f"its {name} code is not that of {family}, which keeps other tensors"))
            continue
        far = any(reason.startswith("experts ") for reason in odd)
        lacking.append((far, len(odd), f"its {name} code has no {' and no '.join(odd)}"))
    reason = min(lacking, key=lambda one: one[:2])[2] if lacking else f"it has no code of family '{family}'"
    raise not_implemented(runtime, model, reason)


def not_implemented(runtime: RuntimeSpec, model: str, reason: str) -> GptcalcError:
    """The refusal of a model that a runtime has no code for."""
    hint = "--runtime ideal takes most models" if runtime.name != "ideal" else "memory --mode inference takes any model"
    return GptcalcError(f"runtime '{runtime.name}' does not implement {model}: {reason}", hint=hint)


def operations_of(runtime: RuntimeSpec, implementation: Implementation, rows: Collection[str], model: str) -> dict[str, RuntimeOperation]:
    """The operations of an implementation that a model has, in order: those that cover a row of its table, and the runtime's own.

    Each kind of block has its own, under the paths of its own rows: `block moe/attention/norm`.

    Raises GptcalcError for a row that none covers: its memory and time would be missing.
    """
    found = {}
    left = set(rows)
    for path, operation in _of_all_kinds(implementation, rows):
        covers = operation.covers if operation.covers is not None else (path,)
        if not covers or any(row in left for row in covers):
            found[path] = operation
            left -= set(covers)
    if left:
        several = f" and {len(left) - 3} more" if len(left) > 3 else ""
        raise not_implemented(runtime, model, f"it says nothing about {', '.join(sorted(left)[:3])}{several}")
    return found


def _of_all_kinds(implementation: Implementation, rows: Collection[str]) -> Iterator[tuple[str, RuntimeOperation]]:
    """The operations outside the blocks once, those of a block once for each kind, one kind after the other."""
    kinds = dict.fromkeys(row.partition("/")[0] for row in rows if row.startswith("block"))
    inner = {path: operation for path, operation in implementation.operations.items() if path.startswith("block/")}
    done = False
    for path, operation in implementation.operations.items():
        if path not in inner:
            yield path, operation
        elif not done:
            done = True
            for kind in kinds:
                for name, one in inner.items():
                    yield _in_kind(name, kind), one if kind == "block" else one.model_copy(update={"covers": _covers_in(one, name, kind)})


def _covers_in(operation: RuntimeOperation, path: str, kind: str) -> tuple[str, ...]:
    return tuple(_in_kind(row, kind) for row in (operation.covers if operation.covers is not None else (path,)))


def _in_kind(path: str, kind: str) -> str:
    return f"{kind}/{path.removeprefix('block/')}"


def applies(when: str, tags: frozenset[str]) -> bool:
    """Whether a condition holds: every word of it a tag that is there, or, after `!`, one that is not.

    >>> applies("amp !compiled", frozenset({"amp"})), applies("amp !compiled", frozenset({"amp", "compiled"}))
    (True, False)
    """
    return all((word[1:] not in tags) if word.startswith("!") else (word in tags) for word in when.split())


def _listed() -> str:
    return f"there are {', '.join(runtime_names())}"
