"""ModernBERT's decoder: gated MLPs, windows, and no norm before the first attention, which reads the embedding's norm."""

from __future__ import annotations

from typing import Any

from gptcalc.spec.huggingface.family import ABSENT, Config, Family, Fields, Key
from gptcalc.spec.huggingface.handlers import ACTIVATIONS, HEAD_IF_GIVEN, activation, epsilon, flag, nothing, read_elsewhere, standard
from gptcalc.spec.huggingface.layers import ATTENTION, Layer, angles_by_kind, attentions


def _window(config: Config) -> int:
    """The key says the reach to both sides together, as in the encoder."""
    return config.size("local_attention", least=2) // 2


_ANGLES = angles_by_kind(
    {"full_attention": 160_000.0, "sliding_attention": 10_000.0},
    old={"full_attention": "global_rope_theta", "sliding_attention": "local_rope_theta"},
)


def _layers(key: str, config: Config) -> Fields:
    period = config.size("global_attn_every_n_layers")
    read = attentions(
        lambda config: lambda i: "sliding" if i % period else "full",
        full=_ANGLES("full_attention"),
        sliding=_ANGLES("sliding_attention"),
        window=_window,
    )
    layers: Any = read(key, config)[ATTENTION]
    first = Layer(f"first_{layers[0].kind}", layers[0].fields | {"norm_placement": "mlp_pre"})
    return {ATTENTION: [first, *layers[1:]]}


def _head(key: str, config: Config) -> Fields:
    known = {name: known for name, known in ACTIVATIONS.items() if known in ("gelu", "gelu_tanh", "relu", "silu")}
    return {"head_transform": activation(known)(key, config)["activation"]}


MODERNBERT_DECODER = Family(
    "modernbert-decoder",
    ("ModernBertDecoderForCausalLM",),
    {
        **standard(vocab_size=50368, hidden_size=768, intermediate_size=1152, num_hidden_layers=22, num_attention_heads=12),
        **standard(max_position_embeddings=8192, tie_word_embeddings=True, attention_bias=False, mlp_bias=False),
        "hidden_activation": Key("gelu", activation()),
        "norm_eps": Key(1e-5, epsilon),
        "norm_bias": Key(False, flag("norm_bias")),
        "decoder_bias": Key(True, flag("head_bias")),
        "classifier_bias": Key(False, flag("head_transform_bias")),
        "classifier_activation": Key("gelu", _head),
        "head_dim": HEAD_IF_GIVEN,
        **read_elsewhere(local_attention=128, rope_parameters=None, global_attn_every_n_layers=3),
        **read_elsewhere(global_rope_theta=160_000.0, local_rope_theta=10_000.0, partial_rotary_factor=ABSENT, rope_theta=ABSENT),
        "sliding_window": Key(ABSENT, nothing),
        "layer_types": Key(None, _layers),
    },
    {"family": "ModernBERT", "position": "rotary", "gated": True, "embedding_norm": True},
    harmless={
        "mlp_dropout": "dropout: no weights, no matrix multiplication, and off in inference",
    },
)

FAMILIES = (MODERNBERT_DECODER,)
