"""Where each second of a training step comes from: every kernel, collective and wait with its formula, its numbers and its source.

`terms` takes a step apart again, kernel by kernel; its seconds are those of `gptcalc.time`, and add up to those of the breakdown.
"""

from collections.abc import Iterator
from typing import NamedTuple

from gptcalc.run.answer import Run
from gptcalc.spec.legality import stage_sizes
from gptcalc.spec.recipe import Layout
from gptcalc.symbols import Quantity
from gptcalc.time.breakdown import WAITING, kind_of
from gptcalc.time.kernels import Kernel
from gptcalc.time.local import Local, local, part_of
from gptcalc.time.plan import StepPlan
from gptcalc.time.quantities import Stage, stage_of
from gptcalc.time.stage import update_kernels

DEVICE = "presets/devices: constants measured on the chip"
MATMUL = f"roofline of tiles in waves over the multiprocessors; {DEVICE}"
ATTENTION = f"Dao 2023, arXiv:2307.08691; {DEVICE}"
PASS = f"passes that the runtime's code makes, presets/kernels; {DEVICE}"
PIPELINE = "Narayanan et al. 2021, arXiv:2104.04473, 2.2"
SENT = {
    "tensor parallel": ("m/p*(L blocks + ends): sent - hidden", "Shoeybi et al. 2019, arXiv:1909.08053; links in presets/clusters"),
    "expert parallel": (
        "m*L/p*(2 exchanges forward, 2 backward): sent - hidden",
        "Lepikhin et al. 2020, arXiv:2006.16668; presets/clusters",
    ),
    "context parallel": ("m*L/p*(rings of c - 1 sends): sent - hidden", "Liu et al. 2023, arXiv:2310.01889; links in presets/clusters"),
    "sharded weights": ("m*L/p*(gathers + scatter): sent - hidden", "Zhao et al. 2023, arXiv:2304.11277; links in presets/clusters"),
    "between stages": ("2*m*v sends of a hidden state: sent - hidden", PIPELINE + "; links in presets/clusters"),
    "data parallel": ("gradients reduced: sent - hidden", "Rajbhandari et al. 2020, arXiv:1910.02054; links in presets/clusters"),
    "between slices": ("a share for every doubling of the slices", "presets/stacks"),
    "embedding's two ends": ("all-reduce of V*d/t gradients", "Shoeybi et al. 2019, arXiv:1909.08053; links in presets/clusters"),
}
FORMULAS = {"matmul": "n*(norm(a/f, b) + g)", "attention": "n*(a/f + g)"}
MEANINGS = {
    "n": "times that a step runs it",
    "a": "seconds of the arithmetic at the full clock",
    "f": "the clock that its power allows, as a share",
    "b": "seconds of the memory",
    "g": "seconds that starting it costs",
    "norm": "of x and y (x^o + y^o)^(1/o), with the device's o: the shorter hides under the longer",
    "m": "micro-batches",
    "p": "pipeline stages",
    "v": "chunks of a stage",
    "d": "model width",
    "V": "vocabulary",
    "t": "tensor parallel size",
    "c": "context parallel size",
    "L": "layers",
}


class Term(NamedTuple):
    """`what` it is: a kernel in its sizes. Formulas are written with * and **, as everywhere."""

    path: str
    what: str
    formula: str
    numbers: str
    seconds: Quantity
    source: str


def terms(run: Run) -> list[Term]:
    """Each term of one step; nothing for a stated MFU, and for arrays of runs.

    Units: seconds.   Source: in each term.

    >>> from gptcalc.run.request import train
    >>> first = terms(train("gpt2", tokens="10B"))[0]
    >>> first.path, first.what, first.formula
    ('forward/embedding/token/token embedding', '6.291 MB, pass', 'n*(b + g)')
    """
    plan = run.plan
    if plan is None or hasattr(run.step_time, "shape"):
        return []
    one, layout = local(plan), plan.recipe.layout
    alone = max(layout.tp, layout.pp, layout.dp, layout.cp) == 1
    q = stage_of(plan, one, stage_sizes(plan.model.n_layer, layout.pp, layout.virtual_stages)[1], alone=alone)
    found = [*_kernels(plan, one, q, alone=alone, by_kernel=run.pipeline is None)]
    if run.pipeline is not None:
        found += _sent(run)
        found += _pipeline(run, plan)
    items = {path: node for path, node in run.parts.walk() if not node.parts}
    if "accumulation" in items:
        m = plan.micro_batches
        seconds = items["accumulation"].value
        found.append(Term("accumulation", "gradients", "(m - 1)*b", f"({m} - 1)*{_of(seconds / (m - 1))}", seconds, PASS))
    found += _optimizer(plan, one, q, items["optimizer"].value, by_kernel=run.pipeline is None)
    if WAITING in items and items[WAITING].value:
        busy = run.step_time - items[WAITING].value
        host = plan.micro_batches * (q.embedding.host + q.block.host + q.head.host) + q.host_update
        what = f"the processor alone takes {_of(host)}"
        numbers = f"{_of(run.step_time, 7)} - {_of(busy, 7)}"
        found.append(Term(WAITING, what, "step - kernels", numbers, items[WAITING].value, "calls of modules; presets/runtimes: host"))
    return found


