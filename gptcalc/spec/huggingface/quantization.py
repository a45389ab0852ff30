"""How a file says that its weights are stored: the bits of one weight, scales included. The number of parameters does not change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gptcalc.errors import GptcalcError
from gptcalc.spec.huggingface.family import Config, Fields, written
from gptcalc.spec.kept import kept_part

SCALE, FINE_SCALE = 16, 32  # bits of a scale in half and in single precision


def quantization(key: str, config: Config) -> Fields:
    """The handler of `quantization_config`: its method, the stored bits of a weight, and the modules that are kept as they are."""
    given = config[key]
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise config.refuse(key, f"must be a mapping, not {written(given)}")
    method = given.get("quant_method")
    if method is None and ("load_in_4bit" in given or "load_in_8bit" in given):  # files of the first versions
        method = "bitsandbytes"
    if not isinstance(method, str) or method not in METHODS:
        raise config.refuse(key, f"of method {written(method)} is not understood", f"known: {', '.join(METHODS)}")
    kept = given.get("modules_to_not_convert") or given.get("llm_int8_skip_modules") or given.get("ignore") or []
    if not isinstance(kept, list) or not all(isinstance(name, str) for name in kept):
        raise config.refuse(f"{key}.modules_to_not_convert", f"must be a list of names, not {written(kept)}")
    _check_kept(kept, key, config)
    _check_parts(given, key, config)
    fields: Fields = {"method": method, "bits": METHODS[method](_Given(given, key, config))}
    return {"quantization": {**fields, "kept": tuple(kept)} if kept else fields}


def _check_kept(kept: list[str], key: str, config: Config) -> None:
    """Raises GptcalcError for a kept module that is no known part: what it takes could not be counted."""
    for name in kept:
        try:
            kept_part(name)
        except GptcalcError as error:
            raise GptcalcError(f"{config.where}: {key}: {error}", hint=error.hint) from None


def _check_parts(given: Mapping[str, Any], key: str, config: Config) -> None:
    """Raises GptcalcError where a file quantizes its modules unlike each other, or the head besides (GPTQModel)."""
    for name in ("dynamic", "modules_in_block_to_quantize", "lm_head"):
        if given.get(name):
            raise config.refuse(f"{key}.{name}", f"{written(given[name])} quantizes other modules than the blocks' matrices, all alike")


class _Given:
    """The mapping, with errors that name its keys."""

    def __init__(self, data: Mapping[str, Any], key: str, config: Config) -> None:
        self.data, self.key, self.config = data, key, config

    def refuse(self, name: str, why: str) -> GptcalcError:
        return self.config.refuse(f"{self.key}.{name}", why)

    def number(self, name: str, default: int | None = None) -> int:
        value = self.data.get(name, default)
        if type(value) is not int or not (1 <= value <= 10**6 or value == -1):
            raise self.refuse(name, f"must be a whole number above zero, not {written(value)}")
        return value


def _grouped(bits: str, group: str, default: int) -> Callable[[_Given], float]:
    """A half-precision scale and a zero point for each group of weights; one for a whole column counts for nothing."""

    def of(given: _Given) -> float:
        width, size = given.number(bits, 4), given.number(group, default)
        return float(width) if size == -1 else width + (SCALE + width) / size

    return of


def _fp8(given: _Given) -> float:
    """A scale in single precision for each block of weights, or one for all."""
    block = given.data.get("weight_block_size")
    if block is None:
        return 8
    if not isinstance(block, list) or len(block) != 2 or not all(type(size) is int and size > 0 for size in block):
        raise given.refuse("weight_block_size", f"must be two whole numbers, not {written(block)}")
    return 8 + FINE_SCALE / float(block[0] * block[1])


def _bitsandbytes(given: _Given) -> float:
    """LLM.int8, a scale for a whole row; or 4 bits in blocks of 64, whose scales may be quantized in turn: 8 bits in blocks of 256."""
    if given.data.get("load_in_4bit") or given.data.get("_load_in_4bit"):
        scale = 8 + FINE_SCALE / 256 if given.data.get("bnb_4bit_use_double_quant") else FINE_SCALE
        return 4 + scale / 64
    if given.data.get("load_in_8bit") or given.data.get("_load_in_8bit"):
        return 8
    raise given.refuse("load_in_4bit", "and load_in_8bit are both false: nothing is quantized")


METHODS: Mapping[str, Callable[[_Given], float]] = {
    "gptq": _grouped("bits", "group_size", 128),
    "awq": _grouped("bits", "group_size", 128),
    "fp8": _fp8,
    "fbgemm_fp8": lambda given: 8,
    "mxfp4": lambda given: 4 + 8 / 32,  # Open Compute Project 2023, Microscaling Formats: a shared exponent for 32 weights
    "bitsandbytes": _bitsandbytes,
}
"""By `quant_method`: the stored bits of one weight."""
