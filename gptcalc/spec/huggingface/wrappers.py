"""Models of images and sound around a language model: where its config stands in theirs, and what the outer file says of it.

What a wrapper leaves out of a file is not what its parts leave out: a part that is absent has the wrapper's own starting values, and one
that is given, even as `{}`, has its class's. Source: the configuration and modeling code of transformers 5.24.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.spec.huggingface.family import same_class, sizes, written
from gptcalc.spec.reading import check_mapping, shown


class Wrapper(NamedTuple):
    """One model type that holds a language model.

    `tie` says who decides whether the head is the embedding: the `outer` key alone, `either` of the two, the `text` config alone, or
    `never`. `tied` is the outer key's default; None leaves it to the text config. `others` are its other models, with their usual types.
    """

    classes: tuple[str, ...]
    text: str
    tie: str
    tied: bool | None
    others: Mapping[str, str]
    part: str
    absent: Mapping[str, object]
    flat: bool  # the language model's keys may stand beside the wrapper's own
    merged: bool  # what the wrapper takes for an absent part also fills one that is given
    outer_head: bool  # a head of its own has the outer file's sizes


class Part(NamedTuple):
    """The config of a language model, where it stands, and what is left out of the file around it."""

    config: Mapping[str, Any]
    where: str
    left_out: tuple[str, ...] = ()
    own_code: str = ""  # the class that the outer file names in code of its own
    around: tuple[str, Mapping[str, Any]] | None = None  # the type and the config of the wrapper that holds it


def language_model(data: Mapping[str, Any], where: str) -> Part:
    """The language model's own config, with what the outer file says of it: the tie, and how the weights are stored.

    Raises GptcalcError where the outer file contradicts itself or names another class.

    >>> part = language_model({"model_type": "llava", "text_config": {"hidden_size": 2048}}, "config")
    >>> part.config["model_type"], part.where, part.left_out
    ('llama', 'config: text_config', ('vision_config (clip_vision_model)',))
    """
    part = Part(data, where)
    while isinstance(part.config.get("model_type"), str) and part.config["model_type"] in WRAPPERS:
        part = _inside(part, WRAPPERS[part.config["model_type"]])
    return part


def _inside(outer: Part, wrapper: Wrapper) -> Part:
    data, where = outer.config, outer.where
    _check_class(data, wrapper, where)
    given = data.get(wrapper.part)
    if given is not None and not isinstance(given, dict):
        raise GptcalcError(f"{where}: {wrapper.part} must be a mapping, not {written(given)}")
    check_mapping(given or {}, f"{where}: {wrapper.part}")
    if given is None and data["model_type"] in NEEDS_TEXT:
        raise GptcalcError(f"{where}: this file has no {wrapper.part}, and what its class takes for that is not known")
    inner = {**(wrapper.absent if given is None or wrapper.merged else {}), **(given or {})}
    if given is None and wrapper.flat:
        inner = {key: value for key, value in data.items() if key not in OUTER and key not in wrapper.others}
    inner.setdefault("model_type", wrapper.text)
    if isinstance(inner["model_type"], str):
        inner["model_type"] = OLD_TYPES.get(inner["model_type"], inner["model_type"])
    _tie(data, inner, wrapper, where)
    for key in ("hidden_size", "vocab_size") if wrapper.outer_head and not inner.get("tie_word_embeddings") else ():
        if data.get(key) is None or data[key] != inner.get(key):
            raise GptcalcError(f"{where}: {key} {written(data.get(key))} is not that of {wrapper.part}: the head would not fit")
    for key in STORED:
        if data.get(key) is not None:
            inner[key] = data[key]
    place = where if given is None and wrapper.flat else f"{where}: {wrapper.part}"
    left_out = (*outer.left_out, *_left_out(data, wrapper))
    return Part(inner, place, left_out, own_code(data, wrapper.classes, where) or outer.own_code, (str(data["model_type"]), data))


def _check_class(data: Mapping[str, Any], wrapper: Wrapper, where: str) -> None:
    classes = data.get("architectures") or []
    if not isinstance(classes, list):
        raise GptcalcError(f"{where}: architectures must be a list of class names, not {written(classes)}")
    for name in classes:
        if not any(same_class(OLD_CLASSES.get(name, name) if isinstance(name, str) else name, known) for known in wrapper.classes):
            why = f"names {written(name)}, which may build something else than {wrapper.classes[0]}"
            raise GptcalcError(f"{where}: architectures {why}")


def own_code(data: Mapping[str, Any], classes: tuple[str, ...], where: str) -> str:
    """The class that a file names in code that comes with the weights: transformers runs its own class unless told to trust that code.

    Raises GptcalcError where it is no class of the same name.
    """
    given = data.get("auto_map")
    if given is not None and not isinstance(given, dict):
        raise GptcalcError(f"{where}: auto_map must be a mapping, not {written(given)}")
    named = next((given[key] for key in ("AutoModelForCausalLM", "AutoModelForImageTextToText") if given and given.get(key)), None)
    if named is None:
        return ""
    if not any(same_class(str(named).rpartition(".")[2], known) for known in classes):
        why = "the model brings code of its own, which may build something else"
        raise GptcalcError(f"{where}: auto_map names {written(named)}: {why}")
    return str(named)


def _tie(data: Mapping[str, Any], inner: dict[str, Any], wrapper: Wrapper, where: str) -> None:
    key = "tie_word_embeddings"
    outer = wrapper.tied if data.get(key) is None else data[key]
    if outer is not None and not isinstance(outer, bool):
        raise GptcalcError(f"{where}: {key} must be true or false, not {written(outer)}")
    if outer is not None and (wrapper.tie == "outer" or (wrapper.tie == "either" and outer)):
        inner[key] = outer
    elif wrapper.tie == "never":
        inner[key] = False


def _left_out(data: Mapping[str, Any], wrapper: Wrapper) -> list[str]:
    found = []
    for key, usual in wrapper.others.items():
        value = data.get(key)
        named = value.get("model_type") if isinstance(value, dict) else None
        kind = shown(named) if isinstance(named, str) else usual
        if kind != ONLY_IF_GIVEN:
            found.append(f"{key} ({kind})" if kind else key)
        elif isinstance(value, dict):
            found.append(key)
    return found


STORED = ("quantization_config", "quantization", "compression_config")
"""Keys that say how the weights of the whole file are stored: the outer one holds."""

OLD_CLASSES = {
    "Qwen2_5OmniModel": "Qwen2_5OmniForConditionalGeneration",
    "Qwen2OmniNaViTThinkerForConditionalGeneration": "Qwen2_5OmniThinkerForConditionalGeneration",
}
"""What files call classes by names that they had before they came into transformers."""

OLD_TYPES = {"kimi_k2": "deepseek_v3"}
"""Types of a part that wrappers' classes read as others."""

