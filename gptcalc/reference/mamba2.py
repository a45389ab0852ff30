"""Mamba-2: a state for each head that forgets by steps of its own, and is read through what the token asks.

B sequences, T tokens, h heads of Y channels, keys and queries of J channels in G groups, U tokens of a chunk. Read in chunks, as
transformers does without kernels of its own (Dao & Gu 2024, arXiv:2405.21060, section 6); one token after a state is one step.
"""

from __future__ import annotations

import numpy as np

from gptcalc.reference.cache import Kept
from gptcalc.reference.kernels import silu, softplus
from gptcalc.reference.mixers import Shapes
from gptcalc.reference.parts import Context, Parts, linear
from gptcalc.reference.recurrent import convolved, cumulative, in_chunks, repeated
from gptcalc.reference.tally import Array, at, moved
from gptcalc.spec.mixers import Mamba2
from gptcalc.spec.model import ModelSpec

NAMES = """
mamba2.norm input_layernorm norm
mamba2.convolution mamba.conv1d mixer.conv1d
mamba2.decay mamba| mixer|
mamba2.readout mamba.norm mixer.norm
mamba2.output mamba.out_proj mixer.out_proj
"""


def weights(path: str, spec: ModelSpec) -> Shapes:
    """Name and shape of the arrays of one layer."""
    own, d = sizes(spec), spec.d_model
    inner, channels = own.n_head * own.d_head, own.n_head * own.d_head + 2 * own.n_group * own.d_state
    shapes: Shapes = {}
    for name, width in (("gate", inner), ("input", channels), ("step", own.n_head)):
        shapes |= {f"{path}.{name}.weight": (d, width)} | ({f"{path}.{name}.bias": (width,)} if own.bias else {})
    shapes |= {f"{path}.convolution.weight": (channels, own.d_conv)} | ({f"{path}.convolution.bias": (channels,)} if own.conv_bias else {})
    shapes |= {f"{path}.decay.{name}": (own.n_head,) for name in ("dt_bias", "A_log", "D")}
    shapes |= {} if own.norm == "none" else {f"{path}.readout.weight": (inner,)}
    return shapes | {f"{path}.output.weight": (inner, d)} | ({f"{path}.output.bias": (d,)} if own.output_bias else {})


def sizes(spec: ModelSpec) -> Mamba2:
    assert isinstance(spec.mixer, Mamba2)
    return spec.mixer


def mix(x: Array, layer: Parts, context: Context, kept: Kept | None) -> Array:
    """[B, T, d] -> [B, T, d]"""
    own, path = sizes(context.spec), f"{context.path}/mamba2"
    B, T, _ = x.shape
    h, G, J, Y = own.n_head, own.n_group, own.d_state, own.d_head
    gate, given, step = (linear(x, layer, f"{path}/{name}") for name in ("gate", "input", "step"))
    read = convolved(given, layer, f"{path}/convolution", kept)
    x, key, ask = read[..., : h * Y].reshape(B, T, h, Y), read[..., h * Y : h * Y + G * J], read[..., h * Y + G * J :]
    key, ask = (repeated(part.reshape(B, T, G, J), h // G) for part in (key, ask))
    decay = layer[f"{path}/decay"]
    at(step, f"{path}/decay")
    step += decay["dt_bias"]
    softplus(step)
    if own.step_least > 0:
        np.maximum(step, own.step_least, out=step)
    if own.step_most is not None:
        np.minimum(step, own.step_most, out=step)
    at(step, f"{path}/recurrence")
    rate = -np.exp(decay["A_log"])
    if kept is not None and kept.state is not None and T == 1:
        mixed = one_step(x[:, 0], step[:, 0], rate, key[:, 0], ask[:, 0], kept)[:, None]
    else:
        mixed = chunks(x * step[..., None], step * rate, key, ask, own.chunk, kept)
    mixed = (mixed + x * decay["D"][:, None]).reshape(B, T, h * Y)
    at(mixed, f"{path}/readout")
    silu(gate)
    if own.norm == "before_gate":
        mixed = normed(mixed, G, layer[f"{path}/readout"]["weight"], context.spec.norm_epsilon)
    mixed = mixed * gate
    if own.norm == "gated":
        mixed = normed(mixed, G, layer[f"{path}/readout"]["weight"], context.spec.norm_epsilon)
    return linear(mixed, layer, f"{path}/output")


def normed(x: Array, groups: int, weight: Array, epsilon: float) -> Array:
    """Each group by itself: [B, T, h*Y] -> [B, T, h*Y]."""
    grouped = x.reshape(*x.shape[:-1], groups, -1)
    mean = np.add.reduce(np.square(grouped), axis=-1, keepdims=True)
    mean /= grouped.shape[-1]
    mean += epsilon
    return np.divide(grouped, np.sqrt(mean)).reshape(x.shape) * weight


def one_step(x: Array, step: Array, rate: Array, key: Array, ask: Array, kept: Kept) -> Array:
    """One token after a state [B, h, Y, J]: [B, h, Y] -> [B, h, Y]."""
    assert kept.state is not None
    stays = np.exp(step * rate)[..., None, None]
    state = stays * kept.state + (step[..., None] * key)[:, :, None] * x[..., None]
    kept.state = np.array(state.view(np.ndarray))
    read: Array = (state @ ask[..., None])[..., 0]
    return read


def chunks(x: Array, log: Array, key: Array, ask: Array, U: int, kept: Kept | None) -> Array:
    """[B, T, h, Y] -> [B, T, h, Y], chunk by chunk, and what chunks leave to those after them."""
    B, T, h, Y = x.shape
    x, key, ask, log = (in_chunks(part, U) for part in (x, key, ask, log[..., None]))  # [B, h, n, U, ...]
    log = cumulative(log[..., 0])
    inside = (ask @ key.swapaxes(-1, -2)) * between(log)
    mixed = inside @ x
    late = key * np.exp(log[..., -1:] - log)[..., None]
    left = x.swapaxes(-1, -2) @ late  # [B, h, n, Y, J]
    J = key.shape[-1]
    first = np.zeros((B, h, 1, Y, J), left.dtype) if kept is None or kept.state is None else kept.state[:, :, None]
    left = moved(lambda plain: np.concatenate([first, plain], axis=2), left)
    ends = moved(lambda plain: np.pad(plain, ((0, 0), (0, 0), (1, 0))), log[..., -1])
    states = (between(cumulative(ends)) @ left.reshape(B, h, -1, Y * J)).reshape(left.shape)
    if kept is not None:
        kept.state = np.array(states[:, :, -1].view(np.ndarray))
    mixed = mixed + (ask @ states[:, :, :-1].swapaxes(-1, -2)) * np.exp(log)[..., None]
    whole: Array = mixed.reshape(B, h, -1, Y).swapaxes(1, 2)
    return whole[:, :T]


def between(log: Array) -> Array:
    """How much is left of each token (column) at each later one (row): [..., U] -> [..., U, U]."""
    apart = log[..., :, None] - log[..., None, :]
    np.copyto(apart, -np.inf, where=np.triu(np.ones(apart.shape[-2:], dtype=bool), 1))
    left: Array = np.exp(apart)
    return left
