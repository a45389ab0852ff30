"""The operation table: what one forward pass of a model does, row by row. Each architectural fact stands here, once.

Parameters are the sum of one column and FLOPs of another; memory and time read the same rows. B sequences of T queries over C keys:
C = T in training and prefill, T = 1 in decode. The letters of a model's own numbers are in `spec.shape`. What a block is made of is in
`sublayers`; what is around sublayers and around blocks is here.
"""

from typing import Any

from gptcalc.choices import Attention
from gptcalc.spec.shape import Shape
from gptcalc.symbols import N, product
from gptcalc.table.operation import SIGMOID, SOFTCAP, VASWANI, Operation, Role, matmul, norm
from gptcalc.table.streams import last_rows, stream_rows
from gptcalc.table.sublayers import Run, sublayer
from gptcalc.table.sublayers.mlp import ACTIVATION
from gptcalc.table.sublayers.mlp_beside_experts import BESIDE

GATED_NORM = "SK Telecom 2026 (A.X K2), as released: gates of norms and of attention"
PER_LAYER = "Gemma Team 2025 (Gemma 3n), as released: an embedding of each token for each layer"
ELECTRA = "Clark et al. 2020 (ELECTRA), arXiv:2003.10555, as released"
OPT = "Zhang et al. 2022 (OPT), arXiv:2205.01068; 350M as released"


def operations(
    s: Shape[N], batch: Any, seq: Any, context: Any, attention: Attention = "full", *, decode: bool = False
) -> list[Operation[N]]:
    """Every operation of one forward pass, in order of execution; rows of `block/...` run once a layer. `decode`: of one more token.

    Where layers differ, each kind of block has its own rows, `block moe/...`, which run once for each layer of the kind.

    Source: the papers and implementations named in each row.

    >>> from gptcalc.spec.files import load_model
    >>> from gptcalc.spec.shape import shape_of
    >>> rows = operations(shape_of(load_model("gpt2")), batch=1, seq=1024, context=1024)
    >>> sum(row.matmul_flops for row in rows)
    291648307200
    """
    tokens = product((batch, seq))
    # an encoder embeds a sequence of its own, as long as the decoder's
    encoders = any(not kind.switches.causal for _, kind in s.blocks)
    rows = [row._replace(role="embedding") for row in _embedding(s, 2 * tokens if encoders else tokens)]
    for block, kind in s.blocks:
        rows += _block(block, kind, Run(batch, seq, context, attention, decode))
    return rows + _head(s, tokens)


def _block(block: str, s: Shape[Any], run: Run) -> list[Operation[Any]]:
    """The sublayers of a block, each with the norms around it; those that stand side by side may share the first one's."""
    c, tokens = s.switches, product((run.batch, run.seq))
    rows: list[Operation[Any]] = []
    for group in s.stack:
        for place, name in enumerate(group):
            one = sublayer(name)
            path = f"{block}/{one.LABEL}"
            shared = c.shared_norm and place
            before = (
                []
                if shared or c.norm_placement in UNNORMED.get(one.LABEL, ("output",))
                else [norm(f"{path}/norm", c, s.n_layer, tokens, s.d_model)]
            )
            opening = stream_rows(path, s, tokens) if c.streams else []
            gate = _norm_gate(path, s, tokens) if c.norm_gated and (c.mlp_norm_gated or one.LABEL != "mlp") else []
            own = [*opening, *before, *gate, *one.rows(path, s, run), *_close(path, s, tokens, one.LABEL)]
            if name == "idle_cross_attention":
                own = [row._replace(matmul=(), other=()) for row in own if row.weights]
            rows += [row._replace(role=ROLES.get(name, "mixer")) for row in own]
    return rows + [row._replace(role="mlp") for row in _end_of_block(block, s, tokens)]


def _norm_gate(path: str, s: Shape[N], tokens: N) -> list[Operation[N]]:
    """The gate of a norm's own output, through few channels."""
    L, d, z = s.n_layer, s.d_model, s.norm_gate_rank
    up = matmul(f"{path}/norm_gate_up", L, tokens, z, d, False, GATED_NORM)
    down = matmul(f"{path}/norm_gate_down", L, tokens, d, z, False, GATED_NORM)
    return [down._replace(other=((ACTIVATION["silu"][0], tokens, z),)), up._replace(other=((SIGMOID + 1, tokens, d),))]


def _end_of_block(block: str, s: Shape[N], tokens: N) -> list[Operation[N]]:
    """The end of a layer: its own embedding of each token mixed in, and all multiplied by one number."""
    L, d, p, c = s.n_layer, s.d_model, s.d_per_layer, s.switches
    rows: list[Operation[N]] = []
    if c.per_layer:
        cost, source = ACTIVATION[c.activation]
        path = f"{block}/per_layer"
        rows += [
            matmul(f"{path}/gate", L, tokens, d, p, False, PER_LAYER),
            Operation(f"{path}/activation", "activation", L, other=((cost, tokens, p),), source=source),
            Operation(f"{path}/product", "product", L, other=((tokens, p),), source=PER_LAYER),
            matmul(f"{path}/projection", L, tokens, p, d, False, PER_LAYER),
            norm(f"{path}/norm", c, L, tokens, d),
            Operation(f"{path}/residual", "add", L, other=((1 + c.residual_scaled, tokens, d),), source=PER_LAYER),
        ]
    if c.block_scaled:
        rows.append(Operation(f"{block}/mlp/scale", "product", L, other=((tokens, d),), source=BESIDE))
    return rows


