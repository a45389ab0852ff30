"""One question has one answer: the same layout in `train` and in `memory`, as numbers and as arrays; refused by all or by none."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gptcalc as gc
from gptcalc.spec.legality import Sizes, check, legal

DENSE = gc.model("gpt2", {"n_layer": 12, "n_head": 12, "n_ctx": 512})
GROUPED = gc.model("llama3-8b", {"n_layer": 8, "n_ctx": 512, "d_model": 1024, "n_head": 8, "n_kv_head": 2, "d_ff": 2816})
MIXTURE = gc.model("mixtral-8x7b", {"n_layer": 8, "n_ctx": 512, "d_model": 512, "n_head": 8, "n_kv_head": 4, "d_ff": 1024})

size = st.sampled_from([1, 1, 1, 2, 2, 3, 4, 6, 8, 16])


@st.composite
def layouts(draw: st.DrawFn) -> dict[str, Any]:
    """Legal or not: sizes, what devices and sequences there are, how much is recomputed."""
    drawn = {name: draw(size) for name in ("tp", "pp", "cp")}
    drawn |= {"batch": draw(st.sampled_from([1, 2, 3])), "seq": draw(st.sampled_from([256, 384, 500])), "zero": draw(st.integers(0, 3))}
    if draw(st.booleans()):
        drawn["virtual_stages"] = draw(st.sampled_from([1, 2, 3]))
    if draw(st.booleans()):
        drawn["dp"] = draw(size)
    if draw(st.booleans()):
        drawn["count"] = draw(st.sampled_from([1, 4, 8, 12, 16, 32, 64, 96]))
    if draw(st.booleans()):
        drawn["global_batch"] = draw(st.sampled_from([1, 8, 12, 24, 64, 96]))
    drawn["sequence_parallel"] = draw(st.booleans())
    return drawn


RECIPE: dict[str, Any] = {"runtime": "ideal", "precision": "bf16", "stack": "megatron", "recompute": "none"}


def answer(call: Any) -> Any:
    try:
        return call()
    except gc.GptcalcError as error:
        return str(error).replace(", in one place of the arrays", "").replace(",", ""), error.hint


def trained(model: Any, layout: dict[str, Any]) -> Any:
    return gc.train(model, tokens=10**9, device="h100-80gb", **RECIPE, **layout)


def alike(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) or isinstance(other, tuple):
        return bool(one == other)
    return bool(one == pytest.approx(other, rel=1e-12))


@given(st.sampled_from([DENSE, GROUPED, MIXTURE]), layouts(), st.sampled_from([None, 2, 4]))
@settings(deadline=None)
def test_train_and_memory_agree(model: Any, layout: dict[str, Any], ep: int | None) -> None:
    layout = layout if ep is None else layout | {"ep": ep}
    run = answer(lambda: trained(model, layout))
    held = answer(lambda: gc.memory(model, **RECIPE, **layout))
    assert alike(run if isinstance(run, tuple) and not hasattr(run, "memory") else run.memory["peak_allocated"], _peak(held))


@given(st.sampled_from([DENSE, GROUPED]), layouts())
@settings(deadline=None)
def test_arrays_of_layouts_refuse_what_their_places_do(model: Any, layout: dict[str, Any]) -> None:
    """Two places of the same layout: as arrays the answer is that of the numbers, or its refusal."""
    of_numbers = answer(lambda: trained(model, layout))
    arrays = {name: np.array([value, value]) for name, value in layout.items() if name not in ("zero", "sequence_parallel")}
    of_arrays = answer(lambda: trained(model, layout | arrays))
    if hasattr(of_numbers, "memory"):
        assert of_arrays.step_time == pytest.approx([of_numbers.step_time] * 2, rel=1e-12)
        assert of_arrays.memory["peak_allocated"] == pytest.approx([of_numbers.memory["peak_allocated"]] * 2, rel=1e-12)
    else:
        assert of_arrays == of_numbers
    kept = {name: value for name, value in arrays.items() if name not in ("zero", "sequence_parallel")}
    of_memory = answer(lambda: gc.memory(model, **RECIPE, **(layout | kept)))
    if hasattr(of_numbers, "memory"):
        assert of_memory.value == pytest.approx([of_numbers.memory["peak_allocated"]] * 2, rel=1e-12)
    else:
        assert of_memory == of_numbers


CHOICES: dict[str, st.SearchStrategy[Any]] = {
    "zero": st.integers(0, 3),
    "sequence_parallel": st.booleans(),
    "recompute": st.sampled_from(["none", "full", "selective", "every-2"]),
    "tp": st.sampled_from([1, 2, 4]),
    "pp": st.sampled_from([1, 2]),
}


@given(
    st.sampled_from([DENSE, MIXTURE]), st.lists(st.fixed_dictionaries(CHOICES), min_size=2, max_size=4), st.sampled_from([None, "megatron"])
)
@settings(deadline=None)
def test_choices_differ_from_place_to_place(model: Any, rows: list[dict[str, Any]], stack: str | None) -> None:
    """ZeRO's stage, what is recomputed and divided sequences as arrays; the usual stack then differs too."""
    recipe = {"runtime": "ideal", "precision": "bf16", "stack": stack, "dp": 4, "batch": 1, "global_batch": 8, "seq": 256}
    columns = {name: np.array([row[name] for row in rows]) for name in CHOICES}
    runs = gc.train(model, tokens=10**9, device="h100-80gb", **recipe, **columns)
    held = gc.memory(model, **recipe, **columns)
    for place, row in enumerate(rows):
        one = gc.train(model, tokens=10**9, device="h100-80gb", **recipe, **row)
        assert runs.step_time[place] == pytest.approx(one.step_time, rel=1e-12)
        assert runs.hfu[place] == pytest.approx(one.hfu, rel=1e-12)
        assert runs.memory["peak_allocated"][place] == pytest.approx(one.memory["peak_allocated"], rel=1e-12)
        assert held.value[place] == pytest.approx(gc.memory(model, **recipe, **row).value, rel=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recompute": ["none", "half"]}, "recompute 'half' is not one of none"),
        ({"recompute": [1, 2]}, "recompute must be a word or an array of words"),
        ({"recompute": ["none", "full"], "batch": [1, 2, 3]}, "arrays of different lengths"),
        ({"zero": [0, 4]}, "is not one of 0, 1, 2, 3"),
    ],
)
def test_arrays_of_what_is_no_choice_are_refused(options: dict[str, Any], message: str) -> None:
    for call in (lambda: gc.train("gpt2", tokens="1B", **options), lambda: gc.memory("gpt2", **options)):
        with pytest.raises(gc.GptcalcError, match=message):
            call()


