"""The formulas against two witnesses: a forward pass that counts what it does, and the totals that were published."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from math import prod
from typing import NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.node import Node
from gptcalc.reference.forward import count
from gptcalc.reference.tally import path_of
from gptcalc.reference.twin import TWIN_CONTEXT, twin
from gptcalc.reference.weights import shapes_by_kind
from gptcalc.shown import Rows
from gptcalc.spec.files import as_model
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.options import check_flag, whole_number
from gptcalc.spec.reading import quoted
from gptcalc.table.flops import check as check_options
from gptcalc.table.flops import flops
from gptcalc.table.params import language_model, params, views

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many steps are done, and how many there are."""


ON_TWIN = f"counted on a twin, {TWIN_CONTEXT} tokens"


class Check(NamedTuple):
    """One number from two places. `difference` is relative to the witness; `ok` where it is within the tolerance (0: equal integers)."""

    model: str
    quantity: str
    path: str
    formula: float
    witness: float
    witness_kind: str
    difference: float
    tolerance: float
    ok: bool
    source: str = ""
    note: str = ""
    expression: str = ""
    """The formula's text, in the papers' letters."""


def verify(*models: ModelSpec | str, full: bool = False, seq: int | None = None, progress: Progress | None = None) -> Rows[Check]:
    """Every check of each model; of all presets where none is named.

    The forward pass runs a scaled-down twin (same switches, small numbers that all differ), or with `full` the model itself, `seq` tokens
    long. The parameters of the real shape are counted on arrays of the real sizes either way.

    Units: parameters, FLOP.   Raises: GptcalcError where a model is too large to execute in full, for sequences longer than n_ctx, and
    for `seq` without `full`.

    >>> from gptcalc.spec.files import load_model
    >>> all(check.ok for check in verify(load_model("gpt2")))
    True
    """
    check_flag("full", full)
    seq = None if seq is None else whole_number("seq", seq)
    if progress is not None and not callable(progress):
        raise GptcalcError(f"progress must be a function, not {quoted(progress)}")
    if seq is not None and not full:
        raise GptcalcError("seq is the length of a full run, and the scaled-down twin has its own", hint=f"use --full --seq {seq}")
    if models:
        specs = [as_model(model) for model in models]
    else:
        from gptcalc.spec.catalogue import all_models

        specs = all_models()
    if full:
        for spec in specs:  # all of them before the first, which may take minutes
            full_length(spec, seq)
            _refuse_huge(spec)
    checks: list[Check] = []
    for done, spec in enumerate(specs):
        if progress is not None and not full:
            progress(spec.name, done, len(specs))
        checks += _checks(spec, full, seq, progress)
    return Rows(checks)


def counted_parameters(model: ModelSpec) -> dict[str, int]:
    """Parameters of the real shape by tensor, all layers together, counted on the shapes of the reference's own arrays.

    No array is made, and a layer's shapes are counted once for all layers of its kind: any size takes milliseconds.

    >>> from gptcalc.spec.files import load_model
    >>> sum(counted_parameters(load_model("gpt3-175b")).values())
    174604259328
    """
    counted: dict[str, int] = defaultdict(int)
    for name, shape, layers in shapes_by_kind(model):
        counted[f"{path_of(name)}/{name.rpartition('.')[2]}"] += layers * prod(shape)
    return dict(counted)


def leaf_values(node: Node[int]) -> dict[str, int]:
    """The leaves of a tree by their paths."""
    return {path: leaf.value for path, leaf in node.leaves()}


LONGEST = 1024
"""Tokens of a full run where none are asked for."""


def full_length(model: ModelSpec, seq: int | None) -> int:
    """Tokens that a full run has.

    Raises GptcalcError for more than n_ctx, which positions of no kind reach in the reference.
    """
    length = min(LONGEST, model.n_ctx) if seq is None else whole_number("seq", seq)
    check_options(model, length, "forward", "full", "none")
    if length > model.n_ctx:
        raise GptcalcError(
            f"{model.name} is made for {model.n_ctx:,} tokens (n_ctx), not {length:,}", hint=f"use --seq {model.n_ctx} or less"
        )
    return length


def _checks(model: ModelSpec, full: bool, seq: int | None, progress: Progress | None) -> Iterator[Check]:
    run = model if full else twin(model)
    length = full_length(run, seq) if full else run.n_ctx
    step = None
    if progress is not None and full:
        step = partial(progress, run.name)
        step(0, run.n_layer)  # while the weights are drawn
    tally = count(run, batch=1, seq=length, progress=step)
    answer = flops(run, batch=1, seq=length)
    kind = f"counted, {length} tokens" if full else ON_TWIN
    yield from _pairs(model.name, "parameters", language_model(model), counted_parameters(model), "counted")
    yield from _pairs(model.name, "matmul FLOP", answer.matmul, tally.matmul, kind)
    if answer.other:
        yield from _pairs(model.name, "other FLOP", answer.other, tally.other, kind)
    yield from _published(model)


def _pairs(model: str, quantity: str, root: Node[int], counted: dict[str, int], kind: str) -> Iterator[Check]:
    leaves = dict(root.leaves())
    for path, leaf in leaves.items():
        yield _check(model, quantity, path, leaf.value, counted.get(path, 0), kind)._replace(expression=leaf.formula)
    for path in counted:
        if path not in leaves:
            yield _check(model, quantity, path, 0, counted[path], kind)
    total = _check(model, quantity, "total", root.value, sum(counted.values()), kind)
    yield total._replace(expression=root.formula)


def _published(model: ModelSpec) -> Iterator[Check]:
    totals = views(params(model), model)
    for printed in model.published:
        if printed.quantity == "training_flops":
            if model.training_tokens is None:
                continue
            value: float = 6 * totals["active"] * model.training_tokens
            path = "6*N*D"
        else:
            value = totals["total" if printed.quantity == "parameters" else printed.quantity]
            path = "total"
        row = _check(model.name, printed.quantity, path, value, printed.value, "published", printed.tolerance)
        yield row._replace(source=printed.source, note=printed.note)


def _check(model: str, quantity: str, path: str, formula: float, witness: float, kind: str, tolerance: float = 0.0) -> Check:
    difference = 0.0 if formula == witness else formula / witness - 1 if witness else float("inf")
    return Check(model, quantity, path, formula, witness, kind, difference, tolerance, abs(difference) <= tolerance)


LARGEST_RUN = 4 * 10**9
"""Parameters: float32 arrays of a model above this do not fit into an ordinary computer's memory."""

DEEPEST_RUN = 10_000
"""Layers: Python takes its time for each, however small it is. The deepest published model has a few hundred."""


def _refuse_huge(model: ModelSpec) -> None:
    from gptcalc.units import short

    total = language_model(model).value
    if model.n_layer > DEEPEST_RUN:
        raise GptcalcError(
            f"{model.name} has {model.n_layer:,} layers: too many to execute here (at most {DEEPEST_RUN:,})",
            hint="leave out --full: the scaled-down twin has fewer",
        )
    if total > LARGEST_RUN:
        raise GptcalcError(
            f"{model.name} has {short(total)} parameters: too many to execute here (at most {short(LARGEST_RUN)})",
            hint="leave out --full: the scaled-down twin has the same switches",
        )
