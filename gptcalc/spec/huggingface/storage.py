"""What each quantization method stores, read from the keys of its mapping: bits of an element, and of what stands beside the elements."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.spec.huggingface.family import Config, because, written
from gptcalc.spec.reading import shown

HALF, SINGLE = 16, 32  # bits of a scale
EXPERTS = ("mlp.experts",)
HEAD = ("lm_head",)

FormFields = dict[str, Any]
"""Fields of `spec.model.Form`."""

SKIPPED = ("modules_to_not_convert", "ignored_layers", "llm_int8_skip_modules", "ignore")
"""What transformers, vLLM and AutoFP8, bitsandbytes and compressed-tensors call the modules that are kept."""

UNREAD = {
    **because(
        "how the weights were quantized",
        "damp_percent damp_auto_increment static_groups true_sequential dataset tokenizer meta model_name_or_path model_file_base_name "
        "batch_size pad_token_id cache_block_outputs model_seqlen max_input_length module_name_preceding_first_block "
        "block_name_to_quantize act_group_aware producer observer quantizer mse adapter sym desc_act zero_point",
    ),
    **because(
        "how the weights are computed with",
        "fmt version backend use_exllama exllama_config use_cuda_fp16 activation_scale_ub do_fuse fuse_max_seq_len modules_to_fuse "
        "llm_int8_threshold llm_int8_enable_fp32_cpu_offload llm_int8_has_fp16_weight rms_norm_eps bnb_4bit_compute_dtype "
        "bnb_4bit_quant_type bnb_4bit_quant_storage pack_dtype",
    ),
}
"""Keys that say nothing of what is stored: why."""


ARGUMENTS = because(
    "how activations and caches are scaled as they are computed",
    "num_bits type strategy dynamic symmetric group_size block_structure actorder observer observer_kwargs scale_dtype zp_dtype",
)


class Found(NamedTuple):
    """What a file says of how its weights are stored. A form without modules is of all that no other names."""

    method: str
    forms: list[FormFields]
    kept: Sequence[str] = ()
    cache: str | None = None


class Given:
    """A mapping of which every key is used, known to change nothing, or refused; with errors that name the key."""

    def __init__(self, data: Mapping[str, Any], key: str, config: Config) -> None:
        self.data, self.key, self.config = data, key, config
        self.used: set[str] = set()

    def refuse(self, name: str, why: str, hint: str | None = None) -> GptcalcError:
        return self.config.refuse(f"{self.key}.{shown(name)}", why, hint)

    def get(self, name: str, default: Any = None) -> Any:
        self.used.add(name)
        return self.data.get(name, default)

    def either(self, *names: str, default: Any = None) -> Any:
        """The value of a key that has several names.

        Raises GptcalcError where two of them are given and differ.
        """
        given = [(name, self.get(name)) for name in names if self.get(name) is not None]
        for name, value in given[1:]:
            if value != given[0][1]:
                raise self.refuse(name, f"{written(value)} and {given[0][0]} {written(given[0][1])} are two names of one thing")
        return given[0][1] if given else default

    def whole(self, name: str, value: Any) -> int:
        """A count above zero, or -1: one for all."""
        if type(value) is not int or not (1 <= value <= 10**6 or value == -1):
            raise self.refuse(name, f"must be a whole number above zero, not {written(value)}")
        return value

    def word(self, name: str, default: str | None, *known: str | None) -> str | None:
        value = self.get(name)
        value = default if value is None else value
        if value not in known if isinstance(value, str) or value is None else True:
            listed = ", ".join(one for one in known if one)
            raise self.refuse(name, f"{written(value)} is not understood", f"known: {listed}")
        return None if value is None else str(value)

    def flag(self, name: str) -> bool:
        value = self.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.refuse(name, f"must be true or false, not {written(value)}")
        return bool(value)

    def mapping(self, name: str) -> Mapping[str, Any]:
        value = self.get(name)
        if value is not None and not isinstance(value, dict):
            raise self.refuse(name, f"must be a mapping, not {written(value)}")
        return value or {}

    def names(self, name: str) -> list[str]:
        value = self.get(name)
        if value is not None and (not isinstance(value, list) or not all(isinstance(one, str) for one in value)):
            raise self.refuse(name, f"must be a list of names, not {written(value)}")
        return value or []

    def inner(self, name: str, value: Any) -> Given:
        """A mapping inside."""
        if not isinstance(value, dict):
            raise self.refuse(name, f"must be a mapping, not {written(value)}")
        return Given(value, f"{self.key}.{shown(name)}", self.config)

    def empty(self, name: str, why: str) -> None:
        """Raises GptcalcError for a key that says something."""
        value = self.get(name)
        if value not in (None, False) and value not in ({}, []):
            raise self.refuse(name, f"{written(value)} {why}")

    def finish(self, what: str, unread: Collection[str] = UNREAD) -> None:
        """Raises GptcalcError for a key that nothing reads."""
        for name in self.data:
            if name not in self.used and name not in unread:
                hint = did_you_mean(name, [*self.used, *unread])
                raise self.refuse(name, f"is a key that gptcalc does not understand for {what}", hint)


def kept_modules(given: Given) -> list[str]:
    """The modules that a file keeps, in whichever list; transformers reads each name as a regular expression too."""
    return [_of_transformers(name) for key in SKIPPED for name in given.names(key)]


def _of_transformers(name: str) -> str:
    """A name of transformers' lists: an end of a module's name, or a regular expression up to a dot."""
    star = re.search(r"\.\*(?!\.)|(?<!\.)\*", name)
    if name.startswith(("re:", "*")) or not (star or re.search(r"[\\()\[\]^$+|?{}]", name)):
        return name
    return rf"re:(?:{name})(?=\.|$)"


def _gptq(given: Given) -> Found:
    """AutoGPTQ, qlinear: packed elements and zero points, fp16 scales, and an int32 for each input (g_idx)."""
    given.empty("extra_config", "quantizes other modules than the blocks' matrices, all alike")
    for name in ("is_marlin_format", "is_bitblas_format"):
        given.empty(name, "packs weights otherwise")
    given.word("checkpoint_format", "gptq", "gptq", "gptq_v2")
    given.word("format", "gptq", "gptq", "gptq_v2")
    bits = width(given, "bits", given.get("bits", 4), (2, 3, 4, 8))
    size = given.whole("group_size", given.get("group_size", 128))
    form = in_groups(bits, HALF + bits, size) | {"input": 32}
    inside = _in_each_block(given)
    own, kept = _of_modules(given, form, bits, size)
    head = [form | {"of": HEAD}] if given.flag("lm_head") else []
    return Found("gptq", [form | ({"of": inside} if inside else {}), *own, *head], [*kept_modules(given), *kept])


def _in_each_block(given: Given) -> tuple[str, ...]:
    """Optimum's list of the modules of a block that are quantized, one after another or in lists; none for all."""
    listed = given.get("modules_in_block_to_quantize") or []
    names = [name for one in listed for name in (one if isinstance(one, list) else [one])] if isinstance(listed, list) else [listed]
    if not all(isinstance(name, str) for name in names):
        raise given.refuse("modules_in_block_to_quantize", f"must be a list of names, not {written(listed)}")
    return tuple(names)


