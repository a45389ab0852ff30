"""What NVIDIA's Model Optimizer stores: `quant_algo`, of all modules or of each by name, in config.json or in hf_quant_config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gptcalc.spec.huggingface.family import written
from gptcalc.spec.huggingface.storage import ARGUMENTS, HEAD, SINGLE, FormFields, Found, Given, cache_of

NVFP4: FormFields = {"element": 4, "scale": 8, "group": 16}
MX: FormFields = {"scale": 8, "group": 32}

ALGORITHMS: Mapping[str, tuple[str, FormFields]] = {
    "FP8": ("fp8", {"element": 8, "matrix": 2 * SINGLE}),
    "FP8_PER_CHANNEL_PER_TOKEN": ("fp8", {"element": 8, "output": SINGLE}),
    "FP8_PB_WO": ("fp8-weights", {"element": 8, "scale": SINGLE, "group": 128, "rows": 128}),
    "NVFP4": ("nvfp4", {**NVFP4, "matrix": 2 * SINGLE}),
    "W4A16_NVFP4": ("nvfp4-weights", {**NVFP4, "matrix": SINGLE}),
    "W4A8_NVFP4_FP8": ("nvfp4", {**NVFP4, "matrix": 2 * SINGLE}),
    "MXFP4": ("mxfp4", {"element": 4, **MX}),
    "MXFP8": ("mxfp8", {"element": 8, **MX}),
}
"""By `quant_algo`: its name here and its form. nvidia-modelopt 0.47, torch/export/unified_export_hf.py (_export_quantized_weight): a
scale of each group of 16 in fp8 (NVFP4) or of 32 as an exponent (MX), one in fp32 for the matrix, and one for its activations."""


def modelopt(given: Given) -> Found:
    """The forms of a mapping of modelopt's, of either of the two files.

    Source: nvidia-modelopt 0.47, torch/export/convert_hf_config.py and quant_utils.py (process_layer_quant_config).
    """
    algorithm = given.get("quant_algo")
    given.empty("has_zero_point", "stores more than is known")
    given.empty("pre_quant_scale", "stores more than is known")
    kept = [*given.names("ignore"), *given.names("exclude_modules")]
    cache = cache_of(given)
    layers = given.mapping("quantized_layers")
    groups = given.mapping("config_groups")
    given.get("producer")
    if algorithm == "MIXED_PRECISION":
        given.get("group_size")
        if not layers:
            raise given.refuse("quantized_layers", "is missing: which module is stored how is not said")
        return _mixed(given.inner("quantized_layers", layers), kept, cache)
    if layers:
        raise given.refuse("quantized_layers", f"goes with quant_algo MIXED_PRECISION, not with {written(algorithm)}")
    name, form = _form(given)
    for group in groups:
        _check_group(given.inner("config_groups", groups).inner(group, groups[group]), form)
    return Found(name, [form, form | {"of": HEAD}], kept, cache)


def _form(where: Given) -> tuple[str, FormFields]:
    algorithm = where.get("quant_algo")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise where.refuse("quant_algo", f"{written(algorithm)} is not counted", f"known: {', '.join(ALGORITHMS)}, MIXED_PRECISION")
    name, form = ALGORITHMS[algorithm]
    size = where.get("group_size")
    if size is not None and form.get("group", size) != size:
        raise where.refuse("group_size", f"{written(size)} is not the {form['group']} of {algorithm}")
    return name, form


def _mixed(layers: Given, kept: list[str], cache: str | None) -> Found:
    """Each module named with its own form; what is not named is kept."""
    forms: dict[str, list[str]] = {}
    for module, value in layers.data.items():
        inner = layers.inner(module, value)
        _form(inner)
        for name in ("has_zero_point", "pre_quant_scale"):
            inner.empty(name, "stores more than is known")
        inner.finish("a module of modelopt's", ())
        forms.setdefault(inner.data["quant_algo"], []).append(module)
    names = dict.fromkeys(ALGORITHMS[algorithm][0] for algorithm in forms)
    return Found(" and ".join(names), [ALGORITHMS[algorithm][1] | {"of": tuple(of)} for algorithm, of in forms.items()], kept, cache)


def _check_group(group: Given, form: FormFields) -> None:
    """Raises GptcalcError where `config_groups`, which repeat it for other readers, say another width than `quant_algo`."""
    weights = group.inner("weights", group.get("weights"))
    bits, size = weights.get("num_bits"), weights.get("group_size")
    if bits != form["element"] or size not in (None, form.get("group")):
        raise weights.refuse("num_bits", f"{written(bits)} in groups of {written(size)} contradicts quant_algo")
    weights.finish("weights of modelopt's", ARGUMENTS)
    for name in ("input_activations", "output_activations"):
        group.inner(name, group.mapping(name)).finish("activations", ARGUMENTS)
    targets: Any = group.get("targets")
    if targets not in (None, ["Linear"]):
        raise group.refuse("targets", f"{written(targets)} are other modules than the linear ones")
    group.finish("a group of modelopt's", ())
