"""The plain form of what a block is made of: its sublayers in order, and the numbers of its mixer."""

from typing import TYPE_CHECKING, Any, Generic, NamedTuple

from gptcalc.symbols import N

if TYPE_CHECKING:
    from gptcalc.spec.model import ModelSpec

MIXER_LETTERS = {"n_head": "h", "n_group": "G", "d_state": "J", "d_head": "Y", "d_conv": "X", "rank": "r", "chunk": "U"}
"""Of a mixer's own sizes, which `spec.mixers` explains."""


class MixerShape(NamedTuple, Generic[N]):
    """A mixer's sizes, by the names that all mixers have in common, and its record for what are no sizes."""

    n_head: N
    n_group: N
    d_state: N
    d_head: N
    d_conv: N
    rank: N
    chunk: N
    own: Any

    @property
    def d_inner(self) -> N:
        """The channels of all heads."""
        return self.n_head * self.d_head

    @property
    def d_keys(self) -> N:
        """The channels of the keys of all groups; queries have as many."""
        return self.n_group * self.d_state


def stack_of(spec: "ModelSpec") -> tuple[tuple[str, ...], ...]:
    """The sublayers of a block, in groups that read the same residual stream.

    >>> from gptcalc.spec.files import load_model
    >>> stack_of(load_model("gpt2")), stack_of(load_model("gptj-6b"))
    ((('attention',), ('mlp',)), (('attention', 'mlp'),))
    """
    latent = "attention" if spec.kv_lora_rank is None else "latent_attention"
    given = {"attention": latent if spec.compressed is None else "compressed_attention"}
    given["mlp"] = "mlp" if spec.n_expert is None else "mlp_beside_experts" if spec.mlp_beside_experts else "experts"
    if spec.composition:
        groups = ((item,) if isinstance(item, str) else item for item in spec.composition)
        return tuple(tuple(given.get(name, name) for name in group) for group in groups)
    mixes = given["attention"] if spec.mixer is None else spec.mixer.kind
    if spec.parallel_residual:
        return ((mixes, given["mlp"]),)
    second = "cross_attention" if spec.cross_attention else "idle_cross_attention" if spec.idle_cross_attention else ""
    return ((mixes,), *(((second,),) if second else ()), (given["mlp"],))
