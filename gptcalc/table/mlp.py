"""The rows of the MLP in one kind of block: one MLP, or a router, the experts that it chooses and the shared expert."""

from typing import Any, cast

from gptcalc.spec.shape import Shape
from gptcalc.symbols import N, product
from gptcalc.table.attention import close
from gptcalc.table.operation import SIGMOID, SOFTMAX, VASWANI, Operation, Weights, matmul, norm

GATED = "Shazeer 2020, arXiv:2002.05202: gated linear units"
EXPERTS = "Shazeer et al. 2017, arXiv:1701.06538: each token goes to k of E experts"
SHARED = "Dai et al. 2024 (DeepSeekMoE), arXiv:2401.06066: shared experts"

ACTIVATION = {
    "relu": (1, "max(x, 0)"),
    "relu_squared": (2, "max(x, 0)^2; So et al. 2021 (Primer), arXiv:2109.08668"),
    "silu": (4, "x / (1 + exp(-x)); Elfwing et al. 2017, arXiv:1702.03118"),
    "silu_clamped": (5, "x / (1 + exp(-1.702 x)) of min(x, 7); OpenAI 2025 (gpt-oss)"),
    "gelu": (5, "x/2 * (1 + erf(x / sqrt 2)); Hendrycks & Gimpel 2016, arXiv:1606.08415"),
    "gelu_tanh": (9, "x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))); Hendrycks & Gimpel 2016, arXiv:1606.08415"),
    "xielu": (10, "a x^2 + x/2 for x > 0, b (exp(min(x, 0)) - 1 - x) + x/2 elsewhere; Huang & Schlag 2024, arXiv:2411.13010"),
    "gelu_sigmoid": (4, "x / (1 + exp(-1.702 x)); Hendrycks & Gimpel 2016, arXiv:1606.08415"),
}
CLAMPED_PRODUCT = 4  # minimum, maximum, add one, multiply


def mlp_rows(block: str, s: Shape[N], tokens: N) -> list[Operation[N]]:
    """Every operation of the MLP in the blocks of one kind, in order of execution."""
    path, c = f"{block}/mlp", s.switches
    rows: list[Operation[N]] = []
    if not c.shared_norm and c.norm_placement != "output":
        rows.append(norm(f"{path}/norm", c, s.n_layer, tokens, s.d_model))
    rows += _experts(path, s, tokens) if c.experts else _inner(path, s, tokens, s.d_ff)
    return [*rows, *close(path, s, tokens)]


def _inner(path: str, s: Shape[N], tokens: Any, width: N) -> list[Operation[N]]:
    """One MLP: d to its inner width and back."""
    L, d, c = s.n_layer, s.d_model, s.switches
    cost, source = ACTIVATION[c.activation]
    rows = [matmul(f"{path}/gate", L, tokens, d, width, c.mlp_bias, GATED)] if c.gated else []
    rows += [
        matmul(f"{path}/up", L, tokens, d, width, c.mlp_bias, f"{VASWANI}, section 3.3"),
        Operation(f"{path}/activation", "activation", L, _of_activation(c.activation), other=((cost, tokens, width),), source=source),
    ]
    if c.gated:
        steps = CLAMPED_PRODUCT if c.activation == "silu_clamped" else 1
        rows.append(Operation(f"{path}/product", "product", L, other=((steps, tokens, width),), source=GATED))
    if c.inner_norm:
        rows.append(norm(f"{path}/inner_norm", c, L, tokens, width))
    return [*rows, matmul(f"{path}/down", L, tokens, width, d, c.mlp_bias, f"{VASWANI}, section 3.3")]


def _of_activation(name: str) -> Weights:
    """xIELU learns the slope of each of its sides, for each layer."""
    one = cast("Any", 1)
    return (("alpha_p", (one,)), ("alpha_n", (one,))) if name == "xielu" else ()


def _experts(path: str, s: Shape[N], tokens: N) -> list[Operation[N]]:
    L, d, E, k, c = s.n_layer, s.d_model, s.n_expert, s.n_expert_per_token, s.switches
    chosen = product((tokens, k))
    scores = (SIGMOID if c.router_score == "sigmoid" else SOFTMAX, tokens, E)
    each_chosen = 2 * c.router_normalised + c.router_scaled  # summed and divided, multiplied
    rows: list[Operation[N]] = [
        matmul(f"{path}/router", L, tokens, d, E, c.router_bias, EXPERTS),
        Operation(f"{path}/routing", "routing", L, other=(scores, *(((each_chosen, chosen),) if each_chosen else ())), source=EXPERTS),
        *(_of_all_experts(row, E, k) for row in _inner(f"{path}/experts", s, chosen, s.d_expert)),
        # each expert's output is multiplied by its score and added up
        Operation(f"{path}/experts/sum", "add", L, other=((2, chosen, d),), source=EXPERTS),
    ]
    if not c.shared_expert:
        return rows
    rows += _inner(f"{path}/shared", s, tokens, s.d_shared_expert)
    if c.shared_expert_gate:
        gate = matmul(
            f"{path}/shared/scale", L, tokens, d, cast(N, 1), False, "Qwen Team 2024 (Qwen1.5-MoE): a sigmoid scales the shared expert"
        )
        rows.append(gate._replace(other=((SIGMOID, tokens), (tokens, d))))
    return [*rows, Operation(f"{path}/shared/sum", "add", L, other=((tokens, d),), source=SHARED)]


def _of_all_experts(row: Operation[N], n_expert: N, n_used: N) -> Operation[N]:
    """The row of one expert's MLP over all the tokens that experts get: the arithmetic of k experts, the weights of all."""
    if not row.weights:
        return row
    weights: Weights = tuple((name, (n_expert, *size)) for name, size in row.weights)
    used: Weights = tuple((name, (n_used, *size)) for name, size in row.weights)
    return row._replace(weights=weights, used=used, source=f"{row.source}; {EXPERTS}")
