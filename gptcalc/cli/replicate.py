"""`replicate`: published runs, predicted beside reported."""

from typing import Annotated, Any

import typer

from gptcalc.cli.options import Explain, Form


def replicate(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]",
            help="A run, or the start of its name; a table: megatron-2021, llm-foundry ...; steps, memory, serving, loads or tables.",
            show_default=False,
        ),
    ] = None,
    explain: Explain = False,
    form: Form = "table",
) -> None:
    """Published training runs: predicted from parameters, tokens and the stated rate, beside what was reported."""
    from gptcalc.run.published import replicate as formulas
    from gptcalc.show import replicate as show
    from gptcalc.show.output import emit

    rows = formulas(run)

    def summaries() -> list[Any]:
        from gptcalc.run.loads import kinds_of
        from gptcalc.run.published import LOADS
        from gptcalc.spec.entries import folded

        return [show.kinds(kinds_of(rows))] if run is not None and folded(run) == LOADS and form != "csv" else []

    emit(
        "replicate",
        {"run": run},
        [row._asdict() | {"holds": row.holds} for row in rows],
        lambda: [*summaries(), show.table(rows, explain)],
        form,
    )
    if not all(row.holds for row in rows):
        raise typer.Exit(1)
