"""What the classes of towers take where a file is silent, and what wrappers take where a part is absent.

Source: the configuration code of transformers 5.24.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def _table(text: str) -> Mapping[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for line in text.strip().splitlines():
        name, *pairs = line.split()
        found[name] = {key: json.loads(value) for key, value in (pair.split("=") for pair in pairs)}
    return found


OF_TYPE = _table("""
    idefics3_vision hidden_size=1152 image_size=224 intermediate_size=3072 num_channels=3 num_hidden_layers=12 patch_size=32
    blip_2_vision_model hidden_size=1408 image_size=224 intermediate_size=6144 num_hidden_layers=39 patch_size=14 qkv_bias=true
    blip_2_qformer cross_attention_frequency=2 encoder_hidden_size=1408 hidden_size=768 intermediate_size=3072 num_hidden_layers=12
    siglip_vision_model hidden_size=768 image_size=224 intermediate_size=3072 num_channels=3 num_hidden_layers=12 patch_size=16 \
        vision_use_head=true
    cosmos3_edge_vision hidden_size=1152 intermediate_size=4304 num_channels=3 num_hidden_layers=27 num_patches=256 patch_size=16 \
        spatial_merge_size=2
    qwen3_vl_vision deepstack_visual_indexes=[8,16,24] depth=27 hidden_size=1152 in_channels=3 intermediate_size=4304 \
        num_position_embeddings=2304 out_hidden_size=3584 patch_size=16 spatial_merge_size=2 temporal_patch_size=2
    sam_vision_model global_attn_indexes=[2,5,8,11] hidden_size=768 image_size=1024 mlp_dim=3072 mlp_ratio=4.0 \
        num_attention_heads=12 num_channels=3 num_hidden_layers=12 output_channels=256 patch_size=16 qkv_bias=true use_abs_pos=true \
        use_rel_pos=true window_size=14
    ernie4_5_vl_moe_vision depth=32 hidden_size=1280 in_channels=3 intermediate_size=5120 patch_size=14 spatial_merge_size=2 \
        temporal_merge_size=2
    exaone4_5_vision depth=32 hidden_size=3584 in_channels=3 intermediate_size=3420 num_heads=16 num_key_value_heads=8 \
        out_hidden_size=3584 patch_size=14 spatial_merge_size=2 temporal_patch_size=2
    fun_asr_nano_encoder fsmn_kernel_size=11 hidden_size=512 intermediate_size=2048 num_hidden_layers=70 num_mel_bins=80 \
        num_stacked_frames=7 num_timestamp_prediction_layers=20
    fun_asr_nano_adaptor hidden_size=1024 intermediate_size=256 num_hidden_layers=2 projector_hidden_size=2048
    gemma4_vision head_dim=64 hidden_size=768 intermediate_size=3072 num_attention_heads=12 num_hidden_layers=16 \
        num_key_value_heads=12 patch_size=16 position_embedding_size=10240
    gemma4_audio conv_kernel_size=5 hidden_size=1024 num_attention_heads=8 num_hidden_layers=12 output_proj_dims=1536 \
        subsampling_conv_channels=[128,32]
    glm4v_vision attention_bias=false depth=24 hidden_size=1536 image_size=336 in_channels=3 intermediate_size=13696 \
        out_hidden_size=4096 patch_size=14 spatial_merge_size=2 temporal_patch_size=2
    glm4v_moe_vision attention_bias=false depth=24 hidden_size=1536 image_size=336 in_channels=3 intermediate_size=13696 \
        out_hidden_size=4096 patch_size=14 spatial_merge_size=2 temporal_patch_size=2
    glm5_next_vision attention_bias=true depth=24 hidden_size=1024 in_channels=3 intermediate_size=4096 num_heads=16 \
        out_hidden_size=1536 patch_size=14 projection_intermediate_size=10240 spatial_merge_size=2 temporal_patch_size=2
    glm_ocr_vision attention_bias=true depth=24 hidden_size=1024 in_channels=3 intermediate_size=4096 num_heads=16 \
        out_hidden_size=1536 patch_size=14 spatial_merge_size=2 temporal_patch_size=2
    granite_speech_encoder conv_expansion_factor=2 conv_kernel_size=15 feedforward_mult=4 hidden_dim=1024 input_dim=160 \
        max_pos_emb=512 num_heads=8 num_layers=10 output_dim=42
    glmasr_encoder hidden_size=1280 intermediate_size=5120 num_attention_heads=20 num_hidden_layers=32 num_key_value_heads=20 \
        num_mel_bins=128
    got_ocr2_vision global_attn_indexes=[2,5,8,11] hidden_size=768 image_size=1024 mlp_dim=3072 num_attention_heads=12 \
        num_channels=3 num_hidden_layers=12 output_channels=256 patch_size=16 qkv_bias=true use_abs_pos=true use_rel_pos=true \
        window_size=14
    pp_chart2table_vision global_attn_indexes=[2,5,8,11] hidden_size=768 image_size=1024 mlp_dim=3072 num_attention_heads=12 \
        num_channels=3 num_hidden_layers=12 output_channels=256 patch_size=16 qkv_bias=true use_abs_pos=true use_rel_pos=true \
        window_size=14
    granite_docling_vision deepstack_visual_indexes=[3,7,10] hidden_size=768 image_size=512 intermediate_size=3072 num_channels=3 \
        num_hidden_layers=12 out_hidden_size=1024 patch_size=16 scale_factor=4 use_fine_route=true
    qwen2_5_vl_vision depth=32 hidden_size=3584 in_channels=3 intermediate_size=3420 out_hidden_size=3584 patch_size=14 \
        spatial_merge_size=2 temporal_patch_size=2
    idefics2_vision hidden_size=768 image_size=224 intermediate_size=3072 num_channels=3 num_hidden_layers=12 patch_size=32
    idefics2_perceiver hidden_size=4096 num_key_value_heads=4 resampler_depth=3 resampler_head_dim=96 resampler_n_heads=16 \
        resampler_n_latents=64
    smolvlm_vision hidden_size=1152 image_size=224 intermediate_size=3072 num_channels=3 num_hidden_layers=12 patch_size=32
    instructblip_vision_model hidden_size=1408 image_size=224 intermediate_size=6144 num_hidden_layers=39 patch_size=14 qkv_bias=true
    instructblip_qformer cross_attention_frequency=2 encoder_hidden_size=1408 hidden_size=768 intermediate_size=3072 \
        max_position_embeddings=512 num_hidden_layers=12 vocab_size=30522
    instructblipvideo_vision_model hidden_size=1408 image_size=224 intermediate_size=6144 num_hidden_layers=39 patch_size=14 \
        qkv_bias=true
    instructblipvideo_qformer cross_attention_frequency=2 encoder_hidden_size=1408 hidden_size=768 intermediate_size=3072 \
        max_position_embeddings=512 num_hidden_layers=12 vocab_size=30522
    internvl_vision attention_bias=false hidden_size=1024 image_size=[448,448] intermediate_size=4096 norm_type="layer_norm" \
        num_channels=3 num_hidden_layers=24 patch_size=[14,14] use_absolute_position_embeddings=true use_mask_token=false \
        use_mean_pooling=true use_qk_norm=false
    qianfan_ocr_vision attention_bias=true hidden_size=1024 image_size=[448,448] intermediate_size=4096 norm_type="layer_norm" \
        num_channels=3 num_hidden_layers=24 patch_size=[14,14] use_absolute_position_embeddings=true use_mask_token=false \
        use_mean_pooling=true use_qk_norm=false
    kimi_k25_vision hidden_size=1152 intermediate_size=4304 merge_kernel_size=[2,2] num_hidden_layers=27 patch_size=14 \
        pos_emb_height=64 pos_emb_width=64
    siglip2_vision_model hidden_size=768 intermediate_size=3072 num_channels=3 num_hidden_layers=12 num_patches=256 patch_size=16 \
        vision_use_head=true
    pixtral hidden_size=1024 intermediate_size=4096 num_channels=3 num_hidden_layers=24 patch_size=16
    llama4_vision_model hidden_size=768 image_size=448 intermediate_size=5632 num_channels=3 num_hidden_layers=34 patch_size=14 \
        projector_input_dim=4096 projector_output_dim=4096 vision_output_dim=7680
    clip_vision_model hidden_size=768 image_size=224 intermediate_size=3072 num_channels=3 num_hidden_layers=12 patch_size=32
    minicpm_ocr_vision hidden_size=768 image_size=224 intermediate_size=3072 num_channels=3 num_hidden_layers=12 patch_size=16 \
        window_kernel_size=[2,2]
    minicpmv4_6_vision hidden_size=768 image_size=224 intermediate_size=3072 num_channels=3 num_hidden_layers=12 patch_size=16 \
        window_kernel_size=[2,2]
    minicpmv4_7_vision hidden_size=768 image_size=224 intermediate_size=3072 num_channels=3 num_hidden_layers=12 patch_size=16 \
        window_kernel_size=[2,2]
    minimax_m3_vl_vision hidden_size=1280 intermediate_size=5120 num_channels=3 num_hidden_layers=32 patch_size=14 \
        spatial_merge_size=2 temporal_patch_size=2
    mllama_vision_model hidden_size=1280 image_size=448 intermediate_size=5120 max_num_tiles=4 num_channels=3 num_global_layers=8 \
        num_hidden_layers=32 patch_size=14 supported_aspect_ratios=[[1,1],[1,2],[1,3],[1,4],[2,1],[2,2],[3,1],[4,1]] \
        vision_output_dim=7680
    moss_transcribe_diarize_audio hidden_size=1024 intermediate_size=4096 max_source_positions=1500 num_hidden_layers=24 num_mel_bins=80
    omniasr_audio conv_bias=true conv_dim=[512,512,512,512,512,512,512] conv_kernel=[10,3,3,3,3,2,2] hidden_size=1024 \
        intermediate_size=4096 num_conv_pos_embedding_groups=16 num_conv_pos_embeddings=128 num_hidden_layers=24
    ovis2_vision hidden_size=1024 hidden_stride=1 image_size=224 intermediate_size=2816 mlp_bias=false num_channels=3 \
        num_hidden_layers=24 num_visual_indicator_tokens=5 patch_size=14 qkv_bias=false vocab_size=16384
    paddleocr_vl_vision hidden_size=1152 image_size=384 intermediate_size=4304 num_channels=3 num_hidden_layers=27 patch_size=14 \
        spatial_merge_size=2
    qwen2_5_omni_vision_encoder depth=32 hidden_size=3584 in_channels=3 intermediate_size=3420 out_hidden_size=3584 patch_size=14 \
        spatial_merge_size=2 temporal_patch_size=2
    qwen2_5_omni_audio_encoder d_model=1280 encoder_ffn_dim=5120 encoder_layers=32 num_mel_bins=128 output_dim=3584
    qwen2_audio_encoder d_model=1280 encoder_ffn_dim=5120 encoder_layers=32 max_source_positions=1500 num_mel_bins=128
    qwen2_vl_vision depth=32 embed_dim=1280 hidden_size=3584 in_channels=3 mlp_ratio=4 patch_size=14 spatial_merge_size=2 \
        temporal_patch_size=2
    qwen3_5_vision depth=27 hidden_size=1152 in_channels=3 intermediate_size=4304 num_position_embeddings=2304 \
        out_hidden_size=3584 patch_size=16 spatial_merge_size=2 temporal_patch_size=2
    qwen3_5_moe_vision depth=27 hidden_size=1152 in_channels=3 intermediate_size=4304 num_position_embeddings=2304 \
        out_hidden_size=3584 patch_size=16 spatial_merge_size=2 temporal_patch_size=2
    qwen3_asr_encoder output_dim=3584 d_model=1024 downsample_hidden_size=480 encoder_ffn_dim=4096 encoder_layers=24 num_mel_bins=128
    qwen3_omni_moe_vision_encoder deepstack_visual_indexes=[8,16,24] depth=27 hidden_size=1152 in_channels=3 \
        intermediate_size=4304 num_position_embeddings=2304 out_hidden_size=3584 patch_size=16 spatial_merge_size=2 \
        temporal_patch_size=2
    qwen3_omni_moe_audio_encoder d_model=1280 downsample_hidden_size=480 encoder_ffn_dim=5120 encoder_layers=32 num_mel_bins=128 \
        output_dim=3584
    qwen3_vl_moe_vision deepstack_visual_indexes=[8,16,24] depth=27 hidden_size=1152 in_channels=3 intermediate_size=4304 \
        num_position_embeddings=2304 out_hidden_size=3584 patch_size=16 spatial_merge_size=2 temporal_patch_size=2
    step3p5_vision hidden_size=1536 image_size=728 mlp_ratio=5.833333333333333 num_channels=3 num_hidden_layers=47 patch_size=14
    video_llama_3_vision hidden_size=768 intermediate_size=3072 num_channels=3 num_hidden_layers=12 patch_size=16
    voxtral_encoder hidden_size=1280 intermediate_size=5120 max_source_positions=1500 num_hidden_layers=32 num_mel_bins=128
    voxtral_realtime_encoder head_dim=64 hidden_size=1280 intermediate_size=5120 num_attention_heads=32 num_hidden_layers=32 \
        num_mel_bins=128
