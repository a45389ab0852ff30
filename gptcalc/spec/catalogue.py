"""Finding presets by name. Bundled presets come first, then the user's own: `$GPTCALC_PRESETS`, then the user's config folder.

A family file is searched as text before it is parsed, so that one look-up parses one file; nothing is cached on disk, so nothing
can go stale.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.spec.entries import called, check_names, entries_of, family_models, folded
from gptcalc.spec.reading import read_text, read_yaml, shown

if TYPE_CHECKING:
    from gptcalc.spec.model import ModelSpec

UNDISCLOSED = "undisclosed.yaml"
SUFFIXES = (".yaml", ".yml", ".json")
"""What the name of a preset file ends with; of a model's also .json, Hugging Face's config."""


def bundled_folder() -> Path:
    """Where the presets that come with gptcalc are: inside the package when installed, beside it in a checkout.

    Raises GptcalcError where neither is there: a broken installation.

    >>> (bundled_folder() / "models" / "gpt2.yaml").exists()
    True
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "presets", package.parent / "presets"):
        if folder.is_dir():
            return folder
    raise GptcalcError(f"the presets are missing from {shown(package)}", hint="reinstall gptcalc")


def find(name: str) -> ModelSpec:
    """The preset of a name or an alias.

    Raises GptcalcError for a name that no preset has, with the nearest ones, and for models whose makers keep them undisclosed.

    >>> find("GPT3").n_layer
    96
    """
    found = look_up(name)
    if found is None:
        raise unknown(name)
    return _parsed(*found)


def unknown(name: str) -> GptcalcError:
    """The error for a name that no preset has: undisclosed, or with the nearest names as its hint.

    >>> unknown("gpt3-17b").hint
    "did you mean 'gpt3-175b'?"
    """
    return _undisclosed(name) or GptcalcError(f"no model named '{shown(name)}'", hint=_nearest(folded(name)))


def look_up(name: str) -> tuple[dict[str, Any], Path] | None:
    """The fields of a preset as its file gives them, unchecked, and that file; None where no preset has the name.

    Reads the preset folders only, whatever the name looks like.
    Raises GptcalcError for a user's preset file that cannot be read.

    >>> look_up("gpt2")[0]["d_model"]
    768
    """
    wanted = folded(name)
    if not wanted or len(wanted) > 200:
        return None
    for path in _files():
        text = read_text(path)
        if wanted in folded(text):
            for model in _models(path, text):
                if wanted in called(model):
                    return model, path
    return None


def names() -> list[str]:
    """The names of all presets, in the order of their files, without parsing the bundled ones: quick enough for shell completion.

    >>> names()[:2]
    ['apertus-8b', 'apertus-70b']
    """
    found = [name for path in _bundled_files() for name in _written(path, "models")]
    for path in _user_files():
        try:
            found += [model["name"] for model in _models(path, read_text(path))]
        except GptcalcError:  # completion has no place to report a broken file; using it does
            continue
    return found


def names_of(kind: str) -> list[str]:
    """The names under a kind of preset, devices or clusters, as quickly as `names`.

    >>> names_of("clusters")[:2]
    ['tpu-v4-pod', 'tpu-v5e-pod']
    """
    found: list[str] = []
    for path in files_of(kind):
        try:
            bundled = path.is_relative_to(bundled_folder())
            found += _written(path, kind) if bundled else [one["name"] for one in entries_of(read_text(path), shown(path), kind)]
        except GptcalcError:
            continue
    return found


def _written(path: Path, kind: str) -> list[str]:
    """The bundled files keep to one layout (a test holds them to it), so that a pattern can read their names."""
    _, _, entries = path.read_text("utf-8").partition(f"\n{kind}:\n")
    return re.findall(r"^  (\S+):$", entries, flags=re.MULTILINE)


def all_models() -> list[ModelSpec]:
    """All presets, parsed.

    Raises GptcalcError for a user's preset that is malformed or has the name of another.
    """
    return [_parsed(model, path) for model, path in _everything()]


def aliases() -> dict[str, tuple[str, ...]]:
    """The other names of every preset.

    Raises GptcalcError as `all_models` does.

    >>> aliases()["gpt2"][0]
    'gpt2-small'
    """
    return {model["name"]: model["aliases"] for model, _ in _everything()}


def _parsed(fields: dict[str, Any], path: Path) -> ModelSpec:
    from gptcalc.spec.model import parse_model

    try:
        return parse_model({key: value for key, value in fields.items() if key != "aliases"})
    except GptcalcError as error:
        raise GptcalcError(f"{shown(path)}: {shown(fields['name'])}: {error}", hint=error.hint) from None


