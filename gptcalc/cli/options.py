"""The options that several commands share, each defined once, and the reading of a MODEL argument."""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from typer.core import TyperCommand, TyperGroup

from gptcalc.choices import USUAL_SEQ, Format
from gptcalc.cli.completion import COMPLETIONS, complete, complete_engine, complete_server
from gptcalc.errors import GptcalcError

if TYPE_CHECKING:
    from gptcalc.spec.fields import Fields, Option


class Misread(typer.BadParameter):
    """What an option cannot be, with the hint that says how to write it."""

    def __init__(self, error: GptcalcError) -> None:
        super().__init__(str(error))
        self.hint = error.hint


def count(value: Any) -> int:
    """A whole number above zero as people write them: 8, 128k, 1e6, 300B."""
    from gptcalc.units import parse_count

    try:
        return parse_count(value, of_bytes=False)
    except GptcalcError as error:
        raise Misread(error) from None


METAVARS = {
    "--device": "NAME",
    "--runtime": "NAME",
    "--name": "NAME",
    "--precision": "TYPE",
    "--kv-precision": "TYPE",
    "--depth": "N",
    "--tokens": "N",
    "--count": "N",
    "--batch": "N",
    "--global-batch": "N",
    "--unique-tokens": "N",
    "--serve-tokens": "N",
    "--params": "N",
    "--flops": "FLOP",
    "--budget": "USD",
    "--price": "USD",
    "--phase": "PHASE",
    "--format": "FORM",
}
"""What an option wants, where its kind of value does not say it."""


def option(*names: str, heading: str | None = None, min: int | None = None, **more: Any) -> Any:  # noqa: A002 - Typer's own word
    """`typer.Option`, under a heading of its own in help; with a `min` of 1 it is a count, which may be written as people write them."""
    counted: dict[str, Any] = {"parser": count, "metavar": "N"} if min == 1 else {"min": min}
    if names[0] in METAVARS and "metavar" not in more:
        counted["metavar"] = METAVARS[names[0]]
    return typer.Option(*names, rich_help_panel=heading, **{**counted, **more})


def under(heading: str) -> Any:
    """`option` with its heading."""
    return lambda *names, **more: option(*names, heading=heading, **more)


RUN, LAYOUT, MONEY = under("Run"), under("Layout"), under("Money and energy")
SERVING, LOAD, OUTPUT = under("Serving"), under("Load"), under("Output")
HEADINGS = ("Sweep", "Run", "Load", "Recipe", "Adapters", "Layout", "Serving", "Money and energy", "Output")
"""In the order in which help has them, before what a command says of its output."""


class Grouped(TyperCommand):
    """A command whose help has a panel for each heading, under examples."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Words as people write them; and of what is too many arguments the command that would take them."""
        names = [param.human_readable_name for param in self.params if param.param_type_name == "argument" and param.nargs == 1]
        ctx.allow_extra_args = True
        extra: list[str] = super().parse_args(ctx, list(_respelt(args)))
        if extra and not ctx.resilient_parsing:
            model = ctx.params.get("model")
            hint = f"gptcalc compare {model} {' '.join(extra)}" if model else f"see '{ctx.command_path} --help'"
            if "family" in ctx.params:
                hint = f"{ctx.command_path} --family {extra[0]}"
            taken = f"one {names[0]}" if names else "no argument"
            raise GptcalcError(f"{ctx.command_path} takes {taken}, not also {' '.join(extra)}"[:300], hint=hint[:300])
        return extra

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from gptcalc.cli.pages import entries_of, page_of

        formatter.write(page_of(self, ctx, entries_of(self, ctx)))