def _of_modules(given: Given, form: FormFields, bits: int, size: int) -> tuple[list[FormFields], list[str]]:
    """GPTQModel's `dynamic`, the first pattern that fits a module: `-:` keeps it, and the others give it numbers of its own.

    Source: gptqmodel 7, quantization/config.py (dynamic_get).
    """
    forms: list[FormFields] = []
    kept: list[str] = []
    dynamic = given.mapping("dynamic")
    if dynamic and given.get("modules_in_block_to_quantize"):
        raise given.refuse("dynamic", "and modules_in_block_to_quantize are two choices of modules")
    for pattern, value in dynamic.items():
        if pattern.startswith("-:"):
            if forms:
                raise given.refuse("dynamic", f"has {written(pattern)} behind a pattern that quantizes: which fits first is not known")
            kept.append(f"re:{pattern[2:]}")
            continue
        inner = given.inner("dynamic", dynamic).inner(pattern, value)
        own = width(inner, "bits", inner.get("bits", bits), (2, 3, 4, 8))
        group = inner.whole("group_size", inner.get("group_size", size))
        forms.append(in_groups(own, HALF + own, group) | {"input": form["input"], "of": (f"re:{pattern.removeprefix('+:')}",)})
        inner.finish("a module of GPTQ's")
    return forms, kept


