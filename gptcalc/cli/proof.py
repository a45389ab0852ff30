"""`verify`: the formulas against a forward pass that counts, and against published totals."""

from typing import Annotated

import typer

from gptcalc.cli.completion import complete
from gptcalc.cli.options import MODEL_HELP, Explain, Form, files_of, load, option


def verify(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL...]", help=MODEL_HELP, show_default=False, autocompletion=complete)
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Execute the model's real shape, not a scaled-down twin.")] = False,
    seq: Annotated[int | None, option("--seq", min=1, help="Tokens for --full.", show_default="the model's longest, at most 1024")] = None,
    explain: Explain = False,
    form: Form = "table",
) -> None:
    """Formulas against a forward pass that counts, and papers."""
    from gptcalc.run.verify import full_length
    from gptcalc.run.verify import verify as check
    from gptcalc.show import verify as show
    from gptcalc.show.output import emit
    from gptcalc.show.progress import progress_bar

    specs = [load(name) for name in dict.fromkeys(models or [])]
    lengths = {full_length(spec, seq) for spec in specs} if full else set()  # where they differ, the rows say each
    with progress_bar(enabled=full or not specs) as progress:
        checks = check(*specs, full=full, seq=seq, progress=progress)
    inputs = {
        "models": list(dict.fromkeys(check.model for check in checks)),
        "full": full,
        "seq": lengths.pop() if len(lengths) == 1 else None,
        **files_of(specs),
    }
    emit("verify", inputs, [check._asdict() for check in checks], lambda: show.tables(checks, explain), form)
    if not all(check.ok for check in checks):
        raise typer.Exit(1)
