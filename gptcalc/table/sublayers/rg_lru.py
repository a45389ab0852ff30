"""RG-LRU: a real number of state for each channel, two gates of blocks of channels; a convolution before it, a gated branch beside it.

h blocks of Y channels, a convolution over X tokens.
"""

from typing import Any

from gptcalc.spec.shape import Shape
from gptcalc.symbols import product
from gptcalc.table.operation import SIGMOID, Operation, matmul
from gptcalc.table.sublayers import Kept, Run
from gptcalc.table.sublayers.mlp import ACTIVATION
from gptcalc.table.sublayers.parts import convolution

LABEL = "rg_lru"
SOURCE = "De et al. 2024 (Griffin), arXiv:2402.19427, token by token as transformers executes it"
# Each channel of a token: two biases and sigmoids; the logarithm of what stays, itself, and the square of it (twice the logarithm,
# exponential), its distance from one, the root of that; what is taken times its gate and times the root; the state times what stays, add
EACH = 2 * (1 + SIGMOID) + 2 + 2 + 2 + 2 + 2


def rows(path: str, s: Shape[Any], run: Run) -> list[Operation[Any]]:
    """Every operation, in order of execution."""
    m: Any = s.mixer
    L, d, tokens, W = s.n_layer, s.d_model, product((run.batch, run.seq)), m.d_inner
    cost, formula = ACTIVATION[s.switches.activation]
    square, each_block = (m.n_head, m.d_head, m.d_head), (m.n_head, m.d_head)
    weights = (
        ("recurrent_param", (W,)),
        *(("input_gate_weight", square), ("input_gate_bias", each_block)),
        *(("recurrent_gate_weight", square), ("recurrent_gate_bias", each_block)),
    )
    read = convolution(f"{path}/convolution", s, run, W, bias=True, activated=False)
    if run.decode:  # one sum of products of each channel, and no matrix product
        read = read._replace(matmul=(), other=((2 * m.d_conv + 1, tokens, W),))
    return [
        matmul(f"{path}/gate", L, tokens, d, W, True, SOURCE),
        Operation(f"{path}/activation", "activation", L, other=((cost, tokens, W),), source=formula),
        matmul(f"{path}/input", L, tokens, d, W, True, SOURCE),
        read,
        Operation(f"{path}/recurrence", "recurrence", L, weights, (4, tokens, *square), ((EACH, tokens, W),), SOURCE),
        Operation(f"{path}/readout", "product", L, other=((tokens, W),), source=SOURCE),
        matmul(f"{path}/output", L, tokens, W, d, True, SOURCE),
    ]


def state(s: Shape[Any]) -> tuple[Kept, ...]:
    """A number for each channel, and the X - 1 tokens that the convolution reads."""
    m: Any = s.mixer
    return (Kept(sequence=product((m.d_inner, m.d_conv - 1))), Kept(sequence=m.d_inner, fp32=True))


def divided(s: Shape[Any], t: Any) -> Shape[Any]:
    """Blocks of channels."""
    m: Any = s.mixer
    return s._replace(mixer=m._replace(n_head=m.n_head // t))


def width(s: Shape[Any]) -> Any:
    """The gated branch, what is read before and after the convolution, both gates, and the result."""
    m: Any = s.mixer
    return 6 * m.d_inner
