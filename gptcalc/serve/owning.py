"""What an hour of owned hardware costs: its price over the years that it is written off in, and the power that it draws."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gptcalc.errors import GptcalcError
from gptcalc.spec.options import float_array
from gptcalc.spec.reading import quoted

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.serving import DeployOptions

HOURS = {"y": 8766.0, "m": 730.5, "d": 24.0}
PUE = 1.2
"""Power of a data centre over that of its machines: Google's is 1.1, the mean of the industry 1.5 (Uptime Institute 2024)."""


def price_of(device: DeviceSpec, asked: DeployOptions) -> Any:
    """What an hour of a device costs: the price that was given, that of owned hardware, or None for the catalogue's.

    Raises GptcalcError for a price beside the cost of owned hardware, and for a part of that cost without the hardware's.
    """
    owning = [name for name in ("capex", "amortise", "power_price") if getattr(asked, name) is not None]
    if not owning:
        return asked.price
    if asked.price is not None:
        raise GptcalcError("a price and a capex contradict: hardware is rented or owned", hint="give one of the two")
    if asked.capex is None:
        raise GptcalcError(f"{owning[0]} is of owned hardware", hint="give --capex, the price of one device, too")
    return owned(device, asked.capex, asked.amortise, asked.power_price)


def owned(device: DeviceSpec, capex: Any, amortise: Any, power_price: Any) -> float:
    """USD of one device and hour; all its TDP is drawn.

    Raises GptcalcError for what is no amount, no time, and a device whose TDP is not known.

    >>> from gptcalc.spec.device import load_device
    >>> round(owned(load_device("h100"), 30000, "4y", 0.1), 2)
    0.94
    """
    if device.tdp is None and power_price is not None:
        raise GptcalcError(f"the catalogue has no TDP for {device.name}: its power cannot be priced", hint="leave out --power-price")
    power = 0.0 if power_price is None else _amount("power_price", power_price) * PUE * (device.tdp or 0.0) / 1000
    return _amount("capex", capex) / hours_of("4y" if amortise is None else amortise) + power


def hours_of(text: Any) -> float:
    """Hours of "4y", "36m" or "900d".

    >>> hours_of("4y")
    35064.0
    """
    found = re.fullmatch(r"\s*(\d+\.?\d*)\s*([ymd])\s*", text) if isinstance(text, str) else None
    hours = float(found[1]) * HOURS[found[2]] if found else 0.0
    if not 0 < hours < float("inf"):
        raise GptcalcError(f"amortise {quoted(text)} is no time", hint="write 4y, 36m or 900d")
    return hours


def _amount(name: str, value: Any) -> float:
    array = float_array(name, value)
    if array.ndim or not 0 < float(array) < float("inf"):
        raise GptcalcError(f"{name} must be a number above zero, not {quoted(value)}")
    return float(array)
