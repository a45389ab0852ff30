"""What a server's sequences take of a device's memory, and how many fit: weights, the cache of whole sequences, one pass over prompts."""

from __future__ import annotations

from typing import Any, NamedTuple

from gptcalc.formulas.inference.request import Request
from gptcalc.formulas.memory.reserve import reserve
from gptcalc.formulas.memory.serving import Serving, largest, serving_memory
from gptcalc.spec.recipe import Layout

MOST_SEQUENCES = 2**22


class Room(NamedTuple):
    """Bytes on the fullest device; `max_batch` sequences of this length fit in one replica."""

    serving: Serving
    kv_cache: Any
    room: int
    fits: Any
    left: Any
    max_batch: int | None

    def to_dict(self) -> dict[str, Any]:
        from gptcalc.formulas.node import plain

        parts = {part.name: plain(part.value) for part in self.serving.bill.parts}
        return {
            "peak_allocated": plain(self.serving.value),
            "weights": parts["weights"],
            "kv_cache": parts["kv cache"],
            "activations": parts["activations"],
            "room": self.room,
            "left": plain(self.left),
        }


def serving_of(r: Request, batch: Any) -> Serving:
    """Whole sequences in the cache, all prompts of the batch in one pass."""
    layout = Layout(tp=r.tp, pp=r.pp)
    options: dict[str, Any] = {"group_size": r.group_size, "block_size": r.block_size, "prefill": batch * r.prompt}
    return serving_memory(r.model, batch, r.context, r.precision, r.kv_precision, layout, **options)


def room_of(r: Request) -> Room:
    """Whether the batch fits, and the largest that does.

    Units: bytes.   Source: `serving.serving_memory`; what is apart from it, `reserve.reserve`.
    """
    from gptcalc.formulas.memory.serving import CACHE_BITS, cache_precision, kv_cache
    from gptcalc.spec.shape import shape_of

    serving = serving_of(r, r.batch)
    room = r.device.memory - reserve(serving.value, 0, 0).apart
    shape = shape_of(r.model)
    cache = kv_cache(shape, r.batch, r.context, kv_bits=CACHE_BITS[cache_precision(r.precision, r.kv_precision)], block=r.block_size)
    one = isinstance(r.prompt, int)
    return Room(serving, cache, room, serving.value <= room, room - serving.value, largest_batch(r, room) if one else None)


def largest_batch(r: Request, room: int) -> int:
    """The most sequences of one replica that fit; 0 where one does not.

    Memory grows by the same for each sequence, so that two of them say where to look.
    """
    one, two = (int(serving_of(r, n).value) for n in (1, 2))
    if one > room:
        return 0
    near = max(1, (room - one) // max(1, two - one) + 1)
    if serving_of(r, near).value <= room < serving_of(r, near + 1).value:
        return int(min(near, MOST_SEQUENCES))
    return largest(lambda n: serving_of(r, n).value <= room, limit=MOST_SEQUENCES)
