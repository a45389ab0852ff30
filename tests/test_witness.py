"""The numbers of devices against a second reading of them: what other projects and documents print (data/witness.yaml)."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gptcalc.spec.device import DeviceSpec, load_device

WITNESS: dict[str, dict[str, dict[str, Any]]] = yaml.safe_load((Path(__file__).parent / "data" / "witness.yaml").read_text("utf-8"))[
    "devices"
]
ROUNDING = 0.022
"""Sources round: 989 and 1,000 TFLOP/s, 1.6 and 1.638 TB/s."""


def value(device: DeviceSpec, field: str) -> float:
    if field.startswith("peak "):
        return {str(name): peak for name, peak in device.peak.items()}[field.removeprefix("peak ")]
    found = device.link.bandwidth if field == "link" and device.link else getattr(device, field)
    assert isinstance(found, int | float)
    return found


@pytest.mark.parametrize(("name", "field"), [(name, field) for name, fields in WITNESS.items() for field in fields])
def test_a_device_is_as_others_print_it(name: str, field: str) -> None:
    assert value(load_device(name), field) == pytest.approx(float(WITNESS[name][field]["value"]), rel=ROUNDING), WITNESS[name][field]


@pytest.mark.parametrize("name", ["v100-32gb", "a100-80gb", "h100-80gb", "h200", "b200", "l4", "t4", "mi300x", "tpu-v4", "tpu-v5p"])
def test_what_a_step_depends_on_most_is_witnessed(name: str) -> None:
    assert "bandwidth" in WITNESS[name]
    assert any(field.startswith("peak") for field in WITNESS[name])