UNNORMED = {"attention": ("output", "mlp_pre")}
"""Where norms stand that leave a sublayer without one before it; the others have one but where all norms stand on outputs."""

ROLES: dict[str, Role] = {
    "mlp": "mlp",
    "experts": "experts",
    "mlp_beside_experts": "experts",
    **dict.fromkeys(("attention", "latent_attention", "compressed_attention", "cross_attention", "idle_cross_attention"), "attention"),
}


def _close(path: str, s: Shape[N], tokens: N, label: str) -> list[Operation[N]]:
    """How a sublayer ends: its output normalised and scaled, where the model does so, and added to the residual stream."""
    c = s.switches
    after = c.norm_placement in ("sandwich", "output", *(["mlp_sandwich"] if label == "mlp" else []))
    add: Operation[N] = Operation(
        f"{path}/residual", "add", s.n_layer, other=((1 + c.residual_scaled, tokens, s.d_model),), source=f"{VASWANI}, section 3.1"
    )
    if c.value_masks:
        add = add._replace(weights=(("weight", (s.d_model,)),), other=((2, tokens, s.d_model),))
    return [norm(f"{path}/output_norm", c, s.n_layer, tokens, s.d_model), add] if after else [add]


def _embedding(s: Shape[N], tokens: N) -> list[Operation[N]]:
    V, P, e, d = s.vocab_size, s.n_position, s.d_embedding, s.d_model
    c = s.switches
    rows: list[Operation[N]] = [Operation("embedding/token", "lookup", 1, (("weight", (V, e)),), source=f"{VASWANI}, section 3.4")]
    if c.embedding_scaled:
        rows.append(Operation("embedding/scale", "product", 1, other=((tokens, e),), source=f"{VASWANI}, section 3.4"))
    width = e if c.projected_last else d
    if c.projected_embedding and not c.projected_last:
        rows.append(matmul("embedding/project_in", 1, tokens, e, d, False, OPT))
    if c.position == "learned":
        source = "Radford et al. 2018 (GPT-1), section 4.1: learned positions"
        rows.append(Operation("embedding/position", "lookup", 1, (("weight", (P, width)),), other=((tokens, width),), source=source))
    if c.rotary_table:
        rows.append(
            Operation("embedding/angles", "lookup", 1, (("weight", (P, s.d_head)),), source="Su et al. 2021 (RoFormer), as released")
        )
    if c.per_layer:
        rows += _per_layer(s, tokens)
    if c.position == "sinusoidal":
        rows.append(Operation("embedding/position", "add", 1, other=((tokens, d),), source=f"{VASWANI}, section 3.5"))
    if c.token_types:
        source = "Devlin et al. 2018 (BERT), arXiv:1810.04805, section 3: segments"
        types = (("weight", (s.n_token_type, width)),)
        rows.append(Operation("embedding/token_type", "lookup", 1, types, other=((tokens, width),), source=source))
    if c.embedding_norm:
        rows.append(norm("embedding/norm", c, 1, tokens, width)._replace(source="BigScience 2022 (BLOOM), arXiv:2211.05100, section 3.2"))
    if c.projected_embedding and c.projected_last:
        rows.append(matmul("embedding/project_in", 1, tokens, e, d, True, ELECTRA))
    return rows


def _per_layer(s: Shape[N], tokens: N) -> list[Operation[N]]:
    """Each token's embeddings for all layers: a row of a table, and a projection of the embedding that is the first layer's input."""
    path, p, c = "embedding/per_layer", s.d_per_layer, s.switches
    width = product((s.n_layer, p))
    projection = matmul(f"{path}/projection", 1, tokens, s.d_model, width, False, PER_LAYER)
    return [
        Operation(f"{path}/token", "lookup", 1, (("weight", (s.n_per_layer_row, width)),), other=((tokens, width),), source=PER_LAYER),
        projection._replace(other=((tokens, width),)),
        norm(f"{path}/norm", c, 1, product((tokens, s.n_layer)), p),
        Operation(f"{path}/sum", "add", 1, other=((2, tokens, width),), source=PER_LAYER),
    ]


def _head(s: Shape[N], tokens: N) -> list[Operation[N]]:
    V, e, d, o = s.vocab_size, s.d_embedding, s.d_model, s.d_output
    c = s.switches
    rows = last_rows(s, tokens) if c.streams else []
    rows += [norm("final_norm", c, 1, tokens, d)] if c.final_norm else []
    if c.projected_embedding and c.head_transform == "none":
        rows.append(matmul("head/project_out", 1, tokens, d, e, False, OPT))
    if c.head_transform != "none":
        cost, formula = ACTIVATION[c.head_transform]
        rows += [
            matmul("head/transform", 1, tokens, d, o, c.head_transform_bias, "Devlin et al. 2018 (BERT), as released"),
            Operation("head/activation", "activation", 1, other=((cost, tokens, o),), source=formula),
            norm("head/norm", c, 1, tokens, o),
        ]
    source = "Press & Wolf 2017, arXiv:1608.05859: the token embedding again" if c.tied else "a matrix of its own"
    head = matmul("head/output", 1, tokens, o, V, c.head_bias, source)
    each_logit = c.logit_scaled + SOFTCAP * c.logit_softcapped
    if each_logit:
        head = head._replace(other=(*head.other, (each_logit, tokens, V)))
    rows.append(head._replace(weights=head.weights[1:]) if c.tied else head)
    return rows
