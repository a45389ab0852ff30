"""Real implementations, random weights: the NumPy forward pass gives their logits."""

import numpy as np
import pytest
import torch
from families import FAMILIES, NEWER, oracle, random_tokens

from gptcalc.errors import GptcalcError
from gptcalc.reference import forward, generate, load_state_dict
from gptcalc.spec.files import load_model


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_transformers(family: str) -> None:
    model, spec = oracle(family)
    tokens = random_tokens()
    with torch.no_grad():
        expected = model(input_ids=tokens, use_cache=False).logits.numpy()
    logits = forward(spec, load_state_dict(spec, model.state_dict()), tokens.numpy())
    assert logits.dtype == np.float32
    assert np.abs(expected).max() > 1, "the comparison is of numbers far from zero"
    assert np.abs(logits - expected).max() < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_agree_further_in_float64(family: str) -> None:
    model, spec = oracle(family)
    tokens = random_tokens()
    with torch.no_grad():
        expected = model.double()(input_ids=tokens, use_cache=False).logits.numpy()
    logits = forward(spec, load_state_dict(spec, model.state_dict(), np.float64), tokens.numpy())
    assert logits.dtype == np.float64
    # the other families keep their softmax, their rotary tables or their norms in float32 whatever the model is
    assert np.abs(logits - expected).max() < (1e-11 if family in ("gpt2", "openai-gpt") else 2e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_held_are_those_of_transformers(family: str) -> None:
    model, spec = oracle(family)
    weights = load_state_dict(spec, model.state_dict())
    held = {name: array for name, array in weights.items() if not name.endswith("correction")}  # of router scores: no parameter
    assert sum(array.size for array in held.values()) == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("family", ["openai-gpt", "gpt2", "opt", "gptj", "llama, tied, biases", "gpt_neox"])
def test_names_without_the_prefix_load_too(family: str) -> None:
    model, spec = oracle(family)
    state = model.state_dict()
    bare = {name.removeprefix(f"{model.base_model_prefix}."): tensor for name, tensor in state.items()}
    assert all(
        np.array_equal(a, b) for a, b in zip(load_state_dict(spec, bare).values(), load_state_dict(spec, state).values(), strict=True)
    )


def test_bfloat16_tensors_load() -> None:
    model, spec = oracle("gpt2")
    weights = load_state_dict(spec, model.bfloat16().state_dict())
    assert weights["block.0.mlp.up.weight"].dtype == np.float32


def test_greedy_generation_is_that_of_transformers() -> None:
    model, spec = oracle("gpt2")
    prompt = random_tokens(length=5)
    with torch.no_grad():
        expected = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=12, do_sample=False, pad_token_id=0, eos_token_id=None
        )
    assert generate(spec, load_state_dict(spec, model.state_dict()), prompt.numpy(), 12).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("family", "one_by_one"),
    [("mixtral", ("block_sparse_moe.experts", "w1", "w3", "w2")), ("qwen3_moe", ("mlp.experts", "gate_proj", "up_proj", "down_proj"))],
)
def test_files_with_a_tensor_for_each_expert_load_too(family: str, one_by_one: tuple[str, str, str, str]) -> None:
    """As the published files have them; transformers joins them when it reads a file."""
    model, spec = oracle(family)
    path, gate, up, down = one_by_one
    state = {}
    for name, tensor in model.state_dict().items():
        if name.endswith("experts.gate_up_proj"):
            for expert, both in enumerate(tensor):
                first, second = both.chunk(2)
                place = name.replace("mlp.experts.gate_up_proj", f"{path}.{expert}")
                state |= {f"{place}.{gate}.weight": first, f"{place}.{up}.weight": second}
        elif name.endswith("experts.down_proj"):
            place = name.replace("mlp.experts.down_proj", path)
            state |= {f"{place}.{expert}.{down}.weight": matrix for expert, matrix in enumerate(tensor)}
        else:
            state[name.replace("mlp.gate", "block_sparse_moe.gate") if family == "mixtral" else name] = tensor
    ours, joined = load_state_dict(spec, state), load_state_dict(spec, model.state_dict())
    assert all(np.array_equal(ours[name], joined[name]) for name in joined)


@pytest.mark.parametrize("family", NEWER)
def test_an_imported_config_gives_the_same_logits(family: str) -> None:
    """Not only the count: whatever the import leaves out or mistakes changes these numbers."""
    model, _ = oracle(family)
    tokens = random_tokens()
    try:
        spec = load_model(model.config.to_dict())
    except GptcalcError as refusal:
        pytest.skip(str(refusal))
    with torch.no_grad():
        expected = model(input_ids=tokens, use_cache=False).logits.numpy()
    logits = forward(spec, load_state_dict(spec, model.state_dict()), tokens.numpy())
    assert np.abs(logits - expected).max() < 1e-4
