"""Every model type that is imported: a family is in the file of its lineage, dense and sparse members side by side.

- GPT-2's way: `gpt`, `neox`, `opt`, `alibi`, `bert`, `modernbert`, `decoders` (of encoder-decoder models).
- Llama's way, by name: `llama`, `mistral`, `qwen`, `gemma`, `gemma4`, `glm`, `deepseek`, `deepseek_v4`, `indexed` (keys chosen by an
  indexer), `kimi`, `minimax_m3`, `cohere`, `granite`, `olmo`, `exaone`, `hunyuan`, `ernie`, `phi`. Those that stand alone, by what sets
  them apart: `layernorm`, `dense`, `differential`, `experts` (in every layer), `sparse` (in some).
"""

from __future__ import annotations

from collections.abc import Mapping

from gptcalc.spec.huggingface.families import (
    alibi,
    bert,
    cohere,
    decoders,
    deepseek,
    deepseek_v4,
    dense,
    differential,
    ernie,
    exaone,
    experts,
    gemma,
    gemma4,
    glm,
    gpt,
    granite,
    hunyuan,
    indexed,
    kimi,
    layernorm,
    linear,
    llama,
    mamba,
    minimax_m3,
    mistral,
    modernbert,
    nemotron,
    neox,
    olmo,
    opt,
    phi,
    qwen,
    sparse,
)
from gptcalc.spec.huggingface.family import Family

_LINEAGES = (
    *(gpt, neox, opt, alibi, bert, modernbert, decoders),
    *(
        llama,
        mistral,
        qwen,
        gemma,
        gemma4,
        glm,
        deepseek,
        deepseek_v4,
        indexed,
        kimi,
        minimax_m3,
        cohere,
        granite,
        olmo,
        exaone,
        hunyuan,
        ernie,
        phi,
    ),
    *(layernorm, dense, differential, experts, sparse, linear, mamba, nemotron),
)
FAMILIES: Mapping[str, Family] = {family.model_type: family for lineage in _LINEAGES for family in lineage.FAMILIES}
