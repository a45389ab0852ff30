"""Bytes of the weights as a file stores them: what its quantization method packs, with scales, and the rest in 16 bits."""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction
from typing import Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.node import Leaf, Node, tree
from gptcalc.spec.files import as_model
from gptcalc.spec.letters import symbolic
from gptcalc.spec.model import Form, ModelSpec, Quantization
from gptcalc.spec.reading import shown
from gptcalc.spec.shape import shape_of
from gptcalc.spec.unquantized import EMBEDDING, HEAD, IN_BLOCK, Names, names_experts
from gptcalc.symbols import Symbol, ceiling, product
from gptcalc.table.operation import Operation
from gptcalc.table.operations import operations

ROUTING = ("router", "scale")  # one column for an expert: no method's kernels take them, and files keep them in 16 bits

OUTSIDE = ("head/", "embedding/")

Stored = tuple[Form | None, Any]
"""A form, None of what stays in 16 bits, and in how many layers."""


class AsStored(NamedTuple):
    """How a file stores a model: its method, and the form of each matrix that it quantizes in some layer, by path."""

    quantization: Quantization
    forms: dict[str, tuple[tuple[Form | None, int], ...]]

    @property
    def alike(self) -> bool:
        """Whether every matrix is stored alike in all layers that have it."""
        return all(len(found) == 1 for found in self.forms.values())

    def stored(self, path: str, runs: Any) -> list[Stored]:
        """How a matrix is stored that `runs` layers have."""
        first, *rest = self.forms.get(path, ((None, runs),))
        return [(first[0], runs - sum(number for _, number in rest) if rest else runs), *rest]

    def size(self, row: Operation[Any], name: str, shape: Any) -> Any:
        """Bytes of one of a row's tensors in all layers: numbers, or their text."""
        path = row.path if name == "weight" else f"{row.path}/{name}"
        if name != "weight" and path not in self.forms:
            return 2 * product((row.runs, *shape))
        if self.quantization.tensors:
            parts = [_bytes(form.element, product((number, *shape))) for form, number in self.stored(path, row.runs) if form is not None]
            return sum(parts[1:], parts[0])
        sizes = [
            2 * product((number, *shape)) if form is None else packed(form, number, shape if row.kind == "matmul" else shape[::-1])
            for form, number in self.stored(row.path, row.runs)
        ]
        return sum(sizes[1:], sizes[0])


def packed(form: Form, runs: Any, shape: Any) -> Any:
    """Bytes of a matrix of `shape`, (experts,) inputs and outputs, in `runs` layers, with what stands beside it.

    >>> packed(Form(element=4, scale=8, group=16, matrix=32), 1, (64, 64))
    2308
    """
    *stacked, k, n = shape
    matrices = product((runs, *stacked))
    size = _bytes(form.element, product((matrices, k, n)))
    if form.group and form.scale:
        size = size + _bytes(form.scale, product((matrices, _groups(k, form.group), _groups(n, form.rows))))
    for bits, each in ((form.input, k), (form.output, n), (form.matrix, 1)):
        if bits:
            size = size + _bytes(bits, product((matrices, each)))
    return size


def _bytes(bits: float, items: Any) -> Any:
    part = Fraction(bits / 8).limit_denominator(10**9)
    return ceiling(part.numerator * items, part.denominator)


def _groups(width: Any, size: int) -> Any:
    """How many groups of `size` cover a width: one that is not full has a scale too."""
    if size == 1:
        return width
    if not isinstance(width, Symbol):
        return ceiling(width, size)
    return Symbol.letter(f"(-(-{width} // {size}))" if str(width).isidentifier() else f"(-(-({width}) // {size}))")


def form_of(quantization: Quantization) -> Form:
    """How a method stores a matrix, where `bits` is all that a spec says.

    Units: bits.   Source: AutoGPTQ and AutoAWQ, qlinear (g_idx int32; one group: a scale and a zero point for a column); bitsandbytes,
    Linear8bitLt (SCB, fp32 for a row); FBGEMM (fp32 for a row); transformers, FP8Linear without blocks (one fp32).

    >>> form_of(Quantization(method="bitsandbytes", bits=8.0)).output
    32
    """
    method, bits = quantization.method, quantization.bits
    whole = bits == int(bits)
    column = 16 + int(bits) if whole else 0
    beside: dict[str, dict[str, int]] = {
        "gptq": {"input": 32, "output": column},
        "awq": {"output": column},
        "fbgemm_fp8": {"output": 32},
        "bitsandbytes": {"output": 32 if bits == 8 else 0},
        "fp8": {"matrix": 32 if whole else 0},
        "mxfp4": {},
    }
    if method not in beside:
        raise GptcalcError(f"no quantization method '{method}'", hint=f"one of {', '.join(beside)}; or give its forms")
    found = {name: number for name, number in beside[method].items() if number}
    return Form.model_validate({"element": bits, "of": ("mlp.experts",) if method == "mxfp4" else (), **found})


MOST_LAYERS = 100_000
"""Of a quantized model: each layer may be stored otherwise."""


