"""config.json files: every key is used, known to change nothing, or refused by name."""

from pathlib import Path
from typing import Any

import pytest
from configs import CONFIGS
from conftest import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gptcalc.errors import GptcalcError
from gptcalc.spec.files import load_model
from gptcalc.spec.huggingface import FAMILIES, read_config
from gptcalc.spec.huggingface.harmless import COMMON, HARMLESS
from gptcalc.spec.huggingface.writing import preset_text
from gptcalc.spec.model import ModelSpec
from gptcalc.table.params import params

# Hand-written and old-style files, as published beside the weights: keys are left out, renamed since, or of other times.
IN_THE_WILD: dict[str, tuple[dict[str, Any], int]] = {
    "gpt2": (
        {
            "activation_function": "gelu_new",
            "architectures": ["GPT2LMHeadModel"],
            "attn_pdrop": 0.1,
            "bos_token_id": 50256,
            "embd_pdrop": 0.1,
            "eos_token_id": 50256,
            "initializer_range": 0.02,
            "layer_norm_epsilon": 1e-05,
            "model_type": "gpt2",
            "n_ctx": 1024,
            "n_embd": 768,
            "n_head": 12,
            "n_layer": 12,
            "n_positions": 1024,
            "resid_pdrop": 0.1,
            "summary_activation": None,
            "summary_first_dropout": 0.1,
            "summary_proj_to_labels": True,
            "summary_type": "cls_index",
            "summary_use_proj": True,
            "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
            "vocab_size": 50257,
        },
        124_439_808,
    ),
    "gpt1": (
        {
            "afn": "gelu",
            "architectures": ["OpenAIGPTLMHeadModel"],
            "attn_pdrop": 0.1,
            "model_type": "openai-gpt",
            "n_ctx": 512,
            "n_embd": 768,
            "n_head": 12,
            "n_layer": 12,
            "n_positions": 512,
            "n_special": 0,
            "predict_special_tokens": True,
            "vocab_size": 40478,
        },
        116_534_784,
    ),
    "llama-2-70b": (
        {
            "_name_or_path": "meta-llama/Llama-2-70b-hf",
            "architectures": ["LlamaForCausalLM"],
            "bos_token_id": 1,
            "hidden_act": "silu",
            "hidden_size": 8192,
            "intermediate_size": 28672,
            "max_position_embeddings": 4096,
            "model_type": "llama",
            "num_attention_heads": 64,
            "num_hidden_layers": 80,
            "num_key_value_heads": 8,
            "pretraining_tp": 1,
            "rms_norm_eps": 1e-05,
            "rope_scaling": None,
            "tie_word_embeddings": False,
            "torch_dtype": "float16",
            "transformers_version": "4.32.0.dev0",
            "use_cache": True,
            "vocab_size": 32000,
        },
        68_976_648_192,
    ),
    "llama-3.2-1b": (
        {
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": False,
            "attention_dropout": 0.0,
            "head_dim": 64,
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "max_position_embeddings": 131072,
            "mlp_bias": False,
            "model_type": "llama",
            "num_attention_heads": 32,
            "num_hidden_layers": 16,
            "num_key_value_heads": 8,
            "rms_norm_eps": 1e-05,
            "rope_scaling": {
                "factor": 32.0,
                "high_freq_factor": 4.0,
                "low_freq_factor": 1.0,
                "original_max_position_embeddings": 8192,
                "rope_type": "llama3",
            },
            "rope_theta": 500000.0,
            "tie_word_embeddings": True,
            "vocab_size": 128256,
        },
        1_235_814_400,
    ),
    "opt-350m": (
        {
            "_remove_final_layer_norm": False,
            "activation_dropout": 0.0,
            "activation_function": "relu",
            "architectures": ["OPTForCausalLM"],
            "do_layer_norm_before": False,
            "dropout": 0.1,
            "ffn_dim": 4096,
            "hidden_size": 1024,
            "init_std": 0.02,
            "layerdrop": 0.0,
            "max_position_embeddings": 2048,
            "model_type": "opt",
            "num_attention_heads": 16,
            "num_hidden_layers": 24,
            "pad_token_id": 1,
            "prefix": "</s>",
            "vocab_size": 50272,
            "word_embed_proj_dim": 512,
        },
        331_196_416,
    ),
    "pythia-160m": (
        {
            "architectures": ["GPTNeoXForCausalLM"],
            "hidden_act": "gelu",
            "hidden_size": 768,
            "intermediate_size": 3072,
            "layer_norm_eps": 1e-05,
            "max_position_embeddings": 2048,
            "model_type": "gpt_neox",
            "num_attention_heads": 12,
            "num_hidden_layers": 12,
            "partial_rotary_factor": 0.25,
            "rope_theta": 10000,
            "rotary_emb_base": 10000,
            "rotary_pct": 0.25,
            "tie_word_embeddings": False,
            "use_parallel_residual": True,
            "vocab_size": 50304,
        },
        162_322_944,
    ),
    "gpt-j": (
        {
            "activation_function": "gelu_new",
            "architectures": ["GPTJForCausalLM"],
            "gradient_checkpointing": False,
            "model_type": "gptj",
            "n_embd": 4096,
            "n_head": 16,
            "n_inner": None,
            "n_layer": 28,
            "n_positions": 2048,
            "rotary": True,
            "rotary_dim": 64,
            "scale_attn_weights": True,
            "tie_word_embeddings": False,
            "tokenizer_class": "GPT2Tokenizer",
            "vocab_size": 50400,
        },
        6_050_882_784,
    ),
    "mistral": (
        {
            "architectures": ["MistralForCausalLM"],
            "hidden_act": "silu",
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "max_position_embeddings": 32768,
            "model_type": "mistral",
            "num_attention_heads": 32,
            "num_hidden_layers": 32,
            "num_key_value_heads": 8,
            "rms_norm_eps": 1e-05,
            "rope_theta": 10000.0,
            "sliding_window": 4096,
            "vocab_size": 32000,
        },
        7_241_732_096,
    ),
}


