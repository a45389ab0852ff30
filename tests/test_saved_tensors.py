"""The runtimes' `keeps` against every tensor that autograd saved on a real GPU: module by module, shape, type and count."""

import json
from collections import Counter
from pathlib import Path

import pytest
from measured import model_of

import gptcalc as gc
from gptcalc.footprint.saved import Setting, inventory
from gptcalc.spec.recipe import PRECISIONS, Recipe, tags_of
from gptcalc.spec.runtime import implementation_of, load_runtime
from gptcalc.spec.shape import shape_of
from gptcalc.table.code import code_of

ROWS = [json.loads(line) for line in (Path(__file__).parent / "data" / "saved_tensors.jsonl").read_text().splitlines()[1:]]
TYPES = {"fp32": "float32", "int64": "int64", "byte": "bool"}


def predicted(row):
    model = model_of(row)
    shape = shape_of(model)
    recipe = Recipe(runtime=row["runtime"], precision=row["precision"], attention_kernel="eager" if row["attn"] == "eager" else "flash")
    runtime = load_runtime(row["runtime"])
    implementation = implementation_of(runtime, model.family, model.switches, model.name)
    tags = tags_of(recipe, model.switches, grouped=shape.n_kv_head < shape.n_head, unaligned=False)
    setting = Setting(shape.letters | {"B": row["batch"], "T": row["seq"], "S": row["seq"]}, PRECISIONS[row["precision"]], tags)
    low = "bfloat16" if "bf16" in row["precision"] else "float32"
    counts, total = Counter(), 0
    for saved, every_layer in inventory(implementation, setting, recompute=row["recompute"] == "full"):
        times = shape.n_layer if every_layer else 1
        wide = TYPES.get(saved.type) or ("float32" if saved.element == 4 else low)
        counts[saved.module, saved.shape, f"torch.{wide}", saved.bytes // saved.count] += times * saved.count
        total += times * saved.bytes
    return counts, total


def measured(row):
    counts = Counter()
    for t in row["tensors"]:
        counts[t["module"], tuple(t["shape"]), t["dtype"], t["bytes"]] += t["count"]
    return counts


NAMED_BY = ("runtime", "model", "precision", "attn", "recompute")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(str(row[key]) for key in NAMED_BY))
def test_every_saved_tensor_is_predicted(row):
    counts, total = predicted(row)
    assert counts == measured(row)
    assert total == row["saved"]


def test_there_are_nineteen_inventories():
    assert len(ROWS) == 19


# Bytes for each token and layer, copies of weights apart, read off torch 2.13 and transformers 5.24 on tensors without data, with the
# kernels of CUDA: d width, F MLP width, H and K heads, Q head width, T tokens. The first 16 or 8 are norm statistics.
RECORDED = {
    ("gpt_neox", "bf16", "flash"): "16 + 20*d + 4*F + 4*H",
    ("gpt_neox", "amp-bf16", "flash"): "16 + 22*d + 4*F + 4*H",
    ("gpt_neox", "fp32", "flash"): "16 + 36*d + 8*F + 4*H",
    ("gpt_neox", "amp-bf16", "eager"): "16 + 16*d + 4*F + 6*T*H",
    ("phi3", "bf16", "flash"): "8 + 24*d + 8*F + 4*H + 6*K*Q",
    ("phi3", "amp-bf16", "flash"): "8 + 28*d + 8*F + 4*H + 6*K*Q",
    ("phi3", "fp32", "flash"): "8 + 40*d + 16*F + 4*T*H",
    ("phi3", "amp-bf16", "eager"): "8 + 28*d + 8*F + 6*T*H",
    ("starcoder2", "bf16", "flash"): "16 + 12*d + 4*F + 4*H + 4*K*Q",
    ("starcoder2", "amp-bf16", "flash"): "16 + 20*d + 4*F + 4*H + 4*K*Q",
    ("starcoder2", "fp32", "flash"): "16 + 32*d + 8*F + 4*T*H",
    ("starcoder2", "amp-bf16", "eager"): "16 + 24*d + 4*F + 6*T*H",
    ("llama", "amp-bf16", "flash"): "8 + 30*d + 8*F + 4*H + 4*K*Q",
    ("qwen2", "amp-bf16", "eager"): "8 + 34*d + 8*F + 6*T*H",
    ("opt", "amp-bf16", "flash"): "16 + 24*d + 2*F + 4*H",
}
WIDTHS = {"hidden_size": 96, "num_hidden_layers": 4, "num_attention_heads": 6, "intermediate_size": 160, "vocab_size": 304}


def config(model_type: str) -> dict:
    grouped = {} if model_type in ("gpt_neox", "opt") else {"num_key_value_heads": 2}
    own = {"ffn_dim": 160, "word_embed_proj_dim": 96} if model_type == "opt" else {}
    return {"model_type": model_type, "max_position_embeddings": 128, **WIDTHS, **grouped, **own}


@pytest.mark.parametrize("recorded", RECORDED, ids="-".join)
def test_bytes_of_a_layer_are_those_that_were_recorded(recorded) -> None:
    model_type, precision, kernel = recorded
    model = gc.model({key: value for key, value in config(model_type).items() if model_type != "opt" or key != "intermediate_size"})
    shape, batch, seq = shape_of(model), 3, 32
    tags = tags_of(
        Recipe(runtime="transformers", precision=precision, attention_kernel=kernel),
        model.switches,
        grouped=model_type in GROUPED,
        unaligned=False,
    )
    setting = Setting(shape.letters | {"B": batch, "T": seq, "S": seq}, PRECISIONS[precision], tags)
    found = inventory(code_of(load_runtime("transformers"), model), setting)
    kept = sum(saved.bytes for saved, every in found if every and not saved.tensor.copy_of_weight)
    state = sum(saved.bytes for saved, every in found if every and saved.type == "int64")
    sizes = {"d": 96, "F": 160, "H": 6, "K": shape.n_kv_head, "Q": 16, "T": seq}
    assert kept - state == batch * seq * eval(RECORDED[recorded], {}, sizes)


GROUPED = ("phi3", "starcoder2", "llama", "qwen2")


@pytest.mark.parametrize("name", ["falcon-40b", "falcon-180b", "starcoder"])
def test_code_of_another_class_is_not_taken_for_a_models_own(name) -> None:
    with pytest.raises(gc.GptcalcError, match=r"which keeps other tensors"):
        gc.memory(name, runtime="transformers")
