"""The paths of operations, `embedding/token`, `block/mlp/up`, `block moe/mlp/up`, `final_norm`: which part of a model each is in."""

from typing import Literal

Part = Literal["embedding", "block", "head"]


def part_of(path: str) -> Part:
    """The part of a model that an operation is in; what follows the blocks is the head's.

    >>> part_of("embedding/token"), part_of("block moe/mlp/up"), part_of("final_norm")
    ('embedding', 'block', 'head')
    """
    return "embedding" if path.startswith("embedding") else "block" if path.startswith("block") else "head"


def block_of(path: str) -> str:
    """The kind of block that an operation is in, as `block_path` writes it.

    >>> block_of("block moe/mlp/up")
    'block moe'
    """
    return path.partition("/")[0]
