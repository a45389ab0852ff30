"""Model types whose code has a rule of its own: what they count, and what weights the forward pass refuses to run."""

from typing import Any

import numpy as np
import pytest

from gptcalc.errors import GptcalcError
from gptcalc.reference import forward, load_state_dict, random_weights
from gptcalc.spec.files import load_model
from gptcalc.table.flops import flops
from gptcalc.table.params import params

SMALL = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 96}
EXPERTS = {"moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2}


EXAONE_4 = {"hidden_size": 5120, "intermediate_size": 27392, "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128}
EXAONE_4 |= {"num_hidden_layers": 64, "sliding_window_pattern": "LLLG", "layer_types": [*["sliding_attention"] * 3, "full_attention"] * 16}
HUNYUAN_A13B = {"hidden_size": 4096, "intermediate_size": 3072, "num_hidden_layers": 32, "num_attention_heads": 32, "head_dim": 128}
HUNYUAN_A13B |= {"num_key_value_heads": 8, "num_experts": 64, "moe_topk": [8] * 32, "num_shared_expert": [1] * 32, "vocab_size": 128167}
HUNYUAN_A13B |= {"moe_intermediate_size": [3072] * 32, "tie_word_embeddings": True}
STRETCHED = {"type": "dynamic", "factor": 1.0, "alpha": 1000.0}
MIMO_V2 = {"num_hidden_layers": 48, "sliding_window": 128, "sliding_window_size": 128, "attention_chunk_size": 128}
MIMO_V2 |= {"routed_scaling_factor": None, "n_shared_experts": None, "max_position_embeddings": 262144}


# What transformers 5.24 holds of each, on the meta device.
@pytest.mark.parametrize(
    ("config", "total"),
    [
        ({"model_type": "hy_v3", **SMALL, **EXPERTS, "head_dim": 16, "vocab_size": 300000, "num_shared_experts": 0}, 38_486_656),
        ({"model_type": "deepseek_v2", "num_experts_per_tok": 6}, 38_612_307_968),
        ({"model_type": "qwen2_vl_text"}, 72_706_203_648),
        ({"model_type": "qwen2_5_omni_text"}, 7_070_619_136),
        ({"model_type": "qwen3_vl_text"}, 12_049_461_248),
        ({"model_type": "qwen3_vl_moe_text"}, 13_173_956_608),
        ({"model_type": "glm4v_text"}, 9_400_279_040),
        ({"model_type": "mistral4"}, 118_972_826_624),
        ({"model_type": "sarvam_mla"}, 106_031_763_456),
        ({"model_type": "axk1"}, 518_983_052_288),
        ({"model_type": "exaone"}, 7_818_448_896),
        ({"model_type": "exaone4", **EXAONE_4}, 32_003_216_384),
        ({"model_type": "hunyuan_v1_moe", **HUNYUAN_A13B, "rope_scaling": STRETCHED}, 80_393_183_232),
        ({"model_type": "mimo_v2_flash", **MIMO_V2}, 308_778_768_832),
        # As published: BLOOM's and the first Falcon's own names of the width.
        ({"model_type": "bloom", "n_embed": 14336, "n_layer": 70, "num_attention_heads": 112}, 176_247_271_424),
        ({"model_type": "falcon", "n_embed": 4544}, 6_921_720_704),
    ],
    ids=lambda value: value["model_type"] if isinstance(value, dict) else "",
)
def test_parameters_are_those_of_the_class(config: dict[str, Any], total: int) -> None:
    assert params(load_model(config)).value == total


@pytest.mark.parametrize(
    ("config", "step"),
    [
        ({"model_type": "phimoe"}, "SparseMixer"),
        ({"model_type": "xglm"}, "begin at 2"),
        ({"model_type": "falcon", "alibi": True}, "bf16"),
        ({"model_type": "glm4", "head_dim": 18}, "the angles of 9 channels turn 10"),
        ({"model_type": "mistral4", "n_group": 2}, "groups"),
        ({"model_type": "cohere2_moe", "num_shared_experts": 1}, "halved"),
    ],
    ids=lambda value: value["model_type"] if isinstance(value, dict) else "",
)
def test_weights_whose_steps_are_not_here_are_refused_by_the_step(config: dict[str, Any], step: str) -> None:
    spec = load_model(config)
    with pytest.raises(GptcalcError, match=step) as caught:
        load_state_dict(spec, {})
    assert spec.name in str(caught.value)
    assert params(spec).value > 0
    assert flops(spec, batch=1, seq=8).value > 0


def test_a_router_that_always_chooses_two_refuses_another_number() -> None:
    with pytest.raises(GptcalcError, match="num_experts_per_tok 4 is not understood"):
        load_model({"model_type": "phimoe", "num_experts_per_tok": 4})


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        ({"model_type": "hyperclovax", "logits_scaling": 0.125}, "logit_scale", 0.125),
        ({"model_type": "granite", "logits_scaling": 8.0}, "logit_scale", 0.125),
        ({"model_type": "mimo_v2_flash"}, "value_scale", 0.707),
        ({"model_type": "mimo_v2_flash", "attention_value_scale": None}, "value_scale", 1.0),
        ({"model_type": "nanochat"}, "rotary_pairs", "halves_back"),
        ({"model_type": "kolibri1"}, "router_correction", "logit"),
        ({"model_type": "deepseek_v3", "rms_norm_eps": 1e-5}, "latent_norm_epsilon", 1e-6),
        ({"model_type": "deepseek_v3"}, "latent_norm_epsilon", None),
        ({"model_type": "llama4_text"}, "query_scale_from", 8191),
        ({"model_type": "llama4_text", "attn_temperature_tuning": False}, "query_scale_from", None),
        ({"model_type": "ministral3"}, "query_scale_from", 16384),
        ({"model_type": "mistral4"}, "query_scale_from", 8192),
        ({"model_type": "hunyuan_v1_dense", "head_dim": 128, "rope_scaling": STRETCHED}, "rope_theta", 10000.0 * 1000.0 ** (128 / 126)),
        ({"model_type": "hunyuan_v1_dense", "head_dim": 128, "rope_scaling": STRETCHED}, "rope_scaling", None),
    ],
)
def test_a_key_that_changes_logits_is_read(config: dict[str, Any], field: str, value: object) -> None:
    assert getattr(load_model(config), field) == value


