"""`train`: the bill of a training run."""

from typing import Annotated, Any

import typer

from gptcalc.cli.options import (
    LAYOUT,
    MONEY,
    OUTPUT,
    RECIPE,
    RUN,
    USUAL_SEQ,
    Cp,
    Depth,
    Dp,
    Ep,
    Explain,
    Form,
    Model,
    Pp,
    Price,
    Quiet,
    Recompute,
    Runtime,
    SequenceParallel,
    Set,
    Tp,
    VirtualStages,
    Zero,
    complete_cluster,
    complete_device,
    complete_stack,
    counted,
    load,
    settings_of,
    size_option,
)


def train(
    model: Model,
    tokens: Annotated[str | None, RUN("--tokens", help="Tokens of the run, such as 300B.", show_default="those of its preset")] = None,
    device: Annotated[
        list[str] | None,
        RUN(
            "--device",
            help="A name, or several with commas between them, each with its count or not: a100:8,tpu-v5p:16; or a file.",
            autocompletion=complete_device,
            show_default="h100-80gb",
        ),
    ] = None,
    count: Annotated[str | None, RUN("--count", help="Devices in all.", show_default="as many as the layout needs")] = None,
    batch: Annotated[str | None, RUN("--batch", help="Sequences of one device's micro-batch.", show_default="1")] = None,
    seq: Annotated[int | None, RUN("--seq", min=1, help="Tokens of a sequence.", show_default=USUAL_SEQ)] = None,
    global_batch: Annotated[str | None, RUN("--global-batch", help="Sequences of a step.", show_default="batch times dp")] = None,
    mfu: Annotated[
        str | None, RUN("--mfu", help="Your own MFU or its range, 0.35..0.45, instead of the model of a step.", show_default=False)
    ] = None,
    goodput: Annotated[bool, RUN("--goodput", help="Count failures and checkpoints in.")] = False,
    precision: Annotated[
        str | None,
        RECIPE(
            "--precision", help="fp32 tf32 fp16 bf16 amp-bf16 amp-fp16 fp8.", show_default="autocast to the 16 bits that the device has"
        ),
    ] = None,
    optimizer: Annotated[
        str | None,
        RECIPE("--optimizer", help="adamw adamw-foreach sgd sgd-momentum adamw-8bit adafactor lion muon.", show_default="adamw"),
    ] = None,
    recompute: Recompute = None,
    attention_kernel: Annotated[
        str | None, RECIPE("--attention-kernel", help="flash or eager.", show_default="the stack's, or flash")
    ] = None,
    runtime: Runtime = None,
    compiled: Annotated[bool, RECIPE("--compiled", help="Under torch.compile.")] = False,
    dropout: Annotated[
        bool | None,
        RECIPE("--dropout/--no-dropout", help="Dropout's own passes over memory.", show_default="the stack's, or the runtime's"),
    ] = None,
    tp: Tp = None,
    pp: Pp = None,
    dp: Dp = None,
    cp: Cp = None,
    ep: Ep = None,
    virtual_stages: VirtualStages = None,
    sequence_parallel: SequenceParallel = None,
    zero: Zero = None,
    stack: Annotated[
        str | None,
        LAYOUT(
            "--stack",
            help="Defaults and overlap of: megatron-2021 megatron-2022 megatron fsdp ddp maxtext deepseek-v3; 'gptcalc devices --stacks'.",
            autocompletion=complete_stack,
            show_default="maxtext on TPUs; else no defaults, and the overlap of fsdp (ZeRO-3), megatron (--tp, --pp) or ddp",
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        LAYOUT(
            "--cluster",
            help="What joins the devices, such as dgx-a100, or a file: 'gptcalc devices --clusters' lists them.",
            autocompletion=complete_cluster,
            show_default="the device's usual one",
        ),
    ] = None,
    slice_: Annotated[int | None, size_option("--slice", "Devices that share the fast link.", "the cluster's number")] = None,
    price: Price = None,
    tdp_share: Annotated[str, MONEY("--tdp-share", help="Power over TDP, or a range.")] = "1.0",
    pue: Annotated[str, MONEY("--pue", help="Power of the facility over that of its devices, or a range.")] = "1.1",
    carbon: Annotated[str, MONEY("--carbon", help="kg of CO2 per kWh, or a range.")] = "0.385",
    timeline: Annotated[bool, OUTPUT("--timeline", help="Draw the pipeline's schedule of one step.")] = False,
    depth: Depth = 2,
    explain: Explain = False,
    quiet: Quiet = False,
    set_: Set = None,
    form: Form = "table",
) -> None:
    """How long a training run takes, on which devices, and what it costs: hours, money, energy, CO2."""
    from gptcalc.errors import GptcalcError
    from gptcalc.run.larger import larger_batch
    from gptcalc.run.request import train as formulas
    from gptcalc.show import train as show
    from gptcalc.show.output import emit
    from gptcalc.show.schedule import passes, pipeline

    spec = load(model, set_)
    names = counted(device or ["h100-80gb"])
    if not names:
        raise GptcalcError("--device names no device", hint="for example --device h100-80gb")
    if timeline and mfu is not None:
        raise GptcalcError("--timeline draws the step's own passes, which a stated MFU replaces", hint="leave --mfu out")
    if timeline and form == "csv":
        raise GptcalcError("--timeline is drawn under the tables and listed in JSON: csv has no place for it")
    options: dict[str, Any] = {"tokens": tokens, "count": count, "batch": batch or "1", "seq": seq}
    options |= {"global_batch": global_batch, "mfu": mfu}
    options |= {"precision": precision, "optimizer": optimizer, "recompute": recompute, "attention_kernel": attention_kernel}
    options |= {
        "runtime": runtime,
        "compiled": compiled,
        "dropout": dropout,
        "price": price,
        "tdp_share": tdp_share,
        "pue": pue,
        "carbon": carbon,
    }
    options |= {"tp": tp, "pp": pp, "dp": dp, "cp": cp, "ep": ep, "virtual_stages": virtual_stages, "zero": zero}
    options |= {"sequence_parallel": sequence_parallel, "stack": stack, "cluster": cluster, "slice": slice_, "goodput": goodput}
    runs = (
        [formulas(spec, device=name, **(options | ({"count": own} if own else {}))) for name, own in names]
        if any(own for _, own in names)
        else formulas(spec, device=[name for name, _ in names], **options)
    )
    inputs = settings_of(spec) | runs[0].inputs | ({"device": [run.device for run in runs]} if len(runs) > 1 else {})
    results = [run.to_dict() | ({"timeline": passes(run)} if timeline else {}) for run in runs]
    result = results[0] if len(runs) == 1 else results

    def tables() -> list[Any]:
        larger = larger_batch(spec, names[0][0], runs[0], options) if batch is None and len(runs) == 1 else None
        return [*show.tables(spec, runs, depth, explain, larger), *([pipeline(run) for run in runs] if timeline else [])]

    emit("train", inputs, result, tables, form, only=[run.value for run in runs] if quiet else None)
    lines = [line for run in runs if not run.fits for line in show.too_large(run)]
    for line in lines:
        typer.echo(line, err=True)
    if lines:
        raise typer.Exit(1)
