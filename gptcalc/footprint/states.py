"""What a device holds whatever it computes: weights, gradients, optimizer state, adapters. The weights column of the operation table.

Bytes for each parameter follow from the precision and the optimizer; ZeRO divides them among the ranks that have the
same weights, data- and context-parallel ones, not among the world.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.footprint.saved import width, within
from gptcalc.spec.recipe import Precision, Recipe
from gptcalc.symbols import Symbol, ceiling, maximum, product
from gptcalc.table.operation import Operation

if TYPE_CHECKING:
    from gptcalc.spec.runtime import State

ADAM_8BIT_BLOCK = 256
"""Elements that share one fp32 scale (bitsandbytes 0.43 and later, blocksize=256; Dettmers et al. 2022, arXiv:2110.02861)."""
ADAM_8BIT_SMALLEST = 4096
"""Smaller tensors keep fp32 states (bitsandbytes, min_8bit_size)."""

NF4_BLOCK, NF4_SCALES_BLOCK = 64, 256
"""QLoRA: 64 weights share an 8-bit scale, 256 of these an fp32 one (Dettmers et al. 2023, arXiv:2305.14314, section 3)."""


class Weight(NamedTuple):
    """One tensor of the table, `runs` times: `size` elements each; `matrix`: one of a block, or one for each expert."""

    path: str
    runs: Any
    shape: tuple[Any, ...]
    trained: bool
    quantized: bool = False
    name: str = ""
    wide: bool = False  # fp32 whatever the rest is in

    @property
    def size(self) -> Any:
        return product(self.shape)

    @property
    def total(self) -> Any:
        return product((self.runs, *self.shape))

    @property
    def matrix(self) -> bool:
        return len(self.shape) >= 2 and self.name == "weight" and self.path.startswith("block")

    @property
    def of_experts(self) -> bool:
        return of_experts(self.path)


def of_experts(path: str) -> bool:
    """Whether an operation has a weight for each expert, which expert parallelism divides.

    >>> of_experts("block/mlp/experts/up"), of_experts("block/mlp/router")
    (True, False)
    """
    return "/mlp/experts/" in path


def weights_of(rows: list[Operation[Any]], recipe: Recipe, paths: list[str]) -> list[Weight]:
    """Every tensor that stands on the device, with adapters where there are any.

    Of the experts, those of one expert-parallel rank.

    LoRA (Hu et al. 2021, arXiv:2106.09685) freezes the model and trains two matrices of rank r beside each target: r·k and n·r elements.
    """
    adapted = recipe.lora_rank is not None
    found: list[Weight] = []
    for row in rows:
        if row.path not in paths:
            continue
        frozen = adapted or within(row.path, recipe.freeze)
        for name, shape in row.weights:
            linear = row.kind == "matmul" and name == "weight" and not of_experts(row.path)  # bitsandbytes replaces nn.Linear only
            quantized = recipe.qlora and linear and row.path.startswith("block")
            own = (ceiling(shape[0], recipe.layout.ep), *shape[1:]) if of_experts(row.path) else shape
            found.append(Weight(row.path, row.runs, own, not frozen, quantized, name))
    return found


def bytes_per_weight(weight: Weight, precision: Precision, stored: str) -> tuple[int, int]:
    """Bytes of a tensor's elements and what its scales take, as a fraction: (numerator, denominator) of bytes for each element.

    nf4: half a byte, and scales of 8/64 bit and 32/(64·256) bit each.
    """
    if weight.wide:
        return 4, 1
    if not weight.quantized:
        return width(stored, precision), 1
    # 1/2 + 1/64 + 4/(64*256) bytes
    return NF4_BLOCK * NF4_SCALES_BLOCK // 2 + NF4_SCALES_BLOCK + 4, NF4_BLOCK * NF4_SCALES_BLOCK


def state_elements(optimizer: str, weight: Weight) -> dict[str, Any]:
    """Elements of each optimizer state of one tensor (all its runs), in the type of the moments unless the name says bytes.

    Source: Kingma & Ba 2014 (Adam); Shazeer & Stern 2018, arXiv:1804.04235, section 3 (Adafactor: a row and a column for each matrix);
    Chen et al. 2023, arXiv:2302.06675 (Lion); Jordan et al. 2024 (Muon: matrices of the blocks, AdamW for the rest).
    """
    n = weight.total
    if optimizer in ("adamw", "adamw-foreach"):
        return {"first moment": n, "second moment": n}
    if optimizer == "sgd":
        return {}
    if optimizer in ("sgd-momentum", "lion"):
        return {"momentum": n}
    if optimizer == "adafactor":
        if len(weight.shape) == 2:
            return {"second moment, rows and columns": weight.runs * (weight.shape[0] + weight.shape[1])}
        if len(weight.shape) == 3:  # of each expert
            return {"second moment, rows and columns": product((weight.runs, weight.shape[0], weight.shape[1] + weight.shape[2]))}
        return {"second moment": n}
    if optimizer == "muon":
        return {"momentum": n} if weight.matrix else {"first moment": n, "second moment": n}
    raise AssertionError(optimizer)


def states_of(
    weights: list[Weight], recipe: Recipe, precision: Precision, state: "State", divided: Any, divided_experts: Any = 1
) -> dict[str, Any]:
    """Bytes of each optimizer state, each divided over that many data-parallel ranks, an expert's over those that have the same experts.

    Units: bytes.   Source: see `state_elements`.
    """
    found: dict[str, Any] = {}
    for group, ranks in (([w for w in weights if not w.of_experts], divided), ([w for w in weights if w.of_experts], divided_experts)):
        for path, size in _states(group, recipe, precision, state).items():
            found[path] = found[path] + ceiling(size, ranks) if path in found else ceiling(size, ranks)
    if recipe.precision == "amp-fp16" and found:
        found["optimizer state/gradient scaler"] = ceiling(8, divided)  # torch.amp.GradScaler: the scale and its growth tracker
    return found


def _states(weights: list[Weight], recipe: Recipe, precision: Precision, state: "State") -> dict[str, Any]:
    found: dict[str, Any] = {}

    def add(name: str, size: Any) -> None:
        found[f"optimizer state/{name}"] = found.get(f"optimizer state/{name}", 0) + size

    for weight in weights:
        if not weight.trained:
            continue
        if state.master is not None and width(state.weights, precision) < 4:
            add("master weights", width(state.master, precision) * weight.total)
        if recipe.optimizer == "adamw-8bit":
            for name, size in _eight_bit(weight).items():
                add(name, size)
            continue
        moment = width("fp32" if recipe.optimizer == "adafactor" else state.moments, precision)
        for name, elements in state_elements(recipe.optimizer, weight).items():
            add(name, moment * elements)
    return found


def _eight_bit(weight: Weight) -> dict[str, Any]:
    """Two bytes an element and a fp32 scale for each block of each; tensors too small for that keep two fp32 states."""
    size = weight.size
    if isinstance(size, Symbol):
        return {"moments, 8 bit": 2 * weight.total, "scales": Symbol.letter(f"8*({weight.total})/{ADAM_8BIT_BLOCK}")}
    small = size < ADAM_8BIT_SMALLEST
    if isinstance(size, int):
        blocks = -(-size // ADAM_8BIT_BLOCK)
        return {"moments, fp32": 8 * weight.total} if small else {"moments, 8 bit": 2 * weight.total, "scales": 8 * weight.runs * blocks}
    import numpy as np

    return {
        "moments, fp32": np.where(small, 8 * weight.total, 0.0),
        "moments, 8 bit": np.where(small, 0.0, 2 * weight.total),
        "scales": np.where(small, 0.0, 8 * weight.runs * np.ceil(size / ADAM_8BIT_BLOCK)),
    }


def update_transients(recipe: Recipe, weights: list[Weight], stored: int) -> dict[str, Any]:
    """What an update needs beside its states: a copy of everything (foreach), or of the largest tensor (one tensor after another)."""
    trained = [weight for weight in weights if weight.trained]
    if not trained or recipe.optimizer in ("adamw", "sgd", "sgd-momentum", "adamw-8bit"):
        return {}
    if recipe.optimizer == "adamw-foreach":
        return {"transients/foreach temporaries": sum((stored * weight.total for weight in trained[1:]), stored * trained[0].total)}
    chosen = [weight for weight in trained if weight.matrix] or trained if recipe.optimizer == "muon" else trained
    largest = chosen[0].size
    for weight in chosen[1:]:
        largest = maximum(largest, weight.size)
    # lion: the update; adafactor: the squared gradient and the update in fp32; muon: the update, and X, A, B of Newton-Schulz in bf16
    each = {"lion": stored, "adafactor": 8, "muon": stored + 6}[recipe.optimizer]
    return {"transients/update of the largest tensor": each * largest}
