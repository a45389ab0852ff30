"""How much arithmetic: the FLOP columns of the operation table, for a forward pass, a backward pass, a training step or one decoded token.

1 multiply-accumulate is 2 FLOP. The headline counts matmuls, as papers do; all other arithmetic (norms, softmax, activations ...) is a
tree of its own. B sequences, T queries each, over C keys.
"""

from typing import Any, Generic, NamedTuple, get_args

from gptcalc.choices import Attention, Phase, Recompute
from gptcalc.errors import GptcalcError
from gptcalc.node import Leaf, Node, brief, plain, tree
from gptcalc.shown import frame, shown
from gptcalc.spec.files import as_model
from gptcalc.spec.letters import symbolic
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.options import check_word, whole_number
from gptcalc.spec.shape import Shape, shape_of, vary
from gptcalc.symbols import N, Symbol
from gptcalc.table.blocks import in_blocks
from gptcalc.table.operation import Operation
from gptcalc.table.operations import operations

BACKWARD = 2
"""A matmul's backward pass is two matmuls of its size: the gradients of its input and of its other operand (Kaplan et al. 2020, 2.1)."""


@shown
class Flops(NamedTuple, Generic[N]):
    """`matmul` is the headline, split by pass; `other` is the non-matmul arithmetic of the forward pass (None for a backward pass)."""

    matmul: Node[N]
    other: Node[N] | None
    tokens: int

    def to_frame(self) -> Any:
        """A pandas DataFrame of the parts; GptcalcError where pandas is not installed."""
        return frame(self)

    @property
    def value(self) -> N:
        """FLOP of all matmuls."""
        return self.matmul.value

    def __repr__(self) -> str:
        return f"Flops({brief(self.value)} FLOP, {brief(self.tokens)} tokens)"

    def to_dict(self) -> dict[str, Any]:
        value: Any = self.value
        per_token = value / self.tokens
        return self.matmul.to_dict() | {
            "per_token": plain(per_token),
            "non_matmul_forward": self.other.to_dict() if self.other else None,
        }


def flops(
    model: ModelSpec | str,
    *,
    batch: int = 1,
    seq: int | None = None,
    phase: Phase = "forward",
    attention: Attention = "full",
    recompute: Recompute = "none",
    **numbers: Any,
) -> Flops[Any]:
    """FLOPs of `batch` sequences of `seq` tokens (`ModelSpec.usual_seq` where left out), operation by operation.

    phase "decode" is one new token for each sequence, with `seq` keys in all; it sees them all, whatever `attention` says. `recompute`
    is what a training step runs forward again: the attention core ("selective", Korthikanti et al. 2022) or every block ("full").
    `numbers` vary any numeric field of the model as arrays.

    Units: FLOP.   Raises: GptcalcError for sequences that learned positions do not reach, and contradictory options.
    Source: in each leaf.

    >>> flops("gpt2", batch=1, seq=1024).value
    291648307200
    >>> flops("gpt2", batch=1, seq=1024, phase="training").matmul["backward"].value
    583296614400
    """
    model = as_model(model)
    batch, seq = whole_number("batch", batch), whole_number("seq", model.usual_seq if seq is None else seq)
    check(model, seq, phase, attention, recompute)
    queries = 1 if phase == "decode" else seq
    convention: Attention = "full" if phase == "decode" else attention
    B, T, C = (Symbol.letter(letter) for letter in ("B", "T", "C"))
    letters = symbolic(shape_of(model))
    decode = phase == "decode"
    text = operations(letters, B, 1, C, convention, decode=True) if decode else operations(letters, B, T, T, convention)

    def itemised(shape: Shape[Any]) -> list[Node[Any]]:
        table = list(zip(operations(shape, batch, queries, seq, convention, decode=decode), text, strict=True))
        other = [Leaf(a.path, a.other_flops, b.other_flops, a.source) for a, b in table if a.other]
        return [tree(phase, "FLOP", _leaves(table, phase, recompute)), tree("non-matmul, forward", "FLOP", other)]

    nodes = in_blocks(lambda block: itemised(vary(model, **block)), numbers) if numbers else itemised(shape_of(model))
    return Flops(nodes[0], None if phase == "backward" else nodes[1], batch * queries)


def _leaves(table: list[tuple[Operation[Any], Operation[Symbol]]], phase: Phase, recompute: Recompute) -> list[Leaf[Any]]:
    runs = {"forward": 1, "decode": 1, "backward": BACKWARD}
    passes = {phase: runs[phase]} if phase in runs else {"forward": 1, "backward": BACKWARD}
    leaves = [
        Leaf(a.path if len(passes) == 1 else f"{name}/{a.path}", times * a.matmul_flops, times * b.matmul_flops, a.source)
        for name, times in passes.items()
        for a, b in table
        if a.matmul
    ]
    again = {"none": (), "selective": ("scores", "mix"), "full": ("matmul", "scores", "mix", "convolution", "recurrence")}[recompute]
    leaves += [
        Leaf(f"recompute/{a.path}", a.matmul_flops, b.matmul_flops, a.source)
        for a, b in table
        if a.matmul and a.kind in again and a.in_block
    ]
    return leaves


def check(model: ModelSpec, seq: int, phase: str, attention: str, recompute: str) -> None:
    """Raises GptcalcError for what cannot be asked of this model."""
    for name, value, choice in (("phase", phase, Phase), ("attention", attention, Attention), ("recompute", recompute, Recompute)):
        check_word(name, value, get_args(choice))
    if model.position == "learned" and seq > model.n_ctx:
        raise GptcalcError(
            f"{model.name} has learned positions for {model.n_ctx:,} tokens (n_ctx): there is none for token {seq:,}",
            hint=f"use --seq {model.n_ctx} or less, or --set n_ctx={seq} for a model with a longer table",
        )
    if phase == "decode" and any(kind.switches.cross_attention for _, kind in shape_of(model).blocks):
        raise GptcalcError(f"{model.name} has an encoder: decoding one token is not counted for it", hint="use --phase forward")
    if recompute != "none" and phase != "training":
        raise GptcalcError(f"recompute '{recompute}' belongs to phase 'training', not '{phase}'")
