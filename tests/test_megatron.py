"""Megatron's code beyond the GPT of the papers: what a layer keeps, written down again from the source of megatron-core and Transformer
Engine; laws over every architecture among the presets that it runs; what it refuses.
"""

from collections.abc import Callable
from typing import Any

import pytest
from bills import phases_add_up

import gptcalc as gc
from gptcalc.footprint.answer import TrainingMemory
from gptcalc.spec.catalogue import all_models
from gptcalc.spec.device import load_device
from gptcalc.spec.model import ModelSpec, parse_model
from gptcalc.spec.recipe import Recipe
from gptcalc.spec.runtime import load_runtime
from gptcalc.spec.shape import Shape, shape_of
from gptcalc.table.code import code_of
from gptcalc.time.launches import launches, work_of

BF16: dict[str, Any] = {"runtime": "megatron", "precision": "bf16", "dropout": False}


def accepted() -> list[ModelSpec]:
    """The first preset of each architecture that the runtime runs."""
    found: dict[Any, ModelSpec] = {}
    for model in all_models():
        try:
            code_of(load_runtime("megatron"), model)
        except gc.GptcalcError:
            continue
        found.setdefault((model.switches, *(kind.switches for kind in model.kinds.values())), model)
    return list(found.values())


ACCEPTED = accepted()


def training(model: Any, **options: Any) -> TrainingMemory:
    answer = gc.memory(model, mode="training", **(BF16 | options))
    assert isinstance(answer, TrainingMemory)
    return answer


def kept(answer: TrainingMemory, start: str) -> int:
    """Bytes that operations whose paths begin so keep for the backward pass."""
    phase = answer.training.phases["after_forward"]
    return sum(node.value for path, node in phase.leaves() if path.startswith(f"activations/{start}") and "rounding" not in path)


# What one layer keeps of one token, in bf16 with fused attention and without dropout.


def heads(s: Shape[int]) -> int:
    """The norm's input and output, queries, keys, values, what attention puts out and its log-sum-exp."""
    return 2 * (2 * s.d_model + 2 * s.d_attention + 2 * s.d_kv) + 4 * s.n_head


def head_norms(s: Shape[int]) -> int:
    """TE's RMSNorm: a contiguous copy of queries and keys, and a number for each head."""
    return 2 * (s.d_attention + s.d_kv) + 4 * (s.n_head + s.n_kv_head)


def latent(s: Shape[int]) -> int:
    """Each latent before and after its norm; queries, keys and values of all heads."""
    q, c, H, Q, Z = s.q_lora_rank, s.kv_lora_rank, s.n_head, s.d_head, s.d_head_value
    return 2 * (2 * s.d_model + 2 * q + 2 * c + H * (2 * Q + Z) + H * Z) + 4 * H


def gated(s: Shape[int]) -> int:
    return 2 * (2 * s.d_model + 3 * s.d_ff)


def sinks(s: Shape[int]) -> int:
    """Experts behind attention: the router's input and scores, then for each expert of a token its input, both halves before and after
    they are clamped, what the activation makes of them, and the score."""
    d, f, k, E = s.d_model, s.d_expert, s.n_expert_per_token, s.n_expert
    return heads(s) + 2 * 2 * d + (4 + 1 + 4) * E + k * (2 * (d + 4 * f + f) + 4)


def scout(s: Shape[int]) -> int:
    """Keys are a view of the whole projection; the chosen expert's input before and after the score; the shared expert reads what the
    router keeps."""
    d, f, E = s.d_model, s.d_expert, s.n_expert
    norms = 2 * (s.d_attention + (s.d_attention + 2 * s.d_kv)) + 4 * (s.n_head + s.n_kv_head)
    return heads(s) + norms + 2 * 2 * d + (4 + 1 + 4) * E + 2 * (2 * d + 3 * f) + 4 + 2 * 3 * s.d_shared_expert


LAYERS: dict[str, tuple[str, Callable[[Shape[int]], int]]] = {
    "llama3-8b": ("block", lambda s: heads(s) + gated(s)),
    "qwen3-32b": ("block", lambda s: heads(s) + head_norms(s) + gated(s)),
    "gemma3-27b": ("block full", lambda s: heads(s) + head_norms(s) + gated(s) + 2 * 2 * s.d_model),
    "deepseek-v3": ("block dense", lambda s: latent(s) + gated(s)),
    "deepseek-v2-lite": ("block dense", lambda s: latent(s) + gated(s)),
    "gpt-neox-20b": ("block", lambda s: heads(s) + 2 * (s.d_model + 2 * s.d_ff)),
    "gptj-6b": ("block", lambda s: heads(s) + 2 * 2 * s.d_ff),
    "gpt-oss-20b": ("block full", sinks),
    "llama4-scout": ("block chunked", scout),
}


