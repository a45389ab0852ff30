"""Presets and imported configs against transformers itself: the same number of parameters, to the integer.

Every model is built on torch's meta device, where it has shapes and no storage.
"""

import json
from typing import Any

import pytest
from configs import CONFIGS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gptcalc.errors import GptcalcError
from gptcalc.spec import catalogue
from gptcalc.spec.files import load_model
from gptcalc.spec.huggingface.families.mamba import UNLIMITED
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.shape import LETTERS, shape_of
from gptcalc.table.params import params

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

# --- Presets ----------------------------------------------------------------------------------------------------------------


def published(name: str) -> Any:
    """The config of transformers for a preset: as published, or from its fields."""
    spec = catalogue.find(name)
    if name not in CONFIGS:
        return REAL[spec.family](spec)
    given = {key: value for key, value in CONFIGS[name].items() if key not in ("model_type", "architectures", "quantization_config")}
    return transformers.CONFIG_MAPPING[CONFIGS[name]["model_type"]](**given)


def count(config: Any) -> int:
    towered = hasattr(config, "vision_config")
    auto = transformers.AutoModelForImageTextToText if towered else transformers.AutoModelForCausalLM
    with torch.device("meta"):
        model = auto.from_config(config)
    return sum(p.numel() for p in model.parameters())


def gpt2(m: ModelSpec) -> Any:
    act = {"gelu_tanh": "gelu_new", "gelu": "gelu"}[m.activation]
    return transformers.GPT2Config(
        vocab_size=m.vocab_size, n_positions=m.n_ctx, n_embd=m.d_model, n_layer=m.n_layer, n_head=m.n_head, activation_function=act
    )


def gpt1(m: ModelSpec) -> Any:
    return transformers.OpenAIGPTConfig(vocab_size=m.vocab_size, n_positions=m.n_ctx, n_embd=m.d_model, n_layer=m.n_layer, n_head=m.n_head)


def sizes(m: ModelSpec) -> dict[str, Any]:
    """By the names that most classes give them."""
    return {
        "vocab_size": m.vocab_size,
        "hidden_size": m.d_model,
        "num_hidden_layers": m.n_layer,
        "num_attention_heads": m.n_head,
        "max_position_embeddings": m.n_ctx,
    }


def llama(m: ModelSpec) -> Any:
    scaling = m.rope_scaling or {"rope_type": "default"}
    return transformers.LlamaConfig(
        **sizes(m),
        intermediate_size=m.d_ff,
        num_key_value_heads=m.n_kv_head or m.n_head,
        rms_norm_eps=m.norm_epsilon,
        rope_parameters={"rope_theta": m.rope_theta, **scaling},
        tie_word_embeddings=m.tied,
    )


def mistral(m: ModelSpec) -> Any:
    return transformers.MistralConfig(
        **sizes(m),
        intermediate_size=m.d_ff,
        num_key_value_heads=m.n_kv_head,
        sliding_window=m.sliding_window,
        rms_norm_eps=m.norm_epsilon,
        rope_parameters={"rope_theta": m.rope_theta, "rope_type": "default"},
    )


def opt(m: ModelSpec) -> Any:
    return transformers.OPTConfig(
        **sizes(m),
        ffn_dim=4 * m.d_model,
        do_layer_norm_before=m.norm_placement == "pre",
        word_embed_proj_dim=m.d_embedding or m.d_model,
    )


def neox(m: ModelSpec) -> Any:
    return transformers.GPTNeoXConfig(
        **sizes(m),
        intermediate_size=4 * m.d_model,
        rotary_pct=0.25,
        hidden_act={"gelu": "gelu", "gelu_tanh": "gelu_fast"}[m.activation],
    )


def gptj(m: ModelSpec) -> Any:
    return transformers.GPTJConfig(
        vocab_size=m.vocab_size, n_positions=m.n_ctx, n_embd=m.d_model, n_layer=m.n_layer, n_head=m.n_head, rotary_dim=m.d_rotary
    )


def recurrent_gemma(m: ModelSpec) -> Any:
    return transformers.RecurrentGemmaConfig(
        vocab_size=m.vocab_size,
        hidden_size=m.d_model,
        num_hidden_layers=m.n_layer,
        num_attention_heads=m.n_head,
        num_key_value_heads=m.n_kv_head,
        intermediate_size=2 * (m.d_ff or 0),
        lru_width=m.d_model,
    )


