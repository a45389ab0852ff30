"""Model types that transformers can build a causal language model of and gptcalc cannot count, each with the reason."""

from __future__ import annotations

from collections.abc import Mapping

_REASONS: Mapping[str, str] = {
    "its layers are state spaces or other recurrences, not attention": "rwkv xlstm",
    "some of its layers are recurrences or convolutions, not attention": """
        lara_mini minimax qwen4_exp_text recurrent_gemma zamba zamba2 zaya""",
    "an indexer with weights of its own chooses the keys of each query": """
        glm5_next_text hy_v4_vl_text
        mistral_large4_text""",
    "it predicts several tokens at once, by positions in tables of relative distances": "prophetnet",
    "its attention sees random and nearby blocks of keys": "big_bird",
    "it reads images, sound or music, and its language model is only a part of it": """
        dots3_note emu3 git moshi musicgen musicgen_melody phi4_multimodal""",
    "gptcalc has no reading of its class yet": "cohere_compass_text hunyuan_vl_text muse_glimmer_text step3p5",
    "some of its layers see an image's keys in place of the text's": "mllama_text_model",
    "each of its sparse layers has two sets of experts, for text and for images": "ernie4_5_vl_moe_text",
    "its MLPs have a norm between their matrices": "kosmos_2_text_model kosmos_2_5_text_model",
    "its embedding has rows that its head has not": "molmo2_text",
    "a query sees all of an image and a window of the text": "unlimited_ocr_text",
    "each layer is told the delay of the sound by two small matrices": "voxtral_realtime_text",
    "it drafts tokens for another model, whose keys and values it reads": "gemma4_assistant gemma4_unified_assistant",
    "each layer has an embedding table of its own": "gemma3n_text",
    "it reads bytes, through models around a model": "blt",
    "its attention heads are experts": "jetmoe",
    "each layer has two attentions and experts that do nothing": "longcat_flash",
    "the same layers run several times": "dory hrm_text inkling2_loop_text",
    "its positions are a table of relative distances": "cpmant xlnet",
    "its attention is by hashing": "reformer",
    "its embedding has parts for the sound and the shape of characters": "roc_bert",
    "its embedding has parts for languages, and its positions are unlike a decoder's": "xlm",
    "its layers have adapters for languages": "xmod",
    "its blocks are unlike those that gptcalc knows": "inkling_text inkling2_text",
}
REFUSED: Mapping[str, str] = {model_type: why for why, types in _REASONS.items() for model_type in types.split()}
"""Each model type with the reason."""
