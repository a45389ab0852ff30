"""Every causal language model class of transformers: its default config and random small ones have the real class's parameters, or are
refused. A wrong count is the one thing that must never happen.

Each config is read twice: as a person writes it, with the keys that matter, and as `to_dict()` writes it, with all its defaults.
"""

import functools
import json
import logging
import warnings
from typing import Any

import pytest
import transformers
from variations import CLASSES, PARTS, count, fields_of, real_config, small

from gptcalc.errors import GptcalcError
from gptcalc.spec.files import load_model
from gptcalc.spec.huggingface import FAMILIES
from gptcalc.spec.huggingface.family import ABSENT
from gptcalc.spec.huggingface.refused import REFUSED
from gptcalc.spec.huggingface.wrappers import WRAPPERS
from gptcalc.spec.shape import shape_of
from gptcalc.table.params import params

ALONE = [name for name in (*CLASSES, *PARTS) if name not in WRAPPERS]
"""Models around a language model are read for that model, and held against it in test_wrappers.py."""
KNOWN = sorted(set(FAMILIES) & {*CLASSES, *PARTS})
VARIATIONS = 6
EXACT_CLASSES = 149
"""How many classes are read exactly: a floor that only rises."""


def ours(config: dict[str, Any]) -> int | GptcalcError:
    try:
        total: int = params(load_model(json.loads(json.dumps(config)))).value
    except GptcalcError as error:
        return error
    return total


def real(config: dict[str, Any]) -> tuple[dict[str, Any], int] | None:
    """What `to_dict()` writes and what the class holds; None for a config that transformers itself cannot build."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            built = real_config(config)
            written = built.to_dict()
            return written, count(config["model_type"], built)
    except Exception:  # whatever transformers raises
        return None
    finally:
        logging.disable(logging.NOTSET)


@functools.cache
def outcomes(model_type: str) -> tuple[tuple[dict[str, Any], int | GptcalcError, int], ...]:
    """Each config as it was given, what gptcalc says of it and what the real class holds."""
    found = []
    for config in [{"model_type": model_type}, *(small(model_type, seed) for seed in range(VARIATIONS))]:
        expected = real(config)
        if expected is not None:
            written, total = expected
            found += [(form, ours(form), total) for form in (config, written)]
    return tuple(found)


@pytest.mark.parametrize("model_type", ALONE)
def test_the_count_is_exact_or_refused(model_type: str) -> None:
    for config, answer, total in outcomes(model_type):
        if isinstance(answer, GptcalcError):
            assert str(answer)
            assert "\n" not in str(answer)
        else:
            assert answer == total, config


@pytest.mark.parametrize("model_type", KNOWN)
def test_a_known_class_is_read(model_type: str) -> None:
    """Its own defaults are exact, or where transformers cannot build those some variation is."""
    answers = [answer for _, answer, _ in outcomes(model_type)]
    assert any(not isinstance(answer, GptcalcError) for answer in answers)


def test_how_many_classes_are_exact() -> None:
    exact = [
        name for name in CLASSES if name not in WRAPPERS and any(not isinstance(answer, GptcalcError) for _, answer, _ in outcomes(name))
    ]
    assert len(exact) >= EXACT_CLASSES


def test_every_class_is_known_or_refused_by_name() -> None:
    new = sorted(set(CLASSES) - set(FAMILIES) - set(REFUSED) - set(WRAPPERS))
    assert not new, f"transformers {transformers.__version__} has classes that are neither read nor refused: {', '.join(new)}"
    assert not set(FAMILIES) & set(REFUSED)
    assert not set(WRAPPERS) & (set(FAMILIES) | set(REFUSED))
    assert set(FAMILIES) <= {*CLASSES, *PARTS}, "every family is held against a real class"


@pytest.mark.parametrize("model_type", sorted(REFUSED))
def test_refusal_names_the_model_type(model_type: str) -> None:
    with pytest.raises(GptcalcError, match=model_type):
        load_model({"model_type": model_type})


@pytest.mark.parametrize("model_type", KNOWN)
def test_defaults_are_the_classes_own(model_type: str) -> None:
    """What a file leaves out is what the class takes: the shortest config and the fullest one have the same numbers and switches."""
    expected = real({"model_type": model_type})
    if expected is None:
        pytest.skip("the class's own defaults build no model")
    try:
        full = load_model(expected[0])
    except GptcalcError:
        with pytest.raises(GptcalcError):
            load_model({"model_type": model_type})
    else:
        assert shape_of(load_model({"model_type": model_type})) == shape_of(full)


ANGLES = {"rope_parameters", "rope_scaling", "rope_theta", "partial_rotary_factor", "rotary_emb_base", "rotary_pct"}


@pytest.mark.parametrize("model_type", KNOWN)
def test_declared_defaults_are_the_classes_own(model_type: str) -> None:
    """Key by key, also where the class's own defaults build no model; the angles are compared by the test above."""
    family = FAMILIES[model_type]
    declared = {family.aliases.get(key, key): default for key, default in fields_of(model_type).items()}
    built = real({"model_type": model_type})
    written = {family.aliases.get(key, key): value for key, value in (built[0] if built else {}).items()}
    differ = {
        key: (entry.default, declared[key])
        for key, entry in family.keys.items()
        if key in declared and entry.default is not ABSENT and key not in ANGLES
        if not any(key in known and entry.default == known[key] for known in (declared, written))
    }
    assert not differ
