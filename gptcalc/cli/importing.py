"""`import`: a Hugging Face config.json as a preset, with an account of every key."""

from pathlib import Path
from typing import Annotated

import typer

from gptcalc.cli.options import Form, option


def import_(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="A config.json, or a folder that holds one.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write the preset to this .yaml file.", show_default="standard output"),
    ] = None,
    name: Annotated[str | None, option("--name", help="The model's name.", show_default="as the file says")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    form: Form = "table",
) -> None:
    """A Hugging Face config.json as a preset: what was read and why."""
    from gptcalc.errors import GptcalcError
    from gptcalc.spec.files import read_config_file
    from gptcalc.spec.huggingface.writing import preset_text
    from gptcalc.spec.model import parse_model
    from gptcalc.table.params import params

    read = read_config_file(config)
    fields = read.fields | ({"name": name} if name else {})
    read = read._replace(fields=fields)
    total = params(parse_model(fields)).value
    if form != "table":
        from gptcalc.show.importing import result, table
        from gptcalc.show.output import emit

        emit("import", {"config": config}, result(read, total), lambda: [table(read, total)], form)
        return
    text = preset_text(read)
    if out is None:
        typer.echo(text, nl=False)
        return
    if out.exists() and not force:
        raise GptcalcError(f"{out}: is there already", hint="--force overwrites it")
    try:
        out.write_text(text, "utf-8")
    except OSError as error:
        raise GptcalcError(f"{out}: cannot be written ({(error.strerror or type(error).__name__).lower()})") from None
    typer.echo(f"wrote {out}: {fields['name']}, {total:,} parameters", err=True)
