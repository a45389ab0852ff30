"""`to_frame` with pandas itself."""

import pytest

import gptcalc as gc

pandas = pytest.importorskip("pandas")


def test_the_parts_of_a_model() -> None:
    found = gc.params("gpt2").to_frame()
    assert isinstance(found, pandas.DataFrame)
    assert found.set_index("part").loc["embedding/token", "value"] == 50_257 * 768


def test_models_side_by_side() -> None:
    found = gc.compare(["gpt1", "gpt2"]).to_frame()
    assert list(found["parameters"]) == [116_534_784, 124_439_808]


def test_the_parts_of_a_step_add_up() -> None:
    run = gc.train("gpt2", tokens="1B")
    found = run.to_frame()
    leaves = [path for path, _ in run.parts.leaves()]
    assert found[found["part"].isin(leaves)]["value"].sum() == pytest.approx(run.step_time)
