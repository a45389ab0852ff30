"""What may stand in the place of attention: a record of its own sizes for each kind of mixer.

All of them keep a state of one size, whatever the length of the sequence. Their sizes have names in common: h heads of Y channels, each
with a state of J by Y, whose keys and queries come in G groups; a convolution over X tokens before them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args

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
    norm_epsilon: float | None = Field(None, gt=0, lt=1)  # of the norm of what it reads out, where it is not the model's

    @model_validator(mode="after")
    def _shared(self) -> DeltaNet:
        return _divides(self, "n_key_head", self.n_key_head)

    @property
    def sizes(self) -> Sizes:
        """The sizes as formulas read them."""
        return Sizes(self.n_head, self.n_key_head, self.d_key, self.d_head, self.d_conv)


class KimiDelta(Record):
    """Kimi Delta Attention (Kimi Team 2025, arXiv:2510.26692): gated DeltaNet whose every channel of a key forgets at a rate of its own."""

    kind: Literal["kimi_delta"]
    n_head: Size
    d_head: Size  # of a query, a key and a value
    d_conv: Size = 4
    rank: Size | None = None  # what forgets and the gate come through so few channels (Kimi Linear); None: straight from the stream
    least: float | None = Field(None, lt=0)  # logarithms of decays are this times a sigmoid (Ling 3), not a softplus

    @property
    def sizes(self) -> Sizes:
        return Sizes(self.n_head, self.n_head, self.d_head, self.d_head, self.d_conv, self.rank or 0)


class Mamba2(Record):
    """Mamba-2 (Dao & Gu 2024, arXiv:2405.21060): a state of d_head by d_state for each head; keys and queries come in n_group groups."""

    kind: Literal["mamba2"]
    n_head: Size
    d_head: Size
    n_group: Size = 1
    d_state: Size
    d_conv: Size = 4
    chunk: Size = 256  # tokens that are read at once
    bias: bool = False  # of the projection in
    output_bias: bool = False
    conv_bias: bool = True
    step_least: float = Field(0.0, ge=0)  # steps are kept above and below these
    step_most: float | None = Field(None, gt=0)
    # Of what heads put out, in each group: times the gate first, or last (Falcon-H1), or no norm at all.
    norm: Literal["gated", "before_gate", "none"] = "gated"

    @model_validator(mode="after")
    def _shared(self) -> Mamba2:
        return _divides(self, "n_group", self.n_group)

    @property
    def sizes(self) -> Sizes:
        return Sizes(self.n_head, self.n_group, self.d_state, self.d_head, self.d_conv, chunk=self.chunk)


class Mamba(Record):
    """Mamba (Gu & Dao 2023, arXiv:2312.00752): a state of d_state for each of n_head channels, which choose their steps through a rank."""

    kind: Literal["mamba"]
    n_head: Size
    d_state: Size = 16
    d_conv: Size = 4
    rank: Size
    bias: bool = False
    conv_bias: bool = True
    # Of step, key and query before they are used: with weights (Jamba), or without (Falcon-Mamba), with an epsilon of their own.
    norms: Literal["none", "weighted", "plain"] = "none"
    norm_epsilon: float | None = Field(None, gt=0, lt=1)

    @property
    def sizes(self) -> Sizes:
        return Sizes(self.n_head, 1, self.d_state, 1, self.d_conv, self.rank)


class ShortConv(Record):
    """A gated short convolution (LFM2): each channel over the last d_conv tokens, between two gates, and no state beside them."""

    kind: Literal["short_conv"]
    d_conv: Size = 3
    bias: bool = False

    @property
    def sizes(self) -> Sizes:
        return Sizes(d_conv=self.d_conv)


Mixer = Annotated[DeltaNet | KimiDelta | Mamba2 | Mamba | ShortConv, Field(discriminator="kind")]

KINDS: tuple[str, ...] = tuple(get_args(one.model_fields["kind"].annotation)[0] for one in get_args(get_args(Mixer)[0]))
"""The names of all mixers, which are those of their files in `table.sublayers` and `reference`."""
