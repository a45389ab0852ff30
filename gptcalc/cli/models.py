"""`models`: what is in the catalogue."""

from typing import Annotated

import typer

from gptcalc.choices import Precision
from gptcalc.cli.completion import complete, complete_device
from gptcalc.cli.options import Explain, Form, option
from gptcalc.errors import GptcalcError


def models(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="Only models with this in their name, another name of theirs, or their family.",
            autocompletion=complete,
            show_default=False,
        ),
    ] = None,
    family: Annotated[
        str | None, typer.Option("--family", metavar="NAME", help="Only families with this in their name.", show_default=False)
    ] = None,
    min_params: Annotated[
        str | None,
        typer.Option("--min-params", metavar="N", help="Only models of at least so many parameters, such as 30B.", show_default=False),
    ] = None,
    fits: Annotated[
        str | None,
        typer.Option(
            "--fits", metavar="DEVICE", help="Only models that can be served on it.", autocompletion=complete_device, show_default=False
        ),
    ] = None,
    precision: Annotated[
        Precision | None, option("--precision", help="With --fits: of the weights.", show_default="as stored, or bf16")
    ] = None,
    context: Annotated[
        int | None, option("--context", min=1, help="With --fits: tokens of a sequence.", show_default="each model's usual length")
    ] = None,
    explain: Explain = False,
    form: Form = "table",
) -> None:
    """The catalogue by family: names and exact sizes; or what fits on a device."""
    from gptcalc.show import models as show
    from gptcalc.show.output import emit
    from gptcalc.spec.catalogue import all_models
    from gptcalc.units import parse_count

    try:
        least = None if min_params is None else parse_count(min_params, of_bytes=False)
    except GptcalcError as error:
        raise GptcalcError(f"--min-params: {error}", hint=error.hint) from None
    chosen = show.chosen(all_models(), name, family, least)
    inputs = {"family": family, "min_params": least} | ({} if name is None else {"name": name})
    if fits is None:
        if precision is not None or context is not None:
            raise GptcalcError("--precision and --context say how a model is served: they need --fits", hint="for example --fits rtx-4090")
        rows = show.rows(chosen)
        emit("models", inputs, [row._asdict() for row in rows], lambda: [show.table(rows, explain)], form)
        return
    from gptcalc.footprint.fitting import fitting

    found, refused = fitting(chosen, fits, precision, context)
    inputs |= {"fits": fits, "precision": precision, "context": context}
    result = [
        row._asdict() | {"seq": one.seq, "peak_allocated": one.peak_allocated, "room": one.room}
        for row, one in zip(show.rows([one.model for one in found]), found, strict=True)
    ]
    emit("models", inputs, result, lambda: [show.fit(found, refused, len(chosen), inputs)], form)
    if not found:
        raise typer.Exit(1)
