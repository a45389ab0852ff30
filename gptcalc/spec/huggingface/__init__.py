"""Hugging Face config.json files: exact, or refused with the name of the key that is not understood.

One `Family` per model type says, key by key, what transformers' own class does with it (read in its configuration and modeling
code): the class's default, and the spec fields that the value becomes. A key that the class reads is understood, known to change nothing
that gptcalc computes, with the reason, or the file is refused. A key that the class does not read cannot change what it builds: it is
listed. A new model type is a new row in a file of `families`, by lineage.

- `handlers`, `rotary`, `layers`, `mixture`: what keys become. `harmless`: the keys that change nothing. `refused`: the classes that are
  refused. `wrappers`: models around a language model. `writing`: a config that was read as a preset.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.spec.huggingface.families import FAMILIES
from gptcalc.spec.huggingface.family import Config, Family, Fields, Unread, same_class, written
from gptcalc.spec.huggingface.harmless import COMMON, GENERIC, HARMLESS
from gptcalc.spec.huggingface.layers import ATTENTION, MLP, settle
from gptcalc.spec.huggingface.refused import REFUSED
from gptcalc.spec.huggingface.wrappers import WRAPPERS, Part, language_model
from gptcalc.spec.reading import DEEPEST, shown

A_SLIP = 0.85
"""How alike two names are of which one may be the other misspelt: keys and model types of a lineage are alike, and say other things."""

MOST_SLIPS = 20
"""Of so many unread keys at most it is asked whether they are misspelt."""


class Imported(NamedTuple):
    """The spec fields of a config, and where each came from."""

    model_type: str
    fields: Fields
    origins: Mapping[str, str]  # field: the key that it came from, where it came from one
    read: Mapping[str, object]  # keys of the file that a field came from
    defaulted: Mapping[str, object]  # keys that the file leaves out, with what the class takes
    ignored: Mapping[str, str]  # keys of the file that the class knows and that change nothing: why
    unread: Mapping[str, str]  # keys of the file that the class does not read: what they say against what it builds, or ""
    left_out: tuple[str, ...]  # the models of a file around its language model


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
    >>> list(read_config({"model_type": "gpt2", "n_layers": 2}).unread)
    ['n_layers']
    """
    part = language_model(data, where)
    family, notes = _family(part, data)
    config = Config(_without_aliases(part.config, family, part.where), family, part.where)
    if part.config is data:  # the class of a part follows from its model type
        _check_class(config)
    _check_experts(config)
    fields: Fields = {"name": "", "source": "Hugging Face config.json", **family.fixed}
    origins: dict[str, str] = {}
    for key, entry in (*family.keys.items(), *((key, COMMON[key]) for key in COMMON if key in config.data)):
        if key in config.data:
            _check_nested(config.data[key], key, config)
        found = _read(key, entry.handler, config)
        fields |= found
        origins |= dict.fromkeys(found, key)
    for key in config.data:
        if key not in family.keys and key not in COMMON and key not in HARMLESS and key not in family.harmless:
            if key in GENERIC:
                GENERIC[key](key, config)
            if not key.isprintable():
                raise config.refuse(key, "is no name of a key")
            config.unread[shown(key)] = ""
    around, images, left_out, why = _around(part, fields, where)
    told: Fields = {
        "own_code": part.own_code,
        "left_out": left_out,
        "towers": around,
        "images": images,
        "unread": tuple(config.unread),
        "notes": (*notes, *why, *_slips(config)),
    }
    fields["name"] = _name(data, left_out, where, name)
    return _account(fields | {name: value for name, value in told.items() if value}, origins, config, left_out)


def _around(part: Part, fields: Fields, where: str) -> tuple[tuple[Fields, ...], Fields | None, tuple[str, ...], list[str]]:
    """The towers of a file, how pictures are cut for them, what of it stays left out, and a note where there are towers that are not
    known."""
    if part.around is None:
        return (), None, part.left_out, []
    from gptcalc.spec.huggingface.towers import beside

    model_type, data = part.around
    d_model: Any = fields["d_model"]
    d_ff: Any = fields.get("d_ff") or 4 * d_model
    found = beside(model_type, data, d_model, d_ff, where)
    unknown = tuple(entry for entry in part.left_out if entry.partition(" ")[0] not in found.keys)
    if unknown and not found.why:  # a part of the whole is neither the language model nor the whole
        return (), None, part.left_out, []
    return (
        found.towers,
        found.images,
        unknown,
        [f"not counted beside the language model: {found.why}"] if found.why and part.left_out else [],
    )


def _read(key: str, handler: Any, config: Config) -> Fields:
    """What a key becomes; nothing where the class does not read it, whatever the file says there."""
    try:
        found: Fields = handler(key, config)
    except GptcalcError as error:
        if not isinstance(handler, Unread) or handler.unless(config.family) or key not in config.data or key in GENERIC:
            raise
        config.unread[key] = str(error).removeprefix(f"{config.where}: {shown(key)} ")
        return {}
    return found