@pytest.mark.parametrize("name", LAYERS)
def test_what_a_layer_keeps_of_a_token(name: str) -> None:
    block, of_token = LAYERS[name]
    model = gc.model(name)
    shape = dict(shape_of(model).blocks)[block]
    assert kept(training(model, batch=2, seq=512), f"{block}/") == shape.n_layer * 2 * 512 * of_token(shape)


def test_a_norm_of_the_embedding_keeps_it() -> None:
    assert kept(training("bloom-560m", batch=2, seq=512), "embedding/norm") == 2 * 2 * 512 * 1024


@pytest.mark.parametrize(("shared", "widths"), [(False, 32), (True, 30)])
def test_a_parallel_layer_keeps_one_or_two_inputs_less_than_34_widths(shared: bool, widths: int) -> None:
    """Korthikanti's layer less the second norm's input, which is the first's, and with one norm less the second matmul's input."""
    fields = {"n_layer": 2, "d_model": 512, "n_head": 8, "vocab_size": 512, "n_ctx": 256, "parallel_residual": True, "shared_norm": shared}
    answer = training(parse_model({"name": "parallel", **fields}), batch=4, seq=256, attention_kernel="eager", dropout=True)
    assert kept(answer, "block/") == 2 * 4 * (widths * 256 * 512 + 5 * 8 * 256 * 256)


def test_sequences_longer_than_a_chunk_are_copied_chunk_by_chunk() -> None:
    model = gc.model("llama4-maverick")
    inside, beyond = (kept(training(model, seq=seq), "block chunked_dense/attention/core") / seq for seq in (8192, 16384))
    assert beyond - inside == 24 * 2 * 40 * 128
    assert kept(training(model, seq=16384), "block full_moe/attention/core") / 16384 == 12 / 24 * inside


def test_attention_keeps_its_output_in_16_bits_under_fp8_too() -> None:
    for precision in ("bf16", "fp8"):
        assert kept(training("llama3-8b", seq=512, precision=precision), "block/attention/output") == 32 * 2 * 512 * 4096


# Laws over all architectures that it runs.


@pytest.mark.parametrize("model", ACCEPTED, ids=lambda model: model.name)
def test_parts_add_up_and_formulas_give_their_values(model: ModelSpec) -> None:
    for options in ({"seq": 512}, {"seq": 512, "recompute": "full", "dropout": True}, {"seq": 512, "attention_kernel": "eager"}):
        phases_add_up(training(model, batch=2, **options))


@pytest.mark.parametrize("model", ACCEPTED, ids=lambda model: model.name)
@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_more_sequences_need_more_and_recomputation_never_does(model: ModelSpec, precision: str) -> None:
    peaks = [training(model, batch=batch, seq=1024, precision=precision).value for batch in (1, 2, 4)]
    assert peaks == sorted(peaks)
    for recompute in ("selective", "full"):
        assert training(model, batch=4, seq=1024, precision=precision, recompute=recompute).value <= peaks[-1]


def divisible(model: ModelSpec) -> bool:
    """Whether all that two tensor-parallel ranks keep of a layer is divided: no experts, whose copies of tokens both have, and no key
    that both need."""
    return all(not s.n_expert and s.n_kv_head % 2 == s.n_head % 2 == s.d_ff % 2 == 0 for _, s in shape_of(model).blocks)


@pytest.mark.parametrize("model", list(filter(divisible, ACCEPTED)), ids=lambda model: model.name)
def test_two_ranks_with_sequence_parallelism_keep_half_of_each_layer(model: ModelSpec) -> None:
    whole, half = (training(model, batch=2, seq=512, tp=tp, sequence_parallel=tp > 1) for tp in (1, 2))
    assert 2 * kept(half, "block") == kept(whole, "block")


def test_two_ranks_keep_half_of_the_heads_and_all_of_the_latents() -> None:
    model = gc.model("deepseek-v3")
    whole, half = (training(model, seq=512, tp=tp) for tp in (1, 2))
    for path in ("core", "output"):
        assert 2 * kept(half, f"block moe/attention/{path}") == kept(whole, f"block moe/attention/{path}")
    for path in ("norm", "query_down", "query_norm", "query_up", "key_value_norm", "key_value_up"):
        assert kept(half, f"block moe/attention/{path}") == kept(whole, f"block moe/attention/{path}")


