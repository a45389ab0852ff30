"""The Typer application: every command, in the order in which help lists them; or one alone, which starts without the modules of others."""

from functools import cache
from importlib import import_module
from typing import Annotated

import typer

import gptcalc
from gptcalc.cli.options import Commands, Grouped

COMMANDS = {
    "models": "models",
    "devices": "devices",
    "params": "arithmetic",
    "flops": "arithmetic",
    "memory": "memory",
    "train": "train",
    "infer": "infer",
    "plan": "plan",
    "sweep": "sweep",
    "design": "design",
    "scale": "scale",
    "compare": "comparison",
    "verify": "proof",
    "replicate": "replicate",
    "calibrate": "calibrate",
    "import": "importing",
}
"""The module of each command; its function has the command's name."""


@cache
def application(only: str | None = None) -> typer.Typer:
    """The application with all commands, or with the one that is asked for."""
    app = typer.Typer(
        name="gptcalc",
        cls=Commands,
        help="Parameters, FLOPs, memory, time and cost of GPT-style language models: exact, and with the working shown.",
        epilog="More on a command: gptcalc help COMMAND",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name in [only] if only else COMMANDS:
        module = import_module(f"gptcalc.cli.{COMMANDS[name]}")
        app.command(name, cls=Grouped)(getattr(module, name, None) or getattr(module, f"{name}_"))
    app.callback()(_root)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gptcalc {gptcalc.__version__}")
        raise typer.Exit


def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")] = False,
) -> None: ...
