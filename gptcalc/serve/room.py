"""What a server's sequences take of a device's memory, and how many fit: weights, the cache of whole sequences, one pass over prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.footprint.reserve import reserve
from gptcalc.footprint.serving import MOST_PREFILL, Serving, largest, one_pass, serving_memory
from gptcalc.serve.request import Request
from gptcalc.spec.cache import cache_layout
from gptcalc.spec.recipe import Layout
from gptcalc.spec.server import load_server

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec

MOST_SEQUENCES = 2**22


class Room(NamedTuple):
    """Bytes on the fullest device; `max_batch` sequences of this length fit in one replica."""

    serving: Serving
    kv_cache: Any
    whole_cache: Any  # of an engine that keeps what no window sees any more
    room: int
    fits: Any
    left: Any
    max_batch: int | None

    def to_dict(self) -> dict[str, Any]:
        from gptcalc.node import plain

        parts = {part.name: plain(part.value) for part in self.serving.breakdown.parts}
        return {
            "peak_allocated": plain(self.serving.value),
            "weights": parts["weights"],
            "kv_cache": parts["kv cache"],
            "state": parts.get("state", 0),
            "activations": parts["activations"],
            "kv_cache_without_windows": plain(self.serving.whole_cache),
            "room": self.room,
            "left": plain(self.left),
        }


def serving_of(r: Request, batch: Any) -> Serving:
    """Whole sequences in the cache, as many prompts in one pass as a server reads; code without a server reads all of the batch."""
    layout = Layout(tp=r.tp, pp=r.pp)
    tokens = one_pass(batch, r.prompt) if load_server(r.runtime).graph else batch * r.prompt
    options: dict[str, Any] = {"group_size": r.group_size, "block_size": r.block_size, "prefill": tokens}
    options["layout_of_cache"] = r.cache_layout
    return serving_memory(r.model, batch, r.context, r.precision, r.kv_precision, layout, **options)


def room_on(device: DeviceSpec) -> int:
    """Bytes of a device that can be allocated: what CUDA takes is not there."""
    return device.memory - reserve(0, 0, 0, device).apart


def room_of(r: Request) -> Room:
    """Whether the batch fits, and the largest that does.

    Units: bytes.   Source: `serving.serving_memory`; what is apart from it, `reserve.reserve`.
    """
    from gptcalc.footprint.serving import CACHE_BITS, cache_precision, kv_cache
    from gptcalc.spec.shape import shape_of

    serving, layout = serving_of(r, r.batch), cache_layout(r.cache_layout)
    room = room_on(r.device)
    shape = shape_of(r.model)
    bits = CACHE_BITS[cache_precision(r.precision, r.kv_precision)]
    seen, whole = (
        kv_cache(shape, r.batch, r.context, kv_bits=bits, block=r.block_size, windows=windows, layout=layout) for windows in (True, False)
    )
    most = largest_batch(r, room) if isinstance(r.prompt, int) else None
    return Room(serving, seen, whole, room, serving.value <= room, room - serving.value, most)


def largest_batch(r: Request, room: int) -> int:
    """The most sequences of one replica that fit; 0 where one does not.

    From one full pass of prompts on, memory grows by the same for each sequence, so that two of them say where to look.
    """
    full = 1 + MOST_PREFILL // r.prompt
    one, two = (int(serving_of(r, n).value) for n in (full, full + 1))
    near = max(1, full + (room - one) // max(1, two - one))
    if serving_of(r, near).value <= room < serving_of(r, near + 1).value:
        return int(min(near, MOST_SEQUENCES))
    return largest(lambda n: serving_of(r, n).value <= room, limit=MOST_SEQUENCES)
