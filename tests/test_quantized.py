"""Bytes of weights as quantized files store them: by hand for a tiny model, and against the sizes of published files."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import gptcalc as gc
from gptcalc.footprint.quantized import as_stored, stored_bytes
from gptcalc.serve.answer import Inference
from gptcalc.spec.files import load_model
from gptcalc.spec.model import ModelSpec, Quantization
from gptcalc.spec.shape import shape_of
from gptcalc.spec.unquantized import kept_part
from gptcalc.table.operations import operations
from gptcalc.table.params import multi_token_prediction

# Two layers: queries and outputs 256 x 256, keys and values 256 x 128, three matrices of 256 x 512; embedding and head 1000 x 256.
TINY: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "tie_word_embeddings": False,
}
ATTENTION, MLP = 2 * 256 * 256 + 2 * 256 * 128, 3 * 256 * 512  # of a layer
MATRICES = 2 * (ATTENTION + MLP)
REST = 2 * (2 * 1000 * 256 + 5 * 256)  # 16 bits: embedding, head, norms
INPUTS = 2 * (6 * 256 + 512)
OUTPUTS = 2 * (256 + 128 + 128 + 256 + 512 + 512 + 256)


def quantized(**config: Any) -> ModelSpec:
    return load_model(TINY | {"quantization_config": config})


def size(**config: Any) -> int:
    return int(stored_bytes(quantized(**config)).value)


BY_HAND = {
    "gptq": ({"quant_method": "gptq", "bits": 4, "group_size": 128}, MATRICES // 2 + MATRICES // 128 * 20 // 8 + 4 * INPUTS),
    "gptq, whole columns": ({"quant_method": "gptq", "bits": 8, "group_size": -1}, MATRICES + 3 * OUTPUTS + 4 * INPUTS),
    "awq": ({"quant_method": "awq", "bits": 4, "group_size": 64}, MATRICES // 2 + MATRICES // 64 * 20 // 8),
    "fp8, blocks": ({"quant_method": "fp8", "weight_block_size": [128, 128]}, MATRICES + MATRICES // 128**2 * 4),
    "fp8, one scale": ({"quant_method": "fp8"}, MATRICES + 2 * 7 * 4),
    "fbgemm": ({"quant_method": "fbgemm_fp8"}, MATRICES + OUTPUTS * 4),
    "int8": ({"quant_method": "bitsandbytes", "load_in_8bit": True}, MATRICES + OUTPUTS * 4),
    "nf4": ({"load_in_4bit": True}, MATRICES // 2 + MATRICES // 64 * 4),
    "nf4 twice": ({"load_in_4bit": True, "bnb_4bit_use_double_quant": True}, MATRICES // 2 + MATRICES // 64 + MATRICES // 64 // 256 * 4),
    "mxfp4 without experts": ({"quant_method": "mxfp4"}, 2 * MATRICES),
}


@pytest.mark.parametrize(("config", "by_hand"), BY_HAND.values(), ids=BY_HAND)
def test_by_hand(config: dict[str, Any], by_hand: int) -> None:
    assert size(**config) == by_hand + REST


FP8: dict[str, Any] = {"quant_method": "fp8", "weight_block_size": [128, 128]}


@pytest.mark.parametrize(
    ("kept", "elements"),
    [
        ([], 0),
        (["lm_head", "model.embed_tokens", "model.norm", "model.layers.1.input_layernorm"], 0),
        (["model.layers.*.self_attn"], 2 * ATTENTION),
        (["model.layers.0.self_attn", "model.layers.1.mlp"], ATTENTION + MLP),
        (["model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn"], ATTENTION),
        (["o_proj"], 2 * 256 * 256),
        (["model.layers.1"], ATTENTION + MLP),
        (["model.layers.0.mlp.gate_proj", "model.layers.0.mlp.up_proj", "down_proj"], 2 * 256 * 512 + 2 * 256 * 512),
        (["mlp.gate"], 0),  # a router, which this model has not
        (["model.layers.2.mlp"], 0),  # beyond the last: of multi-token prediction
    ],
)
def test_kept_modules_stay_in_16_bits(kept: list[str], elements: int) -> None:
    fewer = MATRICES - elements
    assert size(**FP8, modules_to_not_convert=kept) == fewer + fewer // 128**2 * 4 + 2 * elements + REST


def test_kinds_of_block_have_their_own_layers() -> None:
    blocks: dict[str, dict[str, Any]] = {"local": {"sliding_window": 16}, "global": {}}
    fields = {
        **gc.model("llama2-7b").model_dump(exclude_unset=True),
        "blocks": blocks,
        "layout": ["local*3", "global", "..."],
        "n_layer": 8,
    }
    kept = ["model.layers.0.mlp", "model.layers.3.mlp", "model.layers.4.mlp", "model.layers.7.mlp"]
    model = load_model(fields | {"published": (), "quantization": {"method": "fp8", "bits": 8.0, "kept": kept}})
    found = as_stored(model).forms
    assert [number for _, number in found["block local/mlp/up"]] == [4, 2]
    assert "block global/mlp/up" not in found
    assert [number for _, number in found["block local/attention/query"]] == [6]


UNKNOWN = [
    "tower",
    "model.layers.0.mixer",
    "self_attn.up_proj",
    "re:.*mixer",
    "*mixer*",
    "model.layers.0.mixer*",
    "re:(",
    "",
    "model",
    "layers",
]


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_kept_module_is_refused_by_name(name: str) -> None:
    with pytest.raises(gc.GptcalcError, match=r"quantization_config: .*(no part|no regular)") as refused:
        quantized(**FP8, modules_to_not_convert=["lm_head", name])
    assert name in str(refused.value)
    assert "quantization_config" in str(refused.value)


def test_a_near_name_is_offered() -> None:
    with pytest.raises(gc.GptcalcError) as refused:
        kept_part("model.layers.0.self_atn")
    assert "self_attn" in str(refused.value.hint)


@pytest.mark.parametrize(
    "more",
    [
        {"dynamic": {"-:.*down.*": {}}, "modules_in_block_to_quantize": [["self_attn.k_proj"]]},
        {"modules_in_block_to_quantize": {"self_attn.k_proj": 4}},
        {"is_marlin_format": True},
        {"checkpoint_format": "marlin"},
        {"bogus": 1},
        {"lm_head": "yes"},
    ],
)
def test_other_choices_of_modules_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(gc.GptcalcError, match=next(iter(more))):
        quantized(quant_method="gptq", bits=4, group_size=128, **more)


def test_as_many_layers_as_nothing_could_look_at_are_refused() -> None:
    with pytest.raises(gc.GptcalcError, match="layers"):
        stored_bytes(load_model(TINY | {"num_hidden_layers": 10**12, "quantization_config": FP8}))


def test_an_unknown_method_and_none_are_refused() -> None:
    fields = load_model(TINY).model_dump(exclude_unset=True)
    with pytest.raises(gc.GptcalcError, match="no quantization method 'foo'"):
        stored_bytes(load_model(fields | {"quantization": {"method": "foo", "bits": 4.0}}))
    with pytest.raises(gc.GptcalcError, match="says nothing of how its weights are stored"):
        gc.memory(load_model(TINY), mode="inference", precision="stored")


@pytest.mark.parametrize(("name", "size"), [("gpt-oss-20b", 13_761_264_768), ("gpt-oss-120b", 65_248_815_744)])
def test_gpt_oss_is_as_large_as_its_file(name: str, size: int) -> None:
    """Hugging Face openai/gpt-oss-*: total_size of model.safetensors.index.json; the model card, table 1: 12.8 GiB and 60.8 GiB."""
    assert stored_bytes(name).value == size


def test_deepseek_v3_is_as_large_as_its_file() -> None:
    """671 GB and scales. Its file, of 688.6 GB, also has the module that predicts a second token, with copies of embedding and head."""
    model = gc.model("deepseek-v3")
    stored = stored_bytes(model).value
    assert 671e9 < stored < 1.004 * 671.03e9
    further = multi_token_prediction(model)
    copies = 2 * 2 * model.vocab_size * model.d_model
    assert stored + further.value + further["project"].value + copies == pytest.approx(688.6e9, rel=1e-3)


def test_presets_that_are_published_quantized_can_be_counted() -> None:
    for name in ("kimi-k2", "minimax-m2"):
        node = stored_bytes(name)
        assert 1 < node.value / gc.params(name).value < 1.01


def test_params_says_what_the_file_takes(run, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(TINY | {"quantization_config": FP8}), "utf-8")
    result = json.loads(run("params", path, "-f", "json").out)["result"]
    assert result["stored_bytes"] == size(**FP8)
    assert result["quantization"] == {"method": "fp8", "bits": 8 + 32 / 128**2}
    assert f"as stored: {size(**FP8):,} bytes" in run("params", path).out
    assert "fp8: 8.00195 bits" in run("params", path).out
    assert "stored_bytes" not in json.loads(run("params", "gpt2", "-f", "json").out)["result"]


def test_serving_takes_the_stored_form_unless_told_otherwise(run, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(TINY | {"quantization_config": FP8}), "utf-8")
    serve = ("memory", path, "--mode", "inference", "-f", "json")
    document = json.loads(run(*serve).out)
    assert document["result"]["weights"] == size(**FP8)
    assert document["inputs"]["precision"] == "stored"
    assert document["inputs"]["kv_precision"] == "bf16"
    assert document["inputs"]["quantization"]["method"] == "fp8"
    document = json.loads(run(*serve, "--precision", "bf16").out)
    assert document["result"]["weights"] == 2 * MATRICES + REST
    assert "quantization" not in document["inputs"]
    assert json.loads(run("memory", "gpt2", "--mode", "inference", "-f", "json").out)["inputs"]["precision"] == "bf16"
    assert "in fp8, as stored: 8.00195 bits a weight" in run("memory", path, "--mode", "inference").out


def test_formulas_of_stored_weights_give_their_values() -> None:
    for model in (quantized(**FP8, modules_to_not_convert=["model.layers.0.mlp"]), quantized(quant_method="gptq", bits=4)):
        answer = gc.memory(model, mode="inference")
        letters = {name: value for name, value in answer.serving.letters.items() if name.isidentifier()}
        for _, leaf in answer.peak["weights"].leaves():
            assert eval(leaf.formula, {}, letters) == leaf.value


def test_what_is_stored_has_its_own_groups() -> None:
    for calculate in (lambda **options: gc.memory(quantized(**FP8), mode="inference", **options), partial(gc.infer, quantized(**FP8))):
        with pytest.raises(gc.GptcalcError, match="group size of 64 means nothing for weights as they are stored"):
            calculate(group_size=64)


STORED: dict[str, ModelSpec] = {
    **{name: quantized(**config) for name, (config, _) in BY_HAND.items()},
    "a kept layer": quantized(**FP8, modules_to_not_convert=["model.layers.0.mlp"]),
    "kept keys": quantized(**FP8, modules_to_not_convert=["k_proj"]),
    "kept attention": quantized(**FP8, modules_to_not_convert=["self_attn"]),
    "experts": load_model("gpt-oss-20b", {"n_expert_per_token": 32}),  # each token goes to all of them
    "latents": load_model("deepseek-v3", {"blocks": {"dense": {}, "moe": {"n_expert": 8, "n_expert_per_token": 8, "d_expert": 2048}}}),
}


@pytest.mark.parametrize("name", STORED)
def test_memory_and_time_agree_on_stored_bytes(name: str) -> None:
    model = STORED[name]
    one, two = (gc.infer(model, batch=batch, prompt=16, output=1) for batch in (1, 2))
    held = gc.memory(model, mode="inference", batch=1, seq=17)
    assert one.request.precision == "stored"
    assert one.room.to_dict()["weights"] == held.to_dict()["weights"] == stored_bytes(model).value
    matrices = [path for path, row in rows_of(model).items() if row.kind == "matmul"]
    read = 2 * matmul_bytes(one) - matmul_bytes(two)  # activations grow with the batch, weights do not
    assert read == pytest.approx(sum(stored_bytes(model)[path]["weight"].value for path in matrices), rel=1e-14)


def rows_of(model: ModelSpec) -> dict[str, Any]:
    return {row.path: row for row in operations(shape_of(model), 1, 1, 1)}


def matmul_bytes(answer: Inference) -> float:
    return float(sum(one["bytes"] for one in answer.point.decode.to_list() if one["kind"].endswith("matmul")))


@pytest.mark.parametrize("tp", [1, 2, 8])
@pytest.mark.parametrize("name", ["gpt-oss-120b", "deepseek-v3", "kimi-k2", "minimax-m2"])
def test_ranks_of_a_server_hold_what_memory_says(name: str, tp: int) -> None:
    answer = gc.infer(name, device="h200", count=tp, prompt=64, output=8)
    assert answer.room.to_dict()["weights"] == gc.memory(name, mode="inference", seq=72, tp=tp).to_dict()["weights"]
    assert answer.request.inputs["quantization"]["method"] == gc.model(name).quantization.method


def test_what_is_computed_in_is_said() -> None:
    said = {
        ("fp8, blocks", "h100"): ("fp8", "casting these is not counted"),
        ("fp8, blocks", "a100"): ("bf16", "a100-80gb has no fp8 arithmetic"),
        ("fbgemm", "h100"): ("fp8", "casting these is not counted"),
        ("gptq", "h100"): ("bf16", "at the rate of gpt-fast's int8 and int4 kernels: its activations stay in 16 bits"),
        ("int8", "v100-32gb"): ("fp16", "dequantised to fp16"),
        ("experts", "b200"): ("bf16", "mxfp4 weights are dequantised"),
    }
    for (name, device), (arithmetic, words) in said.items():
        answer = gc.infer(STORED[name], device=device, prompt=16, output=1)
        assert answer.work.arithmetic == arithmetic
        assert words in answer.notes[0]
        assert answer.spread == 0.25  # expected, not measured


def test_stored_weights_are_read_as_fast_as_the_same_bits_asked_for() -> None:
    model = gc.model("llama3.1-8b")
    for method, bits, precision in (("awq", 4.15625, "int4"), ("fp8", 8 + 32 / 128**2, "fp8")):
        stored = model.model_copy(update={"quantization": Quantization(method=method, bits=bits)})
        for batch in (1, 64):
            times = [gc.infer(stored, batch=batch, precision=kind).point for kind in (None, precision)]
            assert times[0].per_token == pytest.approx(times[1].per_token, rel=1e-9)
            assert times[0].prefill_time == pytest.approx(times[1].prefill_time, rel=1e-9)
    assert gc.infer(stored, precision="bf16").point.per_token == gc.infer(model).point.per_token


def test_the_command_says_how_weights_are_stored(run, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(TINY | {"quantization_config": FP8}), "utf-8")
    document = json.loads(run("infer", path, "-f", "json").out)
    assert document["inputs"]["precision"] == "stored"
    assert document["inputs"]["quantization"] == {"method": "fp8", "bits": 8 + 32 / 128**2}
    assert document["result"]["memory"]["weights"] == size(**FP8)
    assert "weights in fp8, as stored: 8.00195 bits a weight" in run("infer", path).out
    assert json.loads(run("infer", path, "--precision", "bf16", "-f", "json").out)["inputs"].keys().isdisjoint({"quantization"})


def test_ranks_divide_the_stored_matrices() -> None:
    whole, half = (gc.memory(quantized(**FP8), mode="inference", tp=tp).peak["weights"]["block"]["mlp"] for tp in (1, 2))
    assert 2 * half["up"].value == whole["up"].value


def test_stages_of_layers_that_are_stored_unlike_are_refused() -> None:
    unlike = quantized(**FP8, modules_to_not_convert=["model.layers.0.mlp"])
    with pytest.raises(gc.GptcalcError, match="not quantized alike"):
        gc.memory(unlike, mode="inference", pp=2)
    with pytest.raises(gc.GptcalcError, match="not quantized alike"):
        gc.infer(unlike, count=2, pp=2, prompt=16)
    alike = quantized(**FP8, modules_to_not_convert=["self_attn"])
    assert gc.memory(alike, mode="inference", pp=2).value > 0