def test_a_sequence_beyond_which_queries_are_scaled_is_not_run() -> None:
    tiny = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8}
    scaling = {"rope_type": "yarn", "rope_theta": 100.0, "factor": 2.0, "original_max_position_embeddings": 4, "llama_4_scaling_beta": 0.1}
    spec = load_model({"model_type": "ministral3", **tiny, "intermediate_size": 8, "vocab_size": 11, "rope_parameters": scaling})
    weights = random_weights(spec)
    assert forward(spec, weights, np.zeros((1, 4), dtype=int)).shape == (1, 4, 11)
    with pytest.raises(GptcalcError, match="from position 4 on"):
        forward(spec, weights, np.zeros((1, 5), dtype=int))


@pytest.mark.parametrize(
    "angles",
    [
        {"type": "mrope", "mrope_section": [16, 24, 24]},
        {"rope_type": "default", "mrope_section": [24, 20, 20], "mrope_interleaved": True},
    ],
)
def test_angles_by_the_place_in_an_image_are_those_of_text(angles: dict[str, Any]) -> None:
    assert load_model({"model_type": "qwen3_vl_text", "rope_scaling": angles}) == load_model({"model_type": "qwen3_vl_text"})


def test_sections_are_whole_numbers() -> None:
    with pytest.raises(GptcalcError, match="mrope_section"):
        load_model({"model_type": "qwen2_vl_text", "rope_scaling": {"type": "mrope", "mrope_section": "16"}})


def test_a_window_is_of_the_tokens_before_and_the_query_itself() -> None:
    windows = {block.get("sliding_window") for block in load_model({"model_type": "mimo_v2_flash", **MIMO_V2}).blocks.values()}
    assert windows == {None, 129}


def test_the_newer_name_of_a_kind_of_angles_is_the_one_that_is_read() -> None:
    angles = {"rope_type": "yarn", "type": "linear", "factor": 4.0, "original_max_position_embeddings": 2048}
    spec = load_model({"model_type": "llama", "rope_scaling": angles})
    assert spec.rope_scaling is not None
    assert spec.rope_scaling["rope_type"] == "yarn"
    assert spec.unread == ("rope_parameters.type",)


@pytest.mark.parametrize(
    ("model_type", "said"),
    [
        ("internlm2", "such as"),  # not internlm3: another number is another model
        ("minimax_m3", "such as"),
        ("jais", "such as"),
        ("deepseek_vl_v3", "such as"),
        ("qwen3_mo", "'qwen3_moe'"),
    ],
)
def test_a_hint_names_a_misspelling_and_no_other_model(model_type: str, said: str) -> None:
    with pytest.raises(GptcalcError) as caught:
        load_model({"model_type": model_type})
    assert said in str(caught.value.hint)


def test_a_key_inside_that_the_code_does_not_read_is_listed() -> None:
    spec = load_model({"model_type": "mpt", "attn_config": {"alibi": True, "verbose": 0, "torch_dtype": "bfloat16"}})
    assert spec.unread == ("attn_config.verbose",)
