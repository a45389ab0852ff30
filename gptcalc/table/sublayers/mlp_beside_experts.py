"""One MLP and a layer of experts of the same input, each behind norms of its own (Gemma 4)."""

from typing import Any

from gptcalc.spec.shape import Shape
from gptcalc.symbols import product
from gptcalc.table.operation import Operation, Weights, norm, norm_of
from gptcalc.table.sublayers import Kept, Run, experts, mlp

LABEL = "mlp"
BESIDE = "Gemma Team 2026 (Gemma 4), as released"


def rows(path: str, s: Shape[Any], run: Run) -> list[Operation[Any]]:
    """Every operation, in order of execution; what the router reads is normalised and scaled."""
    tokens: Any = product((run.batch, run.seq))
    L, d, c = s.n_layer, s.d_model, s.switches
    weight: Weights = (("weight", (d,)),)
    scaled = norm_of(f"{path}/router_norm", "rmsnorm", L, tokens, d, weight)
    chosen = [
        row._replace(weights=(("scale", (s.n_expert,)),), other=(*row.other, (product((tokens, s.n_expert_per_token)),)))
        if row.kind == "routing"
        else row
        for row in experts.rows(path, s, run)
    ]
    return [
        *mlp.inner(path, s, tokens, s.d_ff),
        norm(f"{path}/dense_norm", c, L, tokens, d),
        norm(f"{path}/experts_norm", c, L, tokens, d),
        scaled._replace(other=(*scaled.other, (tokens, d)), source=BESIDE),
        *chosen,
        norm(f"{path}/experts_output_norm", c, L, tokens, d),
        Operation(f"{path}/sum", "add", L, other=((tokens, d),), source=BESIDE),
    ]


def state(s: Shape[Any]) -> tuple[Kept, ...]:
    """Nothing: each token by itself."""
    return ()


def divided(s: Shape[Any], t: Any) -> Shape[Any]:
    """The inner widths of both."""
    return experts.divided(mlp.divided(s, t), t)


def width(s: Shape[Any]) -> Any:
    """The inner channels of both."""
    return mlp.width(s) + experts.width(s)
