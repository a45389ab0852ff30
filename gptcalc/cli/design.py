"""`design`: shapes of a number of parameters."""

from typing import Annotated, Any

import typer

from gptcalc.cli.completion import complete, complete_device, complete_runtime, complete_stack
from gptcalc.cli.options import (
    LAYOUT,
    OUTPUT,
    RUN,
    Form,
    under,
)

SHAPE, RECIPE = under("Shape"), under("Recipe")


def design(
    params: Annotated[str | None, SHAPE("--params", help="Parameters, such as 7B.", show_default=False)] = None,
    like: Annotated[
        str, SHAPE("--like", metavar="MODEL", help="Whose kind of blocks and proportions.", autocompletion=complete)
    ] = "llama3-8b",
    d_head: Annotated[str | None, SHAPE("--d-head", metavar="SIZES", help="Head widths.", show_default="the model's, 64, 128")] = None,
    multiple: Annotated[int, SHAPE("--multiple", min=1, help="What widths are multiples of.")] = 128,
    vocab: Annotated[str | None, SHAPE("--vocab", metavar="N", help="Tokens of the vocabulary.", show_default="the model's")] = None,
    aspect: Annotated[
        str | None, SHAPE("--aspect", metavar="LOW..HIGH", help="Width over depth.", show_default="half as much again as the model's")
    ] = None,
    within: Annotated[str, SHAPE("--within", metavar="SHARE", help="How far from the number of parameters.")] = "0.02",
    device: Annotated[str, RUN("--device", help="What it is trained on.", autocompletion=complete_device)] = "h100-80gb",
    count: Annotated[str | None, RUN("--count", help="Devices in all.", show_default="tp times pp")] = None,
    batch: Annotated[int | None, RUN("--batch", min=1, help="Sequences of a micro-batch.", show_default="some 8,192 tokens")] = None,
    seq: Annotated[int | None, RUN("--seq", min=1, help="Tokens of a sequence.", show_default="the model's usual")] = None,
    global_batch: Annotated[int | None, RUN("--global-batch", min=1, help="Sequences of a step.", show_default="batch times dp")] = None,
    tp: Annotated[int | None, LAYOUT("--tp", min=1, help="Tensor parallel size.", show_default="1")] = None,
    pp: Annotated[int | None, LAYOUT("--pp", min=1, help="Pipeline stages.", show_default="1")] = None,
    zero: Annotated[int | None, LAYOUT("--zero", min=0, max=3, help="What data parallel ranks divide.", show_default="the stack's")] = None,
    stack: Annotated[
        str | None, LAYOUT("--stack", help="Training software.", autocompletion=complete_stack, show_default="as in train")
    ] = None,
    runtime: Annotated[
        str | None, RECIPE("--runtime", help="Whose code runs it.", autocompletion=complete_runtime, show_default="as in train")
    ] = None,
    precision: Annotated[str | None, RECIPE("--precision", help="As in train.", show_default="autocast to 16 bits")] = None,
    recompute: Annotated[str | None, RECIPE("--recompute", help="As in train.", show_default="none")] = None,
    top: Annotated[int, OUTPUT("--top", min=1, help="How many shapes.")] = 10,
    form: Form = "table",
) -> None:
    """Shapes that hit a number of parameters, by predicted speed; and what an unlucky number, as a vocabulary of 50,257, costs."""
    from gptcalc.cli.moving import moving
    from gptcalc.cli.options import load
    from gptcalc.search.design import design as formulas
    from gptcalc.show import design as show
    from gptcalc.show.output import emit

    options: dict[str, Any] = {
        "device": device,
        "count": count,
        "batch": batch,
        "seq": seq,
        "global_batch": global_batch,
        "tp": tp,
        "pp": pp,
    }
    options |= {"zero": zero, "stack": stack, "runtime": runtime, "precision": precision, "recompute": recompute, "top": top}
    options |= {"d_head": d_head, "multiple": multiple, "vocab_size": vocab, "aspect": aspect, "within": within}
    with moving() as progress:
        answer = formulas(params=params, like=load(like), **options, progress=progress)
    inputs = {"params": answer.params, "like": answer.like} | dict(answer.held)
    emit("design", inputs, answer.to_list(), lambda: show.tables(answer), form)
    if answer.interrupted:
        raise typer.Exit(130)
