"""`params` and `flops`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gptcalc.choices import Attention, Phase, Precision, Recompute
from gptcalc.cli.options import (
    Batch,
    Depth,
    Explain,
    Form,
    Model,
    Quiet,
    Seq,
    Set,
    depth_option,
    load,
    option,
    settings_of,
    typed,
    with_towers,
)
from gptcalc.errors import GptcalcError

DEPTH = 4
"""Levels of the tree of FLOPs that are shown where none are asked for."""


def params(
    model: Model,
    precision: Annotated[Precision, option("--precision", help="Stored type of the weights, for their bytes.")] = "bf16",
    check: Annotated[
        bool, typer.Option("--check", help="Count the reference's arrays, and a folder's files, beside the formulas.")
    ] = False,
    depth: Depth = 3,
    explain: Explain = False,
    quiet: Quiet = False,
    set_: Set = None,
    form: Form = "table",
) -> None:
    """How many parameters a model has, and where."""
    from gptcalc.show import params as show
    from gptcalc.show.output import emit
    from gptcalc.table import params as formulas

    spec = load(model, set_)
    node = formulas.params(spec)
    counted, files = None, None
    by_tensor = spec.quantization is not None and bool(spec.quantization.tensors)
    if by_tensor and not check:
        from gptcalc.footprint.quantized import as_stored

        as_stored(spec)  # refuses a file that has other tensors than the formula
    if check:
        from gptcalc.reference.headers import holds_weights
        from gptcalc.run.verify import counted_parameters

        counted = counted_parameters(spec)
        folder = str(Path(model).expanduser())
        if holds_weights(folder) or by_tensor:
            from gptcalc.run.witness import witness

            files = witness(spec, folder)
    answer = show.Answer(spec, node, precision, counted, typed(model, set_), files)
    emit(
        "params",
        settings_of(spec) | with_towers(spec) | {"precision": precision},
        answer.result(),
        lambda: answer.tables(depth, explain),
        form,
        only=node.value if quiet else None,
    )
    if files is not None and not files.ok:
        raise typer.Exit(1)
    if not answer.as_counted:
        raise typer.Exit(1)


def flops(
    model: Model,
    batch: Batch = 1,
    seq: Seq = None,
    phase: Annotated[Phase, option("--phase", help="decode: one new token over --seq keys.")] = "forward",
    attention: Annotated[
        Attention, typer.Option("--attention", help="Which query-key pairs count: all, those up to the query, half.")
    ] = "full",
    recompute: Annotated[Recompute, typer.Option("--recompute", help="What a training step runs forward again.")] = "none",
    conventions: Annotated[bool, typer.Option("--conventions", help="The same training step as papers count it, side by side.")] = False,
    depth: Annotated[int | None, depth_option(show_default=str(DEPTH))] = None,
    explain: Explain = False,
    quiet: Quiet = False,
    set_: Set = None,
    form: Form = "table",
) -> None:
    """How much arithmetic a pass, a training step or a token takes."""
    from gptcalc.show.output import emit

    spec = load(model, set_)
    seq = spec.usual_seq if seq is None else seq
    inputs: dict[str, Any] = settings_of(spec) | {"batch": batch, "seq": seq}
    if conventions:
        if (phase, attention, recompute) != ("forward", "full", "none"):
            raise GptcalcError(
                "--conventions is of one training step, each row with its own attention: leave out --phase, --attention, --recompute"
            )
        if depth is not None:
            raise GptcalcError("--conventions is a list, not a tree: leave out --depth")
        if quiet:
            raise GptcalcError("--conventions is a list, and --quiet prints one number: leave one of them out")
        from gptcalc.show import conventions as side_by_side
        from gptcalc.table.conventions import conventions as formulas

        rows = formulas(spec, batch=batch, seq=seq)
        result = [row._asdict() | {"unit": "FLOP"} for row in rows]
        emit("flops", inputs | {"phase": "training"}, result, lambda: [side_by_side.table(spec, rows, batch, seq, explain)], form)
        return
    from gptcalc.show import flops as show
    from gptcalc.table import flops as formulas_of

    answer = formulas_of.flops(spec, batch=batch, seq=seq, phase=phase, attention=attention, recompute=recompute)
    inputs |= {"phase": phase, "attention": attention, "recompute": recompute}
    deep = DEPTH if depth is None else depth
    only = answer.value if quiet else None
    emit("flops", inputs, answer.to_dict(), lambda: show.tables(spec, answer, inputs, deep, explain, typed(model, set_)), form, only=only)
