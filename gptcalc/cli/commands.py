"""The Typer application: every command, in the order in which help lists them."""

from typing import Annotated

import typer

import gptcalc
from gptcalc.cli import (
    arithmetic,
    calibrate,
    comparison,
    design,
    devices,
    importing,
    infer,
    memory,
    models,
    plan,
    proof,
    replicate,
    scale,
    sweep,
    train,
)
from gptcalc.cli.options import Commands, Grouped

app = typer.Typer(
    name="gptcalc",
    cls=Commands,
    help="Parameters, FLOPs, memory, time and cost of GPT-style language models: exact, and with the working shown.",
    epilog="More on a command: gptcalc help COMMAND",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    models.models,
    devices.devices,
    arithmetic.params,
    arithmetic.flops,
    memory.memory,
    train.train,
    infer.infer,
    plan.plan,
    sweep.sweep,
    design.design,
    scale.scale,
    comparison.compare,
    proof.verify,
    replicate.replicate,
    calibrate.calibrate,
):
    app.command(cls=Grouped)(command)
app.command("import", cls=Grouped)(importing.import_)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gptcalc {gptcalc.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")] = False,
) -> None: ...