""")
"""Of each type of a part's config."""

ABSENT = _table("""
    cohere2_vision.vision_config hidden_size=1152 image_size=512 num_hidden_layers=27
    lighton_ocr.vision_config patch_size=14
    llava.vision_config hidden_size=1024 image_size=336 intermediate_size=4096 num_hidden_layers=24 patch_size=14
    llava_next.vision_config hidden_size=1024 image_size=336 intermediate_size=4096 num_hidden_layers=24 patch_size=14
    llava_next_video.vision_config hidden_size=1024 image_size=336 intermediate_size=4096 num_hidden_layers=24 patch_size=14
    llava_onevision.vision_config hidden_size=1152 image_size=384 vision_use_head=false intermediate_size=4304 num_hidden_layers=26 \
        patch_size=14
    vipllava.vision_config hidden_size=1024 image_size=336 intermediate_size=4096 num_hidden_layers=24 patch_size=14
    video_llava.vision_config hidden_size=1024 intermediate_size=4096 num_hidden_layers=24 patch_size=14
    mistral3.vision_config patch_size=14
    paligemma.vision_config hidden_size=1152 intermediate_size=4096 num_hidden_layers=27 patch_size=14 vision_use_head=false
""")
"""Of a part that is absent, beyond its type's: a wrapper's own start."""

