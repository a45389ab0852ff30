"""`calibrate`: constants of a device, a stack or a server from rows of measurements."""

from pathlib import Path
from typing import Annotated

import typer

from gptcalc.cli.completion import complete_device, complete_engine, complete_stack
from gptcalc.cli.options import Explain, Form


def calibrate(
    rows: Annotated[
        str,
        typer.Argument(
            metavar="ROWS",
            help="A .jsonl file, a row a line: options of train, memory or infer, the model, and what was measured (step_seconds,"
            " tokens_per_second, memory_bytes, ttft, tpot ...); or a table of 'replicate'.",
            show_default=False,
        ),
    ],
    device: Annotated[
        str | None,
        typer.Option("--device", help="The device whose constants are fitted.", autocompletion=complete_device, show_default=False),
    ] = None,
    stack: Annotated[
        str | None, typer.Option("--stack", help="The training software that is.", autocompletion=complete_stack, show_default=False)
    ] = None,
    server: Annotated[
        str | None, typer.Option("--server", help="The server that is.", autocompletion=complete_engine, show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="What the result is called.", show_default="the name and -calibrated")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="The file that is written.", show_default="its name .yaml, here")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    explain: Explain = False,
    form: Form = "table",
) -> None:
    """Your own measurements into a device, a stack or a server."""
    from gptcalc.errors import GptcalcError
    from gptcalc.run.calibrate import calibrate as formulas
    from gptcalc.show import calibrate as show
    from gptcalc.show.output import emit

    called = name or f"{Path(device or stack or server or '').stem}-calibrated"
    file = Path(f"{called}.yaml") if out is None else out
    if file.exists() and not force:
        raise GptcalcError(f"{file}: is there already", hint="--force overwrites it, --out names another")
    found = formulas(rows, device=device, stack=stack, server=server, name=called)
    try:
        file.write_text(found.text, "utf-8")
    except OSError as error:
        raise GptcalcError(f"{file}: cannot be written ({(error.strerror or type(error).__name__).lower()})") from None
    inputs = {"rows": rows, "device": device, "stack": stack, "server": server, "out": str(file)}
    emit("calibrate", inputs, found.to_dict(), lambda: show.tables(found, explain=explain), form)
    typer.echo(f"wrote {file}: --{found.kind} {file if file.is_absolute() else f'./{file}'}", err=True)
