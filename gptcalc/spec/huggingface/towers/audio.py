"""Towers of sound.   Source: the modeling code of transformers 5.24, tensor by tensor."""

from __future__ import annotations

from gptcalc.spec.huggingface.towers.parts import Parts, Sizes


def _whisper(p: Parts, d: int, runs: int, inner: int, mels: int, rows: int, *, kv: int = 0) -> None:
    p.linear("convolution_1", 3 * mels, d)
    p.linear("convolution_2", 3 * d, d)
    p.add("positions", rows, d)
    p.layernorm("layers/attention/norm", d, runs)
    p.attention(runs, d, kv=kv, key_bias=False)
    p.layernorm("layers/mlp/norm", d, runs)
    p.mlp(runs, d, inner)
    p.layernorm("final_norm", d)


def whisper(p: Parts, c: Sizes) -> None:
    """Of the first names of its keys (Qwen 2 Audio)."""
    _whisper(p, c["d_model"], c["encoder_layers"], c["encoder_ffn_dim"], c["num_mel_bins"], c["max_source_positions"])


def whisper_renamed(p: Parts, c: Sizes) -> None:
    rows = c["max_source_positions"]
    _whisper(p, c["hidden_size"], c["num_hidden_layers"], c["intermediate_size"], c["num_mel_bins"], rows)


def conformer(p: Parts, c: Sizes) -> None:
    """Granite Speech: attention between two half MLPs, and a convolution of each channel over time."""
    d, runs, inner = c["hidden_dim"], c["num_layers"], c["hidden_dim"] * c["feedforward_mult"]
    head = c["dim_head"] if c.raw("dim_head") else d // c["num_heads"]
    heads, wide = c["num_heads"] * head, d * c["conv_expansion_factor"]
    p.linear("stem", c["input_dim"], d)
    for half in ("first_mlp", "last_mlp"):
        p.layernorm(f"layers/{half}/norm", d, runs)
        p.mlp(runs, d, inner, path=f"layers/{half}")
    p.layernorm("layers/attention/norm", d, runs)
    p.linear("layers/attention/query", d, heads, False, runs)
    p.linear("layers/attention/key_value", d, 2 * heads, False, runs)
    p.linear("layers/attention/output", heads, d, True, runs)
    p.add("layers/attention/positions", 2 * c["max_pos_emb"] + 1, head, runs=runs)
    p.layernorm("layers/convolution/norm", d, runs)
    p.linear("layers/convolution/up", d, 2 * wide, True, runs)
    p.add("layers/convolution/kernel", wide, c["conv_kernel_size"], runs=runs)
    p.layernorm("layers/convolution/batch_norm", wide, runs)
    p.linear("layers/convolution/down", wide, d, True, runs)
    p.layernorm("layers/norm", d, runs)
    p.linear("project_1", d, c["output_dim"])
    p.linear("project_2", c["output_dim"], d)


def glmasr(p: Parts, c: Sizes) -> None:
    head = c["head_dim"] if c.raw("head_dim") else c["hidden_size"] // c["num_attention_heads"]
    kv = c["num_key_value_heads"] * head
    _whisper(p, c["hidden_size"], c["num_hidden_layers"], c["intermediate_size"], c["num_mel_bins"], 0, kv=kv)


def qwen2_5_omni(p: Parts, c: Sizes) -> None:
    d, out = c["d_model"], c["output_dim"]
    _whisper(p, d, c["encoder_layers"], c["encoder_ffn_dim"], c["num_mel_bins"], 0)
    p.add("begin_and_end", 2, out)
    p.linear("project", d, out)