def compute(model: ModelSpec, runtime: str) -> float:
    """Seconds of one micro-batch, forward and backward, at the full clock; its passes are too long for the on-chip memory."""
    work = work_of(model, load_device("h100-80gb"), Recipe(runtime=runtime, precision="bf16", dropout=False), 8, min(model.n_ctx, 2048))
    return sum(kernel.seconds(work.chip) for kernel in launches(work) if kernel.phase != "optimizer")


@pytest.mark.parametrize("model", ACCEPTED, ids=lambda model: model.name)
def test_what_is_ideal_is_never_slower(model: ModelSpec) -> None:
    assert compute(model, "megatron") >= compute(model, "ideal")
    options = {"tokens": "1B", "seq": min(model.n_ctx, 2048), "precision": "bf16"}
    assert gc.train(model, runtime="megatron", dropout=False, **options).step_time > gc.train(model, runtime="ideal", **options).step_time


@pytest.mark.parametrize(
    "name", ["bloom-3b", "pythia-2.8b", "qwen3-4b", "qwen3-30b-a3b", "glm-4-9b-0414", "deepseek-v2-lite", "gpt-oss-20b"]
)
def test_stages_and_ranks_take_less_than_one_device(name: str) -> None:
    options = {"tokens": "1B", "seq": 2048, "precision": "bf16", "runtime": "megatron", "stack": "megatron", "global_batch": 64}
    alone = gc.train(name, count=1, **options)
    divided = gc.train(name, tp=2, pp=2, count=4, **options)
    assert alone.step_time / 4 < divided.step_time < alone.step_time
    assert divided.mfu < alone.mfu < 0.75


# What it refuses.

REFUSED = {
    "gemma2-9b": "its GPT code has no attention_softcapped true and no logit_softcapped true",
    "olmo2-7b": "its GPT code has no norm_placement output and no qk_norm full",
    "olmoe-1b-7b": "its GPT code has no qk_norm full",  # Megatron-Bridge has it for one rank only: the norm's row is not divided
    "command-r": "its GPT code has no logit_scaled true and no parallel_residual true",
    "dbrx": "its GPT code has no qkv_clipped true",
    "apertus-8b": "its GPT code has no activation xielu",
    "bitnet-2b-4t": "it says nothing about block/attention/inner_norm, block/mlp/inner_norm",
    "gpt1": "its GPT code has no norm_placement post",
    "granite-3.1-8b": "its GPT code has no residual_scaled true and no logit_scaled true",
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_runtime_and_what_it_lacks(name: str) -> None:
    for ask in (lambda: training(name), lambda: gc.train(name, tokens="1B", seq=512, runtime="megatron")):
        with pytest.raises(gc.GptcalcError) as refused:
            ask()
        assert str(refused.value) == f"runtime 'megatron' does not implement {name}: {REFUSED[name]}"
        assert refused.value.hint == "--runtime ideal takes most models"


def test_the_nearest_code_is_named() -> None:
    with pytest.raises(gc.GptcalcError, match="deepseek-v3: its Mixtral code has no shared_expert true and no latent true"):
        training("deepseek-v3", runtime="transformers")
    with pytest.raises(gc.GptcalcError, match="gptj-6b: its GPT-NeoX code has no shared_norm true"):
        training("gptj-6b", runtime="transformers")


def test_scores_that_weigh_inputs_are_not_passed_over() -> None:
    fields = {"n_layer": 2, "d_model": 64, "n_head": 4, "vocab_size": 512, "n_ctx": 128, "position": "rotary", "norm": "rmsnorm"}
    fields |= {"activation": "silu", "gated": True, "attention_bias": False, "attention_output_bias": False, "mlp_bias": False}
    model = parse_model({"name": "weighed", **fields, "n_expert": 4, "n_expert_per_token": 1, "router_weighs_input": True})
    with pytest.raises(gc.GptcalcError, match="its Mixtral code has no router_weighs_input true"):
        training(model, runtime="transformers")
    plain = parse_model(model.model_dump(exclude_unset=True) | {"router_weighs_input": False})
    assert kept(training(model), "block/mlp/experts/up") - kept(training(plain), "block/mlp/experts/up") == 2 * 2 * 128 * 64
