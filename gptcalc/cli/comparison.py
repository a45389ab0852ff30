"""`compare`: models side by side."""

from gptcalc.cli.naming import matching
from gptcalc.cli.options import Explain, Form, Models, Set, files_of, load, overrides_of


def compare(models: Models, explain: Explain = False, set_: Set = None, form: Form = "table") -> None:
    """Several models side by side, beside what was published."""
    from gptcalc.show import compare as show
    from gptcalc.show.output import emit
    from gptcalc.table.compare import compare as formulas

    specs = [load(name, set_) for name in dict.fromkeys(name for typed in models for name in matching(typed))]
    rows = formulas(specs)
    changed = specs[0].model_dump(mode="json", include=set(overrides_of(set_)))
    inputs = {"models": [row.model for row in rows], "set": changed, **files_of(specs)}
    emit(
        "compare",
        inputs,
        [row._asdict() for row in rows],
        lambda: [show.table(rows, specs), *(show.derivations(specs) if explain else [])],
        form,
    )
