"""What joins a tower to its language model.   Source: the modeling code of transformers 5.24, tensor by tensor.

Each takes the wrapper's own keys `o`, those of its towers `v` (images) and `a` (sound), and of its text `t`: hidden_size and
intermediate_size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from gptcalc.spec.huggingface.towers.merging import neck
from gptcalc.spec.huggingface.towers.parts import Parts, Sizes


class Ends(NamedTuple):
    """What stands around a projector: the wrapper, the towers by their config's key, and the text."""

    o: Sizes
    parts: Mapping[str, Sizes]
    t: Sizes

    @property
    def v(self) -> Sizes:
        return self.parts["vision_config"]

    @property
    def a(self) -> Sizes:
        return self.parts["audio_config"]


Projector = Callable[[Parts, Ends], None]


def none(p: Parts, e: Ends) -> None:
    """The tower's own merger ends in the text's width."""


def _two(p: Parts, n_in: int, n_out: int, bias: bool = True, inner: int = 0) -> None:
    p.linear("linear_1", n_in, inner or n_out, bias)
    p.linear("linear_2", inner or n_out, n_out, bias)


def llava(p: Parts, e: Ends) -> None:
    """Of one layer's features, or of several side by side."""
    layers = len(e.o.numbers("vision_feature_layer"))
    _two(p, e.v["hidden_size"] * layers, e.t["hidden_size"], e.o.flag("multimodal_projector_bias"))


def llava_newline(p: Parts, e: Ends) -> None:
    llava(p, e)
    p.add("newline", e.t["hidden_size"])


def vipllava(p: Parts, e: Ends) -> None:
    width = e.v["hidden_size"] * len(e.o.numbers("vision_feature_layers"))
    p.layernorm("norm", width)
    _two(p, width, e.t["hidden_size"])


def gemma3(p: Parts, e: Ends) -> None:
    p.add("weight", e.v["hidden_size"], e.t["hidden_size"])
    p.rmsnorm("norm", e.v["hidden_size"])


def paligemma(p: Parts, e: Ends) -> None:
    p.linear("linear", e.v["hidden_size"], e.o["projection_dim"])