def kimi_linear(m: ModelSpec) -> Any:
    """Its class's defaults, with full attention where the model has it."""
    kinds = ["full_attention" if kind == "full" else "linear_attention" for kind in m.layers]
    return transformers.CONFIG_MAPPING["kimi_linear"](layer_types=kinds)


REAL = {
    "Gemma": recurrent_gemma,
    "Kimi": kimi_linear,
    "GPT": gpt1,
    "GPT-2": gpt2,
    "GPT-3": gpt2,
    "Cerebras-GPT": gpt2,
    "LLaMA": llama,
    "Llama 2": llama,
    "Llama 3": llama,
    "TinyLlama": llama,
    "Mistral": mistral,
    "OPT": opt,
    "Pythia": neox,
    "GPT-NeoX": neox,
    "GPT-J": gptj,
}


# The encoder-decoder is held against torch's own, in test_transformer.py; of the first DeepSeek MoE transformers has no class.
DECODERS = [name for name in catalogue.names() if not name.startswith("transformer-") and name != "deepseek-moe-16b"]


@pytest.mark.parametrize("name", DECODERS)
def test_preset_has_the_parameters_of_the_real_model(name: str) -> None:
    spec = catalogue.find(name)
    assert params(spec).value == count(published(name))


@pytest.mark.parametrize("name", DECODERS)
def test_importing_the_real_config_gives_the_preset(name: str) -> None:
    """Not only the count: every field that says what the model computes."""
    spec = catalogue.find(name)
    file = CONFIGS.get(name, {})
    beside = {key: file[key] for key in ("auto_map", "architectures") if "auto_map" in file}  # what the class does not keep of a file
    imported = load_model(json.loads(json.dumps(published(name).to_dict())) | beside)
    told = {"name", "family", "source", "notes", "published", "training_tokens", "training_seq", "unread"}
    told |= {"quantization"}  # the config was built without
    told |= {"n_ctx"} if imported.n_ctx == UNLIMITED else set()  # the length that it was trained on
    if name in CONFIGS:
        assert (spec.blocks, spec.layout) == (imported.blocks, imported.layout)
    told |= {"blocks", "layout"}  # of a config made of the preset's fields, kinds may be called otherwise; each layer is compared
    assert len(spec.layers) == len(imported.layers)
    for own, other in zip(each_layer(spec), each_layer(imported), strict=True):
        differ = {
            field: (getattr(own, field), getattr(other, field))
            for field in ModelSpec.model_fields
            if field not in told and resolved(own, field) != resolved(other, field)
        }
        assert not differ


def each_layer(spec: ModelSpec) -> list[ModelSpec]:
    """What each layer is; where all are alike the model itself."""
    return [spec.kinds[kind] for kind in spec.layers] or [spec]


def resolved(spec: ModelSpec, field: str) -> object:
    """What follows from other fields may be written or left out."""
    return getattr(shape_of(spec), field) if field in LETTERS else getattr(spec, field)


# --- Configs that nobody has written yet -------------------------------------------------------------------------------------

heads = st.sampled_from([1, 2, 3, 4, 6, 8])
small = st.integers(1, 5)
vocabulary = st.integers(60_000, 60_100)  # above every token id that the classes fill in
positions = st.integers(2, 40)
flags = st.booleans()


@st.composite
def gpt_configs(draw: st.DrawFn, model_type: str) -> dict[str, object]:
    n_head = draw(heads)
    d_head = draw(st.sampled_from([4, 8, 10]))
    config: dict[str, object] = {
        "model_type": model_type,
        "n_head": n_head,
        "n_embd": n_head * d_head + draw(st.sampled_from([0, 0, 0, 1])),
        "n_layer": draw(small),
        "n_positions": draw(positions),
        "vocab_size": draw(vocabulary),
    }
    if draw(flags):
        config["tie_word_embeddings"] = draw(flags)
    if model_type != "openai-gpt" and draw(flags):
        config["n_inner"] = draw(st.one_of(st.none(), st.integers(1, 50)))
    if model_type == "gptj":
        config["rotary_dim"] = draw(st.sampled_from([2, 4]))
    return config


