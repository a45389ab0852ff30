"""From the options of a run to its plan: which stack, which cluster, which layout, how many micro-batches; and what cannot be."""

from math import gcd, isqrt
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.formulas.sharding import check_experts, check_virtual_stages
from gptcalc.spec.reading import quoted
from gptcalc.spec.recipe import Layout

if TYPE_CHECKING:
    from gptcalc.spec.cluster import ClusterSpec
    from gptcalc.spec.model import ModelSpec
    from gptcalc.spec.stack import StackSpec

SIZES = ("tp", "pp", "dp", "cp", "ep", "virtual_stages")
CHOICES = ("sequence_parallel", "zero")


class Division(NamedTuple):
    """A run divided over devices. `parallel`: whether there is anything to divide."""

    layout: Layout
    count: Any
    sequences: Any
    micro_batches: Any
    parallel: bool


ON_TPUS = "maxtext"
"""The stack that TPUs run unless another, or a runtime, is named."""


def stack_for(name: str | None, runtime: str | None, zero: Any, *, cut: bool = False) -> "StackSpec":
    """The stack of a name, or the usual one: Megatron's for its runtime, FSDP for ZeRO-3, Megatron's for a model that is `cut`, else DDP.

    Cut: a layer, or the layers, divided over devices, which DDP does not do.

    Raises GptcalcError for arrays of ZeRO's stages that have no usual one in common.
    """
    from gptcalc.spec.stack import load_stack

    if name is None and isinstance(runtime, str) and runtime == "megatron":
        name = "megatron"
    if name is None:
        sharded = zero is not None and _any(zero, lambda z: z == 3)
        if sharded and _any(zero, lambda z: z != 3):
            raise GptcalcError("ZeRO-3 and what is less of it usually run on different stacks, fsdp and ddp", hint="give stack")
        name = "fsdp" if sharded else "megatron" if cut else "ddp"
    return load_stack(name)


def stacks_for(runtime: str | None, zero: Any, layout: Layout, count: Any) -> "tuple[Any, list[StackSpec]]":
    """The usual stack of a run; of arrays whose places have two, where the first of them is, and both.

    One device alone has none, which DDP's stands for: it hides nothing and adds gradients up as the runtime does.
    """
    cut = (layout.tp > 1) | (layout.pp > 1) if runtime != "megatron" else count != 1
    if not hasattr(cut, "all"):
        return True, [stack_for(None, runtime if cut else None, zero, cut=cut)]
    found = [stack_for(None, runtime if is_cut else None, zero, cut=is_cut) for is_cut in (True, False) if (cut == is_cut).any()]
    return cut, found[:1] if found[0] == found[-1] else found


def choices_of(options: dict[str, Any]) -> dict[str, Any]:
    """ZeRO's stage and whether sequences are divided, where they are given: one value each, or an array.

    Raises GptcalcError for what is no stage and no flag.
    """
    known: dict[str, tuple[tuple[Any, ...], str]] = {"zero": ((0, 1, 2, 3), "iuf"), "sequence_parallel": ((False, True), "b")}
    return {name: _one_of(name, options[name], *known[name]) for name in CHOICES if options[name] is not None}


def _one_of(name: str, value: Any, known: tuple[Any, ...], kinds: str) -> Any:
    """One of the known values, or an array of them whose type is one of the `kinds` of NumPy."""
    if isinstance(value, list) or hasattr(value, "dtype"):
        import numpy as np

        try:
            array = np.asarray(value)
        except ValueError:  # lists of different lengths
            array = np.asarray(None)
        if array.dtype.kind in kinds and array.size and np.isin(array, known).all():
            return array if array.ndim else type(known[0])(array)
    elif type(value) is type(known[0]) and value in known:
        return value
    raise GptcalcError(f"{name} {quoted(value)} is not one of {', '.join(map(str, known))}")


def divided(model: "ModelSpec", defaults: dict[str, Any], batch: Any, options: dict[str, Any], count: Any, global_batch: Any) -> Division:
    """The layout with what follows from the numbers of devices and of sequences.

    Raises GptcalcError where they do not multiply, naming both numbers and the nearest legal ones.
    """
    given = {name: options[name] for name in (*SIZES, *CHOICES) if options.get(name) is not None}
    chosen = {name: defaults[name] for name in CHOICES if name in defaults} | given
    layout = Layout(**{**chosen, "dp": 1})
    check_virtual_stages(layout)
    check_layers(model, layout)
    own = layout.tp * layout.pp * layout.cp
    dp = given.get("dp")
    if count is None:
        count = own * (1 if dp is None else dp)
    elif dp is None:
        dp = _divide_count(model, count, own, layout)
    elif _any(dp * own - count, lambda rest: rest != 0):
        parts = {"tp": layout.tp, "pp": layout.pp, "cp": layout.cp, "dp": dp}
        sizes = " times ".join(f"{name} {quoted(size)}" for name, size in parts.items())
        product = quoted(own * dp)
        raise GptcalcError(f"{sizes} is {product}, not the device count {quoted(count)}", hint=f"--count {product}, or leave --dp out")
    dp = 1 if dp is None else dp
    check_experts(model, layout._replace(dp=dp))
    sequences = batch * dp if global_batch is None else global_batch
    micro_batches = _micro_batches(sequences, batch, dp, layout)
    layout = layout._replace(dp=dp, micro_batches=None if _one(layout.pp) else micro_batches)
    return Division(layout, count, sequences, micro_batches, not _one(count))


