"""A plan as the options of training software: Megatron-LM's arguments, torchtitan's TOML, NeMo's YAML.

Sources: NVIDIA/Megatron-LM, megatron/training/arguments.py; pytorch/torchtitan, torchtitan/config/job_config.py; NVIDIA/NeMo,
examples/nlp/language_modeling/conf/megatron_gpt_config.yaml. Only what the plan decides is written, and the model's own sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gptcalc.errors import GptcalcError
from gptcalc.spec.options import check_word

if TYPE_CHECKING:
    from gptcalc.search.choice import Choice
    from gptcalc.spec.model import ModelSpec

SOFTWARE = ("megatron", "torchtitan", "nemo")


def check_software(name: str) -> None:
    """Raises GptcalcError for software whose options are not known."""
    check_word("software", name, SOFTWARE)


def written(model: ModelSpec, choice: Choice, software: str) -> str:
    """The text of a plan's options.

    Raises GptcalcError for software that is not known, and for what it has no option for.
    """
    check_software(software)
    writers: dict[str, Callable[[ModelSpec, Choice], str]] = {"megatron": _megatron, "torchtitan": _torchtitan, "nemo": _nemo}
    return writers[software](model, choice)


def _chunk(model: ModelSpec, layout: dict[str, Any]) -> int:
    """Layers of a virtual stage."""
    return int(-(-model.n_layer // (layout["pp"] * layout["virtual_stages"])))


def _short(model: ModelSpec, layout: dict[str, Any]) -> tuple[bool, int | None]:
    """Whether the first stage and the last have a layer fewer, for embedding and loss; else the layers of a last stage that has fewer.

    As `spec.legality.stage_sizes` has it: of 126 layers in 16 stages of 8 chunks both are short, of 61 in 8 of 2 the last has 5.
    """
    whole = layout["virtual_stages"] * _chunk(model, layout)
    missing = layout["pp"] * whole - model.n_layer
    if missing == 2 and layout["virtual_stages"] > 1:
        return True, None
    return False, whole - missing if missing else None


def _no_option(software: str, model: ModelSpec, layout: dict[str, Any]) -> GptcalcError:
    chunks = f"{layout['pp']} stages of {layout['virtual_stages']}" if layout["virtual_stages"] > 1 else f"{layout['pp']} stages"
    able = [v for v in range(1, model.n_layer + 1) if model.n_layer % (layout["pp"] * v) == 0]
    hint = f"--virtual-stages {','.join(map(str, able))} divides" if able else "choose --pp so that it divides the layers"
    return GptcalcError(f"{software} has no option for {model.n_layer} layers in {chunks}", hint=hint)


def _number(recompute: str) -> int | None:
    """Every how many layers one is recomputed; None: other ways."""
    return int(recompute.removeprefix("every-")) if recompute.startswith("every-") else None


def _megatron(model: ModelSpec, choice: Choice) -> str:
    layout, recompute = choice.layout, choice.options["recompute"]
    lines = [
        f"--num-layers {model.n_layer} --hidden-size {model.d_model} --num-attention-heads {model.n_head}",
        f"--seq-length {layout['seq']} --micro-batch-size {layout['batch']} --global-batch-size {layout['global_batch']}",
        f"--tensor-model-parallel-size {layout['tp']} --pipeline-model-parallel-size {layout['pp']}",
    ]
    if layout["virtual_stages"] > 1:
        lines.append(f"--num-layers-per-virtual-pipeline-stage {_chunk(model, layout)}")
    ends, last = _short(model, layout)
    if ends:
        lines.append("--account-for-embedding-in-pipeline-split --account-for-loss-in-pipeline-split")
    if last is not None:
        if last < 1 or last % layout["virtual_stages"]:
            raise _no_option("Megatron-LM", model, layout)
        lines.append(f"--decoder-last-pipeline-num-layers {last}")
    if layout["cp"] > 1:
        lines.append(f"--context-parallel-size {layout['cp']}")
    if layout["ep"] > 1:
        lines.append(f"--expert-model-parallel-size {layout['ep']}")
    if layout["sequence_parallel"]:
        lines.append("--sequence-parallel")
    if layout["zero"] == 1:
        lines.append("--use-distributed-optimizer")
    if layout["zero"] > 1:
        sharded = {2: "optim_grads", 3: "optim_grads_params"}[layout["zero"]]
        lines.append(f"--use-distributed-optimizer --use-megatron-fsdp --data-parallel-sharding-strategy {sharded}")
    if _number(recompute) is not None:
        raise GptcalcError(f"Megatron-LM has no option for recompute {recompute}", hint="--recompute none,selective,full")
    if recompute == "selective":
        lines.append("--recompute-activations")
    if recompute == "full":
        lines.append("--recompute-granularity full --recompute-method uniform --recompute-num-layers 1")
    if choice.run.precision == "fp8":
        lines.append("--bf16 --fp8-format hybrid")
    elif choice.run.precision != "fp32":
        lines.append("--fp16" if choice.run.precision.endswith("fp16") else "--bf16")
    return "".join(f"{line} \\\n" for line in lines[:-1]) + f"{lines[-1]}\n"


def _torchtitan(model: ModelSpec, choice: Choice) -> str:
    layout, recompute = choice.layout, choice.options["recompute"]
    if layout["zero"] in (1, 2) and layout["dp"] > 1:
        raise GptcalcError(f"torchtitan shards everything or nothing, not ZeRO-{layout['zero']}", hint="--zero 0,3")
    if recompute == "selective":
        raise GptcalcError("torchtitan's selective recomputation chooses other operations", hint="--recompute none,full")
    ends, last = _short(model, layout)
    if last is not None:
        raise _no_option("torchtitan", model, layout)
    fewer = "".join(f"pipeline_parallel_{stage}_stage_less_layers = {int(ends)}\n" for stage in ("first", "last"))
    schedule = "Interleaved1F1B" if layout["virtual_stages"] > 1 else "1F1B"
    shard, copies = (layout["dp"], 1) if layout["zero"] == 3 else (1, layout["dp"])
    of_stage = f'pipeline_parallel_schedule = "{schedule}"\npipeline_parallel_layers_per_stage = {_chunk(model, layout)}\n{fewer}'
    every = _number(recompute)
    mode = f'mode = "selective"\nselective_ac_option = "{every}"' if every else f'mode = "{recompute}"'
    return (
        "[training]\n"
        f"local_batch_size = {layout['global_batch'] // layout['dp']}\nglobal_batch_size = {layout['global_batch']}\n"
        f"seq_len = {layout['seq']}\n\n"
        "[parallelism]\n"
        f"data_parallel_replicate_degree = {copies}\ndata_parallel_shard_degree = {shard}\n"
        f"tensor_parallel_degree = {layout['tp']}\ncontext_parallel_degree = {layout['cp']}\n"
        f"expert_parallel_degree = {layout['ep']}\npipeline_parallel_degree = {layout['pp']}\n"
        f"{of_stage if layout['pp'] > 1 else ''}pipeline_parallel_microbatch_size = {layout['batch']}\n\n"
        f"[activation_checkpoint]\n{mode}\n"
    )


def _nemo(model: ModelSpec, choice: Choice) -> str:
    layout, recompute = choice.layout, choice.options["recompute"]
    if layout["zero"] > 1:
        raise GptcalcError(f"NeMo's GPT configuration has a distributed optimizer, not ZeRO-{layout['zero']}", hint="--zero 0,1")
    if _number(recompute) is not None:
        raise GptcalcError(f"NeMo has no option for recompute {recompute}", hint="--recompute none,selective,full")
    if _short(model, layout) != (False, None):
        raise _no_option("NeMo's GPT configuration", model, layout)
    virtual = layout["virtual_stages"] if layout["virtual_stages"] > 1 else "null"
    grain = {"none": "null", "selective": "selective", "full": "full"}[recompute]
    lines = [
        f"micro_batch_size: {layout['batch']}",
        f"global_batch_size: {layout['global_batch']}",
        f"tensor_model_parallel_size: {layout['tp']}",
        f"pipeline_model_parallel_size: {layout['pp']}",
        f"virtual_pipeline_model_parallel_size: {virtual}",
        f"context_parallel_size: {layout['cp']}",
        f"expert_model_parallel_size: {layout['ep']}",
        f"sequence_parallel: {str(layout['sequence_parallel']).lower()}",
        f"encoder_seq_length: {layout['seq']}",
        f"num_layers: {model.n_layer}",
        f"hidden_size: {model.d_model}",
        f"num_attention_heads: {model.n_head}",
        f"activations_checkpoint_granularity: {grain}",
        f"activations_checkpoint_method: {'uniform' if recompute == 'full' else 'null'}",
        f"activations_checkpoint_num_layers: {1 if recompute == 'full' else 'null'}",
        "optim:",
        f"  name: {'distributed_fused_adam' if layout['zero'] == 1 else 'fused_adam'}",
    ]
    return "model:\n" + "".join(f"  {line}\n" for line in lines)
