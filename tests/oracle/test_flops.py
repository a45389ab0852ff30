"""Real implementations under torch's FLOP counter: the matrix products of the NumPy forward pass cost as much, to the last FLOP."""

import re

import pytest
import torch
from families import FAMILIES, oracle, random_tokens
from torch.utils.flop_counter import FlopCounterMode

from gptcalc.reference import Tally, forward, load_state_dict
from gptcalc.spec.shape import shape_of


@pytest.mark.parametrize("family", FAMILIES)
def test_matmul_flops_are_those_that_torch_counts(family: str) -> None:
    model, spec = oracle(family)
    tokens = random_tokens()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(input_ids=tokens, use_cache=False)
    # transformers computes the angles of rotary positions with an outer product; gptcalc counts no tables
    by_module = counter.get_flop_counts()
    angles = sum(sum(flops.values()) for module, flops in by_module.items() if re.search(r"rotary_emb$|rotary_embs\.\d+$", module))
    tally = Tally()
    forward(spec, load_state_dict(spec, model.state_dict()), tokens.numpy(), tally)
    # Llama 4's code multiplies what it does not need: the experts that no score chose, by zeros
    idle = 5 - 2 if family == "llama4" else 0
    zeros = idle * tokens.numel() * 3 * 2 * 60 * 53
    # eager attention multiplies each query with all keys and masks those outside its window
    batch, seq = tokens.shape
    outside = sum(
        kind.n_layer * 2 * batch * seq * (seq - min(seq, kind.sliding_window)) * (kind.d_attention + kind.d_mixed)
        for _, kind in shape_of(spec).blocks
        if kind.switches.windowed
    )
    assert sum(tally.matmul.values()) == counter.get_total_flops() - angles - zeros - outside
