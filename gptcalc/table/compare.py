"""Several models in one table: architecture, parameters, FLOPs per token, training FLOPs, and what was published."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.shown import Rows
from gptcalc.spec.files import as_model
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.reading import quoted
from gptcalc.spec.shape import shape_of
from gptcalc.table.flops import flops
from gptcalc.table.params import language_model, views


class Comparison(NamedTuple):
    """One model. Where layers differ, the numbers are those of most of them.

    FLOPs are of sequences of `seq` tokens (`ModelSpec.usual_seq`), full attention; training FLOPs of published tokens (None: not known).
    """

    model: str
    family: str
    n_layer: int
    d_model: int
    n_head: int
    n_kv_head: int
    d_ff: int
    vocab_size: int
    n_ctx: int
    seq: int
    position: str
    norm: str
    activation: str
    parameters: int
    active_parameters: int
    flops_per_token: float
    training_tokens: int | None
    training_flops: float | None
    published: float | None
    difference: float | None
    source: str


def compare(models: Iterable[ModelSpec | str]) -> Rows[Comparison]:
    """One row for each model, in the order given.

    Units: parameters, FLOP.   Raises: GptcalcError as `flops` does.

    >>> [row.parameters for row in compare(["gpt1", "gpt2-xl"])]
    [116534784, 1557611200]
    """
    try:
        several = None if isinstance(models, str | Mapping | ModelSpec) else list(models)
    except TypeError:
        several = None
    if several is None:
        raise GptcalcError(f"compare takes several models, not {quoted(models)}", hint='as ["gpt2", "gpt2-xl"]')
    return Rows(_row(as_model(model)) for model in several)


def _row(model: ModelSpec) -> Comparison:
    s = shape_of(model)
    c = s.switches
    found = views(language_model(model), model)
    total = found["total"]
    forward = flops(model)
    training = flops(model, phase="training")
    tokens = model.training_tokens
    totals = [p for p in model.published if p.quantity == "parameters"]
    printed = next((p for p in totals if p.tolerance), totals[0] if totals else None)
    return Comparison(
        model=model.name,
        family=model.family,
        n_layer=s.n_layer,
        d_model=s.d_model,
        n_head=s.n_head,
        n_kv_head=s.n_kv_head,
        d_ff=s.d_ff,
        vocab_size=s.vocab_size,
        n_ctx=model.n_ctx,
        seq=model.usual_seq,
        position=c.position,
        norm=f"{c.norm_placement} {c.norm}",
        activation=("gated " if c.gated else "")
        + c.activation
        + (f", {s.n_expert_per_token} of {s.n_expert} experts" if c.experts else ""),
        parameters=total,
        active_parameters=found["active"],
        flops_per_token=forward.value / forward.tokens,
        training_tokens=tokens,
        training_flops=None if tokens is None else training.value / training.tokens * tokens,
        published=None if printed is None else printed.value,
        difference=None if printed is None else total / printed.value - 1,
        source="" if printed is None else printed.source,
    )
