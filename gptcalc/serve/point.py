"""One setting of a server: what its prompts and its new tokens take, through all of its pipeline's stages.

B sequences at once, P tokens of prompt, O new tokens: the prefill makes the first, O - 1 decode steps the others. Step i sees P + i
positions. B and P may be arrays.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from gptcalc.serve.forward import launches
from gptcalc.serve.phase import Phase, timed
from gptcalc.serve.work import Work
from gptcalc.time.collectives import send
from gptcalc.time.kernels import ceil, most

STEPS, FEWEST_STEPS, MOST_PLACES = 4096, 16, 2**18
"""How many decode steps are computed one by one, of one setting and at least of each of many; and steps times settings in all."""


class Point(NamedTuple):
    """Seconds. `prefill` and `decode` are one pass of one group of sequences."""

    batch: Any
    prompt: Any
    output: int
    prefill: Phase
    decode: Phase
    prefill_time: Any
    first: Any
    last: Any
    per_token: Any

    @property
    def decode_time(self) -> Any:
        """All O - 1 steps."""
        return (self.output - 1) * self.per_token

    @property
    def rate(self) -> Any:
        """New tokens per second while decoding."""
        return self.batch / self.per_token


def point_of(work: Work, batch: Any, prompt: Any, output: int, *, pp: int = 1) -> Point:
    """Prefill and the decode steps, the context growing by one token each; of one new token, the step that would come next.

    The mean is over every step up to `STEPS` of them; over more it is that of as many equal stretches, each taken at its middle. A step's
    time is made of straight lines in its context, so that only stretches with a bend in them differ: by less than 1e-8 in all, and by
    less than 1e-5 where a model's windows are chunks, whose keys fall back to nothing again and again.

    A pipeline of p stages is kept full by p groups of sequences, one behind the other: each token of a group passes all stages.

    Units: seconds.   Source: pipelines: Narayanan et al. 2021, arXiv:2104.04473, section 2.2, without its backward pass.
    """
    group = ceil(batch, pp)
    groups = ceil(batch, group)
    b, p = _column(group), _column(prompt)
    d = work.shape.d_model
    prefill = timed(work, launches(work, b, p, p, "prefill"))
    steps = max(1, output - 1)
    contexts = _contexts(p, steps, settings(batch, prompt))
    decode = timed(work, launches(work, b, 1, contexts, "decode"))
    hop: Any = 0.0
    token: Any = 0.0
    if pp > 1:
        net, back = work.network, (pp - 1) * work.tp
        hop = (pp - 1) * send(net, work.width * group * prompt * d, work.tp)
        token = (pp - 1) * send(net, work.width * group * d, work.tp) + send(net, 4 * group, back)
    stage = _slowest(prefill, pp)
    first_prompt = prefill.mean + hop
    whole = first_prompt + (groups - 1) * stage if pp > 1 else first_prompt
    if steps == 1 or not getattr(decode.seconds, "ndim", 0):  # of recurrences alone a step takes as long whatever came before
        first = last = decode.mean
    elif contexts.shape[-1] == steps:
        first, last = decode.seconds[..., 0], decode.seconds[..., -1]
    else:
        first, last = (timed(work, launches(work, group, 1, prompt + at, "decode")).seconds for at in (1, steps))
    if hasattr(first, "shape") and not first.shape:
        first, last = float(first), float(last)
    mean = decode.mean
    mean = float(mean) if hasattr(mean, "shape") and not mean.shape else mean
    return Point(batch, prompt, output, prefill, decode, whole, first + token, last + token, mean + token)


def settings(*sizes: Any) -> int:
    """How many settings arrays of sizes are together.

    >>> settings(4, 512)
    1
    """
    shapes = [size.shape for size in sizes if hasattr(size, "shape")]
    if not any(shapes):
        return 1
    import numpy as np

    return math.prod(np.broadcast_shapes(*shapes))


def _column(value: Any) -> Any:
    """An array along all axes but the last, which counts decode steps."""
    return value[..., None] if hasattr(value, "ndim") and value.ndim else value


def _contexts(prompt: Any, steps: int, points: int) -> Any:
    """The middles of equal stretches of the steps' positions, P + 1 to P + O - 1: each step for itself where they are few enough."""
    if steps == 1:
        return prompt + 1
    import numpy as np

    stretches = min(steps, STEPS, max(FEWEST_STEPS, MOST_PLACES // points))
    return prompt + 0.5 + (np.arange(stretches) + 0.5) * (steps / stretches)


def _slowest(phase: Phase, pp: int) -> Any:
    """Seconds of the slowest stage: its share of the layers, and the head on the last."""
    blocks = sum((one.seconds for one in phase.operations if one.path.startswith("block")), 0.0)
    rest = sum((one.seconds for one in phase.operations if not one.path.startswith("block")), 0.0)
    one: Any = most((blocks / pp + rest, phase.host / pp))
    return one.mean(axis=-1) if hasattr(one, "ndim") and one.ndim else one
