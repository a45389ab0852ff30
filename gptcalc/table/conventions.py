"""One training step of one model as different papers would count it, so that their numbers can be compared.

N parameters, D = B·T tokens, in the letters of `spec.shape`.
"""

from typing import NamedTuple

from gptcalc.shown import Rows
from gptcalc.spec.files import as_model
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.options import whole_number
from gptcalc.spec.shape import Shape, shape_of
from gptcalc.table.flops import flops
from gptcalc.table.params import language_model, views

KAPLAN = "Kaplan et al. 2020, arXiv:2001.08361"
PALM = "Chowdhery et al. 2022, arXiv:2204.02311, appendix B"
MEGATRON_2021 = "Narayanan et al. 2021, arXiv:2104.04473, equation 3"
MEGATRON_2022 = "Korthikanti et al. 2022, arXiv:2205.05198, appendix A"
MEGATRON_LM = "Megatron-LM: min(W, T)/2 keys a query (NVIDIA-NeMo/Megatron-Bridge, issue 3029)"
MAXTEXT = "MaxText from 2025-07"
PALM_WINDOWED = "(6*N + 12*H*Q*(keys that a query sees, over all layers))*D"


class Convention(NamedTuple):
    """`flops` is None where the formula does not describe this architecture; `note` then says why."""

    name: str
    formula: str
    flops: int | None
    note: str
    source: str


def conventions(model: ModelSpec | str, *, batch: int = 1, seq: int | None = None) -> Rows[Convention]:
    """FLOPs of one training step (forward and backward) of `batch` sequences of `seq` tokens under each named convention.

    Units: FLOP.   Raises: GptcalcError as `flops` does.   Source: in each row.

    >>> {row.name: row.flops for row in conventions("gpt3-175b", batch=1)}["6ND"]
    2145537138622464
    """
    model = as_model(model)
    T = model.usual_seq if seq is None else whole_number("seq", seq)
    s, B = shape_of(model), whole_number("batch", batch)
    L, d, V = s.n_layer, s.d_model, s.vocab_size
    found = views(language_model(model), model)
    N = found["active"]
    bare = N - (found["total"] - found["non_embedding"])
    windowed = any(kind.switches.windowed for _, kind in s.blocks)
    # 12·L·H·Q·T where layers and heads are alike: three passes over scores and mixing, a multiply and an add for each key of a query
    per_token = sum(
        6 * kind.n_layer * (kind.d_attention + kind.d_mixed) * keys
        for _, kind in s.blocks
        for keys in (_keys_of(kind, T), T if kind.switches.cross_attention else 0)
        if kind.has("attention", "latent_attention", "compressed_attention")
    )
    which = "active N, with embeddings" if found["total"] > N else "N with embeddings"
    table = {a: flops(model, batch=B, seq=T, phase="training", attention=a).value for a in ("full", "causal", "half")}
    odd = _why_not_megatron(model)
    # 96·B·T·L·d²·(1 + T/6d + V/16Ld) multiplied out, which keeps it exact
    eq3 = 96 * B * T * L * d**2 + 16 * B * T**2 * L * d + 6 * B * T * V * d
    eq2022 = 72 * B * T * L * d**2 + 12 * B * T**2 * L * d + 6 * B * T * V * d
    names = ("full", "causal", "half")
    pairs = {name: f"the operation table, {text}" for name, text in zip(names, _pairs_as_written(s), strict=True)}
    own = "the sources of its rows"
    rows = [
        ("gptcalc full", pairs["full"], table["full"], "the default here", own),
        ("gptcalc causal", pairs["causal"], table["causal"], "what a causal kernel computes", own),
        ("gptcalc half", pairs["half"], table["half"], "", MAXTEXT if windowed else f"Megatron-LM; {MAXTEXT}"),
        *([("Megatron-LM half", "half of scores and mixing of full", _half_of_pairs(model, B, T), "", MEGATRON_LM)] if windowed else []),
        ("6ND", "6*N*D", 6 * N * B * T, which, f"{KAPLAN}, section 2.1"),
        ("6ND, no embeddings", "6*(N - embeddings)*D", 6 * bare * B * T, "Kaplan's own N", f"{KAPLAN}, section 2.1"),
        ("PaLM", PALM_WINDOWED if windowed else "(6*N + 12*L*H*Q*T)*D", (6 * N + per_token) * B * T, which, PALM),
        ("Megatron 2021", "96*B*T*L*d**2*(1 + T/(6*d) + V/(16*L*d))", None if odd else eq3, odd or "with full recompute", MEGATRON_2021),
        ("Megatron 2022", "72*B*T*L*d**2*(1 + T/(6*d) + V/(12*L*d))", None if odd else eq2022, odd or "without recompute", MEGATRON_2022),
    ]
    return Rows(Convention(*row) for row in rows)


def _keys_of(kind: Shape[int], seq: int) -> int:
    """The most keys of one query: a window's, or as many as an indexer chooses."""
    return min(seq, kind.sliding_window) if kind.switches.windowed else min(seq, kind.n_chosen) if kind.switches.indexed else seq


def _pairs_as_written(s: Shape[int]) -> tuple[str, str, str]:
    """The pairs of a sequence that each convention of attention counts, in the layers of every kind."""
    chunks = {kind.switches.window_chunks for _, kind in s.blocks if kind.switches.windowed}
    if not chunks:
        return "T·T pairs", "T·(T+1)/2 pairs", "T²/2 pairs"
    inside = " and ".join("chunks of W" if chunk else "windows of W" for chunk in sorted(chunks))
    halves = " and ".join("W²/2 a chunk" if chunk else "T·W - W²/2" for chunk in sorted(chunks))
    alike = all(kind.switches.windowed for _, kind in s.blocks)
    if alike:
        return f"T·min(T, W) pairs in {inside}", f"the pairs inside {inside}", f"{halves} pairs"
    return (
        f"T·T pairs, T·min(T, W) in {inside}",
        f"T·(T+1)/2 pairs, those inside {inside}",
        f"T²/2 pairs, {halves} in {inside}",
    )


def _half_of_pairs(model: ModelSpec, batch: int, seq: int) -> int:
    """A training step with half of the pairs of "full" in causal layers, windows included."""
    total = 0
    causal = {path for path, kind in shape_of(model).blocks if kind.switches.causal}
    for path, leaf in flops(model, batch=batch, seq=seq, phase="training").matmul.leaves():
        _, block, *rest = path.split("/")
        total += leaf.value // 2 if block in causal and rest in (["attention", "scores"], ["attention", "mix"]) else leaf.value
    return total


def _why_not_megatron(model: ModelSpec) -> str:
    s = shape_of(model)
    reasons = {
        "its attention has windows": s.switches.windowed,
        "an indexer chooses its keys": s.switches.indexed,
        "its blocks are not attention and an MLP": any(kind.mixer is not None for _, kind in s.blocks),
        "its layers differ": bool(s.kinds),
        "its MLP is experts": s.switches.experts,
        "its MLP is not two matrices of width 4d": s.switches.gated or s.d_ff != 4 * s.d_model,
        "its keys and values are not d wide": (s.d_kv, s.d_value) != (s.d_model, s.d_model),
        "its queries are not d wide": s.d_attention != s.d_model,
        "its keys and values come from latents": s.switches.latent,
        "its embedding is not d wide": s.d_embedding != s.d_model,
    }
    return "; ".join(reason for reason, holds in reasons.items() if holds)
