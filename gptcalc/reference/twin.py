"""The small twin of a model: the same architecture in numbers that run in milliseconds."""

from __future__ import annotations

from gptcalc.spec.model import ModelSpec, parse_model
from gptcalc.spec.shape import shape_of

TWIN_CONTEXT = 19


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
    H, Q = 6, 10
    fields = spec.model_dump(exclude={"published", "notes", "source", "training_tokens", "rope_scaling"}, exclude_none=True)
    fields |= {
        "name": f"twin of {spec.name}",
        "n_layer": 4,
        "n_head": H,
        "d_head": Q,
        "d_model": H * Q if s.n_head * s.d_head == s.d_model else 52,
        "d_ff": 53,
        "vocab_size": 61,
        "n_ctx": TWIN_CONTEXT,
        "n_kv_head": H if s.n_kv_head == s.n_head else 1 if s.n_kv_head == 1 else 3,
    }
    if s.switches.position == "learned":
        fields["n_position"] = TWIN_CONTEXT + min(s.n_position - spec.n_ctx, 5)
    if s.switches.position == "rotary":
        fields["d_rotary"] = Q if s.d_rotary == s.d_head else 8
    if s.switches.windowed:
        fields["sliding_window"] = 7
    if s.switches.projected_embedding:
        fields["d_embedding"] = 14
    if spec.padded_vocab_size is not None:
        fields["padded_vocab_size"] = 67
    return parse_model(fields)