class Commands(TyperGroup):
    """All commands; where a model stands in the place of one, the hint is the command that was probably meant."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None and _is_model(args[0]):
            raise GptcalcError(f"no such command '{args[0]}': that is a model", hint=f"did you mean 'gptcalc params {args[0]}'?")
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from gptcalc.cli.pages import entries_of, page_of
        from gptcalc.show.help import Entry

        listed = [Entry(name, "", self.commands[name].help or "") for name in self.list_commands(ctx)]
        formatter.write(page_of(self, ctx, {"Commands": listed} | entries_of(self, ctx)))


def _is_model(word: str) -> bool:
    from gptcalc.spec import catalogue

    try:
        return not word.startswith("-") and (word.lower().endswith(catalogue.SUFFIXES) or catalogue.look_up(word) is not None)
    except GptcalcError:
        return False


SPELLINGS = {"float16": "fp16", "half": "fp16", "bfloat16": "bf16", "float32": "fp32", "float": "fp32", "single": "fp32"}
SPELLINGS |= {"float8": "fp8", "e4m3": "fp8", "f16": "fp16", "f32": "fp32"}
"""Names that frameworks have for precisions."""

WORDS = ("--precision", "--kv-precision", "--optimizer", "--recompute", "--attention-kernel")
"""Options that take a word of a list, in any case."""


def _respelt(args: list[str]) -> Iterator[str]:
    last = ""
    for word in args:
        name, equals, value = word.partition("=")
        if last in WORDS:
            yield _word(last, word)
        else:
            yield f"{name}={_word(name, value)}" if equals and name in WORDS else word
        last = word


def _word(name: str, value: str) -> str:
    words = value.lower().split(",")
    return ",".join(SPELLINGS.get(word, word) if name.endswith("precision") else word for word in words)


MODEL_HELP = "A preset's name, a YAML file, a GGUF file, or a Hugging Face config.json (or a folder that holds one)."
Model = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP, autocompletion=complete, show_default=False)]
Models = Annotated[list[str], typer.Argument(metavar="MODEL...", help=MODEL_HELP, autocompletion=complete, show_default=False)]
Form = Annotated[Format, OUTPUT("--format", "-f", help="How the answer is written.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Override a field of the model (repeatable).", show_default=False)
]
Quiet = Annotated[bool, OUTPUT("--quiet", "-q", help="Print the one number alone, in base units.")]
Explain = Annotated[bool, OUTPUT("--explain", help="Print the derivation: formula, numbers put in, source.")]


def depth_option(**more: Any) -> Any:
    """The `--depth` of a command, with its own default."""
    return OUTPUT("--depth", min=0, max=9, help="How deep the tree is shown.", **more)


Depth = Annotated[int, depth_option()]
Batch = Annotated[int, option("--batch", min=1, help="Sequences.")]
Seq = Annotated[int | None, option("--seq", min=1, help="Tokens of a sequence.", show_default=USUAL_SEQ)]
KvPrecision = Annotated[
    str | None,
    SERVING("--kv-precision", help="Of the cache: fp32 fp16 bf16 fp8 int8 int4.", show_default="bf16; beside fp32 weights fp32"),
]
Price = Annotated[str | None, MONEY("--price", help="USD per device and hour, or a range.", show_default="the catalogue's")]

TYPES: dict[str, Any] = {"count": int, "number": float, "flag": bool, "choice": bool, "words": list[str], "level": int}
COMPLETIONS |= {"servers": complete_server, "engines": complete_engine}


def options_from(*kinds: "type[Fields]", headings: tuple[str, ...] = HEADINGS) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command the options of records, under what it names itself; it gets those that were typed as `given`."""
    from gptcalc.spec.fields import options_of

    found = {name: one for kind in reversed(kinds) for name, one in options_of(kind).items()}
    ordered = sorted(found.items(), key=lambda item: headings.index(item[1].heading))

    def typed(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters
        fields = [name for name, _ in ordered if name not in own]

        @functools.wraps(command)
        def called(**values: Any) -> None:
            given = {name: values.pop(name) for name in fields}
            command(given={name: value for name, value in given.items() if value is not None}, **values)

        parameters = {name: _parameter(name, one) for name, one in ordered if name in fields}
        kept = {name: parameter for name, parameter in own.items() if name != "given"}
        model = {"model": kept.pop("model")}
        leading = {name: kept.pop(name) for name in list(kept) if _heading(kept[name]) == HEADINGS[0]}
        shown = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (model | leading | parameters | kept).values()]
        called.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
        called.__annotations__ = {one.name: one.annotation for one in shown}
        return called

    return typed


