"""Fast start: what an invocation must not load."""

import subprocess
import sys

import pytest

HEAVY = {"numpy", "rich.console", "rich.table", "yaml", "typer", "pydantic", "torch", "transformers", "platformdirs"}
RICH = {"rich.console", "rich.table"}  # what a table is rendered with; JSON is written without
LOADED = "import sys; print(*sys.modules)"
RUN = "import sys; from gptcalc.cli import main\nsys.argv = ['gptcalc', {arguments}]\ntry: main()\nexcept SystemExit: pass\n"


def loaded(code: str) -> set[str]:
    ran = subprocess.run([sys.executable, "-c", f"{code}\n{LOADED}"], capture_output=True, text=True, check=True)
    return HEAVY & set(ran.stdout.splitlines()[-1].split())


def test_import_gptcalc_loads_nothing_heavy() -> None:
    assert loaded("import gptcalc") == set()


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        ("'--help'", {"typer", *RICH}),
        ("'params', '--help'", {"typer", *RICH}),
        ("'--version'", {"typer"}),
        ("'params', 'gpt3-175b'", {"typer", "yaml", "pydantic", *RICH}),
        ("'flops', 'gpt3-175b', '-f', 'json'", {"typer", "yaml", "pydantic"}),
        ("'import', '--help'", {"typer", *RICH}),
        ("'compare', 'gpt1', 'gpt3'", {"typer", "yaml", "pydantic", *RICH}),
        ("'memory', 'gpt2', '--batch', '8'", {"typer", "yaml", "pydantic", *RICH}),
        ("'train', '--help'", {"typer", *RICH}),
        ("'devices', '--clusters'", {"typer", "yaml", "pydantic", "platformdirs", *RICH}),
        ("'infer', 'gpt2', '--output', '1'", {"typer", "yaml", "pydantic", "platformdirs", *RICH}),
        ("'infer', 'gpt2', '-f', 'json'", {"typer", "yaml", "pydantic", "platformdirs", "numpy"}),
    ],
)
def test_a_command_loads_only_what_it_needs(arguments: str, allowed: set[str]) -> None:
    assert loaded(RUN.format(arguments=arguments)) <= allowed


def test_a_preset_needs_no_importer() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", f"import gptcalc as gc; gc.params(gc.model('gpt3-175b'))\n{LOADED}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "gptcalc.spec.huggingface" not in ran.stdout.split()


def test_formulas_need_no_numpy_for_ints() -> None:
    code = "import gptcalc as gc; m = gc.model('gpt2'); gc.params(m); gc.flops(m); gc.conventions(m); gc.compare([m])"
    assert "numpy" not in loaded(code)


def test_the_reference_does_not_read_the_operation_table() -> None:
    ran = subprocess.run([sys.executable, "-c", f"import gptcalc.reference\n{LOADED}"], capture_output=True, text=True, check=True)
    assert not [name for name in ran.stdout.split() if name.startswith(("gptcalc.table", "gptcalc.footprint", "gptcalc.time"))]