ONLY_IF_GIVEN = "?"
"""Of a part that the wrapper builds only where the file gives it."""

# Of a flat file: the wrapper's own keys, and what is said of the whole file.
_OUTER = """
    model_type architectures auto_map quantization_config text_config image_token_id video_token_id vision_start_token_id
    vision_end_token_id vision_token_id"""
OUTER = frozenset(_OUTER.split())

# Model type, classes (`*`: ForConditionalGeneration), the usual type of the language model, who ties, and the other models.
_TABLE = """
    apertus1p5 Apertus1p5* apertus1p5_text outer vision_config=apertus1p5_vision_tokenizer audio_config=wavtokenizer_encoder
    aria Aria* aria_text outer vision_config=idefics3_vision
    aya_vision AyaVision* cohere2 outer=true vision_config=siglip_vision_model
    blip-2 Blip2* opt text vision_config=blip_2_vision_model qformer_config=blip_2_qformer
    cohere2_vision Cohere2Vision* cohere2 outer=true vision_config=siglip_vision_model
    cohere_compass CohereCompass* cohere_compass_text outer vision_config=cohere_compass_vision
    cosmos3_edge Cosmos3Edge* cosmos3_edge_text never vision_config=cosmos3_edge_vision
    cosmos3_omni Cosmos3Omni* qwen3_vl_text outer vision_config=qwen3_vl_vision
    deepseek_ocr2 DeepseekOcr2* deepseek_ocr2_text outer vision_config=deepseek_ocr2_vision
    deepseek_vl DeepseekVL* llama outer=true vision_config=siglip_vision_model
    deepseek_vl_hybrid DeepseekVLHybrid* llama outer=true vision_config=siglip_vision_model high_res_vision_config=sam_vision_model
    ernie4_5_vl_moe Ernie4_5_VLMoe* ernie4_5_vl_moe_text outer=true vision_config=ernie4_5_vl_moe_vision
    exaone4_5 Exaone4_5_* exaone4 outer vision_config=exaone4_5_vision
    fast_vlm FastVlm* qwen2 either vision_config=timm_wrapper
    fun_asr_nano FunAsrNano* qwen3 outer=true adaptor_config= audio_config=fun_asr_nano_encoder
    fuyu FuyuForCausalLM persimmon outer vision_embed_tokens=
    gemma3 Gemma3* gemma3_text outer=true vision_config=siglip_vision_model
    gemma3n Gemma3n* gemma3n_text outer=true vision_config=gemma3n_vision audio_config=gemma3n_audio
    gemma4 Gemma4* gemma4_text outer=true vision_config=? audio_config=?
    gemma4_unified Gemma4Unified* gemma4_unified_text outer=true vision_config=? audio_config=?
    glm46v Glm46V* glm4v_text outer vision_config=glm4v_vision
    glm4v Glm4v* glm4v_text either vision_config=glm4v_vision
    glm4v_moe Glm4vMoe* glm4v_moe_text either vision_config=glm4v_moe_vision
    glm5_next Glm5Next* glm5_next_text outer vision_config=glm5_next_vision
    glm_ocr GlmOcr* glm_ocr_text either vision_config=glm_ocr_vision
    glmasr GlmAsr* llama outer=true,merged audio_config=glmasr_encoder
    glmga Glm46V* glm4v_text outer vision_config=glm4v_vision
    got_ocr2 GotOcr2* qwen2 outer=true vision_config=got_ocr2_vision
    granite4_vision Granite4Vision* granite4_vision_text outer vision_config=clip_vision_model qformer_config=blip_2_qformer
    granite_docling GraniteDocling* granite_docling_text outer=true vision_config=granite_docling_vision
    granite_speech GraniteSpeech* granite outer=true encoder_config=granite_speech_encoder projector_config=blip_2_qformer
    granite_speech_plus GraniteSpeechPlus* granite outer=true encoder_config=granite_speech_plus_encoder projector_config=blip_2_qformer
    hy_v4_vl HYV4VL* hy_v4_vl_text outer vision_config=hy_v4_vl_vision
    hyperclovax_vision_v2 HyperCLOVAXVisionV2* hyperclovax outer=true vision_config=qwen2_5_vl_vision
    idefics2 Idefics2* mistral outer vision_config=idefics2_vision perceiver_config=idefics2_perceiver
    idefics3 Idefics3* llama outer vision_config=idefics3_vision
    instructblip InstructBlip* opt text vision_config=instructblip_vision_model qformer_config=instructblip_qformer
    instructblipvideo InstructBlipVideo* opt text vision_config=instructblipvideo_vision_model qformer_config=instructblipvideo_qformer
    internvl InternVL* qwen2 outer=true vision_config=internvl_vision
    janus Janus* llama outer=true vision_config=janus_vision_model vq_config=janus_vqgan
    kimi_k25 Kimi_K25* deepseek_v3 outer=true vision_config=kimi_k25_vision
    kosmos-2 Kosmos2* kosmos_2_text_model either=true vision_config=kosmos_2_vision_model
    kosmos-2.5 Kosmos2_5* kosmos_2_5_text_model text vision_config=kosmos_2_5_vision_model
    lfm2_vl Lfm2Vl* lfm2 outer=true vision_config=siglip2_vision_model
    lfm3_vl Lfm3Vl* lfm3 outer=true vision_config=lfm3_vl_vision
    lighton_ocr LightOnOcr* qwen3 outer=true vision_config=pixtral
    llama4 Llama4*,Llama4ForCausalLM llama4_text text vision_config=llama4_vision_model
    llava Llava* llama either vision_config=clip_vision_model
    llava_next LlavaNext* llama outer vision_config=clip_vision_model
    llava_next_video LlavaNextVideo* llama either vision_config=clip_vision_model
    llava_onevision LlavaOnevision* qwen2 either vision_config=siglip_vision_model
    minicpm_ocr MiniCPMOcr* qwen3_5_text outer=true vision_config=minicpm_ocr_vision
    minicpmv4_6 MiniCPMV4_6* qwen3_5_text outer vision_config=minicpmv4_6_vision
    minicpmv4_7 MiniCPMV4_7* qwen3_5_text outer vision_config=minicpmv4_7_vision
    minimax_m3_vl MiniMaxM3Sparse* minimax_m3_vl_text either vision_config=minimax_m3_vl_vision
    mistral3 Mistral3* mistral outer=true vision_config=pixtral
    mistral_large4 MistralLarge4* mistral_large4_text outer vision_config=pixtral
    mllama Mllama*,MllamaForCausalLM mllama_text_model never vision_config=mllama_vision_model
    molmo2 Molmo2* molmo2_text never vision_config=molmo2_vision adapter_config=molmo2_adapter
    moss_transcribe_diarize MossTranscribeDiarize* qwen3 outer=true audio_config=moss_transcribe_diarize_audio
    muse_glimmer MuseGlimmer* muse_glimmer_text outer vision_config=muse_glimmer_vision
    nemo_speechlm Nemotron3_5Transcribe* nemotron_h never audio_config=nemotron3_5_transcribe_audio \
        word_timestamp_config=nemotron3_5_transcribe_word_timestamp
    nemotron_h_omni NemotronH_Omni_Reasoning_V3 nemotron_h never vision_config=radio audio_config=?
    omniasr OmniASR* llama never audio_config=omniasr_audio
    ovis2 Ovis2* qwen2 outer=true,outer_head vision_config=ovis2_vision
    paddleocr_vl PaddleOCRVL* paddleocr_vl_text either=true vision_config=paddleocr_vl_vision
    paligemma PaliGemma* gemma outer=true vision_config=siglip_vision_model
    perception_lm PerceptionLM* llama outer=text vision_config=timm_wrapper
    pp_chart2table GotOcr2* qwen2 outer=true vision_config=pp_chart2table_vision
    qianfan_ocr QianfanOCR* qwen3 outer vision_config=qianfan_ocr_vision
    qwen2_5_omni_thinker Qwen2_5OmniThinker* qwen2_5_omni_text outer vision_config=qwen2_5_omni_vision_encoder \
        audio_config=qwen2_5_omni_audio_encoder
    qwen2_5_omni Qwen2_5Omni* qwen2_5_omni_thinker text,thinker_config \
        talker_config=qwen2_5_omni_talker token2wav_config=qwen2_5_omni_token2wav
    qwen2_5_vl Qwen2_5_VL* qwen2_5_vl_text either,flat vision_config=qwen2_5_vl_vision
    qwen2_audio Qwen2Audio* qwen2 never audio_config=qwen2_audio_encoder
    qwen2_vl Qwen2VL* qwen2_vl_text either,flat vision_config=qwen2_vl_vision
    qwen3_5 Qwen3_5*,Qwen3_5ForCausalLM qwen3_5_text outer vision_config=qwen3_5_vision
    qwen3_5_moe Qwen3_5Moe*,Qwen3_5MoeForCausalLM qwen3_5_moe_text outer vision_config=qwen3_5_moe_vision
    qwen3_asr Qwen3ASR* qwen3 outer=true audio_config=qwen3_asr_encoder
    qwen3_omni_moe_thinker Qwen3OmniMoeThinker* qwen3_omni_moe_text outer vision_config=qwen3_omni_moe_vision_encoder \
        audio_config=qwen3_omni_moe_audio_encoder
    qwen3_omni_moe Qwen3OmniMoe* qwen3_omni_moe_thinker text,thinker_config talker_config= code2wav_config=
    qwen3_vl Qwen3VL* qwen3_vl_text outer vision_config=qwen3_vl_vision
    qwen3_vl_moe Qwen3VLMoe* qwen3_vl_moe_text outer vision_config=qwen3_vl_moe_vision
    qwen4_exp Qwen4Exp*,Qwen4ExpForCausalLM qwen4_exp_text outer vision_config=qwen4_exp_vision
    shieldgemma2 Gemma3* gemma3_text either vision_config=siglip_vision_model
    smolvlm SmolVLM* llama outer vision_config=smolvlm_vision
    step3p7 Step3p7* step3p5 outer vision_config=step3p5_vision
    unlimited_ocr UnlimitedOcr* unlimited_ocr_text outer vision_config=unlimited_ocr_vision
    vibevoice VibeVoice* qwen2 text diffusion_head_config=vibevoice_diffusion \
        semantic_model_config=vibevoice_acoustic_tokenizer_encoder audio_config=vibevoice_acoustic_tokenizer
    vibevoice_asr VibeVoiceAsr* qwen2 never semantic_tokenizer_encoder_config=vibevoice_acoustic_tokenizer_encoder \
        acoustic_tokenizer_encoder_config=vibevoice_acoustic_tokenizer_encoder
    video_llama_3 VideoLlama3* qwen2 either vision_config=video_llama_3_vision
    video_llava VideoLlava* llama outer vision_config=clip_vision_model
    vipllava VipLlava* llama outer vision_config=clip_vision_model
    voxtral Voxtral* llama never,merged audio_config=voxtral_encoder
    voxtral_realtime VoxtralRealtime* voxtral_realtime_text outer=true,merged audio_config=voxtral_realtime_encoder
"""

