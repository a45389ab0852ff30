"""The operation table: what one forward pass of a model does, row by row. Each architectural fact stands here, once.

Parameters are the sum of one column and FLOPs of another; memory and time read the same rows. B sequences of T queries over C keys:
C = T in training and prefill, T = 1 in decode. The letters of a model's own numbers are in `spec.shape`.
"""

from typing import Any, Generic, Literal, NamedTuple, cast

from gptcalc.choices import Attention
from gptcalc.spec.shape import Shape, Switches
from gptcalc.symbols import Factors, N, minimum, product

VASWANI = "Vaswani et al. 2017, arXiv:1706.03762"
KAPLAN = "Kaplan et al. 2020, arXiv:2001.08361, table 1"

# Arithmetic per element of what is no matmul, as the NumPy reference executes it: one FLOP for each array operation and element.
ACTIVATION = {
    "relu": (1, "max(x, 0)"),
    "silu": (4, "x / (1 + exp(-x)); Elfwing et al. 2017, arXiv:1702.03118"),
    "gelu": (5, "x/2 * (1 + erf(x / sqrt 2)); Hendrycks & Gimpel 2016, arXiv:1606.08415"),
    "gelu_tanh": (9, "x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))); Hendrycks & Gimpel 2016, arXiv:1606.08415"),
}
SOFTMAX = 5  # maximum, subtract, exponential, sum, divide
ROTARY = 3  # times cosine, times sine, add


class Operation(NamedTuple, Generic[N]):
    """One row. `weights` are the tensors it owns; `matmul` and `other` multiply and add up to the FLOPs of one run.

    For kind "matmul" the factors of `matmul` are 2, m, k, n: an [m, k] input times a [k, n] weight.
    """

    path: str
    kind: Literal["lookup", "add", "matmul", "norm", "rotary", "scores", "softmax", "mix", "activation", "product"]
    runs: Any
    weights: tuple[tuple[str, Factors], ...] = ()
    matmul: Factors = ()
    other: tuple[Factors, ...] = ()
    source: str = ""

    @property
    def matmul_flops(self) -> N:
        return cast(N, product((self.runs, *self.matmul)) if self.matmul else 0)

    @property
    def other_flops(self) -> N:
        first, *rest = (product((self.runs, *term)) for term in self.other)
        return cast(N, sum(rest, first))


def operations(s: Shape[N], batch: Any, seq: Any, context: Any, attention: Attention = "full") -> list[Operation[N]]:
    """Every operation of one forward pass, in order of execution; rows of `block/...` run once a layer.

    Source: the papers and implementations named in each row.

    >>> from gptcalc.spec.files import load_model
    >>> from gptcalc.spec.shape import shape_of
    >>> rows = operations(shape_of(load_model("gpt2")), batch=1, seq=1024, context=1024)
    >>> sum(row.matmul_flops for row in rows)
    291648307200
    """
    tokens = product((batch, seq))
    return [
        *_embedding(s, tokens),
        *_attention(s, batch, seq, context, tokens, attention),
        *_mlp(s, tokens),
        *_head(s, tokens),
    ]


def _embedding(s: Shape[N], tokens: N) -> list[Operation[N]]:
    V, P, e, d = s.vocab_size, s.n_position, s.d_embedding, s.d_model
    rows: list[Operation[N]] = [Operation("embedding/token", "lookup", 1, (("weight", (V, e)),), source=f"{VASWANI}, section 3.4")]
    if s.switches.position == "learned":
        source = "Radford et al. 2018 (GPT-1), section 4.1: learned positions"
        rows.append(Operation("embedding/position", "lookup", 1, (("weight", (P, d)),), other=((tokens, d),), source=source))
    if s.switches.projected_embedding:
        rows.append(_matmul("embedding/project_in", 1, tokens, e, d, False, "Zhang et al. 2022 (OPT), arXiv:2205.01068; 350M as released"))
    return rows


def _attention(s: Shape[N], batch: Any, seq: Any, context: Any, tokens: N, attention: Attention) -> list[Operation[N]]:
    L, d, H, K, Q, R = s.n_layer, s.d_model, s.n_head, s.n_kv_head, s.d_attention, s.d_rotary
    c = s.switches
    grouped = "Ainslie et al. 2023, arXiv:2305.13245: K key-value heads serve H query heads"
    square = (batch, seq, context)
    pairs = _pairs(s, batch, seq, context, attention)
    rows = [
        _norm("block/attention/norm", c, L, tokens, d),
        _matmul("block/attention/query", L, tokens, d, Q, c.attention_bias, f"{VASWANI}, section 3.2.2"),
        _matmul("block/attention/key", L, tokens, d, s.d_kv, c.attention_bias, grouped),
        _matmul("block/attention/value", L, tokens, d, s.d_kv, c.attention_bias, grouped),
    ]
    if c.position == "rotary":
        rows.append(
            Operation("block/attention/rotary", "rotary", L, other=((ROTARY, tokens, H + K, R),), source="Su et al. 2021, arXiv:2104.09864")
        )
    rows += [
        Operation("block/attention/scores", "scores", L, matmul=(*pairs, Q), other=((*square, H),), source=PAIRS[attention]),
        Operation("block/attention/softmax", "softmax", L, other=((SOFTMAX, *square, H),), source=f"{VASWANI}, equation 1"),
        Operation("block/attention/mix", "mix", L, matmul=(*pairs, Q), source=PAIRS[attention]),
        _matmul("block/attention/output", L, tokens, Q, d, c.attention_output_bias, f"{VASWANI}, section 3.2.2"),
        Operation("block/attention/residual", "add", L, other=((tokens, d),), source=f"{VASWANI}, section 3.1"),
    ]
    return rows


