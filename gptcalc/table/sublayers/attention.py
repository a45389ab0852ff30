"""Self-attention: projections, scores, softmax, mixing.

B sequences of T queries over C keys; the letters of a model's own numbers are in `spec.shape`.
"""

from typing import Any

from gptcalc.choices import Attention
from gptcalc.spec.shape import Shape
from gptcalc.symbols import Factors, N, is_one, maximum, minimum, product, quotient
from gptcalc.table.operation import SIGMOID, SOFTCAP, SOFTMAX, VASWANI, Operation, Weights, matmul, norm, norm_of
from gptcalc.table.sublayers import Kept, Run, indexer

KAPLAN = "Kaplan et al. 2020, arXiv:2001.08361, table 1"
GROUPED = "Ainslie et al. 2023, arXiv:2305.13245: K key-value heads serve H query heads"
ROTARY = 3  # times cosine, times sine, add
SILU = 4  # as in `mlp.ACTIVATION`
GATED_NORM = "SK Telecom 2026 (A.X K2), as released: gates of norms and of attention"
DIFFERENTIAL = "Ye et al. 2024 (Differential Transformer), arXiv:2410.05258; as transformers executes it"
DOGE = "Shi et al. 2024 (Doge), arXiv:2412.11834, as released"
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
    chosen = indexer.rows_of(path, s, run._replace(attention=convention)) if s.switches.indexer else []
    return [*projections(path, s, product((run.batch, run.seq))), *chosen, *core(path, s, run._replace(attention=convention))]


def state(s: Shape[Any]) -> tuple[Kept, ...]:
    """Keys and values of every token that can still be seen: of the kv heads, not the heads. An encoder keeps none, nor
    do layers that read the keys of others; an indexer has a key of each token.

    Source: Shazeer 2019, arXiv:1911.02150.
    """
    if s.switches.shares_keys or not s.switches.causal:
        return ()
    return (Kept(token=indexer.with_key(s, s.d_kv + s.d_value), window=s.sliding_window if s.switches.windowed else None),)


def divided(s: Shape[Any], t: Any) -> Shape[Any]:
    """Heads, and heads of keys and values as far as there are any: where ranks are more, each of these stands on several."""
    heads, kv = s.n_head // t, maximum(s.n_kv_head // t, 1)
    widths = {"d_attention": heads * s.d_head, "d_kv": kv * s.d_head, "d_value": kv * s.d_head_value, "d_mixed": heads * s.d_head_value}
    return s._replace(n_head=heads, n_kv_head=kv, **widths)


def width(s: Shape[Any]) -> Any:
    """Queries, keys, values, and what they are mixed to."""
    return s.d_attention + s.d_kv + s.d_value + s.d_mixed


def products(path: str, s: Shape[Any], run: Run) -> list[Operation[Any]]:
    """Scores, softmax and mixing."""
    return _core(path, s, run.batch, run.seq, run.context, run.attention)


def core(path: str, s: Shape[N], run: Run) -> list[Operation[N]]:
    """From queries, keys and values to what attention puts out."""
    tokens = product((run.batch, run.seq))
    found = [*_masks(path, s, run), *_core(path, s, run.batch, run.seq, run.context, run.attention), *_gate(path, s, tokens)]
    if s.switches.differential:
        found += _difference(path, s, tokens)
    if s.switches.inner_norm:
        found.append(norm(f"{path}/inner_norm", s.switches, s.n_layer, tokens, s.d_mixed))
    bias = s.switches.attention_output_bias
    return [*found, matmul(f"{path}/output", s.n_layer, tokens, s.d_mixed, s.d_model, bias, f"{VASWANI}, section 3.2.2")]


