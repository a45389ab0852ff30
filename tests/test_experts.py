"""Experts and layers that differ in training: memory against a measured run and against laws, the time of a step, refusals."""

import json

import numpy as np
import pytest
from bills import phases_add_up
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from measured import model_of, rows

import gptcalc as gc
from gptcalc.cli import main
from gptcalc.spec.model import parse_model

LLAMA = {"position": "rotary", "norm": "rmsnorm", "activation": "silu", "gated": True, "tied": False}
NO_BIAS = {"attention_bias": False, "attention_output_bias": False, "mlp_bias": False}
SMALL = {"name": "small", "n_layer": 4, "d_model": 64, "n_head": 4, "d_ff": 96, "vocab_size": 512, "n_ctx": 128, **LLAMA, **NO_BIAS}
EXPERTS = {"n_expert": 8, "n_expert_per_token": 2}
LATENT = {"n_head": 4, "d_head": 24, "d_head_value": 16, "d_rotary": 8, "kv_lora_rank": 32, "q_lora_rank": 48}
DEEPSEEK = (
    SMALL | LATENT | {"blocks": {"dense": {}, "moe": EXPERTS | {"d_expert": 32, "d_shared_expert": 32}}, "layout": ["dense", "moe*3"]}
)

ROW = next(row for row in rows("training_memory.jsonl") if row["model"] == "mixtral-1b")
MIXTRAL = model_of(ROW)


def training(model, **options):
    return gc.memory(model, mode="training", **options)


def weights(answer) -> int:
    held = answer.training.phases["before_forward"]["weights"]
    return sum(node.value for path, node in held.leaves() if not path.endswith("allocator rounding"))


def test_memory_of_a_measured_mixtral() -> None:
    assert gc.params(MIXTRAL).value == ROW["parameters"]
    answer = training(MIXTRAL, batch=ROW["batch"], seq=ROW["seq"], precision=ROW["precision"]).to_dict()
    phases = {"after_forward": "bytes_after_forward", "forward": "bytes_peak_forward", "backward": "bytes_peak_backward"}
    assert answer["peak_allocated"] == pytest.approx(ROW["bytes_peak_allocated"], rel=1e-4)
    for phase, measured in phases.items():
        assert answer["phases"][phase] == pytest.approx(ROW[measured], rel=1e-4)


def test_time_of_a_measured_mixtral_step() -> None:
    """102.46 ms (Mixtral of 1.15 G parameters, 4 x 2,048 tokens, bf16, one H100): the row that the grouped matmul's rate was fitted on."""
    run = gc.train(MIXTRAL, tokens=1e9, device="h100-80gb", batch=ROW["batch"], seq=ROW["seq"], precision="bf16")
    assert run.step_time == pytest.approx(102.46e-3, rel=0.05)


@settings(max_examples=examples(40), deadline=None)
@given(st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 3]), st.sampled_from([0, 1, 2, 3]), st.sampled_from(["megatron", "ideal"]))
def test_the_shares_of_all_ranks_add_up_to_the_whole(ep, times, zero, runtime) -> None:
    """Each expert is on 1/ep of the data-parallel ranks; what ZeRO divides is on one rank each, all else on all of them."""
    model, dp = parse_model(SMALL | EXPERTS), ep * times
    options = {"precision": "bf16", "runtime": runtime}
    whole = training(model, **options).training.phases["before_forward"]
    own = training(model, dp=dp, ep=ep, zero=zero, **options).training.phases["before_forward"]
    for part, from_zero in (("weights", 3), ("optimizer state", 1)):
        found = {path: node.value for path, node in own[part].leaves() if not path.endswith("rounding")}
        wanted = {path: node.value for path, node in whole[part].leaves() if not path.endswith("rounding")}
        if part == "weights":
            for path, size in wanted.items():
                copies = dp if zero < from_zero else 1
                copies = copies // ep if "/experts/" in path and zero < from_zero else copies
                assert found[path] * dp == pytest.approx(size * copies, abs=dp)
        elif zero >= from_zero:
            assert sum(found.values()) * dp == pytest.approx(sum(wanted.values()), abs=8 * dp)


