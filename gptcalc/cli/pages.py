"""What the command line says of itself: the help page of a command, from its own arguments and options."""

from typing import Any

from gptcalc.cli.examples import EXAMPLES
from gptcalc.show.help import Entry, page

WIDE = 24
"""More characters of choices than these are listed in the text of an option."""


def page_of(command: Any, ctx: Any, panels: dict[str, list[Entry]]) -> str:
    """The whole page: examples first, then a panel for each heading."""
    usage = " ".join([ctx.command_path, *(piece.strip("{}") for piece in command.collect_usage_pieces(ctx))])
    return page(usage, command.help or "", EXAMPLES[command.name if ctx.parent else ""], panels, command.epilog or "")


def entries_of(command: Any, ctx: Any) -> dict[str, list[Entry]]:
    """Arguments and options under their headings."""
    found: dict[str, list[Entry]] = {}
    for param in command.get_params(ctx):
        argument = param.param_type_name == "argument"
        heading = "Arguments" if argument else getattr(param, "rich_help_panel", None) or "Options"
        choices = [str(one) for one in getattr(param.type, "choices", ())]
        wants, text = "" if argument or param.is_flag else param.make_metavar(ctx=ctx).strip("<>"), param.help or ""
        if choices and len("|".join(choices)) > WIDE:
            text = f"{text} One of {', '.join(choices)}.".strip()
        elif choices:
            wants = "|".join(choices)
        long = [name for name in param.opts if name.startswith("--")]
        names = ", ".join([*(name for name in param.opts if name not in long), *long])
        names = "\n".join([param.make_metavar(ctx=ctx) if argument else names, *param.secondary_opts])
        found.setdefault(heading, []).append(Entry(names, wants, text, _default(param)))
    return found


def _default(param: Any) -> str:
    if isinstance(param.show_default, str):
        return str(param.show_default)
    value = param.default
    return str(value) if param.show_default and value is not None and not isinstance(value, bool) else ""
