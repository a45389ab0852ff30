"""`devices --stacks` as tables: generations of training software at a glance, and one with the meaning of every value."""

from typing import Any

from gptcalc.show.clusters import share
from gptcalc.show.table import Column, Table
from gptcalc.spec.stack import Overlap, StackSpec


def row(stack: StackSpec) -> dict[str, Any]:
    """A stack as JSON has it, shares from 0 to 1."""
    return stack.model_dump(mode="json")


def table(stacks: list[StackSpec]) -> Table:
    columns = [
        Column("name"),
        Column("title", fold=True, drop=1),
        Column("defaults", fold=True),
        Column("hides communication", fold=True),
        Column("a step within", lambda spread: f"±{share(spread)}", right=True),
        Column("on", fold=True, drop=2),
    ]
    body = [[one.name, one.title, options(one), hidden(one.overlap), one.spread, ", ".join(one.measured_on)] for one in stacks]
    notes = [
        "hides: the share of the work beside it that each kind of communication can run under; elsewhere it is exposed",
        "a step within: of its predicted time, on the devices it was compared on; elsewhere the device's own share, or 25 %",
        "without --stack: megatron for --runtime megatron, fsdp for --zero 3, else ddp; each without its defaults",
        *(f"{one.name}: {text}" for one in stacks for text in (one.source, *one.notes)),
        "next: gptcalc devices --stacks NAME",
    ]
    return Table(_count(len(stacks)), columns, body, notes)


def options(stack: StackSpec) -> str:
    """The defaults as they would be typed."""
    return " ".join(_option(name, value) for name, value in stack.defaults.items())


def _option(name: str, value: Any) -> str:
    word = name.replace("_", "-")
    return f"--{'' if value else 'no-'}{word}" if isinstance(value, bool) else f"--{word} {value}"


def hidden(overlap: Overlap) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {share(part)}" for name, part in overlap if part) or "nothing"


def detail(stack: StackSpec) -> Table:
    """Every value of one stack with its meaning."""
    return Table(f"{stack.name}: {stack.title}", VALUES, _values(stack), [f"source: {stack.source}", *_notes(stack)])


def sources(stacks: list[StackSpec]) -> Table:
    """Every value of every stack with its meaning."""
    rows = [[stack.name, *row] for stack in stacks for row in _values(stack)]
    notes = [f"{stack.name}: {text}" for stack in stacks for text in (stack.source, *_notes(stack))]
    return Table(f"{_count(len(stacks))}, each value with its meaning", [Column("stack"), *VALUES], rows, notes)


VALUES = [Column("value of", fold=True), Column("", str, right=True, fold=True), Column("meaning", fold=True)]


def _count(n: int) -> str:
    return f"{n} stack{'s' if n > 1 else ''}"


def _notes(stack: StackSpec) -> list[str]:
    return [f"note: {note}" for note in stack.notes]


def _values(stack: StackSpec) -> list[list[Any]]:
    rows = [[f"default of {name}", str(value).lower(), "taken where the option is not given"] for name, value in stack.defaults.items()]
    for name, field in StackSpec.model_fields.items():
        if field.description:
            rows.append([name, _written(name, getattr(stack, name)), field.description])
    for name, field in Overlap.model_fields.items():
        rows.append([f"overlap.{name}", share(getattr(stack.overlap, name)), f"hidden under {field.description}"])
    return rows


def _written(name: str, value: Any) -> str:
    if value is None or (not value and isinstance(value, tuple | dict)):
        return "the runtime's" if value is None else "none"
    if isinstance(value, dict):
        return ", ".join(f"{one} {low:g} to {high:g}" for one, (low, high) in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, tuple) else share(value) if name == "spread" else f"{value:g}"
