"""What a decoder keeps of the tokens that it has read, so that the next ones need not be computed from the start.

Of each layer its keys and values, or the latent and the rotated key that they are made of; of a layer with a window only what can still be
seen; of a recurrence its state, and of a convolution the last tokens that it read. The bytes of a cache are those of its arrays: nothing is
asserted.
"""

from __future__ import annotations

import numpy as np

from gptcalc.errors import GptcalcError
from gptcalc.reference.rope_scaling import scaling_kind
from gptcalc.reference.tally import Array
from gptcalc.spec.model import ModelSpec


class Kept:
    """One layer's part: arrays [B, C, ...] of the positions from `first` on."""

    def __init__(self) -> None:
        self.arrays: tuple[Array, ...] = ()
        self.first = self.dropped = 0
        self.state: Array | None = None  # of a recurrence
        self.tail: Array | None = None  # of a convolution, [B, X - 1, channels]: the tokens that it reads beside the next one

    def extend(self, new: tuple[Array, ...], window: int | None) -> tuple[Array, ...]:
        """All that the new positions may see; of it the last `window` positions are kept for the next ones."""
        if self.arrays:
            new = tuple(np.concatenate([old, array], axis=1) for old, array in zip(self.arrays, new, strict=True))
        drop = 0 if window is None else max(0, new[0].shape[1] - window)
        self.arrays = tuple(np.array(array[:, drop:]) for array in new)
        self.dropped = drop
        return new

    def forget(self) -> None:
        """Moves `first` behind what was dropped, once the layer is done with it."""
        self.first += self.dropped


class Cache:
    """A decoder's cache, filled by `forward(..., cache=cache)` with each call's tokens.

    Raises GptcalcError for a model that has an encoder, or whose angles depend on how long the sequence is: those need it whole.

    >>> from gptcalc.reference import forward, random_weights
    >>> from gptcalc.spec.model import parse_model
    >>> tiny = parse_model({"name": "tiny", "n_layer": 2, "d_model": 8, "n_head": 2, "vocab_size": 16, "n_ctx": 4})
    >>> cache = Cache(tiny)
    >>> forward(tiny, random_weights(tiny, seed=0), [[3, 1, 4]], cache=cache).shape, cache.length
    ((1, 3, 16), 3)
    >>> cache.size  # bytes: keys and values of 2 layers, 3 tokens, 8 channels, in float32
    384
    """

    def __init__(self, spec: ModelSpec) -> None:
        if not can_be_cached(spec):
            raise GptcalcError(f"{spec.name} cannot be run token by token: its encoder, or its angles, need the whole sequence")
        self.length = 0
        self.layers = [Kept() for _ in range(spec.n_layer)]

    @property
    def size(self) -> int:
        """Bytes of the arrays that grow with the sequence."""
        return sum(array.nbytes for kept in self.layers for array in kept.arrays)

    @property
    def states(self) -> tuple[int, int]:
        """Bytes of the tails of convolutions, and of the states of recurrences: of one size however long the sequence is."""
        tails, states = ([getattr(kept, name) for kept in self.layers] for name in ("tail", "state"))
        return sum(array.nbytes for array in tails if array is not None), sum(array.nbytes for array in states if array is not None)


def can_be_cached(spec: ModelSpec) -> bool:
    kinds = [spec, *spec.kinds.values()]
    return all(kind.causal and not (kind.position == "rotary" and scaling_kind(kind) == "longrope") for kind in kinds)
