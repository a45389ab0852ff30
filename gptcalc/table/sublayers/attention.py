"""Self-attention: projections, scores, softmax, mixing.

B sequences of T queries over C keys; the letters of a model's own numbers are in `spec.shape`.
"""

from typing import Any

from gptcalc.choices import Attention
from gptcalc.spec.shape import Shape
from gptcalc.symbols import Factors, N, is_one, maximum, minimum, product, quotient
from gptcalc.table.operation import SIGMOID, SOFTCAP, SOFTMAX, VASWANI, Operation, Weights, matmul, norm, norm_of
from gptcalc.table.sublayers import Kept, Run

KAPLAN = "Kaplan et al. 2020, arXiv:2001.08361, table 1"
GROUPED = "Ainslie et al. 2023, arXiv:2305.13245: K key-value heads serve H query heads"
ROTARY = 3  # times cosine, times sine, add
CLIP = 2  # minimum, maximum
SOFTPLUS = 3  # exponential, add one, logarithm

PAIRS = {
    "full": f"{KAPLAN}; Chowdhery et al. 2022 (PaLM), arXiv:2204.02311, appendix B: every query meets every key (of its window)",
    "causal": "every query meets the keys up to its own position (and inside its window): what a causal kernel computes",
    "half": "MaxText (from 2025-07) and, without windows, Megatron-LM: half of each square that a query can see",
}


LABEL = "attention"


def rows(path: str, s: Shape[Any], run: Run) -> list[Operation[Any]]:
    """Every operation, in order of execution. An encoder's queries see all keys."""
    convention = run.attention if s.switches.causal else "full"
    return [*projections(path, s, product((run.batch, run.seq))), *core(path, s, run._replace(attention=convention))]


def state(s: Shape[Any]) -> tuple[Kept, ...]:
    """Keys and values of every token that can still be seen: of the kv heads, not the heads. An encoder keeps none.

    Source: Shazeer 2019, arXiv:1911.02150.
    """
    return (Kept(token=s.d_kv + s.d_value, window=s.sliding_window if s.switches.windowed else None),) if s.switches.causal else ()


def divided(s: Shape[Any], t: Any) -> Shape[Any]:
    """Heads, and heads of keys and values as far as there are any: where ranks are more, each of these stands on several."""
    heads, kv = s.n_head // t, maximum(s.n_kv_head // t, 1)
    widths = {"d_attention": heads * s.d_head, "d_kv": kv * s.d_head, "d_value": kv * s.d_head_value, "d_mixed": heads * s.d_head_value}
    return s._replace(n_head=heads, n_kv_head=kv, **widths)


def width(s: Shape[Any]) -> Any:
    """Queries, keys, values, and what they are mixed to."""
    return s.d_attention + s.d_kv + s.d_value + s.d_mixed


def core(path: str, s: Shape[N], run: Run) -> list[Operation[N]]:
    """From queries, keys and values to what attention puts out."""
    tokens = product((run.batch, run.seq))
    found = [*_core(path, s, run.batch, run.seq, run.context, run.attention), *_gate(path, s, tokens)]
    if s.switches.inner_norm:
        found.append(norm(f"{path}/inner_norm", s.switches, s.n_layer, tokens, s.d_mixed))
    bias = s.switches.attention_output_bias
    return [*found, matmul(f"{path}/output", s.n_layer, tokens, s.d_mixed, s.d_model, bias, f"{VASWANI}, section 3.2.2")]


def projections(path: str, s: Shape[N], tokens: N) -> list[Operation[N]]:
    c = s.switches
    widths = (("query", s.d_attention, f"{VASWANI}, section 3.2.2"), ("key", s.d_kv, GROUPED), ("value", s.d_value, GROUPED))
    rows = []
    for name, width, source in widths:
        bias = c.attention_bias and (name != "key" or c.key_bias)
        row = matmul(f"{path}/{name}", s.n_layer, tokens, s.d_model, width, bias, source)
        each = CLIP * c.qkv_clipped + (name == "value" and c.value_scaled)
        rows.append(row._replace(other=(*row.other, (each, tokens, width))) if each else row)
    turned = [rotary(path, s, tokens, s.n_head + s.n_kv_head)] if c.position == "rotary" else []
    norms = [] if c.qk_norm == "none" else [_qk_norm(f"{path}/{name}_norm", s, tokens, name) for name in ("query", "key")]
    return [*rows, *turned, *norms] if c.qk_norm_after_rotary else [*rows, *norms, *turned]


