"""Methods whose mapping names single layers with widths of their own: MLX and AutoRound."""

from __future__ import annotations

import re
from typing import Any

from gptcalc.spec.huggingface.family import because, written
from gptcalc.spec.huggingface.storage import HALF, HEAD, FormFields, Found, Given, in_groups, width

MLX_MODES = {"affine": 2 * HALF, "mxfp4": 8, "mxfp8": 8, "nvfp4": 8}
"""Bits beside each group: a scale and a bias in half precision, or an exponent."""


def mlx(given: Given) -> Found:
    """MLX, nn.quantize: every linear layer and the embedding, but those that its mapping names with a form of their own, or with false."""
    form = _of_mlx(given)
    kept, forms = [], []
    for name, value in given.data.items():
        if name in ("group_size", "bits", "mode"):
            continue
        given.used.add(name)
        if value is False:
            kept.append(name)
        elif value is not True:
            inner = given.inner(name, value)
            forms.append(_of_mlx(inner) | {"of": (name,)})
            inner.finish("MLX", ())
    named = [form | {"of": (*HEAD, "embed_tokens")}]
    return Found("mlx", [form, *_merged(forms), *named], kept)


def _of_mlx(given: Given) -> FormFields:
    mode = given.word("mode", "affine", *MLX_MODES)
    fixed = {"mxfp4": (32, 4), "mxfp8": (32, 8), "nvfp4": (16, 4)}.get(str(mode), (64, 4))
    size = given.whole("group_size", given.get("group_size", fixed[0]))
    bits = width(given, "bits", given.get("bits", fixed[1]), (2, 3, 4, 5, 6, 8) if mode == "affine" else (fixed[1],))
    if size == -1:
        raise given.refuse("group_size", "must be a whole number above zero, not -1")
    return {"element": bits, "scale": MLX_MODES[str(mode)], "group": size}


def _merged(forms: list[FormFields]) -> list[FormFields]:
    """Forms that are the same as one, with the modules of all."""
    found: dict[tuple[Any, ...], list[str]] = {}
    for form in forms:
        found.setdefault(tuple(sorted((name, value) for name, value in form.items() if name != "of")), []).extend(form["of"])
    return [dict(key) | {"of": tuple(names)} for key, names in found.items()]


PACKINGS = ("auto_round:auto_gptq", "auto_round:gptq", "auto_round:auto_awq", "auto_round:awq", "auto_round")
WIDTHS = (2, 3, 4, 5, 6, 7, 8)
TUNING = because(
    "how the weights were rounded",
    "autoround_version amp batch_size enable_minmax_tuning enable_norm_bias_tuning enable_quanted_input gradient_accumulate_steps iters lr "
    "low_gpu_mem_usage minmax_lr nsamples seqlen scale_dtype sym act_sym act_dynamic act_data_type act_group_size quant_block_list "
    "supported_types backend enable_torch_compile not_use_best_mse dynamic_max_gap model_dtype static_kv_granularity "
    "static_attention_granularity",
)


def auto_round(given: Given) -> Found:
    """AutoRound's packing: elements and zero points, and fp16 scales; layers of their own under `extra_config`, in 16 bits or others.

    Source: auto-round 0.16, export_to_autoround/export.py and auto_round_extension/torch/qlinear_torch_zp.py.
    """
    given.word("packing_format", PACKINGS[0], *PACKINGS)
    given.word("data_type", "int", "int")
    for name in ("super_bits", "super_group_size", "rotation_configs", "rotation_config", "static_kv_dtype", "static_attention_dtype"):
        given.empty(name, "stores more than is known")
    if given.get("act_bits") not in (None, 16, 32):
        raise given.refuse("act_bits", f"{written(given.get('act_bits'))} packs weights otherwise")
    blocks = given.get("block_name_to_quantize")
    listed = [blocks] if isinstance(blocks, str) else blocks if isinstance(blocks, list) else []
    if blocks is not None and not any(isinstance(name, str) and re.search(r"(layers|h|blocks)$", name) for name in listed):
        raise given.refuse("block_name_to_quantize", f"{written(blocks)} is not the stack of the model's blocks")
    form = _of_auto_round(given, given)
    kept, forms = [], []
    extra = given.mapping("extra_config")
    for name in extra:
        module = "re:" + name if re.search(r"[*^$|()\[\]?+\\]", name) else name
        inner = given.inner("extra_config", extra).inner(name, extra[name])
        if inner.get("bits") in (16, 32) or inner.get("data_type") == "float":
            kept.append(module)
        else:
            forms.append(_of_auto_round(inner, given) | {"of": (module,)})
        for key in ("act_bits", "data_type"):
            inner.get(key)
        inner.finish("a layer of AutoRound's", TUNING)
    given.used |= TUNING.keys()
    named, matched = ([one for one in forms if one["of"][0].startswith("re:") == pattern] for pattern in (False, True))
    return Found("auto-round", [form, *_merged(named), *_merged(matched)], kept)


def _of_auto_round(inner: Given, outer: Given) -> FormFields:
    bits = width(inner, "bits", inner.get("bits", outer.get("bits", 4)), WIDTHS)
    size = inner.whole("group_size", inner.get("group_size", outer.get("group_size", 128)))
    return in_groups(bits, HALF + bits, size)
