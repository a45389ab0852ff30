"""`plan`: the best layouts of a training run on so many devices, and why the others lost.

- `plan`: what to look for, and the answer. What a search may try stands in `space`, how it goes through it in `weighing`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gptcalc.errors import GptcalcError
from gptcalc.search.choice import Asked, By, Choice, Plans
from gptcalc.search.columns import Task
from gptcalc.search.space import nearest_count, read_set, read_words, space_of
from gptcalc.search.weighing import Candidate, Ranked, columns_of, search
from gptcalc.spec.reading import quoted
from gptcalc.spec.recipe import PRECISIONS, Recipe, autocast, check_recipe
from gptcalc.units import parse_number

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec
    from gptcalc.spec.model import ModelSpec

BY: tuple[By, ...] = ("time", "cost", "memory")

MOST = 10**9
"""Plans of a search, legal or not."""

COUNTED = 2**17
"""Devices up to which a search for a deadline or a budget goes."""

Progress = Callable[[str, int, int], None]


def plan(
    model: Any,
    *,
    device: Any = "h100-80gb",
    count: Any = None,
    global_batch: Any = None,
    seq: Any = None,
    tokens: Any = None,
    by: By = "time",
    top: int | None = 10,
    deadline: Any = None,
    budget: Any = None,
    precision: Any = None,
    stack: Any = None,
    runtime: str | None = None,
    optimizer: str = "adamw",
    attention_kernel: str | None = None,
    compiled: bool = False,
    dropout: bool | None = None,
    cluster: str | None = None,
    price: Any = None,
    tp: Any = None,
    pp: Any = None,
    dp: Any = None,
    cp: Any = None,
    ep: Any = None,
    batch: Any = None,
    virtual_stages: Any = None,
    recompute: Any = None,
    zero: Any = None,
    sequence_parallel: Any = None,
    progress: Progress | None = None,
) -> Any:
    """The best layouts of a training run, and why the others lost: a `Plans`; with `top` None all legal plans as columns, arrays by name.

    `device`, `stack`, `precision`, `recompute`, `zero`, `sequence_parallel` and every size take one value, which is held, or several;
    what is left out is searched. `count` may be several or a range ("64..4096" doubles); left out, it is searched for a `deadline`
    (seconds, or "30d") or a `budget` (USD). `by`: step time, cost, or memory's headroom.

    Units: seconds, bytes, USD.   Raises: GptcalcError for what is no size, and for spaces of more than 1e9 plans.
    Source: `train` and `memory`, whose answer every plan's is.

    >>> best = plan("gpt2-xl", device="a100-80gb", count=8, global_batch=512, seq=1024, zero=1, recompute="none").plans[0]
    >>> best.layout["tp"], best.run.fits
    (1, True)
    """
    if by not in BY:
        raise GptcalcError(f"by {quoted(by)} is not one of {', '.join(BY)}")
    if top is not None and (isinstance(top, bool) or not isinstance(top, int) or top < 1):
        raise GptcalcError(f"top must be a whole number above zero, or None for all plans, not {quoted(top)}")
    sizes = {"tp": tp, "pp": pp, "dp": dp, "cp": cp, "ep": ep, "batch": batch, "virtual_stages": virtual_stages}
    sizes |= {"recompute": recompute, "zero": zero, "sequence_parallel": sequence_parallel}
    fixed = {"runtime": runtime, "optimizer": optimizer, "attention_kernel": attention_kernel, "compiled": compiled, "dropout": dropout}
    fixed |= {"stack": stack, "precision": precision, "cluster": cluster, "price": price}
    limits = (None if deadline is None else read_span(deadline), None if budget is None else _money(budget))
    asked = _asked(model, device, count, global_batch, seq, tokens, by, top or 1, limits, sizes, fixed)
    if top is None:
        return columns_of([one for chip in asked.devices for n in asked.counts for one in _ranked(asked, chip, n)])
    if len(asked.counts) * len(asked.devices) == 1 and asked.counts != (0,):
        return _of_one(asked, asked.devices[0], asked.counts[0], progress)
    return _of_several(asked, progress)


SPANS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def read_span(value: Any) -> float:
    """Seconds: a number of them, or with a unit: 90min, 12h, 30d, 2w.

    Raises GptcalcError for everything else.

    >>> read_span("30d"), read_span(60)
    (2592000.0, 60.0)
    """
    match = re.fullmatch(r"\s*([\d.,_eE+]+)\s*(s|min|h|d|w)\s*", value) if isinstance(value, str) else None
    number, unit = (match[1], SPANS[match[2]]) if match else (value, 1)
    try:
        seconds = float(parse_number(number, of_bytes=False)) * unit
    except GptcalcError:
        raise GptcalcError(f"deadline {quoted(value)} is no span of time", hint="write 90min, 12h, 30d or 2w") from None
    if not 0 < seconds < float("inf"):
        raise GptcalcError(f"deadline must be above zero, not {quoted(value)}")
    return seconds


def _money(value: Any) -> float:
    usd = float(parse_number(value.strip().removeprefix("$") if isinstance(value, str) else value, of_bytes=False))
    if not 0 < usd < float("inf"):
        raise GptcalcError(f"budget must be above zero, not {quoted(value)}")
    return usd


def _asked(
    model: Any,
    device: Any,
    count: Any,
    global_batch: Any,
    seq: Any,
    tokens: Any,
    by: By,
    top: int,
    limits: tuple[float | None, float | None],
    sizes: dict[str, Any],
    fixed: dict[str, Any],
) -> Asked:
    from gptcalc.footprint.arrays import read_numbers
    from gptcalc.ranges import whole
    from gptcalc.spec.device import load_device
    from gptcalc.spec.files import as_model

    spec: ModelSpec = as_model(model)
    names = read_words("device", device, lambda name: load_device(name))
    if global_batch is None:
        raise GptcalcError("the sequences of a step decide the layout", hint="give --global-batch, such as --global-batch 1536")
    if count is None and limits == (None, None):
        raise GptcalcError("how many devices there are is not said", hint="give --count 1024 or --count 64..4096, --deadline or --budget")
    length = whole(spec.usual_seq if seq is None else seq, "seq")
    read_numbers(spec, seq=length)
    known = spec.training_tokens if tokens is None else whole(tokens, "tokens", most=10**18)
    if limits != (None, None) and known is None:
        raise GptcalcError(f"how many tokens {spec.name} was trained on is not in its preset", hint="give --tokens, such as 300B")
    counts = (0,) if count is None else read_set("count", count)
    return Asked(
        spec,
        tuple(load_device(name) for name in names),
        counts,
        whole(global_batch, "global batch"),
        length,
        known,
        by,
        top,
        *limits,
        sizes={name: value for name, value in sizes.items() if value is not None},
        fixed=fixed,
    )


def _ranked(asked: Asked, device: DeviceSpec, count: int) -> list[Ranked]:
    """The searches of one device and count: one for each stack and precision that is asked for.

    Raises GptcalcError for spaces that are too large.
    """
    from gptcalc.footprint.reserve import reserve
    from gptcalc.money import cost_of
    from gptcalc.ranges import exactly
    from gptcalc.spec.runtime import load_runtime
    from gptcalc.spec.stack import load_stack

    fixed = asked.fixed
    stacks = (_usual_stack(asked, device, count),) if fixed["stack"] is None else read_words("stack", fixed["stack"], load_stack)
    kinds = (autocast(device.usual_type),) if fixed["precision"] is None else read_words("precision", fixed["precision"], _precision)
    price = cost_of(exactly(1.0), device, price=fixed["price"]).cost
    if asked.by == "cost" and price is None:
        raise GptcalcError(f"the catalogue has no price for {device.name}", hint="give --price USD_PER_HOUR")
    weight = None if asked.by == "memory" else count * price.likely if asked.by == "cost" and price is not None else 1.0
    found = []
    for stack in stacks:
        for precision in kinds:
            task = _task(asked, device, stack, precision)
            parallel = load_runtime(task.recipe.runtime).sequence_parallel
            space = space_of(
                asked.model,
                count,
                asked.global_batch,
                asked.seq,
                asked.sizes,
                sequence_parallel=parallel,
                whole=fixed["optimizer"] == "muon",
            )
            found.append(Ranked(task, space, device.memory - reserve(0, 0, 0, device).apart, weight))
    size = sum(one.space.size for one in found)
    if size > MOST:
        longest, values = max(found[0].space.lists().items(), key=lambda item: len(item[1]))
        few = ",".join(map(str, values[:4]))
        raise GptcalcError(
            f"a space of {size:,} plans is too large: at most {MOST:,}",
            hint=f"hold some sizes, such as --{longest.replace('_', '-')} {few}",
        )
    return found


def _precision(name: str) -> None:
    from gptcalc.spec.options import check_word

    check_word("precision", name, PRECISIONS)


def _usual_stack(asked: Asked, device: DeviceSpec, count: int) -> str:
    """MaxText on TPUs; else Megatron's, which knows every layout, and for one device DDP."""
    from gptcalc.spec.stack import asked_stack

    return asked_stack(None, asked.fixed["runtime"], device) or ("megatron" if count > 1 else "ddp")


