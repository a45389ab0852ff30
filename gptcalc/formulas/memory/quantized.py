"""Bytes of the weights as a file stores them: what its quantization method packs, with scales, and the rest in 16 bits."""

from fractions import Fraction
from typing import Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.formulas.node import Leaf, Node, tree
from gptcalc.formulas.operation import Operation
from gptcalc.formulas.table import operations
from gptcalc.spec.files import as_model
from gptcalc.spec.kept import Kept, kept_part
from gptcalc.spec.model import ModelSpec, Quantization
from gptcalc.spec.shape import shape_of, symbolic
from gptcalc.symbols import ceiling, product

METHODS = ("gptq", "awq", "fp8", "fbgemm_fp8", "mxfp4", "bitsandbytes")
ROUTING = ("router", "scale")  # one column for an expert: no method's kernels take them, and files keep them in 16 bits


class Beside(NamedTuple):
    """Bits that a matrix has beside its elements: for each input, each output, and once."""

    inputs: int = 0
    outputs: int = 0
    once: int = 0


class AsStored(NamedTuple):
    """How a file stores a model: its method, and which matrices it keeps in 16 bits."""

    quantization: Quantization
    kept: dict[str, int | None]  # by path of the operation table: in how many of its layers; None: in all of them

    def size(self, row: Operation[Any], name: str, shape: Any) -> Any:
        """Bytes of one of a row's tensors in all layers: numbers, or their text."""
        kept = self.kept_runs(row, name)
        if kept is None:
            return 2 * product((row.runs, *shape))
        size = self.packed(row.runs - kept if kept else row.runs, shape)
        return size + 2 * product((kept, *shape)) if kept else size

    def kept_runs(self, row: Operation[Any], name: str) -> int | None:
        """In how many layers a tensor stays in 16 bits; None: in all that have it."""
        return self.kept.get(row.path, 0) if is_quantized(self.quantization.method, row, name) else None

    def packed(self, runs: Any, shape: Any) -> Any:
        """Bytes of a quantized tensor in `runs` layers, with what stands beside it."""
        part, beside = Fraction(self.quantization.bits / 8).limit_denominator(10**9), beside_matrix(self.quantization)
        size = ceiling(part.numerator * product((runs, *shape)), part.denominator)
        *stacked, k, n = shape
        for bits, factors in ((beside.inputs, (k,)), (beside.outputs, (n,)), (beside.once, ())):
            if bits:
                size = size + ceiling(bits * product((runs, *stacked, *factors)), 8)
        return size


def beside_matrix(quantization: Quantization) -> Beside:
    """What a method stores beside a matrix, where `bits` of an element do not hold it.

    Units: bits.   Source: AutoGPTQ and AutoAWQ, qlinear (g_idx int32; one group: a scale and a zero point for a column); bitsandbytes,
    Linear8bitLt (SCB, fp32 for a row); FBGEMM (fp32 for a row); transformers, FP8Linear without blocks (one fp32).

    >>> beside_matrix(Quantization(method="bitsandbytes", bits=8.0))
    Beside(inputs=0, outputs=32, once=0)
    """
    method, whole = quantization.method, quantization.bits == int(quantization.bits)
    column = 16 + int(quantization.bits) if whole else 0
    if method == "gptq":
        return Beside(inputs=32, outputs=column)
    if method == "awq":
        return Beside(outputs=column)
    if method == "fbgemm_fp8" or (method == "bitsandbytes" and quantization.bits == 8):
        return Beside(outputs=32)
    return Beside(once=32 if method == "fp8" and whole else 0)


def is_quantized(method: str, row: Operation[Any], name: str) -> bool:
    """Whether a method quantizes a tensor, if it is not kept: the matrices of the blocks, for mxfp4 those of the experts.

    Source: transformers, quantizers (GPTQ, AWQ, bitsandbytes, fp8: every linear layer but the output's; mxfp4: the experts).
    """
    if not row.path.startswith("block") or row.kind != "matmul" or name != "weight" or row.path.rpartition("/")[2] in ROUTING:
        return False
    return method != "mxfp4" or "/experts/" in row.path


def as_stored(model: ModelSpec) -> AsStored:
    """How the file of a quantized model stores its weights.

    Raises GptcalcError for a model that is not quantized, for an unknown method and for a kept module that is no known part.
    """
    quantization = model.quantization
    if quantization is None:
        raise GptcalcError(f"{model.name} says nothing of how its weights are stored", hint="give --precision")
    if quantization.method not in METHODS:
        raise GptcalcError(f"no quantization method '{quantization.method}'", hint=f"one of {', '.join(METHODS)}")
    kept = [kept_part(name) for name in quantization.kept]
    layers = model.layers or ("",) * model.n_layer
    rows = operations(shape_of(model), 1, 1, 1) if kept else []
    return AsStored(quantization, {row.path: _layers_kept(row.path, kept, layers) for row in rows if row.path.startswith("block")})


def _layers_kept(path: str, kept: list[Kept], layers: tuple[str, ...]) -> int | None:
    """How many layers have the matrix of `path` in 16 bits; None: all that have it."""
    block, _, inner = path.partition("/")
    kind = block.removeprefix("block").strip()
    numbers = {number for number, of in enumerate(layers) if of == kind}
    found = [one.layer for one in kept if one.has(inner)]
    return None if None in found or numbers <= set(found) else len(numbers & set(found))


def stored_bytes(model: ModelSpec | str) -> Node[Any]:
    """The bytes of a model's weights in its quantized file, tensor by tensor; modules that predict further tokens are beside it.

    Matrices are counted as the operation table has them: scales of a block that is not full, and headers of the file, are not.

    Units: bytes.   Raises: GptcalcError (see `as_stored`).   Source: OpenAI 2025, arXiv:2508.10925, table 1 (12.8 GiB).

    >>> round(stored_bytes("gpt-oss-20b").value / 2**30, 1)
    12.8
    """
    model = as_model(model)
    stored, shape = as_stored(model), shape_of(model)
    leaves = []
    for row, text in zip(operations(shape, 1, 1, 1), operations(symbolic(shape), 1, 1, 1), strict=True):
        for (tensor, size), (_, letters) in zip(row.weights, text.weights, strict=True):
            leaves.append(Leaf(f"{row.path}/{tensor}", stored.size(row, tensor, size), stored.size(text, tensor, letters), row.source))
    return tree("stored weights", "bytes", leaves)
