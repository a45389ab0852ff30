"""The small twin of a model: the same architecture in numbers that run in milliseconds."""

from __future__ import annotations

from typing import Any

from gptcalc.spec.layer_pattern import BLOCK_FIELDS
from gptcalc.spec.model import ModelSpec, parse_model
from gptcalc.spec.shape import Shape, shape_of

TWIN_CONTEXT = 19
LAYERS = (4, 5, 9, 13)
"""Of the first kind of block, of the second, ..."""
DROPPED = {
    "published",
    "notes",
    "source",
    "training_tokens",
    "training_seq",
    "rope_scaling",
    "n_mtp",
    "blocks",
    "layout",
    "query_scale_from",
}

MIXER = {"n_head": 6, "n_key_head": 3, "n_group": 3, "d_head": 5, "d_key": 4, "d_state": 7, "d_conv": 3, "rank": 2, "chunk": 8}
"""Of a mixer: so many, where it has such a size."""


def twin(spec: ModelSpec) -> ModelSpec:
    """A model with the same switches, and small numbers that differ from each other, so that no slip of one for another goes unseen.

    What is equal by architecture stays equal (K = H in multi-head attention, H·Q = d, a wholly rotated head), what is not stays unequal.
    rope_scaling is dropped: it changes angles, never a count.

    >>> from gptcalc.spec.model import parse_model
    >>> heads = {"n_head": 32, "n_kv_head": 8}
    >>> small = twin(parse_model({"name": "a", "n_layer": 32, "d_model": 4096, "vocab_size": 128256, "n_ctx": 8192} | heads))
    >>> small.n_layer, small.d_model, small.n_head, small.n_kv_head, small.d_ff
    (4, 60, 6, 3, 53)
    """
    s = shape_of(spec)
    d_model = 60 if any(_square(block) for _, block in s.blocks) else 52
    fields = spec.model_dump(exclude=DROPPED, exclude_none=True) | {
        "name": f"twin of {spec.name}",
        "n_layer": LAYERS[0],
        "d_model": d_model,
        "vocab_size": 61,
        "n_ctx": TWIN_CONTEXT,
    }
    if s.switches.position == "learned":
        fields["n_position"] = TWIN_CONTEXT + min(s.n_position - spec.n_ctx, 5)
    if s.switches.projected_embedding:
        fields["d_embedding"] = 14
    if spec.own_embedding is not None:
        fields["own_embedding"] = {"width": 7, "vocab_size": 71}
    if spec.padded_vocab_size is not None:
        fields["padded_vocab_size"] = 67
    if not spec.blocks:
        return parse_model(fields | _block(s, d_model))
    shared = {name: value for name, value in fields.items() if name not in BLOCK_FIELDS}
    blocks = {}
    for order, (name, kind) in enumerate(spec.kinds.items()):
        own = kind.model_dump(include=set(BLOCK_FIELDS) - DROPPED, exclude_none=True) | _block(shape_of(kind), d_model)
        blocks[name] = own | ({"d_ff": own["d_ff"] + order} if shape_of(kind).d_ff != s.d_ff else {})
    counts = [LAYERS[order % len(LAYERS)] for order in range(len(blocks))]
    layout = [f"{name}*{count}" for name, count in zip(blocks, counts, strict=True)]
    main = max(spec.kinds, key=lambda name: spec.kinds[name].n_layer)
    heads = {name: blocks[main][name] for name in ("n_head", "position")}
    return parse_model(shared | heads | {"n_layer": sum(counts), "blocks": blocks, "layout": layout})


def _square(s: Shape[int]) -> bool:
    return s.n_head * s.d_head == s.d_model


def _block(s: Shape[int], d_model: int) -> dict[str, Any]:
    """The numbers of one kind of block."""
    H, Q = 6, 10 if _square(s) or d_model == 52 else 12
    fields: dict[str, Any] = {
        "n_head": H,
        "d_head": Q,
        "d_ff": 53,
        "n_kv_head": H if s.n_kv_head == s.n_head else 1 if s.n_kv_head == 1 else 3,
    }
    c = s.switches
    if s.d_head_value != s.d_head:
        fields["d_head_value"] = 11
    if c.position == "rotary":
        fields["d_rotary"] = Q if s.d_rotary == s.d_head else 8
    if s.mixer is not None:
        own = s.mixer.own.model_dump()
        fields["mixer"] = own | {name: size for name, size in MIXER.items() if name in own}
    if c.windowed:
        fields["sliding_window"] = 7
    if c.latent:
        fields["kv_lora_rank"] = 23
    if c.latent_query:
        fields["q_lora_rank"] = 29
    if c.indexed:
        fields["indexer"] = {"n_head": 4, "d_head": 11, "top_k": 2 if c.index_blocks else 5, "shared": not c.indexer}
        fields["indexer"] |= {"block": 4, "n_head": fields["n_kv_head"]} if c.index_blocks else {}
    if c.experts:
        fields |= {"n_expert": 20, "n_expert_per_token": 2, "n_router_group": None, "n_router_group_per_token": None}
        fields["d_expert"] = None if s.d_expert == s.d_ff else 17
    if c.latent_experts:
        fields["d_expert_latent"] = 25
    if c.shared_expert:
        fields["d_shared_expert"] = 27
    return fields
