"""What fields of a model contradict each other, each in one line with its way out."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.spec.layer_pattern import BLOCK_FIELDS, MOST_KINDS, OF_EXPERTS, OF_ROTARY
from gptcalc.spec.reading import quoted, shown
from gptcalc.spec.shape import shape_of

if TYPE_CHECKING:
    from gptcalc.spec.model import ModelSpec


def check_model(spec: "ModelSpec", *, one_kind: bool) -> None:
    """Raises GptcalcError for the first contradiction in the fields of a model, or in those of one of its kinds of block.

    The layers of one kind may be an encoder without its decoder, which is no model that gptcalc knows.
    """
    for message, hint in _contradictions(spec):
        raise GptcalcError(message, hint=hint)
    if not spec.blocks:
        _check_block(spec)
        if not one_kind:
            _check_shared_keys(spec)
        if not one_kind and spec.indexer is not None and spec.indexer.shared:
            raise GptcalcError("no layer has an indexer of its own: shared ones read what another has chosen")
        if not one_kind and (not spec.causal or spec.cross_attention):
            raise GptcalcError(
                "an encoder and its decoder are two kinds of block", hint="give them in blocks and layout, as transformer-base does"
            )
        return
    kinds = list(spec.kinds.values())  # parses them: each is checked as a model of its own
    embedded = {kind.position for kind in kinds} - {"rotary", "none", "alibi"}
    if embedded and len({kind.position for kind in kinds}) > 1:
        raise GptcalcError(f"position '{embedded.pop()}' is added to the embedding: it holds for all kinds of block")
    _check_stacks(spec)
    _check_shared_keys(spec)
    owner = next((kind for kind in spec.layers if spec.kinds[kind].indexer is not None), None)
    if owner is not None and spec.kinds[owner].indexer.shared:  # type: ignore[union-attr]  # the first that has one
        raise GptcalcError("the first layer with an indexer is shared: no layer before it has chosen keys")


def _check_stacks(spec: "ModelSpec") -> None:
    """An encoder's layers come first, and the decoder's layers read what comes out of it."""
    causal = [spec.kinds[kind].causal for kind in spec.layers]
    if causal != sorted(causal) or not causal[-1]:
        raise GptcalcError("layers that are not causal are an encoder: they come first, and a decoder's after them")
    if any(kind.cross_attention != (not all(causal) and kind.causal) for kind in spec.kinds.values()):
        raise GptcalcError("cross_attention belongs to every layer of a decoder that has an encoder before it, and to no other")


def _contradictions(spec: "ModelSpec") -> Iterator[tuple[str, str | None]]:
    if spec.n_position is not None and spec.position != "learned":
        yield f"n_position means nothing with position '{spec.position}'", "leave n_position out, or change position"
    if spec.n_position is not None and spec.n_position < spec.n_ctx:
        yield f"n_position {spec.n_position} is below n_ctx {spec.n_ctx}: the last positions have no row", None
    if spec.d_embedding == spec.d_model:
        yield f"d_embedding {spec.d_embedding} is d_model: nothing to project", "leave d_embedding out"
    if spec.padded_vocab_size is not None and spec.padded_vocab_size < spec.vocab_size:
        yield f"padded_vocab_size {spec.padded_vocab_size} is below vocab_size {spec.vocab_size}", None
    if bool(spec.blocks) != bool(spec.layout):
        yield "blocks and layout need each other: the kinds of block, and the kind of each layer", None
    if len(spec.blocks) > MOST_KINDS:
        yield f"blocks has {len(spec.blocks):,} kinds of block: at most {MOST_KINDS}", None
    for name, fields in spec.blocks.items():
        for key in fields:
            if key not in BLOCK_FIELDS:
                yield f"blocks.{shown(name)}: {quoted(key)} is no field of a block", did_you_mean(key, BLOCK_FIELDS)


def _check_block(spec: "ModelSpec") -> None:
    shape = shape_of(spec)  # raises where heads do not divide
    for name in OF_ROTARY:
        if spec.position != "rotary" and getattr(spec, name) is not None:
            raise GptcalcError(f"{name} means nothing with position '{spec.position}'", hint=f"leave {name} out, or change position")
    if shape.d_rotary % 2 or shape.d_rotary > shape.d_head:
        raise GptcalcError(f"d_rotary {shape.d_rotary} must be even and at most d_head {shape.d_head}: channels turn in pairs")
    for message in (
        *_of_sublayers(spec),
        *_of_stacks(spec),
        *_of_norms(spec),
        *_of_latents(spec),
        *_of_indexer(spec),
        *_of_shared_keys(spec),
        *_of_experts(spec),
    ):
        raise GptcalcError(message)


OF_ATTENTION = ("attention", "latent_attention", "compressed_attention")
OF_MLP = ("mlp", "experts", "mlp_beside_experts")
SUBLAYERS = (*OF_ATTENTION, "cross_attention", "idle_cross_attention", *OF_MLP)
"""Besides mixers, each by the name of its kind."""


def _of_sublayers(spec: "ModelSpec") -> Iterator[str]:
    names = [name for group in shape_of(spec).stack for name in group]
    known = (*SUBLAYERS, *([spec.mixer.kind] if spec.mixer else []))
    for name in names:
        if name not in known:
            yield f"composition has {quoted(name)}, which is none of {', '.join(known)}" + ("" if spec.mixer else ", and there is no mixer")
    if spec.mixer is not None and spec.mixer.kind not in names:
        yield f"mixer '{spec.mixer.kind}' is not in the composition"
    for group in (OF_ATTENTION, OF_MLP, *((name,) for name in known)):
        if sum(name in group for name in names) > 1:
            yield f"composition has more than one {' or '.join(group)}"
    needed = {
        "latent_attention": "kv_lora_rank",
        "compressed_attention": "compressed",
        "experts": "n_expert",
        "mlp_beside_experts": "n_expert",
    }
    for name, field in needed.items():
        if name in names and getattr(spec, field) is None:
            yield f"sublayer '{name}' needs {field}"


def _of_stacks(spec: "ModelSpec") -> Iterator[str]:
    if spec.idle_cross_attention and (spec.cross_attention or not spec.causal or spec.kv_lora_rank or spec.position in ("rotary", "alibi")):
        yield "idle_cross_attention belongs to a decoder without its encoder, with learned or sinusoidal positions and plain attention"
    if spec.rotary_table and spec.position != "rotary":
        yield f"rotary_table means nothing with position '{spec.position}'"
    if spec.window_chunks and spec.sliding_window is None:
        yield "window_chunks needs sliding_window: how long a chunk is"
    if spec.causal and not spec.cross_attention:
        return
    if spec.position in ("rotary", "alibi") or spec.parallel_residual or spec.qk_norm != "none" or spec.kv_lora_rank or spec.sliding_window:
        yield "encoders and cross_attention are known with learned or sinusoidal positions and plain attention"


def _of_norms(spec: "ModelSpec") -> Iterator[str]:
    if spec.shared_norm and not any(len(group) > 1 for group in shape_of(spec).stack):
        yield "shared_norm needs parallel_residual: one norm for two sublayers that read the same input"
    if spec.parallel_residual and spec.norm_placement != "pre":
        yield f"parallel_residual with norm_placement '{spec.norm_placement}' is no architecture that gptcalc knows"
    if spec.qk_norm in ("none", "l2") and spec.qk_norm_bias:
        yield f"qk_norm_bias means nothing with qk_norm '{spec.qk_norm}'"
    if spec.qk_norm_bias and spec.norm == "rmsnorm":
        yield "qk_norm_bias means nothing with norm 'rmsnorm'"
    if spec.qk_norm_after_rotary and (spec.qk_norm == "none" or spec.qk_norm == "full"):
        yield f"qk_norm_after_rotary means nothing with qk_norm '{spec.qk_norm}': it normalises heads"
    if spec.activation == "xielu" and (spec.gated or spec.n_expert is not None):
        yield "activation 'xielu' has weights of its own, and is known in plain MLPs only"
    if spec.inner_norm and (spec.n_expert is not None or spec.kv_lora_rank is not None):
        yield "inner_norm is not known with experts or latent attention"
    if spec.projected_last and spec.d_embedding is None:
        yield "projected_last needs d_embedding: the width of what is projected"
    if spec.head_transform != "none" and spec.d_embedding is not None and not spec.projected_last:
        yield "head_transform is not known with d_embedding that is projected before positions are added"
    if spec.d_output is not None and (spec.head_transform == "none" or spec.tied):
        yield "d_output needs a head_transform and a head that is not tied: it is the width between the two"
    if not spec.head_transform_bias and spec.head_transform == "none":
        yield "head_transform_bias means nothing without head_transform"
    if spec.activation == "silu_clamped" and not spec.gated:
        yield "activation 'silu_clamped' needs gated: it clamps both projections"


def _of_shared_keys(spec: "ModelSpec") -> Iterator[str]:
    if (spec.shares_keys or spec.keys_are_values) and (spec.kv_lora_rank or spec.cross_attention or spec.indexer or spec.qkv_clip):
        yield "shares_keys and keys_are_values are known in plain attention without clips"
    if (spec.differential or spec.value_masks) and (spec.kv_lora_rank is not None or spec.compressed is not None or spec.cross_attention):
        yield "differential and value_masks are known in plain attention"
    if spec.differential and shape_of(spec).n_kv_head % 2:
        yield f"differential halves the key-value heads, and {shape_of(spec).n_kv_head} is odd"
    if spec.keys_are_values and spec.d_head_value not in (None, spec.d_head):
        yield f"keys_are_values: d_head_value {spec.d_head_value} cannot differ from d_head"
    if spec.mlp_beside_experts and (spec.norm_placement != "sandwich" or spec.norm != "rmsnorm" or spec.parallel_residual):
        yield "mlp_beside_experts is known with RMSNorms before and after each sublayer"
    if spec.own_embedding is not None and not spec.gated:
        yield "own_embedding is known with gated MLPs"


def _check_shared_keys(spec: "ModelSpec") -> None:
    """Layers without keys of their own come after one that has them, of the same window and the same heads."""
    seen: dict[int | None, ModelSpec] = {}
    for layer, name in enumerate(spec.layers or ("",)):
        kind = spec.kinds[name] if name else spec
        window = kind.sliding_window
        if not kind.shares_keys:
            seen[window] = kind
            continue
        if window not in seen:
            raise GptcalcError(f"layer {layer} shares_keys, and no layer before it has keys of its own and the same window")
        own, shape = shape_of(seen[window]), shape_of(kind)
        if (own.d_kv, own.d_value, own.n_kv_head) != (shape.d_kv, shape.d_value, shape.n_kv_head):
            raise GptcalcError(f"layer {layer} shares_keys, and its heads are unlike those of the layer whose keys it reads")


def _of_indexer(spec: "ModelSpec") -> Iterator[str]:
    if spec.indexer is None or spec.compressed is not None:
        return
    if spec.q_lora_rank is None and spec.indexer.block is None:
        yield "indexer needs q_lora_rank: its queries come from the latent of attention's own"
    if spec.indexer.block is not None and (spec.kv_lora_rank is not None or shape_of(spec).n_head % spec.indexer.n_head):
        yield "an indexer of blocks is known in plain attention, with heads that its own divide into groups"
    if spec.sliding_window is not None or not spec.causal or spec.cross_attention:
        yield "indexer is not known with sliding_window or in encoders and their decoders"
    if spec.indexer.d_head < shape_of(spec).d_rotary:
        yield f"the indexer's d_head {spec.indexer.d_head} is below d_rotary {shape_of(spec).d_rotary}: so many of its channels turn"


def _of_latents(spec: "ModelSpec") -> Iterator[str]:
    if spec.compressed is not None:
        if spec.q_lora_rank is None or spec.kv_lora_rank is not None or spec.sliding_window is None or spec.n_kv_head != 1:
            yield "compressed needs q_lora_rank, sliding_window and one key-value head, and no kv_lora_rank"
        if spec.indexer is not None and spec.compressed.rate is None:
            yield "indexer needs a rate in compressed: it chooses entries"
        return
    if spec.kv_lora_rank is None:
        if spec.q_lora_rank is not None:
            yield "q_lora_rank needs kv_lora_rank: latent attention compresses keys and values first"
        return
    shape = shape_of(spec)
    if spec.position != "rotary" or not 0 < shape.d_rotary < shape.d_head:
        yield "kv_lora_rank needs position 'rotary' and a d_rotary below d_head: the rotated channels bypass the latent"
    if spec.n_kv_head not in (None, spec.n_head):
        yield f"n_kv_head {spec.n_kv_head} differs from n_head {spec.n_head}: latent attention expands keys and values to every head"
    if spec.qk_norm != "none" or spec.qkv_clip is not None:
        yield "qk_norm and qkv_clip are not known in latent attention"


def _of_experts(spec: "ModelSpec") -> Iterator[str]:
    if spec.n_expert is None:
        for name in OF_EXPERTS:
            if getattr(spec, name):
                yield f"{name} means nothing without n_expert"
        return
    k, groups, chosen = spec.n_expert_per_token, spec.n_router_group or 1, spec.n_router_group_per_token or 1
    if k is None:
        yield "n_expert needs n_expert_per_token: how many of the experts a token is sent to"
    elif k > spec.n_expert:
        yield f"n_expert_per_token {k} is above n_expert {spec.n_expert}"
    elif spec.n_expert % groups or chosen > groups or k > spec.n_expert // groups * chosen:
        yield f"n_router_group {groups}, of which {chosen} are chosen, do not give {k} of {spec.n_expert} experts"
    if spec.shared_expert_gate and spec.d_shared_expert is None:
        yield "shared_expert_gate needs d_shared_expert"
