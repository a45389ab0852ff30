"""An itemised number: a tree whose leaves hold whole-model values and whose every other node is the sum of its parts."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, NamedTuple

from gptcalc.shown import frame, shown
from gptcalc.spec.options import filled
from gptcalc.symbols import N, Symbol


@shown
@dataclass(frozen=True)
class Node(Generic[N]):
    """`formula` is the text, in the papers' letters, that evaluates to `value`; `source` says who wrote it first."""

    name: str
    value: N
    unit: str
    formula: str = ""
    parts: "tuple[Node[N], ...]" = ()
    source: str = ""

    def __getitem__(self, path: str) -> "Node[N]":
        """The part at a path: `params(m)["block/attention/query"]`.

        Raises GptcalcError for a part that is not there, naming the parts that are.
        """
        name, _, rest = path.partition("/")
        for part in self.parts:
            if part.name == name:
                return part[rest] if rest else part
        from gptcalc.errors import GptcalcError, did_you_mean

        names = [part.name for part in self.parts]
        raise GptcalcError(f"'{self.name}' has no part '{name}'", hint=did_you_mean(name, names, otherwise=f"it has {', '.join(names)}"))

    def to_frame(self) -> Any:
        """A pandas DataFrame of the parts; GptcalcError where pandas is not installed."""
        return frame(self)

    def __repr__(self) -> str:
        shape = getattr(self.value, "shape", ())
        value = (
            f"array of {' x '.join(map(str, shape))}" if shape else f"{self.value:,}" if isinstance(self.value, int | float) else self.value
        )
        return f"Node('{self.name}', {value} {self.unit}, {len(self.parts)} parts)"

    def walk(self, path: str = "") -> "Iterator[tuple[str, Node[N]]]":
        """Every node with its path, parents before their parts."""
        yield path, self
        for part in self.parts:
            yield from part.walk(f"{path}/{part.name}" if path else part.name)

    def leaves(self) -> "Iterator[tuple[str, Node[N]]]":
        """The nodes without parts, with their paths."""
        return ((path, node) for path, node in self.walk() if not node.parts)

    def to_dict(self) -> dict[str, Any]:
        """The node as the command line's JSON has it; arrays become lists."""
        result: dict[str, Any] = {
            "name": self.name,
            "value": plain(self.value),
            "unit": self.unit,
            "formula": self.formula,
            "parts": [part.to_dict() for part in self.parts],
        }
        return result | {"source": self.source} if self.source else result


class Leaf(NamedTuple, Generic[N]):
    """One item before it has its place in the tree."""

    path: str
    value: N
    formula: Symbol
    source: str = ""


def tree(name: str, unit: str, leaves: Iterable[Leaf[N]]) -> Node[N]:
    """The tree that the leaves' paths describe; every value and every formula is the sum of those below it.

    >>> L = Symbol.letter("L")
    >>> tree("total", "FLOP", [Leaf("a/x", 96, L), Leaf("a/y", 192, 2 * L), Leaf("b", 3, Symbol({(): 3}))]).formula
    '3*L + 3'
    """
    node, _ = _grow(name, unit, [(leaf.path.split("/"), leaf) for leaf in leaves])
    return node


def _grow(name: str, unit: str, leaves: list[tuple[list[str], Leaf[N]]]) -> tuple[Node[N], Symbol]:
    if len(leaves) == 1 and not leaves[0][0]:
        leaf = leaves[0][1]
        return Node(name, leaf.value, unit, str(leaf.formula), source=leaf.source), leaf.formula
    branches: dict[str, list[tuple[list[str], Leaf[N]]]] = {}
    for steps, leaf in leaves:
        branches.setdefault(steps[0], []).append((steps[1:], leaf))
    grown = [_grow(child, unit, below) for child, below in branches.items()]
    total, formula = grown[0][0].value, grown[0][1]
    for node, text in grown[1:]:
        total, formula = total + node.value, formula + text
    return Node(name, total, unit, str(formula), tuple(node for node, _ in grown)), formula


def tree_of(name: str, unit: str, items: Mapping[str, Any], texts: Mapping[str, str], above: str = "") -> Node[Any]:
    """Numbers by path as a tree: each parent the sum of its parts; `texts`: what is said of leaves, by path.

    >>> tree_of("step", "s", {"compute/matmul": 3.0, "compute/norm": 1.0, "optimizer": 2.0}, {})["compute"].value
    4.0
    """
    branches: dict[str, dict[str, Any]] = {}
    for path, value in items.items():
        head, _, rest = path.partition("/")
        branches.setdefault(head, {})[rest] = value
    parts = []
    for head, below in branches.items():
        path = above + head
        leaf = list(below) == [""]
        parts.append(Node(head, below[""], unit, texts.get(path, "")) if leaf else tree_of(head, unit, below, texts, f"{path}/"))
    total = sum((part.value for part in parts[1:]), parts[0].value)
    return Node(name, total, unit, parts=tuple(parts))


def spread(node: Node[Any], shape: tuple[int, ...]) -> Node[Any]:
    """The tree with every value as an array of that shape, also those that do not vary."""
    return replace(node, value=filled(node.value, shape), parts=tuple(spread(part, shape) for part in node.parts))


def brief(value: Any) -> str:
    """A number of an answer, in few figures; of an array its shape.

    >>> brief(34303.21), brief(8)
    ('34,300', '8')
    """
    shape = getattr(value, "shape", ())
    if shape:
        return f"array of {' x '.join(map(str, shape))}"
    return f"{value:,}" if isinstance(value, int) else f"{float(f'{value:.4g}'):,.6g}"


def plain(value: Any) -> Any:
    """As JSON has it: arrays as lists, at any depth.

    >>> plain({"ranks": (1, 2)})
    {'ranks': [1, 2]}
    """
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value.tolist() if hasattr(value, "tolist") else value
