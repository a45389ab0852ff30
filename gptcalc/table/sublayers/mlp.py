"""One MLP: to its inner width, an activation, and back; gated or not."""

from typing import Any, cast

from gptcalc.spec.shape import Shape
from gptcalc.symbols import N, product
from gptcalc.table.operation import VASWANI, Operation, Weights, matmul, norm
from gptcalc.table.sublayers import Kept, Run

GATED = "Shazeer 2020, arXiv:2002.05202: gated linear units"

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


LABEL = "mlp"


def rows(path: str, s: Shape[Any], run: Run) -> list[Operation[Any]]:
    """Every operation, in order of execution."""
    return inner(path, s, product((run.batch, run.seq)), s.d_ff)


def state(s: Shape[Any]) -> tuple[Kept, ...]:
    """Nothing: each token by itself."""
    return ()


def divided(s: Shape[Any], t: Any) -> Shape[Any]:
    """Its inner width."""
    return s._replace(d_ff=s.d_ff // t)


def width(s: Shape[Any]) -> Any:
    """Its inner channels, before and after the activation, and of a gate."""
    return (3 if s.switches.gated else 2) * s.d_ff


def inner(path: str, s: Shape[N], tokens: Any, width: N) -> list[Operation[N]]:
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
