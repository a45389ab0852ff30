"""Every letter of every formula that a table shows has a value and a name, and with the values put in the formula is the number shown."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

import gptcalc as gc
from gptcalc.errors import GptcalcError
from gptcalc.node import Node
from gptcalc.show.tree import LETTER, NAMES, legend
from gptcalc.spec.files import load_model
from gptcalc.spec.shape import shape_of

MODELS = [
    *("gpt1", "gpt2", "gpt3-175b", "transformer-base", "gptj-6b", "pythia-1b", "opt-350m", "llama3.1-8b", "mistral-7b"),
    *("gemma2-2b", "gemma3-1b", "mixtral-8x7b", "llama4-scout", "gpt-oss-20b", "deepseek-v2-lite", "deepseek-v3", "qwen3-30b-a3b"),
]
TRAINED: list[dict[str, Any]] = [
    {},
    {"precision": "bf16", "recompute": "full"},
    {"runtime": "megatron", "precision": "bf16", "tp": 2, "sequence_parallel": True, "recompute": "selective"},
    {"runtime": "nanogpt"},
    {"lora_rank": 4, "lora_targets": ("all-linear",), "precision": "bf16", "qlora": True},
    {"pp": 2, "optimizer": "adamw-8bit", "attention_kernel": "eager"},
]
SERVED: list[dict[str, Any]] = [
    {},
    {"prefill": 16, "batch": 3},
    {"precision": "int4", "kv_precision": "fp8", "block_size": 16},
    {"precision": "fp8", "tp": 2, "pp": 2},
    {"batch": 500},
]


def shown(model: Any) -> Iterator[tuple[Mapping[str, Any], Node[Any]]]:
    """The trees of `params`, `flops` and `memory`, each with the letters that its legend is made of."""
    letters = shape_of(model).letters
    yield letters, gc.params(model)
    for phase in ("forward", "training", "decode"):
        for attention in ("full", "causal", "half"):
            try:
                answer = gc.flops(model, batch=2, seq=64, phase=phase, attention=attention)
            except GptcalcError:  # one token of a model with an encoder
                continue
            length = {"C" if phase == "decode" else "T": 64}
            yield letters | {"B": 2} | length, answer.matmul
            if answer.other:
                yield letters | {"B": 2} | length, answer.other
    for options in TRAINED:
        try:
            trained = gc.memory(model, **{"batch": 2, "seq": 64} | options)
        except GptcalcError:  # code that the runtime lacks, heads that do not divide
            continue
        for phase in trained.training.phases.values():
            yield trained.training.letters, phase
    for options in SERVED:
        try:
            served = gc.memory(model, mode="inference", **{"batch": 2, "seq": 64} | options)
        except GptcalcError:
            continue
        yield served.serving.letters, served.peak


@pytest.mark.parametrize("name", MODELS)
def test_every_letter_has_a_value_and_a_name(name: str) -> None:
    for letters, root in shown(load_model(name)):
        text = legend(letters, root)
        for path, node in root.walk():
            for letter in LETTER.findall(node.formula):
                assert letter in letters, (path, node.formula)
                assert letter[0] in NAMES, (path, node.formula)
                assert f"{letter} = " in text


@pytest.mark.parametrize("name", MODELS)
def test_what_serving_holds_is_what_its_formulas_say(name: str) -> None:
    for options in ({}, {"prefill": 16, "batch": 3}, {"batch": 500}, {"tp": 2}):
        try:
            served = gc.memory(load_model(name), mode="inference", **{"batch": 2, "seq": 64} | options)
        except GptcalcError:
            continue
        for path, node in served.peak.walk():
            assert eval(node.formula, {"max": max, "min": min}, served.serving.letters) == node.value, (path, node.formula)
