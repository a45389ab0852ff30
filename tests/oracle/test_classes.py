"""Random small configs as files have them, with every weight random: the table's matrix products cost what torch's FLOP counter sees in the
real class, the NumPy forward pass gives its logits, and token by token those of the whole pass, from a cache of the bytes that are said.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode
from variations import CLASSES, fields_of, real_config, small

from gptcalc.errors import GptcalcError
from gptcalc.footprint.serving import kv_cache
from gptcalc.reference import Cache, forward, load_state_dict
from gptcalc.spec.files import load_model
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.shape import shape_of
from gptcalc.table.operations import operations

BATCH, SEQ = 2, 17
VARIATIONS = 3
WITH_DECODERS = "bart bigbird_pegasus blenderbot blenderbot-small marian mbart mvp pegasus plbart trocr whisper"
OTHERS = "beam electra flint modernbert-decoder rembert roformer"
TOKENS = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id", "cls_token_id", "sep_token_id", "forced_eos_token_id")


INDEXED = "deepseek_v32 glm_moe_dsa"
SHARING = "gemma4_text gemma4_unified_text"
BLOCKS = "minimax_m3_vl_text"
STREAMS = "axk2 deepseek_v4 hy_v4"
UNEXECUTED = ("beam", "blenderbot-small", "axk2", "deepseek_v4", "hy_v4")
NO_CHECKPOINTS = ("electra", "modernbert-decoder", "rembert", "roformer")  # whose tensors' names are not known
COUNTED = f"{WITH_DECODERS} {OTHERS} {INDEXED} {SHARING} {BLOCKS} {STREAMS}".split()
EXECUTED = [name for name in COUNTED if name not in UNEXECUTED + NO_CHECKPOINTS]

V4_KINDS = ("sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention")

PATTERN: dict[str, Any] = {
    **{"num_hidden_layers": 4, "layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": 5},
    **{"num_kv_shared_layers": 2, "use_double_wide_mlp": True, "attention_k_eq_v": True, "global_head_dim": 32},
}

SETTINGS: dict[str, dict[str, Any]] = {
    "whisper": {"begin_suppress_tokens": [0]},
    "gemma4_unified_text": PATTERN,
    "minimax_m3_vl_text": {"num_hidden_layers": 2, "layer_types": ["minimax_m3_sparse", "full_attention"], "mlp_layer_types": None}
    | {"index_topk_blocks": 2, "index_head_dim": 32, "index_n_heads": 1, "index_block_size": 4, "head_dim": 32},
    "gemma4_text": PATTERN
    | {"hidden_size_per_layer_input": 5, "vocab_size_per_layer_input": 300, "enable_moe_block": True, "num_experts": 4}
    | {"top_k_experts": 2, "moe_intermediate_size": 11},
    **{
        name: {"index_topk": 6, "index_head_dim": 64, "index_n_heads": 8, "layer_types": None}
        for name in ("deepseek_v32", "glm_moe_dsa", "axk2", "hy_v4")
    },
    "deepseek_v4": {"num_hidden_layers": 3, "layer_types": list(V4_KINDS), "compress_rates": dict(zip(V4_KINDS[1:], (3, 4), strict=True))}
    | {"mlp_layer_types": None, "index_topk": 2, "index_head_dim": 16, "index_n_heads": 3, "head_dim": 32, "o_groups": 1, "o_lora_rank": 10}
    | {"q_lora_rank": 12, "partial_rotary_factor": 0.25, "sliding_window": 5, "mlp_bias": False},
}


def unseen(spec: ModelSpec) -> int:
    """Eager attention multiplies each query with all keys and masks those outside its window, or that no indexer has chosen."""
    total = 0
    for _, kind in shape_of(spec).blocks:
        if kind.switches.compressed and kind.switches.indexer:
            made = SEQ // kind.compression
            total += kind.n_layer * 2 * BATCH * SEQ * (made - min(made, kind.n_chosen)) * 2 * kind.d_attention
        reach = kind.sliding_window if kind.switches.windowed else kind.n_chosen if kind.switches.indexed else SEQ
        total += kind.n_layer * 2 * BATCH * SEQ * (SEQ - min(SEQ, reach)) * (kind.d_attention + kind.d_mixed)
    return total


def pairs(model_type: str) -> Iterator[tuple[ModelSpec, torch.nn.Module]]:
    """Specs and real models of random small configs; those that are refused, or are no model at all, are left out."""
    for seed in range(VARIATIONS):
        config = small(model_type, seed) | {"vocab_size": 300} | {key: 0 for key in TOKENS if key in fields_of(model_type)}
        config |= SETTINGS.get(model_type, {})
        try:
            spec = load_model(json.loads(json.dumps(config)))
            built = real_config(config)
            built._attn_implementation = built._experts_implementation = "eager"
            model = getattr(transformers, CLASSES[model_type])(built).eval().double()
        except (GptcalcError, ValueError):
            continue
        torch.manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(torch.randn_like(parameter) * (0.2 if parameter.ndim > 1 else 0.3) + ("norm" in name))
        yield spec, model


def random_tokens() -> torch.Tensor:
    return torch.randint(1, 300, (BATCH, SEQ), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("model_type", COUNTED)
def test_flops_are_those_that_torch_counts(model_type: str) -> None:
    compared = 0
    for spec, model in pairs(model_type):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(input_ids=random_tokens(), use_cache=False)
        by_module = counter.get_flop_counts()
        angles = sum(sum(flops.values()) for module, flops in by_module.items() if re.search(r"rotary_emb$", module))
        rows = operations(shape_of(spec), BATCH, SEQ, SEQ)
        assert sum(row.matmul_flops for row in rows) + unseen(spec) == counter.get_total_flops() - angles
        compared += 1
    assert compared


@pytest.mark.parametrize("model_type", EXECUTED)
def test_logits_are_those_of_the_class_and_step_by_step_those_of_the_whole(model_type: str) -> None:
    compared = 0
    for spec, model in pairs(model_type):
        tokens = random_tokens()
        with torch.no_grad():
            expected = model(input_ids=tokens, use_cache=False).logits.numpy()
        weights = load_state_dict(spec, model.state_dict(), np.float64)
        whole = forward(spec, weights, tokens.numpy())
        assert np.abs(expected).max() > 1, "the comparison is of numbers far from zero"
        assert np.abs(whole - expected).max() < 1e-4
        cache = Cache(spec)
        steps = [forward(spec, weights, tokens.numpy()[:, :5], cache=cache)]
        steps += [forward(spec, weights, tokens.numpy()[:, at : at + 1], cache=cache) for at in range(5, SEQ)]
        assert np.abs(np.concatenate(steps, axis=1) - whole).max() < 1e-9
        assert cache.size == kv_cache(shape_of(spec), BATCH, SEQ, kv_bits=64)
        compared += 1
    assert compared
