"""Optimizer states against what torch's own optimizers keep: the sizes of their state_dict."""

from typing import Any

import pytest
import torch
import transformers

import gptcalc as gc

SIZES = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 96}
CONFIG = {"model_type": "llama", "vocab_size": 1000, "max_position_embeddings": 128, **SIZES}


def built() -> Any:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**{k: v for k, v in CONFIG.items() if k != "model_type"}))


def kept(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of the tensors of one step's states; the count of steps is one number a tensor, and stands on the host."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    states = optimizer.state_dict()["state"].values()
    return sum(t.numel() * t.element_size() for state in states for name, t in state.items() if torch.is_tensor(t) and name != "step")


def predicted(optimizer: str) -> int:
    phase = gc.memory(CONFIG, optimizer=optimizer, batch=1, seq=16, precision="fp32").training.phases["before_forward"]
    leaves = phase.leaves()
    return sum(leaf.value for path, leaf in leaves if path.startswith("optimizer state/") and not path.endswith("rounding"))


MADE = {
    "adamw": torch.optim.AdamW,
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "sgd-momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "adafactor": torch.optim.Adafactor,
}


@pytest.mark.parametrize("optimizer", MADE)
def test_states_are_what_torch_keeps(optimizer: str) -> None:
    assert predicted(optimizer) == kept(MADE[optimizer](built().parameters()))


def test_muon_keeps_one_state_for_the_blocks_matrices_and_adam_two_for_the_rest() -> None:
    named = dict(built().named_parameters())
    blocks = {name for name, parameter in named.items() if ".layers." in name and parameter.ndim == 2}
    muon = torch.optim.Muon([named[name] for name in blocks], lr=0.1)
    adam = torch.optim.AdamW([parameter for name, parameter in named.items() if name not in blocks])
    assert predicted("muon") == kept(muon) + kept(adam)
