"""`import` as JSON and as a table: every key of a config, and what became of it. And what any answer says of the file behind a model."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from gptcalc.show.table import Column, Table
from gptcalc.spec.huggingface import Imported
from gptcalc.spec.huggingface.family import written
from gptcalc.spec.reading import shown


def result(read: Imported, total: int) -> dict[str, Any]:
    """The preset's fields and the account of the keys."""
    return {
        "parameters": total,
        "fields": dict(read.fields),
        "read": _finite(read.read),
        "defaulted": dict(read.defaulted),
        "ignored": dict(read.ignored),
        "unread": list(read.unread),
        "left_out": list(read.left_out),
    }


def _finite(value: Any) -> Any:
    """As JSON can hold it: NaN and infinity as words."""
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return written(value) if isinstance(value, float) and not isfinite(value) else value


MOST_NAMES = 20
"""Keys that a note names; JSON has them all."""


def file_notes(inputs: Mapping[str, Any]) -> list[str]:
    """What an answer says of the file that its model was read from, by `left_out`, `unread` and `own_code`.

    `file` names the model where the answer is of several.
    """
    of = f"{inputs['file'].partition(' (language model; ')[0]}: " if "file" in inputs else ""
    notes = []
    if inputs.get("left_out"):
        notes.append(f"note: {of}the language model alone; left out of the file: {', '.join(inputs['left_out'])}")
    unread = [shown(name) for name in inputs.get("unread") or ()]
    if unread:
        more = f" and {len(unread) - MOST_NAMES} more" if len(unread) > MOST_NAMES else ""
        names = f"{', '.join(unread[:MOST_NAMES])}{more}"
        notes.append(f"note: {of}keys that the model's class does not read, so they change nothing: {names}")
    if unread and inputs.get("own_code"):
        code = inputs["own_code"]
        notes.append(f"note: {of}the file names code of its own ({shown(code)}): if that code is run, these keys may matter")
    return notes


def table(read: Imported, total: int) -> Table:
    fields: dict[str, list[str]] = {}
    for field, key in read.origins.items():
        fields.setdefault(key, []).append(field)
    body = [[key, written(value), ", ".join(fields.get(key, [])) or "nothing further"] for key, value in read.read.items()]
    body += [[key, written(value), ", ".join(fields[key])] for key, value in read.defaulted.items() if key in fields]
    body += [[key, "", f"ignored: {why}"] for key, why in read.ignored.items()]
    body += [[shown(key), "", f"not read by the class{': ' + why if why else ''}"] for key, why in read.unread.items()]
    body += [[key.partition(" ")[0], "", "left out: another model beside the language model"] for key in read.left_out]
    return Table(
        f"{read.fields['name']}: {total:,} parameters",
        [Column("key"), Column("value", fold=True), Column("becomes", fold=True)],
        body,
        ["keys that the file leaves out stand here with the class's default where a field comes from them"],
    )
