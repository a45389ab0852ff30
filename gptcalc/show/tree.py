"""What every itemised answer shares: the indented rows of a tree, the legend of its letters, and its derivation."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gptcalc.node import Node
from gptcalc.show.table import Column, Label, Table, formula, integer
from gptcalc.spec.shape import Shape

NAMES = {
    "L": "layers",
    "d": "model width",
    "H": "heads",
    "K": "key-value heads",
    "o": "width into the head",
    "Q": "head width",
    "F": "MLP width",
    "V": "vocabulary",
    "P": "positions",
    "e": "embedding width",
    "R": "rotated channels of a head",
    "W": "window",
    "B": "sequences",
    "T": "tokens of a sequence",
    "C": "keys",
    "N": "prompt tokens in one pass",
    "S": "tokens of a sequence outside tensor parallelism",
    "A": "layers in flight",
    "Z": "value head width",
    "q": "query latent width",
    "c": "key-value latent width",
    "p": "per-layer embedding width",
    "w": "tokens of a compressed entry",
    "g": "groups of heads",
    "l": "latent of a group",
    "m": "residual streams",
    "z": "width of the norms' gates",
    "x": "keys of a block",
    "u": "rows of the per-layer table",
    "n": "indexer heads",
    "i": "indexer head width",
    "a": "keys that an indexer chooses",
    "E": "experts",
    "k": "experts of a token",
    "f": "expert width",
    "s": "shared expert width",
    "j": "latent of the experts",
    "M": "further tokens predicted",
    "y": "token types",
    "h": "heads of the mixer",
    "Y": "width of a mixer's head",
    "G": "groups of the mixer's keys",
    "J": "state of a mixer's head",
    "X": "tokens of the convolution",
    "r": "rank of the mixer",
    "U": "tokens of a chunk",
}
LETTER = re.compile(r"\b[A-Za-z](?:_[a-z0-9_]+)?\b")
"""A letter, or one of a kind of block: F_moe."""


def branches(root: Node[Any], depth: int, labels: Mapping[str, str]) -> Iterator[tuple[str, Label, Node[Any]]]:
    """Path, indented label and node of each part down to `depth`, the total last. An only child repeats its parent and is left out."""
    only_children = {f"{path}/{node.parts[0].name}" for path, node in root.walk() if len(node.parts) == 1}
    for path, node in root.walk():
        level = path.count("/") + 1
        if path and level <= depth and path not in only_children:
            yield path, Label.of("  " * (level - 1) + labels.get(path, node.name), path), node
    yield "", Label.of("total", "total"), root


def legend(letters: Mapping[str, int], node: Node[Any]) -> str:
    """The letters that the tree's formulas use, with their values: `L = 96 layers, d = 12,288 model width`."""
    used = set(LETTER.findall(" ".join(part.formula for _, part in node.walk()))) & letters.keys()
    known = list(NAMES)
    in_order = sorted(used, key=lambda letter: (known.index(letter[0]) if letter[0] in NAMES else len(known), list(letters).index(letter)))
    return ", ".join(f"{letter} = {_amount(letters[letter])}{_named(letter)}" for letter in in_order)


def _amount(value: Any) -> str:
    return integer(value) if isinstance(value, int | float) else "an array"


def _named(letter: str) -> str:
    """What a letter stands for; one without a name stands for itself."""
    name = NAMES.get(letter[0])
    return f" {name}{_of_kind(letter)}" if name else _of_kind(letter)


def _of_kind(letter: str) -> str:
    kind = letter.partition("_")[2]
    return f" ({kind})" if kind else ""


def block_labels(shape: Shape[int]) -> dict[str, str]:
    """How the blocks are called, with the number of their layers: `block × 96`."""
    return {path: f"{path} × {kind.n_layer}" for path, kind in shape.blocks}


def derivation(headline: str, root: Node[Any], letters: Mapping[str, int], notes: list[str]) -> Table:
    """Each leaf with its formula, the numbers put in, and where the formula comes from."""
    sources = list(dict.fromkeys(node.source for _, node in root.leaves() if node.source))
    columns = [
        Column("part"),
        Column("formula", formula, fold=True),
        Column("numbers", formula, fold=True, drop=1, style="dim"),
        Column(root.unit, integer, right=True),
        Column("source", lambda source: f"[{sources.index(source) + 1}]" if source else ""),
    ]
    rows = [[path, node.formula, _with_numbers(node.formula, letters), node.value, node.source] for path, node in root.leaves()]
    rows.append(["total", root.formula, _with_numbers(root.formula, letters), root.value, ""])
    cited = [f"[{number}] {source}" for number, source in enumerate(sources, start=1)]
    return Table(headline, columns, rows, [*cited, *notes], bold=frozenset({len(rows) - 1}))


def _with_numbers(text: str, letters: Mapping[str, int]) -> str:
    return LETTER.sub(lambda letter: str(letters.get(letter[0], letter[0])), text)
