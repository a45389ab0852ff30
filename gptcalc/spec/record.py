"""`Record`: what every preset file's entries are read into, strict and frozen; and their errors in one line."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.spec.reading import quoted, shown
from gptcalc.units import parse_count, parse_number

LARGEST_FIELD = 10**15
"""One field of one model above this is a slip of the keyboard."""


class Record(BaseModel):
    """Strict and frozen. Numbers may be written as people write them, 300B or 3.14e23: they are read before the fields are checked."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid", strict=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _read_numbers(cls, fields: Any) -> Any:
        if not isinstance(fields, Mapping):
            return fields
        read = dict(fields)
        for name, value in fields.items():
            kind = READERS.get(cls.__annotations__.get(name))
            if kind is not None and value is not None:
                try:
                    read[name] = kind(value)
                except GptcalcError as error:
                    raise GptcalcError(f"{name}: {error}", hint=error.hint) from None
        return read


R = TypeVar("R", bound=Record)


def _count(value: object) -> int:
    count = parse_count(value, of_bytes=False)
    if count > LARGEST_FIELD:
        raise GptcalcError(f"{count:,} is too large: at most {LARGEST_FIELD:,}")
    return count


READERS: dict[Any, Callable[[object], float]] = {
    int: _count,
    int | None: _count,
    float: lambda value: float(parse_number(value)),
    float | None: lambda value: float(parse_number(value)),
    int | float: parse_number,
}
"""By a field's annotation."""


def validated(kind: type[R], fields: Mapping[str, Any], where: str) -> R:
    """A record from the fields that a preset file gives; `where` names the file and the entry, or is empty.

    Raises GptcalcError, in one line, for an unknown, missing or malformed field.

    >>> class Run(Record):
    ...     tokens: int
    >>> validated(Run, {"tokens": "1.5B"}, "mine.yaml").tokens
    1500000000
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        one = one_line(error, kind)
        raise GptcalcError(f"{where}: {one}" if where else str(one), hint=one.hint) from None


def one_line(error: ValidationError, kind: type[BaseModel]) -> GptcalcError:
    """The first thing that is wrong with the fields of a record, where it is, and the nearest field to a misspelt one."""
    errors = error.errors(include_url=False)
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])  # a misspelt field is missing too
    cause = first.get("ctx", {}).get("error")
    hint = cause.hint if isinstance(cause, GptcalcError) else None
    where = ".".join(shown(str(part)) for part in first["loc"])
    if first["type"] == "missing":
        return GptcalcError(f"field '{where}' is missing")
    if first["type"] == "extra_forbidden":
        return GptcalcError(f"unknown field '{where}'", hint=did_you_mean(where, kind.model_fields) if len(first["loc"]) == 1 else None)
    message = str(cause) if cause is not None else first["msg"][0].lower() + first["msg"][1:]
    if first["type"] not in ("value_error", "missing"):
        message += f", not {quoted(first['input'])}"
    return GptcalcError(f"{where}: {message}" if where else message, hint=hint)
