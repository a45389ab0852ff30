"""`DeviceSpec`: one accelerator as its data sheet gives it, and the constants that were measured on it.

Base units: FLOP/s, byte, byte/s, Hz, W, USD per hour. The catalogue is presets/devices; its README.md says what each field means.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.spec.catalogue import files_of, is_path, names_of
from gptcalc.spec.entries import called, check_names, entries_of, folded, named, only
from gptcalc.spec.reading import quoted, read_text, shown
from gptcalc.spec.record import Record, validated
from gptcalc.units import parse_count, parse_number

Positive = Annotated[float, BeforeValidator(lambda value: float(parse_number(value))), Field(gt=0)]
Size = Annotated[int, BeforeValidator(parse_count)]
Arithmetic = Literal["fp4", "fp8", "int8", "fp16", "bf16", "tf32", "fp32"]

Platform = Literal["cuda", "rocm", "metal", "xla", "synapse", "neuron", "cpu"]
"""Whose software drives a device: what belongs to CUDA (its context, its graphs, cuBLAS's workspaces) is charged on `cuda` alone."""

PLATFORMS: dict[str, Platform] = {"gpu": "cuda", "tpu": "xla", "hpu": "synapse", "npu": "neuron", "cpu": "cpu"}
"""The platform of a kind of device whose file names none."""

OTHER_PLATFORM, PROCESSOR = 1.5, 2.0
"""Factors each way of a time on an unmeasured device that is no NVIDIA GPU: every constant of kernels was measured on NVIDIA's."""

DEFAULT_CONSTANTS = "h100-80gb"
"""The chip whose measured constants every other chip has until it is measured itself."""


class Price(Record):
    """An offer: USD per device and hour, on a date."""

    usd: Positive
    date: str
    source: str
    verified: str = ""


class Link(Record):
    """The link to the host, in bytes/s."""

    name: str
    bandwidth: Positive


class Constant(Record):
    """A measured number: what it means, and on what it was fitted. `bounds`: of one that whole steps were fitted with, for `calibrate`."""

    value: float = Field(strict=False)
    meaning: str
    source: str
    bounds: Annotated[tuple[float, float], Field(strict=False)] | None = None


class DeviceSpec(Record):
    """An accelerator: its data sheet's peaks, memory and power, and the constants measured on it. presets/devices."""

    name: str
    title: str
    family: str = ""
    kind: Literal["gpu", "tpu", "hpu", "npu", "cpu"]
    platform: Platform | None = None  # where it is not the usual one of its kind
    year: int
    peak: dict[Arithmetic, Positive]
    sparse: dict[Arithmetic, Positive] = Field(default={})
    memory: Size
    bandwidth: Positive
    on_chip: Size
    multiprocessors: Size
    clock: Positive
    link: Link | None = None
    host_link: Positive | None = None
    tdp: Positive | None = None
    prices: tuple[Price, ...] = Field(default=(), strict=False)
    sources: dict[str, str] = Field(default={})
    notes: tuple[str, ...] = Field(default=(), strict=False)
    constants: dict[str, Constant] = Field(default={})

    @property
    def cuda(self) -> bool:
        """Whether CUDA drives it."""
        return (self.platform or PLATFORMS[self.kind]) == "cuda"

    @property
    def usual_type(self) -> str:
        """What a model is computed in where no precision is asked for: the first of bf16, fp16 and fp32 that it has arithmetic for.

        >>> load_device("h100").usual_type, load_device("t4").usual_type
        ('bf16', 'fp16')
        """
        return next(name for name in ("bf16", "fp16", "fp32") if name in self.peak)

    @property
    def unmeasured_factor(self) -> float | None:
        """How many times longer or shorter a time may be where no such chip was measured; none for NVIDIA's and for measured ones.

        >>> load_device("tpu-v4").unmeasured_factor, load_device("epyc-9654").unmeasured_factor, load_device("a100").unmeasured_factor
        (1.5, 2.0, None)
        """
        if self.cuda or self.calibrated:
            return None
        return PROCESSOR if (self.platform or PLATFORMS[self.kind]) == "cpu" else OTHER_PLATFORM

    @property
    def serves_as_measured(self) -> bool:
        """Whether decode steps, prefills or rates of a server were measured on this very device."""
        return "serving_spread" in self.constants

    @property
    def calibrated(self) -> bool:
        """Whether whole steps were measured on this very device, and not only its best matmul."""
        return "step_spread" in self.constants


def load_device(name: str) -> DeviceSpec:
    """The device of a name or an alias, or of a file that holds one.

    Raises GptcalcError for a name that no preset has, with the nearest ones, and for a malformed preset.

    >>> load_device("H100").multiprocessors, load_device("a100").name
    (132, 'a100-80gb')
    """
    wanted = folded(name) if isinstance(name, str) else ""
    if isinstance(name, str) and is_path(name):
        return _parse(only(_devices(Path(name), read_text(name)), shown(name), "devices"), Path(name))
    for path in files_of("devices"):
        text = read_text(path)
        if wanted and wanted in folded(text):
            for device in _devices(path, text):
                if wanted in called(device):
                    return _parse(device, path)
    every = [device for path in files_of("devices") for device in _devices(path, read_text(path))]
    raise GptcalcError(f"no device named {quoted(name)}", hint=_hint(wanted[:100], every))


def as_device(device: str | DeviceSpec) -> DeviceSpec:
    """A device as it is, a name or a file through `load_device`."""
    return device if isinstance(device, DeviceSpec) else load_device(device)


def _hint(wanted: str, devices: list[dict[str, Any]]) -> str | None:
    """What was probably meant: a name like it, those of a maker, or a chip of which clouds rent several under one name."""
    words = [word for device in devices for word in (device["name"], *device["aliases"])]
    several = re.fullmatch(r"(\d+)-?[x*×]-?(.+)", wanted) or re.fullmatch(r"(.+?)-?[x*×]-?(\d+)", wanted)
    if several:
        one, count = (several[2], several[1]) if several[1].isdigit() else (several[1], several[2])
        near = _called_like(one, words)
        return f"did you mean --device {near} --count {count}?" if near else "a device is one chip: --count says how many"
    if (slice_ := re.fullmatch(r"(?:tpu-)?(v\d\w*)-(\d+)", wanted)) and f"tpu-{slice_[1]}" in words:
        cores = "" if slice_[1] in ("v5e", "v6e") else " (a slice is named after its cores, and a chip has two)"
        return f"did you mean --device tpu-{slice_[1]} --count N, with the number of chips{cores}?"
    of_maker = [device["name"] for device in devices if len(wanted) > 2 and wanted in str(device.get("title", "")).lower()]
    otherwise = f"of that name are {', '.join(of_maker)}; " if of_maker else ""
    return did_you_mean(wanted, words, otherwise=f"{otherwise}'gptcalc devices' lists them all")


def _called_like(wanted: str, words: list[str]) -> str | None:
    if wanted in words:
        return wanted
    return next((word for word in words if word.startswith(wanted)), None)


def device_names() -> list[str]:
    """The names of all devices that can be asked for, in the order of their files, the user's included.

    >>> "h100-80gb" in device_names()
    True
    """
    return names_of("devices")


def all_devices() -> list[DeviceSpec]:
    """Every device of the catalogue, in the order of their files.

    Raises GptcalcError for a file that is malformed or gives a name that another has.
    """
    found = [(device, path) for path in files_of("devices") for device in _devices(path, read_text(path))]
    check_names((name, path) for device, path in found for name in called(device))
    return [_parse(device, path) for device, path in found]


def constants_of(device: DeviceSpec) -> dict[str, float]:
    """The constants of a device by name; what it does not have itself is that of the measured chip.

    >>> 0.5 < constants_of(load_device("a100"))["streaming"] <= 1
    True
    """
    measured = device if device.name == DEFAULT_CONSTANTS else _measured()
    lent = measured.constants
    if device.family != measured.family:  # which kernel of attention was slow, and which types run long at what rate, is a family's own
        lent = {name: constant for name, constant in lent.items() if not name.startswith(("attention_", "sustained_"))}
    return {name: constant.value for name, constant in (lent | device.constants).items()}


def watts(text: Any) -> float:
    """A power in watts, with its unit or without.

    Raises GptcalcError for what is none.

    >>> watts("500W"), watts(450), watts("0.5kW")
    (500.0, 450.0, 500.0)
    """
    word = text.strip().lower().removesuffix("w") if isinstance(text, str) else text
    return float(parse_number(word))


def capped(device: DeviceSpec, power: float) -> DeviceSpec:
    """A device whose power is held at `power` watts, below its TDP: its powers, which are shares of what it may draw, rise.

    Raises GptcalcError for a device of unknown TDP, and for a cap above it.

    >>> capped(load_device("h100"), 500).tdp
    500
    """
    if device.tdp is None:
        raise GptcalcError(f"the TDP of {device.name} is not known: a cap of its power says nothing", hint="leave --power out")
    if not 0 < power <= device.tdp:
        raise GptcalcError(
            f"a cap of {power:g} W is not below the {device.tdp:g} W of {device.name}", hint=f"--power {device.tdp:g}W at most"
        )
    every = load_device(DEFAULT_CONSTANTS).constants | device.constants
    powers = {name: every[name] for name in ("tensor_power", "memory_power")}
    if power <= powers["memory_power"].value * device.tdp:
        lowest = powers["memory_power"].value * device.tdp
        raise GptcalcError(f"at {power:g} W not even memory runs at its full rate: below {lowest:.0f} W no time is known")
    higher = {name: one.model_copy(update={"value": one.value * device.tdp / power}) for name, one in powers.items()}
    return device.model_copy(update={"tdp": power, "constants": device.constants | higher})


@functools.cache
def _measured() -> DeviceSpec:
    return load_device(DEFAULT_CONSTANTS)


@functools.lru_cache(maxsize=64)
def _devices(path: Path, text: str) -> list[dict[str, Any]]:
    """The devices of a file's text: kept, since every call on a device asks for one. Whoever reads them changes none."""
    return [named(fields, shown(path)) for fields in entries_of(text, shown(path), "devices")]


def _parse(fields: dict[str, Any], path: Path) -> DeviceSpec:
    own = {key: value for key, value in fields.items() if key != "aliases"}
    return validated(DeviceSpec, own, f"{shown(path)}: {shown(fields['name'])}")
