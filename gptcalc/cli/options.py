"""The options that several commands share, each defined once, and the reading of a MODEL argument."""

from typing import Annotated, Any

import typer

from gptcalc.choices import Format


def complete(typed: str) -> list[str]:
    from gptcalc.spec.catalogue import names

    return [name for name in names() if name.startswith(typed.lower())]


MODEL_HELP = "A preset's name, a YAML file, or a Hugging Face config.json (or a folder that holds one)."
Model = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP, autocompletion=complete, show_default=False)]
Models = Annotated[list[str], typer.Argument(metavar="MODEL...", help=MODEL_HELP, autocompletion=complete, show_default=False)]
Form = Annotated[Format, typer.Option("--format", "-f", help="How the answer is written.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Override a field of the model (repeatable).", show_default=False)
]
Explain = Annotated[bool, typer.Option("--explain", help="Print the derivation: formula, numbers put in, source.")]


def depth_option(**more: Any) -> Any:
    return typer.Option("--depth", min=0, max=9, help="How deep the tree is shown.", **more)


Depth = Annotated[int, depth_option()]
Batch = Annotated[int, typer.Option("--batch", min=1, help="Sequences.")]
Seq = Annotated[int | None, typer.Option("--seq", min=1, help="Tokens of a sequence.", show_default="the model's longest")]


def load(name: str, settings: list[str] | None = None) -> Any:
    """The spec of a MODEL argument with its --set overrides."""
    from gptcalc.spec.files import load_model

    return load_model(name, overrides_of(settings))


def overrides_of(settings: list[str] | None) -> dict[str, str]:
    """--set options as fields and the text of their values."""
    from gptcalc.errors import GptcalcError

    overrides = {}
    for setting in settings or []:
        field, equals, value = setting.partition("=")
        if not equals or not field.strip() or not value.strip():
            raise GptcalcError(f"--set {setting!r} is not of the form field=value", hint="for example --set n_layer=24")
        overrides[field.strip()] = value.strip()
    return overrides


def settings_of(model: Any) -> dict[str, Any]:
    """What the answer was computed for: the model's name, its resolved numbers and its switches."""
    from gptcalc.spec.shape import LETTERS, shape_of

    shape = shape_of(model)
    numbers = {name: getattr(shape, name) for name in LETTERS}
    return {"model": model.name, **numbers, "n_ctx": model.n_ctx, **shape.switches._asdict()}


def typed(name: str, settings: list[str] | None) -> str:
    """A MODEL argument and its --set overrides as a shell reads them, to suggest further commands."""
    from shlex import join

    return join([name, *(word for setting in settings or [] for word in ("--set", setting))])
