"""Real checkpoints of openai-gpt, gpt2, opt, gpt_neox, gptj, llama and mistral, by the names that transformers gives their tensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from gptcalc.errors import GptcalcError
from gptcalc.reference.tally import Array
from gptcalc.reference.weights import floating, weight_shapes
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.shape import Shape, shape_of

QUERY_KEY_VALUE = ("attention.query", "attention.key", "attention.value")

PREFIXES = ("transformer.", "gpt_neox.", "model.decoder.", "decoder.", "model.")

BUFFERS = re.compile(r"(?:.*\.)?(?:(?:attn|attention)\.(?:masked_)?bias|(?:rotary_emb\.)?(?:original_)?inv_freq|position_ids)")
"""Tensors that some checkpoints carry and that are computed, not learned."""

Split = Callable[[Array, Shape[int]], list[Array]]


class Layout(NamedTuple):
    """How one family names and stores its tensors. A fused matrix is the one place of query, key and value; `split` takes it apart."""

    family: str
    modules: dict[str, str]  # ours -> theirs; {} stands for the layer
    block: str
    transposed: bool  # matrices are [out, in], as torch.nn.Linear has them
    split: Split | None = None


def split_in_thirds(fused: Array, s: Shape[int]) -> list[Array]:
    """GPT-2: all queries, then all keys, then all values, along the last axis."""
    H, K = s.n_head * s.d_head, s.n_kv_head * s.d_head
    return np.split(fused, [H, H + K], axis=-1)


def split_by_head(fused: Array, s: Shape[int]) -> list[Array]:
    """GPT-NeoX: query, key and value of the first head, of the second head, ..., along the last axis."""
    group = s.n_head // s.n_kv_head  # query heads per head of keys and values
    heads = fused.reshape(*fused.shape[:-1], s.n_kv_head, group + 2, s.d_head)
    parts = np.split(heads, [group, group + 1], axis=-2)
    return [part.reshape(*fused.shape[:-1], -1) for part in parts]


def _modules(fused: str | None = None, **names: str) -> dict[str, str]:
    """`attention_norm="ln_1"` -> {"attention.norm": "ln_1"}, and the fused matrix in three places."""
    known = {re.sub("^(attention|mlp|embedding|head)_", r"\1.", name): theirs for name, theirs in names.items()}
    return known | (dict.fromkeys(QUERY_KEY_VALUE, fused) if fused else {})


_GPT = {"attention_norm": "ln_1", "attention_output": "attn.c_proj", "mlp_norm": "ln_2", "mlp_up": "mlp.c_fc", "mlp_down": "mlp.c_proj"}
_SELF_ATTENTION = {"attention_query": "self_attn.q_proj", "attention_key": "self_attn.k_proj", "attention_value": "self_attn.v_proj"}

LAYOUTS = (
    Layout(
        "openai-gpt",
        _modules("attn.c_attn", embedding_token="tokens_embed", embedding_position="positions_embed", head_output="lm_head", **_GPT),
        block="h",
        transposed=False,
        split=split_in_thirds,
    ),
    Layout(
        "gpt2",
        _modules("attn.c_attn", embedding_token="wte", embedding_position="wpe", final_norm="ln_f", head_output="lm_head", **_GPT),
        block="h",
        transposed=False,
        split=split_in_thirds,
    ),
    Layout(
        "opt",
        _modules(
            embedding_token="embed_tokens",
            embedding_position="embed_positions",
            embedding_project_in="project_in",
            attention_norm="self_attn_layer_norm",
            attention_output="self_attn.out_proj",
            mlp_norm="final_layer_norm",
            mlp_up="fc1",
            mlp_down="fc2",
            final_norm="final_layer_norm",
            head_project_out="project_out",
            head_output="lm_head",
            **_SELF_ATTENTION,
        ),
        block="layers",
        transposed=True,
    ),
    Layout(
        "gpt_neox",
        _modules(
            "attention.query_key_value",
            embedding_token="embed_in",
            attention_norm="input_layernorm",
            attention_output="attention.dense",
            mlp_norm="post_attention_layernorm",
            mlp_up="mlp.dense_h_to_4h",
            mlp_down="mlp.dense_4h_to_h",
            final_norm="final_layer_norm",
            head_output="lm_head",
        ),
        block="layers",
        transposed=True,
        split=split_by_head,
    ),
    Layout(
        "gptj",
        _modules(
            embedding_token="wte",
            attention_norm="ln_1",
            attention_query="attn.q_proj",
            attention_key="attn.k_proj",
            attention_value="attn.v_proj",
            attention_output="attn.out_proj",
            mlp_up="mlp.fc_in",
            mlp_down="mlp.fc_out",
            final_norm="ln_f",
            head_output="lm_head",
        ),
        block="h",
        transposed=True,
    ),
    Layout(
        "llama or mistral",
        _modules(
            embedding_token="embed_tokens",
            attention_norm="input_layernorm",
            attention_output="self_attn.o_proj",
            mlp_norm="post_attention_layernorm",
            mlp_gate="mlp.gate_proj",
            mlp_up="mlp.up_proj",
            mlp_down="mlp.down_proj",
            final_norm="norm",
            head_output="lm_head",
            **_SELF_ATTENTION,
        ),
        block="layers",
        transposed=True,
    ),
)


def load_state_dict(spec: ModelSpec, state_dict: Mapping[str, Any], dtype: DTypeLike = np.float32) -> dict[str, Array]:
    """The weights of a real checkpoint, name -> torch tensor or array, as `forward` takes them; the family is told from the names.

    Arrays are copied, so the checkpoint may be dropped or changed afterwards.
    Raises GptcalcError, naming the tensor and both shapes, for a tensor that is missing, misshapen, or that the spec has no place for, and
    for an unknown family.
    """
    dtype = floating(dtype)
    names: dict[str, str] = {}  # without the prefix -> as the checkpoint has it
    for name in state_dict:
        if not BUFFERS.fullmatch(name) and names.setdefault(_bare(name), name) != name:
            raise GptcalcError(f"tensors '{names[_bare(name)]}' and '{name}' are the same part of the model")
    layout = _layout_of(names)
    shape, shapes = shape_of(spec), weight_shapes(spec)
    weights: dict[str, Array] = {}
    used: set[str] = set()
    for ours, wanted in shapes.items():
        theirs = _their_name(layout, ours, wanted)
        stored, part = _stored_shape(layout, ours, wanted, shape)
        if theirs not in names:
            raise GptcalcError(f"tensor '{theirs}' of shape {stored} is missing from the {layout.family} checkpoint")
        tensor = _array(names[theirs], state_dict[names[theirs]])
        if tensor.shape != stored:
            raise GptcalcError(f"tensor '{names[theirs]}' has shape {tensor.shape}, and the model needs {stored}")
        used.add(theirs)
        if tensor.ndim == 2 and _is_transposed(layout, ours):
            tensor = tensor.T
        if part is not None and layout.split is not None:
            tensor = layout.split(tensor, shape)[part]
        weights[ours] = np.array(tensor, dtype=dtype, order="C")
    if spec.tied:
        used |= _check_tied_head(layout, names, state_dict)
    for theirs, name in names.items():
        if theirs not in used:
            raise GptcalcError(f"tensor '{name}' of shape {_array(name, state_dict[name]).shape} has no place in the model")
    return weights


def _bare(name: str) -> str:
    if name == "embed_out.weight":  # GPT-NeoX's head, in files written before transformers 5
        return "lm_head.weight"
    return next((name.removeprefix(prefix) for prefix in PREFIXES if name.startswith(prefix)), name)


def _layout_of(names: Mapping[str, str]) -> Layout:
    for layout in LAYOUTS:
        marks = (layout.modules["embedding.token"], f"{layout.block}.0.{layout.modules['attention.output']}")
        if all(f"{mark}.weight" in names for mark in marks):
            return layout
    known = ", ".join(layout.family for layout in LAYOUTS)
    raise GptcalcError("the checkpoint is of no family that gptcalc can load", hint=f"known: {known}, with transformers' names")


def _their_name(layout: Layout, ours: str, wanted: tuple[int, ...]) -> str:
    layered = re.fullmatch(r"block\.(\d+)\.(.*)\.(\w+)", ours)
    module, kind = (layered[2], layered[3]) if layered else ours.rsplit(".", 1)
    if module not in layout.modules:
        raise GptcalcError(f"a checkpoint of {layout.family} has no tensor for '{ours}' of shape {wanted}")
    return (f"{layout.block}.{layered[1]}." if layered else "") + f"{layout.modules[module]}.{kind}"


def _stored_shape(layout: Layout, ours: str, wanted: tuple[int, ...], s: Shape[int]) -> tuple[tuple[int, ...], int | None]:
    """The shape in the checkpoint, and which third of a fused tensor `ours` is."""
    part = next((i for i, module in enumerate(QUERY_KEY_VALUE) if f".{module}." in ours), None) if layout.split else None
    if part is not None:
        wanted = (*wanted[:-1], (s.n_head + 2 * s.n_kv_head) * s.d_head)
    return (wanted[::-1] if len(wanted) == 2 and _is_transposed(layout, ours) else wanted), part


def _is_transposed(layout: Layout, ours: str) -> bool:
    """Whether a matrix is [out, in] in the checkpoint. Embeddings never are, and the head is torch.nn.Linear in every family."""
    return ours == "head.output.weight" or (layout.transposed and ours not in ("embedding.token.weight", "embedding.position.weight"))


def _check_tied_head(layout: Layout, names: Mapping[str, str], state_dict: Mapping[str, Any]) -> set[str]:
    """A tied checkpoint may carry its head again, as the same numbers; the names that this uses up."""
    head, embedding = (f"{layout.modules[module]}.weight" for module in ("head.output", "embedding.token"))
    if head not in names:
        return set()
    again, table = (_array(names[name], state_dict[names[name]]) for name in (head, embedding))
    if not np.array_equal(again, table):
        shapes = f"{again.shape} and {table.shape}"
        raise GptcalcError(f"tensors '{names[head]}' and '{names[embedding]}' ({shapes}) differ, and the model's head is tied")
    return {head}


def _array(name: str, value: Any) -> Array:
    try:
        if hasattr(value, "detach"):  # a torch tensor; bfloat16 is unknown to NumPy
            value = value.detach().cpu()
            value = value.float() if str(value.dtype) == "torch.bfloat16" else value
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        raise GptcalcError(f"tensor '{name}' is not an array") from None
    if not np.issubdtype(array.dtype, np.floating):
        raise GptcalcError(f"tensor '{name}' of shape {array.shape} holds {array.dtype}, not floating point numbers")
    return array
