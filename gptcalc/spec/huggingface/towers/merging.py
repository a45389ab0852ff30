"""Towers of images that merge patches, see them in windows, or carry tables of their own.

Source: the modeling code of transformers 5.24.
"""

from __future__ import annotations

from gptcalc.spec.huggingface.towers.parts import Parts, Sizes
from gptcalc.spec.huggingface.towers.vision import conv, grid, siglip_body


def _merger(p: Parts, width: int, merged: int, out: int, *, path: str = "merger", norm: int = 0, rms: bool = False) -> None:
    """A norm, and two matrices over all patches that become one token."""
    (p.rmsnorm if rms else p.layernorm)(f"{path}/norm", norm or width)
    p.linear(f"{path}/up", merged, merged)
    p.linear(f"{path}/down", merged, out)


def qwen2_vl(p: Parts, c: Sizes) -> None:
    d = c["embed_dim"]
    conv(p, c, d, channels=c["in_channels"], depth=c["temporal_patch_size"], bias=False)
    p.vit(c["depth"], d, int(d * c.factor("mlp_ratio")))
    _merger(p, d, d * c["spatial_merge_size"] ** 2, c["hidden_size"])


def _qwen2_5(p: Parts, c: Sizes, channels: str, kv: int) -> None:
    d, runs = c["hidden_size"], c["depth"]
    conv(p, c, d, channels=c[channels], depth=c["temporal_patch_size"], bias=False)
    p.rms_layers(runs, d)
    p.attention(runs, d, kv=kv)
    p.mlp(runs, d, c["intermediate_size"], gated=True)
    _merger(p, d, d * c["spatial_merge_size"] ** 2, c["out_hidden_size"], rms=True)


def qwen2_5_vl(p: Parts, c: Sizes) -> None:
    _qwen2_5(p, c, "in_channels", 0)


