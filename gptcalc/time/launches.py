"""Every kernel that one training step on one device runs: the operation table's matmuls, as the runtime fuses them, attention, and the
passes over memory that the runtime's code makes.

B sequences of T tokens, N = B·T; other letters in `spec.shape` and presets/kernels/README.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.footprint.states import of_experts
from gptcalc.spec.expression import evaluate
from gptcalc.spec.recipe import ARITHMETIC, NARROW, PRECISIONS, Recipe, tags_of
from gptcalc.spec.runtime import applies
from gptcalc.spec.shape import Shape
from gptcalc.symbols import Quantity, ceiling, pick, product
from gptcalc.table.operation import Operation
from gptcalc.table.operations import operations
from gptcalc.table.sharding import VOCABULARY_MULTIPLE
from gptcalc.time.chip import Chip
from gptcalc.time.kernels import Kernel, Operand, ceil, efficient, flash, matmul, settled, streaming

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.passes import Pass, Passes
    from gptcalc.spec.runtime import Implementation, RuntimeOperation

EXPLICIT = ("eager", "math")


class Work(NamedTuple):
    """What is launched: a model's shape, the runtime's code for it, the recipe's conditions, and the device."""

    chip: Chip
    shape: Shape[Any]
    implementation: Implementation
    passes: Passes
    recipe: Recipe
    tags: frozenset[str]
    batch: Quantity
    seq: Quantity
    aligned: bool = False  # whether the runtime pads what is not aligned
    outside: Quantity | None = None  # tokens of a sequence outside the tensor-parallel regions, where sequence parallelism divides them
    keys: Quantity | None = None  # tokens of the whole sequence, where context parallelism divides the queries
    expert_ranks: Quantity = 1  # ranks that the experts are divided over
    stops_early: bool = True  # recomputation ends at the last tensor that is needed
    grouped: frozenset[str] = (
        frozenset()
    )  # where layers differ: the kinds of block whose key-value heads are fewer, before they are divided

    @property
    def arithmetic(self) -> str:
        return ARITHMETIC.get(self.recipe.precision, self.recipe.precision)

    @property
    def letters(self) -> dict[str, Quantity]:
        s, precision = self.shape, PRECISIONS[self.recipe.precision]
        keys = self.seq if self.keys is None else self.keys
        tokens, scores = product((self.batch, self.seq)), product((self.batch, self.seq, keys, s.n_head))
        sizes = {"w": precision.stored, "c": precision.compute}
        chosen = product((tokens, s.n_expert_per_token))
        experts = {"M": chosen, "X": s.n_expert, "Y": s.n_expert // self.expert_ranks}
        outside = self.seq if self.outside is None else self.outside
        return s.letters | sizes | experts | {"B": self.batch, "T": self.seq, "S": outside, "N": tokens, "E": scores}

    def of_block(self, path: str) -> Work:
        """The same for the kind of block that an operation is in."""
        kind = dict(self.shape.blocks).get(path.partition("/")[0])
        if kind is None or not self.shape.kinds:
            return self
        grouped = path.partition("/")[0] in self.grouped
        tags = tags_of(self.recipe, kind.switches, grouped=grouped, unaligned="unaligned" in self.tags)
        return self._replace(shape=kind, tags=tags)


def work_of(model: ModelSpec, device: DeviceSpec, recipe: Recipe, batch: Quantity, seq: Quantity) -> Work:
    """What a recipe launches on a device.

    Raises GptcalcError for contradictory recipes and models that the runtime does not implement.
    """
    from gptcalc.spec.passes import load_passes
    from gptcalc.spec.recipe import check_recipe
    from gptcalc.spec.runtime import load_runtime
    from gptcalc.spec.shape import shape_of
    from gptcalc.table.code import code_of
    from gptcalc.time.chip import chip_of

    runtime, shape = load_runtime(recipe.runtime), shape_of(model)
    check_recipe(recipe, runtime)
    if runtime.pads_vocabulary:
        shape = shape._replace(vocab_size=ceiling(shape.vocab_size, VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE)
    if recipe.dropout is None:
        recipe = recipe._replace(dropout=runtime.dropout)
    implementation = code_of(runtime, model)
    tags = tags_of(recipe, model.switches, grouped=shape.n_kv_head < shape.n_head, unaligned=shape.vocab_size % 8 != 0)
    passes = load_passes(runtime.kernels)
    work = Work(chip_of(device), shape, implementation, passes, recipe, tags, batch, seq, passes.aligned, stops_early=runtime.stops_early)
    return work._replace(grouped=frozenset(path for path, kind in shape.blocks if kind.n_kv_head < kind.n_head))


def launches(work: Work) -> list[Kernel]:
    """The kernels of one micro-batch and of the optimizer, with how often each runs.

    Raises GptcalcError where the device has no arithmetic of the recipe's type.   Source: presets/runtimes and presets/kernels.
    """
    rows = {row.path: row for row in operations(work.shape, work.batch, work.seq, work.seq)}
    found: list[Kernel] = []
    for path, operation in work.implementation.operations.items():
        covered = [rows[name] for name in (operation.covers if operation.covers is not None else (path,)) if name in rows]
        own = work.of_block(path)
        runs = own.shape.n_layer if path.startswith("block") else 1
        found += [kernel._replace(path=path, runs=kernel.runs * runs) for kernel in _operation(own, operation, covered)]
    found += _again(work, found)
    letters = work.letters | {"P": parameters(rows)}
    if work.recipe.optimizer == "muon":
        found += _newton_schulz(work, rows)
    return found + [pass_of(work.chip, one, letters, "optimizer") for one in work.passes.optimizers.get(work.recipe.optimizer, [])]


def parameters(rows: dict[str, Operation[Any]]) -> Quantity:
    """The parameters of all runs of some operations."""
    total: Quantity = sum(product((row.runs, *size)) for row in rows.values() for _, size in row.weights)
    return total


NEWTON_SCHULZ = 5
"""Steps that Muon orthogonalises an update with (Jordan et al. 2024)."""


def _newton_schulz(work: Work, rows: dict[str, Operation[Any]]) -> Iterator[Kernel]:
    """Muon's products for each matrix of the blocks, a rows and b columns, a <= b: X X^T, its square, and that times X."""
    chip = work.chip
    arithmetic = next(name for name in ("bf16", "fp16", "fp32") if chip.has(name))
    for row in rows.values():
        if row.kind == "matmul" and row.path.startswith("block"):
            a, b = sorted(row.matmul[2:])
            experts = dict(row.weights)["weight"][0] if of_experts(row.path) else 1
            for m, n, k in ((a, a, b), (a, a, a), (a, b, a)):
                one = matmul(chip, m, n, k, arithmetic, batch=experts)
                yield one._replace(path="optimizer", phase="optimizer", runs=NEWTON_SCHULZ * row.runs)


def _operation(work: Work, operation: RuntimeOperation, covered: list[Operation[Any]]) -> Iterator[Kernel]:
    letters, tags, pieces = work.letters, work.tags, list(operation.pieces)
    products = [row for row in covered if row.kind == "matmul"]
    if products:
        _, m, k, _ = products[0].matmul
        n = sum(row.matmul[3] for row in products)
        letters |= {"k": k, "n": n}
        if any(name == "bias" for row in products for name, _ in row.weights):
            tags = tags | {"bias"}
        experts = work.shape.n_expert // work.expert_ranks if of_experts(products[0].path) else 1
        yield from _matmuls(work, m, k, n, _arithmetic(work, operation), experts)
    if any(row.kind == "scores" for row in covered):
        yield from _attention(work, compiled_mask=work.recipe.compiled and "masked_attention" in pieces)
    if tags.isdisjoint(EXPLICIT):
        pieces = [piece for piece in pieces if not piece.startswith("explicit")]
    for piece in pieces:
        for one in work.passes.of(piece):
            if applies(one.when, tags):
                yield pass_of(work.chip, one, letters, piece)


def _arithmetic(work: Work, operation: RuntimeOperation) -> str:
    """What an operation's matmuls compute in. What autocast leaves alone stays fp32, on tensor cores where the device's have TF32."""
    if operation.arithmetic == "compute" or "amp" not in work.tags:
        return work.arithmetic
    return "tf32" if work.chip.has("tf32") else "fp32"


def _matmuls(work: Work, m: Quantity, k: Quantity, n: Quantity, a: str, experts: int) -> Iterator[Kernel]:
    """A matmul and its two gradients; of experts, each has its share of the m rows, and 16-bit ones go in one grouped kernel."""
    size = PRECISIONS[work.recipe.precision].matmul
    padded = work.aligned or work.recipe.compiled  # a compiler pads
    aligned = padded or not work.chip.cuda or settled(((n * size) % 16 == 0) & ((k * size) % 16 == 0))
    m = ceil(m, experts)
    grouped, runs = (experts, 1) if a in ("bf16", "fp16", *NARROW) else (1, experts)
    shapes: tuple[tuple[Any, Any, Any, Operand], ...] = ((m, n, k, "forward"), (m, k, n, "input_gradient"), (n, k, m, "weight_gradient"))
    for rows, columns, inner, operand in shapes:
        kernel = matmul(work.chip, rows, columns, inner, a, operand, aligned=aligned, batch=grouped)
        slower = kernel.arithmetic / pick(grouped == 1, 1.0, work.passes.grouped)
        yield kernel._replace(phase="forward" if operand == "forward" else "backward", runs=runs, arithmetic=slower)


def _attention(work: Work, *, compiled_mask: bool) -> Iterator[Kernel]:
    chip, s, B, T = work.chip, work.shape, work.batch, work.seq
    H, Q = s.n_head, s.d_head
    C = T if work.keys is None else work.keys
    if "flash" in work.tags:
        window = s.sliding_window if s.switches.windowed else None
        for phase in ("forward", "backward"):
            kernel = flash(chip, B, H, C, Q, phase, window=window)
            kernel = kernel if work.keys is None else kernel._replace(arithmetic=kernel.arithmetic * (T / C))
            kernel = kernel._replace(arithmetic=chip.attention(work.recipe.attention_kernel) * kernel.arithmetic)
            yield kernel._replace(arithmetic=kernel.arithmetic * chip.masked_attention) if compiled_mask else kernel
    elif "efficient" in work.tags:
        for phase in ("forward", "backward"):
            kernel = efficient(chip, B, H, C, Q, phase)
            yield kernel if work.keys is None else kernel._replace(memory=kernel.memory * (T / C))
    else:
        odd = chip.cuda and unaligned_heads(s)
        shapes = {"forward": ((T, C, Q), (T, Q, C)), "backward": ((T, C, Q), (C, Q, T), (T, Q, C), (C, Q, T))}
        for phase, products in shapes.items():
            for m, n, k in products:
                one = matmul(chip, m, n, k, work.arithmetic, "input_gradient", batch=B * H)
                if odd:
                    slow = 2 * m * n * k * B * H / (chip.unaligned_heads * chip.peak(work.arithmetic))
                    one = one._replace(kind="unaligned matmul", arithmetic=0.0, memory=slow, text=one.text and f"{one.text}, unaligned")
                yield one._replace(phase=phase)


def unaligned_heads(s: Shape[Any]) -> bool:
    """Whether heads have a width that is no multiple of 8: explicit attention's products then run at a small share of their rate.

    >>> from gptcalc.spec.files import load_model
    >>> from gptcalc.spec.shape import shape_of
    >>> unaligned_heads(shape_of(load_model("gpt2")))
    False
    """
    return any(isinstance(kind.d_head, int) and kind.d_head % 8 != 0 for _, kind in s.blocks)


def pass_of(chip: Chip, one: Pass, letters: dict[str, Quantity], piece: str) -> Kernel:
    """The kernels that a pass of presets/kernels stands for, with the letters' values put in."""
    elements = None if one.elements is None else evaluate(one.elements, letters)
    kernel = streaming(chip, one.kind, evaluate(one.bytes, letters), elements, one.count)
    return kernel._replace(path=piece, phase=one.phase, piece=piece)


def _again(work: Work, kernels: list[Kernel]) -> list[Kernel]:
    """What recomputation runs again: of each checkpointed block everything forward but what comes after its last saved tensor.

    Selective recomputation runs the attention core again (Korthikanti et al. 2022, section 4.2).
    """
    if work.recipe.recompute == "none":
        return []
    forward = [kernel for kernel in kernels if kernel.phase == "forward" and kernel.path.startswith("block")]
    if work.recipe.recompute == "selective":
        return [kernel._replace(phase="recompute") for kernel in forward if kernel.path.endswith("/core")]
    blocks: dict[str, list[Kernel]] = {}
    for kernel in forward:
        blocks.setdefault(kernel.path.partition("/")[0], []).append(kernel)
    return [kernel for own in blocks.values() for kernel in _block_again(work.of_block(own[0].path), own)]


def _block_again(work: Work, forward: list[Kernel]) -> list[Kernel]:
    """One kind of block, of every k-th of its layers."""
    kept = forward
    if work.stops_early:  # its last result is not needed
        last = max(i for i, kernel in enumerate(forward) if kernel.kind.endswith("matmul"))
        kept = [kernel for i, kernel in enumerate(forward) if i < last or (i > last and kernel.path == forward[last].path)]
    layers = work.shape.n_layer
    blocks = ceil(layers, work.recipe.checkpoint_every)
    return [kernel._replace(phase="recompute", runs=kernel.runs // layers * blocks) for kernel in kept]
