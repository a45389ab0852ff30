"""Random small configs of any causal language model class: every key of the class may vary, and the sizes stay small."""

import dataclasses
import importlib
import random
import types
from typing import Any

import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

CLASSES: dict[str, str] = dict(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)

# Language models that transformers builds inside another model only, by the class of the part without a head; and Mistral 4.
PARTS: dict[str, str] = {
    "cosmos3_edge_text": "Cosmos3EdgeTextModel",
    "deepseek_ocr2_text": "DeepseekOcr2TextModel",
    "glm4v_moe_text": "Glm4vMoeTextModel",
    "glm4v_text": "Glm4vTextModel",
    "glm_ocr_text": "GlmOcrTextModel",
    "granite4_vision_text": "Granite4VisionTextModel",
    "granite_docling_text": "GraniteDoclingTextModel",
    "mistral4": "Mistral4Model",
    "paddleocr_vl_text": "PaddleOCRTextModel",
    "qwen2_5_omni_text": "Qwen2_5OmniThinkerTextModel",
    "qwen2_5_vl_text": "Qwen2_5_VLTextModel",
    "qwen2_vl_text": "Qwen2VLTextModel",
    "qwen3_omni_moe_text": "Qwen3OmniMoeThinkerTextModel",
    "qwen3_vl_moe_text": "Qwen3VLMoeTextModel",
    "qwen3_vl_text": "Qwen3VLTextModel",
}
NEVER_TIED = ("cosmos3_edge_text",)  # its head is a matrix of its own, whatever the config says

VOCABULARY = 300_000
"""Above every token id that the classes fill in, one of which must have a row."""

LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
WIDTHS = ("hidden_size", "n_embd", "d_model", "word_embed_proj_dim", "embedding_size")
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads")
KV_HEADS = ("num_key_value_heads", "num_kv_heads", "kv_n_heads")
HEAD_WIDTHS = ("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "head_dim", "dim_head", "kv_channels")
FEED_FORWARD = ("intermediate_size", "n_inner", "ffn_dim", "dff", "dim_ff", "ffn_hidden_size", "intermediate_size_mlp")
EXPERT_WIDTHS = ("moe_intermediate_size", "shared_expert_intermediate_size", "shared_intermediate_size", "expert_ffn_hidden_size")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
TOP_K = ("num_experts_per_tok", "moe_topk", "moe_k", "num_experts_per_token", "moe_top_k")
SHARED = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts")
DENSE_FIRST = ("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index")
PATTERNS = ("sliding_window_pattern", "interleave_moe_layer_step", "decoder_sparse_step", "moe_layer_interval", "no_rope_layer_interval")
POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len")
WINDOWS = ("sliding_window", "window_size", "attention_chunk_size")
NEVER = ("is_encoder_decoder", "output_hidden_states", "return_dict", "use_cache", "is_decoder", "output_router_logits", "use_bfloat16")


def fields_of(model_type: str) -> dict[str, Any]:
    """The keys of a config class, with their defaults as the class declares them."""
    return {field.name: field.default for field in dataclasses.fields(transformers.CONFIG_MAPPING[model_type])}


def small(model_type: str, seed: int) -> dict[str, Any]:
    """A small config: the keys that set sizes, always; some of the others, at random."""
    chance = random.Random(f"{model_type} {seed}")
    known = fields_of(model_type)
    heads = chance.choice([1, 2, 4, 6, 8])
    layers = chance.randint(1, 6)
    width = heads * chance.choice([8, 12, 16]) * chance.choice([1, 1, 2])
    experts = chance.choice([2, 4, 5, 8])
    values: dict[str, Any] = {
        "vocab_size": VOCABULARY + chance.randint(0, 99),
        **dict.fromkeys(LAYERS, layers),
        **dict.fromkeys(WIDTHS, width),
        **dict.fromkeys(HEADS, heads),
        **dict.fromkeys(KV_HEADS, heads if "kv_lora_rank" in known else chance.choice([k for k in (1, 2, 3, 4, heads) if heads % k == 0])),
        **{name: chance.choice([8, 16, 20, 24]) for name in HEAD_WIDTHS},
        **{name: chance.randint(5, 90) for name in FEED_FORWARD + EXPERT_WIDTHS},
        **dict.fromkeys(EXPERTS, experts),
        **dict.fromkeys(TOP_K, chance.randint(1, 2)),
        **{name: chance.randint(1, 3) for name in SHARED + DENSE_FIRST + PATTERNS},
        **dict.fromkeys(POSITIONS, chance.randint(30, 90)),
        **{name: chance.randint(5, 30) for name in WINDOWS},
        "n_group": 1,
        "topk_group": 1,
    }
    always = {"vocab_size", *LAYERS, *WIDTHS[:3], *HEADS, *KV_HEADS, *EXPERTS, *TOP_K, "n_group", "topk_group"}
    config: dict[str, Any] = {}
    for name, default in known.items():
        if name in values and (name in always or chance.random() < 0.7):
            config[name] = values[name]
        elif name in NEVER or name in values:
            continue
        elif isinstance(default, bool) and chance.random() < 0.4:
            config[name] = chance.random() < 0.5
    _lists(model_type, config, known, layers, chance)
    if model_type == "dbrx":  # its class fails without the base
        config["attn_config"] = {"kv_n_heads": values["kv_n_heads"], "rope_theta": 10000.0, "clip_qkv": chance.choice([None, 8.0])}
        config["ffn_config"] = {"ffn_hidden_size": 40, "moe_num_experts": experts, "moe_top_k": 1}
    return {"model_type": model_type, **config}


def _lists(model_type: str, config: dict[str, Any], known: dict[str, Any], layers: int, chance: random.Random) -> None:
    """Layers that differ from one another, written out."""
    kinds = {
        "layer_types": ["full_attention", "sliding_attention"],
        "mlp_layer_types": ["dense", "sparse"],
    }
    if model_type.startswith("lfm"):
        kinds["layer_types"] = ["full_attention", "conv", *(["sliding_attention"] if model_type == "lfm3" else [])]
    if model_type in ("kimi_linear", "bailing_hybrid", "olmo_hybrid"):
        kinds["layer_types"] = ["full_attention", "linear_attention"]
    always = "layer_types" if model_type == "lfm2_moe" else ""  # its class has no rule of its own
    for name, choices in kinds.items():
        if name == always or (name in known and chance.random() < 0.4):
            config[name] = [chance.choice(choices) for _ in range(layers)]
    if "mlp_only_layers" in known and chance.random() < 0.5:
        config["mlp_only_layers"] = [layer for layer in range(layers) if chance.random() < 0.3]
    if "moe_layers" in known and chance.random() < 0.5:
        config["moe_layers"] = [layer for layer in range(layers) if chance.random() < 0.5]
    if "no_rope_layers" in known and chance.random() < 0.5:
        config["no_rope_layers"] = [chance.randint(0, 1) for _ in range(layers)]


def real_config(config: dict[str, Any]) -> Any:
    model_type = config["model_type"]
    return transformers.CONFIG_MAPPING[model_type](**{key: value for key, value in config.items() if key != "model_type"})


def count(model_type: str, config: Any) -> int:
    """What the real class holds, built where it takes no memory. Buffers are not parameters."""
    with torch.device("meta"):
        model = part_with_head(model_type, config) if model_type in PARTS else getattr(transformers, CLASSES[model_type])(config)
    return sum(parameter.numel() for parameter in model.parameters())


def part_with_head(model_type: str, config: Any) -> "WithHead":
    """The language model of a class that has it as a part, as that class puts a head on it."""
    modeling = type(config).__module__.replace("configuration_", "modeling_")
    return WithHead(getattr(importlib.import_module(modeling), PARTS[model_type])(config), config)


class WithHead(torch.nn.Module):
    base_model_prefix = "model"

    def __init__(self, model: Any, config: Any) -> None:
        super().__init__()
        self.model, self.config = model, config
        self.lm_head = torch.nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if getattr(config, "tie_word_embeddings", False) and config.model_type not in NEVER_TIED:
            self.lm_head.weight = model.embed_tokens.weight

    def forward(self, input_ids: torch.Tensor, use_cache: bool = False) -> types.SimpleNamespace:
        hidden = self.model(input_ids=input_ids, use_cache=use_cache).last_hidden_state
        return types.SimpleNamespace(logits=self.lm_head(hidden) / getattr(self.config, "logits_scaling", 1))
