"""How times, rates, money, energy and masses are written, with the unit that CSV has them in."""

from collections.abc import Callable

from gptcalc.show.table import in_unit

DEVICES = {"gpu": "GPU", "tpu": "TPU", "cpu": "CPU"}
"""How a kind of device is called where its hours are counted; the other kinds are devices."""

SPANS = ((86400 * 365.25, "years"), (86400, "days"), (3600, "hours"), (60, "minutes"), (1, "s"), (1e-3, "ms"), (0, "us"))


@in_unit("s")
def span(seconds: float) -> str:
    """A time in the largest unit that leaves a number above one.

    >>> span(0.0268), span(7200), span(26 * 86400)
    ('26.80 ms', '2.00 hours', '26.00 days')
    """
    size, unit = next((size, unit) for size, unit in SPANS if seconds >= size)
    amount = seconds / (size or 1e-6)
    return f"{amount:,.1f} {unit}" if amount >= 100 else f"{amount:.2f} {unit}"


def whole(value: float) -> str:
    return f"{value:,.0f}"


@in_unit("tokens/s")
def pace(value: float) -> str:
    return whole(value)


@in_unit("USD")
def money(usd: float) -> str:
    return f"${usd:,.2f}" if usd < 1000 else f"${usd:,.0f}"


@in_unit("kWh")
def energy(kwh: float) -> str:
    return f"{kwh / 1000:,.1f} MWh" if kwh >= 10_000 else f"{kwh:,.2f} kWh" if kwh < 100 else f"{kwh:,.0f} kWh"


@in_unit("kg")
def mass(kg: float) -> str:
    return f"{kg / 1000:,.1f} t" if kg >= 10_000 else f"{kg:,.1f} kg"


@in_unit("h")
def hours(value: float) -> str:
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def kind_hours(kind: str) -> str:
    """`GPU-hours` by the kind of the device.

    >>> kind_hours("tpu"), kind_hours("npu")
    ('TPU-hours', 'device-hours')
    """
    return f"{DEVICES.get(kind, 'device')}-hours"


class Amount(float):
    """A number that knows how it is written; raw where a machine reads it."""

    def __new__(cls, value: float, _: Callable[[float], str]) -> "Amount":
        return super().__new__(cls, value)

    def __init__(self, _: float, write: Callable[[float], str]) -> None:
        self.write = write
