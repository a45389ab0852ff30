"""Start-up against what cannot be done without, the two in turn: `python tests/benchmarks/startup.py`. Prints minima and their ratio.

With bytecode written, as an installation has it: without, Python would compile gptcalc anew in each run, and not what it is held against.
"""

import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

GPTCALC = str(Path(sysconfig.get_path("scripts")) / "gptcalc")
MODEL = "create_model('M', **{f'f{i}': (int, 1) for i in range(24)})()"
BARE_HELP = "import sys, typer; sys.argv = ['bare', '--help']; app = typer.Typer(); app.command()(lambda: None); app()"
"""A Typer application of one command, its help by Rich."""
PAIRS = {
    "gptcalc params gpt3-175b": (
        [GPTCALC, "params", "gpt3-175b"],
        f"import typer, yaml, rich.table, rich.console; from pydantic import create_model; {MODEL}",
        1.2,
    ),
    "gptcalc --help": ([GPTCALC, "--help"], BARE_HELP, 1.3),
    "import gptcalc": ([sys.executable, "-c", "import gptcalc"], "pass", 2.0),
}


def seconds(command: list[str]) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=environment)
    return time.perf_counter() - start


def main(runs: int = 20) -> None:
    for name, (command, floor, limit) in PAIRS.items():
        pairs = [(seconds(command), seconds([sys.executable, "-c", floor])) for _ in range(runs)]
        ours, theirs = (min(column) for column in zip(*pairs[1:], strict=True))
        print(f"{name}: {1e3 * ours:.0f} ms, floor {1e3 * theirs:.0f} ms, ratio {ours / theirs:.2f} (at most {limit})")


def arrays(count: int = 10**6) -> None:
    import numpy as np

    import gptcalc as gc

    model = gc.model("gpt3-175b")
    layers = np.random.default_rng(0).integers(1, 200, count)
    start = time.perf_counter()
    gc.params(model, n_layer=layers, d_model=96 * layers)
    gc.flops(model, n_layer=layers, d_model=96 * layers)
    print(f"{count:,} shapes through params and flops: {time.perf_counter() - start:.2f} s (at most 1)")


if __name__ == "__main__":
    main()
    arrays()
