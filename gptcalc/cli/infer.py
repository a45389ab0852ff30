"""`infer`: latency, throughput and cost of serving a model."""

import sys
from typing import Annotated, Any

import typer

from gptcalc.choices import Precision
from gptcalc.cli.options import (
    LAYOUT,
    LOAD,
    MONEY,
    OUTPUT,
    RUN,
    SERVING,
    Explain,
    Form,
    Images,
    ImageSize,
    KvPrecision,
    Model,
    Price,
    Quiet,
    Set,
    complete_device,
    complete_engine,
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
    batch: Annotated[int | None, RUN("--batch", min=1, help="Sequences that a replica serves at once.", show_default="1")] = None,
    prompt: Annotated[
        int | None, RUN("--prompt", min=1, help="Tokens of a prompt.", show_default="1024, or what the model reaches")
    ] = None,
    output: Annotated[
        int | None,
        RUN("--output", min=1, help="New tokens, the first from the prefill.", show_default="256, or a quarter of what it reaches"),
    ] = None,
    images: Images = None,
    image_size: ImageSize = None,
    server: Annotated[
        str | None,
        LOAD(
            "--server",
            help="Whose code: vllm vllm-0.6 sglang trtllm tgi llama.cpp, or a file.",
            autocompletion=complete_engine,
            show_default=False,
        ),
    ] = None,
    concurrency: Annotated[str | None, LOAD("--concurrency", metavar="N|max", help="Requests in flight.", show_default=False)] = None,
    rate: Annotated[float | None, LOAD("--rate", help="Requests that arrive a second.", show_default=False)] = None,
    memory_share: Annotated[
        float | None, LOAD("--memory-share", help="Of a device's memory that it takes.", show_default="the server's")
    ] = None,
    chunk: Annotated[int | None, LOAD("--chunk", min=1, help="The most tokens of a pass.", show_default="the server's")] = None,
    lengths: Annotated[
        str | None, LOAD("--lengths", metavar="drawn|alike", help="Whether requests differ in length.", show_default="between the two")
    ] = None,
    prefill_pool: Annotated[
        str | None, LOAD("--prefill-pool", metavar="4x(tp 4)", help="Workers that read prompts.", show_default=False)
    ] = None,
    decode_pool: Annotated[str | None, LOAD("--decode-pool", metavar="2x(tp 8)", help="Workers that decode.", show_default=False)] = None,
    shared_prefix: Annotated[
        int | None, LOAD("--shared-prefix", min=1, help="Tokens of a prompt that are cached.", show_default=False)
    ] = None,
    hit_share: Annotated[float | None, LOAD("--hit-share", help="Share of requests that find them.", show_default="1")] = None,
    draft: Annotated[int | None, LOAD("--draft", min=1, help="Tokens that are guessed in each step.", show_default=False)] = None,
    accepted: Annotated[float | None, LOAD("--accepted", help="Share of them that is right.", show_default=False)] = None,
    target: Annotated[str | None, RUN("--target", metavar="ttft=200ms,tpot=30ms", help="Latencies to keep.", show_default=False)] = None,
    sweep: Annotated[str | None, RUN("--sweep", metavar="batch=1..256", help="Throughput against latency.", show_default=False)] = None,
    precision: Annotated[
        Precision | None, SERVING("--precision", help="Of the weights.", show_default="as stored, or 16 bits as the device has them")
    ] = None,
    kv_precision: KvPrecision = None,
    group_size: Annotated[
        int | None, SERVING("--group-size", min=1, help="Weights that share a scale in int4.", show_default="128")
    ] = None,
    block_size: Annotated[int | None, SERVING("--block-size", min=1, help="Tokens of a page of the cache.", show_default="1")] = None,
    runtime: Annotated[
        str | None,
        SERVING(
            "--runtime",
            help="graph (recorded once, fused: a CUDA graph) or eager (transformers).",
            autocompletion=complete_server,
            show_default="graph",
        ),
    ] = None,
    tp: Annotated[
        int | None, LAYOUT("--tp", min=1, help="Tensor parallel size of a replica.", show_default="what --pp leaves of the count")
    ] = None,
    pp: Annotated[int | None, LAYOUT("--pp", min=1, help="Pipeline stages of a replica.", show_default="1")] = None,
    ep: Annotated[int | None, LAYOUT("--ep", min=1, help="Expert parallel size.", show_default="1")] = None,
    attention_dp: Annotated[
        int | None, LAYOUT("--attention-dp", min=1, help="Groups with sequences of their own that share the experts.", show_default="1")
    ] = None,
    price: Price = None,
    capex: Annotated[float | None, MONEY("--capex", help="USD of one owned device.", show_default=False)] = None,
    amortise: Annotated[str | None, MONEY("--amortise", metavar="4y", help="Time that it is written off in.", show_default="4y")] = None,
    power_price: Annotated[float | None, MONEY("--power-price", help="USD for a kWh.", show_default=False)] = None,
    write: Annotated[
        str | None, OUTPUT("--write", metavar="vllm|sglang|trtllm", help="The winner's command line.", show_default=False)
    ] = None,
    roofline: Annotated[bool, OUTPUT("--roofline", help="The operations under the device's roof.")] = False,
    explain: Explain = False,
    quiet: Quiet = False,
    set_: Set = None,
    form: Form = "table",
) -> None:
    """How fast a server answers: time to first token, time per token, tokens per second, how many users fit, what tokens cost."""
    from gptcalc.serve.answer import infer as formulas
    from gptcalc.serve.fleet import Fleet
    from gptcalc.serve.loaded import Loaded
    from gptcalc.show import infer as show
    from gptcalc.show.output import emit

    spec = load(model, set_)
    options: dict[str, Any] = {"count": count, "batch": batch, "prompt": prompt, "output": output, "precision": precision}
    options |= {"kv_precision": kv_precision, "group_size": group_size, "block_size": block_size, "runtime": runtime, "tp": tp, "pp": pp}
    options |= {"server": server, "concurrency": concurrency, "rate": rate, "ep": ep, "attention_dp": attention_dp, "draft": draft}
    options |= {"images": images, "image_size": image_size}
    options |= {"prefill_pool": prefill_pool, "decode_pool": decode_pool}
    options |= {"capex": capex, "amortise": amortise, "power_price": power_price, "write": write}
    options |= {"memory_share": memory_share, "chunk": chunk, "lengths": lengths, "shared_prefix": shared_prefix, "hit_share": hit_share}
    answer = formulas(spec, device=device, price=price, sweep=sweep, target=target, accepted=accepted, **options)
    if isinstance(answer, Fleet):
        _fleet(answer, settings_of(spec) | answer.inputs | {"price": price, "target": target}, quiet=quiet, form=form)
        return
    if isinstance(answer, Loaded):
        _loaded(answer, settings_of(spec) | answer.request.inputs | {"price": price}, explain=explain, quiet=quiet, form=form)
        return
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


def _loaded(answer: Any, inputs: dict[str, Any], *, explain: bool, quiet: bool, form: Any) -> None:
    from gptcalc.show import load as show
    from gptcalc.show.output import emit

    emit("infer", inputs, answer.to_dict(), lambda: show.tables(answer, explain=explain), form, only=answer.value if quiet else None)
    if not answer.fits:
        typer.echo(show.too_large(answer), err=True)
        raise typer.Exit(1)


def _fleet(answer: Any, inputs: dict[str, Any], *, quiet: bool, form: Any) -> None:
    from gptcalc.show import fleet as show
    from gptcalc.show.output import emit

    only = (answer.value or 0) if quiet else None
    emit("infer", inputs, answer.to_dict(), lambda: [show.table(answer)], form, only=only)
    if form == "table" and not quiet:
        if answer.command_line:
            sys.stdout.write(f"\n{answer.command_line}\n")
        from gptcalc.show import plots

        sys.stdout.write("\n" + plots.front(answer))
    if not answer.met:
        typer.echo(show.unmet(answer), err=True)
        raise typer.Exit(1)
