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
    aside = ""
    if only is not None:
        if form != "table":
            raise GptcalcError("--quiet prints the one number alone", hint="leave --format out, or --quiet")
        text = "".join(f"{number}\n" for number in (only if isinstance(only, list) else [only]))
    elif form == "json":
        text = document(command, inputs, result)
    else:
        from gptcalc.show import table

        made = tables()
        notes = _of_files(inputs)
        if form != "csv":
            made[-1] = _with_notes(made[-1], notes)
        if form == "csv":
            text = table.csv(made[0])
            aside = "".join(f"{note}\n" for note in notes)  # CSV has cells alone
        elif form == "markdown":
            text = "\n".join(table.markdown(one) for one in made)
        else:
            from gptcalc.show.terminal import page, terminal

            text = page(made, form, _typed()) if form in ("html", "svg") else "\n".join(terminal(one) for one in made)
    sys.stdout.write(text)
    if aside:
        sys.stderr.write(aside)


def _typed() -> str:
    """The command as it was typed, without how its answer is written: the title of a picture."""
    from shlex import join

    words = iter(sys.argv[1:])
    kept = []
    for word in words:
        if word in ("-f", "--format"):
            next(words, None)
        elif not word.startswith("--format="):
            kept.append(word)
    return join(["gptcalc", *kept])


def _of_files(inputs: Mapping[str, Any]) -> list[str]:
    """What is said of the file that a model was read from, or of each of several models' files."""
    told = [one for one in (inputs, *inputs.get("files", ())) if one.get("unread") or one.get("left_out")]
    if not told:
        return []
    from gptcalc.show.importing import file_notes

    return [note for one in told for note in file_notes(one)]


def _with_notes(made: Table, notes: list[str]) -> Table:
    """Notes of the file behind a model, before a line on what to ask next."""
    last = len(made.notes) - 1 if made.notes and made.notes[-1].startswith("next: ") else len(made.notes)
    return made._replace(notes=[*made.notes[:last], *notes, *made.notes[last:]])


def document(command: str, inputs: Mapping[str, Any], result: Any) -> str:
    """The JSON document of the contract: base units, exact ints, no NaN and no infinity."""
    import json

    body = {"schema": 1, "gptcalc": gptcalc.__version__, "command": command, "inputs": dict(inputs), "result": result}
    return json.dumps(body, allow_nan=False, indent=2) + "\n"