PAIRS = {
    "full": f"{KAPLAN}; Chowdhery et al. 2022 (PaLM), arXiv:2204.02311, appendix B: every query meets every key",
    "causal": "every query meets the keys up to its own position (and inside its window): what a causal kernel computes",
    "half": "Megatron-LM and MaxText (from 2025-07): half of the full square",
}


def _pairs(s: Shape[N], batch: Any, seq: Any, context: Any, attention: Attention) -> Factors:
    """Factors of twice the number of query-key pairs: a multiply and an add for each channel of each pair.

    The last of C positions is the last of the T queries, so query number i sees C - T + i keys.
    """
    if attention == "full":
        return (2, batch, seq, context)
    if attention == "half":
        return (batch, seq, 2 * context - seq)
    if not s.switches.windowed:
        return (batch, seq, 2 * context - seq + 1)

    def twice_seen_up_to(n: Any) -> Any:
        inside = minimum(s.sliding_window, n)
        return inside * (inside + 1) + 2 * (n - inside) * s.sliding_window

    return (batch, twice_seen_up_to(context) - twice_seen_up_to(context - seq))


def _mlp(s: Shape[N], tokens: N) -> list[Operation[N]]:
    L, d, F = s.n_layer, s.d_model, s.d_ff
    c = s.switches
    cost, source = ACTIVATION[c.activation]
    rows: list[Operation[N]] = []
    if not c.shared_norm:
        rows.append(_norm("block/mlp/norm", c, L, tokens, d))
    if c.gated:
        rows.append(_matmul("block/mlp/gate", L, tokens, d, F, c.mlp_bias, "Shazeer 2020, arXiv:2002.05202: gated linear units"))
    rows += [
        _matmul("block/mlp/up", L, tokens, d, F, c.mlp_bias, f"{VASWANI}, section 3.3"),
        Operation("block/mlp/activation", "activation", L, other=((cost, tokens, F),), source=source),
    ]
    if c.gated:
        rows.append(Operation("block/mlp/product", "product", L, other=((tokens, F),), source="Shazeer 2020, arXiv:2002.05202"))
    rows += [
        _matmul("block/mlp/down", L, tokens, F, d, c.mlp_bias, f"{VASWANI}, section 3.3"),
        Operation("block/mlp/residual", "add", L, other=((tokens, d),), source=f"{VASWANI}, section 3.1"),
    ]
    return rows


def _head(s: Shape[N], tokens: N) -> list[Operation[N]]:
    V, e, d = s.vocab_size, s.d_embedding, s.d_model
    c = s.switches
    rows = [_norm("final_norm", c, 1, tokens, d)] if c.final_norm else []
    if c.projected_embedding:
        rows.append(_matmul("head/project_out", 1, tokens, d, e, False, "Zhang et al. 2022 (OPT), arXiv:2205.01068; 350M as released"))
    source = "Press & Wolf 2017, arXiv:1608.05859: the token embedding again" if c.tied else "a matrix of its own"
    head = _matmul("head/output", 1, tokens, e, V, c.head_bias, source)
    rows.append(head._replace(weights=head.weights[1:]) if c.tied else head)
    return rows


def _matmul(path: str, runs: Any, m: N, k: N, n: N, bias: bool, source: str) -> Operation[N]:
    weights: tuple[tuple[str, Factors], ...] = (("weight", (k, n)),)
    if not bias:
        return Operation(path, "matmul", runs, weights, (2, m, k, n), source=source)
    return Operation(path, "matmul", runs, (*weights, ("bias", (n,))), (2, m, k, n), ((m, n),), source)


def _norm(path: str, c: Switches, runs: Any, rows: N, width: N) -> Operation[N]:
    weights: tuple[tuple[str, Factors], ...] = (("weight", (width,)),) if c.norm_weight else ()
    if c.norm == "rmsnorm":
        # each element: square, sum, divide, weight; each row: divide by the width, add epsilon, square root
        return Operation(
            path, "norm", runs, weights, (), ((3 + c.norm_weight, rows, width), (3, rows)), "Zhang & Sennrich 2019, arXiv:1910.07467"
        )
    if c.norm_bias:
        weights = (*weights, ("bias", (width,)))
    # each element: sum, subtract, square, sum, divide, weight, bias; each row: two divisions by the width, add epsilon, square root
    return Operation(
        path, "norm", runs, weights, (), ((5 + c.norm_weight + c.norm_bias, rows, width), (4, rows)), "Ba et al. 2016, arXiv:1607.06450"
    )
