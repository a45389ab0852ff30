"""How families of real checkpoints name and store their tensors, by the names that transformers gives them.

A layout serves every family that its names fit: what a model does not have is not looked for, and of several names for one tensor the
first that the checkpoint has is the one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from gptcalc.reference.mixers import mixer
from gptcalc.reference.tally import Array
from gptcalc.spec.mixers import KINDS
from gptcalc.spec.shape import Shape

Split = Callable[[Array, list[int], Shape[int]], list[Array]]


class Fused(NamedTuple):
    """One tensor that holds several of ours, side by side along its output axis; `split` takes it apart. Names as in `Layout`."""

    name: str
    parts: tuple[str, ...]
    split: Split


class Layout(NamedTuple):
    """`modules`: ours -> theirs, below `block` and its number for parts of a layer.

    A name that ends with `|` is a bare parameter: "x|" stands for tensors x and x_bias, any other for x.weight and x.bias. `{}` in a name
    stands for the number of a head or an expert, each of which is a tensor of its own. `mark` is in the name of
    some tensor of a checkpoint of this layout.
    """

    family: str
    block: str
    modules: Mapping[str, tuple[str, ...]]
    transposed: bool  # matrices are [out, in], as torch.nn.Linear has them
    fused: tuple[Fused, ...] = ()
    mark: str = ""
    upright: frozenset[str] = frozenset()  # ours that are stored [in, out] all the same
    shared_heads: bool | None = None  # of models whose key-value heads are shared, or are not; None: of both


def in_turn(fused: Array, widths: list[int], s: Shape[int]) -> list[Array]:
    """All of the first part, then all of the second (GPT-2: queries, keys, values)."""
    return np.split(fused, np.cumsum(widths)[:-1].tolist(), axis=-1)


def by_head(fused: Array, widths: list[int], s: Shape[int]) -> list[Array]:
    """GPT-NeoX, BLOOM, Falcon: query, key and value of the first key-value head and its queries, of the second, ..."""
    group = s.n_head // s.n_kv_head  # query heads per head of keys and values
    heads = fused.reshape(*fused.shape[:-1], s.n_kv_head, group + 2, s.d_head)
    parts = np.split(heads, [group, group + 1], axis=-2)
    return [part.reshape(*fused.shape[:-1], -1) for part in parts]


def in_quarters(fused: Array, widths: list[int], s: Shape[int]) -> list[Array]:
    """CodeGen: a quarter of the queries, of the values, of the keys, then the next quarters."""
    quarters = fused.reshape(*fused.shape[:-1], 4, 3, -1)
    return [quarters[..., i, :].reshape(*fused.shape[:-1], -1) for i in (0, 2, 1)]


def alternating(fused: Array, widths: list[int], s: Shape[int]) -> list[Array]:
    """gpt-oss: gate and up, channel by channel."""
    return [fused[..., ::2], fused[..., 1::2]]


def layout(family: str, block: str, modules: str, **options: object) -> Layout:
    """A layout from lines of "ours theirs theirs ..."; a second line of the same part adds to the first."""
    pairs: dict[str, tuple[str, ...]] = {}
    for ours, *theirs in filter(None, (line.split() for line in modules.splitlines())):
        pairs[ours] = (*pairs.get(ours, ()), *theirs)
    return Layout(family, block, pairs, **{"transposed": True, **options})  # type: ignore[arg-type]


def by_key_head(fused: Array, widths: list[int], s: Shape[int]) -> list[Array]:
    """Qwen 3 Next: all that belongs to the first head of keys, to the second, ..."""
    assert s.mixer is not None
    groups = s.mixer.n_group
    heads = fused.reshape(*fused.shape[:-1], groups, -1)
    parts = np.split(heads, np.cumsum([width // groups for width in widths])[:-1].tolist(), axis=-1)
    return [part.reshape(*fused.shape[:-1], -1) for part in parts]


def query_and_gate(fused: Array, widths: list[int], s: Shape[int]) -> list[Array]:
    """Qwen 3 Next: each head's query, then its gate."""
    heads = fused.reshape(*fused.shape[:-1], s.n_head, 2, -1)
    return [heads[..., i, :].reshape(*fused.shape[:-1], -1) for i in (0, 1)]


QUERY_KEY_VALUE = ("attention.query", "attention.key", "attention.value")
GATE_UP = ("mlp.gate", "mlp.up")
EXPERTS = ("mlp.experts.gate", "mlp.experts.up")