def exaone(p: Parts, c: Sizes) -> None:
    _qwen2_5(p, c, "in_channels", c["num_key_value_heads"] * (c["hidden_size"] // c["num_heads"]))


def qwen3_5(p: Parts, c: Sizes) -> None:
    d = c["hidden_size"]
    conv(p, c, d, channels=c["in_channels"], depth=c["temporal_patch_size"])
    p.add("positions", c["num_position_embeddings"], d)
    p.vit(c["depth"], d, c["intermediate_size"])
    _merger(p, d, d * c["spatial_merge_size"] ** 2, c["out_hidden_size"])


def qwen3_vl(p: Parts, c: Sizes) -> None:
    qwen3_5(p, c)
    merged = c["hidden_size"] * c["spatial_merge_size"] ** 2
    for number, _ in enumerate(c.numbers("deepstack_visual_indexes")):
        _merger(p, 0, merged, c["out_hidden_size"], path=f"deepstack_{number}", norm=merged)


def glm4v(p: Parts, c: Sizes) -> None:
    d, runs, out = c["hidden_size"], c["depth"], c["out_hidden_size"]
    conv(p, c, d, channels=c["in_channels"], depth=c["temporal_patch_size"])
    p.add("positions", grid(c), d)
    p.rmsnorm("first_norm", d)
    p.rms_layers(runs, d)
    p.attention(runs, d, bias=c.flag("attention_bias"), output_bias=False)
    p.mlp(runs, d, out, gated=True, bias=False)
    p.rmsnorm("final_norm", d)
    _down(p, c, c["intermediate_size"])


def _down(p: Parts, c: Sizes, inner: int) -> None:
    d, out = c["hidden_size"], c["out_hidden_size"]
    p.linear("down", c["spatial_merge_size"] ** 2 * d, out)
    p.linear("merger/project", out, out, bias=False)
    p.layernorm("merger/norm", out)
    p.mlp(1, out, inner, gated=True, bias=False, path="merger/mlp")


def _glm_ocr(p: Parts, c: Sizes, inner: int) -> None:
    d, runs, bias = c["hidden_size"], c["depth"], c.flag("attention_bias")
    conv(p, c, d, channels=c["in_channels"], depth=c["temporal_patch_size"])
    p.rms_layers(runs, d)
    p.attention(runs, d, bias=bias)
    p.rmsnorm("layers/attention/query_norm", d // c["num_heads"], runs)
    p.rmsnorm("layers/attention/key_norm", d // c["num_heads"], runs)
    p.mlp(runs, d, c["intermediate_size"], gated=True, bias=bias)
    p.rmsnorm("final_norm", d)
    _down(p, c, inner)


def glm_ocr(p: Parts, c: Sizes) -> None:
    _glm_ocr(p, c, c["out_hidden_size"] * c["in_channels"])


def glm5_next(p: Parts, c: Sizes) -> None:
    _glm_ocr(p, c, c["projection_intermediate_size"])


def sam(p: Parts, c: Sizes) -> None:
    d, runs, out = c["hidden_size"], c["num_hidden_layers"], c["output_channels"]
    side = c["image_size"] // c["patch_size"]
    inner = c["mlp_dim"] if c.raw("mlp_dim") is not None else int(d * c.factor("mlp_ratio"))
    conv(p, c, d)
    if c.flag("use_abs_pos"):
        p.add("positions", side**2, d)
    p.vit(runs, d, inner, qkv_bias=c.flag("qkv_bias"))
    if c.flag("use_rel_pos"):
        whole = len({index for index in c.numbers("global_attn_indexes") if 0 <= index < runs})
        heads = d // c["num_attention_heads"]
        p.add("layers/attention/distances", 2 * (2 * side - 1), heads, runs=whole)
        p.add("layers/attention/distances_in_window", 2 * (2 * (c.number("window_size") or side) - 1), heads, runs=runs - whole)
    neck(p, d, out)


def neck(p: Parts, width: int, out: int, path: str = "neck") -> None:
    p.add(f"{path}/in/weight", width, out)
    p.layernorm(f"{path}/in/norm", out)
    p.add(f"{path}/out/weight", 9 * out, out)
    p.layernorm(f"{path}/out/norm", out)


def aimv2(p: Parts, c: Sizes) -> None:
    d, runs = c["hidden_size"], c["num_hidden_layers"]
    conv(p, c, d)
    p.add("positions", grid(c), d)
    p.rmsnorm("first_norm", d)
    p.rms_layers(runs, d)
    p.attention(runs, d, bias=c.flag("qkv_bias"))
    p.mlp(runs, d, c["intermediate_size"], gated=True, bias=c.flag("mlp_bias"))
    p.rmsnorm("final_norm", d)
    rows = c["vocab_size"] - c["num_visual_indicator_tokens"]
    p.add("head/weight", c["hidden_stride"] ** 2 * d, rows)
    p.layernorm("head/norm", rows)


def minicpm(p: Parts, c: Sizes) -> None:
    siglip_body(p, c)
    down, right = c.pair("window_kernel_size")
    d, merged = c["hidden_size"], c["hidden_size"] * down * right
    p.attention(1, d, path="window_merger/attention")
    p.layernorm("window_merger/attention/norm", d)
    p.layernorm("window_merger/mlp/norm", merged)
    p.linear("window_merger/mlp/up", merged, c["intermediate_size"] * down * right)
    p.linear("window_merger/mlp/down", c["intermediate_size"] * down * right, d)


def granite_docling(p: Parts, c: Sizes) -> None:
    siglip_body(p, c)
    d, out, scale = c["hidden_size"], c["out_hidden_size"], c["scale_factor"]
    p.layernorm("routes/norm", d)
    sides = [scale, *([scale // 2] if c.flag("use_fine_route") else [])]
    for number, side in enumerate(sides):
        merged = d * side**2
        p.add(f"route_{number}/weight", merged, out)
        for index, _ in enumerate(c.numbers("deepstack_visual_indexes")):
            p.layernorm(f"route_{number}/deepstack_{index}/norm", merged)
            p.linear(f"route_{number}/deepstack_{index}/up", merged, out)
            p.linear(f"route_{number}/deepstack_{index}/down", out, out)
    p.layernorm("routes/output_norm", out)
    p.add("routes/output/weight", out, out)
    p.layernorm("routes/final_norm", out)
