"""An event simulation of a server's loop: requests in flight, passes of given seconds, chunks of prompts in the order they came."""

import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

Pass = Callable[[int, float], float]
"""Seconds of a pass that decodes so many sequences and reads so many tokens of prompts."""


@dataclass
class Asked:
    arrived: float
    left: float  # tokens of its prompt
    output: int
    made: int = 0
    first: float = 0.0


@dataclass(frozen=True)
class Means:
    ttft: float
    tpot: float
    e2e: float


def simulate(
    seconds: Pass,
    *,
    concurrency: int,
    prompt: int,
    output: int,
    chunk: int,
    request: float,
    mixed: bool = True,
    rounds: int = 30,
    rate: float | None = None,
) -> Means:
    """Means over the requests of a closed loop after its first five rounds; lengths are drawn from [0.8, 1.2] of what is given. A request
    is in the queue `request` seconds after it was sent.
    With a `rate` they arrive by chance instead, so many a second."""
    dice = random.Random(1)
    total = concurrency * rounds
    asked = 0

    def another(now: float) -> Asked:
        nonlocal asked
        asked += 1
        spread = [dice.uniform(0.8, 1.2) for _ in range(2)]
        return Asked(now, prompt * spread[0], max(2, round(output * spread[1])))

    now = 0.0
    coming = deque(another(now) for _ in range(concurrency))
    if rate is not None:
        arrivals = [dice.expovariate(rate) for _ in range(total + concurrency)]
        coming = deque(another(sum_) for sum_ in itertools.accumulate(arrivals))
    waiting: deque[Asked] = deque()
    running: list[Asked] = []
    done: list[tuple[float, float, float]] = []
    while len(done) < total:
        if not running and not waiting:
            now = max(now, coming[0].arrived + request)
        while coming and coming[0].arrived + request <= now:
            waiting.append(coming.popleft())
        reads = bool(waiting)
        decodes = running if mixed or not reads else []
        budget, ended = float(chunk), []
        took = 0.0
        while waiting and budget > 0:
            part = min(budget, waiting[0].left)
            waiting[0].left -= part
            budget -= part
            took += part
            if waiting[0].left > 1e-9:
                break
            ended.append(waiting.popleft())
        now += seconds(len(decodes), took)
        for one in decodes:
            one.made += 1
        for one in ended:
            one.first, one.made = now, 1
        for one in [one for one in decodes if one.made >= one.output]:
            running.remove(one)
            done.append((one.first - one.arrived, (now - one.first) / (one.output - 1), now - one.arrived))
            if rate is None:
                coming.append(another(now))
        running += ended
    kept = done[5 * concurrency :]
    return Means(*(sum(column) / len(kept) for column in zip(*kept, strict=True)))
