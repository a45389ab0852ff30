"""Configs of presets, with the keys and the numbers of the files published beside their weights; those that say nothing of it are left out.

data/configs.json has them whole, data/hybrids.json those of recurrent models and of models with towers; data/variants.json has those of
models that differ from another in a few keys, and names that one (`of`).
The variants' keys are those of their own config.json, as listed with the safetensors totals in llmfit 1.1.17 (PyPI), in litgpt 0.5.13
(PyPI) and, for Qwen3-Coder-480B, Kimi K2 and MiniMax M2, as shipped in aiconfigurator-core 0.12.0 (PyPI).
"""

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"


def _published() -> dict[str, dict[str, Any]]:
    configs: dict[str, dict[str, Any]] = json.loads((DATA / "configs.json").read_text())
    variants: dict[str, dict[str, Any]] = json.loads((DATA / "variants.json").read_text())
    configs |= json.loads((DATA / "hybrids.json").read_text())
    for name, keys in variants.items():
        configs[name] = {**configs[keys["of"]], **{key: value for key, value in keys.items() if key != "of"}}
    return configs


CONFIGS = _published()