OUTER = _table("""
    aria projector_patch_to_query_dict={"1225":128,"4900":256}
    blip-2 num_query_tokens=32
    granite_speech downsample_rate=5 window_size=15
    cohere2_vision alignment_intermediate_size=36864 downsample_factor=2
    aya_vision downsample_factor=2
    cosmos3_edge projector_hidden_size=11520
    fuyu num_channels=3 patch_size=30
    idefics3 scale_factor=2
    smolvlm scale_factor=2
    instructblip num_query_tokens=32
    instructblipvideo num_query_tokens=32
    internvl downsample_ratio=0.5
    qianfan_ocr downsample_ratio=0.5
    kimi_k25 projection_hidden_size=1152
    lfm2_vl downsample_factor=2 projector_bias=true projector_hidden_size=2560 projector_use_layernorm=true
    lighton_ocr spatial_merge_size=2
    llava multimodal_projector_bias=true vision_feature_layer=-2
    llava_next multimodal_projector_bias=true vision_feature_layer=-2
    llava_next_video multimodal_projector_bias=true vision_feature_layer=-2
    llava_onevision multimodal_projector_bias=true vision_feature_layer=-1
    vipllava vision_feature_layers=[-2,-5,-8,-11,6]
    video_llava multimodal_projector_bias=true vision_feature_layer=-2
    minicpm_ocr merge_kernel_size=[2,2] merger_times=1
    minicpmv4_6 merge_kernel_size=[2,2] merger_times=1
    minicpmv4_7 merge_kernel_size=[2,2] merger_times=1
    minimax_m3_vl projector_hidden_size=6144
    mistral3 multimodal_projector_bias=false spatial_merge_size=2 vision_feature_layer=-1
    moss_transcribe_diarize audio_merge_size=4
    ovis2 hidden_size=1536
    paligemma projection_dim=2048
    step3p7 projector_bias=false
    voxtral_realtime downsample_factor=4
""")
"""Of a wrapper's own keys that its projector reads."""
