"""Any architecture at all, small: what Hypothesis draws specs from."""

from typing import Any

from hypothesis import strategies as st

flag = st.booleans()
maybe = st.sampled_from([None, None, 0.5, 2.0])
scale = st.sampled_from([1.0, 1.0, 0.7])


@st.composite
def architectures(draw: st.DrawFn, *, mixed: bool | None = None) -> dict[str, Any]:
    """`mixed` settles whether layers differ."""
    position = draw(st.sampled_from(["learned", "rotary", "rotary", "alibi", "sinusoidal", "none"]))
    norm = draw(st.sampled_from(["layernorm", "rmsnorm"]))
    fields: dict[str, Any] = {
        "name": "any",
        "n_layer": draw(st.integers(1, 3)),
        "d_model": draw(st.sampled_from([8, 12, 20])),
        "vocab_size": 17,
        "padded_vocab_size": draw(st.sampled_from([None, 17, 19])),
        "d_embedding": draw(st.sampled_from([None, 5])),
        "n_ctx": 11,
        "position": position,
        "norm": norm,
        "embedding_scale": draw(scale),
        "residual_scale": draw(scale),
        "logit_scale": draw(scale),
        "logit_softcap": draw(maybe),
    }
    if position == "learned":
        fields["n_position"] = draw(st.sampled_from([None, 13]))
    fields |= {name: draw(flag) for name in ("norm_weight", "norm_bias", "embedding_norm", "final_norm", "tied", "head_bias")}
    fields |= draw(blocks(position, norm))
    if not (draw(flag) if mixed is None else mixed):
        return fields
    kinds = [{"first": draw(blocks(position, norm))}, {"second": draw(blocks(position, norm))}]
    if position == "rotary" and draw(flag):
        kinds[0]["first"] |= {"position": "none"} if not kinds[0]["first"]["kv_lora_rank"] else {}
        if kinds[0]["first"].get("position") == "none":
            kinds[0]["first"].pop("d_rotary")
    layout = draw(st.sampled_from([["second", "first"], ["first*2", "second"], ["second", "first", "..."]]))
    return fields | {"blocks": kinds[0] | kinds[1], "layout": layout, "n_layer": 3 if len(layout) == 3 or layout[0][-1] == "2" else 2}


@st.composite
def blocks(draw: st.DrawFn, position: str, norm: str) -> dict[str, Any]:
    """The fields of one kind of block."""
    parallel = draw(flag)
    latent = position == "rotary" and draw(flag) and draw(flag)
    fields: dict[str, Any] = {
        "n_head": 4,
        "n_kv_head": 4 if latent else draw(st.sampled_from([1, 2, 4])),
        "d_head": draw(st.sampled_from([4, 6])),
        "d_head_value": draw(st.sampled_from([None, None, 3])),
        "d_ff": draw(st.integers(1, 30)),
        "sliding_window": (window := draw(st.sampled_from([None, 1, 4, 30]))),
        "window_chunks": window is not None and draw(flag),
        "kv_lora_rank": 7 if latent else None,
        "q_lora_rank": draw(st.sampled_from([None, 5])) if latent else None,
        "attention_scale": draw(maybe),
        "attention_softcap": draw(maybe),
        "qkv_clip": None if latent else draw(maybe),
        "norm_placement": "pre" if parallel else draw(st.sampled_from(["pre", "post", "sandwich", "output"])),
        "parallel_residual": parallel,
        "shared_norm": parallel and draw(flag),
        "qk_norm": "none" if latent else draw(st.sampled_from(["none", "none", "head", "heads", "full", "l2"])),
    }
    weighted = fields["qk_norm"] in ("head", "heads", "full")
    fields["qk_norm_bias"] = weighted and norm == "layernorm" and draw(flag)
    fields["qk_norm_after_rotary"] = fields["qk_norm"] not in ("none", "full") and draw(flag)
    fields |= {name: draw(flag) for name in ("attention_bias", "attention_output_bias", "attention_sinks", "mlp_bias", "gated")}
    smooth = ["gelu", "gelu_tanh", "gelu_sigmoid", "relu", "relu_squared", "silu"]
    fields["activation"] = draw(st.sampled_from([*smooth, "silu_clamped"] if fields["gated"] else smooth))
    if position == "rotary":
        fields["d_rotary"] = draw(st.sampled_from([2] if latent else [None, 2, 4]))
        fields["rotary_pairs"] = draw(st.sampled_from(["halves", "neighbours"]))
    return fields | draw(st.one_of(st.just({"n_expert": None}), experts()))


@st.composite
def experts(draw: st.DrawFn) -> dict[str, Any]:
    shared = draw(flag)
    groups = draw(st.sampled_from([None, (3, 2)]))
    fields: dict[str, Any] = {
        "n_expert": 6,
        "n_expert_per_token": draw(st.integers(1, 4)),
        "d_expert": draw(st.sampled_from([None, 9])),
        "router_bias": draw(flag),
        "router_score": draw(st.sampled_from(["softmax", "sigmoid"])),
        "router_normalised": draw(flag),
        "router_scale": draw(scale),
        "router_weighs_input": draw(flag),
        "d_shared_expert": 8 if shared else None,
        "d_expert_latent": draw(st.sampled_from([None, None, 7])),
        "shared_expert_gate": shared and draw(flag),
    }
    return fields | ({"n_router_group": groups[0], "n_router_group_per_token": groups[1]} if groups else {})
