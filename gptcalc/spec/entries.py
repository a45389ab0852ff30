"""What a preset file holds: entries under a key of their kind, each with a name and aliases over what all of them share.

Names are compared without case, and `_` and spaces count as `-`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.spec.reading import check_name, read_yaml, shown


def folded(name: str) -> str:
    """A name as it is compared.

    >>> folded("GPT_2 XL")
    'gpt-2-xl'
    """
    return name.strip().lower().replace("_", "-").replace(" ", "-")


def called(entry: dict[str, Any]) -> set[str]:
    """The name of an entry and its aliases, as they are compared: a repository's with and without its organisation.

    >>> sorted(called({"name": "mine", "aliases": ("Me/Mine_8B",)}))
    ['me/mine-8b', 'mine', 'mine-8b']
    """
    words = [folded(word) for word in (entry["name"], *entry["aliases"])]
    return {*words, *(word.rpartition("/")[2] for word in words)}


def named(fields: dict[str, Any], where: str) -> dict[str, Any]:
    """The fields of an entry with its aliases as a tuple.

    Raises GptcalcError where a name or an alias is no text.

    >>> named({"name": "a", "aliases": ["b"]}, "mine.yaml")
    {'name': 'a', 'aliases': ('b',)}
    """
    other = fields.pop("aliases", None) or []
    if not isinstance(fields["name"], str) or not folded(fields["name"]):
        raise GptcalcError(f"{where}: 'name' must be text")
    if not isinstance(other, list) or not all(isinstance(name, str) for name in other):
        raise GptcalcError(f"{where}: 'aliases' must be a list of names")
    for name in (fields["name"], *other):
        check_name(name, f"{where}: ")
    return {**fields, "aliases": tuple(other)}


def family_models(data: dict[str, Any], where: str, *, default_name: str) -> list[dict[str, Any]]:
    """The fields of each model that a preset file holds, with its name and its aliases. A model's notes come before those of all.

    A model that is `like` another of its file has that one's fields, except its aliases, under its own. What is `around` it, as a
    wrapper's config.json says it, becomes its towers.
    Raises GptcalcError where the parts of a family file are not what they should be.

    >>> family_models({"shared": {"d_model": 64}, "models": {"a": {"n_layer": 2}}}, "mine.yaml", default_name="mine")
    [{'d_model': 64, 'n_layer': 2, 'name': 'a', 'aliases': ()}]
    """
    if "models" not in data:
        return [_with_towers(named({"name": default_name, **data}, where), where)]
    for key in data:
        if key not in ("family", "source", "shared", "models"):
            raise GptcalcError(f"{where}: unknown key '{shown(key)}'", hint=did_you_mean(key, ["family", "source", "shared", "models"]))
    shared, models = data.get("shared") or {}, data["models"]
    if not isinstance(shared, dict) or not isinstance(models, dict) or not models:
        raise GptcalcError(f"{where}: 'shared' and 'models' must be mappings, and 'models' must hold one")
    about: dict[str, Any] = {key: data[key] for key in ("family", "source") if key in data}
    found = []
    for name, fields in models.items():
        if not isinstance(name, str) or not isinstance(fields, dict):
            raise GptcalcError(f"{where}: the model '{shown(str(name))}' must be a name with a mapping of fields")
        fields = _with_those_it_is_like(fields, models, where)
        own = {**about, **shared, **fields, "name": name}
        if isinstance(shared.get("notes"), list) and isinstance(fields.get("notes"), list):
            own["notes"] = fields["notes"] + shared["notes"]
        found.append(named(own, where))
    return [_with_towers(one, where) for one in found]


def _with_towers(fields: dict[str, Any], where: str) -> dict[str, Any]:
    """What stands around a model, which its file says as a wrapper's config.json does, tensor by tensor."""
    if "around" not in fields:
        return fields
    from gptcalc.spec.huggingface.towers import beside

    own = {name: value for name, value in fields.items() if name != "around"}
    data, width, inner = fields["around"], own.get("d_model"), own.get("d_ff")
    if not isinstance(data, dict) or not isinstance(width, int) or "towers" in own:
        raise GptcalcError(f"{where}: 'around' must be a mapping, beside a d_model and in the place of towers")
    found = beside(str(data.get("model_type")), data, width, inner if isinstance(inner, int) else 4 * width, f"{where}: around")
    if found.why:
        raise GptcalcError(f"{where}: around: {found.why}")
    return own | {"towers": found.towers} | ({"images": found.images} if found.images else {})


def _with_those_it_is_like(fields: dict[str, Any], models: dict[str, Any], where: str) -> dict[str, Any]:
    if "like" not in fields:
        return fields
    other = models.get(fields["like"]) if isinstance(fields["like"], str) else None
    if not isinstance(other, dict) or "like" in other:
        known = [name for name, entry in models.items() if isinstance(entry, dict) and "like" not in entry]
        raise GptcalcError(f"{where}: no model '{shown(str(fields['like']))}' to be like", hint=did_you_mean(str(fields["like"]), known))
    return {key: value for key, value in {**other, **fields}.items() if key != "like" and (key != "aliases" or "aliases" in fields)}


def entries_of(text: str, where: str, kind: str) -> list[dict[str, Any]]:
    """The entries of one preset file under the key of their kind, such as devices, each with its name over what all of them share.

    Raises GptcalcError where the file is not of that form.

    >>> entries_of("{shared: {node: 8}, clusters: {a: {title: A}}}", "mine.yaml", "clusters")
    [{'node': 8, 'title': 'A', 'name': 'a'}]
    """
    data = read_yaml(text, where)
    for key in data:
        if key not in ("family", "shared", kind):
            raise GptcalcError(f"{where}: unknown key '{shown(key)}'", hint=did_you_mean(key, ["family", "shared", kind]))
    shared, entries = data.get("shared") or {}, data.get(kind)
    if not isinstance(shared, dict) or not isinstance(entries, dict) or not entries:
        raise GptcalcError(f"{where}: '{kind}' must be a mapping of names to fields, and 'shared' one of fields")
    about = {key: data[key] for key in ("family",) if key in data}
    for name, fields in entries.items():
        if not isinstance(name, str) or not folded(name) or not isinstance(fields, dict):
            raise GptcalcError(f"{where}: '{shown(str(name))}' under '{kind}' must be a name with a mapping of fields")
    return [{**about, **shared, **fields, "name": name} for name, fields in entries.items()]


def only(entries: list[dict[str, Any]], where: str, kind: str) -> dict[str, Any]:
    """The entry of a file that is given by its path.

    Raises GptcalcError where it holds several.
    """
    if len(entries) > 1:
        listed = ", ".join(shown(entry["name"]) for entry in entries[:8])
        hint = f"put it into a folder '{kind}' in one of GPTCALC_PRESETS and use their names"
        raise GptcalcError(f"{where}: holds {len(entries)} {kind} ({listed})", hint=hint)
    return entries[0]


def check_names(claims: Iterable[tuple[str, Path]]) -> None:
    """Raises GptcalcError for a name that stands in two places, which would be found in the first of them only."""
    owner: dict[str, Path] = {}
    for name, path in claims:
        if folded(name) in owner:
            raise GptcalcError(f"{shown(path)}: the name '{shown(name)}' is taken already, in {shown(owner[folded(name)])}")
        owner[folded(name)] = path
