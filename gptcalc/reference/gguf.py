"""Which tensors of a GGUF file are which arrays of the model, by the names that llama.cpp gives them.

Source: gguf-py, tensor_mapping.py; llama.cpp, convert_hf_to_gguf.py (what is put together, split or renamed on the way).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

from gptcalc.reference.checkpoint_names import EXPERTS, GATE_UP, QUERY_KEY_VALUE, Fused, by_key_head, in_turn, layout, query_and_gate
from gptcalc.reference.checkpoints import Checkpoint
from gptcalc.reference.files import Difference
from gptcalc.reference.weights import weight_shapes
from gptcalc.spec.model import ModelSpec

NAMES = """
embedding.token token_embd
embedding.position position_embd
embedding.token_type token_types
embedding.norm token_embd_norm
attention.norm attn_norm
attention.query attn_q
attention.key attn_k
attention.value attn_v
attention.output attn_output
attention.gate attn_gate
attention.query_norm attn_q_a_norm attn_q_norm
attention.key_norm attn_k_norm
attention.query_down attn_q_a
attention.query_up attn_q_b
attention.key_value_down attn_kv_a_mqa
attention.key_value_norm attn_kv_a_norm
attention.key_value_up attn_kv_b
attention.softmax attn_sinks.weight|
attention.inner_norm attn_sub_norm
attention.output_norm post_attention_norm
mlp.norm ffn_norm post_attention_norm attn_norm_2 attn_norm
mlp.gate ffn_gate
mlp.up ffn_up
mlp.down ffn_down
mlp.inner_norm ffn_sub_norm
mlp.output_norm post_ffw_norm
mlp.router ffn_gate_inp
mlp.correction exp_probs_b
mlp.latent_down ffn_latent_down
mlp.latent_up ffn_latent_up
mlp.experts.gate ffn_gate_exps
mlp.experts.up ffn_up_exps
mlp.experts.down ffn_down_exps
mlp.shared.gate ffn_gate_shexp ffn_gate
mlp.shared.up ffn_up_shexp ffn_up
mlp.shared.down ffn_down_shexp ffn_down
mlp.shared.scale ffn_gate_inp_shexp
final_norm output_norm token_embd_norm
head.output output
delta_net.norm attn_norm
delta_net.gate attn_gate
delta_net.learn ssm_beta
delta_net.forget ssm_alpha
delta_net.convolution ssm_conv1d
delta_net.decay ssm|
delta_net.readout ssm_norm
delta_net.output ssm_out
mamba.norm attn_norm
mamba.convolution ssm_conv1d
mamba.step ssm_dt
mamba.rank_norm ssm_dt_norm
mamba.key_norm ssm_b_norm
mamba.ask_norm ssm_c_norm
mamba.recurrence ssm|
mamba.output ssm_out
mamba2.norm attn_norm
mamba2.convolution ssm_conv1d
mamba2.decay ssm|
mamba2.readout ssm_norm
mamba2.output ssm_out
short_conv.norm attn_norm
short_conv.convolution shortconv.conv
short_conv.output shortconv.out_proj
"""
"""Ours, then theirs, as in `checkpoint_names`."""

RENAMED = {"ssm_a": "ssm.A_log", "ssm_d": "ssm.D", "ssm_dt.bias": "ssm.dt_bias", "ffn_norm": "ffn_norm.weight"}
"""Tensors whose names a layout cannot say."""

DELTA = ("delta_net.query", "delta_net.key", "delta_net.value")
MAMBA2 = ("mamba2.gate", "mamba2.input", "mamba2.step")
FUSED = (
    Fused("attn_qkv", QUERY_KEY_VALUE, in_turn),
    Fused("attn_qkv", DELTA, in_turn),
    Fused("ssm_in", (*DELTA, "delta_net.gate"), by_key_head),
    Fused("ssm_ba", ("delta_net.learn", "delta_net.forget"), by_key_head),
    Fused("ssm_in", MAMBA2, in_turn),
    Fused("ssm_in", ("mamba.input", "mamba.gate"), in_turn),
    Fused("ssm_x", ("mamba.rank", "mamba.key", "mamba.ask"), in_turn),
    Fused("shortconv.in_proj", ("short_conv.gate", "short_conv.output_gate", "short_conv.input"), in_turn),
    Fused("ffn_gate_up_exps", EXPERTS, in_turn),
)

BESIDE = re.compile(
    r"rope_(?:freqs|factors_long|factors_short)\.weight|blk\.\d+\.(?:attn_rot_embd\.weight|rope_freqs\.weight|exp_probs_b(?:\.bias)?)"
)
"""Tensors that are computed or steered, not learned."""

PART = re.compile(r"(blk\.\d+\.)attn_[kv]_b\.weight")
FURTHER = re.compile(r"blk\.\d+\.nextn\.")


class Matched(NamedTuple):
    """`bits`: for each array of the model those of an element, with its share of what stands beside. `used` tensors are the model's,
    those of `joined` under the name of what they are parts of; `beside` them stand others, by what they are."""

    bits: Mapping[str, float]
    used: frozenset[str]
    joined: Mapping[str, str]
    beside: Mapping[str, tuple[str, ...]]
    differences: tuple[Difference, ...]


def matched(spec: ModelSpec, tensors: Mapping[str, Sequence[int]]) -> Matched:
    """The arrays of a model in a file's tensors, each of which has its bytes and its shape."""
    joined = {name: _whole(name) for name in tensors if _whole(name) and _other(name) in tensors}
    stored = {name: (size[0], tuple(size[1:])) for name, size in _together(tensors, joined).items()}
    shapes = weight_shapes(spec)
    names = {name: name for name in stored} | _renamed(stored)
    checkpoint = Checkpoint(layout("llama.cpp", "blk", NAMES, fused=_fused(spec, names)), spec, names, {})
    bits: dict[str, float] = {}
    used: set[str] = set()
    differences: dict[str, Difference] = {}
    for ours in shapes:
        for theirs, wanted in checkpoint.wanted(ours, shapes):
            name = names.get(theirs)
            if name is None:
                differences[theirs] = Difference(theirs, None, wanted)
                continue
            size, shape = stored[name]
            used.add(name)
            bits[ours] = 8 * size / prod(shape)
            if _plain(shape) != _plain(wanted) and not (_flat(ours) and prod(shape) == prod(wanted)):
                differences[name] = Difference(name, shape, wanted)
    beside: dict[str, tuple[str, ...]] = {}
    for name in stored:
        what = None if name in used else _what(name, spec)
        if what is not None:
            beside[what] = (*beside.get(what, ()), name)
        elif name not in used:
            differences[name] = Difference(name, stored[name][1], None)
    return Matched(bits, frozenset(used), joined, beside, tuple(differences.values()))


