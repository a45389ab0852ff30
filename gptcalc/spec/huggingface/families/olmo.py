"""OLMo, dense and with experts."""

from __future__ import annotations

from gptcalc.spec.huggingface.families.llama import MLP_UNBIASED
from gptcalc.spec.huggingface.family import Key, sizes, variant
from gptcalc.spec.huggingface.handlers import HEAD_IF_GIVEN, read_elsewhere, standard, unread_head_width
from gptcalc.spec.huggingface.layers import angles_by_kind, attentions, every
from gptcalc.spec.huggingface.mixture import everywhere, mixture

OLMO = variant(
    MLP_UNBIASED,
    "olmo",
    "OlmoForCausalLM",
    "OLMo",
    without="rms_norm_eps",
    defaults={"vocab_size": 50304},
    keys={"head_dim": HEAD_IF_GIVEN, **standard(clip_qkv=None)},
    fixed={"norm": "layernorm", "norm_weight": False, "norm_epsilon": 1e-5},
)

OLMO2 = variant(
    MLP_UNBIASED,
    "olmo2",
    "Olmo2ForCausalLM",
    "OLMo 2",
    defaults={"vocab_size": 50304, "rms_norm_eps": 1e-5},
    keys={"head_dim": HEAD_IF_GIVEN},
    fixed={"norm_placement": "output", "qk_norm": "full"},
)

_OLMO3_ANGLES = angles_by_kind(
    {"full_attention": 500000.0, "sliding_attention": 500000.0}, old={"full_attention": "rope_theta", "sliding_attention": "rope_theta"}
)

OLMO3 = variant(
    OLMO2,
    "olmo3",
    "Olmo3ForCausalLM",
    "OLMo 3",
    keys={
        **read_elsewhere(rope_parameters=None, sliding_window=4096),
        "layer_types": Key(None, attentions(every(4), full=_OLMO3_ANGLES("full_attention"), sliding=_OLMO3_ANGLES("sliding_attention"))),
    },
)

OLMOE = variant(
    MLP_UNBIASED,
    "olmoe",
    "OlmoeForCausalLM",
    "OLMoE",
    defaults=sizes(V=50304, d=2048, F=2048, L=16, H=16, T=4096, rms_norm_eps=1e-5),
    keys={
        "head_dim": unread_head_width(),  # the norms are as wide as the model, whatever the heads are
        **standard(clip_qkv=None),
        "num_experts": Key(64, everywhere(mixture(normalised="norm_topk_prob"))),
        **read_elsewhere(num_experts_per_tok=8, norm_topk_prob=False),
    },
    fixed={"qk_norm": "full"},
    aliases={"num_local_experts": "num_experts"},
)

FLEX_OLMO = variant(
    OLMO2,
    "flex_olmo",
    "FlexOlmoForCausalLM",
    "FlexOlmo",
    defaults=sizes(V=100352, T=4096, rms_norm_eps=1e-6, rope_theta=500000.0),
    keys={
        "num_experts": Key(7, everywhere(mixture(normalised="norm_topk_prob"))),
        **read_elsewhere(num_experts_per_tok=5, norm_topk_prob=False),
    },
    aliases={"num_local_experts": "num_experts"},
)

FAMILIES = (OLMO, OLMO2, OLMO3, OLMOE, FLEX_OLMO)