def _qk_norm(path: str, s: Shape[N], tokens: N, name: str) -> Operation[N]:
    c, heads = s.switches, s.n_head if name == "query" else s.n_kv_head
    if c.qk_norm == "full":
        rows, width = tokens, s.d_attention if name == "query" else s.d_kv
        weight: Factors = (width,)
    else:
        rows, width = product((tokens, heads)), s.d_head
        weight = (heads, width) if c.qk_norm == "heads" else (width,)
    owned: Weights = () if c.qk_norm == "l2" else (("weight", weight), *((("bias", weight),) if c.qk_norm_bias else ()))
    source = "Henry et al. 2020, arXiv:2010.04245; Dehghani et al. 2023, arXiv:2302.05442: queries and keys are normalised"
    return norm_of(path, "rmsnorm" if c.qk_norm == "l2" else c.norm, s.n_layer, rows, width, owned)._replace(source=source)


def rotary(path: str, s: Shape[N], tokens: N, heads: Any) -> Operation[N]:
    return Operation(
        f"{path}/rotary", "rotary", s.n_layer, other=((ROTARY, tokens, heads, s.d_rotary),), source="Su et al. 2021, arXiv:2104.09864"
    )


def _core(path: str, s: Shape[N], batch: Any, seq: Any, context: Any, convention: Attention) -> list[Operation[N]]:
    L, H, c = s.n_layer, s.n_head, s.switches
    square = (batch, seq, _widest(s, seq, context), H)
    pairs = _pairs(s, batch, seq, context, convention)
    each_score = 1 + (c.position == "alibi") + SOFTCAP * c.attention_softcapped  # scaled, biased, capped
    softmax: Operation[N] = Operation(f"{path}/softmax", "softmax", L, other=((SOFTMAX, *square),), source=f"{VASWANI}, equation 1")
    if c.attention_sinks:
        # each row: the larger of maximum and sink; subtract, exponential and add for the sink itself
        softmax = softmax._replace(
            weights=(("sink", (H,)),),
            other=(*softmax.other, (4, batch, seq, H)),
            source=f"{VASWANI}, equation 1; Xiao et al. 2023, arXiv:2309.17453: attention sinks",
        )
    return [
        Operation(f"{path}/scores", "scores", L, matmul=(*pairs, s.d_attention), other=((each_score, *square),), source=PAIRS[convention]),
        softmax,
        Operation(f"{path}/mix", "mix", L, matmul=(*pairs, s.d_mixed), source=PAIRS[convention]),
    ]


def _gate(path: str, s: Shape[N], tokens: N) -> list[Operation[N]]:
    """What attention puts out, times a gate: one for each head, or one for each channel."""
    gate = s.switches.attention_gate
    if gate == "none":
        return []
    width, cost = (s.n_head, SOFTPLUS) if gate == "head" else (s.d_mixed, SIGMOID)
    row = matmul(f"{path}/gate", s.n_layer, tokens, s.d_model, width, False, "Qiu et al. 2025, arXiv:2505.06708: gated attention")
    if gate == "channel_biased":
        row = row._replace(weights=(*row.weights, ("bias", (s.n_head,))))
    return [row._replace(other=((cost + (gate == "channel_biased"), tokens, width), (tokens, s.d_mixed)))]


def _widest(s: Shape[N], seq: Any, context: Any) -> Any:
    """The most keys that a query sees; of one query alone, in a chunk, those up to its own position."""
    if not s.switches.windowed:
        return context
    if s.switches.window_chunks and is_one(seq):
        return quotient(context - 1, s.sliding_window)[1] + 1
    return minimum(s.sliding_window, context)


def _pairs(s: Shape[N], batch: Any, seq: Any, context: Any, convention: Attention) -> Factors:
    """Factors of twice the number of query-key pairs: a multiply and an add for each channel of each pair.

    The last of C positions is the last of the T queries, so query number i sees C - T + i keys. A window or chunk bounds them under every
    convention: "full" counts as many keys for each query as the last one sees, "half" the halves of squares, without their diagonals.
    """
    if convention == "full":
        return (2, batch, seq, _widest(s, seq, context))

    def beside(n: Any) -> Any:
        return n + 1 if convention == "causal" else n

    if not s.switches.windowed:
        return (batch, seq, beside(2 * context - seq))

    def twice_seen_up_to(n: Any) -> Any:
        W = s.sliding_window
        if s.switches.window_chunks:
            chunks, rest = quotient(n, W)
            return chunks * W * beside(W) + rest * beside(rest)
        inside = minimum(W, n)
        return inside * beside(inside) + 2 * (n - inside) * W

    return (batch, twice_seen_up_to(context) - twice_seen_up_to(context - seq))
