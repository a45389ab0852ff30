"""Several models or devices in one word, as people type them."""

from pathlib import Path

from gptcalc.cli.options import count
from gptcalc.errors import GptcalcError


def counted(typed: list[str]) -> list[tuple[str, int | None]]:
    """Names of devices with commas between them, each with the count that stands behind its colon, where one does.

    >>> counted(["a100:8,tpu-v5p:16", "t4"])
    [('a100', 8), ('tpu-v5p', 16), ('t4', None)]
    """
    found: list[tuple[str, int | None]] = []
    for word in (word.strip() for group in typed for word in group.split(",")):
        name, colon, number = word.rpartition(":")
        if colon and number[:1].isdigit():
            found.append((name, count(number)))
        elif word:
            found.append((word, None))
    return list(dict.fromkeys(found))


def named(typed: str | None) -> list[tuple[str, int | None]]:
    """The devices of one option, as `counted` has them; a file's name may have commas in it."""
    if typed is None:
        return []
    return [(typed, None)] if Path(typed).exists() else counted([typed])


def agree(devices: list[tuple[str, int | None]], number: int | None) -> None:
    """Raises GptcalcError where every device has its own number behind a colon, and `--count` says another."""
    for name, own in devices if all(own for _, own in devices) else []:
        if number is not None and own != number:
            raise GptcalcError(f"{name}:{own} and --count {number} contradict each other", hint="leave out one of them")


def matching(typed: str) -> list[str]:
    """The names that a pattern such as `gpt3-*` stands for; any other MODEL as it is.

    Raises GptcalcError where a pattern matches none.
    """
    if not set("*?") & set(typed) or Path(typed).exists():
        return [typed]
    from fnmatch import fnmatchcase

    from gptcalc.spec.catalogue import names

    found = [name for name in names() if fnmatchcase(name, typed.lower())]
    if not found:
        raise GptcalcError(f"no model's name is like '{typed[:100]}'", hint="gptcalc models lists them all")
    return found
