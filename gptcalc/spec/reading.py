"""YAML and JSON from files that anyone may have written: a plain mapping, or one line that names the file and says what is wrong.

YAML is read by the core schema of YAML 1.2: `no` is text, `010` is ten, `12:30:00` is text and `3.14e23` is a number (PyYAML's own
rules make them False, 8, 45000 and text). Anchors, custom tags and keys given twice are refused: no preset needs them, and they
are how a small file becomes a huge or a misleading one.
"""

from __future__ import annotations

import functools
import json
import os
import re
import stat
from math import isfinite
from typing import Any

from gptcalc.errors import GptcalcError

LARGEST_FILE = 4_000_000
"""Bytes. The largest published config.json has a few hundred thousand; what is above this is something else, such as weights."""

DEEPEST = 40
"""Levels of nesting. Presets and config files have five."""

MOST_VALUES = 100_000
"""Values in one YAML file, which cost PyYAML some microseconds each. A family of presets has a few hundred."""

# What the constructors of PyYAML and the standard library raise on malformed scalars: `!!bool x`, `!!timestamp x`, 2001-99-99,
# integers of more digits than Python converts.
_MALFORMED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a small regular file.

    Raises GptcalcError where it is missing, unreadable, a folder, a device, too large, empty or not UTF-8 text.
    """
    where = shown(path)
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device has no size to check before reading
            raise GptcalcError(f"{where}: is a folder, not a file" if stat.S_ISDIR(status.st_mode) else f"{where}: is not a regular file")
        if status.st_size > LARGEST_FILE:
            raise GptcalcError(f"{where}: has {status.st_size:,} bytes, more than any preset or config file ({LARGEST_FILE:,} at most)")
        with open(path, "rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except GptcalcError:
        raise
    except FileNotFoundError:
        raise GptcalcError(f"{where}: no such file") from None
    except OSError as error:
        raise GptcalcError(f"{where}: cannot be read ({(error.strerror or type(error).__name__).lower()})") from None
    except ValueError:  # a null byte or a lone surrogate in the path
        raise GptcalcError(f"{where}: is not a path") from None
    return _decode(data, where)


def _decode(data: bytes, where: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise GptcalcError(f"{where}: is not UTF-8 text (byte {error.start})") from None
    if "\0" in text:
        raise GptcalcError(f"{where}: is a binary file, not text")
    if not text.strip():
        raise GptcalcError(f"{where}: is empty")
    return text


def read_json(text: str, where: str) -> dict[str, Any]:
    """The mapping that a JSON text holds; `where` names it in errors. NaN and infinity are read as Python writes them.

    Raises GptcalcError for malformed JSON, keys given twice, and anything that is not a mapping.

    >>> read_json('{"model_type": "gpt2", "n_layer": 12}', "config.json")["n_layer"]
    12
    """

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(items)
        if len(mapping) < len(items):
            seen: set[str] = set()
            for key, _ in items:
                if key in seen:
                    raise GptcalcError(f"{where}: key '{shown(key)}' is given twice")
                seen.add(key)
        return mapping

    try:
        value = json.loads(text, object_pairs_hook=pairs)
    except GptcalcError:
        raise
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
        place = "it ends too early" if cut else f"line {error.lineno}, column {error.colno}"
        raise GptcalcError(f"{where}: is not valid JSON ({place})") from None
    except RecursionError:
        raise GptcalcError(f"{where}: is nested too deeply") from None
    except ValueError:
        raise GptcalcError(f"{where}: holds a number with too many digits") from None
    return check_mapping(value, where)


def check_finite(value: object, where: str, depth: int = 0) -> None:
    """Raises GptcalcError where NaN or infinity stand in what was read from JSON, which knows neither, or more levels than any file has.

    >>> check_finite({"n_layer": [1, 2.5]}, "mine.json")
    """
    if isinstance(value, float) and not isfinite(value):
        raise GptcalcError(f"{where}: {json.dumps(value)} is not a number that JSON knows")
    if depth > DEEPEST:
        raise GptcalcError(f"{where}: is nested too deeply (more than {DEEPEST} levels)")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        check_finite(part, where, depth + 1)


def read_yaml(text: str, where: str) -> dict[str, Any]:
    """The mapping that a YAML text holds; `where` names it in errors.

    Raises GptcalcError for malformed YAML, keys given twice, anchors, custom tags, and anything that is not a mapping.

    >>> read_yaml("{tied: no, training_tokens: 300B}", "mine.yaml")
    {'tied': 'no', 'training_tokens': '300B'}
    """
    return check_mapping(parse_yaml(text, where), where)


def parse_yaml(text: str, where: str) -> Any:
    """Any YAML value, under the rules of `read_yaml`.

    Raises GptcalcError for what is not valid, plain YAML.

    >>> parse_yaml("true", "--set tied"), parse_yaml("300B", "--set training_tokens")
    (True, '300B')
    """
    import yaml

    try:
        _check_events(text, where)
        return yaml.load(text, Loader=_loader())
    except GptcalcError as error:
        message = str(error)
        raise error if message.startswith(where) else GptcalcError(f"{where}: {message}", hint=error.hint) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise GptcalcError(f"{where}: is not valid YAML{place}: {_one_line(error.problem or 'malformed')}") from None
    except yaml.YAMLError as error:
        raise GptcalcError(f"{where}: is not valid YAML: {_one_line(str(error))}") from None
    except _MALFORMED as error:
        raise GptcalcError(f"{where}: holds a value that cannot be read: {_one_line(str(error))}") from None


def _check_events(text: str, where: str) -> None:
    """Nesting and aliases, seen in the stream of events: the loader itself recurses, in C."""
    import yaml

    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))):
        if count > MOST_VALUES:
            raise GptcalcError(f"{where}: holds more values than any preset ({MOST_VALUES:,} at most)")
        kind = type(event)
        if kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            depth += 1
            if depth > DEEPEST:
                raise GptcalcError(f"{where}: is nested too deeply (more than {DEEPEST} levels)")
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            raise GptcalcError(f"{where}: uses the YAML alias *{_one_line(str(event.anchor))}: write the value out instead")


@functools.cache
def _loader() -> Any:
    import yaml

    class CoreSchemaLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own attribute)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen: set[str] = set()
            for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
                if isinstance(key.value, str):
                    if key.value in seen:
                        raise GptcalcError(f"key '{shown(key.value)}' is given twice (line {key.start_mark.line + 1})")
                    seen.add(key.value)
            mapping: dict[Any, Any] = super().construct_mapping(node, deep)
            return mapping

    def resolve(tag: str, pattern: str, first: str) -> None:
        CoreSchemaLoader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))

    resolve("null", r"(?:~|null|Null|NULL|)$", "~nN")
    CoreSchemaLoader.yaml_implicit_resolvers.setdefault("", []).extend(CoreSchemaLoader.yaml_implicit_resolvers["~"])
    resolve("bool", r"(?:true|True|TRUE|false|False|FALSE)$", "tTfF")
    resolve("int", r"[-+]?[0-9]+$", "-+0123456789")
    resolve("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789")
    CoreSchemaLoader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(loader.construct_scalar(node)))
    return CoreSchemaLoader


def check_mapping(value: object, where: str) -> dict[str, Any]:
    """The value, known to be a mapping whose keys are text.

    Raises GptcalcError where it is not.
    """
    if not isinstance(value, dict):
        raise GptcalcError(f"{where}: holds {_kind(value)}, not a mapping of fields to values")
    for key in value:
        if not isinstance(key, str):
            raise GptcalcError(f"{where}: key {brief(key)} is not text")
    return value


def _kind(value: object) -> str:
    names = {list: "a list", str: "plain text", bool: "true or false", int: "a number", float: "a number", type(None): "nothing"}
    return names.get(type(value), f"a {type(value).__name__}")


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return shown(line if len(line) <= 120 else line[:117] + "...")


def shown(path: str | os.PathLike[str]) -> str:
    """A path or a key as one printable line of bounded length."""
    try:
        text = os.fspath(path)
    except TypeError:
        text = str(path)
    text = text if isinstance(text, str) else repr(text)
    text = text if text.isprintable() else text.encode("unicode_escape").decode()
    return text if len(text) <= 200 else "..." + text[-197:]


def check_name(name: object, where: str = "") -> None:
    """Raises GptcalcError for a name, which stands in titles, that is not one line or that would steer a terminal."""
    if isinstance(name, str) and (not name.isprintable() or len(name) > 500):
        raise GptcalcError(f"{where}name: '{brief(name)}' must be one printable line of at most 500 characters")


def printable(text: str) -> str:
    """One line of text without anything that steers a terminal: escapes, turns of the writing direction.

    >>> printable("two\\nlines, \\x1b[31mred")
    'two lines, \\\\x1b[31mred'
    """
    line = " ".join(text.split())
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)


def brief(value: object) -> str:
    """A value as an error quotes it: printable and at most 40 characters."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except ValueError:  # an int of more digits than Python writes out
        text = "a number of too many digits"
    return shown(text if len(text) <= 40 else text[:37] + "...")


def quoted(value: object) -> str:
    """As `brief`, with quotes around text."""
    return f"'{brief(value)}'" if isinstance(value, str) else brief(value)