_GPT = """
attention.norm ln_1
attention.output attn.c_proj
mlp.norm ln_2
mlp.up mlp.c_fc
mlp.down mlp.c_proj
head.output lm_head
"""
_GPT_WHOLE = f"{_GPT}\nembedding.token wte\nembedding.position wpe\nfinal_norm ln_f"

_LLAMA = """
embedding.token embed_tokens
attention.norm input_layernorm attention_layernorm
attention.query self_attn.q_proj
attention.key self_attn.k_proj
attention.value self_attn.v_proj
attention.query_norm self_attn.q_a_layernorm self_attn.q_norm self_attn.q_layernorm
attention.query_norm self_attn.query_layernorm self_attn.q_layernorm.norms.{}
attention.key_norm self_attn.k_norm self_attn.k_layernorm
attention.key_norm self_attn.key_layernorm self_attn.k_layernorm.norms.{}
attention.query_down self_attn.q_a_proj
attention.query_up self_attn.q_b_proj
attention.key_value_down self_attn.kv_a_proj_with_mqa
attention.key_value_norm self_attn.kv_a_layernorm
attention.key_value_up self_attn.kv_b_proj
attention.indexer.query self_attn.indexer.wq_b self_attn.indexer.q_proj
attention.indexer.query_norm self_attn.indexer.q_norm
attention.indexer.key self_attn.indexer.wk self_attn.indexer.k_proj
attention.indexer.key_norm self_attn.indexer.k_norm
attention.indexer.weights self_attn.indexer.weights_proj
attention.softmax self_attn.sinks|
attention.gate self_attn.gate_proj self_attn.g_proj self_attn.gate|
attention.inner_norm self_attn.attn_sub_norm
mlp.inner_norm mlp.ffn_sub_norm
attention.output self_attn.o_proj self_attn.dense
attention.output_norm post_self_attn_layernorm post_norm1 post_attention_layernorm
mlp.norm pre_feedforward_layernorm pre_mlp_layernorm post_attention_layernorm feedforward_layernorm
mlp.gate mlp.gate_proj feed_forward.gate_proj
mlp.up mlp.up_proj mlp.c_fc mlp.fc1 mlp.dense_h_to_4h feed_forward.up_proj
mlp.down mlp.down_proj mlp.c_proj mlp.fc2 mlp.dense_4h_to_h feed_forward.down_proj
mlp.output_norm post_mlp_layernorm mlp.post_mlp_layernorm post_norm2 post_feedforward_layernorm
mlp.activation mlp.act_fn
mlp.dense_norm post_feedforward_layernorm_1
mlp.experts_norm pre_feedforward_layernorm_2
mlp.experts_output_norm post_feedforward_layernorm_2
mlp.router_norm router.scale|
mlp.routing router.per_expert_scale|
mlp.scale layer_scalar|
per_layer.gate per_layer_input_gate
per_layer.projection per_layer_projection
per_layer.norm post_per_layer_input_norm
embedding.per_layer.token embed_tokens_per_layer
embedding.per_layer.projection per_layer_model_projection
embedding.per_layer.norm per_layer_projection_norm
mlp.router mlp.gate mlp.router.gate mlp.gate.wg mlp.router block_sparse_moe.router block_sparse_moe.gate feed_forward.router
mlp.router router.proj
mlp.correction mlp.gate mlp mlp.gate.moe_statics mlp.moe_statics mlp.expert_bias|
mlp.experts.gate mlp.experts.{}.gate_proj block_sparse_moe.experts.{}.w1
mlp.experts.up mlp.experts.{}.up_proj block_sparse_moe.experts.{}.w3
mlp.experts.down mlp.experts.{}.down_proj block_sparse_moe.experts.{}.w2
mlp.experts.down mlp.experts.down_proj| experts.down_proj| block_sparse_moe.experts.down_proj| feed_forward.experts.down_proj|
mlp.shared.gate mlp.shared_mlp.gate_proj mlp.shared_expert.gate_proj mlp.shared_experts.gate_proj feed_forward.shared_expert.gate_proj
mlp.shared.up mlp.shared_mlp.up_proj mlp.shared_expert.up_proj mlp.shared_experts.up_proj feed_forward.shared_expert.up_proj
mlp.shared.down mlp.shared_mlp.down_proj
mlp.shared.down shared_mlp.output_linear mlp.shared_expert.down_proj mlp.shared_experts.down_proj feed_forward.shared_expert.down_proj
mlp.shared.scale mlp.shared_expert_gate
final_norm norm final_layernorm
head.output lm_head
"""
_LLAMA_FUSED = (
    Fused("self_attn.qkv_proj", QUERY_KEY_VALUE, in_turn),
    Fused("self_attn.query_key_value", QUERY_KEY_VALUE, by_head),
    Fused("mlp.gate_up_proj", GATE_UP, in_turn),
    Fused("mlp.shared_experts.gate_up_proj", ("mlp.shared.gate", "mlp.shared.up"), in_turn),
    Fused("shared_mlp.input_linear", ("mlp.shared.gate", "mlp.shared.up"), in_turn),
    Fused("mlp.experts.gate_up_proj|", EXPERTS, in_turn),
    Fused("experts.gate_up_proj|", EXPERTS, in_turn),
    Fused("block_sparse_moe.experts.gate_up_proj|", EXPERTS, in_turn),
)
_EXPERTS_UPRIGHT = frozenset({*EXPERTS, "mlp.experts.down"})

