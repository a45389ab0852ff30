"""`devices`: what is in the catalogue of hardware, and of the software that joins it."""

from typing import Annotated, Any

import typer

from gptcalc.cli.completion import complete_hardware
from gptcalc.cli.options import Explain, Form
from gptcalc.errors import GptcalcError


def devices(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME...]", help="Only these; of one alone its data sheet.", autocompletion=complete_hardware, show_default=False
        ),
    ] = None,
    clusters: Annotated[bool, typer.Option("--clusters", help="List what joins devices, for train --cluster.")] = False,
    stacks: Annotated[bool, typer.Option("--stacks", help="List generations of training software, for train --stack.")] = False,
    explain: Explain = False,
    form: Form = "table",
) -> None:
    """The catalogue of accelerators: peaks, memory, price. Clusters and stacks in the same way."""
    from gptcalc.show.output import emit

    if clusters and stacks:
        raise GptcalcError("--clusters and --stacks are two lists", hint="ask for one at a time")
    show, every, load = _clusters() if clusters else _stacks() if stacks else _devices()
    found = [load(name) for name in dict.fromkeys(names)] if names else every()
    one = bool(names) and len(found) == 1
    kind = "cluster" if clusters else "stack" if stacks else "device"
    inputs: dict[str, Any] = {} if kind == "device" else {"list": f"{kind}s"}
    if names:
        inputs[kind] = found[0].name if one else [each.name for each in found]

    def tables() -> list[Any]:
        sheet = getattr(show, "sheet", show.detail)  # clusters and stacks are short enough as they are
        return [(show.detail if explain else sheet)(found[0]) if one else (show.sources if explain else show.table)(found)]

    emit("devices", inputs, [show.row(each) for each in found], tables, form)


def _devices() -> tuple[Any, Any, Any]:
    from gptcalc.show import devices as show
    from gptcalc.spec.device import all_devices, load_device

    return show, all_devices, load_device


def _clusters() -> tuple[Any, Any, Any]:
    from gptcalc.show import clusters as show
    from gptcalc.spec.cluster import all_clusters, load_cluster

    return show, all_clusters, load_cluster


def _stacks() -> tuple[Any, Any, Any]:
    from gptcalc.show import stacks as show
    from gptcalc.spec.stack import all_stacks, load_stack

    return show, all_stacks, load_stack
