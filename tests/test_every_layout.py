"""Layouts at random, legal ones, illegal ones and ones a step away from legal ones: `train`, `memory` and arrays of both say one thing."""

import random
from typing import Any

import numpy as np
import pytest

import gptcalc as gc

DENSE = gc.model("gpt2", {"n_layer": 12, "n_head": 12, "n_ctx": 512})
GROUPED = gc.model("llama3-8b", {"n_layer": 8, "n_ctx": 512, "d_model": 1024, "n_head": 8, "n_kv_head": 2, "d_ff": 2816})
MIXTURE = gc.model("mixtral-8x7b", {"n_layer": 8, "n_ctx": 512, "d_model": 512, "n_head": 8, "n_kv_head": 4, "d_ff": 1024})
MODELS = {"dense": DENSE, "grouped": GROUPED, "experts": MIXTURE}
RECIPES: dict[str, dict[str, Any]] = {
    "adamw": {"runtime": "ideal", "precision": "bf16", "stack": "megatron"},
    "muon": {"runtime": "ideal", "precision": "amp-bf16", "optimizer": "muon", "stack": "fsdp", "recompute": "full"},
}
SIZES = ("tp", "pp", "cp", "ep", "virtual_stages")


def legal(rng: random.Random, name: str) -> dict[str, Any]:
    """Sizes that divide everything they must, by arithmetic alone."""
    model = MODELS[name]
    tp, pp, cp = rng.choice((1, 2, 4) if name != "grouped" else (1, 2)), rng.choice((1, 2, 4)), rng.choice((1, 2))
    v = rng.choice([v for v in (1, 2, 3) if v == 1 or (pp > 1 and model.n_layer % (pp * v) == 0)])
    dp, batch = rng.choice((1, 2, 4)), rng.choice((1, 2))
    ep = rng.choice([n for n in (1, 2, 4) if dp * cp % n == 0]) if name == "experts" else 1
    m = pp * rng.randint(1, 3)
    found: dict[str, Any] = {"tp": tp, "pp": pp, "cp": cp, "ep": ep, "virtual_stages": v, "batch": batch}
    found |= {"count": tp * pp * cp * dp, "global_batch": batch * dp * m, "seq": rng.choice((256, 512))}
    return found | {"zero": rng.randint(0, 3), "sequence_parallel": rng.random() < 0.5}


def drawn(rng: random.Random, name: str, recipe: str) -> dict[str, Any]:
    """A legal layout, one that differs from a legal one in one number, or one at random; of Muon half with whole matrices."""
    found = legal(rng, name)
    if recipe == "muon" and rng.random() < 0.5:
        found |= {"tp": 1, "count": found["count"] // found["tp"]}
    kind = rng.randrange(3)
    changed = rng.choice([*SIZES, "count", "global_batch", "seq"])
    if kind == 1:
        found[changed] = max(1, found[changed] + rng.choice((-1, 1, found[changed])))
    if kind == 2:
        found |= {size: rng.choice((1, 2, 3, 4, 6, 8, 16)) for size in SIZES[:3]} | {"count": rng.choice((4, 12, 32, 64))}
    return found


def said(call: Any) -> Any:
    try:
        return call()
    except gc.GptcalcError as error:
        return str(error).replace(", in one place of the arrays", ""), error.hint


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_260_layouts(seed: int, recipe: str) -> None:
    rng = random.Random(seed)
    answered, refused = 0, 0
    for number in range(260):
        name = list(MODELS)[number % 3]
        model, layout, options = MODELS[name], drawn(rng, name, recipe), RECIPES[recipe]
        run = said(lambda model=model, layout=layout, options=options: gc.train(model, tokens=10**9, **options, **layout))
        held = said(lambda model=model, layout=layout, options=options: gc.memory(model, **options, **layout))
        arrays = {size: np.array([value, value]) for size, value in layout.items() if size not in ("zero", "sequence_parallel")}
        runs = said(lambda model=model, all_=layout | arrays, options=options: gc.train(model, tokens=10**9, **options, **all_))
        holds = said(lambda model=model, all_=layout | arrays, options=options: gc.memory(model, **options, **all_))
        if hasattr(run, "step_time"):
            answered += 1
            peak = run.memory["peak_allocated"]
            assert held.value == peak, layout
            assert holds.value == pytest.approx([peak, peak], rel=1e-12), layout
            assert runs.memory["peak_allocated"] == pytest.approx([peak, peak], rel=1e-12), layout
            assert runs.step_time == pytest.approx([run.step_time] * 2, rel=1e-12), layout
        elif "is not timed" in run[0]:  # which is about time alone
            assert run == runs, layout
            assert holds.value == pytest.approx([held.value] * 2, rel=1e-12), layout
        else:
            refused += 1
            assert run == held == runs == holds, layout
    assert answered > 60
    assert refused > 60


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_what_is_legal_by_arithmetic_is_answered(seed: int) -> None:
    rng = random.Random(seed)
    for name, model in MODELS.items():
        for recipe, options in RECIPES.items():
            layout = legal(rng, name)
            if recipe == "muon":  # of which only whole matrices are timed
                layout |= {"tp": 1, "count": layout["count"] // layout["tp"]}
            assert gc.train(model, tokens=10**9, **options, **layout).memory["peak_allocated"] > 0, layout
