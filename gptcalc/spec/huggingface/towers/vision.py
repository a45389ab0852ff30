"""Towers of images that are plain encoders: patches, positions, blocks.

Source: the modeling code of transformers 5.24, tensor by tensor.
"""

from __future__ import annotations

from gptcalc.spec.huggingface.towers.parts import Parts, Sizes


def grid(c: Sizes) -> int:
    """Patches of an image."""
    (height, width), (down, right) = c.pair("image_size"), c.pair("patch_size")
    return (height // down) * (width // right)


def conv(p: Parts, c: Sizes, width: int, *, channels: int = 0, depth: int = 1, bias: bool = True) -> None:
    """Patches as one matrix: a convolution whose kernel is its stride, or a linear layer of the same size."""
    down, right = c.pair("patch_size")
    p.linear("patches", (channels or c["num_channels"]) * depth * down * right, width, bias)


def siglip_body(p: Parts, c: Sizes) -> None:
    d = c["hidden_size"]
    conv(p, c, d)
    p.add("positions", grid(c), d)
    p.vit(c["num_hidden_layers"], d, c["intermediate_size"])
    p.layernorm("final_norm", d)


def _pooling_head(p: Parts, c: Sizes) -> None:
    """Attention of one learned query, which most models around it never run."""
    d = c["hidden_size"]
    p.add("head/probe", d)
    p.linear("head/attention/query_key_value", d, 3 * d)
    p.linear("head/attention/output", d, d)
    p.layernorm("head/norm", d)
    p.mlp(1, d, c["intermediate_size"], path="head/mlp")


def siglip(p: Parts, c: Sizes) -> None:
    siglip_body(p, c)
    if c.flag("vision_use_head"):
        _pooling_head(p, c)


def siglip2_body(p: Parts, c: Sizes) -> None:
    d = c["hidden_size"]
    conv(p, c, d)
    p.add("positions", c["num_patches"], d)
    p.vit(c["num_hidden_layers"], d, c["intermediate_size"])
    p.layernorm("final_norm", d)


def siglip2(p: Parts, c: Sizes) -> None:
    siglip2_body(p, c)
    if c.flag("vision_use_head"):
        _pooling_head(p, c)


def siglip_rotary(p: Parts, c: Sizes) -> None:
    """VideoLLaMA 3: no table of positions."""
    d = c["hidden_size"]
    conv(p, c, d)
    p.vit(c["num_hidden_layers"], d, c["intermediate_size"])
    p.layernorm("final_norm", d)


def clip(p: Parts, c: Sizes) -> None:
    d = c["hidden_size"]
    p.add("class", d)
    conv(p, c, d, bias=False)
    p.add("positions", grid(c) + 1, d)
    p.layernorm("first_norm", d)
    p.vit(c["num_hidden_layers"], d, c["intermediate_size"])
    p.layernorm("final_norm", d)


def blip(p: Parts, c: Sizes) -> None:
    d = c["hidden_size"]
    p.add("class", d)
    conv(p, c, d, channels=3)
    p.add("positions", grid(c) + 1, d)
    p.vit(c["num_hidden_layers"], d, c["intermediate_size"], qkv_bias=c.flag("qkv_bias"))
    p.layernorm("final_norm", d)


def internvit(p: Parts, c: Sizes) -> None:
    d, runs = c["hidden_size"], c["num_hidden_layers"]
    p.add("class", d)
    if c.flag("use_mask_token"):
        p.add("mask", d)
    conv(p, c, d)
    if c.flag("use_absolute_position_embeddings"):
        p.add("positions", grid(c) + 1, d)
    norm = p.rmsnorm if c.raw("norm_type") == "rms_norm" else p.layernorm
    norm("layers/attention/norm", d, runs)
    p.attention(runs, d, bias=c.flag("attention_bias"), output_bias=True)
    if c.flag("use_qk_norm"):
        p.rmsnorm("layers/attention/query_norm", d, runs)
        p.rmsnorm("layers/attention/key_norm", d, runs)
    norm("layers/mlp/norm", d, runs)
    p.mlp(runs, d, c["intermediate_size"])
    p.add("layers/attention/scale", d, runs=runs)
    p.add("layers/mlp/scale", d, runs=runs)
    if not c.flag("use_mean_pooling"):
        p.layernorm("final_norm", d)


def pixtral(p: Parts, c: Sizes) -> None:
    d, runs = c["hidden_size"], c["num_hidden_layers"]
    conv(p, c, d, bias=False)
    p.rmsnorm("first_norm", d)
    p.rms_layers(runs, d)
    p.attention(runs, d, bias=False)
    p.mlp(runs, d, c["intermediate_size"], gated=True, bias=False)


def ernie(p: Parts, c: Sizes) -> None:
    d = c["hidden_size"]
    conv(p, c, d, channels=c["in_channels"], bias=False)
    p.vit(c["depth"], d, c["intermediate_size"])
    p.layernorm("final_norm", d)


def moonvit(p: Parts, c: Sizes) -> None:
    d = c["hidden_size"]
    conv(p, c, d, channels=3)
    p.add("positions", c["pos_emb_height"] * c["pos_emb_width"], d)
    p.vit(c["num_hidden_layers"], d, c["intermediate_size"])
    p.layernorm("final_norm", d)


def llama4(p: Parts, c: Sizes) -> None:
    d = c["hidden_size"]
    p.add("class", d)
    conv(p, c, d, bias=False)
    p.add("positions", grid(c) + 1, d)
    p.layernorm("first_norm", d)
    p.vit(c["num_hidden_layers"], d, c["intermediate_size"])
    p.layernorm("final_norm", d)
    p.linear("adapter/up", c["intermediate_size"], c["projector_input_dim"], bias=False)
    p.linear("adapter/down", c["projector_output_dim"], c["projector_output_dim"], bias=False)


def mllama(p: Parts, c: Sizes) -> None:
    d, tiles, rows = c["hidden_size"], c["max_num_tiles"], grid(c) + 1
    aspects = c.raw("supported_aspect_ratios")
    if not isinstance(aspects, list):
        raise c.refuse("supported_aspect_ratios", "must be a list")
    ratios = len(aspects) + 1
    local, whole = c["num_hidden_layers"], c.number("num_global_layers")
    p.add("class", d)
    conv(p, c, d, bias=False)
    p.add("positions/table", rows, d)
    p.add("positions/gate", 1)
    p.add("positions/tiles", ratios, tiles * rows * d)
    for name in ("before", "after"):
        p.add(f"tiles_{name}/table", ratios, tiles * d)
        p.add(f"tiles_{name}/gate", 1)
    p.layernorm("first_norm", d)
    p.layernorm("final_norm", d)
    p.layernorm("layers/attention/norm", d, local + whole)
    p.attention(local + whole, d, bias=False)
    p.layernorm("layers/mlp/norm", d, local + whole)
    p.mlp(local + whole, d, c["intermediate_size"])
    p.add("layers/attention/gate", 1, runs=whole)
    p.add("layers/mlp/gate", 1, runs=whole)


def gemma4(p: Parts, c: Sizes) -> None:
    d, runs, head = c["hidden_size"], c["num_hidden_layers"], c["head_dim"]
    p.add("positions", 2 * c["position_embedding_size"], d)
    conv(p, c, d, channels=3, bias=False)
    p.rms_layers(runs, d, 4)
    p.attention(runs, d, inner=c["num_attention_heads"] * head, kv=c["num_key_value_heads"] * head, bias=False)
    p.rmsnorm("layers/attention/query_norm", head, runs)
    p.rmsnorm("layers/attention/key_norm", head, runs)
    p.mlp(runs, d, c["intermediate_size"], gated=True, bias=False)


def step(p: Parts, c: Sizes) -> None:
    d, runs = c["hidden_size"], c["num_hidden_layers"]
    conv(p, c, d, bias=False)
    p.add("positions", grid(c), d)
    p.layernorm("first_norm", d)
    p.vit(runs, d, int(d * c.factor("mlp_ratio")))
    p.add("layers/attention/scale", d, runs=runs)
    p.add("layers/mlp/scale", d, runs=runs)
    p.linear("down_1", 9 * d, 2 * d)
    p.linear("down_2", 18 * d, 4 * d)


def minimax(p: Parts, c: Sizes) -> None:
    d = c["hidden_size"]
    conv(p, c, d, depth=c["temporal_patch_size"], bias=False)
    p.layernorm("first_norm", d)
    p.vit(c["num_hidden_layers"], d, c["intermediate_size"])
