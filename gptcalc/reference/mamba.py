"""Mamba: a state of J numbers for each of h channels, which choose their steps.

B sequences, T tokens, r channels that steps come through.
"""

from __future__ import annotations

import numpy as np

from gptcalc.reference.cache import Kept
from gptcalc.reference.kernels import normalise, silu, softplus
from gptcalc.reference.mixers import Shapes
from gptcalc.reference.parts import Context, Parts, linear
from gptcalc.reference.recurrent import convolved
from gptcalc.reference.tally import Array, at
from gptcalc.spec.mixers import Mamba
from gptcalc.spec.model import ModelSpec

NAMES = """
mamba.norm input_layernorm norm
mamba.convolution mixer.conv1d mamba.conv1d
mamba.step mixer.dt_proj mamba.dt_proj
mamba.rank_norm mamba.dt_layernorm
mamba.key_norm mamba.b_layernorm
mamba.ask_norm mamba.c_layernorm
mamba.recurrence mixer| mamba|
mamba.output mixer.out_proj mamba.out_proj
"""


def weights(path: str, spec: ModelSpec) -> Shapes:
    """Name and shape of the arrays of one layer."""
    own, d = sizes(spec), spec.d_model
    h, J, r = own.n_head, own.d_state, own.rank
    shapes: Shapes = {}
    for name in ("input", "gate"):
        shapes |= {f"{path}.{name}.weight": (d, h)} | ({f"{path}.{name}.bias": (h,)} if own.bias else {})
    shapes |= {f"{path}.convolution.weight": (h, own.d_conv)} | ({f"{path}.convolution.bias": (h,)} if own.conv_bias else {})
    for name, width in (("rank", r), ("key", J), ("ask", J)):
        shapes |= {f"{path}.{name}.weight": (h, width)}
        shapes |= {f"{path}.{name}_norm.weight": (width,)} if own.norms == "weighted" else {}
    shapes |= {f"{path}.step.weight": (r, h), f"{path}.step.bias": (h,), f"{path}.recurrence.A_log": (h, J), f"{path}.recurrence.D": (h,)}
    return shapes | {f"{path}.output.weight": (h, d)} | ({f"{path}.output.bias": (d,)} if own.bias else {})


def sizes(spec: ModelSpec) -> Mamba:
    assert isinstance(spec.mixer, Mamba)
    return spec.mixer


def mix(x: Array, layer: Parts, context: Context, kept: Kept | None) -> Array:
    """[B, T, d] -> [B, T, d]"""
    own, path = sizes(context.spec), f"{context.path}/mamba"
    given, gate = (linear(x, layer, f"{path}/{name}") for name in ("input", "gate"))
    read = convolved(given, layer, f"{path}/convolution", kept)
    chosen = {}
    for name in ("rank", "key", "ask"):
        chosen[name] = linear(read, layer, f"{path}/{name}")
        if own.norms != "none":
            at(x, f"{path}/{name}_norm")
            part = layer.get(f"{path}/{name}_norm", {})
            chosen[name] = normalise(chosen[name], part, centred=False, epsilon=own.norm_epsilon or context.spec.norm_epsilon)
    step = linear(chosen["rank"], layer, f"{path}/step")
    mixed = scan(read, step, chosen["key"], chosen["ask"], layer[f"{path}/recurrence"], f"{path}/recurrence", kept)
    at(x, f"{path}/readout")
    silu(gate)
    mixed *= gate
    return linear(mixed, layer, f"{path}/output")


def scan(x: Array, step: Array, key: Array, ask: Array, part: dict[str, Array], path: str, kept: Kept | None) -> Array:
    """Token by token: [B, T, h] and steps [B, T, h], keys and queries [B, T, J] -> [B, T, h]."""
    at(x, path)
    softplus(step)
    rate = -np.exp(part["A_log"])  # [h, J]
    state = np.zeros((len(x), *rate.shape), x.dtype) if kept is None or kept.state is None else kept.state
    mixed = np.empty_like(x)
    for t in range(x.shape[1]):
        stays = np.exp(step[:, t, :, None] * rate)
        taken = (step[:, t] * x[:, t])[..., None] * key[:, t, None]
        state = stays * state + taken
        mixed[:, t] = (state @ ask[:, t, :, None])[..., 0]
    if kept is not None:
        kept.state = np.array(state.view(np.ndarray))
    mixed += x * part["D"]
    return mixed