def _task(asked: Asked, device: DeviceSpec, stack: str, precision: str) -> Task:
    from gptcalc.spec.cluster import cluster_for, load_cluster
    from gptcalc.spec.runtime import load_runtime
    from gptcalc.spec.stack import load_stack
    from gptcalc.table.code import code_of

    fixed, software = asked.fixed, load_stack(stack)
    defaults = software.defaults
    runtime = fixed["runtime"] or defaults.get("runtime")
    if fixed["runtime"] is None:
        try:
            code_of(load_runtime(runtime or "transformers"), asked.model)
        except GptcalcError:  # nobody's code here has the model: everything fused, a lower bound
            runtime = "ideal"
    given = {name: fixed[name] if fixed[name] is not None else defaults.get(name) for name in ("attention_kernel", "dropout")}
    recipe = Recipe(
        runtime=runtime or "transformers",
        precision=precision,
        optimizer=fixed["optimizer"],
        compiled=fixed["compiled"],
        **{name: value for name, value in given.items() if value is not None},
    )
    check_recipe(recipe, load_runtime(recipe.runtime))
    place = cluster_for(device.name) if fixed["cluster"] is None else load_cluster(fixed["cluster"])
    return Task(asked.model, device, recipe, place, software)


def _spread(task: Task) -> float:
    """The error that the time of a step is printed with."""
    from gptcalc.run.pace import pace_of

    spread = pace_of(task.model, task.device, task.stack, task.recipe.runtime).spread
    return task.stack.spread if spread is None else spread


