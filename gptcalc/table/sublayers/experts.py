"""A router, the experts that it chooses for each token, and the shared expert."""

from typing import Any, cast

from gptcalc.spec.shape import Shape
from gptcalc.symbols import N, product
from gptcalc.table.operation import SIGMOID, SOFTMAX, Operation, Weights, matmul
from gptcalc.table.sublayers import Kept, Run, mlp

LABEL = "mlp"
EXPERTS = "Shazeer et al. 2017, arXiv:1701.06538: each token goes to k of E experts"
LATENT = "NVIDIA 2025 (Nemotron 3), arXiv:2512.20856: experts in a latent of the stream"
SHARED = "Dai et al. 2024 (DeepSeekMoE), arXiv:2401.06066: shared experts"


def rows(path: str, s: Shape[Any], run: Run) -> list[Operation[Any]]:
    """Every operation, in order of execution."""
    tokens: Any = product((run.batch, run.seq))
    L, d, E, k, c = s.n_layer, s.d_model, s.n_expert, s.n_expert_per_token, s.switches
    chosen = product((tokens, k))
    inside = s._replace(d_model=s.d_expert_latent) if c.latent_experts else s
    scores = (SOFTMAX if c.router_score == "softmax" else SIGMOID, tokens, E)
    each_chosen = 2 * c.router_normalised + c.router_scaled  # summed and divided, multiplied
    found: list[Operation[Any]] = [
        matmul(f"{path}/router", L, tokens, d, E, c.router_bias, EXPERTS),
        Operation(f"{path}/routing", "routing", L, other=(scores, *(((each_chosen, chosen),) if each_chosen else ())), source=EXPERTS),
        *([matmul(f"{path}/latent_down", L, tokens, d, inside.d_model, c.mlp_bias, LATENT)] if c.latent_experts else []),
        *(_of_all_experts(row, E, k) for row in mlp.inner(f"{path}/experts", inside, chosen, s.d_expert)),
        # each expert's output is multiplied by its score and added up
        Operation(f"{path}/experts/sum", "add", L, other=((2, chosen, inside.d_model),), source=EXPERTS),
        *([matmul(f"{path}/latent_up", L, tokens, inside.d_model, d, c.mlp_bias, LATENT)] if c.latent_experts else []),
    ]
    if not c.shared_expert:
        return found
    found += mlp.inner(f"{path}/shared", s, tokens, s.d_shared_expert)
    if c.shared_expert_gate:
        gate = matmul(
            f"{path}/shared/scale", L, tokens, d, cast("Any", 1), False, "Qwen Team 2024 (Qwen1.5-MoE): a sigmoid scales the shared expert"
        )
        found.append(gate._replace(other=((SIGMOID, tokens), (tokens, d))))
    return [*found, Operation(f"{path}/shared/sum", "add", L, other=((tokens, d),), source=SHARED)]


def state(s: Shape[Any]) -> tuple[Kept, ...]:
    """Nothing: each token by itself."""
    return ()


def divided(s: Shape[Any], t: Any) -> Shape[Any]:
    """The inner width of each expert, and of the shared one."""
    return s._replace(d_expert=s.d_expert // t, d_shared_expert=s.d_shared_expert // t)


def width(s: Shape[Any]) -> Any:
    """The inner channels of every expert that a token has, the shared one's among them."""
    return (3 if s.switches.gated else 2) * (product((s.n_expert_per_token, s.d_expert)) + s.d_shared_expert)


def _of_all_experts(row: Operation[N], n_expert: N, n_used: N) -> Operation[N]:
    """The row of one expert's MLP over all the tokens that experts get: the arithmetic of k experts, the weights of all."""
    if not row.weights:
        return row
    weights: Weights = tuple((name, (n_expert, *size)) for name, size in row.weights)
    used: Weights = tuple((name, (n_used, *size)) for name, size in row.weights)
    return row._replace(weights=weights, used=used, source=f"{row.source}; {EXPERTS}")
