"""Models around a language model: the language model and head of the real class, whichever level of the file decides on the tie."""

import json
import logging
import warnings
from typing import Any

import pytest
import torch
import transformers
from transformers import CONFIG_MAPPING
from variations import VOCABULARY, small

from gptcalc.errors import GptcalcError
from gptcalc.spec.files import load_model
from gptcalc.spec.huggingface import FAMILIES
from gptcalc.spec.huggingface.wrappers import WRAPPERS
from gptcalc.table.params import language_model as by_formula

READ = sorted(name for name, wrapper in WRAPPERS.items() if wrapper.text in FAMILIES and name in CONFIG_MAPPING)
CLIP = {"model_type": "clip_vision_model", "num_hidden_layers": 1}
OTHERS: dict[str, dict[str, Any]] = {
    "aya_vision": {"vision_config": {"model_type": "siglip_vision_model", "num_hidden_layers": 1}},
    "fast_vlm": {"vision_config": CLIP},
    "granite4_vision": {"downsample_rate": "4/8", "deepstack_layer_map": [], "spatial_target_layers": []},
}
"""What some classes need of their other models to be built: their own defaults fail, or want a library of images."""
NOT_BUILT = {"perception_lm"}
"""Its tower is a model of timm."""

TIES = [(None, None), (True, False), (False, True), (None, True), (None, False)]


def language_model(model_type: str, config: dict[str, Any]) -> int:
    """The parameters of the real class's language model and head."""
    built = CONFIG_MAPPING[model_type](**{key: value for key, value in config.items() if key != "model_type"})
    with torch.device("meta"):
        model = getattr(transformers, WRAPPERS[model_type].classes[0])(built)
    inner = next(
        part
        for holder in (getattr(model, "model", model), model)
        for name in ("language_model", "text_model")
        if (part := getattr(holder, name, None)) is not None
    )
    parts = [inner, model.get_output_embeddings() or getattr(model, "lm_head", None)]
    return sum({id(p): p.numel() for part in parts if part is not None for p in part.parameters()}.values())


def real(model_type: str, config: dict[str, Any]) -> int | None:
    """None for a config that transformers itself cannot build."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return language_model(model_type, config)
    except Exception:  # whatever transformers raises
        return None
    finally:
        logging.disable(logging.NOTSET)


def variations(model_type: str) -> list[dict[str, Any]]:
    text = WRAPPERS[model_type].text
    found: list[dict[str, Any]] = [{}]
    for seed, (outer, inner) in enumerate(TIES):
        part = small(text, seed) if seed % 2 else {"model_type": text, "num_hidden_layers": 2, "vocab_size": VOCABULARY}
        part.pop("tie_word_embeddings", None)
        part |= {} if inner is None else {"tie_word_embeddings": inner}
        found.append({"text_config": part} | ({} if outer is None else {"tie_word_embeddings": outer}))
    return [{"model_type": model_type} | OTHERS.get(model_type, {}) | config for config in found]


@pytest.mark.parametrize("model_type", READ)
def test_the_language_model_is_exact_or_refused(model_type: str) -> None:
    exact = 0
    for config in variations(model_type):
        expected = real(model_type, json.loads(json.dumps(config)))
        if expected is None:
            continue
        try:
            answer = by_formula(load_model(config)).value
        except GptcalcError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            exact += 1
            assert answer == expected, config
    assert exact or model_type in NOT_BUILT


def test_every_model_around_a_language_model_is_known() -> None:
    """Types, classes and other models are those of transformers."""
    for name, wrapper in WRAPPERS.items():
        parts = CONFIG_MAPPING[name].sub_configs
        assert wrapper.part in parts
        assert not set(wrapper.others) - set(parts) - {"vision_embed_tokens"}
        assert all(hasattr(transformers, known) for known in wrapper.classes)
