"""`plan`: the best layouts of a training run."""

import sys
from typing import Annotated, Any

import typer

from gptcalc.choices import USUAL_SEQ
from gptcalc.cli.completion import complete_cluster, complete_device, complete_runtime, complete_stack
from gptcalc.cli.options import (
    LAYOUT,
    OUTPUT,
    RUN,
    Form,
    Model,
    Price,
    Quiet,
    Set,
    load,
    settings_of,
    typed,
    under,
)

RECIPE = under("Recipe")

SEARCHED = "searched"


def sizes(name: str, text: str) -> Any:
    """An option that takes one size, or several to search among."""
    return LAYOUT(name, metavar="SIZES", help=text, show_default=SEARCHED)


def plan(
    model: Model,
    device: Annotated[
        str,
        RUN("--device", help="A name, or several with commas between them.", autocompletion=complete_device),
    ] = "h100-80gb",
    count: Annotated[
        str | None,
        RUN("--count", metavar="N", help="Devices: 1024, 512,1024 or 64..4096 (doubling).", show_default="of a limit"),
    ] = None,
    global_batch: Annotated[str | None, RUN("--global-batch", help="Sequences of a step.", show_default=False)] = None,
    seq: Annotated[int | None, RUN("--seq", min=1, help="Tokens of a sequence.", show_default=USUAL_SEQ)] = None,
    tokens: Annotated[str | None, RUN("--tokens", help="Tokens of the run, such as 300B.", show_default="those of its preset")] = None,
    by: Annotated[str, RUN("--by", metavar="WHAT", help="What is best: time, cost or memory.")] = "time",
    deadline: Annotated[
        str | None, RUN("--deadline", metavar="SPAN", help="The fewest devices that take no longer: 12h, 30d.", show_default=False)
    ] = None,
    budget: Annotated[str | None, RUN("--budget", help="... and cost no more, such as 2M.", show_default=False)] = None,
    tp: Annotated[str | None, sizes("--tp", "Tensor parallel sizes: 8, 1,2,4,8 or 1..8 (doubling).")] = None,
    pp: Annotated[str | None, sizes("--pp", "Pipeline stages.")] = None,
    dp: Annotated[str | None, sizes("--dp", "Data parallel sizes.")] = None,
    cp: Annotated[str | None, sizes("--cp", "Context parallel sizes.")] = None,
    ep: Annotated[str | None, sizes("--ep", "Expert parallel sizes.")] = None,
    batch: Annotated[str | None, sizes("--batch", "Sequences of a micro-batch.")] = None,
    virtual_stages: Annotated[str | None, sizes("--virtual-stages", "Interleaved chunks of a stage.")] = None,
    zero: Annotated[str | None, LAYOUT("--zero", metavar="0..3", help="ZeRO's stages, such as 0,1.", show_default=SEARCHED)] = None,
    sequence_parallel: Annotated[
        bool | None, LAYOUT("--sequence-parallel/--no-sequence-parallel", help="With tp, norms are divided too.", show_default=SEARCHED)
    ] = None,
    stack: Annotated[
        str | None,
        LAYOUT("--stack", help="Training software, or several.", autocompletion=complete_stack, show_default="megatron; maxtext on TPUs"),
    ] = None,
    cluster: Annotated[
        str | None,
        LAYOUT("--cluster", help="What joins them.", autocompletion=complete_cluster, show_default="the usual one"),
    ] = None,
    recompute: Annotated[
        str | None, RECIPE("--recompute", help="none selective full every-K, or several.", show_default="none, selective, full")
    ] = None,
    precision: Annotated[
        str | None, RECIPE("--precision", help="One, or several: amp-bf16 bf16 fp8 ...", show_default="autocast to 16 bits")
    ] = None,
    optimizer: Annotated[str, RECIPE("--optimizer", help="As in train.")] = "adamw",
    attention_kernel: Annotated[
        str | None, RECIPE("--attention-kernel", help="flash or eager.", show_default="the stack's, or flash")
    ] = None,
    runtime: Annotated[
        str | None, RECIPE("--runtime", help="Whose code runs the model.", autocompletion=complete_runtime, show_default="the stack's")
    ] = None,
    compiled: Annotated[bool, RECIPE("--compiled", help="Under torch.compile.")] = False,
    dropout: Annotated[bool | None, RECIPE("--dropout/--no-dropout", help="Dropout's own passes.", show_default="the stack's")] = None,
    price: Price = None,
    top: Annotated[int, OUTPUT("--top", min=1, help="How many plans.")] = 10,
    write: Annotated[
        str | None, OUTPUT("--write", metavar="FOR", help="The best plan as options of megatron, torchtitan or nemo.", show_default=False)
    ] = None,
    quiet: Quiet = False,
    set_: Set = None,
    form: Form = "table",
) -> None:
    """The best layout of a training run on so many devices: every legal plan timed and weighed, and why the others lost."""
    from gptcalc.cli.moving import moving
    from gptcalc.search.plan import plan as formulas
    from gptcalc.search.written import check_software, written
    from gptcalc.show import plan as show
    from gptcalc.show.output import emit

    spec = load(model, set_)
    if write is not None:
        check_software(write)
    options: dict[str, Any] = {"device": device, "count": count, "global_batch": global_batch, "seq": seq, "tokens": tokens, "by": by}
    options |= {"deadline": deadline, "budget": budget, "tp": tp, "pp": pp, "dp": dp, "cp": cp, "ep": ep, "batch": batch}
    options |= {"virtual_stages": virtual_stages, "zero": zero, "sequence_parallel": sequence_parallel, "stack": stack, "cluster": cluster}
    options |= {"recompute": recompute, "precision": precision, "optimizer": optimizer, "attention_kernel": attention_kernel}
    options |= {"runtime": runtime, "compiled": compiled, "dropout": dropout, "price": price, "top": top}
    with moving() as progress:
        answer = formulas(spec, **options, progress=progress)
    if write is not None and answer.plans:
        sys.stdout.write(written(spec, answer.plans[0], write))
    else:
        inputs = settings_of(spec) | {name: value for name, value in options.items() if value is not None} | {"seq": answer.asked.seq}
        only = answer.plans[0].run.step_time if quiet and answer.plans else None
        emit("plan", inputs, answer.to_dict(), lambda: show.tables(answer, typed(model, set_)), form, only=only)
        if form == "table" and not quiet and len({one.run.count for one in answer.curve}) > 1:
            from gptcalc.show.plots import scaling

            sys.stdout.write("\n" + scaling(answer.curve))
    if answer.found.interrupted:
        raise typer.Exit(130)
    if not answer.fits:
        raise typer.Exit(1)
