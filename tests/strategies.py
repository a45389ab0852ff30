"""Any architecture at all, small: what Hypothesis draws specs from."""

from typing import Any

from hypothesis import strategies as st


@st.composite
def architectures(draw: st.DrawFn) -> dict[str, Any]:
    flag = st.booleans()
    position = draw(st.sampled_from(["learned", "rotary", "none"]))
    parallel = draw(flag)
    kv_heads = draw(st.sampled_from([1, 2, 4]))
    fields: dict[str, Any] = {
        "name": "any",
        "n_layer": draw(st.integers(1, 3)),
        "d_model": draw(st.sampled_from([8, 12, 20])),
        "n_head": 4,
        "n_kv_head": kv_heads,
        "d_head": draw(st.sampled_from([4, 6])),
        "d_ff": draw(st.integers(1, 30)),
        "vocab_size": 17,
        "padded_vocab_size": draw(st.sampled_from([None, 17, 19])),
        "d_embedding": draw(st.sampled_from([None, 5])),
        "n_ctx": 11,
        "position": position,
        "sliding_window": draw(st.sampled_from([None, 1, 4, 30])),
        "norm": draw(st.sampled_from(["layernorm", "rmsnorm"])),
        "norm_placement": "pre" if parallel else draw(st.sampled_from(["pre", "post"])),
        "parallel_residual": parallel,
        "shared_norm": parallel and draw(flag),
        "activation": draw(st.sampled_from(["gelu", "gelu_tanh", "relu", "silu"])),
    }
    if position == "rotary":
        fields |= {"d_rotary": draw(st.sampled_from([None, 2, 4])), "rotary_pairs": draw(st.sampled_from(["halves", "neighbours"]))}
    if position == "learned":
        fields["n_position"] = draw(st.sampled_from([None, 13]))
    switches = (
        "norm_weight",
        "norm_bias",
        "final_norm",
        "attention_bias",
        "attention_output_bias",
        "mlp_bias",
        "gated",
        "tied",
        "head_bias",
    )
    return fields | {name: draw(flag) for name in switches}
