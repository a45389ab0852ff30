"""`memory`."""

from typing import Annotated, Any

import typer

from gptcalc.cli.naming import agree, named
from gptcalc.cli.options import OUTPUT, Explain, Form, Model, Quiet, Set, depth_option, load, options_from, settings_of, with_towers
from gptcalc.spec.plan import MemoryOptions, ServingOptions


@options_from(MemoryOptions, ServingOptions)
def memory(
    model: Model,
    given: dict[str, Any],
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
    if replay:
        from gptcalc.cli.replaying import replayed

        beside = ({"set": set_} if set_ else {}) | ({"timeline": True} if timeline else {})
        replayed(model, given | beside, quiet, form)
        return
    from gptcalc.errors import GptcalcError
    from gptcalc.footprint.answer import settings
    from gptcalc.footprint.request import memory as formulas
    from gptcalc.show import memory as show
    from gptcalc.show.output import emit

    spec = load(model, set_)
    devices, precisions = named(given.get("device")), [word for word in str(given.get("precision") or "").split(",") if word]
    agree(devices, given.get("count"))
    if len(devices) == 1 and devices[0][1] and len(precisions) < 2 and given.get("mode") != "inference":
        given |= {"device": devices[0][0], "count": devices[0][1]}
    elif len(devices) > 1 or len(precisions) > 1 or any(own for _, own in devices):
        if timeline or explain:
            raise GptcalcError("--timeline and --explain are of one device in one precision")
        side_by_side(spec, given, devices, precisions, quiet, form)
        return
    if timeline and given.get("mode") == "inference":
        raise GptcalcError("--timeline draws a training step: serving holds the same from its first token to its last")
    if timeline and form in ("csv", "markdown"):
        raise GptcalcError(f"--timeline is drawn under the table and listed in JSON: {form} has no place for it")
    answer = formulas(spec, **given)
    told = settings_of(spec) | (with_towers(spec) if given.get("mode") == "inference" else {})
    used = told | {"mode": "training", "batch": 1, "seq": spec.usual_seq, **given, **settings(answer)}
    result = answer.to_dict() | (show.points(answer) if timeline else {})
    only = answer.value if quiet else None
    deep = (3 if form == "csv" else 1) if depth is None else depth
    emit("memory", used, result, lambda: show.tables(spec, answer, used, deep, explain, given.keys()), form, only=only)
    if timeline and not quiet and form == "table":
        from gptcalc.show.timeline import draw

        draw(answer)
    if result.get("fits") is False:
        raise typer.Exit(1)


def side_by_side(
    spec: Any, given: dict[str, Any], devices: list[tuple[str, int | None]], precisions: list[str], quiet: bool, form: Any
) -> None:
    """Several devices or precisions, a row each."""
    from gptcalc.footprint.several import several
    from gptcalc.show import several as show
    from gptcalc.show.output import emit

    rows = several(spec, devices, precisions, given.get("mode"), given)
    used = {**settings_of(spec), "batch": 1, "seq": spec.usual_seq, **given, "precision": precisions or None}
    used["device"] = [{"name": row.device.name, "count": row.number} for row in rows if row.device]
    only = [row.answer.value if row.answer else "" for row in rows] if quiet else None
    emit("memory", used, [row.to_dict() for row in rows], lambda: [show.table(spec, rows, used)], form, only=only)
    if devices and all(row.answer is None or row.fits is False for row in rows):
        raise typer.Exit(1)
