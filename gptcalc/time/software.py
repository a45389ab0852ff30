"""Which software runs a layout, and what a layout can do but should not."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gptcalc.symbols import Quantity, is_one

if TYPE_CHECKING:
    from gptcalc.spec.cluster import ClusterSpec
    from gptcalc.spec.recipe import Layout
    from gptcalc.spec.stack import StackSpec


def stack_for(name: str | None, runtime: str | None, zero: Quantity, *, cut: bool = False) -> "StackSpec":
    """The stack of a name, or the usual one: Megatron's for its runtime, FSDP for ZeRO-3, Megatron's for a model that is `cut`, else DDP.

    Cut: a layer, or the layers, divided over devices, which DDP does not do.
    """
    from gptcalc.spec.stack import load_stack

    if name is None and isinstance(runtime, str) and runtime == "megatron":
        name = "megatron"
    if name is None:
        name = "fsdp" if zero == 3 else "megatron" if cut else "ddp"
    return load_stack(name)


def stacks_for(runtime: str | None, zero: Quantity, layout: "Layout", count: Quantity) -> "tuple[Any, list[StackSpec]]":
    """The usual stacks of a run, and which of them each place of its arrays has.

    One device alone has none, which DDP's stands for: it hides nothing and adds gradients up as the runtime does.
    """
    cut: Any = (layout.tp > 1) | (layout.pp > 1) if runtime != "megatron" else count != 1
    kind: Any = 2 * cut + (zero == 3)
    if not hasattr(kind, "dtype"):
        return 0, [stack_for(None, runtime if cut else None, zero, cut=cut)]
    import numpy as np

    kinds, which = np.unique(kind, return_inverse=True)
    found = [stack_for(None, runtime if one > 1 else None, 3 * (one % 2), cut=one > 1) for one in kinds.tolist()]
    names = list(dict.fromkeys(one.name for one in found))
    place = np.array([names.index(one.name) for one in found])[which.reshape(kind.shape)]
    return place, [next(one for one in found if one.name == name) for name in names]


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


def _most(size: Quantity) -> str:
    return f"{size}" if isinstance(size, int | float) else f"{size.max():.0f}"


def _any(size: Quantity, holds: Callable[[float], bool]) -> bool:
    if isinstance(size, int | float):
        return bool(holds(size))
    return any(holds(one) for one in set(size.ravel().tolist()))
