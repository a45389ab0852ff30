"""DeepSeek V4: a window of keys that are the values, entries of several tokens behind it, several residual streams."""

from typing import Any

import pytest

import gptcalc as gc
from gptcalc.errors import GptcalcError
from gptcalc.footprint.serving import kv_cache
from gptcalc.spec.files import load_model
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.shape import shape_of
from gptcalc.table.operations import operations

FLASH: dict[str, Any] = {"model_type": "deepseek_v4", "compress_ratios": [0, 0, *[4, 128] * 20, 4]}


def flash(**keys: Any) -> ModelSpec:
    return load_model(FLASH | keys)


def test_published_total() -> None:
    """The class of DeepSeek V4 Flash's file on the meta device; its card says 284B."""
    assert len(flash().layers) == 43
    assert abs(gc.params(flash()).value / 284e9 - 1) < 0.002
    assert gc.params(load_model({"model_type": "deepseek_v4"})).value == 284_325_869_015


def test_what_is_kept_of_a_sequence() -> None:
    """1,000 tokens: 43 windows of 128, 21 layers of 250 entries with their indexers', 20 of 7 entries and 104 tokens that wait."""
    window = 43 * 128 * 512
    sparse = 21 * (512 + 128) * (250 + 4)  # the last entry's half, of 4 tokens, stays for the next
    heavy = 20 * 512 * (7 + 2 * 104)
    gates = 21 * (512 + 128) * 4 * 4  # in fp32
    assert kv_cache(shape_of(flash()), 1, 1000) == 2 * (window + sparse + heavy) + gates


@pytest.mark.parametrize("rate", [4, 128])
def test_queries_read_the_entries_that_are_ready(rate: int) -> None:
    """Of token k, counted from 1, k // rate of them, and of the overlapping ones at most 512."""
    kind = "sparse" if rate == 4 else "heavy"
    rows = {row.path: row for row in operations(shape_of(flash()), 1, 5000, 5000, "causal")}
    most = 512 if rate == 4 else 10**9
    ready = sum(min(k // rate, most) for k in range(1, 5001))
    layers = 21 if rate == 4 else 20
    assert rows[f"block {kind}/attention/compressor/core"].matmul_flops == layers * 2 * ready * 2 * 64 * 512


def test_streams_weigh_what_a_sublayer_reads_and_where_it_adds() -> None:
    one, four = gc.params(flash(hc_mult=2)).value, gc.params(flash()).value
    weights = {m: 43 * 2 * ((2 + m) * m * (m * 4096 + 1) + 3) + m * (m * 4096 + 1) + 1 for m in (2, 4)}
    assert four - one == weights[4] - weights[2]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"compress_ratios": [4, 128]}, "must be a list of 43 kinds"),
        ({"compress_ratios": [7] * 43}, "must be a list of 0, 4 and 128"),
        ({"compress_rates": {"compressed_sparse_attention": 1}}, "whole numbers above one"),
        ({"o_groups": 7}, "does not divide num_attention_heads"),
        ({"hc_mult": 1}, "no number of several streams"),
        ({"index_head_dim": 32}, "is below the 64 channels that turn"),
        ({"mlp_layer_types": ["moe"]}, "must be a list of 43 words"),
        ({"scoring_func": "softmax"}, "scores are roots of softplus"),
    ],
)
def test_files_that_contradict_themselves(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(GptcalcError, match=said):
        flash(**keys)


def test_what_is_not_known_is_refused_by_name() -> None:
    from gptcalc.reference import random_weights

    with pytest.raises(GptcalcError, match="compressed attention, which the forward pass here has not"):
        random_weights(flash(num_hidden_layers=3))
    with pytest.raises(GptcalcError, match="kernels no runtime here has"):
        gc.infer(flash(), device="h200", count=8)
    with pytest.raises(GptcalcError, match="tensor-parallel ranks"):
        gc.memory(flash(), mode="inference", batch=1, seq=1000, tp=8)
    with pytest.raises(GptcalcError, match="does not implement"):
        gc.memory(flash(), batch=1, seq=1000)
