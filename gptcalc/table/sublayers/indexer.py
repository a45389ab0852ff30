"""The rows of an indexer, which scores every key of a token for each query, so that attention reads the best of them alone."""

from typing import Any

from gptcalc.choices import Attention
from gptcalc.spec.shape import Shape
from gptcalc.symbols import Factors, N, product
from gptcalc.table.operation import Operation, matmul, norm_of
from gptcalc.table.sublayers import Run

INDEXER = "DeepSeek-AI 2025 (DeepSeek V3.2), section 2.1: an indexer chooses the keys of each query"
BLOCKS = "MiniMax 2026 (MiniMax M3), as released: an indexer chooses blocks of keys"
ROTARY = 3  # times cosine, times sine, add
SCORED = 2  # times the scale of a head's width, kept above zero


def rows_of(path: str, s: Shape[Any], run: Run) -> list[Operation[Any]]:
    """Every operation of the indexer of one attention."""
    return indexer_rows(path, s, run.batch, run.seq, run.context, all_pairs(run.batch, run.seq, run.context, run.attention))


def with_key(s: Shape[N], kept: N) -> N:
    """What is kept of a token, with the indexer's key where a layer has an indexer of its own."""
    return kept + s.d_index_head if s.switches.indexer else kept


def all_pairs(batch: Any, seq: Any, context: Any, convention: Attention) -> Factors:
    """Factors of twice the number of pairs of queries and keys, where a query sees every key up to its own."""
    if convention == "full":
        return (2, batch, seq, context)
    return (batch, seq, 2 * context - seq + (convention == "causal"))


def indexer_rows(path: str, s: Shape[N], batch: Any, seq: Any, context: Any, pairs: Factors) -> list[Operation[N]]:
    """Every operation of an indexer: small queries, one key of a token, and a weight of each head, whose scores are added up.

    `pairs` are the factors of twice the number of queries times all keys that they see.
    """
    if s.switches.index_blocks:
        return _of_blocks(path, s, batch, seq, context, pairs)
    L, d, n, i, tokens = s.n_layer, s.d_model, s.n_index_head, s.d_index_head, product((batch, seq))
    heads = product((n, i))
    weights = matmul(f"{path}/indexer/weights", L, tokens, d, n, False, INDEXER)
    return [
        matmul(f"{path}/indexer/query", L, tokens, s.q_lora_rank, heads, False, INDEXER),
        matmul(f"{path}/indexer/key", L, tokens, d, i, False, INDEXER),
        norm_of(f"{path}/indexer/key_norm", "layernorm", L, tokens, i, (("weight", (i,)), ("bias", (i,)))),
        Operation(f"{path}/indexer/rotary", "rotary", L, other=((ROTARY, tokens, n + 1, s.d_rotary),), source=INDEXER),
        weights._replace(other=((tokens, n),)),
        Operation(
            f"{path}/indexer/scores",
            "index",
            L,
            matmul=(*pairs, heads + n),
            other=((SCORED, batch, seq, context, n),),
            source=f"{INDEXER}: a product with each key, and a weighted sum over the heads",
        ),
    ]


def _of_blocks(path: str, s: Shape[N], batch: Any, seq: Any, context: Any, pairs: Factors) -> list[Operation[N]]:
    """The same where blocks of keys are chosen, by the best of each, for each group of heads by itself."""
    L, d, n, i, tokens = s.n_layer, s.d_model, s.n_index_head, s.d_index_head, product((batch, seq))
    heads = product((n, i))
    return [
        matmul(f"{path}/indexer/query", L, tokens, d, heads, False, BLOCKS),
        matmul(f"{path}/indexer/key", L, tokens, d, i, False, BLOCKS),
        norm_of(f"{path}/indexer/query_norm", "rmsnorm", L, product((tokens, n)), i, (("weight", (i,)),)),
        norm_of(f"{path}/indexer/key_norm", "rmsnorm", L, tokens, i, (("weight", (i,)),)),
        Operation(f"{path}/indexer/rotary", "rotary", L, other=((ROTARY, tokens, n + 1, s.d_rotary),), source=BLOCKS),
        Operation(f"{path}/indexer/scores", "index", L, matmul=(*pairs, heads), other=((batch, seq, context, n),), source=BLOCKS),
    ]
