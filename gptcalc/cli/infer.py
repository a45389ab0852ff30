"""`infer`: latency, throughput and cost of serving a model."""

import sys
from typing import Annotated, Any

import typer

from gptcalc.cli.options import OUTPUT, Explain, Form, Model, Quiet, Set, load, options_from, settings_of, with_towers
from gptcalc.spec.serving import FleetOptions, InferOptions, LoadOptions

HEADINGS = ("Run", "Load", "Serving", "Layout", "Money and energy", "Output")


@options_from(InferOptions, FleetOptions, LoadOptions, headings=HEADINGS)
def infer(
    model: Model,
    given: dict[str, Any],
    roofline: Annotated[bool, OUTPUT("--roofline", help="The operations under the device's roof.")] = False,
    explain: Explain = False,
    quiet: Quiet = False,
    set_: Set = None,
    form: Form = "table",
) -> None:
    """How fast a server answers: time to first token, time per token, tokens per second, how many users fit, what tokens cost."""
    from gptcalc.serve.answer import infer as formulas
    from gptcalc.serve.fleet import Fleet
    from gptcalc.serve.loaded import Loaded

    spec = load(model, set_)
    answer: Any = formulas(spec, **given)
    if isinstance(answer, Fleet):
        _fleet(answer, settings_of(spec) | answer.inputs | _said(given, "price", "target"), quiet=quiet, form=form)
    elif isinstance(answer, Loaded):
        _loaded(answer, settings_of(spec) | answer.request.inputs | _said(given, "price"), explain=explain, quiet=quiet, form=form)
    else:
        inputs = settings_of(spec) | with_towers(spec) | answer.request.inputs | _said(given, "price", "target", "sweep")
        _alone(answer, inputs, roofline=roofline, explain=explain, quiet=quiet, form=form)


def _said(given: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: given.get(name) for name in names}


def _alone(answer: Any, inputs: dict[str, Any], *, roofline: bool, explain: bool, quiet: bool, form: Any) -> None:
    from gptcalc.show import infer as show
    from gptcalc.show.output import emit

    roof = None
    if roofline:
        from gptcalc.serve.roofline import roofline_of

        roof = roofline_of(answer)
    result = answer.to_dict() | ({"roofline": roof} if roof else {})
    only = answer.value if quiet else None
    emit("infer", inputs, result, lambda: show.tables(answer, explain=explain, roofline=roof), form, only=only)
    if form == "table" and not quiet and (answer.sweep or roof):
        from gptcalc.show import plots

        for picture in ([plots.throughput(answer)] if answer.sweep else []) + ([plots.roofline(roof)] if roof else []):
            sys.stdout.write("\n" + picture)
    lines = show.too_large(answer) if not answer.fits and not answer.targets else []
    if answer.targets and not answer.targets.met:
        lines.append(show.unmet(answer))
    for line in lines:
        typer.echo(line, err=True)
    if lines:
        raise typer.Exit(1)


def _loaded(answer: Any, inputs: dict[str, Any], *, explain: bool, quiet: bool, form: Any) -> None:
    from gptcalc.show import load as show
    from gptcalc.show.output import emit

    emit("infer", inputs, answer.to_dict(), lambda: show.tables(answer, explain=explain), form, only=answer.value if quiet else None)
    if not answer.fits:
        typer.echo(show.too_large(answer), err=True)
        raise typer.Exit(1)


def _fleet(answer: Any, inputs: dict[str, Any], *, quiet: bool, form: Any) -> None:
    from gptcalc.show import fleet as show
    from gptcalc.show.output import emit

    only = (answer.value or 0) if quiet else None
    emit("infer", inputs, answer.to_dict(), lambda: [show.table(answer)], form, only=only)
    if form == "table" and not quiet:
        if answer.command_line:
            sys.stdout.write(f"\n{answer.command_line}\n")
        from gptcalc.show import plots

        sys.stdout.write("\n" + plots.front(answer))
    if not answer.met:
        typer.echo(show.unmet(answer), err=True)
        raise typer.Exit(1)
