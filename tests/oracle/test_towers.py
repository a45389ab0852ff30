"""Whole models of the wrappers whose towers are known: language model, towers and projector against the real class on the meta device."""

import json
import logging
import random
import warnings
from math import prod
from typing import Any

import pytest
import torch
import transformers
from test_wrappers import OTHERS
from transformers import CONFIG_MAPPING
from variations import VOCABULARY

from gptcalc.errors import GptcalcError
from gptcalc.spec.files import load_model
from gptcalc.spec.huggingface.towers import beside
from gptcalc.spec.huggingface.towers.defaults import OF_TYPE, OUTER
from gptcalc.spec.huggingface.towers.table import AROUND
from gptcalc.spec.huggingface.wrappers import WRAPPERS
from gptcalc.table.params import params

SEEDS = range(4)
FEW = {"num_hidden_layers", "depth", "encoder_layers", "num_layers", "num_global_layers"}
FIXED = {"num_channels", "in_channels", "projector_input_dim", "projector_output_dim", "vocab_size", "d_model", "hidden_dim"}
GIVEN = {"gemma4": {"vision_config": {}, "audio_config": {}}, "llama4": {"vision_config": {}}} | OTHERS


def varied(key: str, value: Any, rng: random.Random) -> Any:
    if isinstance(value, bool):
        return rng.random() < 0.5
    if key in FIXED or not isinstance(value, int) or value < 1:
        return value
    if key in FEW:
        return rng.randint(2, 4)
    if key in ("hidden_size", "embed_dim", "out_hidden_size"):
        return value * rng.choice((1, 2))
    return value * rng.choice((1, 1, 2, 3)) if value < 100 else value + rng.choice((0, 16, 64))


def configs(model_type: str) -> list[dict[str, Any]]:
    text = {"model_type": WRAPPERS[model_type].text, "num_hidden_layers": 2, "vocab_size": VOCABULARY}
    found: list[dict[str, Any]] = [dict(GIVEN.get(model_type, {}))]
    for seed in SEEDS:
        rng = random.Random(seed)
        config: dict[str, Any] = {"text_config": text} if seed % 2 else {}
        for key, kinds in AROUND[model_type].parts.items():
            kind = kinds[seed % len(kinds)]
            config[key] = {name: varied(name, value, rng) for name, value in OF_TYPE[kind].items() if rng.random() < 0.6}
            config[key] |= {"model_type": kind} if kind in CONFIG_MAPPING else {}
        if rng.random() < 0.5:
            config |= {name: varied(name, value, rng) for name, value in OUTER.get(model_type, {}).items()}
        found.append(config)
    return [{"model_type": model_type} | config for config in found]


def real(model_type: str, config: dict[str, Any]) -> tuple[int, int, int, int] | None:
    """Parameters of all and of the language model, and the text's two widths; None for a config that transformers cannot build."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")
            built = CONFIG_MAPPING[model_type](**json.loads(json.dumps({k: v for k, v in config.items() if k != "model_type"})))
            model = getattr(transformers, WRAPPERS[model_type].classes[0])(built)
    except Exception:  # whatever transformers raises
        return None
    finally:
        logging.disable(logging.NOTSET)
    holders = (getattr(model, "model", model), model)
    text = [part for holder in holders for name in ("language_model", "text_model", "lm_head") if (part := getattr(holder, name, None))]
    own = {id(p): p.numel() for part in text for p in part.parameters()}
    inner = built.get_text_config()
    widths = (inner.hidden_size, getattr(inner, "intermediate_size", None) or 0)
    return sum({id(p): p.numel() for p in model.parameters()}.values()), sum(own.values()), *widths


@pytest.mark.parametrize("model_type", sorted(AROUND))
def test_towers_are_exact(model_type: str) -> None:
    """Also of wrappers whose language model is not read: the towers alone."""
    exact = 0
    for config in configs(model_type):
        expected = real(model_type, config)
        if expected is None:
            continue
        whole, text, d_model, d_ff = expected
        found = beside(model_type, config, d_model, d_ff or 4 * d_model, "config")
        if found.why:
            continue
        assert sum(prod(sizes) for tower in found.towers for sizes in tower["tensors"].values()) == whole - text, config
        exact += 1
        try:
            spec = load_model(config)
        except GptcalcError:  # the language model is refused for a reason of its own
            continue
        assert params(spec).value == whole, config
    assert exact
