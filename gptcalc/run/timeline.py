"""The memory of a training step over time: what stands after each part of the forward pass, at the fullest moment of each block's backward
pass, and in the update. Blocks are alike, so that memory between the first and the last of them is a straight line.
"""

from typing import Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.footprint.phases import Training
from gptcalc.footprint.step import Moment

KINDS = ("states", "gradients", "activations", "transients")
KIND_OF = {
    "weights": "states",
    "optimizer state": "states",
    "gradients": "gradients",
    "transients": "transients",
    "activations": "activations",
    "logits and loss": "activations",
    "low-precision copies": "activations",
}


class Point(NamedTuple):
    """`part` of a `phase`; `bytes` by kind."""

    phase: str
    part: str
    bytes: dict[str, int]

    @property
    def total(self) -> int:
        """Bytes that stand at this point."""
        return sum(self.bytes.values())


def timeline(answer: Training) -> list[Point]:
    """The points of one step in order.

    Units: bytes.   Source: the moments of the step.
    """
    moments = answer.step.moments
    if not any(name.startswith("first block, ") for name in moments["backward"]):
        raise GptcalcError("a timeline of layers that differ is not drawn: memory between the first and the last is no straight line")
    start, after = _kinds(answer, moments["before_forward"]["start"]), _kinds(answer, moments["after_forward"]["end"])
    backward = {name: _kinds(answer, moment) for name, moment in moments["backward"].items()}
    before_loss = {name: kinds for name, kinds in backward.items() if "block, " not in name and not name.startswith("embedding/")}
    in_blocks = _kinds(answer, answer.step.blocks_done)
    L = int(answer.layers)
    points = [Point("before_forward", "start", start)]
    points += [Point("forward", f"block {i}", _between(start, in_blocks, i, L)) for i in range(1, L + 1)]
    points.append(Point("forward", "fullest", _kinds(answer, _fullest(answer, moments["forward"]))))
    points.append(Point("after_forward", "end", after))
    points += [Point("backward", name, kinds) for name, kinds in before_loss.items()]
    first, last = (_fullest_of([k for n, k in backward.items() if n.startswith(f"{which} block, ")]) for which in ("first", "last"))
    points += [Point("backward", f"block {L - i}", _between(first, last, i, L - 1)) for i in range(L)]
    points += [Point("backward", name, kinds) for name, kinds in backward.items() if name.startswith("embedding/")]
    points.append(Point("optimizer", "update", _kinds(answer, _fullest(answer, moments["optimizer"]))))
    points.append(Point("after", "gradients freed", start))
    return points


def _kinds(answer: Training, moment: Moment) -> dict[str, int]:
    kinds = dict.fromkeys(KINDS, 0)
    for path, size in answer.step.breakdown(moment).items():
        kinds[KIND_OF[path.partition("/")[0]]] += int(size)
    return kinds


def _fullest(answer: Training, moments: dict[str, Moment]) -> Moment:
    return max(moments.values(), key=lambda moment: sum(answer.step.breakdown(moment).values()))


def _fullest_of(found: list[dict[str, int]]) -> dict[str, int]:
    return max(found, key=lambda kinds: sum(kinds.values()))


def _between(a: dict[str, Any], b: dict[str, Any], i: int, n: int) -> dict[str, int]:
    return {kind: a[kind] + (b[kind] - a[kind]) * i // n if n else a[kind] for kind in KINDS}
