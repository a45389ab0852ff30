"""Keeps the documents current: `python tests/readme.py`.

What commands print stands between `<!-- COMMAND -->` and `<!-- end -->` in the README and in docs; a picture that a command draws is
named by `<!-- picture FILE: COMMAND -->`; and the pages of reference are written from the code by `documents`.
"""

import functools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from documents import WRITTEN

README = Path(__file__).resolve().parents[1] / "README.md"
DOCS = README.parent / "docs"
PAGES = [README, README.parent / "CONTRIBUTING.md", *sorted(path for path in DOCS.glob("*.md") if path.name not in WRITTEN)]
BLOCK = re.compile(r"(<!-- (gptcalc [^>]*?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
PICTURE = re.compile(r"<!-- picture (\S+): (gptcalc [^>]*?) -->")


@functools.cache
def printed(command: str, columns: int = 100) -> str:
    """What a command prints, run in the repository's root; with a refusal, which exits with 2, what it says of it."""
    environment = {**os.environ, "COLUMNS": str(columns), "PYTHONIOENCODING": "utf-8"}
    arguments = [sys.executable, "-m", "gptcalc", *shlex.split(command)[1:]]
    ran = subprocess.run(arguments, capture_output=True, env=environment, check=False, cwd=README.parent)
    if ran.returncode not in (0, 1, 2):
        raise RuntimeError(f"{command} exited with {ran.returncode}: {ran.stderr.decode()}")
    return (ran.stderr if ran.returncode == 2 else ran.stdout).decode()


def generated(command: str) -> str:
    """What a command prints, as a block of text or, for Markdown, as it is; with `| head -N` the first N lines, with `tail` the last."""
    command, end, lines = re.fullmatch(r"(.*?)(?: \| (head|tail) -(\d+))?", command).groups()  # type: ignore[union-attr]
    said = printed(command).splitlines(keepends=True)
    text = "".join(said[-int(lines) :] if end == "tail" else said[: int(lines) if lines else None])
    if "markdown" in shlex.split(command):
        return text
    return f"```console\n$ {command}{f' | {end} -{lines}' if end else ''}\n{text}```\n"


def current(text: str) -> str:
    return BLOCK.sub(lambda block: f"{block[1]}{generated(block[2])}{block[4]}", text)


def pictures(text: str) -> dict[Path, str]:
    """The pictures that a page names, as commands draw them now."""
    return {README.parent / path: printed(f"{command} --format svg", 80) for path, command in PICTURE.findall(text)}


if __name__ == "__main__":
    for name, written in WRITTEN.items():
        (DOCS / name).write_text(written(), "utf-8")
    for page in PAGES:
        page.write_text(current(page.read_text("utf-8")), "utf-8")
        for path, picture in pictures(page.read_text("utf-8")).items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(picture, "utf-8")
