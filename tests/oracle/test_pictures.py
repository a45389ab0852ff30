"""Tokens of pictures against the functions by which transformers' own image processors cut them."""

import ast
import functools
import math
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from gptcalc.spec.images import Images

SIZES = [(w, h) for draw in [random.Random(7)] for w, h in ((draw.randint(30, 4000), draw.randint(30, 4000)) for _ in range(500))]


def functions(file: str) -> dict[str, Any]:
    """The functions of a file that needs libraries of pictures to be imported: its arithmetic needs none."""
    path = Path(transformers.__file__).parent / "models" / file
    tree = ast.parse(path.read_text())
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    for node in tree.body:
        assert isinstance(node, ast.FunctionDef)
        node.decorator_list, node.returns = [], None
        for argument in node.args.args:
            argument.annotation = None
    lru_cache = functools.lru_cache
    found: dict[str, Any] = {"torch": torch, "defaultdict": defaultdict, "math": math, "np": np, "lru_cache": lru_cache}
    found |= {"get_image_size": lambda image, *_, **__: image.shape[:2], "ChannelDimension": None}
    exec(compile(tree, str(path), "exec"), found)
    return found


qwen = functions("qwen2_vl/image_processing_pil_qwen2_vl.py")["smart_resize"]
glm4v = functions("glm4v/image_processing_pil_glm4v.py")["smart_resize"]
ernie = functions("ernie4_5_vl_moe/image_processing_pil_ernie4_5_vl_moe.py")["smart_resize"]
get_resize_output_image_size = functions("pixtral/image_processing_pil_pixtral.py")["get_resize_output_image_size"]
get_optimal_tiled_canvas = functions("got_ocr2/image_processing_pil_got_ocr2.py")["get_optimal_tiled_canvas"]
LLAMA4 = functions("llama4/image_processing_llama4.py")


def of_llama4() -> Callable[..., Any]:
    side = type("Side", (dict,), {"__getattr__": dict.__getitem__})(height=336, width=336)
    supported = torch.as_tensor(LLAMA4["find_supported_resolutions"](16, side))
    return lambda w, h: LLAMA4["get_best_fit"]((h, w), supported)


@pytest.mark.parametrize(
    ("resize", "factor", "least", "most"),
    [(qwen, 28, 56 * 56, 28 * 28 * 1280), (qwen, 32, 65536, 16777216), (ernie, 28, 56 * 56, 28 * 28 * 6177)],
)
def test_pictures_within_an_area(resize: Callable[..., tuple[int, int]], factor: int, least: int, most: int) -> None:
    rule = Images(rule="area", patch=factor // 2, factor=factor, least=least, most=most)
    for w, h in SIZES:
        height, width = resize(h, w, factor, least, most)
        assert rule.of(w, h).tokens == height * width // factor**2
        assert rule.of(w, h).patches == 4 * height * width // factor**2


def test_pictures_of_glm4v() -> None:
    rule = Images(rule="area", patch=14, factor=28, least=112 * 112, most=28 * 28 * 15000)
    for w, h in SIZES:
        height, width = glm4v(2, h, w, 2, 28, 112 * 112, 28 * 28 * 2 * 15000)
        assert rule.of(w, h).tokens == height * width // 28**2


def test_pictures_of_pixtral() -> None:
    rule = Images(rule="rows", patch=14, factor=28, longest=1540, breaks=True)
    for w, h in SIZES:
        image = np.zeros((h, w, 1), np.uint8)
        height, width = get_resize_output_image_size(image, (1540, 1540), (28, 28))
        assert rule.of(w, h).tokens == (height // 28) * (width // 28 + 1)


def test_pictures_of_internvl() -> None:
    rule = Images(rule="tiles", patch=14, tile=448, tokens=256, extra=2, least=1, most=12)
    for w, h in SIZES:
        columns, rows = get_optimal_tiled_canvas((h, w), (448, 448), 1, 12)
        tiles = columns * rows
        assert rule.of(w, h).tokens == (tiles + (tiles > 1)) * 256 + 2


def test_pictures_of_llama4() -> None:
    rule, fit = Images(rule="canvas", patch=14, tile=336, tokens=144, extra=3, most=16), of_llama4()
    for w, h in SIZES:
        height, width = (int(side) // 336 for side in fit(w, h))
        tiles = height * width
        assert rule.of(w, h).crops == tiles + (tiles > 1)
