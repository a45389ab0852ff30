"""What of a device's peak a run uses: the FLOPs of a sequence as MFU and HFU count them, and what is to be said of the two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gptcalc.choices import Attention
from gptcalc.spec.options import distinct_words
from gptcalc.spec.shape import shape_of
from gptcalc.symbols import Quantity, pick
from gptcalc.table.operations import operations
from gptcalc.time.kernels import ceil

if TYPE_CHECKING:
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.recipe import Recipe
    from gptcalc.table.operation import Operation


def flops_of(model: ModelSpec, seq: Quantity, recipe: Recipe, attention: Attention) -> tuple[Any, Any]:
    """Of one sequence: the model's own FLOPs, backward twice forward, and those with what is recomputed.

    Source: Chowdhery et al. 2022 (PaLM), arXiv:2204.02311, appendix B.
    """
    rows = operations(shape_of(model), 1, seq, seq, attention)
    products = [(row, row.matmul_flops) for row in rows if row.matmul]
    own = 3 * sum(flops for _, flops in products)
    names, which = distinct_words(recipe.recompute)
    again: Any = 0
    for number, name in enumerate(names):
        again = pick(which == number, _again(products, recipe._replace(recompute=name)), again)
    return own, own + again


def _again(products: list[tuple[Operation[Any], Any]], recipe: Recipe) -> Quantity:
    """The FLOPs of what one way to recompute executes twice."""
    if recipe.recompute == "none":
        return 0
    core, every = recipe.recompute == "selective", recipe.checkpoint_every or 1
    executed: Quantity = sum(
        flops * (ceil(row.runs, every) / row.runs)
        for row, flops in products
        if row.in_block and (not core or row.kind in ("scores", "mix"))
    )
    return executed


def beyond_context(model: ModelSpec, seq: Quantity) -> list[str]:
    """What is to be said of sequences that the model was not made for."""
    longest = seq.max() if hasattr(seq, "max") else seq
    if longest <= model.n_ctx:
        return []
    return [f"sequences of {longest:,.0f} tokens are longer than the {model.n_ctx:,} that {model.name} is made for (n_ctx)"]


def beyond_peak(use: dict[str, Any]) -> list[str]:
    """Why an MFU or HFU is above 1, which no device's own work can be."""
    found = []
    for name in ("mfu", "hfu"):
        most = use[name].max() if hasattr(use[name], "max") else use[name]
        if most > 1:
            causal = use[f"{name}_causal"].max() if hasattr(use[f"{name}_causal"], "max") else use[f"{name}_causal"]
            found.append(
                f"{name.upper()} of {100 * most:.1f} % counts every query-key pair, and the causal kernel leaves out about half of them:"
                f" {100 * causal:.1f} % with the pairs that the mask keeps"
            )
    return found