@pytest.mark.parametrize(("config", "total"), IN_THE_WILD.values(), ids=IN_THE_WILD)
def test_files_in_the_wild(config: dict[str, Any], total: int) -> None:
    assert params(load_model(config)).value == total


def test_what_the_fields_become() -> None:
    llama = load_model(IN_THE_WILD["llama-3.2-1b"][0])
    assert llama.rope_theta == 500000.0
    assert llama.rope_scaling is not None
    assert llama.rope_scaling["original_max_position_embeddings"] == 8192
    opt = load_model(IN_THE_WILD["opt-350m"][0])
    assert (opt.d_embedding, opt.n_position, opt.norm_placement, opt.final_norm) == (512, 2050, "post", False)
    neox = load_model(IN_THE_WILD["pythia-160m"][0])
    assert (neox.d_rotary, neox.parallel_residual, neox.activation) == (16, True, "gelu")
    assert load_model(IN_THE_WILD["gpt1"][0]).activation == "gelu_tanh"
    assert load_model(IN_THE_WILD["mistral"][0]).sliding_window == 4096


def test_names() -> None:
    assert load_model(IN_THE_WILD["llama-2-70b"][0]).name == "meta-llama/Llama-2-70b-hf"
    assert load_model({"model_type": "gpt2"}).name == "gpt2"


