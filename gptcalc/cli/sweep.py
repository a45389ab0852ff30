"""`sweep`: many variants side by side."""

import sys
from typing import Annotated, Any

import typer

from gptcalc.cli.options import OUTPUT, RUN, Form, Model, Set, load, option, options_from, settings_of
from gptcalc.spec.plan import SweepOptions


@options_from(SweepOptions)
def sweep(
    model: Model,
    given: dict[str, Any],
    vary: Annotated[
        list[str] | None,
        option(
            "--vary",
            heading="Sweep",
            metavar="FIELD=VALUES",
            help="A field of model, recipe, layout or request, and its values: n_layer=12..96:12, tp=1..8 (doubling), recompute=none,full.",
            show_default=False,
        ),
    ] = None,
    show: Annotated[
        str, option("--show", heading="Sweep", metavar="NAMES", help="What of each point; --show all lists what there is.")
    ] = "params,flops,memory,step_time",
    by: Annotated[
        str | None, option("--by", heading="Sweep", metavar="NAME", help="The best points of this first.", show_default="as varied")
    ] = None,
    device: Annotated[str | None, RUN("--device", help="A name of the catalogue, or a file.", show_default="h100-80gb")] = None,
    rows: Annotated[int, OUTPUT("--rows", min=1, help="Points that the table shows.")] = 40,
    plot: Annotated[bool, OUTPUT("--plot", help="Draw the first measure over the first field.")] = False,
    parquet: Annotated[str | None, OUTPUT("--parquet", metavar="FILE", help="Write all points to it.", show_default=False)] = None,
    set_: Set = None,
    form: Form = "table",
) -> None:
    """Every combination of some fields' values, side by side: parameters, FLOPs, memory, time or cost of each."""
    from gptcalc.cli.moving import moving
    from gptcalc.search.measures import MEASURES
    from gptcalc.search.sweep import sweep as formulas
    from gptcalc.show import sweep as shown
    from gptcalc.show.output import emit

    if show.strip() == "all":
        from gptcalc.show.sweep import measures

        emit("sweep", {}, [{"measure": name, **one._asdict()} for name, one in MEASURES.items()], lambda: [measures()], form)
        return
    spec = load(model, set_)
    with moving() as progress:
        answer = formulas(spec, vary=vary, show=show, by=by, progress=progress, device=device, **given)
    inputs = settings_of(spec) | {
        "vary": {name: list(dict.fromkeys(answer.columns[name])) for name in answer.varied},
        "show": list(answer.shown),
    }
    inputs |= dict(answer.held) | ({"by": by} if by else {})
    emit("sweep", inputs, answer.to_list() if form == "json" else [], lambda: shown.tables(answer, None if form == "csv" else rows), form)
    if plot and form == "table":
        from gptcalc.show.plots import swept

        sys.stdout.write("\n" + swept(answer))
    if parquet is not None:
        answer.to_parquet(parquet)
        typer.echo(f"{answer.size:,} rows in {parquet}", err=True)
    if answer.interrupted:
        raise typer.Exit(130)
    if not answer.value:
        raise typer.Exit(1)