def _everything() -> list[tuple[dict[str, Any], Path]]:
    models = [(model, path) for path in _files() for model in _models(path, read_text(path))]
    check_names((name, path) for model, path in models for name in called(model))
    return models


def _nearest(word: str) -> str | None:
    from difflib import get_close_matches

    word = word.rpartition("/")[2]
    every = _words()
    words = [known for known in every if _head(known) == _head(word)] or every  # the nearest string is seldom of the same family
    typo_of = get_close_matches(word, words, n=1, cutoff=0.9)  # one slip of a finger needs one suggestion, not three
    return did_you_mean(word, typo_of or words, otherwise="'gptcalc models' lists them")


def _head(word: str) -> str:
    """What a family's names begin with: qwen3 of qwen3-8b."""
    return word.partition("-")[0]


def _words() -> list[str]:
    """All names and aliases, to suggest from, without organisations. A broken user file must not hide the error that is being reported."""
    words: list[str] = []
    for path in _files():
        try:
            for model in _models(path, read_text(path)):
                words += sorted(name for name in called(model) if "/" not in name)
        except GptcalcError:
            continue
    return list(dict.fromkeys(words))


@functools.lru_cache(maxsize=256)
def _models(path: Path, text: str) -> list[dict[str, Any]]:
    """The models of one file's text: a family's, or one flat spec. Each has a name and `aliases`. Kept, and changed by none who read."""
    where = shown(path)
    data = read_yaml(text, where)
    return family_models(data, where, default_name=path.stem)


def files_of(kind: str) -> list[Path]:
    """The YAML files of one kind of preset, such as devices: the bundled ones, then those in a folder of that name of the user's."""
    return [*_yaml_files(bundled_folder() / kind), *(path for folder in _user_folders() for path in _yaml_files(folder / kind))]


def files_by_name(kind: str) -> dict[str, Path]:
    """The files of a kind of preset of which each holds one, such as stacks, by the name that is the file's.

    >>> list(files_by_name("stacks"))[:2]
    ['ddp', 'deepseek-v3']
    """
    return dict(sorted((folded(path.stem), path) for path in reversed(files_of(kind))))


def is_path(name: str) -> bool:
    """Whether a name is meant as a path: it ends as a preset file does, or has a separator.

    >>> is_path("gpt2"), is_path("mine.yaml"), is_path("./mine")
    (False, True, True)
    """
    separators = {os.sep, os.altsep or os.sep, "/"}
    return name in (".", "..") or name.lower().endswith((*SUFFIXES, ".gguf")) or any(separator in name for separator in separators)


def _files() -> Iterator[Path]:
    yield from _bundled_files()
    yield from _user_files()


def _bundled_files() -> list[Path]:
    return [path for path in _yaml_files(bundled_folder() / "models") if path.name != UNDISCLOSED]


def _user_files() -> Iterator[Path]:
    for folder in _user_folders():
        yield from _yaml_files(folder / "models")
        # Devices and clusters may lie in the same folder: a file is a model's by what it holds.
        for path in _yaml_files(folder):
            if re.search(r"^\s*[{]?\s*[\"']?(models|n_layer|d_model)[\"']?\s*:", read_text(path), flags=re.MULTILINE):
                yield path


def _user_folders() -> Iterator[Path]:
    for text in os.environ.get("GPTCALC_PRESETS", "").split(os.pathsep):
        if text:
            if not os.path.isdir(text):
                raise GptcalcError(f"GPTCALC_PRESETS names {shown(text)}, which is not a folder")
            yield Path(text)
    from platformdirs import user_config_path

    yield user_config_path("gptcalc") / "presets"


def _yaml_files(folder: Path) -> list[Path]:
    try:
        entries = os.listdir(folder)
    except OSError:  # most users have no such folder
        return []
    return [folder / name for name in sorted(entries) if name.endswith((".yaml", ".yml")) and not name.startswith(".")]


def _undisclosed(name: str) -> GptcalcError | None:
    path = bundled_folder() / "models" / UNDISCLOSED
    wanted = folded(name)
    for entry in read_yaml(read_text(path), shown(path))["undisclosed"]:
        for known in entry["names"]:
            if wanted == known or wanted.startswith((f"{known}-", f"{known}.")):
                return GptcalcError(
                    f"'{shown(name)}' is undisclosed: {entry['maker']} has not published its architecture",
                    hint=f"'{entry['open']}' is an open model to calculate with instead",
                )
    return None
