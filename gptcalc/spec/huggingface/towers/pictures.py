"""How wrappers' processors cut pictures, as the fields of `spec.images.Images`. A processor's own file is not config.json: where it would
say more than the class does, the class's default is taken.

Source: the image processors and processors of transformers 5.24.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gptcalc.spec.huggingface.towers.parts import Sizes

Rule = Callable[[Sizes, Sizes], dict[str, Any]]


def _grid(v: Sizes) -> int:
    return (v["image_size"] // v["patch_size"]) ** 2


def _square(v: Sizes, tokens: int, extra: int = 0) -> dict[str, Any]:
    return {"rule": "fixed", "patch": v["patch_size"], "tile": v["image_size"], "tokens": tokens, "extra": extra}


def _area(least: int, most: int) -> Rule:
    def rule(_: Sizes, v: Sizes) -> dict[str, Any]:
        patch = v["patch_size"]
        return {"rule": "area", "patch": patch, "factor": patch * v["spatial_merge_size"], "least": least, "most": most}

    return rule


def _every_patch(_: Sizes, v: Sizes) -> dict[str, Any]:
    return _square(v, _grid(v))


def _said(key: str, usual: int) -> Rule:
    def rule(outer: Sizes, v: Sizes) -> dict[str, Any]:
        return _square(v, outer.number(key) if outer.raw(key) is not None else usual)

    return rule


def _internvl(outer: Sizes, v: Sizes) -> dict[str, Any]:
    (side, _), (patch, _) = v.pair("image_size"), v.pair("patch_size")
    ratio = outer.factor("downsample_ratio") if outer.raw("downsample_ratio") is not None else 0.5
    return {"rule": "tiles", "patch": patch, "tile": side, "tokens": int((side // patch * ratio) ** 2), "extra": 2, "least": 1, "most": 12}


def _rows(*, breaks: bool) -> Rule:
    def rule(outer: Sizes, v: Sizes) -> dict[str, Any]:
        patch = v["patch_size"]
        factor = patch * (outer.number("spatial_merge_size") if outer.raw("spatial_merge_size") is not None else 2)
        longest = v["image_size"] if v.raw("image_size") is not None else 1024
        return {"rule": "rows", "patch": patch, "factor": factor, "longest": longest, "breaks": breaks}

    return rule


def _llama4(_: Sizes, v: Sizes) -> dict[str, Any]:
    ratio = v.factor("pixel_shuffle_ratio") if v.raw("pixel_shuffle_ratio") is not None else 0.5
    tokens = round(_grid(v) * ratio**2)
    return {"rule": "canvas", "patch": v["patch_size"], "tile": v["image_size"], "tokens": tokens, "extra": 3, "most": 16}


QWEN = _area(56 * 56, 28 * 28 * 1280)

RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("llava", "vipllava", "paligemma", "deepseek_vl"), _every_patch),
    **dict.fromkeys(("gemma3", "shieldgemma2"), _said("mm_tokens_per_image", 256)),
    **dict.fromkeys(("blip-2", "instructblip"), _said("num_query_tokens", 32)),
    **dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "qwen2_5_omni_thinker", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe"), QWEN),
    **dict.fromkeys(("qwen3_omni_moe_thinker", "cosmos3_omni", "exaone4_5", "hyperclovax_vision_v2"), QWEN),
    **dict.fromkeys(("glm4v", "glm46v", "glmga", "glm4v_moe", "glm_ocr"), _area(112 * 112, 28 * 28 * 15000)),
    "ernie4_5_vl_moe": _area(56 * 56, 28 * 28 * 6177),
    **dict.fromkeys(("internvl", "qianfan_ocr"), _internvl),
    "mistral3": _rows(breaks=True),
    "lighton_ocr": _rows(breaks=False),
    "llama4": _llama4,
}
"""Wrappers whose rule is known."""


def pictures(model_type: str, outer: Sizes, parts: Mapping[str, Sizes]) -> dict[str, Any] | None:
    """The rule of a wrapper with these parts; None where none is known."""
    rule, vision = RULES.get(model_type), parts.get("vision_config")
    return None if rule is None or vision is None else {name: value for name, value in rule(outer, vision).items() if value}