_BLOOM = """
embedding.token word_embeddings
embedding.norm word_embeddings_layernorm
attention.norm ln_attn input_layernorm
attention.output self_attention.dense
mlp.norm ln_mlp post_attention_layernorm
mlp.up mlp.dense_h_to_4h
mlp.down mlp.dense_4h_to_h
final_norm ln_f
head.output lm_head
"""

_MIXERS = (
    _LLAMA
    + "\n".join(mixer(kind).NAMES for kind in KINDS)
    + """
embedding.token embeddings
attention.norm operator_norm norm
attention.output_norm post_operator_norm
mlp.output_norm post_ffn_norm
attention.query mixer.q_proj
attention.key mixer.k_proj
attention.value mixer.v_proj
attention.output mixer.o_proj self_attn.out_proj
mlp.norm pre_ff_layernorm ffn_norm norm
mlp.gate feed_forward.w1
mlp.up feed_forward.w3 mixer.up_proj
mlp.down feed_forward.w2 mixer.down_proj shared_mlp.output_linear
mlp.router mixer.gate feed_forward.gate
mlp.correction mixer.gate feed_forward.expert_bias|
mlp.latent_down mixer.fc1_latent_proj
mlp.latent_up mixer.fc2_latent_proj
mlp.experts.up mixer.experts.up_proj|
mlp.experts.down mixer.experts.down_proj|
mlp.shared.up mixer.shared_experts.up_proj
mlp.shared.down mixer.shared_experts.down_proj
final_norm norm_f embedding_norm
"""
)
_MAMBA2, _MAMBA = ("mamba2.gate", "mamba2.input", "mamba2.step"), ("mamba.input", "mamba.gate")
_MIXERS_FUSED = (
    *_LLAMA_FUSED,
    *(Fused(f"{name}.in_proj", parts, in_turn) for name in ("mamba", "mixer") for parts in (_MAMBA2, _MAMBA)),
    *(Fused(f"{name}.x_proj", ("mamba.rank", "mamba.key", "mamba.ask"), in_turn) for name in ("mamba", "mixer")),
    Fused("conv.in_proj", ("short_conv.gate", "short_conv.output_gate", "short_conv.input"), in_turn),
    Fused("feed_forward.experts.gate_up_proj|", EXPERTS, in_turn),
    Fused("shared_mlp.input_linear", GATE_UP, in_turn),
)
_DELTA = ("delta_net.query", "delta_net.key", "delta_net.value")
_DELTA_FUSED = (
    *_MIXERS_FUSED,
    Fused("linear_attn.in_proj_qkvz", (*_DELTA, "delta_net.gate"), by_key_head),
    Fused("linear_attn.in_proj_ba", ("delta_net.learn", "delta_net.forget"), by_key_head),
    Fused("linear_attn.in_proj_qkv", _DELTA, in_turn),
    Fused("self_attn.q_proj", ("attention.query", "attention.gate"), query_and_gate),
)

