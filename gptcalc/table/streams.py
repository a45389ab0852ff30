"""The rows of hyper-connections: several residual streams, from which a sublayer reads a weighed sum and to which it adds with weights."""

from typing import Any

from gptcalc.spec.shape import Shape
from gptcalc.symbols import N, product
from gptcalc.table.operation import SIGMOID, Operation, Weights

STREAMS = "Xie et al. 2025 (mHC), arXiv:2512.24880; Zhu et al. 2024 (hyper-connections), arXiv:2409.19606"


def stream_rows(path: str, s: Shape[N], tokens: Any) -> list[Operation[N]]:
    """Around one sublayer: weights of what it reads and of where it adds, from all streams; and the streams mixed, where they are."""
    m, d, c = s.n_stream, s.d_model, s.switches
    width, flat = ((2 + m) * m, 3) if c.streams_mixed else (2 * m, 2), product((m, d))
    weights: Weights = (("weight", (flat, width[0])), ("base", (width[0],)), ("scale", (width[1],)))
    rows = [_weighed(f"{path}/streams", s.n_layer, tokens, flat, width[0], weights, m, d)]
    if c.streams_mixed:
        rows.append(Operation(f"{path}/streams_mix", "index", s.n_layer, matmul=(2, tokens, m, m, d), source=STREAMS))
    return rows


def last_rows(s: Shape[N], tokens: Any) -> list[Operation[N]]:
    """Behind the last layer: the streams' weighed sum."""
    m, d = s.n_stream, s.d_model
    flat, one = product((m, d)), 1
    weights: Weights = (("weight", (flat, m)), ("base", (m,)), ("scale", (one,)))
    return [_weighed("head/streams", 1, tokens, flat, m, weights, m, d)]


def _weighed(path: str, runs: Any, tokens: Any, flat: Any, width: Any, weights: Weights, m: Any, d: Any) -> Operation[Any]:
    other = ((4, tokens, flat), (SIGMOID + 2, tokens, width), (2, tokens, m, d))  # a norm, the weights, a weighed sum
    return Operation(path, "matmul", runs, weights, (2, tokens, flat, width), other, STREAMS)
