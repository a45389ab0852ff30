"""How a file says that its weights are stored. The number of parameters does not change.

`storage` has what each method stores, `layerwise` those whose mapping names single layers, `modelopt` what NVIDIA's exporter writes, and
`compressed` what compressed-tensors does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gptcalc.errors import GptcalcError
from gptcalc.spec.huggingface.compressed import compressed
from gptcalc.spec.huggingface.family import Config, Fields, written
from gptcalc.spec.huggingface.layerwise import auto_round, mlx
from gptcalc.spec.huggingface.modelopt import modelopt
from gptcalc.spec.huggingface.storage import FOREIGN, METHODS, Found, Given
from gptcalc.spec.reading import shown
from gptcalc.spec.unquantized import kept_part

BESIDE = {"hf_quant_config.json": "modelopt", "quantize_config.json": "gptq", "quant_config.json": "awq"}
"""Files that say the quantization beside a config.json that does not, and the method that they are of (vLLM, model_loader)."""

READERS = {
    **METHODS,
    **dict.fromkeys(("modelopt", "modelopt_fp4", "modelopt_mixed"), modelopt),
    "compressed-tensors": compressed,
    **dict.fromkeys(("auto-round", "intel/auto-round"), auto_round),
    "mlx": mlx,
}


class FromFile(dict[str, Any]):
    """The mapping of a file beside the config, with the name that errors say."""

    file = ""


def quantization(key: str, config: Config) -> Fields:
    """The handler of `quantization_config`, and of `quantization` as MLX has it: how weights are stored, and which are kept in 16 bits."""
    given = config[key]
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise config.refuse(key, f"must be a mapping, not {written(given)}")
    other = config.data.get("quantization_config")
    if key == "quantization" and other is not None and other != given:
        raise config.refuse(key, "and quantization_config are not the same: which of them is so is not known")
    if isinstance(given, FromFile):
        key = given.file
    method = _method(given, key, config)
    data = {name: value for name, value in given.items() if name != "quant_method"}
    reader = Given(data, key, config)
    found = READERS[method](reader)
    reader.finish(method)
    for name in (*found.kept, *(name for form in found.forms for name in form.get("of", ()))):
        _check_name(name, key, config)
    return {"quantization": _fields(found)}


def _method(given: Mapping[str, Any], key: str, config: Config) -> str:
    """The method of a mapping, which some of those that write it leave out."""
    method = given.get("quant_method")
    if method is None:
        producer = given.get("producer")
        if "load_in_4bit" in given or "load_in_8bit" in given:  # files of the first versions
            return "bitsandbytes"
        if (isinstance(producer, dict) and producer.get("name") == "modelopt") or "quant_algo" in given:
            return "modelopt"
        if {"group_size", "bits"} <= given.keys():  # MLX names none
            return "mlx"
        if key == "quantization":
            raise config.refuse(key, "is not what MLX writes: group_size and bits are missing")
    if not isinstance(method, str) or method not in READERS:
        why = FOREIGN.get(method) if isinstance(method, str) else None
        reason = "is not understood" if why is None else f"is not counted: {why}"
        raise config.refuse(key, f"of method {written(method)} {reason}", f"known: {', '.join(READERS)}; or give --precision without it")
    return method


def _fields(found: Found) -> Fields:
    from gptcalc.spec.model import Form

    forms = [{name: value for name, value in form.items() if value} for form in found.forms]
    first = Form(**forms[0])
    fields: Fields = {"method": found.method, "bits": first.bits}
    if found.kept:
        fields["kept"] = tuple(dict.fromkeys(found.kept))
    fields["forms"] = forms
    return fields | ({"cache": found.cache} if found.cache else {})


def _check_name(name: str, key: str, config: Config) -> None:
    """Raises GptcalcError for a module that is no known part: what it takes could not be counted."""
    try:
        kept_part(name)
    except GptcalcError as error:
        raise GptcalcError(f"{config.where}: {key}: {error}", hint=error.hint) from None


def with_beside(data: Mapping[str, Any], beside: Mapping[str, Any], file: str, where: str) -> dict[str, Any]:
    """A config with the quantization that a file beside it says.

    Raises GptcalcError, naming both, where the config says another.

    >>> with_beside({}, {"w_bit": 4}, "quant_config.json", "config.json")
    {'quantization_config': {'w_bit': 4, 'quant_method': 'awq'}}
    """
    method = BESIDE[file]
    inner = beside.get("quantization", {}) if method == "modelopt" else beside
    if not isinstance(inner, dict) or (method == "modelopt" and "quantization" not in beside):
        raise GptcalcError(f"{where}: {file} beside it has no mapping 'quantization'")
    if method == "modelopt":
        unknown = next((name for name in beside if name not in ("quantization", "producer")), None)
        if unknown is not None:
            raise GptcalcError(f"{where}: {file} beside it: {shown(unknown)} is a key that gptcalc does not understand")
    own = data.get("quantization_config")
    if own is None and isinstance(data.get("text_config"), dict):
        own = data["text_config"].get("quantization_config")
    if own is None:
        found = FromFile({**inner, "quant_method": inner.get("quant_method", method)})
        found.file = file
        return {**data, "quantization_config": found}
    if method == "modelopt" and isinstance(own, dict):
        for names in (("quant_algo",), ("ignore", "exclude_modules"), ("quantized_layers",)):
            here, there = (_first(one, names) for one in (own, inner))
            if here != there:
                raise GptcalcError(f"{where}: quantization_config and {file} beside it contradict: {names[-1]} differs")
    elif isinstance(own, dict) and own.get("bits", own.get("w_bit")) != inner.get("bits", inner.get("w_bit")):
        raise GptcalcError(f"{where}: quantization_config and {file} beside it contradict: bits differ")
    return dict(data)


def _first(data: Mapping[str, Any], names: tuple[str, ...]) -> object:
    value = next((data[name] for name in names if data.get(name) is not None), None)
    return sorted(map(str, value)) if isinstance(value, list) else value or None
