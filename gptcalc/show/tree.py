"""What every itemised answer shares: the indented rows of a tree, the legend of its letters, and its derivation."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gptcalc.formulas.node import Node
from gptcalc.show.table import Column, Table, formula, integer

NAMES = {
    "L": "layers",
    "d": "model width",
    "H": "heads",
    "K": "key-value heads",
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
    "S": "tokens of a sequence outside tensor parallelism",
    "A": "layers in flight",
}
LETTER = re.compile(r"\b[A-Za-z]\b")


def branches(root: Node[Any], depth: int, labels: Mapping[str, str]) -> Iterator[tuple[str, str, Node[Any]]]:
    """Path, indented label and node of each part down to `depth`, the total last. An only child repeats its parent and is left out."""
    only_children = {f"{path}/{node.parts[0].name}" for path, node in root.walk() if len(node.parts) == 1}
    for path, node in root.walk():
        level = path.count("/") + 1
        if path and level <= depth and path not in only_children:
            yield path, "  " * (level - 1) + labels.get(path, node.name), node
    yield "", "total", root


def legend(letters: Mapping[str, int], node: Node[Any]) -> str:
    """The letters that the tree's formulas use, with their values: `L = 96 layers, d = 12,288 model width`."""
    used = set(LETTER.findall(" ".join(part.formula for _, part in node.walk())))
    return ", ".join(f"{letter} = {integer(letters[letter])} {NAMES[letter]}" for letter in NAMES if letter in used and letter in letters)


def derivation(headline: str, root: Node[Any], letters: Mapping[str, int], notes: list[str]) -> Table:
    """Each leaf with its formula, the numbers put in, and where the formula comes from."""
    columns = [
        Column("part"),
        Column("formula", formula, fold=True),
        Column("numbers", formula, fold=True, drop=1),
        Column(root.unit, integer, right=True),
        Column("source", fold=True, drop=2),
    ]
    rows = [[path, node.formula, _with_numbers(node.formula, letters), node.value, node.source] for path, node in root.leaves()]
    rows.append(["total", root.formula, _with_numbers(root.formula, letters), root.value, ""])
    return Table(headline, columns, rows, notes, bold=frozenset({len(rows) - 1}))


def _with_numbers(text: str, letters: Mapping[str, int]) -> str:
    return LETTER.sub(lambda letter: str(letters[letter[0]]), text)