def as_stored(model: ModelSpec) -> AsStored:
    """How the file of a quantized model stores its weights.

    Raises GptcalcError for a model that is not quantized, for an unknown method, for a name that is no known part, and for experts of one
    layer that are not stored alike.
    """
    quantization = model.quantization
    if quantization is None:
        raise GptcalcError(f"{model.name} says nothing of how its weights are stored", hint="give --precision")
    if any(kind.mlp_beside_experts for kind in (model, *model.kinds.values())):
        why = "names of modules that stand for an MLP and for experts beside it are not told apart"
        raise GptcalcError(f"how the file of {model.name} stores its weights is not known: {why}", hint="give --precision")
    if quantization.tensors:
        return AsStored(quantization, _by_tensor(model, quantization))
    if model.n_layer > MOST_LAYERS:
        raise GptcalcError(f"{model.name} has {model.n_layer:,} layers: how each is stored is looked at for {MOST_LAYERS:,} at most")
    forms = sorted(quantization.forms or (form_of(quantization),), key=lambda form: not form.of)
    names = [*quantization.kept, *(name for form in forms for name in form.of)]
    single = any(map(names_experts, names))
    choice = _Choice(quantization.method, [(form, Names(form.of)) for form in forms], Names(quantization.kept), single)
    layers = model.layers or ("",) * model.n_layer
    found: dict[str, tuple[tuple[Form | None, int], ...]] = {}
    for row in operations(shape_of(model), 1, 1, 1):
        shape = dict(row.weights).get("weight", ())
        if len(shape) < 2 or not (row.kind == "matmul" or row.path == EMBEDDING):
            continue
        block, _, inner = row.path.partition("/")
        in_block = block.startswith("block")
        numbers = [number for number, of in enumerate(layers) if of == block.removeprefix("block").strip()] if in_block else [0]
        experts = shape[0] if len(shape) == 3 else 1
        stored = Counter(choice.of(inner if in_block else row.path, number, experts) for number in numbers)
        inputs = shape[-1] if row.path == EMBEDDING else shape[-2]
        if quantization.method == "mlx" and any(form and form.group and inputs % form.group for form in stored):
            stored = Counter({None: len(numbers)})  # MLX leaves a matrix whose groups would not all be full
        if set(stored) != {None}:
            found[row.path] = tuple(sorted(stored.items(), key=lambda one: one[0] is None))
    if model.tied and EMBEDDING in found:
        found[HEAD] = found[EMBEDDING]
    return AsStored(quantization, found)


def _by_tensor(model: ModelSpec, quantization: Quantization) -> dict[str, tuple[tuple[Form | None, int], ...]]:
    """The form of each array, by the tensors of a file that names them all.

    Raises GptcalcError, with the tensor's name, where file and formula do not have the same.
    """
    from gptcalc.reference.gguf import matched

    found = matched(model, quantization.tensors)
    for one in found.differences:
        sizes = [" x ".join(map(str, shape)) if shape else "none" for shape in (one.stored, one.wanted)]
        raise GptcalcError(
            f"{model.name}: tensor '{shown(one.tensor)}' is {sizes[0]} in the file and {sizes[1]} by the formula",
            hint="params FILE --check lists every tensor that differs",
        )
    counted: dict[str, Counter[Form]] = {}
    for ours, bits in found.bits.items():
        place, _, tensor = ours.rpartition(".")
        path = IN_LAYER.sub(r"\1/", place).replace(".", "/") + ("" if tensor == "weight" else f"/{tensor}")
        counted.setdefault(path, Counter())[Form.model_validate({"element": bits})] += 1
    if model.tied:
        counted[HEAD] = counted[EMBEDDING]
    return {path: tuple(forms.items()) for path, forms in counted.items()}


IN_LAYER = re.compile(r"^(block[^.]*)\.\d+\.")


class _Choice(NamedTuple):
    """Which of a quantization's forms a matrix is stored in."""

    method: str
    forms: list[tuple[Form, Names]]
    kept: Names
    single: bool  # whether a name is of one expert

    def of(self, path: str, layer: int, experts: int) -> Form | None:
        if path not in (*IN_BLOCK, HEAD, EMBEDDING):
            raise GptcalcError(f"whether quantized files store {path} quantized is not known to gptcalc", hint="give --precision")
        found = {self._one(path, layer, expert) for expert in range(experts if self.single else 1)}
        if len(found) > 1:
            raise GptcalcError(f"{path} in layer {layer}: experts of one layer that are stored unlike are not counted")
        return found.pop()

    def _one(self, path: str, layer: int, expert: int) -> Form | None:
        if self.kept.has(path, layer, expert):
            return None
        routing = path.rpartition("/")[2] in ROUTING
        for form, names in self.forms:
            if names.has(path, layer, expert) if names else not routing and not path.startswith(OUTSIDE):
                if path.endswith("/indexer/weights") and not names:
                    raise GptcalcError(f"whether the file stores {path} quantized is not said", hint="give --precision")
                return form
        if self.method == "mlx" and routing:
            raise GptcalcError(f"whether the file stores {path} quantized is not said: MLX's classes differ in it", hint="give --precision")
        return None


def stored_bytes(model: ModelSpec | str) -> Node[Any]:
    """The bytes of a model's weights in its quantized file, tensor by tensor; modules that predict further tokens are beside it.

    Matrices are those of the operation table: where a model's code has one for queries, keys and values together, or for gate and up, what
    stands beside it is counted for each. Not counted: the scales of a cache, and headers of the file.

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
