"""What CUDA would run on tensors that have a shape and a type but no data: its attention kernels, and what its autocast keeps wide.

Source: pytorch/aten/src/ATen/native/transformers/cuda/sdp_utils.cpp and ATen/autocast_mode.h (torch 2.13).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode

HOPPER = (9, 0)
WIDEST_FLASH = 256
"""Of heads: the flash kernels take none wider."""

MASK_COLUMNS = 16
"""A mask's rows are padded to a multiple of this for the memory-efficient kernel."""

FP32 = frozenset(
    {"pow", "__pow__", "__rpow__", "sum", "prod", "cumsum", "norm", "exp", "log", "rsqrt", "softmax", "log_softmax"}
    | {"layer_norm", "cross_entropy", "nll_loss"}
)
"""Functions that CUDA's autocast runs in 32 bits and the CPU's does not."""


@contextmanager
def as_cuda() -> Iterator[None]:
    """The code inside meets CUDA's choices: of attention, of experts' kernels, and that no sequence is packed of several."""
    import transformers.masking_utils

    with (
        patch.object(torch.nn.functional, "scaled_dot_product_attention", attention),
        patch.object(torch.cuda, "get_device_capability", lambda *_: HOPPER),
        patch.object(transformers.masking_utils, "find_packed_sequence_indices", lambda *_, **__: None),
    ):
        yield


def attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """CUDA's scaled_dot_product_attention: flash in 16 bits without a mask, else memory-efficient, else explicit matmuls."""
    if torch.is_autocast_enabled("cpu"):
        query, key, value = (one.to(torch.get_autocast_dtype("cpu")) for one in (query, key, value))
    with torch.autocast("cpu", enabled=False):
        heads, width = query.shape[1], query.shape[-1]
        half = query.dtype in (torch.bfloat16, torch.float16)
        if half and attn_mask is None and width == value.shape[-1] <= WIDEST_FLASH:
            return _flash(query, key, value, dropout_p, is_causal, scale)
        if heads == key.shape[1] and key.stride(1) != 0:
            bias = None if attn_mask is None else _bias(attn_mask, query, key)
            return torch.ops.aten._scaled_dot_product_efficient_attention(query, key, value, bias, True, dropout_p, is_causal, scale=scale)[
                0
            ]
        return torch.ops.aten._scaled_dot_product_attention_math(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )[0]


def _flash(query: Any, key: Any, value: Any, dropout: float, causal: bool, scale: float | None) -> Any:
    width = query.shape[-1]
    if width % 8:
        query, key, value = (torch.nn.functional.pad(one, (0, -width % 8)) for one in (query, key, value))
    scale = width**-0.5 if scale is None else scale
    return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value, dropout, causal, False, scale=scale)[0][..., :width]


def _bias(mask: Any, query: Any, key: Any) -> Any:
    """A mask as the memory-efficient kernel takes it: added to the scores, in the query's type, its rows padded."""
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill_(mask.logical_not(), float("-inf"))
    columns = mask.shape[-1]
    if columns % MASK_COLUMNS:
        mask = torch.nn.functional.pad(mask, (0, -columns % MASK_COLUMNS))[..., :columns]
    return mask.expand(query.shape[0], query.shape[1], query.shape[2], key.shape[2])


class Autocast(TorchFunctionMode):
    """Beside the CPU's autocast, what CUDA's widens."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in FP32 and torch.is_autocast_enabled("cpu") and kwargs.get("dtype") is None:
            args, kwargs = [_wide(one) for one in args], {name: _wide(one) for name, one in kwargs.items()}
        return func(*args, **kwargs)


def _wide(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def grouped_matmul(left: Any, right: Any, offsets: Any) -> Any:
    """The result of `aten._grouped_mm` in types that its shape function refuses and CUDA's kernel has another way for.

    Rows by group times one matrix a group, [M, K] x [G, K, N] -> [M, N]; or columns by group, [K, M] x [M, N] -> [G, K, N].
    """
    if right.dim() == 3:
        return left.new_empty((left.shape[0], right.shape[-1]) if left.dim() == 2 else (*left.shape[:-1], right.shape[-1]))
    if left.dim() == 3:
        return left.new_empty((left.shape[1], right.shape[-1]))
    return left.new_empty((offsets.shape[0], left.shape[0], right.shape[-1]))
