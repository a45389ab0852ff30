"""What may stand in the place of attention: a record of its own sizes for each kind of mixer.

All of them keep a state of one size, whatever the length of the sequence. Their sizes have names in common: h heads of Y channels, each
with a state of J by Y, whose keys and queries come in G groups; a convolution over X tokens before them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import Field, model_validator

from gptcalc.errors import GptcalcError
from gptcalc.spec.record import Record

Size = Annotated[int, Field(ge=1, le=10**6)]


class Sizes(NamedTuple):
    """The sizes of a mixer by the names that all have in common; those that it does not have are zero."""

    n_head: int = 0
    n_group: int = 0
    d_state: int = 0
    d_head: int = 0
    d_conv: int = 0
    rank: int = 0
    chunk: int = 0


M = TypeVar("M", bound=Record)


def _divides(mixer: M, name: str, groups: int) -> M:
    heads: Any = mixer.model_dump()["n_head"]
    if heads % groups:
        raise GptcalcError(f"n_head {heads} is not a multiple of {name} {groups}", hint=f"choose {name} so that it divides n_head")
    return mixer


class DeltaNet(Record):
    """Gated DeltaNet (Yang et al. 2024, arXiv:2412.06464): n_head value heads, whose keys and queries n_key_head heads share."""

    kind: Literal["delta_net"]
    n_head: Size
    n_key_head: Size
    d_head: Size  # of a value
    d_key: Size
    d_conv: Size = 4
    negative: bool = False  # a token may be taken out of the state again: what is learned of it is doubled (OLMo hybrid)

    @model_validator(mode="after")
    def _shared(self) -> DeltaNet:
        return _divides(self, "n_key_head", self.n_key_head)

    @property
    def sizes(self) -> Sizes:
        """The sizes as formulas read them."""
        return Sizes(self.n_head, self.n_key_head, self.d_key, self.d_head, self.d_conv)


Mixer = DeltaNet
