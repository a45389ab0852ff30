"""How many parameters, and where: the weights column of the operation table.

Every trainable tensor counts once, as `model.parameters()` of the real implementation gives them: a tied head is not counted again,
and buffers (masks, rotary tables) are not parameters.
"""

from math import prod
from typing import Any

from gptcalc.errors import GptcalcError
from gptcalc.node import Leaf, Node, tree
from gptcalc.spec.files import as_model
from gptcalc.spec.letters import symbolic
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.shape import Shape, shape_of, vary
from gptcalc.symbols import N, Symbol, product
from gptcalc.table.blocks import in_blocks
from gptcalc.table.operation import norm
from gptcalc.table.operations import operations


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
    beside = towers(model)
    if not numbers:
        return _itemised(shape_of(model), letters, beside)
    if "d_model" in numbers:
        _refuse_other_widths(model)
    return in_blocks(lambda block: [_itemised(vary(model, **block), letters, beside)], numbers)[0]


def _itemised(shape: Shape[N], letters: Shape[Symbol], beside: list[Leaf[Any]]) -> Node[N]:
    return tree("parameters", "parameters", [*_leaves(shape, letters), *beside])


def towers(model: ModelSpec) -> list[Leaf[Any]]:
    """What reads images or sound for a model, and what joins it to it: every tensor, beside the language model's."""
    return [
        Leaf(f"{tower.name}/{path}", prod(sizes), Symbol({(): prod(sizes)}), f"transformers 5.24, {tower.kind}")
        for tower in model.towers
        for path, sizes in tower.tensors.items()
    ]


def language_model(model: ModelSpec | str) -> Node[Any]:
    """The parameters of the language model and its head alone, without what reads images or sound for it.

    Units: parameters.   Raises and source: as `params`.

    >>> language_model("gpt2").value
    124439808
    """
    model = as_model(model)
    return _itemised(shape_of(model), symbolic(shape_of(model)), [])


def _refuse_other_widths(model: ModelSpec) -> None:
    if model.towers:
        raise GptcalcError(f"the towers of {model.name} end in its width of {model.d_model}: d_model cannot vary without them")


def _leaves(shape: Shape[N], letters: Shape[Symbol]) -> list[Leaf[N]]:
    leaves: list[Leaf[N]] = []
    for row, text in zip(operations(shape, 1, 1, 1), operations(letters, 1, 1, 1), strict=True):
        for (tensor, size), (_, symbols) in zip(row.weights, text.weights, strict=True):
            value: N = product((row.runs, *size))
            leaves.append(Leaf(f"{row.path}/{tensor}", value, product((text.runs, *symbols)), row.source))
    return leaves


def views(node: Node[int], model: ModelSpec) -> dict[str, int]:
    """The total as papers quote it.

    all; without embeddings (Kaplan et al. 2020: neither token, position nor an untied head); active, what one token meets: of the
    experts only those that it is routed to. The modules of multi-token prediction are beside the total, never in it.

    >>> views(params("gpt2"), as_model("gpt2"))
    {'total': 124439808, 'non_embedding': 85056000, 'active': 124439808}
    """
    embedding = node["embedding"].value
    if not model.tied:
        embedding = embedding + node["head/output"].value
    found = {"total": node.value, "non_embedding": node.value - embedding, "active": node.value - _idle(model)}
    if model.towers:
        names = {tower.name for tower in model.towers}
        found["language_model"] = node.value - sum(part.value for part in node.parts if part.name in names)
    return found | ({"multi_token_prediction": multi_token_prediction(model).value} if model.n_mtp else {})


def _idle(model: ModelSpec) -> int:
    """The parameters that one token does not meet: of the experts that it is not routed to."""
    shape, idle = shape_of(model), 0
    if not any(kind.has("experts", "mlp_beside_experts") for _, kind in shape.blocks):
        return 0
    for row in operations(shape, 1, 1, 1):
        if row.used is not None:
            for (_, all_experts), (_, chosen) in zip(row.weights, row.used, strict=True):
                idle += product((row.runs, *all_experts)) - product((row.runs, *chosen))
    return idle


def multi_token_prediction(model: ModelSpec) -> Node[int]:
    """The modules that predict the tokens after the next one, which models are trained with and run without: beside the total.

    Each norms the stream and the next token's embedding, projects both to one width, and has a block as the last layer and a norm of
    its own; embedding and head are the model's.

    Units: parameters.   Source: DeepSeek-AI 2024 (DeepSeek-V3), arXiv:2412.19437, section 2.2, and its released weights.
    """
    last = model.kinds[model.layers[-1]] if model.layers else model
    shape, d = shape_of(last)._replace(n_layer=1), Symbol.letter("d")
    letters = symbolic(shape)._replace(n_layer=Symbol({(): 1}))
    M, text, source = model.n_mtp or 0, Symbol.letter("M"), "DeepSeek-AI 2024 (DeepSeek-V3), arXiv:2412.19437, section 2.2"
    own = [leaf for leaf in _leaves(shape, letters) if leaf.path.startswith("block")]
    leaves = [leaf._replace(value=M * leaf.value, formula=text * leaf.formula) for leaf in own]
    for name in ("stream_norm", "embedding_norm", "final_norm"):
        for tensor, _ in norm(name, shape.switches, 1, 1, model.d_model).weights:
            leaves.append(Leaf(f"{name}/{tensor}", M * model.d_model, text * d, source))
    leaves.append(Leaf("project/weight", 2 * M * model.d_model**2, 2 * text * d * d, source))
    return tree("multi-token prediction", "parameters", leaves)
