"""The passes over memory that pieces of model code make: presets/kernels, whose README.md explains the format."""

from __future__ import annotations

import functools
from typing import Literal

from pydantic import Field

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.spec.catalogue import bundled_folder
from gptcalc.spec.reading import read_text, read_yaml, shown
from gptcalc.spec.record import Record, validated
from gptcalc.spec.runtime import Size, When


class Pass(Record):
    """`count` kernels of `bytes` each, read and written; `kind` and `elements` where memory alone does not bound them."""

    phase: Literal["forward", "backward", "optimizer"]
    kind: str = "pass"
    bytes: Size
    elements: Size | None = None
    count: int = 1
    when: When = ""


class Passes(Record):
    """Which passes over memory the kernels of a code make, forward and backward. presets/kernels."""

    title: str
    source: str
    aligned: bool = False  # its matmuls are padded to sizes that tensor cores like
    grouped: float = Field(default=1.0, gt=0, le=1)  # share of a plain matmul's rate that its grouped one of experts reaches
    pieces: dict[str, list[Pass]]
    optimizers: dict[str, list[Pass]]
    accumulate: list[Pass] = Field(default=[])

    def of(self, name: str) -> list[Pass]:
        """Raises GptcalcError for a piece that is not there."""
        if name not in self.pieces:
            raise GptcalcError(f"no piece named '{name}' in {self.title}", hint=did_you_mean(name, self.pieces))
        return self.pieces[name]


@functools.cache
def load_passes(name: str) -> Passes:
    """The pieces of one file.

    Raises GptcalcError for a malformed file.

    >>> load_passes("pytorch").of("residual")[0].bytes
    '10*N*d'
    """
    path = bundled_folder() / "kernels" / f"{name}.yaml"
    return validated(Passes, read_yaml(read_text(path), shown(path)), shown(path))
