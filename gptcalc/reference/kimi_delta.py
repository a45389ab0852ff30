"""Kimi Delta Attention: gated DeltaNet whose every channel of a key forgets at a rate of its own.

B sequences, T tokens, h heads of J channels, C tokens of a chunk. Read in chunks, as transformers does without kernels of its own (Kimi
Team 2025, arXiv:2510.26692, section 3); one token after a state is one step.
"""

from __future__ import annotations

import numpy as np

from gptcalc.reference.cache import Kept
from gptcalc.reference.delta_net import CHUNK, normed, step, unit
from gptcalc.reference.kernels import sigmoid, softplus
from gptcalc.reference.mixers import Shapes
from gptcalc.reference.parts import Context, Parts, linear
from gptcalc.reference.recurrent import convolved, cumulative, in_chunks, solved
from gptcalc.reference.tally import Array, at, moved
from gptcalc.spec.mixers import KimiDelta
from gptcalc.spec.model import ModelSpec

NAMES = """
kimi_delta.norm input_layernorm
kimi_delta.query self_attn.q_proj
kimi_delta.key self_attn.k_proj
kimi_delta.value self_attn.v_proj
kimi_delta.learn self_attn.b_proj
kimi_delta.forget self_attn.forget_gate.f_proj
kimi_delta.forget_down self_attn.forget_gate.f_a_proj
kimi_delta.forget_up self_attn.forget_gate.f_b_proj
kimi_delta.gate self_attn.g_proj
kimi_delta.gate_down self_attn.g_a_proj
kimi_delta.gate_up self_attn.g_b_proj
kimi_delta.convolution self_attn.conv1d
kimi_delta.decay self_attn.forget_gate|
kimi_delta.readout self_attn.o_norm
kimi_delta.output self_attn.o_proj
"""


def weights(path: str, spec: ModelSpec) -> Shapes:
    """Name and shape of the arrays of one layer."""
    own, d = sizes(spec), spec.d_model
    W = own.n_head * own.d_head
    shapes: Shapes = {
        f"{path}.{name}.weight": (d, width) for name, width in {"query": W, "key": W, "value": W, "learn": own.n_head}.items()
    }
    for name in ("forget", "gate"):
        if own.rank is None:
            shapes |= {f"{path}.{name}.weight": (d, W)}
        else:
            shapes |= {f"{path}.{name}_down.weight": (d, own.rank), f"{path}.{name}_up.weight": (own.rank, W)}
    shapes[f"{path}.convolution.weight"] = (3 * W, own.d_conv)
    heads = (own.n_head,) if own.rank is None else (1, 1, own.n_head, 1)  # as its two classes store it
    shapes |= {f"{path}.decay.dt_bias": (W,), f"{path}.decay.A_log": heads}
    return shapes | {f"{path}.readout.weight": (own.d_head,), f"{path}.output.weight": (W, d)}


def sizes(spec: ModelSpec) -> KimiDelta:
    assert isinstance(spec.mixer, KimiDelta)
    return spec.mixer


def mix(x: Array, layer: Parts, context: Context, kept: Kept | None) -> Array:
    """[B, T, d] -> [B, T, d]"""
    own, path = sizes(context.spec), f"{context.path}/kimi_delta"
    B, T, _ = x.shape
    h, J = own.n_head, own.d_head
    parts = [linear(x, layer, f"{path}/{name}") for name in ("query", "key", "value")]
    learn = linear(x, layer, f"{path}/learn")
    forget, gate = (gate_of(x, layer, f"{path}/{name}", own) for name in ("forget", "gate"))
    joined = moved(lambda first: np.concatenate([first, *(part.view(np.ndarray) for part in parts[1:])], axis=-1), parts[0])
    read = convolved(joined, layer, f"{path}/convolution", kept)
    q, k, v = (read[..., i * h * J : (i + 1) * h * J].reshape(B, T, h, J) for i in range(3))
    at(x, f"{path}/decay")
    sigmoid(learn)
    forget += layer[f"{path}/decay"]["dt_bias"]
    forget = forget.reshape(B, T, h, J)
    rate = np.exp(layer[f"{path}/decay"]["A_log"]).reshape(h, 1)
    if own.least is None:
        softplus(forget)
        forget *= -rate
    else:
        forget *= rate
        sigmoid(forget)
        forget *= own.least
    at(x, f"{path}/recurrence")
    q, k = unit(q), unit(k)
    q *= J**-0.5
    stepping = kept is not None and kept.state is not None and T == 1
    mixed = (step if stepping else chunks)(q, k, v, forget, learn, kept)
    at(x, f"{path}/readout")
    mixed = normed(mixed, layer[f"{path}/readout"]["weight"], context.spec.norm_epsilon)
    gate = gate.reshape(B, T, h, J)
    sigmoid(gate)
    mixed *= gate
    return linear(mixed.reshape(B, T, h * J), layer, f"{path}/output")


def gate_of(x: Array, layer: Parts, path: str, own: KimiDelta) -> Array:
    """[B, T, d] -> [B, T, h*J], through a rank or straight."""
    return linear(x, layer, path) if own.rank is None else linear(linear(x, layer, f"{path}_down"), layer, f"{path}_up")


def chunks(q: Array, k: Array, v: Array, decay: Array, learn: Array, kept: Kept | None) -> Array:
    """[B, T, h, J] -> [B, T, h, J], chunk by chunk."""
    B, T, h, J = q.shape
    q, k, v, decay, learn = (in_chunks(part, CHUNK) for part in (q, k, v, decay, learn[..., None]))  # [B, h, n, C, ...]
    state = np.zeros((B, h, J, J), q.dtype) if kept is None or kept.state is None else kept.state
    mixed = np.empty_like(v)
    for n in range(v.shape[2]):
        one = q[:, :, n], k[:, :, n], v[:, :, n], decay[:, :, n], learn[:, :, n]
        mixed[:, :, n], state = chunk(*one, state)
    if kept is not None:
        kept.state = np.array(state.view(np.ndarray))
    return mixed.reshape(B, h, -1, J).swapaxes(1, 2)[:, :T]


def chunk(q: Array, k: Array, v: Array, decay: Array, learn: Array, state: Array) -> tuple[Array, Array]:
    """What C tokens [B, h, C, J] read, and the state [B, h, J, J] after them."""
    C = q.shape[2]
    log = cumulative(decay.swapaxes(-1, -2)).swapaxes(-1, -2)  # [B, h, C, J]
    between = log[..., :, None, :] - log[..., None, :, :]  # [B, h, C, C, J]
    np.copyto(between, -np.inf, where=np.triu(np.ones((C, C), dtype=bool), 1)[..., None])
    between = np.exp(between)
    taught, asked = v * learn, k * learn
    system = np.add.reduce(asked[..., :, None, :] * k[..., None, :, :] * between, axis=-1)  # [B, h, C, C]
    inside = np.add.reduce(q[..., :, None, :] * k[..., None, :, :] * between, axis=-1)
    inverse = solved(system, np.eye(C, dtype=system.dtype))
    since = np.exp(log)
    learned = inverse @ taught - (inverse @ (asked * since)) @ state
    read = (q * since) @ state + inside @ learned
    kept = k * np.exp(log[..., -1:, :] - log)
    return read, np.exp(log[..., -1, :])[..., None] * state + kept.swapaxes(-1, -2) @ learned
