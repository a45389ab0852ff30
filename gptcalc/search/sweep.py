"""`sweep`: many variants of a model, a recipe, a layout or a request side by side; what cannot be is refused point by point.

- `sweep`: what varies and what is shown, and the answer: columns. What may vary stands in `varied`, what may be shown in `measures`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.node import plain
from gptcalc.search.measures import MEASURES, QUESTIONS, USUAL, Question, read_shown, refused_places
from gptcalc.search.varied import fields_of_models, read_vary
from gptcalc.shown import frame, shown
from gptcalc.spec.fields import options_of
from gptcalc.spec.plan import AdapterOptions

if TYPE_CHECKING:
    from gptcalc.spec.model import ModelSpec

Progress = Callable[[str, int, int], None]


class Refusal(NamedTuple):
    """Why a point, or some measures of it, have no answer."""

    message: str
    hint: str | None


@shown
@dataclass(frozen=True)
class Variants:
    """The answer. `columns`: the values of each varied field, then of each measure, a list each with a place for every point, the last
    field varying fastest; None where the point was refused. `refused`: the refusal of each such point, by its place.

    Units: those of `measures.MEASURES`: seconds, bytes, USD, shares.
    """

    model: str
    varied: tuple[str, ...]
    shown: tuple[str, ...]
    held: Mapping[str, Any]
    columns: Mapping[str, list[Any]]
    refused: Mapping[int, Refusal]
    asked: int
    interrupted: bool = False
    by: str | None = None
    order: tuple[int, ...] = field(default=())

    @property
    def value(self) -> int:
        """Points that have an answer."""
        return self.size - len(self.refused)

    @property
    def size(self) -> int:
        """Points that were reached: all, unless it was interrupted."""
        return len(self.columns[self.varied[0]])

    def __len__(self) -> int:
        return self.size

    def __repr__(self) -> str:
        return f"Variants({self.model}, {self.size:,} points of {', '.join(self.varied)}, {len(self.refused):,} refused)"

    def reasons(self) -> list[tuple[str, int]]:
        """The first of each kind of refusal, those that differ in their numbers alone, the most frequent kind first; how many there are."""
        first: dict[str, str] = {}
        counted: Counter[str] = Counter()
        for one in self.refused.values():
            kind = re.sub(r"\d[\d,.]*", "", one.message)
            first.setdefault(kind, one.message)
            counted[kind] += 1
        return [(first[kind], count) for kind, count in counted.most_common()]

    def point(self, at: int) -> dict[str, Any]:
        """The varied fields of one place."""
        return {name: self.columns[name][at] for name in self.varied}

    def to_list(self) -> list[dict[str, Any]]:
        """A row for each point: its fields, its measures, and `refused`, the message where it was."""
        names = (*self.varied, *self.shown)
        why = {at: one.message for at, one in self.refused.items()}
        return [{name: self.columns[name][at] for name in names} | {"refused": why.get(at)} for at in self.places()]

    to_dict = to_list

    def places(self) -> Iterator[int]:
        """In the order that was asked for."""
        return iter(self.order or range(self.size))

    def to_frame(self) -> Any:
        """A pandas DataFrame, a row for each point; GptcalcError where pandas is not installed."""
        return frame(self)

    def to_parquet(self, path: str) -> None:
        """Writes a row for each point, and the message of those that were refused.

        Raises GptcalcError where pyarrow is not installed, and for a file that cannot be written.
        """
        try:
            import pyarrow  # type: ignore[import-not-found, import-untyped, unused-ignore]
            import pyarrow.parquet  # type: ignore[import-not-found, import-untyped, unused-ignore]
        except ImportError:
            raise GptcalcError("Parquet needs pyarrow, which is not installed", hint="pip install 'gptcalc[parquet]'") from None
        order = list(self.places())
        names = (*self.varied, *self.shown)
        columns = {name: [_as_float_beyond(self.columns[name][at]) for at in order] for name in names}
        columns["refused"] = [self.refused[at].message if at in self.refused else None for at in order]
        try:
            pyarrow.parquet.write_table(pyarrow.table(columns), path)
        except OSError as error:
            raise GptcalcError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from None


def _as_float_beyond(value: Any) -> Any:
    """Whole numbers that 64 bits do not hold as floats."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63 else value