def _of_one(asked: Asked, device: DeviceSpec, count: int, progress: Progress | None) -> Plans:
    """The best plans on so many devices of one kind."""
    several = _ranked(asked, device, count)
    spread = max(_spread(one.task) for one in several)
    total = sum(one.space.size for one in several)
    moved = None if progress is None else lambda done: progress(f"plans on {count:,} {device.name}", done, total)
    found = search(several, spread, moved)
    fastest = min((one.step_time for one in found.best), default=0.0)
    plans = [_choice(asked, one, fastest * (1 + spread)) for one in found.best[: asked.top]]
    answer = Plans(
        asked, found, several[0].space.to_dict() | {"size": total}, plans, spread, notes=list(plans[0].run.notes) if plans else []
    )
    if plans:
        stack = found.best[0].ranked.task.stack
        return replace(answer, assumes=device.name not in stack.measured_on or bool(stack.notes))
    if found.nearest is not None:
        return replace(answer, nearest=_choice(asked, found.nearest, 0.0))
    return answer if found.legal else replace(answer, nearest_count=nearest_count(asked.model, several[0].space, asked.sizes))


def _choice(asked: Asked, candidate: Candidate, within: float) -> Choice:
    """A plan as `train` answers it."""
    from gptcalc.run.request import train

    task, fixed = candidate.ranked.task, asked.fixed
    options = {"device": task.device.name, "count": 0, "global_batch": 0, "seq": 0, "batch": 1} | candidate.layout
    options |= {"precision": task.recipe.precision if fixed["precision"] else None, "stack": task.stack.name}
    options |= {name: fixed[name] for name in ("attention_kernel", "compiled", "dropout", "cluster", "price")}
    usual = task.stack.defaults.get("runtime")
    options |= {"runtime": None if task.recipe.runtime == usual else task.recipe.runtime}
    options |= {"optimizer": None if fixed["optimizer"] == "adamw" else fixed["optimizer"]}
    options |= {"tokens": None if asked.tokens == asked.model.training_tokens else asked.tokens}
    tokens = asked.tokens or asked.global_batch * asked.seq
    of_train: dict[str, Any] = {name: value for name, value in options.items() if name != "tokens" and value is not None}
    run = train(asked.model, tokens=tokens, **of_train)
    return Choice(asked.model.name, options, run, run.step_time <= within, asked.tokens is not None)


