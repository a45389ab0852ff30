"""Whose steps were timed: a family's own code that nobody timed has an interval that says so."""

import pytest
import yaml

import gptcalc as gc
from gptcalc.spec.catalogue import bundled_folder
from gptcalc.spec.files import load_model
from gptcalc.spec.runtime import implementation_of, load_runtime

MIXTRAL = "Mixtral"  # timed in one run, whose step is not among those that anything was fitted on


def test_code_is_called_timed_where_a_step_of_it_was_measured() -> None:
    steps = yaml.safe_load((bundled_folder() / "steps" / "h100-80gb.yaml").read_text())["steps"]
    runtime = load_runtime("transformers")
    models = [load_model(row["model"]) for row in steps if row["runtime"] == "transformers" and "model" in row]
    measured = [implementation_of(runtime, model.family, model.switches, model.name) for model in models]
    for name, code in runtime.implementations.items():
        assert code.timed == (name == MIXTRAL or any(code is one for one in measured)), name


@pytest.mark.parametrize(("model", "spread"), [("llama2-7b", 0.06), ("qwen3-8b", 0.25), ("gemma-7b", 0.25)])
def test_the_interval_is_wider_where_no_step_was_timed(model: str, spread: float) -> None:
    run = gc.train(model, tokens=1e9, device="h100-80gb", batch=1, seq=2048, precision="bf16", recompute="full", runtime="transformers")
    ends = run.ranges["step_time"]
    assert (ends["low"], ends["high"]) == (pytest.approx((1 - spread) * ends["likely"]), pytest.approx((1 + spread) * ends["likely"]))
    assert any("was ever timed" in note for note in run.notes) == (spread > 0.06)
