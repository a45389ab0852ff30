"""What autograd keeps under LoRA against torch, here on the CPU: 16-bit copies of frozen weights are kept by the matmuls that need them
for the gradient of their input, and by nobody else. Explicit attention, whose kernels are the same on every device."""

import warnings

import pytest
import torch
import transformers
from torch import nn

import gptcalc as gc

CONFIG = transformers.LlamaConfig(
    hidden_size=96, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2, intermediate_size=256, vocab_size=301,
    max_position_embeddings=64, tie_word_embeddings=False,
)  # fmt: skip
RANK, BATCH, SEQ = 4, 3, 40


class Adapted(nn.Module):
    """peft's LoRA layer: the input in the adapter's type, A, B, and a sum."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Linear(base.in_features, RANK, bias=False)
        self.up = nn.Linear(RANK, base.out_features, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.base(x)
        return y + self.up(self.down(x.to(self.down.weight.dtype))).to(y.dtype)


def adapted(base: torch.dtype, recompute: str) -> nn.Module:
    CONFIG._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(CONFIG).to(base).train().requires_grad_(False)
    for layer in model.model.layers:
        for part in (layer.self_attn, layer.mlp):
            for name, child in list(part.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(part, name, Adapted(child))
    if recompute == "full":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its name is to change
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.enable_input_require_grads()  # as peft does: else the first layer keeps less
    return model


def saved_by_torch(model: nn.Module) -> dict[int, torch.Tensor]:
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    tokens = torch.randint(0, CONFIG.vocab_size, (BATCH, SEQ))
    storages: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in parameters:
            storages[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with warnings.catch_warnings(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        warnings.simplefilter("ignore")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = model(tokens, labels=tokens, use_cache=False)
    assert output.loss is not None
    return storages


LORA = {"lora_rank": RANK, "lora_targets": ("all-linear",)}


def predicted(recompute: str, **options) -> dict[str, int]:
    """The bill after the forward pass, without what stood before it."""
    model = gc.model({**CONFIG.to_dict(), "architectures": None})
    recipe = {"attention_kernel": "eager", "recompute": recompute, "optimizer": "sgd", "runtime": "transformers"}
    step = gc.memory(model, batch=BATCH, seq=SEQ, **recipe, **options).training.step
    bill = step.moments["after_forward"]["end"].breakdown
    return {path: size for path, size in bill.items() if "rounding" not in path and not path.startswith("weights")}


@pytest.mark.parametrize("recompute", ["none", "full"])
@pytest.mark.parametrize(("base", "options"), [(torch.float32, {"precision": "amp-bf16"}), (torch.bfloat16, {})])
def test_saved_bytes_under_adapters_equal_torch(base, options, recompute) -> None:
    ours = predicted(recompute, **LORA, **options)
    arguments = ours.pop("activations/block/checkpoint arguments", 0)  # held by the checkpoints, and not as saved tensors
    assert (arguments > 0) == (recompute == "full")
    real = sum(tensor.untyped_storage().nbytes() for tensor in saved_by_torch(adapted(base, recompute)).values())
    assert sum(ours.values()) == real


@pytest.mark.parametrize("recompute", ["none", "full"])
def test_copies_of_frozen_weights_are_those_that_a_matmul_keeps(recompute) -> None:
    shapes = [(96, 96), (96, 32), (96, 256), (256, 96), (301, 96), (96, 301)]
    stored = saved_by_torch(adapted(torch.float32, recompute)).values()
    real = sum(tensor.untyped_storage().nbytes() for tensor in stored if tensor.dtype == torch.bfloat16 and tuple(tensor.shape) in shapes)
    copies = sum(size for path, size in predicted(recompute, precision="amp-bf16", **LORA).items() if path.startswith("low-precision"))
    assert copies == real


@pytest.mark.parametrize("freeze", [("embedding", "block"), ("embedding", "block", "final_norm"), ("embedding",)])
def test_below_the_first_trained_weight_nothing_is_kept(freeze) -> None:
    CONFIG._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(CONFIG).train()
    parts = {"embedding": model.model.embed_tokens, "block": model.model.layers, "final_norm": model.model.norm}
    for name in freeze:
        parts[name].requires_grad_(False)
    if freeze == ("embedding",):
        model.enable_input_require_grads()  # the first layer's norm would keep less, which the runtimes do not tell apart
    real = sum(tensor.untyped_storage().nbytes() for tensor in saved_by_torch(model).values())
    assert sum(predicted("none", precision="amp-bf16", freeze=freeze).values()) == real
