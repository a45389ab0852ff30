"""Gated DeltaNet: a matrix for each head that forgets, and takes of each token what it does not hold yet.

h heads of Y channels, G heads of keys and queries of J channels, a convolution over X tokens; n chunks of 64 tokens.
"""

from typing import Any

from gptcalc.spec.shape import Shape
from gptcalc.symbols import maximum, product, quotient
from gptcalc.table.operation import SIGMOID, Operation, matmul
from gptcalc.table.sublayers import Kept, Run
from gptcalc.table.sublayers.parts import SOFTPLUS, convolution, gated_norm

LABEL = "delta_net"
SOURCE = "Yang et al. 2024 (Gated DeltaNet), arXiv:2412.06464, in chunks of 64 as transformers executes it without kernels"
CHUNK = 64
UNIT = 3  # each element: square, sum, divide; each row: add epsilon, square root


def rows(path: str, s: Shape[Any], run: Run) -> list[Operation[Any]]:
    """Every operation, in order of execution."""
    m: Any = s.mixer
    L, d, tokens = s.n_layer, s.d_model, product((run.batch, run.seq))
    h, G, J, Y = m.n_head, m.n_group, m.d_state, m.d_head
    widths = {"query": m.d_keys, "key": m.d_keys, "value": m.d_inner, "gate": m.d_inner, "learn": h, "forget": h}
    decay = 1 + SOFTPLUS + 1 + SIGMOID + m.own.negative
    return [
        *(matmul(f"{path}/{name}", L, tokens, d, width, False, SOURCE) for name, width in widths.items()),
        convolution(f"{path}/convolution", s, run, 2 * m.d_keys + m.d_inner, bias=False),
        Operation(f"{path}/decay", "activation", L, (("dt_bias", (h,)), ("A_log", (h,))), (), ((decay, tokens, h),), SOURCE),
        _recurrence(path, L, run, tokens, (h, G, J, Y)),
        gated_norm(f"{path}/readout", L, product((tokens, h)), Y, Y),
        matmul(f"{path}/output", L, tokens, m.d_inner, d, False, SOURCE),
    ]


def _recurrence(path: str, L: Any, run: Run, tokens: Any, sizes: tuple[Any, Any, Any, Any]) -> Operation[Any]:
    h, G, J, Y = sizes
    before = ((2, tokens, G, UNIT * J + 2), (tokens, h, J))  # queries and keys of length one, queries scaled
    if run.decode:
        return Operation(f"{path}/recurrence", "recurrence", L, (), (), (*before, (tokens, h, 7 * J * Y + 2 * Y + 1)), SOURCE)
    C, n = CHUNK, quotient(run.seq + (CHUNK - 1), CHUNK)[0]
    products = 4 * C * C * J + 6 * C * J * Y + 2 * C * C * Y
    steps = 4 * C * C + 4 * C + 5 * C * J + 4 * C * Y + 2 * J * Y + 1
    return Operation(f"{path}/recurrence", "recurrence", L, (), (run.batch, h, n, products), (*before, (run.batch, h, n, steps)), SOURCE)


def state(s: Shape[Any]) -> tuple[Kept, ...]:
    """A matrix for each head, and the X - 1 tokens that the convolution reads."""
    m: Any = s.mixer
    return (
        Kept(sequence=product((2 * m.d_keys + m.d_inner, m.d_conv - 1))),
        Kept(sequence=product((m.n_head, m.d_state, m.d_head)), fp32=True),
    )


def divided(s: Shape[Any], t: Any) -> Shape[Any]:
    """Heads, and heads of keys where they divide too: else each stands on several ranks."""
    m: Any = s.mixer
    return s._replace(mixer=m._replace(n_head=m.n_head // t, n_group=maximum(m.n_group // t, 1)))


def width(s: Shape[Any]) -> Any:
    """Queries, keys, values, the gate, and what they are mixed to."""
    m: Any = s.mixer
    return 2 * m.d_keys + 3 * m.d_inner
