"""One way out for every command: the result as JSON, or its tables as terminal text, CSV, Markdown, HTML or SVG."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import gptcalc
from gptcalc.choices import Format
from gptcalc.show.table import Table


def emit(command: str, inputs: Mapping[str, Any], result: Any, tables: Callable[[], list[Table]], form: Format) -> None:
    """Writes a command's answer to stdout. `tables` is called only where a table is wanted; CSV has the first one only."""
    if form == "json":
        text = document(command, inputs, result)
    else:
        from gptcalc.show import table

        made = tables()
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
