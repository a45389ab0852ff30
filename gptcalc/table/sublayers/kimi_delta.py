"""Kimi Delta Attention: gated DeltaNet whose every channel of a key forgets at a rate of its own.

h heads of J channels, a convolution over X tokens, n chunks of 64 tokens; r channels that the gates come through.
"""

from typing import Any

from gptcalc.spec.shape import Shape
from gptcalc.symbols import product, quotient
from gptcalc.table.operation import SIGMOID, Operation, matmul
from gptcalc.table.sublayers import Kept, Run
from gptcalc.table.sublayers.parts import SOFTPLUS, convolution, gated_norm

LABEL = "kimi_delta"
SOURCE = "Kimi Team 2025 (Kimi Linear), arXiv:2510.26692, in chunks of 64 as transformers executes it without kernels"
CHUNK = 64
UNIT = 3  # each element: square, sum, divide; each row: add epsilon, square root


def rows(path: str, s: Shape[Any], run: Run) -> list[Operation[Any]]:
    """Every operation, in order of execution."""
    m: Any = s.mixer
    L, d, tokens, W = s.n_layer, s.d_model, product((run.batch, run.seq)), m.d_inner
    plain = {"query": W, "key": W, "value": W, "learn": m.n_head}
    gates = [row for name in ("forget", "gate") for row in _gate(f"{path}/{name}", s, tokens)]
    each = SOFTPLUS + 2 if m.own.least is None else SIGMOID + 3  # the bias added, what is made of it, times the rate (and the bound)
    weights = (("dt_bias", (W,)), ("A_log", (m.n_head,)))
    return [
        *(matmul(f"{path}/{name}", L, tokens, d, width, False, SOURCE) for name, width in plain.items()),
        *gates,
        convolution(f"{path}/convolution", s, run, 3 * W, bias=False),
        Operation(f"{path}/decay", "activation", L, weights, (), ((SIGMOID, tokens, m.n_head), (each, tokens, W)), SOURCE),
        _recurrence(path, L, run, tokens, m.n_head, m.d_head),
        gated_norm(f"{path}/readout", L, product((tokens, m.n_head)), m.d_head, m.d_head),
        matmul(f"{path}/output", L, tokens, W, d, False, SOURCE),
    ]


def _gate(path: str, s: Shape[Any], tokens: Any) -> list[Operation[Any]]:
    m: Any = s.mixer
    L, d = s.n_layer, s.d_model
    if m.own.rank is None:
        return [matmul(path, L, tokens, d, m.d_inner, False, SOURCE)]
    return [
        matmul(f"{path}_down", L, tokens, d, m.rank, False, SOURCE),
        matmul(f"{path}_up", L, tokens, m.rank, m.d_inner, False, SOURCE),
    ]


def _recurrence(path: str, L: Any, run: Run, tokens: Any, h: Any, J: Any) -> Operation[Any]:
    before = ((2, tokens, h, UNIT * J + 2), (tokens, h, J))  # queries and keys of length one, queries scaled
    if run.decode:
        return Operation(f"{path}/recurrence", "recurrence", L, (), (), (*before, (tokens, h, 7 * J * J + 3 * J)), SOURCE)
    C, n = CHUNK, quotient(run.seq + (CHUNK - 1), CHUNK)[0]
    products = 6 * C * C * J + 6 * C * J * J
    # of all pairs of a chunk and all channels: difference and exponential of decays, and twice two products and a sum
    steps = 8 * C * C * J + C * C + 11 * C * J + J + 2 * J * J
    return Operation(f"{path}/recurrence", "recurrence", L, (), (run.batch, h, n, products), (*before, (run.batch, h, n, steps)), SOURCE)


def state(s: Shape[Any]) -> tuple[Kept, ...]:
    """A matrix for each head, and the X - 1 tokens that the convolution reads."""
    m: Any = s.mixer
    return (
        Kept(sequence=product((3 * m.d_inner, m.d_conv - 1))),
        Kept(sequence=product((m.n_head, m.d_state, m.d_head)), fp32=True),
    )


def divided(s: Shape[Any], t: Any) -> Shape[Any]:
    """Heads; the few channels that gates come through are whole on every rank."""
    m: Any = s.mixer
    return s._replace(mixer=m._replace(n_head=m.n_head // t, n_group=m.n_group // t))


def width(s: Shape[Any]) -> Any:
    """Queries, keys, values, what forgets, the gate, and what they are mixed to."""
    m: Any = s.mixer
    return 6 * m.d_inner