def _divide_count(model: "ModelSpec", count: Any, own: Any, layout: Layout) -> Any:
    if _any(count % own, lambda rest: rest != 0):
        if not (isinstance(count, int) and isinstance(own, int)):
            raise GptcalcError("the device count is not a multiple of tp times pp times cp in every place")
        below = count // own * own
        near = f"--count {below} or {below + own}" if below else f"--count {own}"
        smaller = [f"--{name} {size}" for name in ("pp", "tp") for size in _shrunk(model, count, layout, name)]
        raise GptcalcError(
            f"{count} devices are not a multiple of tp {layout.tp} times pp {layout.pp} times cp {layout.cp}, which is {own}",
            hint=" or ".join([near, *smaller[:1]]),
        )
    return count // own


def _shrunk(model: "ModelSpec", count: int, layout: Layout, name: str) -> list[int]:
    """The next smaller size of one dimension that fits the count, and the model's heads or layers."""
    size = getattr(layout, name)
    rest = layout.tp * layout.pp * layout.cp // size
    if count % rest:
        return []
    whole = gcd(count // rest, model.n_head) if name == "tp" else count // rest
    most = size - 1 if name == "tp" else min(size - 1, model.n_layer)
    return [max(n for n in _divisors(whole) if n <= most)] if most else []


def _divisors(number: int) -> list[int]:
    small = [n for n in range(1, isqrt(number) + 1) if number % n == 0]
    return [*small, *(number // n for n in small)]


def _micro_batches(sequences: Any, batch: Any, dp: Any, layout: Layout) -> Any:
    if _any(sequences % (batch * dp), lambda rest: rest != 0):
        hint = "choose a multiple of batch times data parallel size"
        if isinstance(sequences, int) and isinstance(batch * dp, int):
            below = sequences // (batch * dp) * batch * dp
            hint = f"--global-batch {below} or {below + batch * dp}" if below else f"--global-batch {batch * dp}"
        pieces = f"micro-batches of {quoted(batch)} on {quoted(dp)} replicas"
        raise GptcalcError(f"the global batch of {quoted(sequences)} sequences does not divide into {pieces}", hint=hint)
    m = sequences // (batch * dp)
    if not _one(layout.virtual_stages) and _any((m % layout.pp) * (layout.virtual_stages > 1), lambda rest: rest != 0):
        raise GptcalcError(
            f"{quoted(m)} micro-batches of a step are not a multiple of {quoted(layout.pp)} pipeline stages, which interleaving needs",
            hint="choose another --global-batch, or leave --virtual-stages out",
        )
    return m


def check_layers(model: "ModelSpec", layout: Layout) -> None:
    """Raises GptcalcError where there are more stages than layers, or layers do not divide into virtual stages."""
    chunks = layout.pp * layout.virtual_stages
    if isinstance(chunks, int) and layout.virtual_stages > 1 and model.n_layer % chunks:
        raise GptcalcError(
            f"{model.n_layer} layers do not divide into {layout.pp} stages of {layout.virtual_stages} virtual stages, {chunks} in all",
            hint="choose --pp and --virtual-stages so that their product divides the layers",
        )
    if isinstance(chunks, int) and chunks > model.n_layer:
        raise GptcalcError(
            f"{layout.pp} pipeline stages for {model.n_layer} layers: some would be empty", hint=f"--pp {model.n_layer} at most"
        )


def warnings(layout: Layout, cluster: "ClusterSpec") -> list[str]:
    """What a layout can do but should not."""
    found = list(cluster.notes)
    if _any(layout.tp, lambda t: t > cluster.node):
        found.append(
            f"tensor parallel size {_most(layout.tp)} is wider than the {cluster.node} devices of {cluster.link.name}:"
            f" its collectives go over {cluster.network.name}"
        )
    if _any(layout.ep, lambda g: g > 1):
        found.append("every expert gets as many tokens as every other: uneven routing takes longer")
        if _any(layout.tp * layout.ep, lambda wide: wide > cluster.node):
            beside = "" if _one(layout.tp) else f" times tensor parallel size {_most(layout.tp)}"
            found.append(
                f"expert parallel size {_most(layout.ep)}{beside} reaches beyond the {cluster.node} devices of {cluster.link.name}:"
                f" its exchanges go over {cluster.network.name}"
            )
    return found


def _most(size: Any) -> Any:
    return size if isinstance(size, int) else f"{size.max():.0f}"


def _one(size: Any) -> bool:
    return isinstance(size, int) and size == 1


def _any(size: Any, holds: Any) -> bool:
    if isinstance(size, int | float):
        return bool(holds(size))
    return any(holds(one) for one in set(size.ravel().tolist()))