def _check_nested(value: object, key: str, config: Config, depth: int = 0) -> None:
    """What stands inside a key that is read: mappings with keys of text, as JSON has them, and no deeper than any file."""
    if depth > DEEPEST:
        raise config.refuse(key, f"is nested too deeply (more than {DEEPEST} levels)")
    if isinstance(value, dict):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise config.refuse(key, f"has the key {written(name)}, which is not text")
            if name not in HARMLESS:  # labels are numbered, in mappings that were never JSON
                _check_nested(inner, key, config, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check_nested(inner, key, config, depth + 1)


def _account(fields: Fields, origins: dict[str, str], config: Config, left_out: tuple[str, ...]) -> Imported:
    family, settled = config.family, settle(fields)
    layered = " and ".join(dict.fromkeys(origins[name] for name in (ATTENTION, MLP) if name in origins))
    for name in settled:
        if name not in fields:  # of single layers
            origins[name] = next((origins[part] for part in (ATTENTION, MLP) if name in _set_by(fields.get(part))), layered)
    origins |= {name: family.aliases.get(key, key) for name, key in config.sources.items() if name in origins}
    reasons = {**HARMLESS, **family.harmless, **dict.fromkeys(COMMON, "says what every model here is")}
    given = {key: value for key, value in config.data.items() if shown(key) not in config.unread}
    return Imported(
        family.model_type,
        settled,
        {name: key for name, key in origins.items() if name in settled and key},
        {key: value for key, value in given.items() if key in family.keys or key in origins.values()},
        {key: entry.default for key, entry in family.keys.items() if key not in config.data and key in config},
        {key: reasons[key] for key in given if key not in family.keys and key not in origins.values()},
        dict(config.unread),
        left_out,
    )


def _set_by(layers: Any) -> set[str]:
    return {name for layer in layers or () for name in layer.fields}


def _family(part: Part, data: Mapping[str, Any]) -> tuple[Family, list[str]]:
    """The family of a language model, and a note where its model type is no class of transformers and its `architectures` names one."""
    model_type = part.config.get("model_type")
    if isinstance(model_type, str) and model_type in FAMILIES:
        return FAMILIES[model_type], []
    its = "" if part.config is data else "its language model's "
    if isinstance(model_type, str) and model_type in REFUSED:
        raise GptcalcError(f"{part.where}: {its}model_type {written(model_type)} is not understood: {REFUSED[model_type]}")
    known = _named_class(part.config.get("architectures")) if isinstance(model_type, str) else None
    if known is not None:
        return known, [f"no class of transformers has model_type {written(model_type)}: read as {known.classes[0]}, which the file names"]
    message = f"{part.where}: {its}model_type {written(model_type)} is not one that gptcalc can import exactly"
    for key in ("text_config", "llm_config", "language_config"):
        if isinstance(part.config.get(key), dict):
            raise GptcalcError(f"{message}: it is a model around a language model, and no class of transformers reads its {key}")
    near = _near(str(model_type), FAMILIES)
    known_types = f"gptcalc knows {len(FAMILIES) + len(WRAPPERS)} model types, such as llama and qwen3_moe"
    raise GptcalcError(message, hint=f"did you mean '{near}'?" if near else known_types)


def _near(word: str, known: Iterable[str]) -> str | None:
    """The name that another may be misspelt from: names of other numbers, or of more words, are of other things."""
    from difflib import get_close_matches  # here: few files need it

    word = word[:60].lower()
    alike = [name for name in known if _told_apart(name) == _told_apart(word)]
    return next(iter(get_close_matches(word, alike, n=1, cutoff=A_SLIP)), None)


def _told_apart(name: str) -> tuple[list[str], int]:
    return re.findall(r"\d+", name), name.count("_")


def _named_class(classes: object) -> Family | None:
    """The family of the one class that `architectures` names; where several have the class, the first of them is its own."""
    if not isinstance(classes, list) or len(classes) != 1:
        return None
    return next((family for family in FAMILIES.values() if same_class(classes[0], family.classes[0])), None)


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
        if not any(same_class(name, known) for known in config.family.classes):
            raise config.refuse(
                "architectures", f"names {written(name)}, which has other weights than the language model {config.family.classes[0]}"
            )


def _check_experts(config: Config) -> None:
    """A dense model's file under the model type of a mixture: each key of the experts would be the class's default."""
    own = [key for key in (*config.family.keys, *config.family.aliases) if "expert" in key or "moe" in key]
    if {"hybrid_override_pattern", "layers_block_type"} & config.data.keys():
        return  # which says that no layer has any
    if own and {"num_hidden_layers", "hidden_size", "intermediate_size"} <= config.data.keys() and not {*own} & config.data.keys():
        raise config.refuse(
            "model_type", f"{written(config.family.model_type)} has experts, and the file says nothing of them: no {own[0]}"
        )


def _slips(config: Config) -> Iterator[str]:
    """Keys that may be misspelt: near to one that the class has and the file leaves out."""
    missing = [key for key in config.family.keys if key not in config.data and key in config]
    for key in list(config.unread)[:MOST_SLIPS]:
        near = _near(key, missing)
        if near is not None:
            yield f"{shown(key)} is not read: did you mean '{near}'?"


def _name(data: Mapping[str, Any], left_out: tuple[str, ...], where: str, fallback: str) -> str:
    """As the file says, less the folders of the machine that it was on; of a model that is left without its others, with their names."""
    for key in ("_name_or_path", "name_or_path"):
        if not isinstance(data.get(key) or "", str):
            raise GptcalcError(f"{where}: {key} must be text, not {written(data[key])}")
    given = str(data.get("_name_or_path") or data.get("name_or_path") or "").strip()
    if given.startswith(("/", ".", "~")) or "\\" in given or given.count("/") > 1:
        given = given.replace("\\", "/").rstrip("/").rpartition("/")[2].strip(".~")
    name = shown(given or fallback or str(data["model_type"]))
    names = ", ".join(entry.partition(" ")[0] for entry in left_out)
    return f"{name} (language model; left out: {names})" if names else name
