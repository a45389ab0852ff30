"""`compare`: models side by side."""

from gptcalc.cli.options import Form, Models, Set, load


def compare(models: Models, set_: Set = None, form: Form = "table") -> None:
    """Several models side by side, beside what was published."""
    from gptcalc.formulas.compare import compare as formulas
    from gptcalc.show import compare as show
    from gptcalc.show.output import emit

    rows = formulas([load(name, set_) for name in models])
    emit("compare", {"models": [row.model for row in rows]}, [row._asdict() for row in rows], lambda: [show.table(rows)], form)
