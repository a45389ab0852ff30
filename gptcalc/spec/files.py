"""The door for models: a preset's name, a file, a folder or a mapping becomes a `ModelSpec`, or one clear line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptcalc.errors import GptcalcError
from gptcalc.spec import catalogue
from gptcalc.spec.entries import family_models
from gptcalc.spec.reading import (
    brief,
    check_finite,
    check_mapping,
    check_name,
    parse_yaml,
    quoted,
    read_json,
    read_text,
    read_yaml,
    shown,
)

if TYPE_CHECKING:
    from gptcalc.spec.huggingface import Imported
    from gptcalc.spec.model import ModelSpec


GGUF = ".gguf"


def load_model(
    source: str | os.PathLike[str] | Mapping[str, Any], overrides: Mapping[str, object] | None = None, **fields: object
) -> ModelSpec:
    """The model that `source` names: a preset, a .yaml spec, a Hugging Face config.json or its folder, or a mapping of either kind.

    `overrides`, or the fields by name, replace fields before anything is derived from them; text values are read as YAML (`"true"`,
    `"null"`, `"300B"`).
    Raises GptcalcError, in one line, for everything that is not a model gptcalc understands exactly.

    >>> load_model("gpt3", {"n_layer": "48"}).name
    'gpt3-175b (n_layer=48)'
    >>> load_model("gpt2", n_layer=3).n_layer
    3
    """
    from gptcalc.spec.model import parse_model

    found, where = _fields(source)
    if overrides is not None and not isinstance(overrides, Mapping):
        raise GptcalcError(f"overrides are a mapping of fields to values, not {quoted(overrides)}", hint='as {"n_layer": 24}')
    if changed := {**(overrides or {}), **fields}:
        found = _overridden(found, changed)
    try:
        check_name(found.get("name"))
        return parse_model(found)
    except GptcalcError as error:
        raise GptcalcError(f"{where}: {error}" if where else str(error), hint=error.hint) from None


def as_model(model: ModelSpec | str | os.PathLike[str] | Mapping[str, Any]) -> ModelSpec:
    """A spec as it is, anything else through `load_model`.

    >>> as_model("gpt2").d_model
    768
    """
    from gptcalc.spec.model import ModelSpec

    return model if isinstance(model, ModelSpec) else load_model(model)


def _fields(source: object) -> tuple[dict[str, Any], str]:
    """Fields of the spec, and the file to name in errors about them."""
    if isinstance(source, Mapping):
        return _from_mapping(check_mapping(dict(source), "mapping"), "", name="")
    if isinstance(source, os.PathLike):
        return _from_path(os.fspath(source))
    if not isinstance(source, str):
        raise GptcalcError(f"a model is a name, a path or a mapping, not {type(source).__name__}")
    preset = catalogue.look_up(source)
    if preset is not None:
        fields, path = preset
        return _without_aliases(fields), "" if path.is_relative_to(catalogue.bundled_folder()) else shown(path)
    if catalogue.is_path(source):
        return _from_path(source)
    error = catalogue.unknown(source)
    if source.isprintable() and os.path.isdir(source):
        raise GptcalcError(str(error), hint=f"for the folder here write '.{os.sep}{source}'")
    raise error


def _without_aliases(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != "aliases"}


def _from_path(path: str) -> tuple[dict[str, Any], str]:
    if isinstance(path, str) and path.lower().endswith(GGUF):
        from gptcalc.spec.gguf import import_gguf

        path = os.path.expanduser(path)
        return import_gguf(path, _stem(path)), shown(path)
    text, path = _text_of(path)
    where = shown(path)
    json_file = path.lower().endswith(".json")
    data = read_json(text, where) if json_file else read_yaml(text, where)
    if "model_type" not in data:
        if json_file and not {"d_model", "n_layer"} <= data.keys():
            raise _not_a_config(data, where)
        check_finite(data, where)
    return _from_mapping(_with_quantization(data, path), where, name=_stem(path))


def _text_of(path: str) -> tuple[str, str]:
    """The text of a file, or of the config.json of a folder, and that file's path."""
    if not isinstance(path, str):
        raise GptcalcError(f"{shown(path)}: is not a path in text")
    path = os.path.expanduser(path)
    where = shown(path)
    try:
        is_folder = os.path.isdir(path)
    except ValueError:
        is_folder = False
    if is_folder:
        path = os.path.join(path, "config.json")
        if not os.path.exists(path):
            raise GptcalcError(f"{where}: this folder has no config.json")
    elif not path.lower().endswith(catalogue.SUFFIXES):
        hint = None if os.path.lexists(path) else catalogue.unknown(path).hint
        missing = "is neither a .yaml nor a .json file, nor a folder" if hint is None else "no such file, and no preset of that name"
        raise GptcalcError(f"{where}: {missing}", hint=hint)
    return read_text(path), path


