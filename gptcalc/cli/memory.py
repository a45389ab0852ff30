"""`memory`."""

from typing import Annotated, Literal

import typer

from gptcalc.choices import Precision
from gptcalc.cli.options import (
    ADAPTERS,
    LAYOUT,
    OUTPUT,
    RECIPE,
    RUN,
    SERVING,
    Cp,
    Dp,
    Ep,
    Explain,
    Form,
    KvPrecision,
    Model,
    Pp,
    Quiet,
    Recompute,
    Runtime,
    SequenceParallel,
    Set,
    Tp,
    VirtualStages,
    Zero,
    complete_device,
    complete_stack,
    depth_option,
    load,
    settings_of,
    size_option,
)

Optimizer = Literal["adamw", "adamw-foreach", "sgd", "sgd-momentum", "adamw-8bit", "adafactor", "lion", "muon"]


def memory(
    model: Model,
    mode: Annotated[Literal["training", "inference"], RUN("--mode", help="What the model is used for.")] = "training",
    batch: Annotated[int | None, size_option("--batch", "Sequences: a device's micro-batch, or those served at once.", "1", RUN)] = None,
    seq: Annotated[int | None, size_option("--seq", "Tokens of a sequence.", "as in training, or 8,192 at most", RUN)] = None,
    precision: Annotated[
        Precision | None,
        RUN(
            "--precision",
            help="Types of the weights.",
            show_default="amp-bf16; LoRA: bf16; inference: as stored, or bf16 (fp16 without)",
        ),
    ] = None,
    device: Annotated[
        str | None,
        RUN("--device", help="Does it fit there? A name, as h100-80gb, or a file.", autocompletion=complete_device, show_default=False),
    ] = None,
    runtime: Runtime = None,
    compiled: Annotated[bool | None, RECIPE("--compiled", help="Under torch.compile.", show_default=False)] = None,
    optimizer: Annotated[Optimizer | None, RECIPE("--optimizer", help="Its state is held.", show_default="adamw, fused")] = None,
    recompute: Recompute = None,
    attention_kernel: Annotated[
        Literal["flash", "eager"] | None, RECIPE("--attention-kernel", help="Eager keeps the scores.", show_default="the stack's, or flash")
    ] = None,
    dropout: Annotated[
        bool | None, RECIPE("--dropout/--no-dropout", help="Masks are kept.", show_default="the stack's, or the runtime's")
    ] = None,
    accumulate: Annotated[
        int | None, size_option("--accumulate", "Micro-batches whose gradients are added up.", "what --global-batch needs, or 1", RECIPE)
    ] = None,
    offload_optimizer: Annotated[
        bool | None, RECIPE("--offload-optimizer", help="Optimizer state in host memory.", show_default=False)
    ] = None,
    freeze: Annotated[
        list[str] | None,
        ADAPTERS("--freeze", help="Operations that are not trained, as `embedding` (repeatable).", show_default=False),
    ] = None,
    lora_rank: Annotated[int | None, size_option("--lora-rank", "Train adapters of this rank instead.", False, ADAPTERS)] = None,
    lora_targets: Annotated[
        list[str] | None,
        ADAPTERS(
            "--lora-target", help="A matmul to adapt, as `query` or `q_proj`; all-linear (repeatable).", show_default="peft's: query, value"
        ),
    ] = None,
    qlora: Annotated[bool | None, ADAPTERS("--qlora", help="The frozen matrices in nf4.", show_default=False)] = None,
    tp: Tp = None,
    pp: Pp = None,
    dp: Dp = None,
    cp: Cp = None,
    ep: Ep = None,
    virtual_stages: VirtualStages = None,
    sequence_parallel: SequenceParallel = None,
    zero: Zero = None,
    stage: Annotated[
        Literal["worst", "first", "middle", "last"] | None, LAYOUT("--stage", help="Of the pipeline.", show_default="worst")
    ] = None,
    count: Annotated[int | None, size_option("--count", "Devices in all.", "as many as the layout needs")] = None,
    global_batch: Annotated[int | None, size_option("--global-batch", "Sequences of a step.", "batch times dp")] = None,
    stack: Annotated[
        str | None,
        LAYOUT(
            "--stack",
            help="Whose defaults: megatron-2021 megatron-2022 megatron fsdp ddp maxtext deepseek-v3; 'gptcalc devices --stacks'.",
            autocompletion=complete_stack,
            show_default=False,
        ),
    ] = None,
    kv_precision: KvPrecision = None,
    group_size: Annotated[int | None, size_option("--group-size", "Weights that share a scale in int4.", "128", SERVING)] = None,
    block_size: Annotated[int | None, size_option("--block-size", "Tokens of a page of the cache.", "1", SERVING)] = None,
    prefill: Annotated[
        int | None, size_option("--prefill", "Prompt tokens in one pass at most.", "8192, or one whole prompt", SERVING)
    ] = None,
    replay: Annotated[
        bool, OUTPUT("--replay", help="Run the code that a config.json names, without data, for its exact peak (needs torch).")
    ] = False,
    timeline: Annotated[bool, OUTPUT("--timeline", help="Draw the step's memory over time.")] = False,
    depth: Annotated[int | None, depth_option(show_default="1; in CSV 3")] = None,
    explain: Explain = False,
    quiet: Quiet = False,
    set_: Set = None,
    form: Form = "table",
) -> None:
    """How much memory a step takes at its peak, where, and whether it fits."""
    given = {name: value for name, value in locals().items() if value is not None and name not in NOT_OPTIONS}
    for name in ("freeze", "lora_targets"):
        if name in given:
            given[name] = tuple(given[name])
    if replay:
        from gptcalc.cli.replaying import replayed

        replayed(
            model,
            given | ({"set": set_} if set_ else {}) | ({"timeline": True} if timeline else {}),
            1 if depth is None else depth,
            quiet,
            form,
        )
        return
    from gptcalc.errors import GptcalcError
    from gptcalc.footprint.answer import settings
    from gptcalc.footprint.request import memory as formulas
    from gptcalc.show import memory as show
    from gptcalc.show.output import emit

    spec = load(model, set_)
    if timeline and mode != "training":
        raise GptcalcError("--timeline draws a training step: serving holds the same from its first token to its last")
    if timeline and form in ("csv", "markdown"):
        raise GptcalcError(f"--timeline is drawn under the table and listed in JSON: {form} has no place for it")
    answer = formulas(spec, **given)
    used = settings_of(spec) | {"batch": 1, "seq": spec.usual_seq, **given, **settings(answer)}
    result = answer.to_dict() | (show.points(answer) if timeline else {})
    only = answer.value if quiet else None
    deep = (3 if form == "csv" else 1) if depth is None else depth
    emit("memory", used, result, lambda: show.tables(spec, answer, used, deep, explain, given.keys()), form, only=only)
    if timeline and not quiet and form == "table":
        from gptcalc.show.timeline import draw

        draw(answer)
    if result.get("fits") is False:
        raise typer.Exit(1)


NOT_OPTIONS = ("model", "replay", "timeline", "depth", "explain", "quiet", "set_", "form")
