"""A decoder's second attention, which reads as many tokens of the encoder's output as the decoder has."""

from typing import Any

from gptcalc.spec.shape import Shape
from gptcalc.table.operation import Operation
from gptcalc.table.sublayers import Kept, Run, attention

LABEL = "cross_attention"


def rows(path: str, s: Shape[Any], run: Run) -> list[Operation[Any]]:
    """As self-attention: every query sees all keys."""
    return attention.rows(path, s, run._replace(attention="full"))


def state(s: Shape[Any]) -> tuple[Kept, ...]:
    """Keys and values of what the encoder read, counted as long as the sequence."""
    return attention.state(s)


def divided(s: Shape[Any], t: Any) -> Shape[Any]:
    """Its heads are those of self-attention, which has divided them."""
    return s


def width(s: Shape[Any]) -> Any:
    """As self-attention."""
    return attention.width(s)
