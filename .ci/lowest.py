"""The requirements of a pyproject.toml, each at the version that its lower bound names: `lowest.py FILE EXTRA...`, one a line."""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any


def lowest(project: dict[str, Any], extras: list[str]) -> list[str]:
    """`name==version` for each requirement; an extra that names others of the project's own brings theirs."""
    optional = project.get("optional-dependencies", {})
    found: dict[str, str] = {}
    waiting = [*project["dependencies"], *(asked for extra in extras for asked in optional[extra])]
    while waiting:
        asked = waiting.pop(0)
        if own := re.fullmatch(rf"{re.escape(project['name'])}\[([\w,-]+)\]", asked):
            waiting += [more for extra in own[1].split(",") for more in optional[extra]]
            continue
        bound = re.match(r"([\w.-]+)(?:\[[\w,-]+\])?>=([\d.]+)", asked)
        if bound is None:
            sys.exit(f"no lower bound in {asked!r}")
        name, version = bound.groups()
        numbers = [*version.split("."), "0"]
        found[name] = f"{name}=={version}" if len(numbers) > 3 else f"{name}=={numbers[0]}.{numbers[1]}.*"
    return list(found.values())


if __name__ == "__main__":
    print("\n".join(lowest(tomllib.loads(Path(sys.argv[1]).read_text())["project"], sys.argv[2:])))
