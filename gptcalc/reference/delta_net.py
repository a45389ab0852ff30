"""Gated DeltaNet: a state that forgets, and takes of each token what it does not hold yet.

B sequences, T tokens, h heads of Y channels, G heads of keys and queries of J channels, C tokens of a chunk. Read in chunks, as
transformers does without kernels of its own (Yang et al. 2024, arXiv:2412.06464, section 3.3); one token after a state is one step.
"""

from __future__ import annotations

import numpy as np

from gptcalc.reference.cache import Kept
from gptcalc.reference.kernels import sigmoid, silu, softplus
from gptcalc.reference.mixers import Shapes
from gptcalc.reference.parts import Context, Parts, linear
from gptcalc.reference.recurrent import convolved, cumulative, in_chunks, repeated, solved
from gptcalc.reference.tally import Array, at, moved
from gptcalc.spec.mixers import DeltaNet
from gptcalc.spec.model import ModelSpec

CHUNK = 64
EPSILON = 1e-6

NAMES = """
delta_net.norm input_layernorm
delta_net.query linear_attn.q_proj
delta_net.key linear_attn.k_proj
delta_net.value linear_attn.v_proj
delta_net.gate linear_attn.in_proj_z linear_attn.g_proj
delta_net.learn linear_attn.in_proj_b linear_attn.b_proj
delta_net.forget linear_attn.in_proj_a linear_attn.a_proj
delta_net.convolution linear_attn.conv1d
delta_net.decay linear_attn|
delta_net.readout linear_attn.norm linear_attn.o_norm
delta_net.output linear_attn.out_proj linear_attn.o_proj
delta_net.output_norm post_attention_layernorm
"""


def weights(path: str, spec: ModelSpec) -> Shapes:
    """Name and shape of the arrays of one layer."""
    own, d = sizes(spec)
    keys, values = own.n_key_head * own.d_key, own.n_head * own.d_head
    widths = {"query": keys, "key": keys, "value": values, "gate": values, "learn": own.n_head, "forget": own.n_head}
    shapes: Shapes = {f"{path}.{name}.weight": (d, width) for name, width in widths.items()}
    shapes[f"{path}.convolution.weight"] = (2 * keys + values, own.d_conv)
    shapes |= {f"{path}.decay.{name}": (own.n_head,) for name in ("dt_bias", "A_log")}
    return shapes | {f"{path}.readout.weight": (own.d_head,), f"{path}.output.weight": (values, d)}


def sizes(spec: ModelSpec) -> tuple[DeltaNet, int]:
    assert isinstance(spec.mixer, DeltaNet)
    return spec.mixer, spec.d_model


def mix(x: Array, layer: Parts, context: Context, kept: Kept | None) -> Array:
    """[B, T, d] -> [B, T, d]"""
    own, _ = sizes(context.spec)
    path = f"{context.path}/delta_net"
    B, T, _ = x.shape
    h, G, J, Y = own.n_head, own.n_key_head, own.d_key, own.d_head
    parts = [linear(x, layer, f"{path}/{name}") for name in ("query", "key", "value")]
    gate, learn, forget = (linear(x, layer, f"{path}/{name}") for name in ("gate", "learn", "forget"))
    joined = moved(lambda first: np.concatenate([first, *(part.view(np.ndarray) for part in parts[1:])], axis=-1), parts[0])
    read = convolved(joined, layer, f"{path}/convolution", kept)
    q, k = read[..., : G * J].reshape(B, T, G, J), read[..., G * J : 2 * G * J].reshape(B, T, G, J)
    v = read[..., 2 * G * J :].reshape(B, T, h, Y)
    at(x, f"{path}/decay")
    sigmoid(learn)
    if own.negative:
        learn *= 2
    forget += layer[f"{path}/decay"]["dt_bias"]
    softplus(forget)
    forget *= -np.exp(layer[f"{path}/decay"]["A_log"])  # [B, T, h]
    at(x, f"{path}/recurrence")
    q, k = (repeated(unit(part), h // G) for part in (q, k))
    q *= J**-0.5
    mixed = (
        step(q, k, v, forget[..., None], learn, kept)
        if kept is not None and kept.state is not None and T == 1
        else chunks(q, k, v, forget, learn, kept)
    )
    at(x, f"{path}/readout")
    mixed = normed(mixed, layer[f"{path}/readout"]["weight"], own.norm_epsilon or context.spec.norm_epsilon)
    gate = gate.reshape(B, T, h, Y)
    silu(gate)
    mixed *= gate
    return linear(mixed.reshape(B, T, h * Y), layer, f"{path}/output")


def unit(x: Array) -> Array:
    """Each row divided by its length."""
    length = np.add.reduce(np.square(x), axis=-1, keepdims=True)
    length += EPSILON
    return np.divide(x, np.sqrt(length))


def normed(x: Array, weight: Array, epsilon: float) -> Array:
    mean = np.add.reduce(np.square(x), axis=-1, keepdims=True)
    mean /= x.shape[-1]
    mean += epsilon
    return np.multiply(np.divide(x, np.sqrt(mean)), weight)


def step(q: Array, k: Array, v: Array, decay: Array, learn: Array, kept: Kept | None) -> Array:
    """One token after a state [B, h, J, Y]; what is kept of it by head, decay [B, 1, h, 1], or by channel, [B, 1, h, J]."""
    assert kept is not None
    assert kept.state is not None
    q, k, v = q[:, 0, :, :, None], k[:, 0, :, :, None], v[:, 0]  # [B, h, J, 1], [B, h, Y]
    state = np.exp(decay[:, 0])[..., None] * kept.state
    held = np.add.reduce(state * k, axis=-2)
    change = (v - held) * learn[:, 0, :, None]
    state = state + k * change[:, :, None]
    kept.state = np.array(state.view(np.ndarray))
    read: Array = np.add.reduce(state * q, axis=-2)
    return read[:, None]


def chunks(q: Array, k: Array, v: Array, decay: Array, learn: Array, kept: Kept | None) -> Array:
    """[B, T, h, J] and [B, T, h, Y] -> [B, T, h, Y], chunk by chunk."""
    B, T, h, J = q.shape
    Y, C = v.shape[-1], CHUNK
    q, k, v, decay, learn = (in_chunks(part, C) for part in (q, k, v, decay[..., None], learn[..., None]))  # [B, h, n, C, ...]
    taught, asked = v * learn, k * learn
    log = cumulative(decay[..., 0])  # [B, h, n, C]
    between = log[..., :, None] - log[..., None, :]
    np.copyto(between, -np.inf, where=np.triu(np.ones((C, C), dtype=bool), 1))
    between = np.exp(between)
    across = k.swapaxes(-1, -2)
    system = (asked @ across) * between
    inside = (q @ across) * between
    since = np.exp(log)[..., None]
    new = solved(system, taught)
    known = solved(system, asked * since)
    q = q * since
    k = k * np.exp(log[..., -1:] - log)[..., None]
    whole = np.exp(log[..., -1])[..., None, None]
    state = np.zeros((B, h, J, Y), q.dtype) if kept is None or kept.state is None else kept.state
    mixed = np.empty_like(v)
    for n in range(v.shape[2]):
        learned = new[:, :, n] - known[:, :, n] @ state
        mixed[:, :, n] = q[:, :, n] @ state + inside[:, :, n] @ learned
        state = whole[:, :, n] * state + k[:, :, n].swapaxes(-1, -2) @ learned
    if kept is not None:
        kept.state = np.array(state.view(np.ndarray))
    return mixed.reshape(B, h, -1, Y).swapaxes(1, 2)[:, :T]
