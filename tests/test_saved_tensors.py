"""The runtimes' `keeps` against every tensor that autograd saved on a real GPU: module by module, shape, type and count."""

import json
from collections import Counter
from pathlib import Path

import pytest
from measured import model_of

from gptcalc.formulas.memory.saved import Setting, inventory
from gptcalc.spec.recipe import PRECISIONS, Recipe, tags_of
from gptcalc.spec.runtime import implementation_of, load_runtime
from gptcalc.spec.shape import shape_of

ROWS = [json.loads(line) for line in (Path(__file__).parent / "data" / "saved_tensors.jsonl").read_text().splitlines()[1:]]
TYPES = {"fp32": "float32", "int64": "int64", "byte": "bool"}


def predicted(row):
    model = model_of(row)
    shape = shape_of(model)
    recipe = Recipe(row["runtime"], row["precision"], attention_kernel="eager" if row["attn"] == "eager" else "flash")
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
