"""The encoder-decoder Transformer against torch's own."""

import math
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gptcalc.reference import Tally, forward
from gptcalc.spec import catalogue
from gptcalc.spec.model import parse_model
from gptcalc.table.params import params

D, H, F, V = 24, 3, 40, 31
SPEC = {
    "name": "small",
    "n_layer": 5,
    "d_model": D,
    "n_head": H,
    "d_ff": F,
    "vocab_size": V,
    "n_ctx": 16,
    "position": "sinusoidal",
    "norm_placement": "post",
    "final_norm": False,
    "activation": "relu",
    "embedding_scale": math.sqrt(D),
    "layout": ["encoder*2", "decoder*3"],
    "blocks": {"encoder": {"causal": False}, "decoder": {"cross_attention": True}},
}


def torch_transformer(d: int, h: int, f: int, encoders: int, decoders: int) -> torch.nn.Module:
    shape: dict[str, Any] = {"d_model": d, "nhead": h, "dim_feedforward": f, "dropout": 0.0, "batch_first": True}
    encoder = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(**shape), encoders, norm=None, enable_nested_tensor=False)
    decoder = torch.nn.TransformerDecoder(torch.nn.TransformerDecoderLayer(**shape), decoders, norm=None)
    return torch.nn.Transformer(d, h, custom_encoder=encoder, custom_decoder=decoder, batch_first=True)


def attention_weights(ours: str, theirs: Any, norm: Any) -> dict[str, torch.Tensor]:
    found = {f"{ours}.norm.weight": norm.weight, f"{ours}.norm.bias": norm.bias}
    for name, weight, bias in zip(("query", "key", "value"), theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3), strict=True):
        found |= {f"{ours}.{name}.weight": weight.T, f"{ours}.{name}.bias": bias}
    return found | {f"{ours}.output.weight": theirs.out_proj.weight.T, f"{ours}.output.bias": theirs.out_proj.bias}


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = {}
    layers = [("encoder", layer) for layer in model.encoder.layers] + [("decoder", layer) for layer in model.decoder.layers]
    for number, (kind, layer) in enumerate(layers):
        path, last = f"block {kind}.{number}", layer.norm2 if kind == "encoder" else layer.norm3
        weights |= attention_weights(f"{path}.attention", layer.self_attn, layer.norm1)
        if kind == "decoder":
            weights |= attention_weights(f"{path}.cross_attention", layer.multihead_attn, layer.norm2)
        weights |= {f"{path}.mlp.norm.weight": last.weight, f"{path}.mlp.norm.bias": last.bias}
        weights |= {f"{path}.mlp.up.weight": layer.linear1.weight.T, f"{path}.mlp.up.bias": layer.linear1.bias}
        weights |= {f"{path}.mlp.down.weight": layer.linear2.weight.T, f"{path}.mlp.down.bias": layer.linear2.bias}
    return weights


def test_logits_and_flops_are_those_of_torch() -> None:
    torch.manual_seed(0)
    model, spec = torch_transformer(D, H, F, 2, 3).double().eval(), parse_model(SPEC)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    table = torch.randn(V, D, dtype=torch.float64)
    source, target = torch.randint(V, (2, 9)), torch.randint(V, (2, 9))
    positions = torch.zeros(9, D, dtype=torch.float64)
    for place in range(9):
        for channel in range(0, D, 2):
            angle = place / 10000 ** (channel / D)
            positions[place, channel], positions[place, channel + 1] = math.sin(angle), math.cos(angle)

    def embedded(ids: torch.Tensor) -> torch.Tensor:
        return table[ids] * math.sqrt(D) + positions

    mask = torch.nn.Transformer.generate_square_subsequent_mask(9, dtype=torch.float64)
    model.train()  # the same numbers without dropout, and matrix products that torch counts
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        expected = model(embedded(source), embedded(target), tgt_mask=mask) @ table.T
    weights = {name: tensor.detach().numpy() for name, tensor in weights_of(model).items()} | {"embedding.token.weight": table.numpy()}
    tally = Tally()
    logits = forward(spec, weights, target.numpy(), tally, source=source.numpy())
    assert np.abs(logits - expected.numpy()).max() < 1e-10
    assert sum(tally.matmul.values()) == counter.get_total_flops()


def test_presets_have_torchs_parameters_and_one_table() -> None:
    for name in ("transformer-base", "transformer-big"):
        spec = catalogue.find(name)
        with torch.device("meta"):
            model = torch_transformer(spec.d_model, spec.n_head, spec.d_ff or 0, 6, 6)
        assert params(spec).value == sum(p.numel() for p in model.parameters()) + 37000 * spec.d_model