def _qwen3(p: Parts, c: Sizes, names: tuple[str, str, str]) -> int:
    d, runs, inner = (c[name] for name in names)
    width, bins = c["downsample_hidden_size"], c["num_mel_bins"]
    p.linear("convolution_1", 9, width)
    for number in (2, 3):
        p.linear(f"convolution_{number}", 9 * width, width)
    for _ in range(3):
        bins = -(-bins // 2)
    p.add("stem/weight", width * bins, d)
    p.vit(runs, d, inner)
    p.layernorm("final_norm", d)
    return d


def qwen3_omni(p: Parts, c: Sizes) -> None:
    d = _qwen3(p, c, ("d_model", "encoder_layers", "encoder_ffn_dim"))
    p.linear("project_1", d, d)
    p.linear("project_2", d, c["output_dim"])


def qwen3_asr(p: Parts, c: Sizes) -> None:
    _qwen3(p, c, ("d_model", "encoder_layers", "encoder_ffn_dim"))


def voxtral_realtime(p: Parts, c: Sizes) -> None:
    d, runs, head = c["hidden_size"], c["num_hidden_layers"], c["head_dim"]
    p.linear("convolution_1", 3 * c["num_mel_bins"], d)
    p.linear("convolution_2", 3 * d, d)
    p.rms_layers(runs, d)
    p.attention(runs, d, inner=c["num_attention_heads"] * head, key_bias=False)
    p.mlp(runs, d, c["intermediate_size"], gated=True, bias=False, down_bias=True)
    p.rmsnorm("final_norm", d)


def wav2vec2(p: Parts, c: Sizes) -> None:
    d, widths, kernels = c["hidden_size"], c.numbers("conv_dim"), c.numbers("conv_kernel")
    if len(widths) != len(kernels):
        raise c.refuse("conv_dim", f"and conv_kernel of {len(kernels)} layers differ")
    before = 1
    for number, (width, kernel) in enumerate(zip(widths, kernels, strict=True)):
        p.linear(f"convolution_{number}", before * kernel, width, c.flag("conv_bias"))
        p.layernorm(f"convolution_{number}/norm", width)
        before = width
    p.layernorm("project/norm", before)
    p.linear("project", before, d)
    p.linear("positions", d // c["num_conv_pos_embedding_groups"] * c["num_conv_pos_embeddings"], d)
    p.vit(c["num_hidden_layers"], d, c["intermediate_size"])
    p.layernorm("final_norm", d)


def gemma4(p: Parts, c: Sizes) -> None:
    d, runs = c["hidden_size"], c["num_hidden_layers"]
    channels = c.numbers("subsampling_conv_channels")
    if len(channels) != 2:
        raise c.refuse("subsampling_conv_channels", "must be two widths")
    first, second = channels
    p.add("convolution_1/weight", 9, first)
    p.rmsnorm("convolution_1/norm", first)
    p.add("convolution_2/weight", 9 * first, second)
    p.rmsnorm("convolution_2/norm", second)
    p.add("stem/weight", (first // 4) * second, d)
    for name in ("mlp_before", "mlp_after"):
        p.mlp(runs, d, 4 * d, bias=False, path=f"layers/{name}")
        p.rmsnorm(f"layers/{name}/norm", d, runs)
        p.rmsnorm(f"layers/{name}/output_norm", d, runs)
    p.attention(runs, d, bias=False)
    p.add("layers/attention/distances", d, d, runs=runs)
    p.add("layers/attention/scale", d // c["num_attention_heads"], runs=runs)
    p.add("layers/convolution/up", d, 2 * d, runs=runs)
    p.add("layers/convolution/down", d, d, runs=runs)
    p.add("layers/convolution/depthwise", d, c["conv_kernel_size"], runs=runs)
    p.add("layers/norms", 5, d, runs=runs)
    p.linear("project", d, c["output_proj_dims"])


def sanm(p: Parts, c: Sizes) -> None:
    """Fun-ASR-Nano: two stages, each with a norm behind its layers; the first layer reads frames."""
    d, runs, frames = c["hidden_size"], c["num_hidden_layers"], c["num_mel_bins"] * c["num_stacked_frames"]
    for number, width in ((0, frames), *((1, d) for _ in range(runs > 1))):
        count = 1 if number == 0 else runs - 1
        where = f"layers_{number}"
        p.layernorm(f"{where}/attention/norm", width, count)
        for name in ("query", "key", "value"):
            p.linear(f"{where}/attention/{name}", width, d, True, count)
        p.linear(f"{where}/attention/output", d, d, True, count)
        p.add(f"{where}/attention/memory", d, c["fsmn_kernel_size"], runs=count)
        p.layernorm(f"{where}/mlp/norm", d, count)
        p.mlp(count, d, c["intermediate_size"], path=f"{where}/mlp")
    second = c.number("num_timestamp_prediction_layers")
    p.layernorm("final_norms", d, (runs > second) + (second > 0))
