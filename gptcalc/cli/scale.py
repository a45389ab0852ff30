"""`scale`."""

from typing import Annotated

import typer

from gptcalc.cli.completion import complete_device
from gptcalc.cli.options import MONEY, OUTPUT, RUN, Explain, Form, Price


def scale(
    flops: Annotated[str | None, RUN("--flops", help="Training compute, such as 1e24.", show_default=False)] = None,
    budget: Annotated[str | None, RUN("--budget", help="USD for training, such as 2M.", show_default=False)] = None,
    params: Annotated[str | None, RUN("--params", help="Parameters, such as 70B.", show_default=False)] = None,
    tokens: Annotated[str | None, RUN("--tokens", help="Training tokens, such as 15T.", show_default=False)] = None,
    unique_tokens: Annotated[
        str | None, RUN("--unique-tokens", help="How many tokens there are to train on once.", show_default=False)
    ] = None,
    serve_tokens: Annotated[
        str | None, RUN("--serve-tokens", help="How many tokens the model will serve after training.", show_default=False)
    ] = None,
    experts: Annotated[bool, RUN("--experts", help="A law for mixtures of experts too.")] = False,
    device: Annotated[str, MONEY("--device", help="What the budget rents.", autocompletion=complete_device)] = "h100-80gb",
    count: Annotated[str | None, MONEY("--count", help="Devices, for the days that it takes.", show_default=False)] = None,
    price: Price = None,
    mfu: Annotated[str | None, MONEY("--mfu", help="Model FLOPs utilization of the training.", show_default="0.4")] = None,
    plot: Annotated[bool, OUTPUT("--plot", help="Draw the loss over the parameters for this compute.")] = False,
    explain: Explain = False,
    form: Form = "table",
) -> None:
    """How large a model, on how many tokens: the compute-optimal sizes by published scaling laws."""
    from gptcalc.search.scale import scale as formulas
    from gptcalc.show import scale as show
    from gptcalc.show.output import emit

    answer = formulas(
        flops=flops,
        budget=budget,
        params=params,
        tokens=tokens,
        device=device,
        count=count,
        price=price,
        mfu=mfu,
        unique_tokens=unique_tokens,
        serve_tokens=serve_tokens,
        experts=experts,
    )
    emit("scale", answer.inputs, answer.to_list(), lambda: show.tables(answer, explain), form)
    if plot and form == "table":
        from gptcalc.show.plots import valley

        typer.echo(valley(answer), nl=False)
