"""A second attention whose weights a decoder has and that never runs: nothing gives it an encoder's output."""

from typing import Any

from gptcalc.spec.shape import Shape
from gptcalc.table.operation import Operation
from gptcalc.table.sublayers import Kept, Run, attention

LABEL = "cross_attention"


def rows(path: str, s: Shape[Any], run: Run) -> list[Operation[Any]]:
    """Those of attention, whose weights alone count."""
    return attention.rows(path, s, run)


def state(s: Shape[Any]) -> tuple[Kept, ...]:
    """Nothing: it never runs."""
    return ()


def divided(s: Shape[Any], t: Any) -> Shape[Any]:
    """Its heads are those of self-attention, which has divided them."""
    return s


def width(s: Shape[Any]) -> Any:
    """Nothing: it never runs."""
    return 0
