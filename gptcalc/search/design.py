"""`design`: shapes of a model that hit a number of parameters, by the speed that each is predicted to train at; what an unlucky one costs.

- `design`: what to hit, and the answer. A shape is one of a known architecture (`like`) in other sizes: its kind of blocks, its ratio of
  heads and of inner width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil, lcm
from shlex import join
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError, NegativeAnswer
from gptcalc.shown import frame, shown

if TYPE_CHECKING:
    from gptcalc.run.answer import Run
    from gptcalc.spec.model import ModelSpec

Progress = Callable[[str, int, int], None]

LIKE = "llama3-8b"
VOCABULARY_MULTIPLE = 128
"""Rows of the embedding matrix are padded to a multiple of this times tp, as Megatron-LM does (--make-vocab-size-divisible-by)."""

NEAR = 0.02
"""How far from the number of parameters a shape may be."""

WIDER = 1.5
"""By how much the ratio of width to depth may differ from the known architecture's, either way, where no bounds are given. Fewer and wider
layers are faster, and the loss hardly feels it: Kaplan et al. 2020, arXiv:2001.08361, section 3.1, where 6 layers 4,288 wide come within
3 % of the loss of 48 layers 1,600 wide."""

FATTER = 1.15
"""By how much the ratio of inner width to width may, and by twice that the ratio of heads to key-value heads."""

MOST_SHAPES = 100
"""Shapes that are timed: those nearest to the known architecture's proportions."""

BUSY = 8192
"""Tokens of a micro-batch where no batch is given: with fewer a device waits for its processor, whatever the shape."""


class Unlucky(NamedTuple):
    """One number of the best shape changed: what it is, why that is slower, and the share of tokens a second that it loses."""

    change: str
    why: str
    fields: dict[str, int]
    slower: float


class Candidate(NamedTuple):
    """A shape, its parameters, and what training it takes on one device: tokens a second, peak bytes."""

    fields: dict[str, int]
    params: int
    off: float
    tokens_per_second: float
    mfu: float
    peak: float
    fits: bool | None
    command: str

    def to_dict(self) -> dict[str, Any]:
        own = self._asdict()
        fields: dict[str, Any] = own.pop("fields")
        return fields | own


@shown
@dataclass(frozen=True)
class Design:
    """The answer. `shapes`: the fastest first; `unlucky`: what one number of the first changed costs."""

    like: str
    params: int
    held: Mapping[str, Any]
    tried: int
    shapes: list[Candidate]
    unlucky: list[Unlucky]
    lower_bound: bool
    interrupted: bool = False

    @property
    def value(self) -> dict[str, int]:
        """The fastest shape's fields."""
        return self.shapes[0].fields

    def __repr__(self) -> str:
        return f"Design({self.params:,} parameters like {self.like}, {len(self.shapes)} shapes, the fastest {self.value})"

    def to_list(self) -> list[dict[str, Any]]:
        """A row for each shape, then one for each unlucky change of the first."""
        rows: list[dict[str, Any]] = [one.to_dict() | {"unlucky": None, "slower": 0.0} for one in self.shapes]
        first = self.shapes[0].fields
        return rows + [first | one.fields | {"unlucky": one.change, "slower": one.slower} for one in self.unlucky]

    to_dict = to_list

    def to_frame(self) -> Any:
        """A pandas DataFrame, a row for each shape; GptcalcError where pandas is not installed."""
        return frame(self)


class Limits(NamedTuple):
    """What a shape has to keep to."""

    params: int
    within: float
    aspect: tuple[float, float]
    d_head: tuple[int, ...]
    multiple: int
    tp: int
    pp: int
    vocabulary: int


