"""ERNIE 4.5, which began like Llama. (The first ERNIE is with BERT.)"""

from __future__ import annotations

from gptcalc.spec.huggingface.families.llama import UNBIASED
from gptcalc.spec.huggingface.family import Config, Key, sizes, variant, written
from gptcalc.spec.huggingface.handlers import flag, heads, nothing, only, read_elsewhere
from gptcalc.spec.huggingface.layers import experts_in
from gptcalc.spec.huggingface.mixture import mixture, shares
from gptcalc.spec.huggingface.rotary import rotary_keys

ERNIE45 = variant(
    UNBIASED,
    "ernie4_5",
    "Ernie4_5ForCausalLM",
    "ERNIE 4.5",
    defaults=sizes(
        V=103424, d=1024, F=3072, L=18, H=16, K=2, Q=128, T=131072, rms_norm_eps=1e-5, tie_word_embeddings=True, rope_theta=500000.0
    ),
    keys={"use_bias": Key(False, flag("attention_bias", "attention_output_bias", "mlp_bias"))},
    fixed={"rotary_pairs": "neighbours"},
)


def _ernie_sparse(config: Config, layer: int) -> bool:
    last = config["moe_layer_end_index"]
    if type(last) is not int:
        raise config.refuse("moe_layer_end_index", f"must be a whole number, not {written(last)}")
    last = config.layers - 1 if last == -1 else last
    return (layer + 1) % config.size("moe_layer_interval") == 0 and config.size("moe_layer_start_index", least=0) <= layer <= last


ERNIE45_MOE = variant(
    UNBIASED,
    "ernie4_5_moe",
    "Ernie4_5_MoeForCausalLM",
    "ERNIE 4.5",
    defaults=sizes(V=103424, d=2560, F=12288, L=28, H=20, T=131072, rms_norm_eps=1e-5, tie_word_embeddings=True, rope_theta=500000.0),
    keys={
        **heads(4),
        "use_bias": Key(False, only(False, why="the shared experts would have biases and the routed ones none")),
        **read_elsewhere(moe_intermediate_size=1536, moe_k=6, moe_num_shared_experts=2, moe_layer_start_index=1, moe_layer_end_index=-1),
        "moe_layer_interval": Key(1, nothing),
        # The score correction is among this class's parameters, though it is not trained.
        "moe_num_experts": Key(
            64,
            experts_in(
                _ernie_sparse,
                mixture("moe_num_experts", "moe_k", "moe_intermediate_size", shared=shares("moe_num_shared_experts"), router_bias=True),
            ),
        ),
    },
    fixed={"rotary_pairs": "neighbours"},
    aliases={"num_experts": "moe_num_experts", "num_experts_per_tok": "moe_k"},
    harmless={"moe_norm_min": "keeps a division from zero"},
)

PADDLEOCR_VL = variant(
    ERNIE45,
    "paddleocr_vl_text",
    "PaddleOCRVLForConditionalGeneration PaddleOCRTextModel PaddleOCRVLModel",
    "PaddleOCR-VL",
    keys=rotary_keys(500000.0, sections=True),
    fixed={"rotary_pairs": "halves"},
)

FAMILIES = (ERNIE45, ERNIE45_MOE, PADDLEOCR_VL)