def test_experts_have_a_data_group_of_their_own() -> None:
    model = parse_model(SMALL | EXPERTS)
    options = {"precision": "bf16", "runtime": "megatron", "optimizer": "sgd-momentum"}
    counts = {"block/mlp/experts": 0, "other": 0}
    for path, node in gc.params(model).leaves():
        counts["block/mlp/experts" if "experts" in path else "other"] += node.value
    whole = counts["other"] * 4 + counts["block/mlp/experts"] * 4
    assert training(model, **options).training.phases["before_forward"]["optimizer state/momentum"].value == whole
    one = training(model, dp=8, ep=4, zero=1, **options).training.phases["before_forward"]["optimizer state/momentum"].value
    assert one == counts["other"] * 4 // 8 + counts["block/mlp/experts"] * 4 // 4 // 2


ALIKE = st.fixed_dictionaries(
    {
        "runtime": st.sampled_from(["ideal", "megatron", "transformers"]),
        "precision": st.sampled_from(["fp32", "bf16", "amp-bf16"]),
        "recompute": st.sampled_from(["none", "full", "selective"]),
        "zero": st.sampled_from([0, 1, 2, 3]),
        "dp": st.sampled_from([1, 4]),
        "optimizer": st.sampled_from(["adamw", "muon", "adafactor"]),
        "accumulate": st.sampled_from([1, 2]),
    }
)


@settings(max_examples=examples(40), deadline=None)
@given(ALIKE, st.booleans(), st.sampled_from([["a*2", "b*2"], ["a", "b", "..."], ["a", "b*3"]]))
def test_kinds_of_block_that_do_not_differ_change_nothing(options, experts, layout) -> None:
    fields = SMALL | (EXPERTS if experts else {})
    plain = training(parse_model(fields), batch=3, **options).to_dict()
    kinds = training(parse_model(fields | {"blocks": {"a": {}, "b": {}}, "layout": layout}), batch=3, **options).to_dict()
    for phase, size in plain["phases"].items():
        assert kinds["phases"][phase] == pytest.approx(size, rel=2e-3), phase


@settings(max_examples=examples(30), deadline=None)
@given(st.sampled_from([SMALL | EXPERTS, DEEPSEEK]), ALIKE, st.integers(1, 9))
def test_every_parent_is_the_sum_of_its_parts_and_formulas_give_their_values(fields, options, batch) -> None:
    model = parse_model(fields)
    answer = training(model, batch=batch, **(options | {"runtime": "ideal"}))
    phases_add_up(answer, formulas=options["dp"] == 1)


def test_more_experts_of_a_token_keep_more() -> None:
    kept = [
        training(parse_model(SMALL | {"n_expert": 8, "n_expert_per_token": k}), batch=8, runtime="ideal")
        .training.phases["after_forward"]
        .value
        for k in (1, 2, 4)
    ]
    assert kept == sorted(kept)
    assert kept[2] - kept[1] == pytest.approx(2 * (kept[1] - kept[0]), rel=0.01)


def test_arrays_of_expert_parallel_sizes() -> None:
    model, ep = parse_model(SMALL | EXPERTS), np.array([1.0, 2.0, 4.0])
    array = training(model, ep=ep, dp=8, batch=2, runtime="ideal").value
    assert [training(model, ep=int(one), dp=8, batch=2, runtime="ideal").value for one in ep] == pytest.approx(array.tolist(), abs=64)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dp": 12, "ep": 8}, "data parallel size 12 is not a multiple of expert parallel size 8"),
        ({"dp": 3, "ep": 3}, "n_expert 8 is not a multiple of expert parallel size 3"),
        ({"ep": 2}, "data parallel size 1 is not a multiple of expert parallel size 2"),
    ],
)
def test_impossible_divisions_name_both_numbers(options, message) -> None:
    with pytest.raises(gc.GptcalcError, match=message):
        training(parse_model(SMALL | EXPERTS), **options)