def design(
    *,
    params: Any = None,
    device: str = "h100-80gb",
    like: Any = LIKE,
    count: Any = None,
    tp: Any = None,
    pp: Any = None,
    d_head: Any = None,
    aspect: Any = None,
    multiple: Any = 128,
    vocab_size: Any = None,
    within: Any = NEAR,
    batch: Any = None,
    seq: Any = None,
    global_batch: Any = None,
    precision: str | None = None,
    stack: str | None = None,
    runtime: str | None = None,
    recompute: str | None = None,
    zero: int | None = None,
    top: int = 10,
    progress: Progress | None = None,
) -> Design:
    """Shapes of `params` parameters in the architecture of the model `like`, by the tokens a second that a device is predicted to train.

    Widths are multiples of `multiple` and of a head's width, one of `d_head` (the model's own, 64 and 128 where left out); heads and inner
    widths divide by `tp`, layers by `pp`; the vocabulary is padded to a multiple of 128 times `tp`; `aspect` is the least and the most
    width over depth, "100..200". The rest are options of `train`; a micro-batch has some 8,192 tokens where no batch is given.

    Units: parameters, tokens a second of one device, bytes.   Raises: GptcalcError where no shape comes `within` that share of `params`.
    Source: `train`; proportions: Kaplan et al. 2020, arXiv:2001.08361, section 3.1.

    >>> found = design(params="125M", like="gpt2", top=1)
    >>> found.shapes[0].off < 0.02, found.value["vocab_size"]
    (True, 50304)
    """
    from gptcalc.ranges import whole
    from gptcalc.spec.files import as_model
    from gptcalc.spec.options import whole_number

    if params is None:
        raise GptcalcError("a design starts from a number of parameters", hint="for example --params 7B")
    known = as_model(like)
    if known.layers or known.composition or known.mixer is not None:
        raise GptcalcError(f"{known.name} has blocks that differ: a design has one kind of block", hint="give --like llama3-8b or gpt3-13b")
    sizes = {"tp": whole(1 if tp is None else tp, "tp"), "pp": whole(1 if pp is None else pp, "pp")}
    limits = Limits(
        params=whole(params, "params", most=10**15),
        within=_share(within),
        aspect=_bounds(known, aspect),
        d_head=_widths(known, d_head),
        multiple=whole_number("multiple", multiple),
        **sizes,
        vocabulary=whole(known.vocab_size if vocab_size is None else vocab_size, "vocabulary"),
    )
    options = {"count": sizes["tp"] * sizes["pp"] if count is None else whole(count, "count"), "batch": batch, "seq": seq}
    options |= {"global_batch": global_batch, "precision": precision, "stack": stack, "runtime": runtime, "recompute": recompute}
    options |= {"zero": zero} | {name: size for name, size in sizes.items() if size > 1}
    if batch is None:
        options["batch"] = max(1, BUSY // whole(known.usual_seq if seq is None else seq, "seq"))
    options = {"device": device} | {name: value for name, value in options.items() if value is not None}
    tried = _nearest(known, limits)
    if not tried:
        raise NegativeAnswer(*_none(known, limits))
    shapes: list[Candidate] = []
    interrupted = False
    try:
        for number, fields in enumerate(tried):
            shapes.append(_candidate(known, fields, limits.params, options))
            if progress:
                progress(f"shapes like {known.name}", number + 1, len(tried))
    except KeyboardInterrupt:
        if not shapes:
            raise
        interrupted = True
    shapes = _different(shapes)
    first = _run(known, shapes[0].fields, options)
    unlucky = [] if interrupted else _unlucky(known, shapes[0], limits, options)
    held = {"within": limits.within, "d_head": list(limits.d_head), "multiple": limits.multiple, "vocab_size": limits.vocabulary} | options
    return Design(known.name, limits.params, held, len(tried), shapes[:top], unlucky, first.lower_bound, interrupted)


def _share(within: Any) -> float:
    from gptcalc.units import parse_number

    share = float(parse_number(within, of_bytes=False))
    if not 0 < share <= 0.5:
        raise GptcalcError(f"within must be a share above zero, up to 0.5, not {within}", hint="0.02 is 2 % of the parameters, either way")
    return share


def _widths(known: ModelSpec, asked: Any) -> tuple[int, ...]:
    from gptcalc.search.space import read_set
    from gptcalc.spec.shape import shape_of

    return tuple(sorted({64, 128, shape_of(known).d_head})) if asked is None else read_set("d_head", asked)


def _bounds(known: ModelSpec, asked: Any) -> tuple[float, float]:
    """The least and the most width over depth."""
    from gptcalc.ranges import read_range

    if asked is None:
        return known.d_model / known.n_layer / WIDER, known.d_model / known.n_layer * WIDER
    found = read_range(asked, "aspect")
    if not 0 < found.low <= (found.high or 0):
        raise GptcalcError(f"aspect must be a range above zero, not {asked}", hint="width over depth, such as --aspect 100..200")
    return found.low, float(found.high or found.low)


def _different(shapes: list[Candidate]) -> list[Candidate]:
    """The fastest first, one for each width and number of heads."""
    best: dict[tuple[int, int], Candidate] = {}
    for one in sorted(shapes, key=lambda one: (-one.tokens_per_second, one.off)):
        best.setdefault((one.fields["d_model"], one.fields["n_head"]), one)
    return list(best.values())


def _nearest(known: ModelSpec, limits: Limits) -> list[dict[str, int]]:
    """Shapes that come near enough, at most as many as are timed, those of the known proportions first."""
    from gptcalc.spec.shape import shape_of

    shape = shape_of(known)
    name, fat = _inner(known)
    aspect = shape.d_model / shape.n_layer
    found: dict[tuple[int, ...], tuple[float, dict[str, int]]] = {}
    for fields in _shapes(known, limits):
        own, inner = fields["d_model"] / fields["n_layer"], fields[name] / fields["d_model"]
        apart = max(own / aspect, aspect / own) * max(inner / fat, fat / inner) ** 2
        found.setdefault(tuple(fields.values()), (apart, fields))
    return [fields for _, fields in sorted(found.values(), key=lambda one: one[0])[:MOST_SHAPES]]


def _shapes(known: ModelSpec, limits: Limits) -> Iterator[dict[str, int]]:
    """For each width, head and depth the inner width that comes nearest, where that is one of these proportions.

    Parameters are linear in the layers, and in the inner width of each: three counts of a width say them all.
    """
    from gptcalc.spec.shape import shape_of

    shape = shape_of(known)
    inner_name, fat = _inner(known)
    low, high = limits.aspect
    vocabulary = _padded(limits.vocabulary, limits.tp)
    inner = lcm(limits.multiple, limits.tp)
    for d_head in limits.d_head:
        step = lcm(limits.multiple, d_head * limits.tp)
        for d_model in range(step, MOST_WIDTH + 1, step):
            n_head = d_model // d_head
            n_kv_head = _kv_heads(n_head, n_head * shape.n_kv_head / shape.n_head, limits.tp)
            if n_kv_head is None:
                continue
            fields = {"n_layer": 1, "d_model": d_model, "n_head": n_head, "n_kv_head": n_kv_head, "d_head": d_head}
            fields |= {inner_name: inner, "vocab_size": vocabulary}
            one = _count(known, fields)
            block, each = _count(known, fields | {"n_layer": 2}) - one, _count(known, fields | {inner_name: 2 * inner}) - one
            outside, bare = one - block, block - each
            least = max(1, ceil(d_model / high))
            depths = range(-(-least // limits.pp) * limits.pp, int(d_model / low) + 1, limits.pp)
            for n_layer in depths:
                pieces = round((limits.params - outside - n_layer * bare) / (n_layer * each))
                if not d_model * fat / FATTER <= pieces * inner <= d_model * fat * FATTER:
                    continue
                if abs(outside + n_layer * (bare + each * pieces) - limits.params) <= limits.within * limits.params:
                    yield fields | {"n_layer": n_layer, inner_name: pieces * inner}
            if outside + depths.start * block > limits.params * (1 + limits.within):
                break


def _inner(known: ModelSpec) -> tuple[str, float]:
    """The field of the inner width, an expert's where there are experts, and its ratio to the width."""
    from gptcalc.spec.shape import shape_of

    shape = shape_of(known)
    name = "d_expert" if known.n_expert and known.d_expert else "d_ff"
    return name, getattr(shape, name) / shape.d_model


MOST_WIDTH = 65_536


def _padded(rows: int, tp: int) -> int:
    multiple = VOCABULARY_MULTIPLE * tp
    return -(-rows // multiple) * multiple


def _kv_heads(n_head: int, wanted: float, tp: int) -> int | None:
    """The number nearest to what is wanted that divides the heads and goes with tp; None where none is near.

    >>> _kv_heads(32, 8.0, 1), _kv_heads(36, 9.0, 8), _kv_heads(37, 9.25, 1)
    (8, None, None)
    """
    able = [kv for kv in range(1, n_head + 1) if n_head % kv == 0 and (kv % tp == 0 or tp % kv == 0)]
    near = [kv for kv in able if max(kv / wanted, wanted / kv) <= 1 + 2 * (FATTER - 1)]
    return min(near, key=lambda kv: abs(kv - wanted), default=None)


def _count(known: ModelSpec, fields: Mapping[str, int]) -> int:
    from gptcalc.table.params import params

    return int(params(_spec(known, fields)).value)


def _spec(known: ModelSpec, fields: Mapping[str, int]) -> ModelSpec:
    from gptcalc.spec.model import parse_model

    dropped = ("published", "name", "padded_vocab_size", "d_rotary", "training_tokens")
    own = {name: getattr(known, name) for name in known.model_fields_set if name not in dropped}
    return parse_model(own | {"name": f"like {known.name}"} | dict(fields))


def _run(known: ModelSpec, fields: Mapping[str, int], options: Mapping[str, Any]) -> Run:
    from gptcalc.run.request import train

    run: Run = train(_spec(known, fields), tokens=1, **options)
    return run


def _candidate(known: ModelSpec, fields: dict[str, int], wanted: int, options: Mapping[str, Any]) -> Candidate:
    run, count = _run(known, fields, options), _count(known, fields)
    assert run.memory is not None
    settings = [word for name, value in fields.items() for word in ("--set", f"{name}={value}")]
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return Candidate(
        fields,
        count,
        abs(count - wanted) / wanted,
        run.tokens_per_second / run.count,
        run.mfu,
        run.memory["peak_allocated"],
        run.memory["fits"],
        f"gptcalc train {join([known.name, *settings, *words])}",
    )


def _unlucky(known: ModelSpec, best: Candidate, limits: Limits, options: Mapping[str, Any]) -> list[Unlucky]:
    """One number of the best shape changed into one that hardware does not like, each timed; those that cannot be are left out."""
    own, tp = best.fields, limits.tp
    rows = limits.vocabulary if limits.vocabulary % 8 else 50_257 if own["vocab_size"] < 2 * 50_257 else own["vocab_size"] + 1
    narrow = 108 if own["d_head"] != 108 else 100
    heads = _multiple_near(own["n_head"] * own["d_head"] / narrow, lcm(own["n_kv_head"], tp))
    inner = _inner(known)[0]
    changes = [
        ("vocabulary", {"vocab_size": rows}, "its rows are no multiple of 8: the head's matmuls copy them number by number"),
        ("head width", {"d_head": narrow, "n_head": heads}, "kernels of attention compute in widths of 64, 128, ...: the rest is padding"),
        ("inner width", {inner: own[inner] + tp}, "no multiple of 8"),
        ("width", {"d_model": own["d_model"] + 4}, "no multiple of 8"),
    ]
    found = []
    for name, fields, why in changes:
        try:
            run = _run(known, own | fields, options)
        except GptcalcError:  # this software, or this layout, has no such shape
            continue
        # each does about as much for a token as the best does: what is compared is the time of a FLOP
        slower = 1 - run.mfu / best.mfu
        found.append(Unlucky(f"{name} {next(iter(fields.values())):,}", why, fields, slower))
    return sorted(found, key=lambda one: -one.slower)


def _multiple_near(value: float, of: int) -> int:
    return max(1, round(value / of)) * of


def _none(known: ModelSpec, limits: Limits) -> tuple[str, str]:
    from gptcalc.units import short

    text = f"no shape like {known.name} has {short(limits.params)} parameters within {limits.within:.0%}"
    small = _count(known, {"n_layer": limits.pp, "vocab_size": _padded(limits.vocabulary, limits.tp)})
    if small > limits.params:
        return f"{text}: its vocabulary of {limits.vocabulary:,} alone takes more than is left", "give a smaller --vocab, or another --like"
    return text, f"give a wider --within, a smaller --multiple than {limits.multiple}, or other head widths (--d-head 64,80,96,128)"
