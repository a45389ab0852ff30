"""Which towers a wrapper has, what each is built of by the type in its config, and what joins them to the language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from gptcalc.spec.huggingface.towers import audio, merging, projectors, vision
from gptcalc.spec.huggingface.towers.parts import Parts, Sizes
from gptcalc.spec.huggingface.towers.projectors import Projector

Tower = Callable[[Parts, Sizes], None]

ANY = ("clip_vision_model", "siglip_vision_model", "pixtral")
"""What wrappers whose tower is any model of transformers have in published files."""


_CHOSEN = """
    aria aya_vision cohere2_vision cosmos3_omni deepseek_vl deepseek_vl_hybrid fun_asr_nano gemma3 glm46v glmasr glmga
    hyperclovax_vision_v2 lfm2_vl lighton_ocr llava llava_next llava_next_video llava_onevision mistral3 omniasr
    paligemma qwen2_audio qwen3_asr shieldgemma2 video_llava vipllava voxtral voxtral_realtime"""
CHOSEN = frozenset(_CHOSEN.split())
"""Wrappers whose parts are of the type that their config says; every other has classes of its own, whatever stands there."""


def no_tower(p: Parts, c: Sizes) -> None:
    """A config that only a projector reads."""


TOWERS: Mapping[str, Tower] = {
    "clip_vision_model": vision.clip,
    "siglip_vision_model": vision.siglip,
    "siglip2_vision_model": vision.siglip2,
    "pixtral": vision.pixtral,
    **dict.fromkeys(("idefics2_vision", "idefics3_vision", "smolvlm_vision", "paddleocr_vl_vision"), vision.siglip_body),
    "video_llama_3_vision": vision.siglip_rotary,
    "cosmos3_edge_vision": vision.siglip2_body,
    **dict.fromkeys(("blip_2_vision_model", "instructblip_vision_model", "instructblipvideo_vision_model"), vision.blip),
    **dict.fromkeys(("internvl_vision", "qianfan_ocr_vision"), vision.internvit),
    "ernie4_5_vl_moe_vision": vision.ernie,
    "kimi_k25_vision": vision.moonvit,
    "llama4_vision_model": vision.llama4,
    "mllama_vision_model": vision.mllama,
    "gemma4_vision": vision.gemma4,
    "step3p5_vision": vision.step,
    "minimax_m3_vl_vision": vision.minimax,
    "qwen2_vl_vision": merging.qwen2_vl,
    **dict.fromkeys(("qwen2_5_vl_vision", "qwen2_5_omni_vision_encoder"), merging.qwen2_5_vl),
    "exaone4_5_vision": merging.exaone,
    **dict.fromkeys(("qwen3_vl_vision", "qwen3_vl_moe_vision", "qwen3_omni_moe_vision_encoder"), merging.qwen3_vl),
    **dict.fromkeys(("qwen3_5_vision", "qwen3_5_moe_vision"), merging.qwen3_5),
    **dict.fromkeys(("glm4v_vision", "glm4v_moe_vision"), merging.glm4v),
    "glm_ocr_vision": merging.glm_ocr,
    "glm5_next_vision": merging.glm5_next,
    **dict.fromkeys(("sam_vision_model", "got_ocr2_vision", "pp_chart2table_vision"), merging.sam),
    "ovis2_vision": merging.aimv2,
    **dict.fromkeys(("minicpm_ocr_vision", "minicpmv4_6_vision", "minicpmv4_7_vision"), merging.minicpm),
    "granite_docling_vision": merging.granite_docling,
    "qwen2_audio_encoder": audio.whisper,
    "granite_speech_encoder": audio.conformer,
    **dict.fromkeys(("voxtral_encoder", "moss_transcribe_diarize_audio"), audio.whisper_renamed),
    "glmasr_encoder": audio.glmasr,
    "qwen2_5_omni_audio_encoder": audio.qwen2_5_omni,
    "qwen3_omni_moe_audio_encoder": audio.qwen3_omni,
    "qwen3_asr_encoder": audio.qwen3_asr,
    "voxtral_realtime_encoder": audio.voxtral_realtime,
    "omniasr_audio": audio.wav2vec2,
    "fun_asr_nano_encoder": audio.sanm,
    "gemma4_audio": audio.gemma4,
    **dict.fromkeys(("blip_2_qformer", "instructblip_qformer", "instructblipvideo_qformer", "idefics2_perceiver"), no_tower),
    "fun_asr_nano_adaptor": no_tower,
}
"""Each type of a part's config, with what is built of it."""


class Around(NamedTuple):
    """What is around one wrapper's language model: the type of each part, several where its config says which, and its projector.

    `copies`: how often each part is built; `only_if_given`: parts that are not built where the file has none; `needed`: parts whose sizes
    must be in the file, since those that the class takes where it has none are of no published model.
    """

    parts: Mapping[str, tuple[str, ...]]
    projector: Projector
    copies: int = 1
    only_if_given: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()


