"""Mamba-2: a state for each head that forgets by steps of its own, and is read through what the token asks.

h heads of Y channels, keys and queries of J channels in G groups, a convolution over X tokens; n chunks of U tokens.
"""

from typing import Any

from gptcalc.spec.shape import Shape
from gptcalc.symbols import maximum, product, quotient
from gptcalc.table.operation import Operation, matmul
from gptcalc.table.sublayers import Kept, Run
from gptcalc.table.sublayers.parts import SILU, SOFTPLUS, convolution

LABEL = "mamba2"
SOURCE = "Dao & Gu 2024 (Mamba-2), arXiv:2405.21060, in chunks as transformers executes it without kernels"


def rows(path: str, s: Shape[Any], run: Run) -> list[Operation[Any]]:
    """Every operation, in order of execution."""
    m: Any = s.mixer
    L, d, tokens, h, own = s.n_layer, s.d_model, product((run.batch, run.seq)), m.n_head, m.own
    channels = m.d_inner + 2 * m.d_keys
    weights = (("dt_bias", (h,)), ("A_log", (h,)), ("D", (h,)))
    decay = 1 + SOFTPLUS + (own.step_least > 0) + (own.step_most is not None)
    return [
        *(
            matmul(f"{path}/{name}", L, tokens, d, width, own.bias, SOURCE)
            for name, width in (("gate", m.d_inner), ("input", channels), ("step", h))
        ),
        convolution(f"{path}/convolution", s, run, channels, bias=own.conv_bias),
        Operation(f"{path}/decay", "activation", L, weights, (), ((decay, tokens, h),), SOURCE),
        _recurrence(path, s, run, tokens),
        _readout(path, s, tokens),
        matmul(f"{path}/output", L, tokens, m.d_inner, d, own.output_bias, SOURCE),
    ]


def _recurrence(path: str, s: Shape[Any], run: Run, tokens: Any) -> Operation[Any]:
    m: Any = s.mixer
    h, J, Y, U = m.n_head, m.d_state, m.d_head, m.chunk
    if run.decode:
        other: Any = ((tokens, h, 2 + J + 3 * J * Y + 2 * Y),)
        return Operation(f"{path}/recurrence", "recurrence", s.n_layer, (), (2, tokens, h, J, Y), other, SOURCE)
    n = quotient(run.seq + U - 1, U)[0]
    products = n * (2 * U * U * (J + Y) + 4 * U * J * Y) + 2 * (n + 1) * (n + 1) * J * Y
    steps = n * (3 * U * U + 4 * U + U * J + 2 * U * Y) + (n + 1) + 2 * (n + 1) * (n + 1)
    other = ((run.batch, h, steps), (tokens, h, 3 * Y + 1))
    return Operation(f"{path}/recurrence", "recurrence", s.n_layer, (), (run.batch, h, products), other, SOURCE)


def _readout(path: str, s: Shape[Any], tokens: Any) -> Operation[Any]:
    m: Any = s.mixer
    if m.own.norm == "none":
        return Operation(f"{path}/readout", "product", s.n_layer, other=((SILU + 1, tokens, m.d_inner),), source=SOURCE)
    other = ((4 + SILU + 1, tokens, m.d_inner), (3, tokens, m.n_group))
    return Operation(f"{path}/readout", "norm", s.n_layer, (("weight", (m.d_inner,)),), (), other, SOURCE)


def state(s: Shape[Any]) -> tuple[Kept, ...]:
    """A matrix for each head, and the X - 1 tokens that the convolution reads."""
    m: Any = s.mixer
    return (
        Kept(sequence=product((m.d_inner + 2 * m.d_keys, m.d_conv - 1))),
        Kept(sequence=product((m.n_head, m.d_state, m.d_head)), fp32=True),
    )


def divided(s: Shape[Any], t: Any) -> Shape[Any]:
    """Heads, and groups where they divide too: else each stands on several ranks."""
    m: Any = s.mixer
    return s._replace(mixer=m._replace(n_head=m.n_head // t, n_group=maximum(m.n_group // t, 1)))


def width(s: Shape[Any]) -> Any:
    """What the projection puts out, and what heads put out."""
    m: Any = s.mixer
    return 3 * m.d_inner + 2 * m.d_keys + m.n_head
