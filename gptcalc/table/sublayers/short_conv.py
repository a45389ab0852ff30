"""A gated short convolution: each channel over the last X tokens, between two gates of the token itself."""

from typing import Any

from gptcalc.spec.shape import Shape
from gptcalc.symbols import product
from gptcalc.table.operation import Operation, matmul
from gptcalc.table.sublayers import Kept, Run
from gptcalc.table.sublayers.parts import convolution

LABEL = "short_conv"
SOURCE = "Liquid AI 2025 (LFM2), arXiv:2511.23404: gated short convolutions"


def rows(path: str, s: Shape[Any], run: Run) -> list[Operation[Any]]:
    """Every operation, in order of execution. A rank's channels are a share of the model's: as many as its heads' are."""
    m: Any = s.mixer
    L, d, tokens, inner = s.n_layer, s.d_model, product((run.batch, run.seq)), channels(s)
    read = convolution(f"{path}/convolution", s, run, inner, bias=m.own.bias, activated=False)
    return [
        *(matmul(f"{path}/{name}", L, tokens, d, inner, m.own.bias, SOURCE) for name in ("gate", "output_gate", "input")),
        Operation(f"{path}/gated", "product", L, other=((tokens, inner),), source=SOURCE),
        read,
        Operation(f"{path}/output_gated", "product", L, other=((tokens, inner),), source=SOURCE),
        matmul(f"{path}/output", L, tokens, inner, d, m.own.bias, SOURCE),
    ]


def channels(s: Shape[Any]) -> Any:
    """As many as the model is wide; on one of several ranks a share of them, which `divided` writes down."""
    m: Any = s.mixer
    return s.d_model if isinstance(m.d_head, int) and m.d_head == 0 else m.d_head


def state(s: Shape[Any]) -> tuple[Kept, ...]:
    """The X - 1 tokens that the convolution reads beside the next one."""
    m: Any = s.mixer
    return (Kept(sequence=product((channels(s), m.d_conv - 1))),)


def divided(s: Shape[Any], t: Any) -> Shape[Any]:
    """Its channels."""
    m: Any = s.mixer
    return s._replace(mixer=m._replace(d_head=s.d_model // t))


def width(s: Shape[Any]) -> Any:
    """Two gates, what is read, and the result."""
    return 4 * channels(s)