@st.composite
def llama_configs(draw: st.DrawFn, model_type: str) -> dict[str, object]:
    n_head = draw(heads)
    config: dict[str, object] = {
        "model_type": model_type,
        "num_attention_heads": n_head,
        "hidden_size": n_head * draw(st.sampled_from([2, 4, 8])) + draw(st.sampled_from([0, 0, 0, 1])),
        "intermediate_size": draw(st.integers(1, 60)),
        "num_hidden_layers": draw(small),
        "vocab_size": draw(vocabulary),
        "num_key_value_heads": draw(st.sampled_from([1, n_head, max(1, n_head // 2), 5])),
    }
    if model_type == "llama" and draw(flags):
        config["num_key_value_heads"] = None
    if draw(flags):
        config["head_dim"] = draw(st.sampled_from([2, 6, 16, None]))
    if draw(flags):
        config["tie_word_embeddings"] = draw(flags)
    if model_type == "llama":
        config["attention_bias"], config["mlp_bias"] = draw(flags), draw(flags)
    elif draw(flags):
        config["sliding_window"] = draw(st.one_of(st.none(), positions))
    if draw(flags):
        config["rope_scaling"] = {"type": draw(st.sampled_from(["linear", "dynamic", "yarn"])), "factor": 2.0}
    return config


@st.composite
def opt_configs(draw: st.DrawFn) -> dict[str, object]:
    n_head = draw(heads)
    width = n_head * draw(st.integers(1, 8))
    return {
        "model_type": "opt",
        "num_attention_heads": n_head,
        "hidden_size": width,
        "ffn_dim": draw(st.integers(1, 60)),
        "num_hidden_layers": draw(small),
        "vocab_size": draw(vocabulary),
        "max_position_embeddings": draw(positions),
        "word_embed_proj_dim": draw(st.sampled_from([None, width, 5])),
        "do_layer_norm_before": draw(flags),
        "_remove_final_layer_norm": draw(flags),
        "enable_bias": draw(flags),
        "layer_norm_elementwise_affine": draw(flags),
        "tie_word_embeddings": draw(flags),
    }


@st.composite
def neox_configs(draw: st.DrawFn) -> dict[str, object]:
    n_head = draw(heads)
    config: dict[str, object] = {
        "model_type": "gpt_neox",
        "num_attention_heads": n_head,
        "hidden_size": n_head * draw(st.sampled_from([4, 8, 16])) + draw(st.sampled_from([0, 0, 0, 1])),
        "intermediate_size": draw(st.integers(1, 60)),
        "num_hidden_layers": draw(small),
        "vocab_size": draw(vocabulary),
        "use_parallel_residual": draw(flags),
        "attention_bias": draw(flags),
        "tie_word_embeddings": draw(flags),
    }
    if draw(flags):
        config["rotary_pct"] = draw(st.sampled_from([0.25, 0.5, 1.0]))
    return config


any_config = st.one_of(
    gpt_configs("gpt2"),
    gpt_configs("openai-gpt"),
    gpt_configs("gptj"),
    llama_configs("llama"),
    llama_configs("mistral"),
    opt_configs(),
    neox_configs(),
)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(any_config, flags)
def test_imported_config_has_the_parameters_of_the_real_class(config: dict[str, object], written_in_full: bool) -> None:
    try:
        real = transformers.AutoConfig.for_model(**config)
        expected = count(real)
    except Exception:  # whatever transformers raises: a model that cannot be built must be refused
        with pytest.raises(GptcalcError):
            load_model(config)
        return
    given_config = real.to_dict() if written_in_full else config
    try:
        spec = load_model(given_config)
    except GptcalcError as error:
        if refused_for_a_reason(str(error)):
            return
        raise
    assert params(spec).value == expected


def refused_for_a_reason(message: str) -> bool:
    """transformers builds some models that fail in their forward pass: heads that share unevenly, and channels that cannot pair."""
    return "is not a multiple of" in message or "must be even" in message or "to rotate" in message


@pytest.mark.parametrize("model_type", ["gpt2", "openai-gpt", "gptj", "llama", "mistral", "opt", "gpt_neox"])
def test_defaults_are_the_classes_own(model_type: str) -> None:
    real = transformers.AutoConfig.for_model(model_type)
    minimal, full = load_model({"model_type": model_type}), load_model(real.to_dict())
    assert minimal == full
    assert params(minimal).value == count(real)


@pytest.mark.parametrize("model_type", ["gpt2", "openai-gpt", "gptj", "llama", "mistral", "opt", "gpt_neox"])
def test_every_key_of_the_class_is_accounted_for(model_type: str) -> None:
    """In use_diff=False form, which has every key that the class knows."""
    import json

    load_model(json.loads(transformers.AutoConfig.for_model(model_type).to_json_string(use_diff=False)))
