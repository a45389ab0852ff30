"""LoRA: a frozen model and, beside each target matmul of width k to n, two trained matrices of rank r (r·k and n·r elements).

Source: Hu et al. 2021, arXiv:2106.09685, section 4.1; what is kept: peft's LoRA layer, x @ A, then @ B.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gptcalc.errors import GptcalcError
from gptcalc.footprint.states import of_experts
from gptcalc.table.operation import Operation

if TYPE_CHECKING:
    from gptcalc.spec.runtime import Implementation

ALL = ("all-linear",)
DEFAULT = ("query_key_value", "query", "value")
"""peft's default targets: c_attn of GPT-2, q_proj and v_proj of Llama."""


def targets_of(implementation: "Implementation", rows: Mapping[str, Operation[Any]], wanted: tuple[str, ...]) -> dict[str, tuple[Any, Any]]:
    """The operations that get an adapter, with their widths k and n. A target is an operation's last name or its module's (`q_proj`).

    Raises GptcalcError for a target that no matmul of a block has, and where none is named and none has a usual name.
    """
    names: dict[str, set[str]] = {}
    widths: dict[str, tuple[Any, Any]] = {}
    for path, operation in implementation.operations.items():
        covered = [rows[name] for name in (operation.covers if operation.covers is not None else (path,)) if name in rows]
        linear = all(row.kind == "matmul" and not row.path.endswith("/router") and not of_experts(row.path) for row in covered)
        if path.startswith("block") and covered and linear:  # peft adapts nn.Linear, which routers and experts are not
            names[path] = {path.rsplit("/", 1)[-1], operation.module.rsplit(".", 1)[-1], *(row.path.rsplit("/", 1)[-1] for row in covered)}
            widths[path] = (covered[0].matmul[2], sum((row.matmul[3] for row in covered[1:]), covered[0].matmul[3]))
    asked = set(wanted or DEFAULT)
    if wanted != ALL:
        known = _known(names)
        for target in asked if wanted else ():
            if target not in known:
                raise GptcalcError(f"no matmul named '{target}' to adapt", hint=f"there are {', '.join(sorted(known))}, and all-linear")
    found = {path: widths[path] for path in names if wanted == ALL or names[path] & asked}
    if not found:
        raise GptcalcError(
            f"no matmul has the name of a usual target of LoRA ({', '.join(DEFAULT)})",
            hint=f"name some with --lora-target: {', '.join(sorted(_known(names)))}, or all-linear",
        )
    return found


def _known(names: Mapping[str, set[str]]) -> set[str]:
    return set().union(*names.values()) - {""}


def adapter_elements(k: Any, n: Any, rank: int) -> Any:
    """Trained elements of one adapter.

    >>> adapter_elements(1600, 4800, 16) * 48
    4915200
    """
    return rank * (k + n)


def adapter_keeps(k: Any, rank: int, tokens: Any, *, compute: int, own_input: bool) -> Any:
    """Bytes that one adapter keeps: its input where nobody else keeps it, and what A makes of it."""
    return tokens * rank * compute + (tokens * k * compute if own_input else 0)
