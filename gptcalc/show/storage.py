"""What answers say of a model whose file is quantized."""

from collections.abc import Mapping
from typing import Any

from gptcalc.spec.model import ModelSpec


def widths(said: Mapping[str, Any]) -> str:
    """Bits of a stored weight: of one width or of several.

    >>> widths({"bits": 4.5, "widths": [4.5, 8.0]})
    '4.5 or 8'
    """
    return " or ".join(f"{bits:.6g}" for bits in said.get("widths", [said["bits"]]))


def aside(model: ModelSpec) -> str:
    """What to add where a model is trained whose file is quantized."""
    return f"; its weights are not held as in its file ({model.quantization.method})" if model.quantization else ""