def _heading(parameter: inspect.Parameter) -> str | None:
    return next((one.rich_help_panel for one in get_args(parameter.annotation) if hasattr(one, "rich_help_panel")), None)


def _parameter(name: str, one: "Option") -> inspect.Parameter:
    spelt = one.called or f"--{name.replace('_', '-')}"
    more: dict[str, Any] = {"help": one.help, "show_default": one.usual or False}
    if one.kind == "choice":
        spelt += f"/--no-{spelt.removeprefix('--')}"
    if one.kind == "level":
        more |= {"min": int(one.wants[0]), "max": int(one.wants[-1])}
    if one.kind == "count":
        more["min"] = 1
    if one.wants:
        more["metavar"] = one.wants
    if one.completes:
        more["autocompletion"] = COMPLETIONS[one.completes]
    kind: Any = TYPES.get(one.kind, str)
    annotation: Any = Annotated[kind | None, option(spelt, heading=one.heading, **more)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def load(name: str, settings: list[str] | None = None) -> Any:
    """The spec of a MODEL argument with its --set overrides."""
    from gptcalc.spec.files import load_model

    spec = load_model(name, overrides_of(settings))
    if (width := odd_width(spec)) is not None:
        typer.echo(
            f"warning: heads of {width} channels, no multiple of 8: matmuls of explicit attention run at a small share of their rate",
            err=True,
        )
    return spec


def odd_width(spec: Any) -> int | None:
    """The width of a model's heads where it is no multiple of 8, which tensor cores want."""
    from gptcalc.spec.shape import shape_of

    return next((kind.d_head for _, kind in shape_of(spec).blocks if isinstance(kind.d_head, int) and kind.d_head % 8), None)


def overrides_of(settings: list[str] | None) -> dict[str, str]:
    """--set options as fields and the text of their values."""
    overrides = {}
    for setting in settings or []:
        field, equals, value = setting.partition("=")
        if not equals or not field.strip() or not value.strip():
            raise GptcalcError(f"--set {setting[:100]!r} is not of the form field=value", hint="for example --set n_layer=24")
        overrides[field.strip()] = value.strip()
    return overrides


def settings_of(model: Any) -> dict[str, Any]:
    """What the answer was computed for: the model's name, its resolved numbers and its switches."""
    from gptcalc.spec.shape import LETTERS, shape_of

    shape = shape_of(model)
    numbers = {name: getattr(shape, name) for name in LETTERS}
    return {"model": model.name, **numbers, "n_ctx": model.n_ctx, **shape.switches._asdict(), **_told(model)}


def _told(model: Any) -> dict[str, Any]:
    """What a file says beside the model that is read from it, and which towers a question of the language model leaves out."""
    return {
        "left_out": [*model.left_out, *(f"{tower.name} ({tower.kind})" for tower in model.towers)],
        "unread": list(model.unread),
        **({"own_code": model.own_code} if model.own_code else {}),
    }


def with_towers(model: Any) -> dict[str, Any]:
    """What a question that counts a model's towers still leaves out of its file."""
    return {"left_out": list(model.left_out)}


def files_of(models: Iterable[Any]) -> dict[str, Any]:
    """`_told` of each of several models whose file says something beside it; nothing where none does."""
    told = [{"file": model.name, **_told(model)} for model in models if model.left_out or model.unread or model.towers]
    return {"files": told} if told else {}


def typed(name: str, settings: list[str] | None) -> str:
    """A MODEL argument and its --set overrides as a shell reads them, to suggest further commands."""
    from shlex import join

    return join([name, *(word for setting in settings or [] for word in ("--set", setting))])
