"""RG-LRU: a real number of state for each channel. B sequences, T tokens, h blocks of Y channels, W channels in all.

Source: De et al. 2024 (Griffin), arXiv:2402.19427, section 2.4.
"""

from __future__ import annotations

import numpy as np

from gptcalc.reference.cache import Kept
from gptcalc.reference.kernels import ACTIVATIONS, sigmoid
from gptcalc.reference.mixers import Shapes
from gptcalc.reference.parts import Context, Parts, linear
from gptcalc.reference.recurrent import convolved
from gptcalc.reference.tally import Array, at, moved
from gptcalc.spec.mixers import RgLru
from gptcalc.spec.model import ModelSpec

NAMES = """
rg_lru.norm temporal_pre_norm
rg_lru.gate temporal_block.linear_y
rg_lru.input temporal_block.linear_x
rg_lru.convolution temporal_block.conv_1d
rg_lru.recurrence temporal_block.rg_lru|
rg_lru.output temporal_block.linear_out
attention.norm temporal_pre_norm
attention.query temporal_block.q_proj
attention.key temporal_block.k_proj
attention.value temporal_block.v_proj
attention.output temporal_block.o_proj
mlp.norm channel_pre_norm
mlp.gate mlp_block.gate_proj
mlp.up mlp_block.up_proj
mlp.down mlp_block.down_proj
final_norm final_norm
"""


def weights(path: str, spec: ModelSpec) -> Shapes:
    """Name and shape of the arrays of one layer."""
    own, d = sizes(spec), spec.d_model
    h, Y = own.n_head, own.d_head
    W = h * Y
    shapes: Shapes = {}
    for name, n_in, n_out in (("gate", d, W), ("input", d, W)):
        shapes |= {f"{path}.{name}.weight": (n_in, n_out), f"{path}.{name}.bias": (n_out,)}
    shapes |= {f"{path}.convolution.weight": (W, own.d_conv), f"{path}.convolution.bias": (W,)}
    shapes[f"{path}.recurrence.recurrent_param"] = (W,)
    for name in ("input_gate", "recurrent_gate"):
        shapes |= {f"{path}.recurrence.{name}_weight": (h, Y, Y), f"{path}.recurrence.{name}_bias": (h, Y)}
    return shapes | {f"{path}.output.weight": (W, d), f"{path}.output.bias": (d,)}


def sizes(spec: ModelSpec) -> RgLru:
    assert isinstance(spec.mixer, RgLru)
    return spec.mixer


def mix(x: Array, layer: Parts, context: Context, kept: Kept | None) -> Array:
    """[B, T, d] -> [B, T, d]"""
    path = f"{context.path}/rg_lru"
    gate = linear(x, layer, f"{path}/gate")
    at(x, f"{path}/activation")
    ACTIVATIONS[context.spec.activation](gate)
    given = linear(x, layer, f"{path}/input")
    stepping = kept is not None and kept.tail is not None and x.shape[1] == 1
    read = (step if stepping else before)(given, layer, f"{path}/convolution", kept)
    mixed = scan(read, layer[f"{path}/recurrence"], f"{path}/recurrence", kept)
    at(x, f"{path}/readout")
    mixed *= gate
    return linear(mixed, layer, f"{path}/output")


def before(x: Array, layer: Parts, path: str, kept: Kept | None) -> Array:
    """Each channel over the last X tokens."""
    return convolved(x, layer, path, kept, activated=False)


def step(x: Array, layer: Parts, path: str, kept: Kept | None) -> Array:
    """The same of one token, as a sum of products."""
    assert kept is not None
    window = moved(lambda plain: np.concatenate([kept.tail, plain], axis=1), x)
    kept.tail = np.array(window.view(np.ndarray)[:, 1:])
    at(x, path)
    read: Array = np.add.reduce(window * layer[path]["weight"].T, axis=1, keepdims=True)
    read += layer[path]["bias"]
    return read


def scan(x: Array, part: dict[str, Array], path: str, kept: Kept | None) -> Array:
    """Token by token: [B, T, W] -> [B, T, W]. The first token of a sequence is taken whole."""
    at(x, path)
    B, T, W = x.shape
    h, Y = part["input_gate_bias"].shape
    blocks = x.reshape(B, T, h, 1, Y)
    gates = []
    for name in ("input_gate", "recurrent_gate"):
        gates.append((blocks @ part[f"{name}_weight"])[..., 0, :])  # [B, T, h, Y]
        gates[-1] += part[f"{name}_bias"]
        sigmoid(gates[-1])
    taken, stays = (gate.reshape(B, T, W) for gate in gates)
    stays *= -8 * np.log1p(np.exp(part["recurrent_param"]))
    square = np.exp(2 * stays)
    stays = np.exp(stays)
    root = np.sqrt(1 - square)
    first = kept is None or kept.state is None
    if first:
        root[:, 0] = 1
    taken *= x
    taken *= root
    state = np.zeros((B, W), x.dtype) if first or kept is None or kept.state is None else kept.state
    if first:
        stays[:, 0] = 0
    mixed = np.empty_like(x)
    for t in range(T):
        state = stays[:, t] * state + taken[:, t]
        mixed[:, t] = state
    if kept is not None:
        kept.state = np.array(state.view(np.ndarray))
    return mixed