def projections(path: str, s: Shape[N], tokens: N) -> list[Operation[N]]:
    c = s.switches
    widths = (("query", s.d_attention, f"{VASWANI}, section 3.2.2"), ("key", s.d_kv, GROUPED), ("value", s.d_value, GROUPED))
    own = 1 if c.shares_keys else 2 if c.keys_are_values else 3
    rows = []
    for name, width, source in widths[:own]:
        bias = c.attention_bias and (name != "key" or c.key_bias)
        row = matmul(f"{path}/{name}", s.n_layer, tokens, s.d_model, width, bias, source)
        each = CLIP * c.qkv_clipped + (name == "value" and c.value_scaled)
        rows.append(row._replace(other=(*row.other, (each, tokens, width))) if each else row)
    turned = [rotary(path, s, tokens, s.n_head + (0 if c.shares_keys else s.n_kv_head))] if c.position == "rotary" else []
    names = ("query",) if c.shares_keys else ("query", "key")
    norms = [] if c.qk_norm == "none" else [_qk_norm(f"{path}/{name}_norm", s, tokens, name) for name in names]
    if c.value_norm and not c.shares_keys:
        source = "Gemma Team 2026 (Gemma 4), as released: values are normalised"
        rows.append(
            norm_of(f"{path}/value_norm", "rmsnorm", s.n_layer, product((tokens, s.n_kv_head)), s.d_head_value, ())._replace(source=source)
        )
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
    if c.differential:  # the same scores, once for each half of the values
        pairs = (*pairs, 2)
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
    if gate == "latent":  # of the matrix that makes the queries too
        return [Operation(f"{path}/gate", "product", s.n_layer, other=((SIGMOID + 1, tokens, s.d_mixed),), source=GATED_NORM)]
    width, cost = {"head": (s.n_head, SOFTPLUS), "head_sigmoid": (s.n_head, SIGMOID)}.get(gate, (s.d_mixed, SIGMOID))
    row = matmul(f"{path}/gate", s.n_layer, tokens, s.d_model, width, False, "Qiu et al. 2025, arXiv:2505.06708: gated attention")
    if gate == "channel_biased":
        row = row._replace(weights=(*row.weights, ("bias", (s.n_head,))))
    return [row._replace(other=((cost + (gate == "channel_biased"), tokens, width), (tokens, s.d_mixed)))]


def _difference(path: str, s: Shape[N], tokens: N) -> list[Operation[N]]:
    """What one half of the heads puts out less what the other does, weighed; then a norm without a weight of each pair of heads."""
    L, pairs = s.n_layer, product((tokens, s.n_head // 2 if isinstance(s.n_head, int) else s.n_head))
    vectors: Weights = tuple((f"lambda_{name}", (s.d_head,)) for name in ("q1", "k1", "q2", "k2"))
    return [
        Operation(f"{path}/difference", "product", L, vectors, other=((2, tokens, s.d_mixed),), source=DIFFERENTIAL),
        norm_of(f"{path}/pair_norm", "rmsnorm", L, pairs, 2 * s.d_head_value, ()),
    ]


def _masks(path: str, s: Shape[N], run: Run) -> list[Operation[N]]:
    """For each key and each key-value head one number of its values, over all keys again at each step."""
    if not s.switches.value_masks:
        return []
    keys: Any = product((run.batch, run.context))
    row: Operation[N] = matmul(f"{path}/value_masks", s.n_layer, keys, s.d_kv, s.n_kv_head, s.switches.attention_bias, DOGE)
    return [row._replace(weights=(*row.weights, ("scale", (s.n_kv_head,))), other=(*row.other, (SOFTPLUS + 2, keys, s.n_kv_head)))]


def _widest(s: Shape[N], seq: Any, context: Any) -> Any:
    """The most keys that a query sees; of one query alone, in a chunk, those up to its own position."""
    if not s.switches.windowed:
        return minimum(s.n_chosen, context) if s.switches.indexed else context
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

    if not s.switches.windowed and not s.switches.indexed:
        return indexer.all_pairs(batch, seq, context, convention)

    def twice_seen_up_to(n: Any) -> Any:
        W = s.sliding_window if s.switches.windowed else s.n_chosen
        if s.switches.window_chunks:
            chunks, rest = quotient(n, W)
            return chunks * W * beside(W) + rest * beside(rest)
        inside = minimum(W, n)
        if s.switches.index_blocks:  # all but one of the blocks whole, and of a query's own the keys up to it
            blocks, rest = quotient(n - inside, s.n_index_block)
            whole, own = W - s.n_index_block, s.n_index_block
            return inside * beside(inside) + 2 * (n - inside) * whole + blocks * own * beside(own) + rest * beside(rest)
        return inside * beside(inside) + 2 * (n - inside) * W

    return (batch, twice_seen_up_to(context) - twice_seen_up_to(context - seq))