def test_code_that_no_runtime_has_falls_back_to_ideal_or_is_refused_by_name() -> None:
    model = parse_model(DEEPSEEK)
    assert training(model).recipe.runtime == "ideal"
    run = gc.train(model, tokens=1e9, device="h100-80gb")
    assert any("no runtime here has small's own code" in note for note in run.notes)
    with pytest.raises(gc.GptcalcError, match="Mixtral code has no shared_expert true and no latent true"):
        training(model, runtime="transformers")
    gate = parse_model(DEEPSEEK | {"kv_lora_rank": None, "q_lora_rank": None, "attention_gate": "head"})
    with pytest.raises(gc.GptcalcError, match="'megatron' does not implement small: it says nothing about block dense/attention/gate"):
        training(gate, runtime="megatron")
    mixed = parse_model(SMALL | {"blocks": {"a": EXPERTS, "b": EXPERTS | {"router_normalised": False}}, "layout": ["a*3", "b"]})
    with pytest.raises(gc.GptcalcError, match="blocks of kind b have router_normalised false"):
        training(mixed, runtime="transformers")
    with pytest.raises(gc.GptcalcError, match="recompute every-2 of layers that differ"):
        training(model, recompute="every-2")


def test_dense_layers_beside_those_of_experts_run_in_mixtrals_code() -> None:
    model = parse_model(SMALL | {"blocks": {"dense": {}, "moe": EXPERTS}, "layout": ["dense", "moe*3"]})
    kept = training(model, batch=4, precision="bf16").training.phases["after_forward"]["activations"]
    assert kept["block dense/mlp/gate"].value == 2 * 4 * 128 * 64
    assert kept["block moe/mlp/experts/up"].value == 3 * (2 * 4 * 128 * 2 * (8 + 64) + 4 * 8)


def test_an_expert_that_all_tokens_go_through_takes_at_least_the_time_of_the_mlp() -> None:
    options = {"tokens": 1e9, "device": "h100-80gb", "runtime": "ideal", "precision": "bf16", "batch": 8}
    fields = SMALL | {"d_model": 2048, "d_ff": 8192, "n_head": 16, "n_ctx": 2048}
    dense = gc.train(parse_model(fields), **options).step_time
    one = gc.train(parse_model(fields | {"n_expert": 1, "n_expert_per_token": 1}), **options).step_time
    two = gc.train(parse_model(fields | {"n_expert": 8, "n_expert_per_token": 2}), **options).step_time
    assert dense < one < 1.2 * dense
    assert one < two


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["train", "--tokens", "1B", "--format", "json"], 0, '"step_time"'),
        (["memory", "--dp", "8", "--ep", "4", "--zero", "1"], 0, "experts"),
        (["memory", "--dp", "8", "--ep", "3"], 2, "data parallel size 8 is not a multiple of expert parallel size 3"),
    ],
)
def test_command_line(words, code, said, tmp_path, capsys, monkeypatch) -> None:
    path = tmp_path / "moe.yaml"
    path.write_text(json.dumps(SMALL | EXPERTS))
    monkeypatch.setattr("sys.argv", ["gptcalc", words[0], str(path), *words[1:]])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    assert said in "".join(capsys.readouterr())


def test_a_timeline_of_layers_that_differ_is_refused() -> None:
    from gptcalc.run.timeline import timeline

    with pytest.raises(gc.GptcalcError, match="layers that differ"):
        timeline(training(parse_model(DEEPSEEK)).training)


@pytest.mark.parametrize("runtime", ["ideal", "megatron", "transformers"])
@pytest.mark.parametrize("recompute", ["none", "full", "selective"])
def test_kinds_of_block_that_do_not_differ_take_the_same_time(runtime, recompute) -> None:
    options = {"tokens": 1e9, "device": "h100-80gb", "precision": "bf16", "batch": 4, "runtime": runtime, "recompute": recompute}
    plain, kinds = (SMALL | EXPERTS | more for more in ({}, {"blocks": {"a": {}, "b": {}}, "layout": ["a*2", "b*2"]}))
    assert gc.train(parse_model(kinds), **options).step_time == pytest.approx(gc.train(parse_model(plain), **options).step_time)
