"""A runtime's code for a model: the operations that cover the rows of its table."""

from typing import TYPE_CHECKING

from gptcalc.spec.model import ModelSpec
from gptcalc.spec.shape import shape_of
from gptcalc.table.operations import operations

if TYPE_CHECKING:
    from gptcalc.spec.runtime import Implementation, RuntimeSpec

OF_EXPERTS = ("experts", "shared_expert", "router_normalised", "router_weighs_input")
"""Switches that mean nothing in a block without experts, which may stand among others that have them."""


def code_of(runtime: "RuntimeSpec", model: ModelSpec) -> "Implementation":
    """The implementation with those of its operations that the model has; where layers differ, those of each kind of block.

    Raises GptcalcError where the runtime does not implement the model, or does not say everything about it.

    >>> from gptcalc.spec.files import load_model
    >>> from gptcalc.spec.runtime import load_runtime
    >>> list(code_of(load_runtime("ideal"), load_model("gpt2")).operations)[0]
    'embedding/token'
    """
    from gptcalc.spec.runtime import UNUSUAL, implementation_of, not_implemented, operations_of

    found = implementation_of(runtime, model.family, model.switches, model.name)
    for name, kind in model.kinds.items():
        for switch, values in (UNUSUAL | found.architecture if found.architecture else {}).items():
            value = getattr(kind.switches, switch)
            idle = switch in OF_EXPERTS and not kind.switches.experts
            if value not in values and not idle:
                raise not_implemented(runtime, model.name, f"blocks of kind {name} have {switch} {str(value).lower()}")
    rows = [row.path for row in operations(shape_of(model), 1, 1, 1)]
    return found.model_copy(update={"operations": operations_of(runtime, found, rows, model.name)})