# Wrapper, its projector, and its parts with their types; `!`: a part that the file must have.
_ROWS = """
    aria aria vision_config=idefics3_vision
    blip-2 blip2 vision_config=blip_2_vision_model qformer_config=blip_2_qformer
    cohere2_vision cohere2 vision_config=siglip_vision_model
    aya_vision aya vision_config=siglip_vision_model
    cosmos3_edge cosmos_edge vision_config=cosmos3_edge_vision
    cosmos3_omni none vision_config=qwen3_vl_vision
    deepseek_vl two vision_config=siglip_vision_model
    deepseek_vl_hybrid deepseek_hybrid vision_config=siglip_vision_model high_res_vision_config=sam_vision_model
    ernie4_5_vl_moe ernie vision_config=ernie4_5_vl_moe_vision
    exaone4_5 none vision_config=exaone4_5_vision
    fun_asr_nano fun_asr audio_config=fun_asr_nano_encoder adaptor_config=fun_asr_nano_adaptor
    fuyu fuyu
    gemma3 gemma3 vision_config=siglip_vision_model
    shieldgemma2 gemma3 vision_config=siglip_vision_model
    gemma4 gemma4 vision_config=gemma4_vision audio_config=gemma4_audio
    glm46v none vision_config=glm4v_vision
    glm4v none vision_config=glm4v_vision
    glmga none vision_config=glm4v_vision
    glm4v_moe none vision_config=glm4v_moe_vision
    glm5_next none vision_config=glm5_next_vision
    glm_ocr none vision_config=glm_ocr_vision
    glmasr glmasr audio_config=glmasr_encoder
    got_ocr2 got_ocr2 vision_config=got_ocr2_vision
    pp_chart2table got_ocr2 vision_config=pp_chart2table_vision
    granite_docling none vision_config=granite_docling_vision
    hyperclovax_vision_v2 hyperclova vision_config=qwen2_5_vl_vision
    idefics2 idefics2 vision_config=idefics2_vision perceiver_config=idefics2_perceiver
    idefics3 idefics3 vision_config=idefics3_vision
    smolvlm idefics3 vision_config=smolvlm_vision
    instructblip instructblip vision_config=instructblip_vision_model qformer_config=instructblip_qformer
    instructblipvideo instructblip vision_config=instructblipvideo_vision_model qformer_config=instructblipvideo_qformer
    granite_speech granite_speech encoder_config=granite_speech_encoder projector_config=blip_2_qformer
    internvl internvl vision_config=internvl_vision
    qianfan_ocr internvl vision_config=qianfan_ocr_vision
    kimi_k25 kimi vision_config=kimi_k25_vision
    lfm2_vl lfm2 vision_config=siglip2_vision_model
    lighton_ocr lighton vision_config=pixtral
    llama4 llama4 vision_config=llama4_vision_model!
    llava llava vision_config=ANY
    llava_next llava_newline vision_config=ANY
    llava_next_video llava_newline vision_config=ANY
    llava_onevision llava_newline vision_config=ANY
    vipllava vipllava vision_config=ANY
    video_llava llava vision_config=ANY
    minicpm_ocr minicpm vision_config=minicpm_ocr_vision
    minicpmv4_6 minicpm vision_config=minicpmv4_6_vision
    minicpmv4_7 minicpm vision_config=minicpmv4_7_vision
    minimax_m3_vl minimax vision_config=minimax_m3_vl_vision
    mistral3 mistral3 vision_config=ANY
    mllama mllama vision_config=mllama_vision_model
    moss_transcribe_diarize moss audio_config=moss_transcribe_diarize_audio
    omniasr omniasr audio_config=omniasr_audio
    ovis2 ovis2 vision_config=ovis2_vision
    paddleocr_vl paddleocr vision_config=paddleocr_vl_vision
    paligemma paligemma vision_config=siglip_vision_model
    qwen2_5_omni_thinker none vision_config=qwen2_5_omni_vision_encoder audio_config=qwen2_5_omni_audio_encoder
    qwen2_5_vl none vision_config=qwen2_5_vl_vision
    qwen2_audio qwen2_audio audio_config=qwen2_audio_encoder
    qwen2_vl none vision_config=qwen2_vl_vision
    qwen3_5 none vision_config=qwen3_5_vision
    qwen3_5_moe none vision_config=qwen3_5_moe_vision
    qwen3_asr qwen3_asr audio_config=qwen3_asr_encoder
    qwen3_omni_moe_thinker none vision_config=qwen3_omni_moe_vision_encoder audio_config=qwen3_omni_moe_audio_encoder
    qwen3_vl none vision_config=qwen3_vl_vision
    qwen3_vl_moe none vision_config=qwen3_vl_moe_vision
    step3p7 step vision_config=step3p5_vision
    video_llama_3 video_llama3 vision_config=video_llama_3_vision
    voxtral voxtral audio_config=voxtral_encoder
    voxtral_realtime voxtral_realtime audio_config=voxtral_realtime_encoder
"""


def _row(line: str) -> tuple[str, Around]:
    wrapper, projector, *parts = line.split()
    needed = tuple(part.partition("=")[0] for part in parts if part.endswith("!"))
    pairs = (part.rstrip("!").split("=") for part in parts)
    types = {key: ANY if kind == "ANY" else (kind,) for key, kind in pairs}
    optional = tuple(types) if wrapper == "gemma4" else ()
    return wrapper, Around(types, getattr(projectors, projector), 2 if wrapper == "video_llava" else 1, optional, needed)


AROUND: Mapping[str, Around] = dict(_row(line) for line in _ROWS.strip().splitlines())
"""What is around each wrapper's language model, where that is known."""