def _awq(given: Given) -> Found:
    """AutoAWQ, gemm: packed elements and zero points, fp16 scales. Its own file has other names for bits and group_size."""
    bits = width(given, "w_bit" if given.get("w_bit") is not None else "bits", given.either("bits", "w_bit", default=4), (4, 8))
    size = given.whole("group_size", given.either("group_size", "q_group_size", default=128))
    return Found("awq", [in_groups(bits, HALF + bits, size)], kept_modules(given))


def width(given: Given, name: str, value: Any, known: tuple[int, ...]) -> int:
    if given.whole(name, value) not in known:
        raise given.refuse(name, f"{value} is a width that the method does not pack", f"known: {', '.join(map(str, known))}")
    return int(value)


def in_groups(bits: int, scale: int, size: int) -> FormFields:
    return {"element": bits, "output": scale} if size == -1 else {"element": bits, "scale": scale, "group": size}


def _fp8(given: Given) -> Found:
    """transformers, FP8Linear: a scale in single precision for each block of weights, or one for all, and one of the activations."""
    given.empty("dequantize", "widens the weights as they are loaded: they are then served in 16 bits")
    given.empty("modules_to_convert", "quantizes other modules than the blocks' matrices")
    given.word("expert_dtype", "fp8", "fp8")
    static = given.word("activation_scheme", "dynamic", "dynamic", "static") == "static"
    scale = 8 if given.word("scale_fmt", "float", "float", "ue8m0") == "ue8m0" else SINGLE
    block, form = given.get("weight_block_size"), {"element": 8}
    if block is None:
        form |= {"matrix": SINGLE}
    elif isinstance(block, list) and len(block) == 2 and all(type(size) is int and 0 < size <= 10**6 for size in block):
        form |= {"scale": scale, "rows": block[0], "group": block[1]}
    else:
        raise given.refuse("weight_block_size", f"must be two whole numbers, not {written(block)}")
    if static:
        form["matrix"] = form.get("matrix", 0) + SINGLE
    return Found("fp8", [form], kept_modules(given), cache_of(given))


def _fbgemm(given: Given) -> Found:
    """transformers, FbgemmFp8Linear: a scale in single precision for each output."""
    return Found("fbgemm_fp8", [{"element": 8, "output": SINGLE}], kept_modules(given))


def _mxfp4(given: Given) -> Found:
    """Open Compute Project 2023, Microscaling Formats: a shared exponent for 32 weights; of experts (transformers, Mxfp4GptOssExperts)."""
    given.empty("dequantize", "widens the weights as they are loaded: they are then served in 16 bits")
    return Found("mxfp4", [{"element": 4, "scale": 8, "group": 32, "of": EXPERTS}], kept_modules(given))


def _mxfp8(given: Given) -> Found:
    """transformers, FP8Linear with one exponent of 8 bits for 32 inputs."""
    given.empty("dequantize", "widens the weights as they are loaded: they are then served in 16 bits")
    given.word("activation_scheme", "dynamic", "dynamic")
    if given.get("weight_block_size") not in (None, [1, 32]):
        raise given.refuse("weight_block_size", f"{written(given.get('weight_block_size'))} is not the [1, 32] of the method")
    given.word("scale_fmt", "ue8m0", "ue8m0")
    return Found("mxfp8", [{"element": 8, "scale": 8, "group": 32}], kept_modules(given))


