"""Many variants at once, a block at a time: a block's intermediate arrays stay in the processor's cache, which is several times faster."""

from collections.abc import Callable
from typing import Any

from gptcalc.node import Node
from gptcalc.spec.options import MOST_PLACES, check_shapes, float_array

BLOCK = 2**16
"""Variants in a block: 512 KiB for each float64 array of them."""


def in_blocks(evaluate: Callable[[dict[str, Any]], list[Node[Any]]], numbers: dict[str, Any]) -> list[Node[Any]]:
    """What `evaluate` gives for these arrays of numbers, which are broadcast against each other.

    Every value of the result is an array of the shape that they have together, also where it does not vary.
    Raises GptcalcError for what is not an array of numbers, and for shapes that do not go together.
    """
    import numpy as np

    arrays = {name: float_array(name, value) for name, value in numbers.items()}
    shape = check_shapes(MOST_PLACES, **arrays)
    flat = {name: np.broadcast_to(array, shape).ravel() for name, array in arrays.items()}
    size = int(np.prod(shape))
    blocks = [evaluate({name: array[i : i + BLOCK] for name, array in flat.items()}) for i in range(0, max(size, 1), BLOCK)]
    return [_joined(list(nodes), shape) for nodes in zip(*blocks, strict=True)]


def _joined(nodes: list[Node[Any]], shape: tuple[int, ...]) -> Node[Any]:
    import numpy as np

    first = nodes[0]
    parts = tuple(_joined([node.parts[i] for node in nodes], shape) for i in range(len(first.parts)))
    if len(parts) == 1:
        value = parts[0].value
    elif isinstance(first.value, int | float):  # a part that does not vary
        value = np.broadcast_to(float(first.value), shape)
    else:
        value = np.concatenate([node.value for node in nodes]).reshape(shape)
    return Node(first.name, value, first.unit, first.formula, parts, first.source)
