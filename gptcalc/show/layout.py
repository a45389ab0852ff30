"""A layout in words."""

from collections.abc import Mapping
from typing import Any

SIZES = {"tp": "tensor", "pp": "pipeline", "virtual_stages": "virtual stages", "dp": "data", "cp": "context", "ep": "expert"}


def layout(inputs: Mapping[str, Any]) -> str:
    """Its sizes above one, and what is switched on; "one device" where there is neither.

    >>> one = dict.fromkeys(SIZES, 1) | {"zero": 0, "sequence_parallel": False}
    >>> layout(one), layout(one | {"tp": 8, "dp": 1024, "zero": 1})
    ('one device', 'tensor 8, data 1,024, ZeRO-1')
    """
    found = [f"{name} {inputs[key]:,}" for key, name in SIZES.items() if inputs[key] > 1] or ["one device"]
    found += [f"ZeRO-{inputs['zero']}"] * bool(inputs["zero"])
    return ", ".join(found + ["sequence parallel"] * bool(inputs["sequence_parallel"] and inputs["tp"] > 1))
