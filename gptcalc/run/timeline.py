"""The memory of a training step over time: what stands after each part of the forward pass, at the fullest moment of each block's backward
pass, and in the update. Blocks are alike, so that memory between the first and the last of them is a straight line.
"""

from typing import Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.footprint.moments import Moment
from gptcalc.footprint.phases import Training
from gptcalc.spec.paths import Part

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
    if not any(moment.layer == "first block" for moment in moments["backward"].values()):
        raise GptcalcError("a timeline of layers that differ is not drawn: memory between the first and the last is no straight line")
    start, after = _kinds(moments["before_forward"]["start"]), _kinds(moments["after_forward"]["end"])

    def of_part(part: Part, layer: str = "") -> dict[str, dict[str, int]]:
        """What stands at the moments of one part of the backward pass."""
        return {name: _kinds(one) for name, one in moments["backward"].items() if one.part == part and one.layer == layer}

    in_blocks = _kinds(answer.step.blocks_done)
    L = int(answer.layers)
    points = [Point("before_forward", "start", start)]
    points += [Point("forward", f"block {i}", _between(start, in_blocks, i, L)) for i in range(1, L + 1)]
    points.append(Point("forward", "fullest", _kinds(_fullest(moments["forward"]))))
    points.append(Point("after_forward", "end", after))
    points += [Point("backward", name, kinds) for name, kinds in of_part("head").items()]
    first, last = (max(of_part("block", f"{which} block").values(), key=lambda kinds: sum(kinds.values())) for which in ("first", "last"))
    points += [Point("backward", f"block {L - i}", _between(first, last, i, L - 1)) for i in range(L)]
    points += [Point("backward", name, kinds) for name, kinds in of_part("embedding").items()]
    points.append(Point("optimizer", "update", _kinds(_fullest(moments["optimizer"]))))
    points.append(Point("after", "gradients freed", start))
    return points


def _kinds(moment: Moment) -> dict[str, int]:
    kinds = dict.fromkeys(KINDS, 0)
    for path, size in moment.breakdown.items():
        kinds[KIND_OF[path.partition("/")[0]]] += int(size)
    return kinds


def _fullest(moments: dict[str, Moment]) -> Moment:
    return max(moments.values(), key=lambda moment: moment.total)


def _between(a: dict[str, Any], b: dict[str, Any], i: int, n: int) -> dict[str, int]:
    return {kind: a[kind] + (b[kind] - a[kind]) * i // n if n else a[kind] for kind in KINDS}
