"""What compressed-tensors stores: groups of modules, how their weights are quantized, and the format that packs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from gptcalc.spec.huggingface.family import written
from gptcalc.spec.huggingface.storage import ARGUMENTS, HALF, HEAD, SINGLE, FormFields, Found, Given, cache_of
from gptcalc.spec.unquantized import OTHER

INT32 = 32
BLOCKS = ("layers", "self_attn", "attention", "attn", "mlp", "block_sparse_moe", "experts", "shared_expert", "shared_experts")
"""Modules that hold linear ones."""


class Weights(NamedTuple):
    """How the weights of a group are quantized."""

    given: Given
    bits: int
    kind: str
    symmetric: bool
    strategy: str
    group: int | None
    block: list[int] | None
    ordered: bool


def compressed(given: Given) -> Found:
    """The forms of a mapping of compressed-tensors'.

    Source: compressed-tensors 0.20, compressors/*/base.py and quantization/lifecycle/initialize.py (initialize_qparams): scales in the
    model's 16 bits unless a format says otherwise.
    """
    for name in ("transform_config", "moe_sparsity_config"):
        given.empty(name, "stores more than is known")
    sparsity = given.mapping("sparsity_config")
    if sparsity.get("format") not in (None, "dense"):
        raise given.refuse("sparsity_config", f"of format {written(sparsity['format'])} packs weights otherwise")
    status = given.word("quantization_status", "compressed", "compressed", "frozen", "initialized", "calibration", "decompressed")
    if status not in ("compressed", "frozen"):
        raise given.refuse("quantization_status", f"{written(status)}: the file's weights are not packed")
    given.empty("dequantize", "widens the weights as they are loaded: they are then served in 16 bits")
    for name in ("run_compressed", "global_compression_ratio", "use_optimized_inference"):
        given.get(name)
    kept = given.names("ignore")
    groups = given.inner("config_groups", given.get("config_groups"))
    if not groups.data:
        raise given.refuse("config_groups", "is empty: nothing is quantized")
    top = given.get("format")
    for module in kept:
        _check_linear(module, given)
    found: dict[str, None] = {}
    forms: list[FormFields] = []
    for name in groups.data:
        method, form = _group(groups.inner(name, groups.get(name)), top)
        found[method] = None
        forms += form
    if sum("of" not in form for form in forms) > 1:
        raise given.refuse("config_groups", "has two groups of all linear modules")
    forms.sort(key=lambda form: "of" in form)
    return Found(" and ".join(found), forms, kept, cache_of(given))


def _group(group: Given, top: object) -> tuple[str, list[FormFields]]:
    form = group.get("format") or top
    if not isinstance(form, str) or form not in FORMATS:
        raise group.refuse("format", f"{written(form)} is not counted", f"known: {', '.join(FORMATS)}")
    weights = _weights(group.inner("weights", group.get("weights")))
    activations = group.mapping("input_activations")
    group.inner("input_activations", activations).finish("activations", ARGUMENTS)
    group.empty("output_activations", "stores more than is known")
    method, fields = FORMATS[form](weights, bool(activations))
    if activations and activations.get("dynamic") is False and form in PLAIN:
        fields = fields | {"matrix": fields.get("matrix", 0) + HALF}
    if form == "nvfp4-pack-quantized" and activations and activations.get("dynamic") is not True:
        fields = fields | {"matrix": fields["matrix"] + SINGLE}
    targets = group.names("targets")
    group.finish("a group of compressed-tensors'")
    if targets == ["Linear"]:
        return method, [fields, fields | {"of": HEAD}]
    if not targets:
        raise group.refuse("targets", "is empty: which modules are quantized is not said")
    for target in targets:
        if _is_class(target):
            raise group.refuse("targets", f"{written(target)} is a class of modules other than Linear")
    return method, [fields | {"of": tuple(targets)}]


def _check_linear(module: str, given: Given) -> None:
    """Raises GptcalcError for a plain name of a whole block: names are matched whole, and only with the linear modules'."""
    last = module.rpartition(".")[2]
    if not module.startswith("re:") and (last in BLOCKS or last.isdecimal()) and not OTHER.keys() & set(module.split(".")):
        raise given.refuse(
            "ignore", f"{written(module)} is no linear module, and its name alone keeps none", f'"re:{module}.*" is all in it'
        )


def _is_class(target: str) -> bool:
    return not target.startswith("re:") and target[:1].isupper()


def _weights(given: Given) -> Weights:
    bits, kind = given.whole("num_bits", given.get("num_bits", 8)), str(given.word("type", "int", "int", "float"))
    size, block = given.get("group_size"), given.get("block_structure")
    default = "tensor" if size is None else "channel" if size == -1 else "group"
    strategy = str(given.word("strategy", default, "tensor", "channel", "group", "block", "tensor_group"))
    if strategy in ("group", "tensor_group"):
        size = given.whole("group_size", size)
    if strategy == "block" and not (
        isinstance(block, list) and len(block) == 2 and all(type(one) is int and 0 < one <= 10**6 for one in block)
    ):
        raise given.refuse("block_structure", f"must be two whole numbers, not {written(block)}")
    symmetric = given.get("symmetric") in (None, True)
    given.flag("symmetric")
    for name in ("dynamic", "observer", "observer_kwargs", "scale_dtype", "zp_dtype"):
        given.get(name)
    ordered = given.get("actorder") in ("group", True)
    given.finish("weights of compressed-tensors'")
    return Weights(given, bits, kind, symmetric, strategy, size if strategy in ("group", "tensor_group") else None, block, ordered)


def _scaled(weights: Weights, scale: int) -> FormFields:
    """`scale` bits for each group, block, output or matrix."""
    if weights.strategy == "tensor":
        return {"matrix": scale}
    if weights.strategy == "channel":
        return {"output": scale}
    if weights.strategy == "block" and weights.block is not None:
        return {"scale": scale, "rows": weights.block[0], "group": weights.block[1]}
    return {"scale": scale, "group": weights.group}


def _plain(weights: Weights, activations: bool) -> tuple[str, FormFields]:
    """A byte for each weight, whatever its width."""
    if not 1 <= weights.bits <= 8 or (weights.kind == "float" and weights.bits != 8):
        raise weights.given.refuse("num_bits", f"{weights.bits} is not stored in a byte")
    method = "fp8" if weights.kind == "float" else "int8"
    return method if activations else f"{method}-weights", {"element": 8} | _scaled(weights, HALF + (0 if weights.symmetric else 8))


def _packed(weights: Weights, activations: bool) -> tuple[str, FormFields]:
    """Packed into int32, with the matrix's shape as two int64, and an int32 for each input where inputs are ordered."""
    if weights.kind != "int" or weights.bits not in (1, 2, 4, 8):
        raise weights.given.refuse("num_bits", f"{weights.bits} of type {weights.kind} is not packed so that it is known")
    fields = {"element": weights.bits} | _scaled(weights, HALF + (0 if weights.symmetric else weights.bits))
    fields["matrix"] = fields.get("matrix", 0) + 2 * 64
    return f"int{weights.bits}", fields | ({"input": INT32} if weights.ordered else {})


def _nvfp4(weights: Weights, activations: bool) -> tuple[str, FormFields]:
    """Two weights in a byte, an fp8 scale for each group of 16, and an fp32 one."""
    _of_width(weights, 4, 16)
    return "nvfp4" if activations else "nvfp4-weights", {"element": 4, "scale": 8, "group": 16, "matrix": SINGLE}


def _mx(bits: int) -> Callable[[Weights, bool], tuple[str, FormFields]]:
    """An exponent of 8 bits for each group of 32."""

    def of(weights: Weights, activations: bool) -> tuple[str, FormFields]:
        _of_width(weights, bits, 32)
        return f"mxfp{bits}", {"element": bits, "scale": 8, "group": 32}

    return of


def _of_width(weights: Weights, bits: int, size: int) -> None:
    if (weights.bits, weights.kind, weights.group, weights.symmetric) != (bits, "float", size, True):
        raise weights.given.refuse(
            "num_bits", f"{weights.bits} ({weights.kind}) in groups of {weights.group} is not the format's {bits} in {size}"
        )


PLAIN = ("int-quantized", "float-quantized", "naive-quantized")
FORMATS: Mapping[str, Callable[[Weights, bool], tuple[str, FormFields]]] = {
    **dict.fromkeys(PLAIN, _plain),
    "pack-quantized": _packed,
    "nvfp4-pack-quantized": _nvfp4,
    "mxfp4-pack-quantized": _mx(4),
    "mxfp8-quantized": _mx(8),
}
"""By `format`: the method's name here and what it stores."""
