"""Keeps current what commands print in the README and in docs, between `<!-- COMMAND -->` and `<!-- end -->`: `python tests/readme.py`."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"
PAGES = [README, *sorted((README.parent / "docs").glob("*.md"))]
BLOCK = re.compile(r"(<!-- (gptcalc [^>]*?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def generated(command: str) -> str:
    """What a command prints, as a block of text or, for Markdown, as it is; with `| head -N` the first N lines, with `tail` the last."""
    command, end, lines = re.fullmatch(r"(.*?)(?: \| (head|tail) -(\d+))?", command).groups()  # type: ignore[union-attr]
    arguments = shlex.split(command)[1:]
    environment = {**os.environ, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}
    ran = subprocess.run([sys.executable, "-m", "gptcalc", *arguments], capture_output=True, env=environment, check=True)
    printed = ran.stdout.decode().splitlines(keepends=True)
    text = "".join(printed[-int(lines) :] if end == "tail" else printed[: int(lines) if lines else None])
    return text if "markdown" in arguments else f"```console\n$ {command}{' | tail -' + lines if end == 'tail' else ''}\n{text}```\n"


def current(text: str) -> str:
    return BLOCK.sub(lambda block: f"{block[1]}{generated(block[2])}{block[4]}", text)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(current(page.read_text("utf-8")), "utf-8")