def _stem(path: str) -> str:
    """A name for a model whose file gives none."""
    return Path(path).resolve().parent.name if Path(path).name == "config.json" else Path(path).stem


def read_config_file(path: str) -> Imported:
    """A config.json, or the folder that holds one, with an account of every key.

    Raises GptcalcError, in one line, for everything that is not a config gptcalc understands exactly.
    """
    from gptcalc.spec.huggingface import read_config

    text, path = _text_of(path)
    where = shown(path)
    data = read_json(text, where)
    if "model_type" not in data:
        raise _not_a_config(data, where)
    return read_config(_with_quantization(data, path), where=where, name=_stem(path))


def _with_quantization(data: dict[str, Any], path: str) -> dict[str, Any]:
    """A folder's config with the quantization that a file beside it says.

    Raises GptcalcError where the two contradict.
    """
    if Path(path).name != "config.json" or "model_type" not in data:
        return data
    from gptcalc.spec.huggingface.quantization import BESIDE, with_beside

    for name in BESIDE:
        beside = os.path.join(os.path.dirname(path), name)
        if os.path.exists(beside):
            data = with_beside(data, read_json(read_text(beside), shown(beside)), name, shown(path))
    return data


def _not_a_config(data: Mapping[str, Any], where: str) -> GptcalcError:
    if "quantization" in data or "quant_method" in data:
        hint = "name it hf_quant_config.json beside the model's config.json, and give their folder"
        return GptcalcError(f"{where}: describes a quantization, not a model", hint=hint)
    if "tokenizer_class" in data or "added_tokens_decoder" in data:
        return GptcalcError(f"{where}: describes a tokenizer, not a model", hint="the model's own file is config.json")
    return GptcalcError(f"{where}: has no 'model_type', so it is not a Hugging Face model config")


def _from_mapping(data: dict[str, Any], where: str, *, name: str) -> tuple[dict[str, Any], str]:
    if "model_type" in data:
        from gptcalc.spec.huggingface import import_config

        return import_config(data, where=where or "config", name=name), where
    models = family_models(data, where or "mapping", default_name=name or "unnamed")
    if len(models) > 1:
        listed = ", ".join(shown(model["name"]) for model in models[:8])
        hint = "put its folder in GPTCALC_PRESETS and use their names"
        raise GptcalcError(f"{where or 'mapping'}: holds {len(models)} models ({listed})", hint=hint)
    return _without_aliases(models[0]), where  # a preset's file may be given by its path too


def _overridden(fields: dict[str, Any], overrides: Mapping[str, object]) -> dict[str, Any]:
    from gptcalc.spec.model import ModelSpec, unknown_field

    values: dict[str, object] = {}
    for key, given in overrides.items():
        if key not in ModelSpec.model_fields:
            raise unknown_field(str(key))
        values[key] = parse_yaml(given, key) if isinstance(given, str) and key not in ("name", "family", "source") else given
    if fields.get("towers") and "d_model" in values and "towers" not in values:
        raise GptcalcError(
            "d_model is also the width of the projectors of this model's towers, which would keep theirs",
            hint="change it in the model's config.json, projector and all",
        )
    changed = ", ".join(f"{key}={brief(given)}" for key, given in overrides.items())
    # The published totals are those of the model as it was.
    kept = {key: value for key, value in fields.items() if key != "published"}
    return {**kept, "name": f"{fields.get('name', '')} ({changed})".strip(), **values}
