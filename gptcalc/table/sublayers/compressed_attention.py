"""The rows of DeepSeek V4's attention: a window of keys that are the values too, and beside it one entry for every so many tokens.

Lightly compressed entries overlap, and an indexer chooses those of each query; of heavily compressed ones a query sees all before it.
"""

from typing import Any

from gptcalc.choices import Attention
from gptcalc.errors import GptcalcError
from gptcalc.spec.shape import Shape
from gptcalc.symbols import Factors, N, minimum, product, quotient
from gptcalc.table.operation import SOFTMAX, Operation, Weights, matmul, norm, norm_of
from gptcalc.table.sublayers import Kept, Run, attention

V4 = "DeepSeek-AI 2026 (DeepSeek V4), as released: compressed attention"
ROTARY = 3  # times cosine, times sine, add
POOLED = SOFTMAX + 3  # a bias, a softmax over the tokens of an entry, a product and a sum


LABEL = "attention"


def rows(path: str, s: Shape[Any], run: Run) -> list[Operation[Any]]:
    """Every operation, in order of execution."""
    tokens: Any = product((run.batch, run.seq))
    made = entries(path, s, run.batch, run.seq, run.context, run.attention)
    return [*projections(path, s, tokens), *made, *attention.products(path, s, run), *output(path, s, tokens)]


def state(s: Shape[Any]) -> tuple[Kept, ...]:
    """One key of each token of the window, which is its value. What else there is grows with the entries: see `footprint.serving`."""
    return (Kept(token=s.d_kv, window=s.sliding_window),)


def divided(s: Shape[Any], t: Any) -> Shape[Any]:
    """Not known for more than one rank.

    Raises GptcalcError for those.
    """
    if not (isinstance(t, int) and t == 1):
        raise GptcalcError("how compressed attention is divided among tensor-parallel ranks is not known", hint="leave out --tp")
    return s


def width(s: Shape[Any]) -> Any:
    """Queries, the key, and what they are mixed to."""
    return s.d_attention + s.d_kv + s.d_mixed


def projections(path: str, s: Shape[N], tokens: Any) -> list[Operation[N]]:
    """Queries by way of a latent, each head normalised; one key of a token, which is its value."""
    L, d, c = s.n_layer, s.d_model, s.switches
    return [
        matmul(f"{path}/query_down", L, tokens, d, s.q_lora_rank, False, V4),
        norm(f"{path}/query_norm", c, L, tokens, s.q_lora_rank),
        matmul(f"{path}/query_up", L, tokens, s.q_lora_rank, s.d_attention, False, V4),
        norm_of(f"{path}/head_norm", "rmsnorm", L, product((tokens, s.n_head)), s.d_head, ()),
        matmul(f"{path}/key", L, tokens, d, s.d_kv, False, V4),
        norm(f"{path}/key_norm", c, L, tokens, s.d_kv),
        Operation(f"{path}/rotary", "rotary", L, other=((ROTARY, tokens, s.n_head + s.n_kv_head, s.d_rotary),), source=V4),
    ]


def entries(path: str, s: Shape[N], batch: Any, seq: Any, context: Any, convention: Attention) -> list[Operation[N]]:
    """What makes the entries, what chooses among them, and the products of queries with them."""
    if not s.switches.compressed:
        return []
    rows = _pooled(f"{path}/compressor", s, batch, seq, s.d_head)
    pairs = _pairs(s, batch, seq, context, convention)
    if s.switches.indexer:
        rows += _indexer(f"{path}/indexer", s, batch, seq, _all(s, batch, seq, context, convention))
    core: Operation[N] = Operation(f"{path}/compressor/core", "index", s.n_layer, matmul=(*pairs, 2 * s.d_attention), source=V4)
    return [*rows, core]


def output(path: str, s: Shape[N], tokens: Any) -> list[Operation[N]]:
    """Turned back by each query's position; groups of heads to a latent of each, and all latents together to the width of the model."""
    L, latents = s.n_layer, product((s.n_output_group, s.d_output_latent))
    weights: Weights = (("weight", (s.d_mixed, s.d_output_latent)),)
    grouped: Operation[N] = Operation(
        f"{path}/output_down",
        "matmul",
        L,
        weights,
        (2, tokens, s.d_mixed, s.d_output_latent),
        source=f"{V4}: each group by itself",
    )
    back: Operation[N] = Operation(f"{path}/rotary_back", "rotary", L, other=((ROTARY, tokens, s.n_head, s.d_rotary),), source=V4)
    return [back, grouped, matmul(f"{path}/output", L, tokens, latents, s.d_model, False, V4)]


def _pooled(path: str, s: Shape[N], batch: Any, seq: Any, width: N) -> list[Operation[N]]:
    """Entries of `width` channels from every `rate` tokens, of twice as many where neighbours overlap."""
    L, d, r, tokens = s.n_layer, s.d_model, s.compression, product((batch, seq))
    both = 2 * width if s.switches.indexer else width
    bias: Weights = (("weight", (r, both)),)
    made = product((batch, quotient(seq, r)[0]))
    return [
        matmul(f"{path}/key", L, tokens, d, both, False, V4),
        matmul(f"{path}/gate", L, tokens, d, both, False, V4),
        Operation(f"{path}/position", "add", L, bias, other=((POOLED, tokens, both),), source=V4),
        norm(f"{path}/norm", s.switches, L, made, width),
        Operation(f"{path}/rotary", "rotary", L, other=((ROTARY, made, s.d_rotary),), source=V4),
    ]


def _indexer(path: str, s: Shape[N], batch: Any, seq: Any, pairs: Factors) -> list[Operation[N]]:
    L, n, i, tokens = s.n_layer, s.n_index_head, s.d_index_head, product((batch, seq))
    heads = product((n, i))
    return [
        *_pooled(path, s, batch, seq, i),
        matmul(f"{path}/query", L, tokens, s.q_lora_rank, heads, False, V4),
        matmul(f"{path}/weights", L, tokens, s.d_model, n, False, V4),
        Operation(f"{path}/scores", "index", L, matmul=(*pairs, heads), source=V4),
    ]


def _pairs(s: Shape[N], batch: Any, seq: Any, context: Any, convention: Attention) -> Factors:
    """Factors of twice the number of queries times the entries that they read: all that are ready, or as many as an indexer chooses."""
    if not s.switches.indexer:
        return _all(s, batch, seq, context, convention)
    r, most = s.compression, s.n_chosen
    if convention == "full":
        return (2, batch, seq, minimum(most, quotient(context, r)[0]))

    def twice_up_to(n: Any) -> Any:
        inside = minimum(n, most * r - 1)
        return _twice_ready(inside, r) + 2 * most * (n - inside)

    return (batch, twice_up_to(context) - twice_up_to(context - seq))


def _all(s: Shape[N], batch: Any, seq: Any, context: Any, convention: Attention) -> Factors:
    r = s.compression
    if convention == "full":
        return (2, batch, seq, quotient(context, r)[0])
    return (batch, _twice_ready(context, r) - _twice_ready(context - seq, r))


def _twice_ready(n: Any, r: Any) -> Any:
    """Twice the sum of k // r for k from 1 to n: the entries that are ready for the query of token k."""
    whole, rest = quotient(n, r)
    return r * whole * (whole - 1) + 2 * whole * (rest + 1)