def cohere2(p: Parts, e: Ends) -> None:
    inner = e.o["alignment_intermediate_size"]
    p.linear("linear_1", e.v["hidden_size"] * e.o["downsample_factor"] ** 2, inner)
    p.linear("linear_2", inner // 2, e.t["hidden_size"])


def aya(p: Parts, e: Ends) -> None:
    width, t = e.v["hidden_size"] * e.o["downsample_factor"] ** 2, e.t["hidden_size"]
    inner = e.o["alignment_intermediate_size"] if e.o.raw("alignment_intermediate_size") is not None else t
    p.layernorm("norm", width)
    p.linear("linear_1", width, inner)
    p.linear("linear_2", inner // 2, t)


def two(p: Parts, e: Ends) -> None:
    _two(p, e.v["hidden_size"], e.t["hidden_size"])


def deepseek_hybrid(p: Parts, e: Ends) -> None:
    t, high = e.t["hidden_size"], e.parts["high_res_vision_config"]
    out = high["output_channels"]
    p.add("high_resolution/scale", 1)
    neck(p, high["hidden_size"], out, "high_resolution/neck")
    p.add("high_resolution/convolution_1", 9 * out, 2 * out)
    p.add("high_resolution/convolution_2", 9 * 2 * out, 4 * out)
    p.linear("vision", e.v["hidden_size"], t // 2)
    p.linear("high_resolution/linear", 4 * out, t // 2)
    p.linear("output", t, t)


def idefics3(p: Parts, e: Ends) -> None:
    p.add("weight", e.v["hidden_size"] * e.o["scale_factor"] ** 2, e.t["hidden_size"])


def idefics2(p: Parts, e: Ends) -> None:
    c, d, inner, t = e.parts["perceiver_config"], e.v["hidden_size"], e.t["intermediate_size"], e.t["hidden_size"]
    h, depth, head = t, c["resampler_depth"], c["resampler_head_dim"]  # of the text's width, whatever the file says
    p.mlp(1, d, inner, gated=True, bias=False, path="modality")
    p.tensors[-1] = ("modality/down/weight", 1, (inner, t))
    p.add("latents", c["resampler_n_latents"], h)
    p.rmsnorm("final_norm", h)
    for name in ("latents_norm", "context_norm", "mlp_norm"):
        p.rmsnorm(f"layers/{name}", h, depth)
    p.attention(depth, h, inner=c["resampler_n_heads"] * head, kv=c["num_key_value_heads"] * head, bias=False)
    p.mlp(depth, h, 4 * h, gated=True, bias=False)


def aria(p: Parts, e: Ends) -> None:
    d, t = e.v["hidden_size"], e.t["hidden_size"]
    queries = e.o.raw("projector_patch_to_query_dict")
    if not isinstance(queries, dict) or not all(isinstance(one, int) and 0 < one < 2**31 for one in queries.values()) or not queries:
        raise e.o.refuse("projector_patch_to_query_dict", "must say how many queries an image of so many patches has")
    p.add("queries", max(queries.values()), d)
    p.add("query_key_value", 3 * d, d)
    p.linear("attention/query_key_value", d, 3 * d)
    p.linear("attention/output", d, d)
    p.linear("linear", d, d)
    for name in ("query_norm", "key_value_norm", "mlp_norm"):
        p.layernorm(name, d)
    p.add("mlp/up", d, t)
    p.add("mlp/down", t, t)


def internvl(p: Parts, e: Ends) -> None:
    width = e.v["hidden_size"] * int(1 / e.o.factor("downsample_ratio")) ** 2
    p.layernorm("norm", width)
    _two(p, width, e.t["hidden_size"])


def ovis2(p: Parts, e: Ends) -> None:
    p.add("visual_table", e.v["vocab_size"], e.o["hidden_size"])


def got_ocr2(p: Parts, e: Ends) -> None:
    out, t = e.v["output_channels"], e.t["hidden_size"]
    p.add("convolution_1", 9 * out, 2 * out)
    p.add("convolution_2", 9 * 2 * out, t)
    p.linear("linear", t, t)


def qwen2_audio(p: Parts, e: Ends) -> None:
    p.linear("linear", e.a["d_model"], e.t["hidden_size"])


def voxtral(p: Parts, e: Ends) -> None:
    _two(p, e.a["intermediate_size"], e.t["hidden_size"], bias=False)


def voxtral_realtime(p: Parts, e: Ends) -> None:
    _two(p, e.a["hidden_size"] * e.o["downsample_factor"], e.t["hidden_size"], bias=False)


def glmasr(p: Parts, e: Ends) -> None:
    _two(p, e.a["intermediate_size"], e.t["hidden_size"], inner=2 * e.t["hidden_size"])


def moss(p: Parts, e: Ends) -> None:
    p.linear("linear_1", e.a["hidden_size"] * e.o["audio_merge_size"], e.t["hidden_size"])
    p.linear("linear_2", e.t["hidden_size"], e.t["hidden_size"])
    p.layernorm("norm", e.t["hidden_size"])


def qwen3_asr(p: Parts, e: Ends) -> None:
    """Into the sound tower's output_dim, which must be the text's width to run."""
    p.linear("linear_1", e.a["d_model"], e.a["d_model"])
    p.linear("linear_2", e.a["d_model"], e.a["output_dim"])


def omniasr(p: Parts, e: Ends) -> None:
    p.linear("linear", e.a["hidden_size"], e.t["hidden_size"])


def fun_asr(p: Parts, e: Ends) -> None:
    c, d = e.parts["adaptor_config"], e.a["hidden_size"]
    p.linear("linear_1", d, c["projector_hidden_size"])
    p.linear("linear_2", c["projector_hidden_size"], c["hidden_size"])
    p.vit(c["num_hidden_layers"], c["hidden_size"], c["intermediate_size"])


def _q_former(p: Parts, c: Sizes, read: int, text_branch: bool) -> int:
    """Queries that read an encoder of so many channels."""
    h, runs, inner = c["hidden_size"], c["num_hidden_layers"], c["intermediate_size"]
    p.layernorm("q_former/norm", h)
    p.attention(runs, h, path="q_former/attention")
    p.layernorm("q_former/attention/norm", h, runs)
    p.mlp(runs, h, inner, path="q_former/mlp")
    p.layernorm("q_former/mlp/norm", h, runs)
    crossed = -(-runs // c["cross_attention_frequency"])
    for name in ("query", "output"):
        p.linear(f"q_former/cross_attention/{name}", h, h, True, crossed)
    for name in ("key", "value"):
        p.linear(f"q_former/cross_attention/{name}", read, h, True, crossed)
    p.layernorm("q_former/cross_attention/norm", h, crossed)
    if text_branch:
        p.mlp(runs, h, inner, path="q_former/text_mlp")
        p.layernorm("q_former/text_mlp/norm", h, runs)
        p.add("q_former/words", c["vocab_size"], h)
        p.add("q_former/positions", c["max_position_embeddings"], h)
    return h


def _blip(p: Parts, e: Ends, text_branch: bool) -> None:
    h = _q_former(p, e.parts["qformer_config"], e.v["hidden_size"], text_branch)
    p.add("queries", e.o["num_query_tokens"], h)
    p.linear("linear", h, e.t["hidden_size"])


def blip2(p: Parts, e: Ends) -> None:
    _blip(p, e, False)


def instructblip(p: Parts, e: Ends) -> None:
    _blip(p, e, True)


def granite_speech(p: Parts, e: Ends) -> None:
    """Queries for each window, which the file's own `encoder_hidden_size` says the encoder's width to."""
    c = e.parts["projector_config"]
    h = _q_former(p, c, c["encoder_hidden_size"], False)
    p.add("queries", e.o["window_size"] // e.o["downsample_rate"], h)
    p.linear("linear", h, e.t["hidden_size"])


def hyperclova(p: Parts, e: Ends) -> None:
    p.linear("linear", e.v["out_hidden_size"], e.t["hidden_size"])


def kimi(p: Parts, e: Ends) -> None:
    down, right = e.v.pair("merge_kernel_size")
    merged = e.v["hidden_size"] * down * right
    p.layernorm("norm", e.o["projection_hidden_size"])
    p.linear("linear_1", merged, merged)
    p.linear("linear_2", merged, e.t["hidden_size"])


def _pixtral(p: Parts, e: Ends, layers: int, bias: bool) -> None:
    d = e.v["hidden_size"]
    p.rmsnorm("norm", d * layers)
    p.add("merge/weight", d * layers * e.o["spatial_merge_size"] ** 2, d * layers)
    _two(p, d * layers, e.t["hidden_size"], bias)


def mistral3(p: Parts, e: Ends) -> None:
    d, layers = e.v["hidden_size"], len(e.o.numbers("vision_feature_layer"))
    p.rmsnorm("norm", d)
    p.add("merge/weight", d * e.o["spatial_merge_size"] ** 2, d)
    _two(p, d * layers, e.t["hidden_size"], e.o.flag("multimodal_projector_bias"))


def lighton(p: Parts, e: Ends) -> None:
    _pixtral(p, e, 1, False)


def fuyu(p: Parts, e: Ends) -> None:
    p.linear("patches", e.o["num_channels"] * e.o["patch_size"] ** 2, e.t["hidden_size"])


def llama4(p: Parts, e: Ends) -> None:
    p.add("weight", e.v["vision_output_dim"], e.t["hidden_size"])


def mllama(p: Parts, e: Ends) -> None:
    p.linear("linear", e.v["vision_output_dim"], e.t["hidden_size"])


def paddleocr(p: Parts, e: Ends) -> None:
    d = e.v["hidden_size"]
    merged = d * e.v["spatial_merge_size"] ** 2
    p.layernorm("norm", d)
    p.linear("linear_1", merged, merged)
    p.linear("linear_2", merged, e.t["hidden_size"])


def cosmos_edge(p: Parts, e: Ends) -> None:
    d, inner = e.v["hidden_size"], e.o["projector_hidden_size"]
    p.layernorm("norm", d)
    p.linear("linear_1", d * e.v["spatial_merge_size"] ** 2, inner)
    p.linear("linear_2", inner, e.t["hidden_size"])


def video_llama3(p: Parts, e: Ends) -> None:
    _two(p, e.v["hidden_size"], e.t["hidden_size"])


def lfm2(p: Parts, e: Ends) -> None:
    width, inner, bias = e.v["hidden_size"] * e.o["downsample_factor"] ** 2, e.o["projector_hidden_size"], e.o.flag("projector_bias")
    if e.o.flag("projector_use_layernorm"):
        p.layernorm("norm", width)
    p.linear("linear_1", width, inner, bias)
    p.linear("linear_2", inner, e.t["hidden_size"], bias)


def ernie(p: Parts, e: Ends) -> None:
    width, t = e.v["hidden_size"] * e.v["spatial_merge_size"] ** 2, e.t["hidden_size"]
    p.linear("spatial_1", width, width)
    p.linear("spatial_2", width, width)
    p.layernorm("spatial_norm", width)
    p.linear("temporal_1", width * e.v["temporal_merge_size"], width)
    p.linear("temporal_2", width, width)
    p.layernorm("temporal_norm", width)
    p.linear("linear", width, t)
    p.rmsnorm("norm", t)


def minicpm(p: Parts, e: Ends) -> None:
    d, t, steps = e.v["hidden_size"], e.t["hidden_size"], e.o["merger_times"]
    down, right = e.o.pair("merge_kernel_size")
    merged = d * down * right
    for number in range(min(steps, 1000)):
        p.layernorm(f"step_{number}/norm", merged)
        p.linear(f"step_{number}/up", merged, merged)
        p.linear(f"step_{number}/down", merged, t if number == steps - 1 else d)


def minimax(p: Parts, e: Ends) -> None:
    t, inner = e.t["hidden_size"], e.o["projector_hidden_size"]
    p.linear("linear_1", e.v["hidden_size"], inner)
    p.linear("linear_2", inner, t)
    p.linear("merge_1", t * e.v["spatial_merge_size"] ** 2, inner)
    p.linear("merge_2", inner, t)


def step(p: Parts, e: Ends) -> None:
    p.linear("linear", 4 * e.v["hidden_size"], e.t["hidden_size"], e.o.flag("projector_bias"))


def gemma4(p: Parts, e: Ends) -> None:
    if "vision_config" in e.parts:
        p.add("vision/weight", e.v["hidden_size"], e.t["hidden_size"])
    if "audio_config" in e.parts:
        p.add("audio/weight", e.a["output_proj_dims"], e.t["hidden_size"])
