"""The pages of reference, written from the code: commands and their options, the library, the fields of a model, what is refused."""

import ast
import inspect
import re
import sys
import textwrap
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

import gptcalc as gc
import gptcalc.serve.fleet  # answers that are imported where they are asked for
import gptcalc.serve.loaded
from gptcalc.cli.commands import application
from gptcalc.cli.examples import EXAMPLES
from gptcalc.cli.pages import entries_of
from gptcalc.spec.catalogue import bundled_folder
from gptcalc.spec.huggingface.refused import REFUSED
from gptcalc.spec.reading import read_text, read_yaml

MADE = "<!-- Written by tests/readme.py from the code. -->\n\n"


def cell(text: str) -> str:
    """A cell of a Markdown table."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;").strip()


def commands() -> str:
    """Each command with its examples, arguments and options, as its help has them."""
    group: Any = typer.main.get_command(application())
    pages = [
        f"# Commands\n\n{MADE}`gptcalc help COMMAND` prints the same in a terminal. MODEL is a preset's name, a YAML file, or a Hugging "
        "Face `config.json` (or a folder that holds one).\n\nExit codes: 0 done, 1 a negative answer (does not fit, a check failed), 2 bad "
        "input, 70 a fault of gptcalc's own, 130 interrupted.\n"
    ]
    root = typer.main.get_group(application()).context_class(group, info_name="gptcalc")
    for name in group.list_commands(root):
        command = group.commands[name]
        context = command.context_class(command, info_name=name, parent=root)
        lines = [f"## {name}\n", f"{command.help}\n", "```sh"]
        width = max(len(example) for example, _ in EXAMPLES[name])
        lines += [*(f"{example:<{width}}  # {what}" for example, what in EXAMPLES[name]), "```\n"]
        for heading, entries in entries_of(command, context).items():
            lines += ["| " + heading + " | | default |", "|---|---|---|"]
            for entry in entries:
                names = ", ".join(f"`{one}`" for one in entry.names.split("\n"))
                wants = f" `{entry.wants}`" if entry.wants else ""
                lines.append(f"| {cell(names + wants)} | {cell(entry.text)} | {cell(entry.default)} |")
            lines.append("")
        pages.append("\n".join(lines))
    return "\n".join(pages)


def library() -> str:
    """Every public name with its signature and its docstring, and the public parts of what the functions return."""
    text = f"# Library\n\n{MADE}`import gptcalc as gc`: each command is a function, its options are keyword arguments. "
    text += "Every refusal is a `gc.GptcalcError` with `.hint`; no other exception reaches a caller.\n"
    answers: dict[str, type] = {}
    for name in sorted(set(gc.__all__) - {"__version__"}, key=lambda name: (name[0].isupper(), name)):
        public = getattr(gc, name)
        if inspect.isclass(public):
            answers[name] = public
            continue
        text += f"\n## {name}\n\n```python\n{signature(f'gc.{name}', public)}\n```\n\n{prose(public)}\n"
        for kind in classes(inspect.signature(public).return_annotation):
            answers.setdefault(kind.__name__, kind)
    text += "\n# Answers and records\n"
    for name, kind in sorted(answers.items()):
        text += f"\n## {name}\n\n{prose(kind)}\n"
        rows = [] if issubclass(kind, BaseModel) else list(parts(kind))
        if rows:
            text += "\n| | |\n|---|---|\n" + "".join(f"| `{part}` | {cell(what)} |\n" for part, what in rows)
    return text


def classes(annotation: Any) -> list[type]:
    """The classes of gptcalc's own that an annotation names, written as text or not."""
    words = set(re.findall(r"\w+", annotation if isinstance(annotation, str) else str(annotation)))
    modules = [module for name, module in sorted(sys.modules.items()) if name.startswith("gptcalc.")]
    found = {
        kind
        for module in modules
        for word in words
        if inspect.isclass(kind := vars(module).get(word)) and kind.__module__ == module.__name__
    }
    return sorted(found, key=lambda kind: kind.__name__)


def signature(name: str, function: Any) -> str:
    """As a caller would write it, one parameter a line where there are many."""
    parameters = inspect.signature(function).parameters.values()
    pieces = []
    for kind in parameters:
        if kind.kind == kind.KEYWORD_ONLY and "*" not in pieces and not any(piece.startswith("*") for piece in pieces):
            pieces.append("*")
        pieces.append(bare(str(kind)))
    returned = inspect.signature(function).return_annotation
    end = ")" if returned is inspect.Signature.empty else f") -> {readable(returned)}"
    line = f"{name}({', '.join(pieces)}{end}"
    return line if len(line) <= 100 else f"{name}(\n" + "".join(f"    {piece},\n" for piece in pieces) + end


def bare(text: str) -> str:
    """A type without the modules that its names are from."""
    text = re.sub(r"ForwardRef\('([^']*)'\)", r"\1", text)
    text = re.sub(r"(: |^)'([^']*)'(?=$| =)", r"\1\2", text)
    return re.sub(r"\b(?:gptcalc\.[a-z_.]+|typing|collections\.abc|pathlib)\.", "", text).replace("~", "")


def prose(public: Any) -> str:
    """A docstring, its examples as code."""
    text = inspect.cleandoc(public.__doc__ or "") if not (inspect.isclass(public) and public.__doc__ is None) else ""
    out, example = [], False
    for line in text.split("\n"):
        if line.startswith(">>>") and not example:
            out.append("```python")
            example = True
        if example and not line.strip():
            out.append("```")
            example = False
        out.append(line)
    return "\n".join([*out, "```"] if example else out)


