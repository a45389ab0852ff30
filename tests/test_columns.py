"""Many plans at once are the plans one at a time: seconds, peak and legality of rows of layouts against `train`."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gptcalc as gc
from gptcalc.search.columns import Columns, Task, evaluate
from gptcalc.spec.cluster import cluster_for
from gptcalc.spec.device import load_device
from gptcalc.spec.recipe import Recipe
from gptcalc.spec.stack import load_stack

MODELS = {
    "dense": gc.model("gpt3-175b", {"n_layer": 24}),
    "grouped": gc.model("llama3-8b", {"n_layer": 12, "n_ctx": 4096}),
    "experts": gc.model("mixtral-8x7b", {"n_layer": 8}),
    "mixed": gc.model("gpt-oss-20b", {"n_layer": 8}),
}

LEGAL: list[dict[str, Any]] = [
    {"tp": 8, "pp": 4, "cp": 1, "count": 64, "batch": 1, "virtual_stages": 2, "global_batch": 64},
    {"tp": 2, "pp": 2, "cp": 2, "count": 32, "batch": 2, "virtual_stages": 1, "global_batch": 64},
    {"tp": 1, "pp": 1, "cp": 1, "count": 8, "batch": 1, "virtual_stages": 1, "global_batch": 16},
    {"tp": 4, "pp": 1, "cp": 4, "count": 64, "batch": 1, "virtual_stages": 1, "global_batch": 4},
    {"tp": 1, "pp": 8, "cp": 1, "count": 16, "batch": 4, "virtual_stages": 1, "global_batch": 128},
]


@st.composite
def near(draw: st.DrawFn) -> dict[str, Any]:
    """A legal layout, or one change away from one: then it may be illegal for one reason alone."""
    row = dict(draw(st.sampled_from(LEGAL)))
    row |= {"zero": draw(st.integers(0, 3)), "sequence_parallel": draw(st.booleans())}
    row |= {"recompute": draw(st.sampled_from(["none", "selective", "full"])), "ep": 1, "seq": 1024}
    name = draw(st.sampled_from(["nothing", *row]))
    changed = {"zero": st.integers(0, 3), "sequence_parallel": st.booleans(), "recompute": st.just("full"), "ep": st.sampled_from([2, 4])}
    changed |= {"seq": st.sampled_from([1000, 1026]), "count": st.sampled_from([48, 63]), "global_batch": st.sampled_from([60, 96])}
    if name != "nothing":
        row[name] = draw(changed.get(name, st.sampled_from([1, 2, 3, 5, 6, 8, 16])))
    return row


def together(model: Any, device: str, stack: str, rows: list[dict[str, Any]]) -> Columns:
    chip, software = load_device(device), load_stack(stack)
    runtime = software.defaults["runtime"] if model is MODELS["dense"] else "ideal"
    recipe = Recipe(runtime=runtime, attention_kernel=software.defaults.get("attention_kernel", "flash"), dropout=False)
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return evaluate(Task(model, chip, recipe, cluster_for(chip.name), software), columns)


def alone(model: Any, device: str, stack: str, row: dict[str, Any]) -> tuple[float, float] | None:
    runtime = None if model is MODELS["dense"] else "ideal"
    try:
        run = gc.train(model, tokens="1B", device=device, stack=stack, runtime=runtime, dropout=False, **row)
    except gc.GptcalcError:
        return None
    return run.step_time, run.memory["peak_allocated"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("device", "stack"), [("a100-80gb", "megatron-2022"), ("h100-80gb", "megatron")])
@given(st.lists(near(), min_size=2, max_size=6))
@settings(deadline=None, max_examples=12)
def test_every_row_is_what_train_says(model: str, device: str, stack: str, rows: list[dict[str, Any]]) -> None:
    found = together(MODELS[model], device, stack, rows)
    for place, row in enumerate(rows):
        one = alone(MODELS[model], device, stack, row)
        assert found.legal[place] == (one is not None), row
        if one is not None:
            assert (found.step_time[place], found.peak_allocated[place]) == pytest.approx(one, rel=1e-12), row