def _bitsandbytes(given: Given) -> Found:
    """LLM.int8, a scale for a whole row; or 4 bits in blocks of 64, whose scales may be quantized in turn: 8 bits in blocks of 256."""
    four, eight = (given.flag(f"load_in_{bits}bit") or given.flag(f"_load_in_{bits}bit") for bits in (4, 8))
    given.flag("_load_in_4bit")
    given.flag("_load_in_8bit")
    double = given.flag("bnb_4bit_use_double_quant")
    if four and eight:
        raise given.refuse("load_in_4bit", "and load_in_8bit are both true")
    if not four and not eight:
        raise given.refuse("load_in_4bit", "and load_in_8bit are both false: nothing is quantized")
    scale = 8 + SINGLE / 256 if double else SINGLE
    form: FormFields = {"element": 4, "scale": scale, "group": 64} if four else {"element": 8, "output": SINGLE}
    return Found("bitsandbytes", [form], kept_modules(given))


def _bitnet(given: Given) -> Found:
    """transformers, BitLinear: four ternary weights in a byte, and one scale in half precision."""
    given.word("linear_class", "bitlinear", "bitlinear", "autobitlinear")
    if given.word("quantization_mode", "offline", "offline", "online") == "online":
        raise given.refuse("quantization_mode", "'online' stores the weights in 16 bits and rounds them as they are used")
    given.empty("use_rms_norm", "adds norms that the model's class does not have")
    return Found("bitnet", [{"element": 2, "matrix": HALF}], kept_modules(given))


def _eetq(given: Given) -> Found:
    """transformers, EetqLinear: a byte for each weight, and a scale in half precision for each output."""
    given.word("weights", "int8", "int8")
    return Found("eetq", [{"element": 8, "output": HALF}], kept_modules(given))


CACHES = {
    **dict.fromkeys(("fp8", "fp8_e4m3", "fp8_e5m2"), "fp8"),
    **{name: name for name in ("nvfp4", "int8", "int4")},
    **dict.fromkeys(("auto", "none", ""), None),
}
"""What files call the type of the cache, in small letters."""


def cache_of(given: Given) -> str | None:
    """What keys and values are meant to be stored in, where a file says it."""
    scheme = given.either("kv_cache_scheme", "kv_cache_quant_algo")
    if scheme is None:
        return None
    if isinstance(scheme, str):
        if scheme.lower() not in CACHES:
            raise given.refuse("kv_cache_quant_algo", f"{written(scheme)} is not understood", f"known: {', '.join(filter(None, CACHES))}")
        return CACHES[scheme.lower()]
    inner = given.inner("kv_cache_scheme", scheme)
    bits, kind = inner.get("num_bits"), inner.word("type", "float", "float", "int")
    if type(bits) is not int or bits not in (4, 8):
        raise inner.refuse("num_bits", f"must be 4 or 8, not {written(bits)}")
    inner.finish("a cache", ARGUMENTS)
    return f"{'fp' if kind == 'float' else 'int'}{bits}"


METHODS: Mapping[str, Callable[[Given], Found]] = {
    "gptq": _gptq,
    "awq": _awq,
    "fp8": _fp8,
    "fbgemm_fp8": _fbgemm,
    "mxfp4": _mxfp4,
    "mxfp8": _mxfp8,
    "bitsandbytes": _bitsandbytes,
    "bitnet": _bitnet,
    "eetq": _eetq,
}
"""By `quant_method`."""

FOREIGN = {
    **dict.fromkeys(("aqlm", "vptq", "higgs", "spqr", "fp_quant", "sinq"), "codebooks and sparse parts have sizes of their own"),
    **dict.fromkeys(("exl2", "exl3"), "each matrix has its own width, which only the file of the weights says"),
    **dict.fromkeys(("torchao", "quanto", "hqq", "quark", "gguf", "metal"), "how it packs weights is not known to gptcalc"),
    **dict.fromkeys(("nvfp4", "fouroversix", "gemma"), "it quantizes as weights are loaded, and stores none"),
}
"""Methods that are refused, and why."""