def test_second_names_of_keys() -> None:
    assert load_model({"model_type": "gpt2", "hidden_size": 96, "num_attention_heads": 4, "num_hidden_layers": 3}).d_model == 96


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"model_type": "gpt2", "n_layer": "2"}, "n_layer"),
        ({"model_type": "gpt2", "n_layer": None}, "n_layer"),
        ({"model_type": "gpt2", "n_layer": True}, "n_layer"),
        ({"model_type": "gpt2", "n_layer": 2.0}, "n_layer"),
        ({"model_type": "gpt2", "n_layer": 0}, "n_layer"),
        ({"model_type": "gpt2", "n_layer": 10**5000}, "n_layer"),
        ({"model_type": "gpt2", "n_inner": -1}, "n_inner"),
        ({"model_type": "gpt2", "n_embd": 770}, "n_head"),
        ({"model_type": "gpt2", "hidden_size": 96, "n_embd": 768}, "n_embd"),
        ({"model_type": "gpt2", "sliding_window": 128}, "sliding_window"),
        ({"model_type": "gpt2", "layer_types": ["sliding_attention"] * 12}, "layer_types"),
        ({"model_type": "gpt2", "is_causal": False}, "is_causal"),
        ({"model_type": "gpt2", "activation_function": "hardswish"}, "activation_function"),
        ({"model_type": "gpt2", "activation_function": ["gelu"]}, "activation_function"),
        ({"model_type": "gpt2", "add_cross_attention": True}, "add_cross_attention"),
        ({"model_type": "gpt2", "scale_attn_weights": False}, "scale_attn_weights"),
        ({"model_type": "gpt2", "scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ({"model_type": "gpt2", "is_encoder_decoder": True}, "is_encoder_decoder"),
        ({"model_type": "gpt2", "pruned_heads": {"0": [1]}}, "pruned_heads"),
        ({"model_type": "gpt2", "per_layer_config": {"0": {"n_head": 6}}}, "per_layer_config"),
        ({"model_type": "gpt2", "tie_word_embeddings": "true"}, "tie_word_embeddings"),
        ({"model_type": "gpt2", "layer_norm_epsilon": "1e-5"}, "layer_norm_epsilon"),
        ({"model_type": "gpt2", "architectures": ["GPT2ForSequenceClassification"]}, "GPT2ForSequenceClassification"),
        ({"model_type": "gpt2", "architectures": ["GPT2DoubleHeadsModel"]}, "GPT2DoubleHeadsModel"),
        ({"model_type": "gpt2", "architectures": ["GPT2Model"]}, "GPT2Model"),
        ({"model_type": "gpt2", "architectures": "GPT2LMHeadModel"}, "architectures"),
        ({"model_type": "gpt2", "architectures": [{}]}, "architectures"),
        ({"model_type": "gpt2", "auto_map": {"AutoModelForCausalLM": "x.Y"}}, "auto_map"),
        ({"model_type": "gpt2", "_name_or_path": 3}, "_name_or_path"),
        ({"model_type": "openai-gpt", "afn": "gelu_new"}, "afn"),
        ({"model_type": "gptj", "rotary_dim": None}, "rotary_dim"),
        ({"model_type": "gptj", "rotary_dim": 63}, "d_rotary"),
        ({"model_type": "llama", "quantization_config": {"bits": 4}}, "quantization_config"),
        ({"model_type": "llama", "sliding_window": 4096}, "sliding_window"),
        ({"model_type": "llama", "num_attention_heads": 24}, "hidden_size"),
        ({"model_type": "llama", "num_attention_heads": 24, "head_dim": 128}, "hidden_size"),
        ({"model_type": "llama", "num_key_value_heads": 5}, "n_kv_head"),
        ({"model_type": "llama", "partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"model_type": "llama", "rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ({"model_type": "llama", "rope_scaling": {"type": "mrope"}}, "mrope"),
        ({"model_type": "llama", "rope_scaling": {"type": "linear"}}, "factor"),
        ({"model_type": "llama", "rope_scaling": {"type": "linear", "factor": "2"}}, "factor"),
        ({"model_type": "llama", "rope_scaling": {"type": "linear", "rope_type": "bogus", "factor": 2}}, "bogus"),
        ({"model_type": "hunyuan_v1_dense", "head_dim": 8, "rope_scaling": {"type": "dynamic", "factor": 2.0, "alpha": -9}}, "above zero"),
        ({"model_type": "hunyuan_v1_moe", "head_dim": 128, "num_experts": 4, "moe_topk": [1] * 31 + [2]}, "layer to layer"),
        ({"model_type": "hunyuan_v1_moe", "head_dim": 128, "num_experts": 4, "moe_topk": [1] * 31}, "each of 32 layers"),
        ({"model_type": "exaone4", "sliding_window_pattern": "LLLG"}, "write layer_types"),
        ({"model_type": "mimo_v2_flash", "sliding_window_size": -1}, "sliding_window_size"),
        ({"model_type": "llama", "rope_scaling": {1: 2}}, "not text"),
        ({"model_type": "ministral3", "rope_parameters": {"type": [], "factor": 16.0, "rope_type": "yarn"}}, "rope_parameters"),
        ({"model_type": "llama", "rope_scaling": {"type": "linear", "factor": float("inf")}}, "factor"),
        ({"model_type": "dbrx", "attn_config": {"rope_theta": 1e4}, "ffn_config": {"ffn_act_fn": "silu"}}, "ffn_act_fn"),
        ({"model_type": "smollm3", "num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"model_type": "llama4_text", "num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"model_type": "gpt_neox_japanese", "num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"model_type": "llama", "rope_scaling": {**LLAMA3, "factor": 0}}, "factor"),
        ({"model_type": "llama", "rope_scaling": [2.0]}, "rope_"),
        ({"model_type": "llama", "rope_theta": 0}, "rope_theta"),
        ({"model_type": "llama", "rope_theta": None}, "rope_theta"),
        ({"model_type": "mistral", "layer_types": ["full_attention"] * 32}, "layer_types"),
        ({"model_type": "mistral", "sliding_window": 0}, "sliding_window"),
        ({"model_type": "gpt_neox", "rope_theta": 500.0}, "rope_theta"),
        ({"model_type": "gpt_neox", "rotary_pct": 0.001}, "rotary_pct"),
        ({"model_type": "gpt_neox", "rotary_pct": None}, "rotary_pct"),
        ({"model_type": "rwkv"}, "rwkv"),
        ({"model_type": "gpt"}, "gpt"),
        ({"model_type": None}, "model_type"),
    ],
)
def test_refused_by_name(config: dict[str, Any], named: str) -> None:
    with pytest.raises(GptcalcError) as caught:
        load_model(config)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "gpt2", "reorder_and_upcast_attn": True},
        {"model_type": "gpt2", "temperature": 0.7, "top_k": 50, "num_beams": 4},
        {"model_type": "gpt2", "head_dim": 64, "num_key_value_heads": 12, "pruned_heads": {}},
        {"model_type": "gpt2", "architectures": None, "quantization_config": None},
        {"model_type": "gpt2", "id2label": {"0": "LABEL_0"}, "num_labels": 1, "torch_dtype": "float16"},
    ],
)
def test_keys_that_change_nothing(config: dict[str, Any]) -> None:
    assert load_model(config) == load_model({"model_type": "gpt2"})


@pytest.mark.parametrize(
    ("config", "unread"),
    [
        ({"model_type": "gpt2", "n_layers": 2}, ["n_layers"]),
        ({"model_type": "gpt2", "n_special": 0, "predict_special_tokens": True}, ["n_special"]),
        ({"model_type": "gpt2", "num_experts": 8, "n_ctx": 2048}, ["n_ctx", "num_experts"]),
        ({"model_type": "gpt2", "head_dim": 128, "num_key_value_heads": 1}, ["head_dim", "num_key_value_heads"]),
        ({"model_type": "openai-gpt", "n_special": 3, "n_inner": 5}, ["n_inner", "n_special"]),
        ({"model_type": "gptj", "rotary": False}, ["rotary"]),
        ({"model_type": "mistral", "attention_bias": True}, ["attention_bias"]),
        ({"model_type": "opt", "num_key_value_heads": 4}, ["num_key_value_heads"]),
        ({"model_type": "deepseek_v3", "scoring_func": "softmax"}, ["scoring_func"]),
        ({"model_type": "llama", "is_llama_config": True, "rope_interleaved": True}, ["is_llama_config", "rope_interleaved"]),
        ({"model_type": "starcoder2", "activation_function": "gelu"}, ["activation_function"]),
        ({"model_type": "gpt_bigcode", "runner_max_sequence_length": None}, ["runner_max_sequence_length"]),
        ({"model_type": "qwen3_moe", "qkv_bias": False}, ["qkv_bias"]),
        ({"model_type": "minimax_m2", "use_mtp": True, "num_mtp_modules": 3, "attn_type_list": [1] * 62}, ["num_mtp_modules", "use_mtp"]),
        ({"model_type": "minimax_m2", "shared_intermediate_size": 0}, ["shared_intermediate_size"]),
        ({"model_type": "glm4_moe_lite", "first_k_dense_replace": 1}, ["first_k_dense_replace"]),
        ({"model_type": "phi3", "full_attn_mod": 1}, ["full_attn_mod"]),
        ({"model_type": "llama", "time_step_limit": [0.0, float("inf")]}, ["time_step_limit"]),
        ({"model_type": "llama", "rope_scaling": {"type": "linear", "factor": 2.0, "gamma": 1}}, ["rope_parameters.gamma"]),
    ],
)
def test_keys_that_the_class_does_not_read(config: dict[str, Any], unread: list[str]) -> None:
    """They are listed, and the model is what the class builds without them."""
    spec, read = load_model(config), read_config(config)
    assert sorted(spec.unread) == sorted(read.unread) == unread
    assert not set(unread) & (set(read.read) | set(read.ignored))
    plain = {key: value for key, value in config.items() if key not in unread}
    assert spec.model_copy(update={"unread": (), "notes": ()}) == load_model(plain).model_copy(update={"unread": (), "notes": ()})


def test_where_angles_came_from() -> None:
    """Older files give base and scaling apart; what a file gives is not called the class's default."""
    old = read_config({"model_type": "llama", "rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}})
    new = read_config({"model_type": "llama", "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5}})
    none = read_config({"model_type": "llama"})
    assert (old.origins["rope_theta"], old.origins["rope_scaling"]) == ("rope_theta", "rope_scaling")
    assert (new.origins["rope_theta"], new.origins["rope_scaling"]) == ("rope_parameters", "rope_parameters")
    assert "rope_theta: 500000.0  # rope_theta\n" in preset_text(old)
    assert "rope_theta, left out: the class's default" in preset_text(none)


@pytest.mark.parametrize(("key", "note"), [("num_hidden_layer", "num_hidden_layers"), ("use_mtp", None), ("rope_thta", "rope_theta")])
def test_a_slip_is_near_to_a_key_that_is_missing(key: str, note: str | None) -> None:
    told = load_model({"model_type": "llama", key: 1}).notes
    assert told == ((f"{key} is not read: did you mean '{note}'?",) if note else ())
    assert not load_model({"model_type": "llama", key: 1, "num_hidden_layers": 2, "rope_theta": 1e4}).notes


def test_a_key_that_may_be_misspelt() -> None:
    assert load_model({"model_type": "gpt2", "n_layers": 2}).notes == ("n_layers is not read: did you mean 'n_layer'?",)


def test_code_of_its_own() -> None:
    spec = load_model({"model_type": "minimax_m2", "auto_map": {"AutoModelForCausalLM": "modeling_minimax_m2.MiniMaxM2ForCausalLM"}})
    assert spec.own_code == "modeling_minimax_m2.MiniMaxM2ForCausalLM"


@pytest.mark.parametrize(("given", "name"), [("/mnt/data/SmolLM2-135M/", "SmolLM2-135M"), ("./step_250", "step_250"), ("HF/x", "HF/x")])
def test_folders_of_another_machine_are_no_name(given: str, name: str) -> None:
    assert load_model({"model_type": "gpt2", "_name_or_path": given}).name == name


def test_a_type_without_a_class_is_the_class_that_it_names() -> None:
    """Kimi K2 is DeepSeek V3's class, by the file published beside its weights."""
    kimi = {
        "architectures": ["DeepseekV3ForCausalLM"],
        "auto_map": {"AutoModelForCausalLM": "modeling_deepseek.DeepseekV3ForCausalLM"},
        "first_k_dense_replace": 1,
        "intermediate_size": 18432,
        "max_position_embeddings": 131072,
        "model_type": "kimi_k2",
        "n_group": 1,
        "n_routed_experts": 384,
        "num_attention_heads": 64,
        "num_key_value_heads": 64,
        "rope_scaling": {"type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096, "mscale": 1.0, "mscale_all_dim": 0.0},
        "topk_group": 1,
        "vocab_size": 163840,
    }
    spec = load_model(kimi)
    assert params(spec).value == 1_026_408_209_408
    assert "kimi_k2" in spec.notes[0]
    assert spec.rope_scaling is not None
    assert "mscale_all_dim" not in spec.rope_scaling
    assert params(load_model(kimi | {"architectures": ["DeepSeekV3ForCausalLM"], "auto_map": None})).value == 1_026_408_209_408


def test_a_head_of_its_own_width() -> None:
    spec = load_model({"model_type": "mistral", "hidden_size": 5120, "num_attention_heads": 32, "head_dim": 128})
    assert spec.d_head == 128


def test_overrides_of_an_imported_model() -> None:
    spec = load_model({"model_type": "gpt2"}, {"d_model": 1024, "n_head": 16, "n_layer": 24})
    assert params(spec).value == 354_823_168


def test_tables_agree_with_themselves() -> None:
    """No key is both used and harmless, and each alias stands for a key of its class."""
    for family in FAMILIES.values():
        keys = set(family.keys)
        assert not keys & set(family.harmless)
        assert keys & set(HARMLESS) <= {"pad_token_id"}  # RoBERTa counts positions from behind it
        assert not keys & set(COMMON)
        assert set(family.aliases.values()) <= keys
        assert not set(family.aliases) & keys


every_key = sorted({key for family in FAMILIES.values() for key in (*family.keys, *family.aliases, *family.harmless)} | set(COMMON))
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 4096), st.floats(), st.text(max_size=5), st.sampled_from([10**40, "gelu", 1e-5, 0.25])
)
values = st.one_of(
    scalars,
    st.lists(scalars, max_size=2),
    st.dictionaries(st.sampled_from(["type", "rope_type", "factor", "rope_theta", "x"]), scalars, max_size=3),
)


@settings(max_examples=examples(500), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(FAMILIES)), st.dictionaries(st.one_of(st.sampled_from(every_key), st.text(max_size=5)), values, max_size=3))
def test_any_config_is_a_spec_or_a_refusal(model_type: str, keys: dict[str, object]) -> None:
    try:
        spec = load_model({**keys, "model_type": model_type})
    except GptcalcError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert isinstance(spec, ModelSpec)


# --- Files published beside the weights, the presets and the way back -----------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
def test_a_published_config_is_the_preset(name: str) -> None:
    told = {"name", "family", "source", "notes", "published", "training_tokens", "training_seq", "left_out", "unread", "own_code"}
    imported, preset = load_model(CONFIGS[name]), load_model(name)
    written = {field for field in ModelSpec.model_fields if field not in told}
    assert {field: getattr(imported, field) for field in written} == {field: getattr(preset, field) for field in written}


@pytest.mark.parametrize("name", CONFIGS)
def test_what_import_writes_is_the_same_model(name: str, tmp_path: Path) -> None:
    path = tmp_path / "written.yaml"
    path.write_text(preset_text(read_config(CONFIGS[name], name=name)), "utf-8")
    assert load_model(path) == load_model({**CONFIGS[name], "_name_or_path": name})


def test_every_key_is_accounted_for() -> None:
    read = read_config({"model_type": "llama", "hidden_size": 2048, "attention_dropout": 0.1, "torch_dtype": "float16"})
    assert read.read == {"hidden_size": 2048}
    assert read.origins["d_model"] == "hidden_size"
    assert read.defaulted["num_hidden_layers"] == 32
    assert set(read.ignored) == {"model_type", "attention_dropout", "torch_dtype"}
    assert all(read.ignored.values())


@pytest.mark.parametrize(
    ("config", "bits"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, 4 + 20 / 128),
        ({"quant_method": "awq", "bits": 4, "group_size": 64, "version": "gemm"}, 4 + 20 / 64),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, 8 + 32 / 128**2),
        ({"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}, 4.25),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, 8),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": False}, 4.5),
        ({"load_in_4bit": True, "bnb_4bit_use_double_quant": True}, 4 + (8 + 32 / 256) / 64),
    ],
)
def test_stored_bits_of_quantized_weights(config: dict[str, Any], bits: float) -> None:
    spec = load_model({"model_type": "llama", "quantization_config": config})
    assert spec.quantization is not None
    assert spec.quantization.bits == bits
    assert params(spec).value == params(load_model({"model_type": "llama"})).value


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"model_type": "llama", "quantization_config": {"quant_method": "aqlm"}}, "aqlm"),
        ({"model_type": "llama", "quantization_config": {"quant_method": "gptq", "bits": "4"}}, "bits"),
        ({"model_type": "llama", "quantization_config": []}, "quantization_config"),
        ({"model_type": "qwen3", "layer_types": ["full_attention"]}, "layer_types"),
        ({"model_type": "qwen3", "layer_types": ["linear_attention"] * 32}, "linear_attention"),
        ({"model_type": "qwen3", "layer_types": ["sliding_attention"] * 32}, "use_sliding_window"),
        ({"model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 8}, "num_experts_per_tok"),
        ({"model_type": "qwen3_moe", "mlp_only_layers": ["1"]}, "mlp_only_layers"),
        ({"model_type": "deepseek_v3", "kv_lora_rank": None}, "kv_lora_rank"),
        ({"model_type": "deepseek_v3", "num_key_value_heads": 8}, "num_key_value_heads"),
        ({"model_type": "deepseek_v3", "num_hidden_layers": 10**7}, "num_hidden_layers"),
        ({"model_type": "mixtral", "num_local_experts": 0}, "num_local_experts"),
        ({"model_type": "gemma2", "hidden_activation": None}, "hidden_activation"),
        ({"model_type": "gemma3_text", "use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ({"model_type": "gpt_neo", "attention_types": [[["global"], 3]]}, "attention_types"),
        ({"model_type": "falcon", "new_decoder_architecture": True, "parallel_attn": False}, "parallel_attn"),
        ({"model_type": "mpt", "attn_config": {"alibi": False}}, "alibi"),
        ({"model_type": "mpt", "expansion_ratio": 2}, "expansion_ratio"),
        ({"model_type": "bert", "tie_word_embeddings": False}, "tie_word_embeddings"),
        ({"model_type": "llava", "text_config": {"model_type": "rwkv"}}, "rwkv"),
        ({"model_type": "llava", "text_config": [], "vision_config": {}}, "text_config"),
        ({"model_type": "llava", "text_config": {1: 2}}, "text_config"),
        ({"model_type": "llava", "architectures": ["LlavaLlamaForCausalLM"], "hidden_size": 5120}, "LlavaLlamaForCausalLM"),
        ({"model_type": "internvl_chat", "llm_config": {"model_type": "qwen2"}}, "llm_config"),
        ({"model_type": "qwen3_moe", "num_hidden_layers": 36, "hidden_size": 4096, "intermediate_size": 12288}, "expert"),
        ({"model_type": "zamba"}, "zamba"),
        ({"model_type": "prophetnet"}, "prophetnet"),
    ],
)
def test_refused_by_name_in_newer_types(config: dict[str, Any], named: str) -> None:
    with pytest.raises(GptcalcError) as caught:
        load_model(config)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
