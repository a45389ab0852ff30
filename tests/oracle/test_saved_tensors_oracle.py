"""The runtimes' `keeps` against what autograd saves here and now: other models and sizes than those measured on a GPU, on the CPU.

Explicit attention only: the fused kernels differ from device to device.
"""

import warnings

import pytest
import torch
import transformers

import gptcalc as gc
from gptcalc.formulas.saved import Setting, inventory
from gptcalc.spec.recipe import PRECISIONS, Recipe, tags_of
from gptcalc.spec.runtime import implementation_of, load_runtime
from gptcalc.spec.shape import shape_of

NO_DROPOUT = {"resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0}
CONFIGS = {
    "gpt2": transformers.GPT2Config(n_layer=3, n_embd=96, n_head=6, vocab_size=301, n_positions=64, **NO_DROPOUT),
    "gpt2-gelu": transformers.GPT2Config(
        n_layer=2, n_embd=64, n_head=4, vocab_size=301, n_positions=64, activation_function="gelu", **NO_DROPOUT
    ),
    "neox": transformers.GPTNeoXConfig(
        hidden_size=96, num_hidden_layers=3, num_attention_heads=6, intermediate_size=384, vocab_size=301, max_position_embeddings=64,
        hidden_dropout=0, attention_dropout=0,
    ),
    "neox-sequential": transformers.GPTNeoXConfig(
        hidden_size=96, num_hidden_layers=3, num_attention_heads=6, intermediate_size=384, vocab_size=301, max_position_embeddings=64,
        hidden_dropout=0, attention_dropout=0, use_parallel_residual=False, tie_word_embeddings=True,
    ),
    "opt": transformers.OPTConfig(
        hidden_size=96, num_hidden_layers=3, num_attention_heads=6, ffn_dim=384, vocab_size=301, max_position_embeddings=64, dropout=0.0,
        word_embed_proj_dim=96,
    ),
    "llama": transformers.LlamaConfig(
        hidden_size=96, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2, intermediate_size=256, vocab_size=301,
        max_position_embeddings=64,
    ),
    "llama-untied-full-heads": transformers.LlamaConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4, intermediate_size=160, vocab_size=301,
        max_position_embeddings=64, tie_word_embeddings=True,
    ),
}  # fmt: skip


def saved_by_torch(config, precision: str, batch: int, seq: int) -> int:
    torch.manual_seed(0)
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config).train()
    if precision == "bf16":
        model = model.to(torch.bfloat16)
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    tokens = torch.randint(0, config.vocab_size, (batch, seq))
    storages: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in parameters:
            storages[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with warnings.catch_warnings(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        warnings.simplefilter("ignore")
        output = model(tokens, labels=tokens, use_cache=False)
    assert output.loss is not None
    return sum(tensor.untyped_storage().nbytes() for tensor in storages.values())


def predicted(config, precision: str, batch: int, seq: int) -> int:
    model = gc.model({**config.to_dict(), "architectures": None})
    shape = shape_of(model)
    implementation = implementation_of(load_runtime("transformers"), model.family, model.switches, model.name)
    recipe = Recipe("transformers", precision, attention_kernel="eager")
    tags = tags_of(recipe, model.switches, grouped=shape.n_kv_head < shape.n_head, unaligned=False)
    setting = Setting(shape.letters | {"B": batch, "T": seq, "S": seq}, PRECISIONS[precision], tags)
    return sum(saved.bytes * (shape.n_layer if every else 1) for saved, every in inventory(implementation, setting))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", CONFIGS)
def test_saved_bytes_equal_torch(name, precision) -> None:
    batch, seq, config = 3, 40, CONFIGS[name]
    norms = 0 if name.startswith("llama") else 2 * config.num_hidden_layers + 1
    narrower = 4 * batch * seq * norms if precision == "bf16" else 0  # on the CPU LayerNorm's statistics are 16-bit too
    assert predicted(config, precision, batch, seq) - narrower == saved_by_torch(config, precision, batch, seq)
