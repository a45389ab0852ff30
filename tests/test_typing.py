"""What a type checker says of calls of the library: right ones pass, and every wrong one is refused where it stands."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "typing"
CHECKERS = {"mypy": ["-m", "mypy", "--strict", "--no-error-summary"], "pyright": ["-m", "pyright"]}


@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
def test_right_calls_pass_and_wrong_ones_are_refused(checker: str) -> None:
    if find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed")
    command = [sys.executable, *CHECKERS[checker], str(FOLDER / "right.py"), str(FOLDER / "wrong.py")]
    said = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER.parent.parent).stdout
    refused = {(Path(name).name, int(line)) for name, line in re.findall(r"(\S+\.py):(\d+)(?::\d+)?(?: -|:) error", said)}
    wrong = (FOLDER / "wrong.py").read_text().splitlines()
    assert refused == {("wrong.py", number) for number, line in enumerate(wrong, 1) if line.endswith("# refused")}, said
