"""`models`: what is in the catalogue."""

from gptcalc.cli.options import Form


def models(form: Form = "table") -> None:
    """The catalogue: names, exact sizes, sources."""
    from gptcalc.show import models as show
    from gptcalc.show.output import emit
    from gptcalc.spec.catalogue import all_models

    rows = show.rows(all_models())
    emit("models", {}, [row._asdict() for row in rows], lambda: [show.table(rows)], form)
