"""`infer`: latency, throughput and cost of serving a model."""

import sys
from typing import Annotated, Any

import typer

from gptcalc.choices import Precision
from gptcalc.cli.options import (
    LAYOUT,
    OUTPUT,
    RUN,
    SERVING,
    Explain,
    Form,
    KvPrecision,
    Model,
    Price,
    Quiet,
    Set,
    complete_device,
    complete_server,
    load,
    settings_of,
    with_towers,
)


def infer(
    model: Model,
    device: Annotated[
        str, RUN("--device", help="A name: 'gptcalc devices' lists them; or a file.", autocompletion=complete_device)
    ] = "h100-80gb",
    count: Annotated[int | None, RUN("--count", min=1, help="Devices in all.", show_default="one replica's")] = None,
    batch: Annotated[int, RUN("--batch", min=1, help="Sequences that a replica serves at once.")] = 1,
    prompt: Annotated[
        int | None, RUN("--prompt", min=1, help="Tokens of a prompt.", show_default="1024, or what the model reaches")
    ] = None,
    output: Annotated[
        int | None,
        RUN("--output", min=1, help="New tokens, the first from the prefill.", show_default="256, or a quarter of what it reaches"),
    ] = None,
    target: Annotated[str | None, RUN("--target", metavar="ttft=200ms,tpot=30ms", help="Latencies to keep.", show_default=False)] = None,
    sweep: Annotated[str | None, RUN("--sweep", metavar="batch=1..256", help="Throughput against latency.", show_default=False)] = None,
    precision: Annotated[
        Precision | None, SERVING("--precision", help="Of the weights.", show_default="as stored, or 16 bits as the device has them")
    ] = None,
    kv_precision: KvPrecision = None,
    group_size: Annotated[
        int | None, SERVING("--group-size", min=1, help="Weights that share a scale in int4.", show_default="128")
    ] = None,
    block_size: Annotated[int, SERVING("--block-size", min=1, help="Tokens of a page of the cache.")] = 1,
    runtime: Annotated[
        str,
        SERVING("--runtime", help="graph (recorded once, fused: a CUDA graph) or eager (transformers).", autocompletion=complete_server),
    ] = "graph",
    tp: Annotated[
        int | None, LAYOUT("--tp", min=1, help="Tensor parallel size of a replica.", show_default="what --pp leaves of the count")
    ] = None,
    pp: Annotated[int | None, LAYOUT("--pp", min=1, help="Pipeline stages of a replica.", show_default="1")] = None,
    price: Price = None,
    roofline: Annotated[bool, OUTPUT("--roofline", help="The operations under the device's roof.")] = False,
    explain: Explain = False,
    quiet: Quiet = False,
    set_: Set = None,
    form: Form = "table",
) -> None:
    """How fast a server answers: time to first token, time per token, tokens per second, how many users fit, what tokens cost."""
    from gptcalc.serve.answer import infer as formulas
    from gptcalc.show import infer as show
    from gptcalc.show.output import emit

    spec = load(model, set_)
    options: dict[str, Any] = {"count": count, "batch": batch, "prompt": prompt, "output": output, "precision": precision}
    options |= {"kv_precision": kv_precision, "group_size": group_size, "block_size": block_size, "runtime": runtime, "tp": tp, "pp": pp}
    answer = formulas(spec, device=device, price=price, sweep=sweep, target=target, **options)
    roof = None
    if roofline:
        from gptcalc.serve.roofline import roofline_of

        roof = roofline_of(answer)
    result = answer.to_dict() | ({"roofline": roof} if roof else {})
    inputs = settings_of(spec) | with_towers(spec) | answer.request.inputs | {"price": price, "target": target, "sweep": sweep}
    only = answer.value if quiet else None
    emit("infer", inputs, result, lambda: show.tables(answer, explain=explain, roofline=roof), form, only=only)
    if form == "table" and not quiet and (sweep or roof):
        from gptcalc.show import plots

        for picture in ([plots.throughput(answer)] if sweep else []) + ([plots.roofline(roof)] if roof else []):
            sys.stdout.write("\n" + picture)
    lines = show.too_large(answer) if not answer.fits and not answer.targets else []
    if answer.targets and not answer.targets.met:
        lines.append(show.unmet(answer))
    for line in lines:
        typer.echo(line, err=True)
    if lines:
        raise typer.Exit(1)
