"""Bytes by path as trees: `nodes`, with formulas and sources; of arrays the fullest of several, place by place (`fullest`, `mixed`)."""

from collections.abc import Mapping
from typing import Any

from gptcalc.node import Node
from gptcalc.symbols import is_zero


def fullest(values: list[Any]) -> tuple[Any, Any]:
    """The largest value and its index, element by element where any is an array."""
    if all(isinstance(value, int | float) for value in values):
        index = max(range(len(values)), key=values.__getitem__)
        return values[index], index
    import numpy as np

    stacked = np.stack(np.broadcast_arrays(*values))
    return stacked.max(axis=0), stacked.argmax(axis=0)


def broken_down(name: str, items: Mapping[str, Any], text: Mapping[str, Any]) -> Node[Any]:
    """Bytes by path as a tree with their formulas; what is nothing is left out."""
    return nodes(name, {path: (size, text.get(path)) for path, size in items.items() if not is_zero(size)})


def mixed(name: str, breakdowns: list[dict[str, Any]], index: Any) -> Node[Any]:
    """Of several breakdowns of the same arrays the one that `index` names, place by place."""
    import numpy as np

    paths = list(dict.fromkeys(path for breakdown in breakdowns for path in breakdown))
    items = {}
    for path in paths:
        size = np.zeros(index.shape)
        for number, breakdown in enumerate(breakdowns):
            if path in breakdown:
                size = size + np.where(index == number, breakdown[path], 0.0)
        items[path] = (size, None)
    return nodes(name, items)


SOURCES = {
    "weights": "the operation table; types: the precision",
    "optimizer state": "Kingma & Ba 2014; Shazeer & Stern 2018; Dettmers et al. 2022; Chen et al. 2023; Jordan et al. 2024",
    "gradients": "one for each trained weight, in its type unless the runtime says otherwise",
    "activations": "presets/runtimes: what autograd keeps",
    "low-precision copies": "of weights: torch.autocast's cache; Transformer Engine's fp8 pair",
    "logits and loss": "presets/runtimes: what autograd keeps",
    "transients": "presets/runtimes: what lives while an operation runs",
    "allocator rounding": "c10/cuda/CUDACachingAllocator.cpp",
    "kv cache": "Shazeer 2019, arXiv:1911.02150",
    "serving/activations": "what the MLP or the attention of a block holds at once, beside the residual stream",
}


def nodes(name: str, items: Mapping[str, tuple[Any, Any]], source: str = "") -> Node[Any]:
    """A breakdown as a tree of bytes: each parent the sum of its parts, each leaf with where its formula comes from.

    An item is its bytes and its formula, as a symbol; where one has none, neither have its parents.
    """
    branches: dict[str, dict[str, tuple[Any, Any]]] = {}
    for path, item in items.items():
        head, _, rest = path.partition("/")
        branches.setdefault(head, {})[rest] = item
    parts = []
    for head, below in branches.items():
        origin = source or SOURCES.get(f"{name}/{head}", SOURCES.get(head, ""))
        if list(below) == [""]:
            size, formula = below[""]
            written = "" if formula is None else str(formula)
            parts.append(Node(head, size, "byte", written, source=origin))
        else:
            own = {"itself" if rest == "" else rest: item for rest, item in below.items()}
            parts.append(nodes(head, own, origin))
    total = sum((part.value for part in parts[1:]), parts[0].value) if parts else 0
    texts = [text for _, text in items.values()]
    formula = "" if not texts or any(text is None for text in texts) else str(sum(texts[1:], texts[0]))
    return Node(name, total, "byte", formula, tuple(parts))
