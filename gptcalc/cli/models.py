"""`models`: what is in the catalogue."""

from typing import Annotated

import typer

from gptcalc.cli.options import Explain, Form


def models(
    family: Annotated[
        str | None, typer.Option("--family", metavar="NAME", help="Only families with this in their name.", show_default=False)
    ] = None,
    min_params: Annotated[
        str | None,
        typer.Option("--min-params", metavar="N", help="Only models of at least so many parameters, such as 30B.", show_default=False),
    ] = None,
    explain: Explain = False,
    form: Form = "table",
) -> None:
    """The catalogue by family: names, exact sizes, sources."""
    from gptcalc.errors import GptcalcError
    from gptcalc.show import models as show
    from gptcalc.show.output import emit
    from gptcalc.spec.catalogue import all_models
    from gptcalc.units import parse_count

    try:
        least = None if min_params is None else parse_count(min_params, of_bytes=False)
    except GptcalcError as error:
        raise GptcalcError(f"--min-params: {error}", hint=error.hint) from None
    rows = show.rows(show.chosen(all_models(), family, least))
    emit("models", {"family": family, "min_params": least}, [row._asdict() for row in rows], lambda: [show.table(rows, explain)], form)
