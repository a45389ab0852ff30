"""`devices`: what is in the catalogue."""

from typing import Annotated

import typer

from gptcalc.cli.options import Explain, Form


def devices(
    name: Annotated[str | None, typer.Argument(metavar="[DEVICE]", help="One device, with its sources.", show_default=False)] = None,
    explain: Explain = False,
    form: Form = "table",
) -> None:
    """The catalogue of accelerators: peaks, memory, price; of one DEVICE every value with its source."""
    from gptcalc.show import devices as show
    from gptcalc.show.output import emit
    from gptcalc.spec.device import all_devices, load_device

    if name is None:
        found = all_devices()
        emit("devices", {}, [show.row(device) for device in found], lambda: [(show.sources if explain else show.table)(found)], form)
        return
    one = load_device(name)
    emit("devices", {"device": one.name}, [show.row(one)], lambda: [show.detail(one)], form)
