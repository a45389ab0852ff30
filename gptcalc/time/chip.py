"""A device in the plain numbers that timing formulas read: its data sheet's peaks, and the constants measured on it or on its kin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gptcalc.spec.recipe import SCALED, peak_of

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec


@dataclass(frozen=True, slots=True)
class Chip:
    """What each constant means and where it comes from stands beside its value, in presets/devices.

    `lanes` are multiprocessors times clock, which rates of passes and scores are multiples of. Where a device's units are no
    multiprocessors of a GPU (TPU, Gaudi, processor) they are the measured chip's, scaled by bandwidth: passes are bound as they are there.
    """

    name: str
    peaks: dict[str, float]
    bandwidth: float
    multiprocessors: int
    lanes: float
    on_chip: int
    constants: dict[str, float]
    cuda: bool = True  # whether its matmuls are cuBLAS's: slow where sizes are not aligned, never of fewer than 16 rows

    def __getattr__(self, name: str) -> float:
        try:
            return self.constants[name]
        except KeyError:
            raise AttributeError(name) from None

    def has(self, arithmetic: str) -> bool:
        return SCALED.get(arithmetic, arithmetic) in self.peaks

    def peak(self, arithmetic: str) -> float:
        """FLOP/s of dense arithmetic.

        Raises GptcalcError for a type that the device has no arithmetic for.
        """
        return peak_of(self.name, self.peaks, arithmetic)

    def matmul_rate(self, arithmetic: str, operand: str) -> float:
        """FLOP/s that a matmul of whole waves of large tiles reaches."""
        share = {"fp32": "matmul_fp32", "tf32": f"matmul_tf32_{operand}", "fp8": "matmul_fp8", "fp4": "matmul_fp4"}.get(
            arithmetic, "matmul"
        )
        if arithmetic in SCALED:
            share = f"matmul_{arithmetic}" if f"matmul_{arithmetic}" in self.constants else "matmul_fp8"
        return self.peak(arithmetic) * self.constants[share]

    def kept_up(self, arithmetic: str) -> float:
        """How many times the clock that many devices sustain the matmuls of a type of arithmetic run at: 1 where nothing is known."""
        sustained = self.constants["sustained"]
        return self.constants.get(f"sustained_{arithmetic}", sustained) / sustained

    def attention(self, kernel: str) -> float:
        """How many times as long a generation of attention's kernel takes as the one whose rates the chip has."""
        return self.constants.get(f"attention_{kernel.replace('-', '_')}", 1.0)

    def share(self, kind: str) -> float:
        """Share of memory bandwidth that a kind of pass reaches."""
        return self.constants.get(f"share_{kind}", self.constants["streaming"])

    def rate(self, kind: str) -> float | None:
        """Elements per multiprocessor and clock of a kind of pass that is not bound by memory alone."""
        return self.constants.get(f"rate_{kind}")


def chip_of(device: DeviceSpec) -> Chip:
    """The plain form of a device."""
    from gptcalc.spec.device import DEFAULT_CONSTANTS, constants_of, load_device

    lanes = device.multiprocessors * device.clock
    if device.kind != "gpu":
        measured = load_device(DEFAULT_CONSTANTS)
        lanes = measured.multiprocessors * measured.clock * device.bandwidth / measured.bandwidth
    return Chip(
        device.name,
        {str(name): value for name, value in device.peak.items()},
        device.bandwidth,
        device.multiprocessors,
        lanes,
        device.on_chip,
        constants_of(device),
        device.cuda,
    )
