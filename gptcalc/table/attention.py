"""The rows of self-attention in one kind of block: projections, plain or through latents, scores, softmax, mixing.

B sequences of T queries over C keys; the letters of a model's own numbers are in `spec.shape`.
"""

from typing import Any

from gptcalc.choices import Attention
from gptcalc.spec.shape import Shape
from gptcalc.symbols import Factors, N, minimum, product, quotient
from gptcalc.table.operation import SIGMOID, SOFTCAP, SOFTMAX, VASWANI, Operation, Weights, matmul, norm, norm_of

KAPLAN = "Kaplan et al. 2020, arXiv:2001.08361, table 1"
GROUPED = "Ainslie et al. 2023, arXiv:2305.13245: K key-value heads serve H query heads"
LATENT = "DeepSeek-AI 2024 (DeepSeek-V2), arXiv:2405.04434, section 2.1"
ROTARY = 3  # times cosine, times sine, add
CLIP = 2  # minimum, maximum
SOFTPLUS = 3  # exponential, add one, logarithm

PAIRS = {
    "full": f"{KAPLAN}; Chowdhery et al. 2022 (PaLM), arXiv:2204.02311, appendix B: every query meets every key (of its window)",
    "causal": "every query meets the keys up to its own position (and inside its window): what a causal kernel computes",
    "half": "MaxText (from 2025-07) and, without windows, Megatron-LM: half of each square that a query can see",
}


def attention_rows(block: str, s: Shape[N], batch: Any, seq: Any, context: Any, convention: Attention) -> list[Operation[N]]:
    """Every operation of attention in the blocks of one kind, in order of execution.

    An encoder's queries see all keys, and so do those of a decoder's second attention, which reads as many tokens of the encoder.
    """
    rows = _sublayer(f"{block}/attention", s, batch, seq, context, convention if s.switches.causal else "full")
    if s.switches.idle_cross_attention:
        idle = _sublayer(f"{block}/cross_attention", s, batch, seq, context, "full")
        return rows + [row._replace(matmul=(), other=()) for row in idle if row.weights]
    return rows + (_sublayer(f"{block}/cross_attention", s, batch, seq, context, "full") if s.switches.cross_attention else [])


def _sublayer(path: str, s: Shape[N], batch: Any, seq: Any, context: Any, convention: Attention) -> list[Operation[N]]:
    tokens = product((batch, seq))
    c = s.switches
    rows = [] if c.norm_placement in ("output", "mlp_pre") else [norm(f"{path}/norm", c, s.n_layer, tokens, s.d_model)]
    rows += _latent_projections(path, s, tokens) if c.latent else _projections(path, s, tokens)
    rows += _core(path, s, batch, seq, context, convention)
    rows += _gate(path, s, tokens)
    if c.inner_norm:
        rows.append(norm(f"{path}/inner_norm", c, s.n_layer, tokens, s.d_mixed))
    rows.append(matmul(f"{path}/output", s.n_layer, tokens, s.d_mixed, s.d_model, c.attention_output_bias, f"{VASWANI}, section 3.2.2"))
    return [*rows, *close(path, s, tokens)]


def close(path: str, s: Shape[N], tokens: N) -> list[Operation[N]]:
    """How a sublayer ends: its output normalised and scaled, where the model does so, and added to the residual stream."""
    c = s.switches
    after = c.norm_placement in ("sandwich", "output", *(["mlp_sandwich"] if path.endswith("/mlp") else []))
    add: Operation[N] = Operation(
        f"{path}/residual", "add", s.n_layer, other=((1 + c.residual_scaled, tokens, s.d_model),), source=f"{VASWANI}, section 3.1"
    )
    return [norm(f"{path}/output_norm", c, s.n_layer, tokens, s.d_model), add] if after else [add]


def _projections(path: str, s: Shape[N], tokens: N) -> list[Operation[N]]:
    c = s.switches
    widths = (("query", s.d_attention, f"{VASWANI}, section 3.2.2"), ("key", s.d_kv, GROUPED), ("value", s.d_value, GROUPED))
    rows = []
    for name, width, source in widths:
        bias = c.attention_bias and (name != "key" or c.key_bias)
        row = matmul(f"{path}/{name}", s.n_layer, tokens, s.d_model, width, bias, source)
        each = CLIP * c.qkv_clipped + (name == "value" and c.value_scaled)
        rows.append(row._replace(other=(*row.other, (each, tokens, width))) if each else row)
    rotary = [_rotary(path, s, tokens, s.n_head + s.n_kv_head)] if c.position == "rotary" else []
    norms = [] if c.qk_norm == "none" else [_qk_norm(f"{path}/{name}_norm", s, tokens, name) for name in ("query", "key")]
    return [*rows, *rotary, *norms] if c.qk_norm_after_rotary else [*rows, *norms, *rotary]


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


def _latent_projections(path: str, s: Shape[N], tokens: N) -> list[Operation[N]]:
    """Down to the latents and up again to all heads. R channels of each key bypass the latent: one rotated key that all heads share."""
    L, d, H, R, c = s.n_layer, s.d_model, s.n_head, s.d_rotary, s.switches
    unrotated_and_value = s.d_head - R + s.d_head_value
    if c.latent_query:
        rows = [
            matmul(f"{path}/query_down", L, tokens, d, s.q_lora_rank, c.attention_bias, LATENT),
            norm(f"{path}/query_norm", c, L, tokens, s.q_lora_rank),
            matmul(f"{path}/query_up", L, tokens, s.q_lora_rank, s.d_attention, False, LATENT),
        ]
    else:
        rows = [matmul(f"{path}/query", L, tokens, d, s.d_attention, False, LATENT)]
    return [
        *rows,
        matmul(f"{path}/key_value_down", L, tokens, d, s.kv_lora_rank + R, c.attention_bias, LATENT),
        norm(f"{path}/key_value_norm", c, L, tokens, s.kv_lora_rank),
        matmul(f"{path}/key_value_up", L, tokens, s.kv_lora_rank, product((H, unrotated_and_value)), False, LATENT),
        _rotary(path, s, tokens, H + 1),
    ]


def _rotary(path: str, s: Shape[N], tokens: N, heads: Any) -> Operation[N]:
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
    if s.switches.window_chunks and isinstance(seq, int) and seq == 1:
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
