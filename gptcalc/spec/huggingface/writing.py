"""A config that was read, as a preset that a person can read: what each field came from, what was left out and what changes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping

from gptcalc.spec.huggingface import Imported
from gptcalc.spec.huggingface.family import written
from gptcalc.spec.reading import shown

FIRST = ("name", "family", "source", "notes", "left_out", "unread", "own_code")


def preset_text(read: Imported) -> str:
    """The YAML text of a preset, with a comment on every line that came from a key.

    >>> from gptcalc.spec.huggingface import read_config
    >>> print(preset_text(read_config({"model_type": "gpt2", "n_layer": 2, "resid_pdrop": 0.1})).splitlines()[7])
    n_layer: 2  # n_layer
    """
    about = [_line(name, read.fields[name], "") for name in FIRST if read.fields.get(name)]
    rest = [_line(name, value, _origin(name, read)) for name, value in read.fields.items() if name not in FIRST]
    return "\n".join([*about, "", *rest, *_account(read)]) + "\n"


def _origin(name: str, read: Imported) -> str:
    key = read.origins.get(name)
    if key is None:
        return f"what {read.model_type} always has"
    return key if key in read.read else f"{key}, left out: the class's default"


def _line(name: str, value: object, comment: str) -> str:
    if name == "blocks" and isinstance(value, Mapping):
        kinds = "".join(f"\n  {kind}: {_value(fields)}" for kind, fields in value.items())
        return f"{name}:{'  # ' + comment if comment else ''}{kinds}"
    return f"{name}: {_value(value)}{'  # ' + comment if comment else ''}"


def _value(value: object) -> str:
    """JSON, which YAML reads; plain words without quotes."""
    if (
        isinstance(value, str)
        and value.replace("_", "").isalnum()
        and not value[0].isdigit()
        and value.lower() not in ("true", "false", "null")
    ):
        return value
    return json.dumps(list(value) if isinstance(value, tuple) else value, default=list)


def _account(read: Imported) -> list[str]:
    lines = []
    unused = {key: value for key, value in read.read.items() if key not in read.origins.values()}
    if unused:
        lines += ["", "# Read, and says nothing beyond the fields above:", *(f"#   {shown(k)}: {_short(v)}" for k, v in unused.items())]
    left = {key: value for key, value in read.defaulted.items() if key not in read.origins.values()}
    if left:
        lines += ["", "# Left out by the file, with the class's default:", *(f"#   {key}: {_short(value)}" for key, value in left.items())]
    against = {key: why for key, why in read.unread.items() if why}
    if against:
        lines += [
            "",
            "# Not read by the class, against what it builds:",
            *(f"#   {shown(key)}: {shown(why)}" for key, why in against.items()),
        ]
    if read.ignored:
        lines += ["", "# Changes nothing that gptcalc computes:", *(f"#   {shown(key)}: {why}" for key, why in read.ignored.items())]
    return lines


def _short(value: object) -> str:
    text = written(value)
    return text if len(text) <= 80 else text[:77] + "..."
