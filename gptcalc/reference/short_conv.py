"""A gated short convolution: each channel over the last X tokens, between two gates of the token itself. B sequences, T tokens."""

from __future__ import annotations

from gptcalc.reference.cache import Kept
from gptcalc.reference.mixers import Shapes
from gptcalc.reference.parts import Context, Parts, linear
from gptcalc.reference.recurrent import convolved
from gptcalc.reference.tally import Array, at
from gptcalc.spec.mixers import ShortConv
from gptcalc.spec.model import ModelSpec

NAMES = """
short_conv.norm operator_norm
short_conv.output_norm post_operator_norm
short_conv.convolution conv.conv
short_conv.output conv.out_proj
"""


def weights(path: str, spec: ModelSpec) -> Shapes:
    """Name and shape of the arrays of one layer."""
    assert isinstance(spec.mixer, ShortConv)
    d, bias = spec.d_model, spec.mixer.bias
    shapes: Shapes = {}
    for name in ("gate", "output_gate", "input"):
        shapes |= {f"{path}.{name}.weight": (d, d)} | ({f"{path}.{name}.bias": (d,)} if bias else {})
    shapes |= {f"{path}.convolution.weight": (d, spec.mixer.d_conv)} | ({f"{path}.convolution.bias": (d,)} if bias else {})
    return shapes | {f"{path}.output.weight": (d, d)} | ({f"{path}.output.bias": (d,)} if bias else {})


def mix(x: Array, layer: Parts, context: Context, kept: Kept | None) -> Array:
    """[B, T, d] -> [B, T, d]"""
    path = f"{context.path}/short_conv"
    gate, output_gate, given = (linear(x, layer, f"{path}/{name}") for name in ("gate", "output_gate", "input"))
    at(x, f"{path}/gated")
    given *= gate
    read = convolved(given, layer, f"{path}/convolution", kept, activated=False)
    at(x, f"{path}/output_gated")
    read *= output_gate
    return linear(read, layer, f"{path}/output")
