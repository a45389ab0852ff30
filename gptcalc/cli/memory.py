"""`memory`."""

from typing import Annotated, Any, Literal

import typer

from gptcalc.choices import Precision
from gptcalc.cli.options import Batch, Depth, Explain, Form, Model, Seq, Set, load, settings_of

Optimizer = Literal["adamw", "adamw-foreach", "sgd", "sgd-momentum", "adamw-8bit", "adafactor", "lion", "muon"]


def _size(name: str, text: str) -> Any:
    return typer.Option(name, min=1, help=text, show_default=False)


def memory(
    model: Model,
    mode: Annotated[Literal["training", "inference"], typer.Option("--mode", help="What the model is used for.")] = "training",
    batch: Batch = 1,
    seq: Seq = None,
    precision: Annotated[Precision | None, typer.Option("--precision", show_default="amp-bf16; inference: as stored, or bf16")] = None,
    runtime: Annotated[str | None, typer.Option("--runtime", help="Whose code: nanogpt, transformers, megatron, ideal.")] = None,
    compiled: Annotated[bool | None, typer.Option("--compiled", help="Under torch.compile.", show_default=False)] = None,
    optimizer: Annotated[Optimizer | None, typer.Option("--optimizer", show_default="adamw, fused")] = None,
    recompute: Annotated[str | None, typer.Option("--recompute", help="none, selective, full, or every-K blocks.")] = None,
    attention_kernel: Annotated[Literal["flash", "eager"] | None, typer.Option("--attention-kernel", show_default="flash")] = None,
    dropout: Annotated[bool | None, typer.Option("--dropout/--no-dropout", help="Masks are kept.", show_default="the runtime's")] = None,
    accumulate: Annotated[int | None, _size("--accumulate", "Micro-batches whose gradients are added up.")] = None,
    freeze: Annotated[
        list[str] | None, typer.Option("--freeze", help="Operations that are not trained, as `embedding` (repeatable).")
    ] = None,
    lora_rank: Annotated[int | None, _size("--lora-rank", "Train adapters of this rank instead.")] = None,
    lora_targets: Annotated[
        list[str] | None, typer.Option("--lora-target", help="A matmul to adapt, as `query` or `q_proj`; all-linear (repeatable).")
    ] = None,
    qlora: Annotated[bool | None, typer.Option("--qlora", help="The frozen matrices in nf4.", show_default=False)] = None,
    offload_optimizer: Annotated[
        bool | None, typer.Option("--offload-optimizer", help="Optimizer state in host memory.", show_default=False)
    ] = None,
    tp: Annotated[int | None, _size("--tp", "Tensor parallel size.")] = None,
    pp: Annotated[int | None, _size("--pp", "Pipeline stages.")] = None,
    dp: Annotated[int | None, _size("--dp", "Data parallel size.")] = None,
    cp: Annotated[int | None, _size("--cp", "Context parallel size.")] = None,
    ep: Annotated[int | None, _size("--ep", "Expert parallel size.")] = None,
    virtual_stages: Annotated[int | None, _size("--virtual-stages", "Interleaved chunks of a stage.")] = None,
    sequence_parallel: Annotated[bool | None, typer.Option("--sequence-parallel/--no-sequence-parallel", show_default=False)] = None,
    zero: Annotated[int | None, typer.Option("--zero", min=0, max=3, help="What data parallel ranks divide; 3: FSDP.")] = None,
    stage: Annotated[Literal["worst", "first", "middle", "last"] | None, typer.Option("--stage", help="Of the pipeline.")] = None,
    count: Annotated[int | None, _size("--count", "Devices in all; dp follows.")] = None,
    global_batch: Annotated[int | None, _size("--global-batch", "Sequences of a whole step.")] = None,
    stack: Annotated[str | None, typer.Option("--stack", help="megatron-2021, megatron-2022, megatron, fsdp.")] = None,
    kv_precision: Annotated[str | None, typer.Option("--kv-precision", help="Of the cache: bf16, fp8, int8 ...")] = None,
    group_size: Annotated[int | None, _size("--group-size", "Weights that share a scale in int4.")] = None,
    block_size: Annotated[int | None, _size("--block-size", "Tokens of a page of the cache.")] = None,
    prefill: Annotated[int | None, _size("--prefill", "Prompt tokens in one pass at most.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="Does it fit there? As h100-80gb.")] = None,
    timeline: Annotated[bool, typer.Option("--timeline", help="Draw the step's memory over time.")] = False,
    depth: Depth = 3,
    explain: Explain = False,
    set_: Set = None,
    form: Form = "table",
) -> None:
    """How much memory a step takes at its peak, where, and whether it fits."""
    given = {name: value for name, value in locals().items() if value is not None and name not in NOT_OPTIONS}
    for name in ("freeze", "lora_targets"):
        if name in given:
            given[name] = tuple(given[name])
    from gptcalc.errors import GptcalcError
    from gptcalc.formulas.memory.answer import settings
    from gptcalc.formulas.memory.request import memory as formulas
    from gptcalc.show import memory as show
    from gptcalc.show.output import emit

    spec = load(model, set_)
    if timeline and mode != "training":
        raise GptcalcError("--timeline draws a training step: serving holds the same from its first token to its last")
    if timeline and form in ("csv", "markdown"):
        raise GptcalcError(f"--timeline is drawn under the table and listed in JSON: {form} has no place for it")
    answer = formulas(spec, **given)
    used = settings_of(spec) | {"seq": spec.n_ctx, **given, **settings(answer)}
    result = answer.to_dict() | (show.points(answer) if timeline else {})
    emit("memory", used, result, lambda: show.tables(spec, answer, used, depth, explain), form)
    if timeline and form == "table":
        from gptcalc.show.timeline import draw

        draw(answer)
    if result.get("fits") is False:
        raise typer.Exit(1)


NOT_OPTIONS = ("model", "timeline", "depth", "explain", "set_", "form")
