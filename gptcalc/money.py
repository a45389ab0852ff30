"""What device-hours cost: money, energy and CO2, each as a low, a likely and a high value where an input is a range."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gptcalc.ranges import Range, check_range, exactly, read_range

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec

PUE, CARBON, TDP_SHARE = 1.1, 0.385, 1.0
"""Facility over device power; kg CO2 per kWh (US average); device power over TDP. Source: Touvron et al. 2023 (LLaMA), arXiv:2302.13971,
section 6, whose table 15 multiplies GPU-hours by TDP and PUE."""


class Cost(NamedTuple):
    """USD, kWh and kg of CO2; None where the device's price or power is not known. `inputs` are what they were computed from."""

    cost: Range | None
    energy: Range | None
    co2: Range | None
    inputs: dict[str, Range]
    notes: list[str]


def cost_of(
    hours: Range, device: DeviceSpec, *, price: object = None, tdp_share: object = TDP_SHARE, pue: object = PUE, carbon: object = CARBON
) -> Cost:
    """Money, energy and CO2 of so many hours of one kind of device.

    Energy is hours · TDP · share · PUE. `price` is USD per device and hour; left out, the catalogue's offers are its range.

    Units: USD, kWh, kg.   Raises: GptcalcError for inputs out of bounds.   Source: Patterson et al. 2021, arXiv:2104.10350, section 2.

    >>> from gptcalc.spec.device import load_device
    >>> round(cost_of(exactly(82432.0), load_device("a100")).energy.likely)  # LLaMA-7B, table 15: 36 MWh
    36270
    """
    inputs = {
        "tdp_share": check_range(read_range(tdp_share, "share of TDP"), "share of TDP", upto=1.5),
        "pue": check_range(read_range(pue, "PUE"), "PUE", at_least=1),
        "carbon": check_range(read_range(carbon, "carbon"), "carbon", at_least=0),
    }
    notes = []
    usd = _price(device, price)
    if usd is None:
        notes.append(f"the catalogue has no price for {device.name}: give --price USD_PER_HOUR")
    else:
        inputs["price"] = usd
    kilowatts = None if device.tdp is None else device.tdp / 1000
    if kilowatts is None:
        notes.append(f"the catalogue has no TDP for {device.name}: no energy")
    energy = None if kilowatts is None else times(hours, exactly(kilowatts), inputs["tdp_share"], inputs["pue"])
    cost = None if usd is None else times(hours, usd)
    return Cost(cost, energy, None if energy is None else times(energy, inputs["carbon"]), inputs, notes)


def _price(device: DeviceSpec, price: object) -> Range | None:
    if price is not None:
        return check_range(read_range(price, "price"), "price")
    if not device.prices:
        return None
    offers = [offer.usd for offer in device.prices]
    return exactly(offers[0]) if len(offers) == 1 else Range(min(offers), offers[0], max(offers))


def times(first: Range, *others: Range) -> Range:
    """The product, low with low and high with high; without a high end where one of them has none."""
    low, likely, high = first
    for r in others:
        low, likely, high = low * r.low, likely * r.likely, None if high is None or r.high is None else high * r.high
    known = first.known and all(r.known for r in others)
    return exactly(likely) if known else Range(low, likely, high)