def sweep(
    model: Any,
    *,
    vary: Any = None,
    show: Any = USUAL,
    by: str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Variants:
    """Every combination of some fields' values, and what is shown of each: a `Variants`, whose columns and rows (`to_list`) have them all.

    `vary`: fields of the model, the recipe, the layout or the request with their values: `{"n_layer": "12..96:12", "tp": [1, 2, 4]}`, or
    texts "tp=1..8" (doubling). `show`: measures, see `measures.MEASURES`. `by`: the measure whose best points come first, those that do not
    fit last where `fits` is shown. `options`: those of `train`, `memory` and `infer` that stay as they are. A point that cannot be is
    refused by name, and the others are answered.

    Units: those of the measures: seconds, bytes, USD, shares.   Raises: GptcalcError for fields and measures that there are not, ranges
    that are empty, options that nothing that is shown reads, and more than 1e6 points.
    Source: `params`, `flops`, `memory`, `train` and `infer`, whose answers all are.

    >>> found = sweep("gpt2", vary={"n_layer": "12..48:12", "d_model": [768, 800]}, show="params")
    >>> found.columns["params"][0], found.reasons()
    (124439808, [('d_model 800 is not a multiple of n_head 12', 4)])
    """
    from gptcalc.spec.files import as_model

    varied, measures = read_vary(vary), read_shown(show)
    if by is not None and by not in measures:
        measures = (*measures, *read_shown(by))
    spec = as_model(model)
    given = {name: value for name, value in options.items() if value is not None and value != ()}
    held = {"device": "h100-80gb"} | given
    questions = {name: tuple(one for one in measures if MEASURES[one].question == name) for name in QUESTIONS}
    questions = {name: own for name, own in questions.items() if own}
    _check_timed(varied, given, list(questions))
    _check_read(varied, given, list(questions))
    size = prod(len(values) for values in varied.values())
    columns: dict[str, list[Any]] = dict(zip(varied, map(list, zip(*product(*varied.values()), strict=True)), strict=True))
    refused: dict[int, Refusal] = {}
    reached = size
    interrupted = False
    total = sum(_own_size(QUESTIONS[name], varied) for name in questions)
    done = 0
    for name, own in questions.items():
        found = _Found(QUESTIONS[name], varied, own)
        try:
            for more in _answer(found, spec, held):
                done += more
                if progress:
                    progress(f"points of {spec.name}", done, total)
        except KeyboardInterrupt:
            interrupted = True
        reached = min(reached, found.spread(columns, refused))
    if interrupted:
        columns = {name: values[:reached] for name, values in columns.items()}
        refused = {at: one for at, one in refused.items() if at < reached}
    answer = Variants(spec.name, tuple(varied), measures, held, columns, dict(sorted(refused.items())), size, interrupted)
    return answer if by is None else _ordered(answer, by)


def _ordered(answer: Variants, by: str) -> Variants:
    from dataclasses import replace

    sign = MEASURES[by].better or -1
    values, fits = answer.columns[by], answer.columns.get("fits")

    def last(at: int) -> tuple[int, float]:
        value = values[at]
        return (2, 0.0) if value is None else (int(fits is not None and fits[at] is False), -sign * float(value))

    return replace(answer, by=by, order=tuple(sorted(range(answer.size), key=last)))


def _check_read(varied: Mapping[str, Any], given: Mapping[str, Any], questions: list[str]) -> None:
    """Raises GptcalcError for an option that changes nothing that is shown."""
    of_models = set(fields_of_models())
    read = set().union(*(QUESTIONS[name].reads for name in questions))
    for name in (*varied, *given):
        if name not in read and not (name in varied and name in of_models):
            able = [one for one, question in QUESTIONS.items() if name in question.reads]
            more = [measure for measure, own in MEASURES.items() if own.question in able]
            if not able:
                raise GptcalcError(f"a sweep has no option '{name}'", hint="see 'gptcalc sweep --help'")
            raise GptcalcError(f"{name} changes nothing that is shown", hint=f"--show {', '.join(more[:4])} ... would read it")


def _check_timed(varied: Mapping[str, Any], given: Mapping[str, Any], questions: list[str]) -> None:
    """Raises GptcalcError for an option that changes what a step takes, and that its time is not known with."""
    if "train" in questions:
        for name in (*varied, *given):
            if name in options_of(AdapterOptions) and name not in QUESTIONS["train"].reads:
                raise GptcalcError(f"the time of a step with {name} is not known here", hint="--show memory,left,fits has its memory alone")


def _own(question: Question, varied: Mapping[str, tuple[Any, ...]]) -> list[str]:
    """The varied fields that a question's answer depends on."""
    of_models = set(fields_of_models())
    return [name for name in varied if name in question.reads or (name in of_models and name not in OPTIONS)]


OPTIONS = frozenset().union(*(question.reads for question in QUESTIONS.values()))


def _own_size(question: Question, varied: Mapping[str, tuple[Any, ...]]) -> int:
    return prod(len(varied[name]) for name in _own(question, varied))


class _Found:
    """What one question says of every combination of the fields that it depends on, the others left out."""

    def __init__(self, question: Question, varied: Mapping[str, tuple[Any, ...]], shown: tuple[str, ...]) -> None:
        of_models = set(fields_of_models()) - OPTIONS
        own = _own(question, varied)
        self.question, self.varied, self.shown = question, varied, shown
        self.models = [name for name in own if name in of_models]
        self.arrays = [name for name in own if name in question.arrays and all(_number(value) for value in varied[name])]
        self.words = [name for name in own if name not in self.models and name not in self.arrays]
        self.axes = [*self.models, *self.words, *self.arrays]
        self.values: dict[str, list[Any]] = {name: [] for name in shown}
        self.refused: dict[int, Refusal] = {}

    @property
    def block(self) -> int:
        """Points that arrays answer together."""
        return prod(len(self.varied[name]) for name in self.arrays)

    def refuse(self, error: GptcalcError) -> None:
        self.refused[self.reached] = Refusal(str(error), error.hint)
        for values in self.values.values():
            values.append(None)

    @property
    def reached(self) -> int:
        return len(next(iter(self.values.values())))

    def spread(self, columns: dict[str, list[Any]], refused: dict[int, Refusal]) -> int:
        """Writes the answers to every point that has them; and how many points, from the first, were all reached."""
        strides = {}
        step = 1
        for name in reversed(self.axes):
            strides[name] = step
            step *= len(self.varied[name])
        places = [0]
        for name, values in self.varied.items():
            stride = strides.get(name, 0)
            places = [place + stride * number for place in places for number in range(len(values))]
        whole = self.reached == step
        for name, own in self.values.items():
            columns[name] = own if whole and places == list(range(step)) else [own[at] if at < len(own) else None for at in places]
        if self.refused:
            for at, place in enumerate(places):
                if place in self.refused:
                    refused.setdefault(at, self.refused[place])
        return len(places) if whole else next(at for at, place in enumerate(places) if place >= self.reached)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _answer(found: _Found, spec: ModelSpec, held: Mapping[str, Any]) -> Iterator[int]:
    """Answers a question for every combination; each step is so many points."""
    reads = found.question.reads
    own = {name: value for name, value in held.items() if name in reads}
    for sizes in product(*(found.varied[name] for name in found.models)):
        try:
            model = _changed(spec, dict(zip(found.models, sizes, strict=True)))
        except GptcalcError as error:
            count = found.block * prod(len(found.varied[name]) for name in found.words)
            for _ in range(count):
                found.refuse(error)
            yield count
            continue
        for words in product(*(found.varied[name] for name in found.words)):
            options = own | dict(zip(found.words, words, strict=True))
            if found.arrays:
                yield from _of_arrays(found, model, options)
            else:
                _of_one(found, model, options)
                yield 1


def _changed(spec: ModelSpec, fields: dict[str, Any]) -> ModelSpec:
    """The model with other fields, as --set reads them."""
    if not fields:
        return spec
    from gptcalc.spec.files import load_model

    kept = {name: getattr(spec, name) for name in spec.model_fields_set if name != "published"}
    return load_model(kept, fields)


def _of_one(found: _Found, model: ModelSpec, options: dict[str, Any]) -> None:
    try:
        answers = found.question.of(model, dict(options), found.shown)
    except GptcalcError as error:
        found.refuse(error)
        return
    for name, values in found.values.items():
        values.append(plain(answers[name]))


PART = 100_000
"""Places of arrays that are answered at once, between two moves of the bar."""


def _of_arrays(found: _Found, model: ModelSpec, options: dict[str, Any]) -> Iterator[int]:
    import numpy as np

    grids = np.meshgrid(*(np.asarray(found.varied[name], dtype=np.float64) for name in found.arrays), indexing="ij")
    columns = {name: grid.ravel() for name, grid in zip(found.arrays, grids, strict=True)}
    for start in range(0, found.block, PART):
        part = {name: column[start : start + PART] for name, column in columns.items()}
        size = min(PART, found.block - start)
        answers, refused = _many(found, model, options, part, size)
        for at in range(size):
            if at in refused:
                found.refuse(refused[at])
            else:
                for name, values in found.values.items():
                    values.append(answers[name][at])
        yield size


def _many(
    found: _Found, model: ModelSpec, options: dict[str, Any], columns: dict[str, Any], size: int
) -> tuple[dict[str, list[Any]], dict[int, GptcalcError]]:
    """The answers of arrays, place by place, without those that break a rule; those that are refused otherwise are looked for in halves."""
    import numpy as np

    refused = {}
    if set(columns) & set(RULED):
        try:
            refused = refused_places(model, options | columns)
        except GptcalcError:  # of no place in particular: each says so below
            refused = {}
    answers: dict[str, list[Any]] = {name: [None] * size for name in found.shown}
    left = [np.asarray([at for at in range(size) if at not in refused], dtype=np.int64)]
    while left:
        here = left.pop()
        if not here.size:
            continue
        own = {name: column[here] for name, column in columns.items()}
        if here.size == 1:
            own = {name: plain(column[0]) for name, column in own.items()}
            own = {name: int(value) if float(value).is_integer() else value for name, value in own.items()}
        try:
            with np.errstate(all="ignore"):
                part = found.question.of(model, options | own, found.shown)
        except GptcalcError as error:
            if here.size == 1:
                refused[int(here[0])] = error
            else:
                left += [here[: here.size // 2], here[here.size // 2 :]]
            continue
        for name in found.shown:
            for at, value in zip(here.tolist(), _listed(part[name], here.size, MEASURES[name].unit), strict=True):
                answers[name][at] = value
    return answers, refused


RULED = ("tp", "pp", "dp", "cp", "ep", "virtual_stages", "count", "batch", "seq", "global_batch")


WHOLE = ("bytes", "steps", "parameters")


def _listed(value: Any, size: int, unit: str) -> list[Any]:
    if not getattr(value, "shape", ()):
        return [plain(value)] * size
    found: list[Any] = value.tolist()
    return [int(one) if one.is_integer() else one for one in found] if unit in WHOLE else found
