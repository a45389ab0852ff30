"""Latent attention: keys and values from one latent for all heads, which is all that is kept of a token."""

from typing import Any

from gptcalc.spec.shape import Shape
from gptcalc.symbols import N, product
from gptcalc.table.operation import Operation, matmul, norm
from gptcalc.table.sublayers import Kept, Run, attention, indexer

LABEL = "attention"
LATENT = "DeepSeek-AI 2024 (DeepSeek-V2), arXiv:2405.04434, section 2.1"


def rows(path: str, s: Shape[Any], run: Run) -> list[Operation[Any]]:
    """Every operation, in order of execution."""
    chosen = indexer.rows_of(path, s, run) if s.switches.indexer else []
    return [*projections(path, s, product((run.batch, run.seq))), *chosen, *attention.core(path, s, run)]


def state(s: Shape[Any]) -> tuple[Kept, ...]:
    """The latent and the rotated channels that all heads share, whole on every device, and the key of an indexer."""
    return (Kept(token=indexer.with_key(s, s.kv_lora_rank + s.d_rotary), window=s.sliding_window if s.switches.windowed else None),)


def divided(s: Shape[Any], t: Any) -> Shape[Any]:
    """Heads; latents are whole on every rank."""
    return attention.divided(s, t)


def width(s: Shape[Any]) -> Any:
    """Queries, keys and values of every head, and what they are mixed to."""
    return attention.width(s)


def projections(path: str, s: Shape[N], tokens: N) -> list[Operation[N]]:
    """Down to the latents and up again to all heads. R channels of each key bypass the latent: one rotated key that all heads share."""
    L, d, H, R, c = s.n_layer, s.d_model, s.n_head, s.d_rotary, s.switches
    unrotated_and_value = s.d_head - R + s.d_head_value
    if c.latent_query:
        gated = c.attention_gate == "latent"
        queries = product((2, s.q_lora_rank)) if gated else s.q_lora_rank
        rows = [
            matmul(f"{path}/query_down", L, tokens, d, s.q_lora_rank, c.attention_bias, LATENT),
            norm(f"{path}/query_norm", c, L, tokens, s.q_lora_rank),
            matmul(f"{path}/query_up", L, tokens, queries, s.d_attention + s.d_mixed if gated else s.d_attention, False, LATENT),
        ]
    else:
        rows = [matmul(f"{path}/query", L, tokens, d, s.d_attention, False, LATENT)]
    return [
        *rows,
        matmul(f"{path}/key_value_down", L, tokens, d, s.kv_lora_rank + R, c.attention_bias, LATENT),
        norm(f"{path}/key_value_norm", c, L, tokens, s.kv_lora_rank),
        matmul(f"{path}/key_value_up", L, tokens, s.kv_lora_rank, product((H, unrotated_and_value)), False, LATENT),
        *([norm(f"{path}/rotary_norm", c, L, tokens, R)] if c.latent_rotary_norm else []),
        *([attention.rotary(path, s, tokens, H + 1)] if c.latent_turns else []),
    ]