NEEDS_TEXT = ("nemo_speechlm",)
"""Wrappers that build another language model than their own defaults say, where its config is absent (transformers 5.24)."""

_ABSENT: Mapping[str, Mapping[str, object]] = {
    "fast_vlm": sizes(V=152128, d=3584, F=18944, L=28, H=28, K=4),
    "fun_asr_nano": sizes(d=1024, F=3072, L=28, H=16, K=8, T=40960),
    "glmasr": sizes(V=59264, d=2048, F=6144, L=28, H=16, K=4, T=8192, rms_norm_eps=1e-5),
    **{name: sizes(V=151860, d=1024, F=2816, L=24, H=16, K=16, rope_theta=1e6) for name in ("got_ocr2", "pp_chart2table")},
    "idefics2": sizes(T=32768, rms_norm_eps=1e-5),
    "idefics3": {"rms_norm_eps": 1e-5},
    "smolvlm": {"rms_norm_eps": 1e-5},
    "lighton_ocr": sizes(d=1024, F=3072, L=28, H=16, K=8, T=40960, rope_theta=1e6),
    "mistral3": sizes(V=131072, d=5120, F=32768, L=40, Q=128, rms_norm_eps=1e-5, rope_theta=1e9, sliding_window=None),
    "moss_transcribe_diarize": sizes(d=1024, F=3072, L=28, H=16, K=8, T=131072, rope_theta=1e6),
    "omniasr": sizes(V=11984, F=2816, L=12, H=8, K=8, Q=512, T=8192, rms_norm_eps=1e-5),
    "paligemma": sizes(V=257152, d=2048, F=16384, L=18, H=8, K=1),
    "qwen3_asr": sizes(d=2048, F=6144, L=28, H=16, K=8, T=65536),
    "voxtral": sizes(V=131072, d=3072, F=8192, L=30, K=8, Q=128, T=131072, rms_norm_eps=1e-5, rope_theta=1e8),
    "voxtral_realtime": sizes(V=131072, d=3072, F=9216, L=26, Q=128, rms_norm_eps=1e-5, rope_theta=1e6, sliding_window=8192),
}
"""What a wrapper takes where its language model's config is absent, beyond the defaults of that config's class."""


def _row(line: str) -> tuple[str, Wrapper]:
    model_type, classes, text, rule, *others = line.split()
    tie, *more = rule.split(",")
    who, _, default = tie.partition("=")
    return model_type, Wrapper(
        tuple(classes.replace("*", "ForConditionalGeneration").split(",")),
        text,
        who,
        None if default == "text" else default == "true",
        dict(other.split("=") for other in others),
        next((word for word in more if word.endswith("_config")), "text_config"),
        _ABSENT.get(model_type, {}),
        "flat" in more,
        "merged" in more,
        "outer_head" in more,
    )


WRAPPERS: Mapping[str, Wrapper] = dict(_row(line) for line in _TABLE.strip().splitlines())
"""Every model of transformers that holds a language model of its own config, by model type."""
