"""How many parameters, and where: the weights column of the operation table.

Every trainable tensor counts once, as `model.parameters()` of the real implementation gives them: a tied head is not counted again,
and buffers (masks, rotary tables) are not parameters.
"""

from typing import Any

from gptcalc.formulas.blocks import in_blocks
from gptcalc.formulas.node import Leaf, Node, tree
from gptcalc.formulas.table import operations
from gptcalc.spec.files import as_model
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.shape import Shape, shape_of, symbolic, vary
from gptcalc.symbols import N, Symbol, product


def params(model: ModelSpec | str, **numbers: Any) -> Node[Any]:
    """The parameters of a model, tensor by tensor.

    `numbers` vary any numeric field of the model as arrays: the values of the result are then float64 arrays.

    Units: parameters.   Raises: GptcalcError (see `spec.shape.vary`).   Source: in each leaf.

    >>> params("gpt3-175b").value
    174604259328
    >>> params("gpt3-175b")["block"].formula
    '12*L*d**2 + 13*L*d'
    >>> params("gpt2", n_layer=[12, 24]).value.tolist()
    [124439808.0, 209494272.0]
    """
    model = as_model(model)
    letters = symbolic(shape_of(model))
    if not numbers:
        return _itemised(shape_of(model), letters)
    return in_blocks(lambda block: [_itemised(vary(model, **block), letters)], numbers)[0]


def _itemised(shape: Shape[N], letters: Shape[Symbol]) -> Node[N]:
    leaves: list[Leaf[N]] = []
    for row, text in zip(operations(shape, 1, 1, 1), operations(letters, 1, 1, 1), strict=True):
        for (tensor, size), (_, symbols) in zip(row.weights, text.weights, strict=True):
            value: N = product((row.runs, *size))
            leaves.append(Leaf(f"{row.path}/{tensor}", value, product((text.runs, *symbols)), row.source))
    return tree("parameters", "parameters", leaves)


def views(node: Node[N], *, tied: bool) -> dict[str, N]:
    """The total as papers quote it: all, and without embeddings (Kaplan et al. 2020: neither token, position nor an untied head).

    >>> views(params("gpt2"), tied=True)
    {'total': 124439808, 'non_embedding': 85056000}
    """
    embedding = node["embedding"].value
    if not tied:
        embedding = embedding + node["head/output"].value
    return {"total": node.value, "non_embedding": node.value - embedding}