def _plain(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _flat(ours: str) -> bool:
    """Vectors that some files store in groups."""
    return "norm" in ours or "readout" in ours


def _whole(name: str) -> str:
    """What the two parts of latent attention's projection up, of keys and of values, are made of; "" of any other tensor."""
    found = PART.fullmatch(name)
    return f"{found[1]}attn_kv_b.weight" if found else ""


def _other(name: str) -> str:
    return name.replace("attn_k_b", "attn_v_b") if "attn_k_b" in name else name.replace("attn_v_b", "attn_k_b")


def _together(tensors: Mapping[str, Sequence[int]], joined: Mapping[str, str]) -> dict[str, Sequence[int]]:
    found = {name: size for name, size in tensors.items() if name not in joined}
    for name, whole in joined.items():
        if "attn_k_b" in name:
            keys, values = tensors[name], tensors[_other(name)]
            latent = values[-1]
            found[whole] = [keys[0] + values[0], (prod(keys[1:]) + prod(values[1:])) // latent, latent]
    return found


def _renamed(stored: Mapping[str, object]) -> dict[str, str]:
    found = {}
    for name in stored:
        *place, rest = name.split(".", 2)
        if rest in RENAMED:
            found[".".join((*place, RENAMED[rest]))] = name
    return found


def _fused(spec: ModelSpec, names: Mapping[str, str]) -> tuple[Fused, ...]:
    """Where a gate or an up projection has no tensor of its own it is in the other's."""
    found: tuple[Fused, ...] = FUSED
    if any(kind.gated for kind in (spec, *spec.kinds.values())):
        joined = (Fused("ffn_up", GATE_UP, in_turn), Fused("ffn_up_shexp", ("mlp.shared.gate", "mlp.shared.up"), in_turn))
        found = (*found, *(one for one in joined if not any(f".{one.name.replace('_up', '_gate')}." in name for name in names)))
    gated = any(kind.attention_gate != "none" for kind in spec.kinds.values()) or spec.attention_gate != "none"
    if gated and any(kind.mixer is not None for kind in spec.kinds.values()):
        found = (Fused("attn_q", ("attention.query", "attention.gate"), query_and_gate), *found)
    return found


def _what(name: str, spec: ModelSpec) -> str | None:
    if BESIDE.fullmatch(name):
        return "buffers"
    layer = re.match(r"blk\.(\d{1,9})\.", name)
    if FURTHER.match(name) or (layer and int(layer[1]) >= spec.n_layer and spec.n_layer + 8 > int(layer[1])):
        return "multi-token prediction"
    return None