def _of(seconds: Quantity, digits: int = 4) -> str:
    """A time for people: 1.2 ms; with more digits where others are taken from it."""
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= size:
            return f"{seconds / size:.{digits}g} {unit}"
    return f"{seconds / 1e-9:.3g} ns" if seconds else "0"


def _kernels(plan: StepPlan, one: Local, q: Stage, *, alone: bool, by_kernel: bool) -> Iterator[Term]:
    """The kernels of the forward and the backward pass, and those that are run again: each with how often."""
    m, p, L, chip = plan.micro_batches, plan.recipe.layout.pp, plan.model.n_layer, one.work.chip
    kept = 1.0 if alone else chip.kept_up(one.work.arithmetic)
    layers = stage_sizes(L, p, plan.recipe.layout.virtual_stages)[1]
    for kernel in one.kernels:
        often = one.repeats(kernel, layers) * (L / layers if part_of(kernel.path) == "block" else 1) * m / p
        clock = q.clock * (kept if kernel.kind == "matmul" else 1.0)
        path = f"{kernel.phase}/{kernel.path}/{kind_of(kernel)}"
        yield _term(path if by_kernel else f"compute/{kind_of(kernel)}/{kernel.phase}/{kernel.path}", kernel, often, chip.overlap, clock)


def _term(path: str, kernel: Kernel, often: Quantity, overlap: float, clock: Quantity) -> Term:
    n = often * kernel.runs
    each = kernel._replace(runs=1)
    arithmetic = _of(kernel.arithmetic) if clock == 1 else f"{_of(kernel.arithmetic)}/{clock:.4g}"
    if kernel.kind == "matmul":
        formula, source = FORMULAS["matmul"], MATMUL
        inner = (((kernel.arithmetic / clock) ** overlap + kernel.memory**overlap) ** (1 / overlap)) + kernel.fixed
        numbers = f"norm({arithmetic}, {_of(kernel.memory)}) + {_of(kernel.fixed)}"
    elif kernel.arithmetic:
        formula, source = FORMULAS["attention"], ATTENTION
        inner = kernel.arithmetic / clock + kernel.memory + kernel.fixed
        numbers = f"{arithmetic} + {_of(kernel.fixed)}"
    else:
        formula, source = "n*(b + g)", MATMUL if kernel.kind.endswith("matmul") else PASS
        inner = kernel.memory + kernel.fixed
        numbers = f"{_of(kernel.memory)} + {_of(kernel.fixed)}"
    return Term(path, each.text, formula, f"{n:.6g}*({numbers})", n * inner, source)


def _sent(run: Run) -> Iterator[Term]:
    """What is sent and nothing hides."""
    for one in run.communication:
        formula, source = SENT[one["name"]]
        hidden = one["total"] - one["exposed"]
        numbers = f"{_of(one['total'], 7)} - {_of(hidden, 7)}" if formula.endswith("hidden") else _of(one["total"])
        yield Term(f"communication/{one['name']}", f"{one['ranks']:,} ranks", formula, numbers, one["exposed"], source)


def _pipeline(run: Run, plan: StepPlan) -> Iterator[Term]:
    """What the stages wait for each other."""
    layout, m = plan.recipe.layout, plan.micro_batches
    if layout.pp == 1 or run.pipeline is None:
        return
    found = {path: node.value for path, node in run.parts.walk()}
    passes = {role: pair["forward"] + pair["backward"] for role, pair in run.pipeline["stages"].items()}
    slowest = max(passes.values())
    stages = ", ".join(f"{role} {_of(seconds)}" for role, seconds in passes.items())
    mean = slowest - found.get("pipeline/imbalance", 0.0) / m
    for name, formula, numbers in (
        ("imbalance", "m*(slowest - mean)", f"{m}*({_of(slowest, 7)} - {_of(mean, 7)})"),
        (
            "bubble",
            "(all - slowest + 2*(p - 1)*send)/v",
            _bubble(layout, found.get("pipeline/bubble", 0.0), slowest, run.pipeline["between"]),
        ),
    ):
        seconds = found.get(f"pipeline/{name}", 0.0)
        if seconds:
            yield Term(f"pipeline/{name}", f"a micro-batch: {stages}", formula, numbers, seconds, PIPELINE)


def _bubble(layout: Layout, seconds: Quantity, slowest: Quantity, send: Quantity) -> str:
    rest = seconds * layout.virtual_stages - 2 * (layout.pp - 1) * send
    return f"({_of(rest + slowest, 7)} - {_of(slowest, 7)} + 2*({layout.pp} - 1)*{_of(send)})/{layout.virtual_stages}"


def _optimizer(plan: StepPlan, one: Local, q: Stage, seconds: Quantity, *, by_kernel: bool) -> Iterator[Term]:
    """The optimizer's passes over the parameters that a device updates, and the products of those that have some."""
    each = update_kernels(one, 1.0)
    products = q.products if by_kernel else min(q.products, seconds)
    fixed = sum(kernel.runs * kernel.fixed for kernel in each)
    passes = seconds - products
    if passes > 0:
        what = f"{plan.recipe.optimizer} over the parameters that a device updates, passes: {len(each)}"
        yield Term("optimizer", what, "b + g", f"{_of(passes - fixed)} + {_of(fixed)}", passes, PASS)
    if products:
        yield Term(
            "optimizer/products", f"{len(one.products)} products of a block's matrices", "L*matmuls", _of(products), products, MATMUL
        )
