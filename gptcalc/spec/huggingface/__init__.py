"""Hugging Face config.json files: exact, or refused with the name of the key that is not understood.

One `Family` per model type says, key by key, what transformers' own class does with it (read in its configuration and modeling
code): the class's default, and the spec fields that the value becomes. Every other key of a file must be known to change nothing
that gptcalc computes, with the reason, or the file is refused. A new model type is a new row in a file of `families`, by lineage.

- `handlers`, `rotary`, `layers`, `mixture`: what keys become. `harmless`: the keys that change nothing. `refused`: the classes that are
  refused. `writing`: a config that was read as a preset.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.spec.huggingface.families import FAMILIES
from gptcalc.spec.huggingface.family import Config, Family, Fields, written
from gptcalc.spec.huggingface.harmless import COMMON, HARMLESS
from gptcalc.spec.huggingface.layers import ATTENTION, MLP, settle
from gptcalc.spec.huggingface.refused import REFUSED
from gptcalc.spec.reading import shown


class Imported(NamedTuple):
    """The spec fields of a config, and where each came from."""

    model_type: str
    fields: Fields
    origins: Mapping[str, str]  # field: the key that it came from, where it came from one
    read: Mapping[str, object]  # keys of the file that a field came from
    defaulted: Mapping[str, object]  # keys that the file leaves out, with what the class takes
    ignored: Mapping[str, str]  # keys of the file that change nothing: why


def import_config(data: Mapping[str, Any], *, where: str = "config", name: str = "") -> Fields:
    """The spec fields of a parsed config.json; what the spec derives by default is left out.

    Raises GptcalcError for a model type or a class that gptcalc does not know, and for each key it cannot account for, by name.

    >>> import_config({"model_type": "gpt2", "n_layer": 2})["n_layer"]
    2
    """
    return read_config(data, where=where, name=name).fields


def read_config(data: Mapping[str, Any], *, where: str = "config", name: str = "") -> Imported:
    """The spec fields of a parsed config.json, and an account of every key.

    Raises GptcalcError as `import_config` does.

    >>> read_config({"model_type": "gpt2", "n_layer": 2, "resid_pdrop": 0.1}).ignored["resid_pdrop"]
    'dropout: no weights, no matrix multiplication, and off in inference'
    """
    family = _family(data, where)
    config = Config(_without_aliases(data, family, where), family, where)
    _check_class(config)
    for key in config.data:
        if key not in family.keys and key not in COMMON and key not in HARMLESS and key not in family.harmless:
            raise _unknown(key, config)
    fields: Fields = {"name": _name(data, config, name), "source": "Hugging Face config.json", **family.fixed}
    origins: dict[str, str] = {}
    for key, entry in (*family.keys.items(), *((key, COMMON[key]) for key in COMMON if key in config.data)):
        found = entry.handler(key, config)
        fields |= found
        origins |= dict.fromkeys(found, key)
    return _account(fields, origins, config)


def _account(fields: Fields, origins: dict[str, str], config: Config) -> Imported:
    family, settled = config.family, settle(fields)
    layered = " and ".join(dict.fromkeys(origins[name] for name in (ATTENTION, MLP) if name in origins))
    for name in settled:
        if name not in fields:  # of single layers
            origins[name] = next((origins[part] for part in (ATTENTION, MLP) if name in _set_by(fields.get(part))), layered)
    origins |= {name: family.aliases.get(key, key) for name, key in config.sources.items() if name in origins}
    reasons = {**HARMLESS, **family.harmless, **dict.fromkeys(COMMON, "says what every model here is")}
    return Imported(
        family.model_type,
        settled,
        {name: key for name, key in origins.items() if name in settled and key},
        {key: value for key, value in config.data.items() if key in family.keys or key in origins.values()},
        {key: entry.default for key, entry in family.keys.items() if key not in config.data and key in config},
        {key: reasons[key] for key in config.data if key not in family.keys and key not in origins.values()},
    )


def _set_by(layers: Any) -> set[str]:
    return {name for layer in layers or () for name in layer.fields}


def _family(data: Mapping[str, Any], where: str) -> Family:
    model_type = data.get("model_type")
    if isinstance(model_type, str) and model_type in FAMILIES:
        return FAMILIES[model_type]
    inner = data.get("text_config")
    if isinstance(inner, dict):
        hint = f"its language model is described under text_config (model_type {written(inner.get('model_type'))}): give that part alone"
        raise GptcalcError(f"{where}: model_type {written(model_type)} is not a language model alone", hint=hint)
    if isinstance(model_type, str) and model_type in REFUSED:
        raise GptcalcError(f"{where}: model_type {written(model_type)} is not understood: {REFUSED[model_type]}")
    near = did_you_mean(str(model_type)[:60], FAMILIES, otherwise=f"gptcalc knows {len(FAMILIES)} model types, such as llama and qwen3_moe")
    raise GptcalcError(f"{where}: model_type {written(model_type)} is not one that gptcalc can import exactly", hint=near)


def _without_aliases(data: Mapping[str, Any], family: Family, where: str) -> dict[str, Any]:
    """Under the class's own names: it also accepts a second name for some of its keys."""
    renamed: dict[str, Any] = {}
    for key, value in data.items():
        own = family.aliases.get(key, key)
        if own in renamed and renamed[own] != value:
            raise GptcalcError(f"{where}: {shown(key)} and another name of {own} give {written(value)} and {written(renamed[own])}")
        renamed[own] = value
    return renamed


def _check_class(config: Config) -> None:
    classes = config.data.get("architectures")
    if classes is None or classes == []:
        return
    if not isinstance(classes, list):
        raise config.refuse("architectures", f"must be a list of class names, not {written(classes)}")
    for name in classes:
        if name not in config.family.classes:
            raise config.refuse(
                "architectures", f"names {written(name)}, which has other weights than the language model {config.family.classes[0]}"
            )


def _unknown(key: str, config: Config) -> GptcalcError:
    known = [*config.family.keys, *config.family.aliases]
    hint = did_you_mean(key, known, otherwise="leave it out if it changes neither the weights nor the computation")
    return config.refuse(key, f"is a key that gptcalc does not understand for model_type '{config.data['model_type']}'", hint)


def _name(data: Mapping[str, Any], config: Config, fallback: str) -> str:
    given = data.get("_name_or_path") or data.get("name_or_path") or ""
    if not isinstance(given, str):
        raise config.refuse("_name_or_path", f"must be text, not {written(given)}")
    return shown(given or fallback or str(data["model_type"]))
