"""One way out for every command: the result as JSON, or its tables as terminal text, CSV, Markdown, HTML or SVG."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import gptcalc
from gptcalc.choices import Format
from gptcalc.errors import GptcalcError
from gptcalc.show.table import Table


def emit(
    command: str, inputs: Mapping[str, Any], result: Any, tables: Callable[[], list[Table]], form: Format, *, only: Any = None
) -> None:
    """Writes a command's answer to stdout. `tables` is called only where a table is wanted; CSV has the first one only.

    `only` is the one number of a quiet answer, or one for each of several answers: it stands in the place of all the rest.
    """
    if only is not None:
        if form != "table":
            raise GptcalcError("--quiet prints the one number alone", hint="leave --format out, or --quiet")
        text = "".join(f"{number}\n" for number in (only if isinstance(only, list) else [only]))
    elif form == "json":
        text = document(command, inputs, result)
    else:
        from gptcalc.show import table

        made = tables()
        if inputs.get("unread") or inputs.get("left_out"):
            from gptcalc.show.importing import file_notes

            notes = list(made[-1].notes)
            last = len(notes) - 1 if notes and notes[-1].startswith("next: ") else len(notes)
            made[-1] = made[-1]._replace(notes=[*notes[:last], *file_notes(inputs), *notes[last:]])
        if form == "csv":
            text = table.csv(made[0])
        elif form == "markdown":
            text = "\n".join(table.markdown(one) for one in made)
        else:
            from gptcalc.show.terminal import page, terminal

            text = page(made, form, f"gptcalc {command}") if form in ("html", "svg") else "\n".join(terminal(one) for one in made)
    sys.stdout.write(text)


def document(command: str, inputs: Mapping[str, Any], result: Any) -> str:
    """The JSON document of the contract: base units, exact ints, no NaN and no infinity."""
    import json

    body = {"schema": 1, "gptcalc": gptcalc.__version__, "command": command, "inputs": dict(inputs), "result": result}
    return json.dumps(body, allow_nan=False, indent=2) + "\n"
