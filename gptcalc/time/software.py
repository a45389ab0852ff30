"""Which software runs a layout, and what a layout can do but should not."""

from typing import TYPE_CHECKING, Any

from gptcalc.errors import GptcalcError
from gptcalc.symbols import is_one

if TYPE_CHECKING:
    from gptcalc.spec.cluster import ClusterSpec
    from gptcalc.spec.recipe import Layout
    from gptcalc.spec.stack import StackSpec


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


def stacks_for(runtime: str | None, zero: Any, layout: "Layout", count: Any) -> "tuple[Any, list[StackSpec]]":
    """The usual stack of a run; of arrays whose places have two, where the first of them is, and both.

    One device alone has none, which DDP's stands for: it hides nothing and adds gradients up as the runtime does.
    """
    cut = (layout.tp > 1) | (layout.pp > 1) if runtime != "megatron" else count != 1
    if not hasattr(cut, "all"):
        return True, [stack_for(None, runtime if cut else None, zero, cut=cut)]
    found = [stack_for(None, runtime if is_cut else None, zero, cut=is_cut) for is_cut in (True, False) if (cut == is_cut).any()]
    return cut, found[:1] if found[0] == found[-1] else found


def warnings(layout: "Layout", cluster: "ClusterSpec") -> list[str]:
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
            beside = "" if is_one(layout.tp) else f" times tensor parallel size {_most(layout.tp)}"
            found.append(
                f"expert parallel size {_most(layout.ep)}{beside} reaches beyond the {cluster.node} devices of {cluster.link.name}:"
                f" its exchanges go over {cluster.network.name}"
            )
    return found


def _most(size: Any) -> Any:
    return size if isinstance(size, int) else f"{size.max():.0f}"


def _any(size: Any, holds: Any) -> bool:
    if isinstance(size, int | float):
        return bool(holds(size))
    return any(holds(one) for one in set(size.ravel().tolist()))
