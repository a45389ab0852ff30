"""`import` as JSON and as a table: every key of a config, and what became of it."""

from typing import Any

from gptcalc.show.table import Column, Table
from gptcalc.spec.huggingface import Imported
from gptcalc.spec.huggingface.family import written


def result(read: Imported, total: int) -> dict[str, Any]:
    """The preset's fields and the account of the keys."""
    return {
        "parameters": total,
        "fields": dict(read.fields),
        "read": dict(read.read),
        "defaulted": dict(read.defaulted),
        "ignored": dict(read.ignored),
    }


def table(read: Imported, total: int) -> Table:
    fields: dict[str, list[str]] = {}
    for field, key in read.origins.items():
        fields.setdefault(key, []).append(field)
    body = [[key, written(value), ", ".join(fields.get(key, [])) or "nothing further"] for key, value in read.read.items()]
    body += [[key, written(value), ", ".join(fields[key])] for key, value in read.defaulted.items() if key in fields]
    body += [[key, "", f"ignored: {why}"] for key, why in read.ignored.items()]
    return Table(
        f"{read.fields['name']}: {total:,} parameters",
        [Column("key"), Column("value", fold=True), Column("becomes", fold=True)],
        body,
        ["keys that the file leaves out stand here with the class's default where a field comes from them"],
    )
