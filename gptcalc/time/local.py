"""What one device of a layout has: the kernels of one block, of the embedding and of the head, and their parameters.

t tensor, c context parallel; B sequences of T tokens a micro-batch.
"""

from typing import TYPE_CHECKING, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.footprint.states import of_experts
from gptcalc.spec.recipe import PRECISIONS
from gptcalc.symbols import Quantity
from gptcalc.table.operations import operations
from gptcalc.table.sharding import shard_of
from gptcalc.time.kernels import Kernel, ceil, many
from gptcalc.time.launches import Work, launches, parameters, work_of

if TYPE_CHECKING:
    from gptcalc.time.plan import StepPlan

PARTS = ("embedding", "block", "head")
PHASES = ("forward", "backward", "recompute")


class Local(NamedTuple):
    """One block, the embedding and the head on one device: kernels, and numbers of parameters by part.

    Where layers differ the block is their average. `experts` is parameters of a block that only other groups of expert-parallel ranks
    have copies of, beside those in `parameters`.
    """

    work: Work
    kernels: tuple[Kernel, ...]
    products: tuple[Kernel, ...]  # the optimizer's own, over the matrices of a block
    parameters: dict[str, Quantity]
    experts: Quantity
    stored: int  # bytes of a weight in the optimizer
    calls: dict[str, Quantity]  # modules that the processor calls, by part

    def of(self, part: str, phase: str) -> list[Kernel]:
        return [kernel for kernel in self.kernels if part_of(kernel.path) == part and kernel.phase == phase]

    def repeats(self, kernel: Kernel, layers: Quantity) -> Quantity:
        """How often a micro-batch runs a kernel on a stage of `layers` blocks: of those that are computed again each K-th."""
        if part_of(kernel.path) != "block":
            return 1
        every = self.work.recipe.checkpoint_every
        return ceil(layers, every) if kernel.phase == "recompute" and every else layers


def part_of(path: str) -> str:
    """Which of `PARTS` an operation belongs to.

    >>> part_of("embedding/token"), part_of("block/mlp/up"), part_of("final_norm")
    ('embedding', 'block', 'head')
    """
    return "embedding" if path.startswith("embedding") else "block" if path.startswith("block") else "head"


def local(plan: "StepPlan") -> Local:
    """The kernels of one block, the embedding and the head, as this device's share of them.

    Raises GptcalcError for contradictory recipes and impossible divisions.   Source: `launches`; `sharding`.
    """
    from gptcalc.spec.runtime import load_runtime

    layout, batch, seq, recipe = plan.recipe.layout, plan.batch, plan.seq, plan.recipe._replace(accumulate=1)
    runtime = load_runtime(recipe.runtime)
    stored = PRECISIONS[recipe.precision].stored
    sharded = layout.zero == 3 and recipe.precision.startswith("amp-")
    original = recipe
    if sharded:  # FSDP gathers weights in 16 bits: activations are in 16 bits from the first on
        recipe = recipe._replace(precision=recipe.precision.removeprefix("amp-"))
    work = work_of(plan.model, plan.device, recipe, batch, seq)
    alone = layout._replace(pp=1, virtual_stages=1)
    shard = shard_of(work.shape._replace(n_layer=1), alone, seq, "only", pad=runtime.pads_vocabulary or layout.tp > 1)
    keys = seq if many(layout.cp) else None
    here = {"shape": shard.shape, "seq": shard.seq, "outside": shard.seq_outside, "keys": keys, "expert_ranks": layout.ep}
    work = work._replace(**here)
    everything = launches(work)
    kernels = tuple(kernel for kernel in everything if kernel.phase != "optimizer")
    products = tuple(kernel for kernel in everything if kernel.phase == "optimizer" and kernel.kind == "matmul")
    if products and many(layout.tp):
        raise GptcalcError(
            f"optimizer {recipe.optimizer} multiplies whole matrices: its step is not timed where tensor parallelism divides them",
            hint="leave --tp out, or --optimizer adamw",
        )
    if sharded:  # autocast takes the loss in fp32 all the same
        wide = work_of(plan.model, plan.device, original, batch, seq)
        wide = wide._replace(**here)
        kernels = (*(k for k in kernels if k.path != "loss"), *(k for k in launches(wide) if k.path == "loss"))
    rows = {row.path: row for row in operations(shard.shape, 1, 1, 1)}
    apart = {path: row for path, row in rows.items() if many(layout.ep) and of_experts(path)}
    of_part = {part: {path: row for path, row in rows.items() if part_of(path) == part and path not in apart} for part in PARTS}
    sizes = {part: parameters(several) for part, several in of_part.items()}
    calls: dict[str, Quantity] = {part: sum(part_of(path) == part for path in work.implementation.operations) for part in PARTS}
    one = Local(work, kernels, products, sizes, parameters(apart) // layout.ep, stored, calls)
    one = _averaged(one) if shard.shape.kinds else one
    if plan.stack.grouped is None:
        return one
    quicker = one.work.passes.grouped / plan.stack.grouped
    return one._replace(kernels=tuple(_quicker(kernel, quicker) for kernel in one.kernels))


def _quicker(kernel: Kernel, times: float) -> Kernel:
    """A kernel, that of experts' common matmul in another stack's time."""
    own = kernel.kind == "matmul" and of_experts(kernel.path)
    return kernel._replace(arithmetic=times * kernel.arithmetic) if own else kernel


def _averaged(one: Local) -> Local:
    """One block in place of all of them, where layers differ: the average of their kinds."""
    of_kind = {path: kind.n_layer for path, kind in one.work.shape.blocks}
    layers = sum(of_kind.values())
    kernels = tuple(k._replace(runs=k.runs / layers) if part_of(k.path) == "block" else k for k in one.kernels)
    called = sum(of_kind.get(path.partition("/")[0], 0) for path in one.work.implementation.operations)
    block = one.parameters["block"] / layers
    return one._replace(
        kernels=kernels,
        products=tuple(k._replace(runs=k.runs / layers) for k in one.products),
        parameters=one.parameters | {"block": block},
        experts=one.experts / layers,
        calls=one.calls | {"block": called / layers},
    )
