"""What a block is made of: each sublayer is one file, NAME.py, with the same functions, and the name is what `ModelSpec` calls it.

`rows` are its operations, `state` is what it keeps for a sequence, `divided` its share on one tensor-parallel rank, `width` the channels
of a token that it holds at once. Norms before and after a sublayer and its residual sum are the block's, in `table.operations`.
"""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Any, NamedTuple, Protocol, cast

from gptcalc.choices import Attention
from gptcalc.spec.shape import Shape
from gptcalc.table.operation import Operation


class Run(NamedTuple):
    """B sequences of T queries over C keys; `decode` where the T tokens follow what is kept of earlier ones, one at a time."""

    batch: Any
    seq: Any
    context: Any
    attention: Attention
    decode: bool = False


class Kept(NamedTuple):
    """What one layer keeps of one sequence.

    `token` elements for each token that can still be seen (at most `window` of them), and `sequence` elements however long it is; these
    are in fp32 whatever the model is where `fp32` says so.
    """

    token: Any = 0
    window: Any = None
    sequence: Any = 0
    fp32: bool = False


class Sublayer(Protocol):
    LABEL: str
    """The part of a path that its rows stand under."""

    def rows(self, path: str, s: Shape[Any], run: Run) -> list[Operation[Any]]: ...

    def state(self, s: Shape[Any]) -> tuple[Kept, ...]: ...

    def divided(self, s: Shape[Any], t: Any) -> Shape[Any]: ...

    def width(self, s: Shape[Any]) -> Any: ...


@functools.cache
def sublayer(name: str) -> Sublayer:
    """The file of a sublayer.

    >>> sublayer("latent_attention").LABEL
    'attention'
    """
    return cast(Sublayer, import_module(f"gptcalc.table.sublayers.{name}"))


def sublayers_of(s: Shape[Any]) -> list[Sublayer]:
    """Those of one kind of block, in order."""
    return [sublayer(name) for group in s.stack for name in group]