LAYOUTS = (
    layout("qwen3_next, qwen3_5", "layers", _MIXERS, fused=_DELTA_FUSED, mark="linear_attn.in_proj"),
    layout("models with mixers", "layers", _MIXERS, fused=_MIXERS_FUSED, mark=".conv"),
    layout(
        "openai-gpt",
        "h",
        f"{_GPT}\nembedding.token tokens_embed\nembedding.position positions_embed",
        transposed=False,
        fused=(Fused("attn.c_attn", QUERY_KEY_VALUE, in_turn),),
    ),
    # GPT-2's Conv1D stores [in, out]; GPT-BigCode names its tensors alike, stores [out, in], and is told by its one key-value head.
    layout("gpt2", "h", _GPT_WHOLE, transposed=False, fused=(Fused("attn.c_attn", QUERY_KEY_VALUE, in_turn),), shared_heads=False),
    layout("gpt_bigcode", "h", _GPT_WHOLE, fused=(Fused("attn.c_attn", QUERY_KEY_VALUE, in_turn),), shared_heads=True),
    layout(
        "opt, bart or kin",
        "layers",
        """
        embedding.token embed_tokens
        embedding.position embed_positions
        embedding.project_in project_in
        embedding.norm layernorm_embedding
        attention.norm self_attn_layer_norm
        attention.query self_attn.q_proj
        attention.key self_attn.k_proj
        attention.value self_attn.v_proj
        attention.output self_attn.out_proj
        cross_attention.norm encoder_attn_layer_norm
        cross_attention.query encoder_attn.q_proj
        cross_attention.key encoder_attn.k_proj
        cross_attention.value encoder_attn.v_proj
        cross_attention.output encoder_attn.out_proj
        mlp.norm final_layer_norm
        mlp.up fc1
        mlp.down fc2
        final_norm final_layer_norm layer_norm layernorm_embedding
        head.project_out project_out
        head.output lm_head proj_out output_projection
        """,
    ),
    layout(
        "gpt_neox",
        "layers",
        """
        embedding.token embed_in
        attention.norm input_layernorm
        attention.output attention.dense
        mlp.norm post_attention_layernorm
        mlp.up mlp.dense_h_to_4h
        mlp.down mlp.dense_4h_to_h
        final_norm final_layer_norm
        head.output lm_head
        """,
        fused=(Fused("attention.query_key_value", QUERY_KEY_VALUE, by_head),),
    ),
    layout(
        "gptj",
        "h",
        """
        embedding.token wte
        attention.norm ln_1
        attention.query attn.q_proj
        attention.key attn.k_proj
        attention.value attn.v_proj
        attention.output attn.out_proj
        mlp.up mlp.fc_in
        mlp.down mlp.fc_out
        final_norm ln_f
        head.output lm_head
        """,
        fused=(Fused("attn.qkv_proj", QUERY_KEY_VALUE, in_quarters),),
    ),
    layout(
        "gpt_neo",
        "h",
        """
        embedding.token wte
        embedding.position wpe
        attention.norm ln_1
        attention.query attn.attention.q_proj
        attention.key attn.attention.k_proj
        attention.value attn.attention.v_proj
        attention.output attn.attention.out_proj
        mlp.norm ln_2
        mlp.up mlp.c_fc
        mlp.down mlp.c_proj
        final_norm ln_f
        head.output lm_head
        """,
    ),
    layout(
        "mpt",
        "blocks",
        """
        embedding.token wte
        attention.norm norm_1
        attention.output attn.out_proj
        mlp.norm norm_2
        mlp.up ffn.up_proj
        mlp.down ffn.down_proj
        final_norm norm_f
        head.output lm_head
        """,
        fused=(Fused("attn.Wqkv", QUERY_KEY_VALUE, in_turn),),
    ),
    layout("bloom or falcon", "h", _BLOOM, fused=(Fused("self_attention.query_key_value", QUERY_KEY_VALUE, by_head),)),
    layout(
        "gpt_oss",
        "layers",
        _LLAMA,
        fused=(Fused("mlp.experts.gate_up_proj|", EXPERTS, alternating),),
        mark="mlp.experts.gate_up_proj_bias",
        upright=_EXPERTS_UPRIGHT,
    ),
    layout(
        "llama4",
        "layers",
        _LLAMA,
        fused=(Fused("feed_forward.experts.gate_up_proj|", EXPERTS, in_turn),),
        mark="feed_forward.router",
        upright=_EXPERTS_UPRIGHT,
    ),
    layout("llama, mistral, qwen, gemma, deepseek or kin", "layers", _LLAMA, fused=_LLAMA_FUSED),
)
