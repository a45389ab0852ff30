"""`train`: the bill of a training run."""

from typing import Annotated, Any

import typer

from gptcalc.cli.completion import complete_device
from gptcalc.cli.naming import agree, counted
from gptcalc.cli.options import (
    OUTPUT,
    RUN,
    Depth,
    Explain,
    Form,
    Model,
    Quiet,
    Set,
    load,
    options_from,
    settings_of,
)
from gptcalc.spec.plan import RunOptions, TrainOptions


@options_from(TrainOptions)
def train(
    model: Model,
    given: dict[str, Any],
    device: Annotated[
        list[str] | None,
        RUN(
            "--device",
            help="A name, or several with commas between them, each with its count or not: a100:8,tpu-v5p:16; or a file.",
            autocompletion=complete_device,
            show_default="h100-80gb",
        ),
    ] = None,
    timeline: Annotated[bool, OUTPUT("--timeline", help="Draw the pipeline's schedule of one step.")] = False,
    depth: Depth = 2,
    explain: Explain = False,
    quiet: Quiet = False,
    set_: Set = None,
    form: Form = "table",
) -> None:
    """How long a training run takes, on which devices, and what it costs: hours, money, energy, CO2."""
    from gptcalc.errors import GptcalcError
    from gptcalc.run.larger import larger_batch
    from gptcalc.run.request import devices_of, run_of
    from gptcalc.show import train as show
    from gptcalc.show.output import emit
    from gptcalc.show.schedule import passes, pipeline

    spec = load(model, set_)
    asked = RunOptions(**given)
    named = counted(device or ["h100-80gb"])
    agree(named, given.get("count"))
    if not named:
        raise GptcalcError("--device names no device", hint="for example --device h100-80gb")
    if timeline and asked.mfu is not None:
        raise GptcalcError("--timeline draws the step's own passes, which a stated MFU replaces", hint="leave --mfu out")
    if timeline and form == "csv":
        raise GptcalcError("--timeline is drawn under the tables and listed in JSON: csv has no place for it")
    devices = devices_of([name for name, _ in named])
    runs = [run_of(spec, one, asked._replace(count=own) if own else asked) for one, (_, own) in zip(devices, named, strict=True)]
    inputs = settings_of(spec) | runs[0].inputs | ({"device": [run.device for run in runs]} if len(runs) > 1 else {})
    results = [run.to_dict() | ({"timeline": passes(run)} if timeline else {}) for run in runs]
    result = results[0] if len(runs) == 1 else results

    def tables() -> list[Any]:
        larger = larger_batch(spec, devices[0], runs[0], asked) if asked.batch is None and len(runs) == 1 else None
        return [*show.tables(spec, runs, depth, explain, larger), *([pipeline(run) for run in runs] if timeline else [])]

    emit("train", inputs, result, tables, form, only=[run.value for run in runs] if quiet else None)
    lines = [line for run in runs if not run.fits for line in show.too_large(run)]
    for line in lines:
        typer.echo(line, err=True)
    if lines:
        raise typer.Exit(1)
