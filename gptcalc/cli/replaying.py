"""`memory --replay`: the options that a replay has, and what it shows."""

from typing import Any

import typer

from gptcalc.choices import Format
from gptcalc.errors import GptcalcError

OPTIONS = ("batch", "seq", "precision", "optimizer", "recompute", "attention_kernel", "dropout", "device")


def replayed(model: str, given: dict[str, Any], quiet: bool, form: Format) -> None:
    """Runs and shows a replay.

    Raises GptcalcError for options that change nothing in it.
    """
    from gptcalc.recording.replay import replay
    from gptcalc.show import replay as show
    from gptcalc.show.output import emit

    usual = {"mode": "training", "runtime": "transformers"}
    for name, value in given.items():
        if name not in OPTIONS and usual.get(name) != value:
            raise GptcalcError(
                f"--replay runs one device's training step by transformers' code: --{name.replace('_', '-')} changes nothing there",
                hint=f"leave it out, or --replay; a replay takes {', '.join('--' + one.replace('_', '-') for one in OPTIONS)}",
            )
    answer = replay(model, **{name: value for name, value in given.items() if name in OPTIONS})
    only = answer.value if quiet else None
    emit("memory", {"model": model, **answer.inputs}, answer.to_dict(), lambda: show.tables(answer), form, only=only)
    if answer.fits is False:
        raise typer.Exit(1)
