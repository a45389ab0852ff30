"""Which layouts there can be: each rule once, for one layout and for arrays of them.

- `check`: raises for what breaks a rule, with both numbers and the nearest legal ones. `legal`: the same rules as a mask.
- `broken`: the refusal of each place of arrays that breaks one.

A rule `holds` by plain arithmetic, so that it takes ints or float arrays alike; `says` is the refusal of one place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from math import gcd, isqrt
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.spec.reading import quoted
from gptcalc.spec.shape import shape_of
from gptcalc.symbols import ceiling, is_one, minimum, pick

if TYPE_CHECKING:
    from gptcalc.spec.model import ModelSpec


@dataclass(frozen=True)
class Sizes:
    """What the rules are about: a number each, or arrays that broadcast. `dp` follows from `count` where it was not given."""

    tp: Any = 1
    pp: Any = 1
    cp: Any = 1
    dp: Any = 1
    ep: Any = 1
    virtual_stages: Any = 1
    sequence_parallel: Any = False
    count: Any = 1
    global_batch: Any = 1
    batch: Any = 1
    seq: Any = 1

    @property
    def own(self) -> Any:
        """Devices of one replica."""
        return self.tp * self.pp * self.cp


class Rule(NamedTuple):
    """`name` says what must be; `holds` whether it is, of sizes of a model; `says` why one place breaks it, and what would not."""

    name: str
    holds: Callable[[ModelSpec, Sizes], Any]
    says: Callable[[ModelSpec, Sizes], tuple[str, str | None]]


def has_experts(model: ModelSpec) -> bool:
    """Whether any block of the model has experts."""
    return model.n_expert is not None or any(kind.n_expert is not None for kind in model.kinds.values())


MOST_DIVIDED = 10**9
"""Sizes whose divisors are looked for."""


def near_divisors(a: Any, b: Any, name_a: str, name_b: str) -> str:
    """The sizes next to b that divide a.

    >>> near_divisors(32, 3, "n_head", "tensor parallel size"), near_divisors(7, 12, "n_layer", "stages")
    ('tensor parallel size 2 or 4 would do', 'stages 7 would do')
    """
    if not (isinstance(a, int) and isinstance(b, int)) or a > MOST_DIVIDED:
        return f"choose sizes so that {name_a} divides"
    small = [n for n in range(1, isqrt(a) + 1) if a % n == 0]
    found = [*small, *(a // n for n in reversed(small))]
    below, above = [n for n in found if n < b][-1:], [n for n in found if n > b][:1]
    return f"{name_b} {' or '.join(map(str, below + above))} would do"


def check(model: ModelSpec, sizes: Sizes) -> None:
    """Raises GptcalcError for the first rule that is broken; of arrays for the first place that breaks it, by its own numbers."""
    for rule in RULES:
        held = rule.holds(model, sizes)
        if isinstance(held, bool):
            if not held:
                message, hint = rule.says(model, sizes)
                raise GptcalcError(message, hint=hint)
        elif not held.all():
            message, hint = rule.says(model, _place(sizes, held.shape, int(held.argmin())))
            raise GptcalcError(f"{message}, in one place of the arrays", hint=hint)


def legal(model: ModelSpec, sizes: Sizes) -> Any:
    """Whether the sizes keep every rule: True or False, or an array of them.

    >>> from gptcalc.spec.files import load_model
    >>> legal(load_model("gpt3-175b"), Sizes(tp=8, pp=8, dp=16, count=1024, global_batch=1536, seq=2048))
    True
    """
    held = True
    for rule in RULES:
        held = held & rule.holds(model, sizes)
    return held


def broken(model: ModelSpec, sizes: Sizes) -> dict[int, GptcalcError]:
    """Of sizes some of which are arrays, the places that break a rule, in the arrays' order, each with the first that it breaks."""
    import numpy as np

    shape = np.broadcast_shapes(*(np.shape(getattr(sizes, field.name)) for field in fields(sizes)))
    found: dict[int, GptcalcError] = {}
    for rule in RULES:
        held = np.broadcast_to(rule.holds(model, sizes), shape).ravel()
        for at in np.flatnonzero(~held).tolist():
            if at not in found:
                message, hint = rule.says(model, _place(sizes, shape, at))
                found[at] = GptcalcError(message, hint=hint)
    return found


