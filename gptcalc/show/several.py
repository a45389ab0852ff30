"""`memory` of several devices or precisions as one table: what each takes, whether it fits, and the cheapest that does."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gptcalc.footprint.answer import FITS, ServingMemory, TrainingMemory
from gptcalc.footprint.several import Held
from gptcalc.show.amounts import Amount, money, whole
from gptcalc.show.devices import seller
from gptcalc.show.storage import aside
from gptcalc.show.table import Column, Table, Verdict, in_unit
from gptcalc.spec.model import ModelSpec
from gptcalc.units import binary

PURPOSES = {"inference": "to serve", "training": "to train"}
STYLES = {FITS[True]: "green", FITS[False]: "bold red", FITS[None]: "yellow"}


def table(model: ModelSpec, rows: Sequence[Held], inputs: Mapping[str, Any]) -> Table:
    """A row for each device and precision; serving and training beside each other where both were asked for."""
    modes = list(dict.fromkeys(row.mode for row in rows))
    groups = [rows[at : at + len(modes)] for at in range(0, len(rows), len(modes))]
    devices, alone = any(row.device for row in rows), len(modes) == 1
    made: list[tuple[Column, Callable[[Sequence[Held]], Any]]] = []
    if devices:
        made.append((Column("device"), lambda group: named(group[0])))
    if any(row.precision for row in rows):
        made.append((Column("precision"), lambda group: group[0].precision))
    for at, mode in enumerate(modes):
        if all(row.answer is None for row in rows if row.mode == mode):
            continue
        made += _of_mode(mode, at, alone=alone, devices=devices)
    if devices:
        made += _offers(rows, alone)
    notes = _refusals(rows)
    if devices:
        notes.append("room: what a program can allocate; the price is of all the devices, where the catalogue has one")
        notes.append("next: one --device (its parts, and what would make it fit), gptcalc train (the fastest and the cheapest run)")
    else:
        notes.append("next: --device h100-80gb (does it fit?), one --precision (its parts)")
    headline = f"{model.name}: {_answer(rows, modes, inputs)}{aside(model)}"
    return Table(
        headline, [column for column, _ in made], [[read(group) for _, read in made] for group in groups], notes, verdict=_color(rows)
    )


def _of_mode(mode: str, at: int, *, alone: bool, devices: bool) -> list[tuple[Column, Callable[[Sequence[Held]], Any]]]:
    """What serving or training takes."""
    size = Column("memory" if alone else PURPOSES[mode], lambda amount: amount.write(amount), right=True)
    found: list[tuple[Column, Callable[[Sequence[Held]], Any]]] = [(size, lambda group: _size(group[at].answer))]
    if mode == "inference":
        found.insert(0, (Column("weights", binary, right=True, drop=4), lambda group: _weights(group[at])))
    if devices:
        found.append((Column("fits", style=lambda fits: STYLES.get(fits, "")), lambda group: _fits(group[at])))
    return found


def _offers(rows: Sequence[Held], alone: bool) -> list[tuple[Column, Callable[[Sequence[Held]], Any]]]:
    """What a device offers, and for how much."""
    best = cheapest(rows)

    def marked(usd: float) -> str:
        return "bold green" if best and usd == best.price else ""

    found: list[tuple[Column, Callable[[Sequence[Held]], Any]]] = [(Column("room", binary, right=True, drop=4), _room)]
    if alone:
        found.append((Column("largest batch", whole, right=True, drop=5), lambda group: _most(group[0])))
    return [
        *found,
        (Column("USD/h", money, right=True, drop=0 if alone else 2, style=marked), lambda group: group[0].price),
        (Column("", style="green", drop=0 if alone else 1), lambda group: "cheapest" if best in group else None),
        (Column("price from", drop=3, style="dim"), lambda group: _seller(group[0])),
    ]


def _refusals(rows: Sequence[Held]) -> list[str]:
    """Why there is no number, once for all devices or precisions that it holds for."""
    said: dict[tuple[str, str], list[Held]] = {}
    for row in rows:
        if row.refused:
            said.setdefault((row.mode, row.refused), []).append(row)
    everywhere = len({row.device.name for row in rows if row.device})
    notes = []
    for (mode, why), refused in said.items():
        devices = list(dict.fromkeys(named(row) for row in refused if row.device))
        names = list(dict.fromkeys(row.precision for row in refused if row.precision))
        which = [*(devices if len(devices) < everywhere or not names else []), *names, PURPOSES[mode]]
        notes.append(f"{', '.join(which)}: {why}")
    return notes


def named(row: Held) -> str:
    """A device, with how many there are."""
    assert row.device is not None
    return f"{row.number:,} × {row.device.name}"


def cheapest(rows: Sequence[Held]) -> Held | None:
    """Of those that fit and have a price; of several the first."""
    priced = [row for row in rows if row.fits and row.price is not None]
    return min(priced, key=lambda row: row.price or 0.0, default=None)


def _answer(rows: Sequence[Held], modes: Sequence[str], inputs: Mapping[str, Any]) -> str:
    what = f"{inputs['batch']:,} × {inputs['seq']:,} tokens"
    modes = [mode for mode in modes if any(row.mode == mode and row.answer for row in rows)]
    if not any(row.device for row in rows):
        sizes = []
        for mode in modes:
            values = [row.answer.value for row in rows if row.mode == mode and row.answer]
            if values:
                sizes.append(
                    f"{binary(min(values))} to {binary(max(values))} {PURPOSES[mode]}"
                    if len(values) > 1
                    else f"{binary(values[0])} {PURPOSES[mode]}"
                )
        return f"{', '.join(sizes)} {what}"
    found = []
    for mode in modes:
        own = [row for row in rows if row.mode == mode]
        fitting = [row for row in own if row.fits]
        perhaps = sum(row.answer is not None and row.fits is None for row in own)
        said = f"fits on {len(fitting)} of {len(own)}" if fitting else "may fit" if perhaps else f"fits on none of {len(own)}"
        best = cheapest(own)
        found.append(
            f"{PURPOSES[mode]} {what} it {said}" + (f", cheapest on {named(best)} ({money(best.price or 0)} an hour)" if best else "")
        )
    return "; ".join(found)


def _color(rows: Sequence[Held]) -> Verdict:
    if not any(row.device for row in rows):
        return ""
    if any(row.fits for row in rows):
        return "yes"
    return "beware" if any(row.answer is not None and row.fits is None for row in rows) else "no"


def _size(answer: TrainingMemory | ServingMemory | None) -> Amount | None:
    if answer is None:
        return None
    least = isinstance(answer, TrainingMemory) and bool(answer.training.lower_bound or answer.training.unsettled)
    return Amount(answer.value, at_least if least else binary)


@in_unit("bytes")
def at_least(size: float) -> str:
    return f"at least {binary(size)}"


def _weights(row: Held) -> int | None:
    return int(row.answer.peak["weights"].value) if row.answer else None


def _fits(row: Held) -> str | None:
    return FITS[row.fits] if row.answer else None


def _room(group: Sequence[Held]) -> int | None:
    for row in group:
        if isinstance(row.answer, ServingMemory):
            return int(row.answer.limits["room"])
        if row.answer and row.answer.verdict:
            return row.answer.verdict.room
    return None


def _most(row: Held) -> int | None:
    if isinstance(row.answer, ServingMemory):
        return int(row.answer.limits["max_batch"])
    return row.answer.verdict.largest_batch if row.answer and row.answer.verdict else None


def _seller(row: Held) -> str | None:
    offer = row.device.prices[0] if row.device and row.device.prices else None
    return seller(offer.source, offer.date) if offer else None


def _which(row: Held) -> str:
    of = [*([named(row)] if row.device else []), *([row.precision] if row.precision else [])]
    return f"{', '.join(of)}, {PURPOSES[row.mode]}"
