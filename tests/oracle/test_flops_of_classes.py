"""Random small configs as files have them: the table's matrix products cost what torch's FLOP counter sees in the real class."""

import json
import re

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode
from variations import CLASSES, fields_of, real_config, small

from gptcalc.errors import GptcalcError
from gptcalc.spec.files import load_model
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.shape import shape_of
from gptcalc.table.operations import operations

BATCH, SEQ = 2, 17
VARIATIONS = 6
WITH_DECODERS = "bart bigbird_pegasus blenderbot blenderbot-small marian mbart mvp pegasus plbart trocr whisper"
OTHERS = "beam electra flint modernbert-decoder rembert roformer"
TOKENS = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id", "cls_token_id", "sep_token_id", "forced_eos_token_id")


def outside_windows(spec: ModelSpec) -> int:
    """Eager attention multiplies each query with all keys and masks those outside its window."""
    return sum(
        kind.n_layer * 2 * BATCH * SEQ * (SEQ - min(SEQ, kind.sliding_window)) * (kind.d_attention + kind.d_mixed)
        for _, kind in shape_of(spec).blocks
        if kind.switches.windowed
    )


@pytest.mark.parametrize("model_type", [*WITH_DECODERS.split(), *OTHERS.split()])
def test_flops_are_those_that_torch_counts(model_type: str) -> None:
    compared = 0
    for seed in range(VARIATIONS):
        config = small(model_type, seed) | {"vocab_size": 300} | {key: 0 for key in TOKENS if key in fields_of(model_type)}
        if model_type == "whisper":
            config["begin_suppress_tokens"] = [0]
        try:
            spec = load_model(json.loads(json.dumps(config)))
            built = real_config(config)
            built._attn_implementation = built._experts_implementation = "eager"
            model = getattr(transformers, CLASSES[model_type])(built).eval()
        except (GptcalcError, ValueError):  # refused, or no model at all
            continue
        tokens = torch.randint(1, 300, (BATCH, SEQ), generator=torch.Generator().manual_seed(1))
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(input_ids=tokens, use_cache=False)
        by_module = counter.get_flop_counts()
        angles = sum(sum(flops.values()) for module, flops in by_module.items() if re.search(r"rotary_emb$", module))
        expected = counter.get_total_flops() - angles
        rows = operations(shape_of(spec), BATCH, SEQ, SEQ)
        assert sum(row.matmul_flops for row in rows) + outside_windows(spec) == expected, config
        compared += 1
    assert compared
