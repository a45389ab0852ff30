"""Mamba: a state of J numbers for each of h channels, which choose their steps through a rank r; a convolution over X tokens."""

from typing import Any

from gptcalc.spec.shape import Shape
from gptcalc.symbols import product
from gptcalc.table.operation import Operation, matmul, norm_of
from gptcalc.table.sublayers import Kept, Run
from gptcalc.table.sublayers.parts import SILU, SOFTPLUS, convolution

LABEL = "mamba"
SOURCE = "Gu & Dao 2023 (Mamba), arXiv:2312.00752, token by token as transformers executes it without kernels"


def rows(path: str, s: Shape[Any], run: Run) -> list[Operation[Any]]:
    """Every operation, in order of execution."""
    m: Any = s.mixer
    L, d, tokens, own = s.n_layer, s.d_model, product((run.batch, run.seq)), m.own
    h, J, r = m.n_head, m.d_state, m.rank
    widths = (("rank", r), ("key", J), ("ask", J))
    norms = []
    for name, width in widths if own.norms != "none" else ():
        weights = (("weight", (width,)),) if own.norms == "weighted" else ()
        norms.append(norm_of(f"{path}/{name}_norm", "rmsnorm", L, tokens, width, weights))
    # each number of the state: step times rate, exponential, what is taken times key, state times what stays, add; each channel: what is
    # taken, its own share, add
    other = ((tokens, h, 5 * J + 1 + 2), (tokens, h, SOFTPLUS))
    kept = (("A_log", (h, J)), ("D", (h,)))
    return [
        *(matmul(f"{path}/{name}", L, tokens, d, h, own.bias, SOURCE) for name in ("input", "gate")),
        convolution(f"{path}/convolution", s, run, h, bias=own.conv_bias),
        *(matmul(f"{path}/{name}", L, tokens, h, width, False, SOURCE) for name, width in widths),
        *norms,
        matmul(f"{path}/step", L, tokens, r, h, True, SOURCE),
        Operation(f"{path}/recurrence", "recurrence", L, kept, (2, tokens, h, J), other, SOURCE),
        Operation(f"{path}/readout", "product", L, other=((SILU + 1, tokens, h),), source=SOURCE),
        matmul(f"{path}/output", L, tokens, h, d, own.bias, SOURCE),
    ]


def state(s: Shape[Any]) -> tuple[Kept, ...]:
    """The state of each channel, and the X - 1 tokens that the convolution reads."""
    m: Any = s.mixer
    return (Kept(sequence=product((m.n_head, m.d_conv - 1))), Kept(sequence=product((m.n_head, m.d_state)), fp32=True))


def divided(s: Shape[Any], t: Any) -> Shape[Any]:
    """Channels; what all of them read of a token, key, query and rank, is whole on every rank."""
    m: Any = s.mixer
    return s._replace(mixer=m._replace(n_head=m.n_head // t))


def width(s: Shape[Any]) -> Any:
    """The channels before and after the convolution, the gate, the steps and the result."""
    m: Any = s.mixer
    return 5 * m.n_head