def _peak(held: Any) -> Any:
    return held if isinstance(held, tuple) and not hasattr(held, "training") else held.value


@given(st.sampled_from([DENSE, GROUPED, MIXTURE]), st.lists(st.tuples(*[size] * 6, st.sampled_from([64, 96])), min_size=2, max_size=8))
@settings(deadline=None)
def test_the_mask_is_what_each_place_says(model: Any, rows: list[tuple[int, ...]]) -> None:
    names = ("tp", "pp", "cp", "dp", "ep", "virtual_stages", "count")
    columns = {name: np.array(column, dtype=float) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    mask = legal(model, Sizes(**columns, global_batch=96, batch=2, seq=384))
    for place, row in enumerate(rows):
        sizes = Sizes(**dict(zip(names, row, strict=True)), global_batch=96, batch=2, seq=384)
        refused = isinstance(answer(lambda sizes=sizes: check(model, sizes)), tuple)
        assert bool(mask[place]) == (not refused) == bool(legal(model, sizes))


def test_a_pipeline_longer_than_the_model_is_refused_everywhere() -> None:
    for call in (
        lambda: gc.memory("gpt3-175b", pp=128, runtime="megatron"),
        lambda: gc.train("gpt3-175b", tokens="1B", pp=128, count=128),
        lambda: gc.train("gpt3-175b", tokens="1B", pp=np.array([64, 96, 128]), runtime="megatron"),
    ):
        with pytest.raises(gc.GptcalcError, match="128 pipeline stages for 96 layers"):
            call()


DEVICES = ["h100-80gb", "t4", "v100-32gb", "tpu-v2", "tpu-v6e", "mi300x", "gaudi3", "trn2", "inf2", "apple-m2", "strix-halo", "epyc-9654"]


@pytest.mark.parametrize("device", DEVICES)
def test_with_nothing_but_a_device_memory_and_train_mean_the_same_run(device) -> None:
    run, memory = gc.train("gpt2", tokens="1B", device=device), gc.memory("gpt2", device=device)
    found = memory.to_dict()
    assert {name: run.memory[name] for name in ("peak_allocated", "fits", "room")} == {
        name: found[name] for name in ("peak_allocated", "fits", "room")
    }
    assert (run.precision, run.inputs["runtime"]) == (memory.recipe.precision, memory.recipe.runtime)


@pytest.mark.parametrize("device", DEVICES)
def test_with_nothing_but_a_device_memory_and_infer_store_the_same_types(device) -> None:
    held = gc.memory("gpt2", mode="inference", device=device, seq=512).inputs
    served = gc.infer("gpt2", device=device, prompt=500, output=12).request.inputs
    assert (held["precision"], held["kv_precision"]) == (served["precision"], served["kv_precision"])
    assert held["precision"] == held["kv_precision"]


@st.composite
def servings(draw: st.DrawFn) -> dict[str, Any]:
    """How a model is stored and divided where it serves, legal or not."""
    drawn: dict[str, Any] = {"batch": draw(st.sampled_from([1, 3, 40])), "tp": draw(size), "pp": draw(size)}
    drawn["precision"] = draw(st.sampled_from([None, "bf16", "fp8", "int8", "int4", "fp5"]))
    drawn["kv_precision"] = draw(st.sampled_from([None, "bf16", "fp8", "int4", "fp5"]))
    drawn["group_size"] = draw(st.sampled_from([None, None, 32]))
    drawn["block_size"] = draw(st.sampled_from([None, 1, 16]))
    return drawn


@given(st.sampled_from([DENSE, GROUPED, MIXTURE]), servings(), st.sampled_from([(100, 28), (256, 1), (300, 200)]))
@settings(deadline=None)
def test_memory_of_serving_and_infer_agree(model: Any, options: dict[str, Any], lengths: tuple[int, int]) -> None:
    """The same bytes on the fullest device, and whether they fit; or the same refusal."""
    prompt, output = lengths
    tokens = min(options["batch"] * prompt, max(8192, prompt))
    held = answer(lambda: gc.memory(model, mode="inference", device="h100", seq=prompt + output, prefill=tokens, **options))
    served = answer(lambda: gc.infer(model, device="h100", prompt=prompt, output=output, **options))
    if isinstance(held, tuple) and not hasattr(held, "serving"):
        assert served == held
        return
    of_memory, of_infer = held.to_dict(), served.to_dict()
    for name in ("peak_allocated", "weights", "kv_cache", "activations"):
        assert of_infer["memory"][name] == of_memory[name]
    assert of_infer["fits"] == of_memory["fits"]
    usual = gc.memory(model, mode="inference", device="h100", seq=prompt + output, **options).to_dict()
    assert of_infer["max_batch"] == usual["max_batch"]  # as many tokens in a pass as a server reads


@given(st.sampled_from([GROUPED, MIXTURE]), servings())
@settings(deadline=None)
def test_a_server_divides_a_model_as_memory_does(model: Any, options: dict[str, Any]) -> None:
    """Under load the weights of the fullest device are the same, and what one refuses the other does."""
    given_ = {name: options[name] for name in ("tp", "pp", "precision", "kv_precision", "group_size")}
    held = answer(lambda: gc.memory(model, mode="inference", seq=256, **given_))
    served = answer(lambda: gc.infer(model, server="vllm", concurrency=4, prompt=200, output=56, **given_))
    if isinstance(held, tuple) and not hasattr(held, "serving"):
        assert served == held
    else:
        assert served.capacity.weights == pytest.approx(held.to_dict()["weights"], rel=1e-3)


MIXED = gc.model("gpt-oss-20b", {"n_layer": 4, "n_ctx": 512})


@pytest.mark.parametrize("sizes", [{"tp": [1, 2, 4]}, {"tp": [1, 2], "dp": [2, 4], "zero": 2}, {"batch": [1, 3], "cp": [1, 2]}], ids=str)
def test_arrays_of_layouts_of_layers_that_differ(sizes: dict[str, Any]) -> None:
    options: dict[str, Any] = {"runtime": "ideal", "precision": "bf16", "seq": 256}
    together = gc.memory(MIXED, **options, **sizes).value
    for place, peak in enumerate(together):
        alone = {name: size[place] if isinstance(size, list) else size for name, size in sizes.items()}
        assert peak == gc.memory(MIXED, **options, **alone).value
