"""`ModelSpec`: one decoder-only language model, as a frozen, strict record. The defaults are GPT-2's and GPT-3's architecture."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, model_validator

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.spec.checks import check_model
from gptcalc.spec.images import Images
from gptcalc.spec.layer_pattern import fields_of_kind, layers_of
from gptcalc.spec.mixers import Mixer
from gptcalc.spec.reading import quoted, shown
from gptcalc.spec.record import Record, one_line
from gptcalc.spec.shape import LETTERS, Switches, shape_of
from gptcalc.spec.tower import Tower

LONGEST_USUAL_SEQ = 8192
"""Models with longer contexts are trained with shorter sequences first, and reach their longest in a small part of the tokens."""


class Published(Record):
    """A total that a paper or a model card prints, and how far the model may be from it before `verify` calls it wrong."""

    quantity: Literal["parameters", "non_embedding", "active", "training_flops"] = "parameters"
    value: int | float
    tolerance: float = Field(0.0, ge=0, le=1)
    source: str
    note: str = ""


class Form(Record):
    """How matrices of k inputs and n outputs are stored: the bits of an element, and of what stands beside the elements.

    >>> Form(element=4, scale=8, group=16, matrix=32).bits
    4.5
    """

    element: float = Field(gt=0, le=32)
    scale: float = Field(0.0, ge=0, le=128)  # of each group: its scale, and its zero point where it has one
    group: int | None = Field(None, ge=1)  # inputs that share a scale
    rows: int = Field(1, ge=1)  # outputs that share it too
    input: Annotated[int, Field(ge=0, le=128)] = 0  # for each input
    output: Annotated[int, Field(ge=0, le=128)] = 0  # for each output
    matrix: Annotated[int, Field(ge=0, le=1024)] = 0  # once
    of: tuple[str, ...] = Field(default=(), strict=False)  # the modules that are stored so; every matrix of the blocks where left out

    @property
    def bits(self) -> float:
        """Bits of an element, with its share of a scale."""
        return self.element + (self.scale / (self.group * self.rows) if self.group else 0)


class Quantization(Record):
    """How weights are stored: the bits of one quantized weight, scales included, and the modules that are left as they are.

    `forms` say more than `bits` does: what stands beside the elements, and which matrices are stored otherwise. A matrix has the first
    form that names it or, where none does, the one that names no modules. `cache`: what keys and values are meant to be stored in.
    `tensors`, of a GGUF file: each one's bytes and its shape, by the file's own names; `bits` are then those of all of them together.
    """

    method: str
    bits: float = Field(gt=0, le=32)
    kept: tuple[str, ...] = Field(default=(), strict=False)
    forms: tuple[Form, ...] = Field(default=(), strict=False)
    cache: str | None = None
    tensors: dict[str, list[int]] = Field(default={}, repr=False)

    @model_validator(mode="after")
    def _agreeing(self) -> "Quantization":
        if self.forms and all(abs(form.bits - self.bits) > 1e-6 for form in self.forms):
            raise GptcalcError(f"{self.bits:g} bits are those of none of its forms", hint=f"its first form has {self.forms[0].bits:g}")
        return self

    @property
    def said(self) -> dict[str, Any]:
        """What answers say of it: the method, the bits of a weight, all of them where matrices differ, and what the cache is meant for.

        >>> Quantization(method="fp8", bits=8.0).said
        {'method': 'fp8', 'bits': 8.0}
        """
        widths = sorted({form.bits for form in self.forms})
        said: dict[str, Any] = {"method": self.method, "bits": self.bits}
        return said | ({"widths": widths} if len(widths) > 1 else {}) | ({"cache": self.cache} if self.cache else {})


class Indexer(Record):
    """What chooses the keys of each query, by scores of its own over all of them: n_head small queries against one key of a token.

    With latent attention the queries come from its query latent, else from the input. Layers of kinds that are `shared` have no indexer:
    they read the keys that the last one before them has chosen. Source: DeepSeek-AI 2025 (DeepSeek V3.2); MiniMax M3 chooses blocks.
    """

    n_head: int = Field(ge=1)
    d_head: int = Field(ge=1)
    top_k: int = Field(ge=1)  # keys, or blocks of them
    block: int | None = Field(None, ge=1)  # the keys of a block, which are chosen together
    shared: bool = False
    rotary_pairs: Literal["halves", "neighbours"] = "halves"
    rotary_last: bool = False  # the last channels of a head turn, not the first


class Compressed(Record):
    """DeepSeek V4's attention: one key of a token, which is its value, in a window, and behind it an entry for every `rate` tokens.

    With an indexer entries overlap, and a query reads those that it chooses. Heads put out latents in groups.
    """

    rate: int | None = Field(None, ge=2)  # None: the window alone
    n_group: int = Field(ge=1)
    d_latent: int = Field(ge=1)


class Streams(Record):
    """Hyper-connections: so many residual streams instead of one (DeepSeek V4, Hunyuan V4)."""

    n: int = Field(ge=2)
    mixed: bool = True  # the streams are also mixed with one another, by a doubly stochastic matrix of each token


class PerLayer(Record):
    """An embedding of each token for each layer (Gemma 3n, Gemma 4), which the layer mixes in at its end."""

    width: int = Field(ge=1)
    vocab_size: int = Field(ge=1)  # rows of the table of all layers' embeddings side by side


class ModelSpec(Record):
    """An architecture, every field spelled out; what is left out follows from the rest. presets/models."""

    name: str  # what answers call it
    family: str = ""  # which models it belongs to; runtimes choose the code by it
    source: str = ""  # where these numbers are from
    notes: tuple[str, ...] = Field(default=(), strict=False)  # what every answer says of it
    published: tuple[Published, ...] = Field(default=(), strict=False)  # totals that its makers print
    left_out: tuple[str, ...] = Field(default=(), strict=False)  # the models of the file around this one: encoders of images or sound
    unread: tuple[str, ...] = Field(default=(), strict=False)  # keys of the file that its class does not read
    towers: tuple[Tower, ...] = Field(default=(), strict=False)  # what reads images or sound for it, and joins them to it
    images: Images | None = None  # how many tokens a picture is
    own_code: str = ""  # the class in the file's own code, which is read as the class of that name
    training_tokens: int | None = None  # tokens that it was trained on
    training_seq: int | None = Field(None, ge=1)  # tokens of a sequence in most of its training, where n_ctx is longer or later

    # Sizes. None means: follows from the others.
    n_layer: int  # blocks
    d_model: int  # width of the residual stream
    n_head: int  # query heads
    n_kv_head: int | None = None  # n_head: multi-head attention; fewer: grouped-query; 1: multi-query
    d_head: int | None = None  # d_model / n_head
    d_ff: int | None = None  # 4 * d_model
    vocab_size: int  # tokens of the vocabulary
    padded_vocab_size: int | None = None  # rows of the embedding matrix, where it has more than the vocabulary
    d_embedding: int | None = None  # the embedding's width where it is not d_model; two projections bridge the two
    # ... of which the first has a bias and comes behind positions, segments and norm, which are as wide as the embedding (ELECTRA)
    projected_last: bool = False

    # Positions
    n_ctx: int  # the longest sequence
    position: Literal["learned", "rotary", "alibi", "sinusoidal", "none"] = "learned"
    n_position: int | None = None  # rows of the learned table, where it has more than n_ctx (OPT: n_ctx + 2)
    d_rotary: int | None = None  # how many of a head's d_head channels are rotated; all where left out
    # Channel i turns with i + R/2 (NeoX, Llama), with i + R/2 and the other way round (nanochat), or with i + 1 (GPT-J).
    rotary_pairs: Literal["halves", "halves_back", "neighbours"] = "halves"
    rope_theta: float = Field(10000.0, gt=0)  # base of the rotary angles
    rotary_table: bool = False  # the angles' sines are rows of a table among the parameters, which is not trained (RoFormer)
    rope_scaling: dict[str, Any] | None = None  # as Hugging Face writes it; changes angles, never a count
    sliding_window: int | None = None  # a query sees this many keys, itself included
    n_token_type: int | None = None  # rows of a table of segments, whose first row is added to every token (BERT)
    window_chunks: bool = False  # instead the sequence is cut into windows, and a query sees the keys of its own (Llama 4)

    # Norms and the block
    norm: Literal["layernorm", "rmsnorm"] = "layernorm"  # the kind of every norm
    norm_weight: bool = True  # norms have a weight for each channel
    norm_bias: bool = True  # RMSNorm has none, whatever stands here
    norm_weight_plus_one: bool = False  # checkpoints store a norm's weight less one (Gemma); changes no count
    norm_epsilon: float = Field(1e-5, gt=0, lt=1)  # what is added to the variance
    # before each sublayer (GPT-2), or before the MLP alone (ModernBERT's first layer); after each residual sum (GPT-1); before and after
    # (Gemma 2), or after the MLP alone (A.X K1); on the sublayer's output only (OLMo 2)
    norm_placement: Literal["pre", "mlp_pre", "post", "sandwich", "mlp_sandwich", "output"] = "pre"
    norm_gate_rank: int | None = None  # the norm before attention is times a gate of its own output, through so few channels (A.X K2)
    mlp_norm_gated: bool = True  # ... and that before the MLP, where there is such a rank
    embedding_norm: bool = False  # a norm on the token embedding (BLOOM)
    final_norm: bool = True  # a norm behind the last block
    parallel_residual: bool = False  # attention and MLP read the same residual stream (GPT-J, NeoX)
    shared_norm: bool = False  # ... and the same norm's output (GPT-J)

    # Attention
    attention_bias: bool = True  # of query, key and value; with latents, of the projections down to them
    attention_output_bias: bool = True  # of the output projection
    key_bias: bool = True  # keys have one where queries and values do (Whisper: not)
    d_head_value: int | None = None  # a value head's width where it is not d_head
    # Of queries and keys. head: each head, one weight of d_head for all (Qwen 3); heads: a weight for each (Cohere); full: all heads
    # as one row (OLMo 2); l2: each head, without a weight (Llama 4). The kind of norm is `norm`.
    qk_norm: Literal["none", "head", "heads", "full", "l2"] = "none"
    qk_norm_bias: bool = False  # those norms have a bias
    value_norm: bool = False  # of each value head, an RMSNorm without a weight (Gemma 4)
    keys_are_values: bool = False  # values are the keys before their norm: one projection for both (Gemma 4)
    # Queries alone: keys and values are those of the last layer before it that has its own and the same window (Gemma 3n, Gemma 4).
    shares_keys: bool = False
    qk_norm_after_rotary: bool = False  # rotated first, then normalised (Llama 4, Hunyuan)
    value_scale: float = Field(1.0, gt=0)  # what values are multiplied by (MiMo V2)
    qkv_clip: float | None = Field(None, gt=0)  # queries, keys and values are kept within plus and minus this (MPT, DBRX)
    attention_scale: float | None = Field(None, gt=0)  # what scores are multiplied by; 1 / sqrt(d_head) where left out
    attention_softcap: float | None = Field(None, gt=0)  # scores become cap * tanh(score / cap) (Gemma 2)
    # What attention puts out is multiplied by a gate of the same input: one for each head, a softplus (Laguna) or a sigmoid (dots3), or one
    # for each channel, a sigmoid (Afmoe), to which each head may add a bias of its own (Beam). "latent": of channels, by the matrix that
    # makes the queries, from their latent as it is and normalised side by side (A.X K2).
    attention_gate: Literal["none", "head", "head_sigmoid", "channel", "channel_biased", "latent"] = "none"
    inner_norm: bool = False  # a norm before the output projection, and one before the MLP's second matrix (BitNet)
    attention_sinks: bool = False  # one more logit for each head in the softmax, without a value (gpt-oss)
    # The first Transformer (Vaswani 2017): an encoder's blocks see later tokens too (causal: false) and come first; in the decoder's,
    # a second attention reads the encoder's output.
    causal: bool = True
    cross_attention: bool = False  # a second attention reads the encoder's output
    # A decoder without its encoder (BartForCausalLM): the second attention has its weights, and nothing to read.
    idle_cross_attention: bool = False
    # Two softmaxes of the same scores mix two halves of the values, one of them weighed by products of four vectors (DiffLlama).
    differential: bool = False
    # Each key of each key-value head is masked or not by what a matrix makes of its values, and each residual has a weight for each channel
    # (Doge).
    value_masks: bool = False
    # Latent attention (DeepSeek V2): keys and values come from a latent of kv_lora_rank channels, queries from one of q_lora_rank where
    # given. d_head is then a whole query-key head, of which d_rotary channels turn and bypass the latent: one rotated key for all heads.
    kv_lora_rank: int | None = None
    q_lora_rank: int | None = None  # channels of the queries' latent
    indexer: Indexer | None = None
    compressed: Compressed | None = None
    latent_turns: bool = True  # the channels of a key that bypass the latent turn (Kimi Linear: they do not, and are shared all the same)
    latent_rotary_norm: bool = False  # the rotated key that all heads share is normalised (dots3)
    latent_norm_epsilon: float | None = Field(None, gt=0, lt=1)  # of the latents' norms, where it is not norm_epsilon

    # What stands in the place of attention, with sizes of its own: see `spec.mixers`.
    mixer: Mixer | None = None
    # The sublayers of a block in order, a mixer by its kind; those of an inner list stand side by side, and read the same residual stream.
    # Where left out: attention or the mixer, then mlp. "attention" is through latents with kv_lora_rank, "mlp" is experts with n_expert.
    composition: tuple[str | Annotated[tuple[str, ...], Field(strict=False)], ...] = Field(default=(), strict=False)

    # MLP
    mlp_bias: bool = True  # of every expert, where there are experts
    activation: Literal["gelu", "gelu_tanh", "gelu_sigmoid", "relu", "relu_squared", "silu", "silu_clamped", "xielu"] = "gelu_tanh"
    gated: bool = False  # SwiGLU and kin: three matrices instead of two

    # Mixture of experts: instead of one MLP
    n_expert: int | None = None  # experts of a layer
    n_expert_per_token: int | None = None  # of which a token goes through so many
    d_expert: int | None = None  # an expert's inner width; d_ff where left out
    d_expert_latent: int | None = None  # what experts read and put out, where that is a projection of the stream (Nemotron 3)
    d_shared_expert: int | None = None  # inner width of the MLP that every token goes through besides: all shared experts together
    mlp_beside_experts: bool = False  # an MLP of d_ff besides; experts and router read what has not been through its norm (Gemma 4)
    shared_expert_gate: bool = False  # a sigmoid of one output scales the shared expert (Qwen 2 MoE)
    router_bias: bool = False  # trained (gpt-oss); a score correction that is no parameter (DeepSeek V3) needs no field
    router_score: Literal["softmax", "sigmoid", "sqrt_softplus"] = "softmax"  # what makes shares of the router's logits
    router_correction: Literal["score", "logit"] = "score"  # what such a correction is added to, when experts are chosen (Kolibri: logit)
    router_normalised: bool = True  # the chosen experts' scores are divided by their sum
    router_scale: float = Field(1.0, gt=0)  # ... and multiplied by this
    router_weighs_input: bool = False  # scores multiply what goes into an expert, not what comes out (Llama 4)
    n_router_group: int | None = None  # experts are in groups, and the chosen ones in the best n_router_group_per_token of them
    n_router_group_per_token: int | None = None  # see n_router_group

    own_embedding: PerLayer | None = None
    streams: Streams | None = None
    block_scaled: bool = False  # each layer's output is multiplied by one number, which is not trained (Gemma 4)

    # Multipliers of the residual stream: no parameters
    embedding_scale: float = Field(1.0, gt=0)  # what embeddings are multiplied by (Gemma)
    residual_scale: float = Field(1.0, gt=0)  # of what each sublayer adds (Granite)

    # Head
    tied: bool = True  # the head reuses the token embedding
    head_bias: bool = False  # the head has a bias
    # Before the head: a square matrix with a bias, this activation, and a norm (BERT)
    head_transform: Literal["none", "gelu", "gelu_tanh", "relu", "silu"] = "none"
    head_transform_bias: bool = True
    d_output: int | None = None  # the width behind it where it is not that of the embedding (RemBERT)
    logit_scale: float = Field(1.0, gt=0)  # what logits are multiplied by
    logit_softcap: float | None = Field(None, gt=0)  # logits become cap * tanh(logit / cap)
    n_mtp: int | None = None  # modules that predict further tokens (DeepSeek V3): counted apart, outside the total

    query_scale_from: int | None = Field(None, ge=0)  # queries of this position and later are scaled by it: `reference` runs none of them
    unexecuted: tuple[str, ...] = Field(default=(), strict=False)  # steps that change logits, no count, and that `reference` does not have
    quantization: Quantization | None = None  # of the stored weights; None: in the number format that is asked for

    # Layers that differ: kinds of block by name, each with the fields it sets for itself, and the kind of each layer in order, such as
    # [dense*3, moe*58] or [local*5, global, ...]. See `spec.layer_pattern`.
    blocks: dict[str, dict[str, Any]] = Field(default={})
    layout: tuple[str, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> "ModelSpec":
        check_model(self, one_kind=info.context == ONE_KIND)
        return self

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """The kind of each layer, in order; empty where all layers are alike."""
        return layers_of(self.layout, self.n_layer, self.blocks) if self.blocks else ()

    @cached_property
    def kinds(self) -> dict[str, "ModelSpec"]:
        """Each kind of block as the model that has these layers alone; empty where all layers are alike."""
        own = {name: getattr(self, name) for name in self.model_fields_set if name not in ("blocks", "layout", "published", "n_mtp")}
        kinds: dict[str, ModelSpec] = {}
        for name in dict.fromkeys(self.layers):
            try:
                kinds[name] = parse_model(fields_of_kind(own, self.blocks[name]) | {"n_layer": self.layers.count(name)}, ONE_KIND)
            except GptcalcError as error:
                raise GptcalcError(f"blocks.{shown(name)}: {error}", hint=error.hint) from None
        return kinds

    @property
    def usual_seq(self) -> int:
        """Tokens of a sequence where none are asked for: what it was trained with where its preset says so, else the longest up to 8,192.

        >>> fields = {"name": "long", "n_layer": 2, "d_model": 64, "n_head": 4, "vocab_size": 256, "n_ctx": 131072}
        >>> parse_model(fields).usual_seq, parse_model(fields | {"training_seq": 4096}).usual_seq
        (8192, 4096)
        """
        return self.training_seq or min(self.n_ctx, LONGEST_USUAL_SEQ)

    @property
    def switches(self) -> Switches:
        """What a model has and has not, of all its layers together."""
        return shape_of(self).switches


ONE_KIND = "the layers of one kind"


ELSEWHERE = {"hidden_size": "d_model", "n_embd": "d_model", "d_embed": "d_model", "num_hidden_layers": "n_layer", "num_layers": "n_layer"}
ELSEWHERE |= {"num_attention_heads": "n_head", "num_heads": "n_head", "num_key_value_heads": "n_kv_head", "head_dim": "d_head"}
ELSEWHERE |= {"intermediate_size": "d_ff", "ffn_dim": "d_ff", "d_mlp": "d_ff", "n_inner": "d_ff", "ffn_hidden_size": "d_ff"}
ELSEWHERE |= {
    "max_position_embeddings": "n_ctx",
    "n_positions": "n_ctx",
    "block_size": "n_ctx",
    "seq_len": "n_ctx",
    "context_length": "n_ctx",
}
ELSEWHERE |= {
    "num_local_experts": "n_expert",
    "num_experts": "n_expert",
    "n_routed_experts": "n_expert",
    "moe_intermediate_size": "d_expert",
}
ELSEWHERE |= {
    "num_experts_per_tok": "n_expert_per_token",
    "tie_word_embeddings": "tied",
    "hidden_act": "activation",
    "n_vocab": "vocab_size",
}
"""What Hugging Face, Megatron and others call a field, for the hint to who types it."""


def unknown_field(name: str) -> GptcalcError:
    """The error for a field that a model does not have, with the one that was probably meant, or where to find them all.

    >>> unknown_field("hidden_size").hint, unknown_field("n_layers").hint
    ("did you mean 'd_model'?", "did you mean 'n_layer'?")
    """
    otherwise = f"sizes are {', '.join(LETTERS)} and n_ctx; the other fields are in the inputs of 'gptcalc params MODEL --format json'"
    near = f"did you mean '{ELSEWHERE[name.lower()]}'?" if name.lower() in ELSEWHERE else None
    return GptcalcError(f"unknown field {quoted(name)}", hint=near or did_you_mean(name[:100], ModelSpec.model_fields, otherwise=otherwise))


def parse_model(fields: Mapping[str, Any], context: str | None = None) -> ModelSpec:
    """A spec from a plain mapping; `context` is ONE_KIND for a part of a model, which may be no model by itself.

    Raises GptcalcError, in one line, for an unknown, missing or malformed field and for fields that contradict each other.

    >>> parse_model({"name": "tiny", "n_layer": 2, "d_model": 64, "n_head": 4, "vocab_size": 256, "n_ctx": 128}).d_model
    64
    """
    for key in fields:
        if key not in ModelSpec.model_fields:
            raise unknown_field(str(key))
    try:
        return ModelSpec.model_validate(dict(fields), context=context)
    except ValidationError as error:
        raise one_line(error, ModelSpec) from None
