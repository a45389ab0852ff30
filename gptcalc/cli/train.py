"""`train`: the bill of a training run."""

from typing import Annotated, Any

import typer

from gptcalc.cli.options import Depth, Explain, Form, Model, Set, load, settings_of


def _size(name: str, text: str) -> Any:
    return typer.Option(name, min=1, help=text, show_default=False)


def train(
    model: Model,
    tokens: Annotated[str | None, typer.Option("--tokens", help="Tokens of the run, such as 300B.", show_default="the model's own")] = None,
    device: Annotated[
        list[str] | None, typer.Option("--device", help="Name, or several with commas between them.", show_default="h100-80gb")
    ] = None,
    count: Annotated[str | None, typer.Option("--count", help="Number of devices.", show_default="as the layout needs")] = None,
    batch: Annotated[str, typer.Option("--batch", help="Sequences of one device's micro-batch.")] = "1",
    seq: Annotated[int | None, typer.Option("--seq", min=1, help="Tokens of a sequence.", show_default="the model's longest")] = None,
    global_batch: Annotated[str | None, typer.Option("--global-batch", help="Sequences of a step.", show_default="batch times dp")] = None,
    mfu: Annotated[
        str | None, typer.Option("--mfu", help="Your own MFU or its range, 0.35..0.45, instead of the model of a step.", show_default=False)
    ] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help="fp32 tf32 fp16 bf16 amp-bf16 amp-fp16 fp8.", show_default="autocast to 16 bits")
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option("--optimizer", help="adamw adamw-foreach sgd sgd-momentum adamw-8bit adafactor lion muon.", show_default="adamw"),
    ] = None,
    recompute: Annotated[str | None, typer.Option("--recompute", help="none selective full every-K.", show_default="none")] = None,
    attention_kernel: Annotated[str | None, typer.Option("--attention-kernel", help="flash or eager.", show_default="flash")] = None,
    runtime: Annotated[
        str | None, typer.Option("--runtime", help="Whose code runs: nanogpt transformers megatron ideal.", show_default="transformers")
    ] = None,
    compiled: Annotated[bool, typer.Option("--compiled", help="Under torch.compile.")] = False,
    dropout: Annotated[
        bool | None, typer.Option("--dropout/--no-dropout", help="Dropout's own passes over memory.", show_default="the runtime's")
    ] = None,
    tp: Annotated[int | None, _size("--tp", "Tensor parallel size.")] = None,
    pp: Annotated[int | None, _size("--pp", "Pipeline stages.")] = None,
    dp: Annotated[int | None, _size("--dp", "Data parallel size; follows from the count when left out.")] = None,
    cp: Annotated[int | None, _size("--cp", "Context parallel size.")] = None,
    ep: Annotated[int | None, _size("--ep", "Expert parallel size.")] = None,
    virtual_stages: Annotated[int | None, _size("--virtual-stages", "Interleaved chunks of a stage.")] = None,
    sequence_parallel: Annotated[
        bool | None, typer.Option("--sequence-parallel/--no-sequence-parallel", help="With --tp.", show_default="the stack's")
    ] = None,
    zero: Annotated[
        int | None, typer.Option("--zero", min=0, max=3, help="What data parallel ranks divide; 3: FSDP.", show_default="the stack's")
    ] = None,
    stack: Annotated[
        str | None,
        typer.Option("--stack", help="megatron-2021 megatron-2022 megatron fsdp ddp maxtext: defaults and overlap.", show_default=False),
    ] = None,
    cluster: Annotated[str | None, typer.Option("--cluster", help="As dgx-a100.", show_default="the device's usual one")] = None,
    slice_: Annotated[int | None, _size("--slice", "Devices that share the fast link, where not the cluster's number.")] = None,
    goodput: Annotated[bool, typer.Option("--goodput", help="Count failures and checkpoints.")] = False,
    timeline: Annotated[bool, typer.Option("--timeline", help="Draw the pipeline's schedule of one step.")] = False,
    price: Annotated[
        str | None, typer.Option("--price", help="USD per device and hour, or a range.", show_default="the catalogue's")
    ] = None,
    tdp_share: Annotated[str, typer.Option("--tdp-share", help="Power over TDP, or a range.")] = "1.0",
    pue: Annotated[str, typer.Option("--pue", help="Power of the facility over that of its devices, or a range.")] = "1.1",
    carbon: Annotated[str, typer.Option("--carbon", help="kg of CO2 per kWh, or a range.")] = "0.385",
    depth: Depth = 2,
    explain: Explain = False,
    set_: Set = None,
    form: Form = "table",
) -> None:
    """How long a training run takes, on which devices, and what it costs: hours, money, energy, CO2."""
    from gptcalc.errors import GptcalcError
    from gptcalc.formulas.run.request import train as formulas
    from gptcalc.show import train as show
    from gptcalc.show.output import emit

    spec = load(model, set_)
    names = [name.strip() for group in device or ["h100-80gb"] for name in group.split(",") if name.strip()]
    if not names:
        raise GptcalcError("--device names no device", hint="for example --device h100-80gb")
    options: dict[str, Any] = {"tokens": tokens, "count": count, "batch": batch, "seq": seq, "global_batch": global_batch, "mfu": mfu}
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
    runs = formulas(spec, device=names, **options)
    inputs = settings_of(spec) | runs[0].inputs | ({"device": [run.device for run in runs]} if len(runs) > 1 else {})
    result = runs[0].to_dict() if len(runs) == 1 else [run.to_dict() for run in runs]

    def tables() -> list[Any]:
        from gptcalc.show.schedule import pipeline

        return [*show.tables(spec, runs, depth, explain), *([pipeline(run) for run in runs] if timeline else [])]

    emit("train", inputs, result, tables, form)
    lines = [line for run in runs if not run.fits for line in show.too_large(run)]
    for line in lines:
        typer.echo(line, err=True)
    if lines:
        raise typer.Exit(1)