def _of_several(asked: Asked, progress: Progress | None) -> Plans:
    """The best plan of each device and number of devices; first the one that is asked for."""
    answers: list[Plans] = []
    for device in asked.devices:
        for count in _counts(asked, device, answers):
            answer = _of_one(replace(asked, top=1), device, count, progress)
            answers.append(answer)
            if answer.found.interrupted:
                break
    curve = [answer.plans[0] for answer in answers if answer.plans]
    if not curve:
        return max(answers, key=lambda answer: (answer.found.fit, answer.found.legal))
    meeting = [answer for answer in answers if answer.fits]
    if meeting:
        chosen = min(meeting, key=lambda answer: _merit(asked, answer.plans[0]))
    else:
        chosen = min((answer for answer in answers if answer.plans), key=lambda answer: _excess(asked, answer.plans[0]))
    full = _of_one(asked, _device(asked, chosen), int(chosen.plans[0].run.count), None) if asked.top > 1 else chosen
    return replace(full, curve=sorted(curve, key=lambda one: (one.run.device, one.run.count)), notes=[*full.notes, *_named(curve)])


def _device(asked: Asked, answer: Plans) -> DeviceSpec:
    return next(one for one in asked.devices if one.name == answer.plans[0].run.device)


def _merit(asked: Asked, one: Choice) -> tuple[float, float]:
    """What is better is less: under a limit the fewest devices, then what is asked for."""
    run = one.run
    cost = float("inf") if run.cost_usd is None else run.cost_usd
    by = {"time": run.time, "cost": cost, "memory": one.peak / one.room}[asked.by]
    return (float(run.count) if asked.limited and asked.by == "time" else 0.0, by)


def _excess(asked: Asked, one: Choice) -> float:
    """By what factor a plan is over the deadline or the budget, whichever it is further over."""
    time = 0.0 if asked.deadline is None else (one.time or float("inf")) / asked.deadline
    cost = 0.0 if asked.budget is None else (one.cost or float("inf")) / asked.budget
    return max(time, cost)


def _named(curve: list[Choice]) -> list[str]:
    """Where there are several devices: which is the fastest and which the cheapest."""
    if len({one.run.device for one in curve}) < 2:
        return []
    fast = min(curve, key=lambda one: one.run.step_time)
    found = [f"fastest: {fast.run.count:,} {fast.run.device}"]
    priced = [one for one in curve if one.cost is not None]
    if priced:
        cheap = min(priced, key=lambda one: one.cost or 0.0)
        found.append(f"cheapest: {cheap.run.count:,} {cheap.run.device}")
    return found


def _counts(asked: Asked, device: DeviceSpec, answers: list[Plans]) -> Iterator[int]:
    """The numbers of devices to try: those that are asked for, or one node's and its doubles until the limits are met, then between the
    last two an eighth at a time."""
    if asked.counts != (0,):
        yield from asked.counts
        return
    from gptcalc.spec.cluster import cluster_for

    count = cluster_for(device.name).node
    while count <= COUNTED:
        yield count
        if answers[-1].fits:
            for eighth in range(1, 8):
                between = count // 2 + eighth * count // 16
                if count >= 16 and eighth * count % 16 == 0:
                    yield between
                    if answers[-1].fits:
                        return
            return
        count *= 2
