"""`devices` as tables: the catalogue at a glance, and one device with the source of every value."""

from typing import Any

from gptcalc.show.table import Column, Table
from gptcalc.spec.cluster import cluster_for
from gptcalc.spec.device import DeviceSpec
from gptcalc.units import binary, short


def row(device: DeviceSpec) -> dict[str, Any]:
    """A device as JSON has it, base units."""
    return device.model_dump(mode="json") | {"calibrated": device.calibrated, "cluster": cluster_for(device.name).name}


def table(devices: list[DeviceSpec]) -> Table:
    columns = [
        Column("name"),
        Column("year", right=True, drop=2),
        Column("16-bit", flops, right=True),
        Column("fp8 / int8", flops, right=True, drop=3),
        Column("fp32", flops, right=True, drop=4),
        Column("memory", binary, right=True),
        Column("bandwidth", lambda rate: short(rate, "B/s"), right=True),
        Column("TDP", watts, right=True, drop=1),
        Column("USD/h", lambda usd: f"{usd:.2f}", right=True),
    ]
    body = [
        [
            device.name,
            device.year,
            _peak(device, "bf16", "fp16"),
            _peak(device, "fp8", "int8"),
            _peak(device, "fp32"),
            device.memory,
            device.bandwidth,
            device.tdp,
            device.prices[0].usd if device.prices else None,
        ]
        for device in devices
    ]
    measured = ", ".join(device.name for device in devices if device.calibrated)
    notes = [
        "peaks are dense; memory is what the driver offers; prices are on demand, with their dates in: gptcalc devices NAME",
        f"measured: {measured or 'none'}; times on all others are uncalibrated",
        "what joins them: gptcalc devices --clusters; the software that trains on many: gptcalc devices --stacks",
    ]
    return Table(f"{len(devices)} devices", columns, body, notes)


def flops(rate: float) -> str:
    return short(rate, "FLOP/s")


def _peak(device: DeviceSpec, *types: str) -> float | None:
    peaks = {str(name): value for name, value in device.peak.items()}
    return next((peaks[name] for name in types if name in peaks), None)


VALUES = [Column("value of", fold=True), Column("", str, right=True, fold=True), Column("source", fold=True)]


def sheet(device: DeviceSpec) -> Table:
    """One device on a page: dense peaks by type, memory, links, power and price; every constant is left to `detail`."""
    peaks: dict[float, list[str]] = {}
    for name, value in device.peak.items():
        peaks.setdefault(value, []).append(str(name))
    rows: list[list[Any]] = [[f"peak {', '.join(names)}", flops(value), "dense"] for value, names in peaks.items()]
    rows += [
        ["memory", binary(device.memory), "as the driver offers it"],
        ["bandwidth", short(device.bandwidth, "B/s"), "of the memory"],
        ["on-chip memory", binary(device.on_chip), f"{device.multiprocessors:,} multiprocessors at {short(device.clock, 'Hz')}"],
    ]
    if device.link:
        rows.append(["link", short(device.link.bandwidth, "B/s"), device.link.name])
    if device.host_link:
        rows.append(["link to the host", short(device.host_link, "B/s"), ""])
    if device.tdp:
        rows.append(["TDP", watts(device.tdp), ""])
    usual = cluster_for(device.name)
    rows.append(["usual cluster", usual.name, usual.title])
    rows += [["price", f"${offer.usd:.2f} an hour", seller(offer.source, offer.date)] for offer in device.prices[:MOST_PRICES]]
    further = len(device.prices) - MOST_PRICES
    more = f"{further} more price{'s' * (further > 1)}, " if further > 0 else ""
    notes = [f"note: {note}" for note in (*device.notes, *usual.notes)]
    notes += [f"next: gptcalc devices {device.name} --explain ({more}every constant, each value with its source)"]
    columns = [Column("data sheet"), Column("", str, right=True), Column("", fold=True, style="dim")]
    return Table(_titled(device), columns, rows, notes, verdict="yes" if device.calibrated else "beware")


MOST_PRICES = 3


def watts(power: float) -> str:
    return f"{power:,.0f} W"


def seller(source: str, date: str) -> str:
    """Whose price it is, and of when."""
    return f"{_where(source)}, {date}"


def _where(source: str) -> str:
    """A source's first words."""
    return source.partition(",")[0].partition(";")[0].partition("(")[0].strip()


def _titled(device: DeviceSpec) -> str:
    state = "measured" if device.calibrated else "uncalibrated: times use the H100's constants"
    return f"{device.name}: {device.title}, {device.year} ({state})"


def detail(device: DeviceSpec) -> Table:
    """Every value of one device with its source."""
    return Table(_titled(device), VALUES, _values(device), [f"note: {note}" for note in device.notes])


def sources(devices: list[DeviceSpec]) -> Table:
    """Every value of every device with its source."""
    rows = [[device.name, *row] for device in devices for row in _values(device)]
    return Table(f"{len(devices)} devices, each value with its source", [Column("device"), *VALUES], rows)


def _values(device: DeviceSpec) -> list[list[Any]]:
    sources = device.sources
    unconfirmed = {name.strip() for name in sources.get("unconfirmed", "").split(",")}

    def source(field: str) -> str:
        return sources.get(field, "remembered from the data sheet, read in no source" if field in unconfirmed else "")

    rows: list[list[Any]] = [[f"peak {name}", flops(value), source("peak")] for name, value in device.peak.items()]
    rows += [[f"sparse {name}", flops(value), source("sparse")] for name, value in device.sparse.items()]
    rows += [
        ["memory", binary(device.memory), source("memory")],
        ["bandwidth", short(device.bandwidth, "B/s"), source("bandwidth")],
        ["on-chip memory", binary(device.on_chip), source("on_chip")],
        ["multiprocessors", device.multiprocessors, source("multiprocessors")],
        ["clock", short(device.clock, "Hz"), source("clock")],
    ]
    if device.link:
        rows.append([f"link {device.link.name}", short(device.link.bandwidth, "B/s"), source("link")])
    if device.host_link:
        rows.append(["link to the host", short(device.host_link, "B/s"), source("host_link")])
    if device.tdp:
        rows.append(["TDP", watts(device.tdp), source("tdp")])
    usual = cluster_for(device.name)
    rows.append(["usual cluster", usual.name, "; ".join([usual.title, *usual.notes])])
    rows += [["price", f"{offer.usd:.2f} USD/h", f"{offer.source}; {offer.date}; {offer.verified}"] for offer in device.prices]
    return rows + [[f"constant {name}", f"{one.value:g}", f"{one.meaning}; {one.source}"] for name, one in device.constants.items()]
