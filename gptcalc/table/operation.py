"""One row of the operation table, and the kinds of row that every part of a model has: matmuls and norms."""

from typing import Any, Generic, Literal, NamedTuple, cast

from gptcalc.spec.shape import Switches
from gptcalc.symbols import Factors, N, product

VASWANI = "Vaswani et al. 2017, arXiv:1706.03762"

# Arithmetic per element of what is no matmul, as the NumPy reference executes it: one FLOP for each array operation and element.
SOFTMAX = 5  # maximum, subtract, exponential, sum, divide
SIGMOID = 4  # negate, exponential, add one, reciprocal
SOFTCAP = 3  # divide, tanh, multiply

Weights = tuple[tuple[str, Factors], ...]

Role = Literal["embedding", "attention", "mixer", "mlp", "experts", "head"]
"""What a row is a part of; a mixer is what stands in the place of attention and is not attention."""


Kind = Literal[
    "lookup",
    "add",
    "matmul",
    "norm",
    "rotary",
    "scores",
    "softmax",
    "mix",
    "activation",
    "product",
    "routing",
    "convolution",
    "recurrence",
    "index",
]


class Operation(NamedTuple, Generic[N]):
    """One row. `weights` are the tensors it owns; `matmul` and `other` multiply and add up to the FLOPs of one run.

    For kind "matmul" the factors of `matmul` are 2, m, k, n: an [m, k] input times a [k, n] weight. `used` are the weights that one
    token meets, where it does not meet them all: its experts.
    """

    path: str
    kind: Kind
    runs: Any
    weights: Weights = ()
    matmul: Factors = ()
    other: tuple[Factors, ...] = ()
    source: str = ""
    used: Weights | None = None
    role: Role = "head"

    @property
    def in_block(self) -> bool:
        """Whether it runs once a layer."""
        return self.role not in ("embedding", "head")

    @property
    def matmul_flops(self) -> N:
        return cast(N, product((self.runs, *self.matmul)) if self.matmul else 0)

    @property
    def other_flops(self) -> N:
        first, *rest = (product((self.runs, *term)) for term in self.other)
        return cast(N, sum(rest, first))


def matmul(path: str, runs: Any, m: N, k: N, n: N, bias: bool, source: str) -> Operation[N]:
    """A linear layer: m rows of k inputs times a matrix of k by n."""
    weights: Weights = (("weight", (k, n)),)
    if not bias:
        return Operation(path, "matmul", runs, weights, (2, m, k, n), source=source)
    return Operation(path, "matmul", runs, (*weights, ("bias", (n,))), (2, m, k, n), ((m, n),), source)


def norm(path: str, c: Switches, runs: Any, rows: Any, width: N) -> Operation[N]:
    """A norm as the model has them everywhere but in heads: `norm_weight` and `norm_bias` say what it owns."""
    weight: Weights = (("weight", (width,)),) if c.norm_weight else ()
    bias: Weights = (("bias", (width,)),) if c.norm_bias and c.norm == "layernorm" else ()
    return norm_of(path, c.norm, runs, rows, width, (*weight, *bias))


def norm_of(path: str, kind: str, runs: Any, rows: Any, width: N, weights: Weights) -> Operation[N]:
    """`rows` rows of `width` elements, then one array operation for each tensor of `weights`."""
    if kind == "rmsnorm":
        # each element: square, sum, divide, weight; each row: divide by the width, add epsilon, square root
        other, source = ((3 + len(weights), rows, width), (3, rows)), "Zhang & Sennrich 2019, arXiv:1910.07467"
    else:
        # each element: sum, subtract, square, sum, divide, weight, bias; each row: two divisions by the width, add epsilon, square root
        other, source = ((5 + len(weights), rows, width), (4, rows)), "Ba et al. 2016, arXiv:1607.06450"
    return Operation(path, "norm", runs, weights, (), other, source)