def parts(kind: type) -> list[tuple[str, str]]:
    """Public fields, properties and methods that gptcalc defines, with the first line of what is said of each."""
    found: dict[str, str] = {}
    for name, annotation in inspect.get_annotations(kind).items():
        if not name.startswith("_"):
            found[name] = readable(annotation)
    for name, part in inspect.getmembers_static(kind):
        if name.startswith("_") or not getattr(getattr(part, "fget", part), "__module__", "").startswith("gptcalc"):
            continue
        said = (inspect.getdoc(part) or "").split("\n")[0]
        if isinstance(part, property):
            found[name] = said
        elif inspect.isfunction(part):
            found[f"{name}()"] = said
    return list(found.items())


def readable(annotation: Any) -> str:
    """A type as one writes it."""
    if annotation is type(None):
        return "None"
    return annotation.__name__ if inspect.isclass(annotation) and not typing.get_args(annotation) else bare(str(annotation))


def fields() -> str:
    """All fields of a model, with their types, defaults and meanings."""
    from gptcalc.spec.model import ModelSpec

    text = (
        f"# The fields of a model\n\n{MADE}A model is a frozen, strict record, `gc.ModelSpec`; a preset file and `--set FIELD=VALUE` set "
        "the same fields. Numbers may be written as people write them: `300B`, `32k`, `3.14e23`. What is left out has the default, which "
        "is GPT-2's and GPT-3's architecture.\n\n```sh\ngptcalc params gpt2 --set n_layer=24 --set norm=rmsnorm\n```\n"
    )
    waiting: list[tuple[str, type[BaseModel]]] = [("", ModelSpec)]
    seen: set[type[BaseModel]] = set()
    while waiting:
        path, record = waiting.pop(0)
        if record in seen:
            continue
        seen.add(record)
        if path:
            text += f"\n## `{path}`\n\n{prose(record)}\n"
        comments, sections = said_beside(record)
        text += "\n| field | type | default | |\n|---|---|---|---|\n"
        for name, field in record.model_fields.items():
            meaning = field.description or comments.get(name, "")
            default = "required" if field.is_required() else shown_default(field.get_default(call_default_factory=True))
            text += f"| **{cell(sections[name])}** | | | |\n" if name in sections else ""
            text += f"| `{name}` | {cell(readable(field.annotation))} | {cell(default)} | {cell(meaning)} |\n"
            waiting += [(f"{path}.{name}" if path else name, kind) for kind in inner(field.annotation)]
    return text


def inner(annotation: Any) -> list[type[BaseModel]]:
    """The records that a type holds."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [kind for argument in typing.get_args(annotation) for kind in inner(argument)]


def shown_default(value: Any) -> str:
    if value is None or value in ((), {}):
        return ""
    if isinstance(value, BaseModel):
        return "its own defaults"
    return {"True": "true", "False": "false"}.get(str(value), f"{value:g}" if isinstance(value, float) else str(value))


def said_beside(record: type) -> tuple[dict[str, str], dict[str, str]]:
    """What the source says of a field, above it and behind it; and of those that follow, in a comment under an empty line."""
    source = textwrap.dedent(inspect.getsource(record))
    lines = source.split("\n")
    found, sections = {}, {}
    for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            above = []
            at = node.lineno - 2
            while at >= 0 and lines[at].strip().startswith("#"):
                above.insert(0, lines[at].strip().lstrip("# "))
                at -= 1
            _, _, behind = lines[(node.end_lineno or node.lineno) - 1].partition("  # ")
            if above and at >= 0 and not lines[at].strip():
                sections[node.target.id], above = " ".join(above), []
            found[node.target.id] = " ".join([*above, behind])
    return found, sections


def refused() -> str:
    """The classes that are refused, each with the reason that the program gives; and models that nobody can count."""
    text = (
        f"# Classes that are refused\n\n{MADE}What `gptcalc params config.json` says of each `model_type` of transformers that it knows "
        "and does not count.\n\n"
    )
    text += "| reason | `model_type` |\n|---|---|\n"
    reasons: dict[str, list[str]] = {}
    for model_type, why in REFUSED.items():
        reasons.setdefault(why, []).append(model_type)
    text += "".join(f"| {cell(why)} | {', '.join(f'`{one}`' for one in sorted(types))} |\n" for why, types in sorted(reasons.items()))
    text += "\n## Undisclosed models\n\nTheir makers have published no architecture: a guess would be worth nothing.\n\n"
    text += "| maker | names | an open model to calculate with instead |\n|---|---|---|\n"
    path = bundled_folder() / "models" / "undisclosed.yaml"
    for entry in read_yaml(read_text(path), path.name)["undisclosed"]:
        text += f"| {entry['maker']} | {', '.join(entry['names'])} | `{entry['open']}` |\n"
    return text


def files() -> str:
    """What stands beside the presets of each kind, on one page."""
    kinds = ("devices", "clusters", "stacks", "runtimes", "kernels", "servers", "runs")
    text = (
        f"# Files of your own\n\n{MADE}Each kind of file is explained where its presets are, in `presets/`; this page puts them together. "
    )
    text += "Files in the folders of `$GPTCALC_PRESETS`, and in `presets` of your configuration folder, are found by name.\n"
    for kind in kinds:
        text += "\n" + re.sub(r"^#", "##", (Path(bundled_folder()) / kind / "README.md").read_text("utf-8"), flags=re.MULTILINE)
    return text


WRITTEN: dict[str, Callable[[], str]] = {
    "commands.md": commands,
    "library.md": library,
    "model-fields.md": fields,
    "refused-classes.md": refused,
    "files.md": files,
}
