"""What holds of every bill: a parent is the sum of its parts, and the formula that is shown gives the value that is shown."""

from collections.abc import Mapping
from typing import Any

import pytest

from gptcalc.node import Node


def parts_add_up(node: Node[Any]) -> None:
    """To rounding: seconds."""
    if node.parts:
        assert node.value == pytest.approx(sum(part.value for part in node.parts))
        for part in node.parts:
            parts_add_up(part)


def phases_add_up(answer: Any, *, formulas: bool = True) -> None:
    """To the byte: what a training step holds in each of its phases."""
    assert answer.value == max(phase.value for phase in answer.training.phases.values())
    for phase in answer.training.phases.values():
        for path, node in phase.walk():
            assert node.value >= 0
            if node.parts:
                assert node.value == sum(part.value for part in node.parts)
            if formulas and node.formula and "rounding" not in path + node.formula:
                assert eval(node.formula, {"max": max, "min": min}, answer.training.letters) == node.value, (path, node.formula)


def without_rounding(items: Mapping[str, Any]) -> Any:
    """Bytes of the tensors themselves."""
    return sum(size for path, size in items.items() if "rounding" not in path)