def _place(sizes: Sizes, shape: tuple[int, ...], at: int) -> Sizes:
    """The sizes of one place of arrays, as ints."""
    import numpy as np

    found = {}
    for field in fields(sizes):
        value = getattr(sizes, field.name)
        if hasattr(value, "dtype"):
            value = int(np.broadcast_to(value, shape).ravel()[at])
        found[field.name] = value
    return replace(sizes, **found)


def _multiple(a: Any, b: Any) -> Any:
    if isinstance(a, int) and isinstance(b, int):
        return a % b == 0
    import numpy as np

    quotient = a / b  # of whole numbers below 2**53 it is whole only where b divides, and ten times as quick as a rest
    return quotient == np.floor(quotient)


def _devices(model: ModelSpec, s: Sizes) -> tuple[str, str | None]:
    own = s.own
    below = s.count // own * own
    near = f"--count {below} or {below + own}" if below else f"--count {own}"
    smaller = [f"--{name} {size}" for name in ("pp", "tp") for size in _smaller(model, s, name)]
    message = f"{s.count} devices are not a multiple of tp {s.tp} times pp {s.pp} times cp {s.cp}, which is {own}"
    return message, " or ".join([near, *smaller[:1]])


def _smaller(model: ModelSpec, s: Sizes, name: str) -> list[int]:
    """The next smaller size of one dimension that fits the count, and the model's heads or layers."""
    size = getattr(s, name)
    rest = s.own // size
    if size == 1 or s.count % rest:
        return []
    whole = gcd(s.count // rest, model.n_head) if name == "tp" else s.count // rest
    most = size - 1 if name == "tp" else min(size - 1, model.n_layer)
    return [max(n for n in _divisors(whole) if n <= most)]


def _divisors(number: int) -> list[int]:
    small = [n for n in range(1, isqrt(number) + 1) if number % n == 0]
    return [*small, *(number // n for n in small)]


def _replicas(model: ModelSpec, s: Sizes) -> tuple[str, str | None]:
    sizes = " times ".join(f"{name} {quoted(size)}" for name, size in (("tp", s.tp), ("pp", s.pp), ("cp", s.cp), ("dp", s.dp)))
    product = quoted(s.own * s.dp)
    return f"{sizes} is {product}, not the device count {quoted(s.count)}", f"--count {product}, or leave --dp out"


def _stages(model: ModelSpec, s: Sizes) -> tuple[str, str | None]:
    L = model.n_layer
    return f"{s.pp} pipeline stages for {L} layers: some would be empty", f"--pp {L} at most"


def _chunks(model: ModelSpec, s: Sizes) -> tuple[str, str | None]:
    chunks = s.pp * s.virtual_stages
    message = f"{model.n_layer} layers do not divide into {s.pp} stages of {s.virtual_stages} virtual stages, {chunks} in all"
    return message, "choose --pp and --virtual-stages so that their product divides the layers"


def _sequences(model: ModelSpec, s: Sizes) -> tuple[str, str | None]:
    step = s.batch * s.dp
    below = s.global_batch // step * step
    hint = f"--global-batch {below} or {below + step}" if below else f"--global-batch {step}"
    pieces = f"micro-batches of {quoted(s.batch)} on {quoted(s.dp)} replica{'' if s.dp == 1 else 's'}"
    return f"the global batch of {quoted(s.global_batch)} sequences does not divide into {pieces}", hint


def _rounds(model: ModelSpec, s: Sizes) -> tuple[str, str | None]:
    m, whole = s.global_batch // (s.batch * s.dp), s.batch * s.dp * s.pp
    below = s.global_batch // whole * whole
    one = f"{quoted(m)} micro-batch of a step is" if m == 1 else f"{quoted(m)} micro-batches of a step are"
    hint = f"--global-batch {below} or {below + whole}" if below else f"--global-batch {whole}"
    return f"{one} not a multiple of {quoted(s.pp)} pipeline stages, which interleaving needs", f"{hint}, or leave --virtual-stages out"


def _not_a_multiple(name: str, of: Callable[[ModelSpec, Sizes], Any], size: str, by: Callable[[Sizes], Any]) -> Rule:
    """`name` must be a multiple of `size`; of several kinds of layers each."""

    def values(model: ModelSpec, s: Sizes) -> list[Any]:
        found = of(model, s)
        return found if isinstance(found, list) else [found]

    def holds(model: ModelSpec, s: Sizes) -> Any:
        kept = True
        for value in values(model, s):
            kept = kept & _multiple(value, by(s))
        return kept

    def says(model: ModelSpec, s: Sizes) -> tuple[str, str | None]:
        odd = next(value for value in values(model, s) if value % by(s))
        return f"{name} {odd} is not a multiple of {size} {by(s)}", near_divisors(odd, by(s), name, size)

    return Rule(f"{name}: a multiple of {size}", holds, says)


def _of_heads(name: str, of: Callable[[ModelSpec, Sizes], Any]) -> Rule:
    return _not_a_multiple(name, of, "tensor parallel size", lambda s: s.tp)


ATTENTIONS = ("attention", "latent_attention", "compressed_attention")


def _of_blocks(name: str) -> Callable[[ModelSpec, Sizes], list[int]]:
    """A size of each kind of block that has the sublayer whose size it is."""
    experts = dict.fromkeys(("n_expert", "d_expert", "d_shared_expert"), ("experts", "mlp_beside_experts"))
    owner = {"d_ff": ("mlp", "mlp_beside_experts"), **experts}.get(name, ATTENTIONS)
    return lambda model, _: list(dict.fromkeys(getattr(kind, name) for _, kind in shape_of(model).blocks if kind.has(*owner)))


def _of_mixers(name: str, *kinds: str) -> Callable[[ModelSpec, Sizes], list[int]]:
    """A size of the mixer of each kind of block that has one of these."""

    def values(model: ModelSpec, _: Sizes) -> list[int]:
        return list(dict.fromkeys(getattr(kind.mixer, name) for _, kind in shape_of(model).blocks if kind.has(*kinds)))

    return values


def _whole_or_copied(found: int, t: Any) -> Any:
    """Whether heads or groups divide into ranks, or ranks into them, each of which then stands on several."""
    return (found % t == 0) | ((t > found) & (t % found == 0))


def _shared(name: str, of: Callable[[ModelSpec, Sizes], list[int]]) -> Rule:
    """What heads share: a multiple of the tensor parallel size, or a divisor."""

    def holds(model: ModelSpec, s: Sizes) -> Any:
        kept = True
        for found in of(model, s):
            kept = kept & _whole_or_copied(found, s.tp)
        return kept

    def says(model: ModelSpec, s: Sizes) -> tuple[str, str | None]:
        odd, t, size = next(one for one in of(model, s) if not _whole_or_copied(one, s.tp)), s.tp, "tensor parallel size"
        if t > odd:
            below = t // odd * odd
            return f"{size} {t} is not a multiple of {name} {odd}", f"{size} {below} or {below + odd} would do"
        return f"{name} {odd} is not a multiple of {size} {t}", near_divisors(odd, t, name, size)

    return Rule(f"{name}: a multiple of tensor parallel size, or a divisor", holds, says)


def _experts(model: ModelSpec, s: Sizes) -> Any:
    return True if has_experts(model) else s.ep == 1


def _same_weights(s: Sizes) -> str:
    return f"data{'' if is_one(s.cp) else ' times context'} parallel size"


def stage_sizes(L: Any, p: Any, v: Any) -> tuple[Any, Any, Any]:
    """Layers of the first stage, of a middle one and of the last, which `v` chunks of ceil(L/pv) make up.

    Where layers do not divide into chunks: two too few are taken from the ends, where embedding and loss stand for a layer each
    (Megatron-LM, account_for_embedding_in_pipeline_split and account_for_loss_in_pipeline_split; Llama 3, arXiv:2407.21783, 3.3.2); any
    other number from the last stage. Without chunks every stage is as long as the longest.

    >>> stage_sizes(126, 8, 8), stage_sizes(61, 8, 2), stage_sizes(96, 8, 6), stage_sizes(7, 2, 1)
    ((15, 16, 15), (8, 8, 5), (12, 12, 12), (4, 4, 4))
    """
    whole = v * ceiling(L, p * v)
    missing = pick(v > 1, p * whole - L, 0)
    ends = pick(missing == 2, 1, 0)
    return whole - ends, whole - pick(p == 2, ends, 0), whole - pick(missing == 2, 1, minimum(missing, whole))


def _divide_into_chunks(model: ModelSpec, s: Sizes) -> Any:
    """Layers may be missing at the end of the last stage, but not all of it."""
    whole = s.virtual_stages * ceiling(model.n_layer, s.pp * s.virtual_stages)
    missing = s.pp * whole - model.n_layer
    return (s.virtual_stages == 1) | (missing < whole) & ((whole > 1) | (missing == 0))


RULES = (
    Rule("devices: a multiple of tp times pp times cp", lambda model, s: _multiple(s.count, s.own), _devices),
    Rule("devices: tp times pp times cp times dp", lambda model, s: s.own * s.dp == s.count, _replicas),
    Rule(
        "virtual stages: only of a pipeline",
        lambda model, s: (s.virtual_stages == 1) | (s.pp > 1),
        lambda model, s: (f"{quoted(s.virtual_stages)} virtual stages need a pipeline", "give --pp, or leave --virtual-stages out"),
    ),
    Rule("layers: chunks of one size, the last stage's fewer", _divide_into_chunks, _chunks),
    Rule("layers: one for each stage at least", lambda model, s: s.pp <= model.n_layer, _stages),
    Rule(
        "expert parallel: only of experts",
        lambda model, s: _experts(model, s),
        lambda model, s: (f"expert parallel size {quoted(s.ep)} on {model.name}, which has no experts", "leave --ep out"),
    ),
    Rule(
        "data times context parallel size: a multiple of expert parallel size",
        lambda model, s: _multiple(s.dp * s.cp, s.ep),
        lambda model, s: (
            f"{_same_weights(s)} {s.dp * s.cp} is not a multiple of expert parallel size {s.ep}",
            near_divisors(s.dp * s.cp, s.ep, _same_weights(s), "expert parallel size"),
        ),
    ),
    _not_a_multiple("n_expert", _of_blocks("n_expert"), "expert parallel size", lambda s: s.ep),
    Rule("global batch: a multiple of micro-batch times dp", lambda model, s: _multiple(s.global_batch, s.batch * s.dp), _sequences),
    Rule(
        "micro-batches: a multiple of stages, where these are interleaved",
        lambda model, s: (s.virtual_stages == 1) | _multiple(s.global_batch // (s.batch * s.dp), s.pp),
        _rounds,
    ),
    _not_a_multiple("sequence length", lambda model, s: s.seq, "context parallel size", lambda s: s.cp),
    Rule(
        "sequence parallel: tokens a multiple of tensor parallel size",
        lambda model, s: (s.sequence_parallel == 0) | _multiple(s.seq // s.cp, s.tp),
        lambda model, s: (
            f"sequence length {s.seq // s.cp} is not a multiple of tensor parallel size {s.tp}",
            "choose sizes so that sequence length divides, or leave --sequence-parallel out",
        ),
    ),
    _of_heads("n_head", _of_blocks("n_head")),
    _shared("n_kv_head", _of_blocks("n_kv_head")),
    *(_of_heads(name, _of_blocks(name)) for name in ("d_ff", "d_expert", "d_shared_expert")),
    _of_heads("n_head of the mixer", _of_mixers("n_head", "delta_net", "mamba2", "mamba")),
    _shared("n_key_head of the mixer", _of_mixers("n_group", "delta_net")),
    _shared("n_group of the mixer", _of_mixers("n_group", "mamba2")),
    _of_heads("d_model", lambda model, _: [kind.d_model for _, kind in shape_of(model).blocks if kind.has("short_conv")]),
)
"""Every rule, in the order in which a broken one is said."""
