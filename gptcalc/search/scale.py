"""`scale`: compute-optimal sizes by every law side by side, from FLOP, from money, from parameters or from tokens.

- `scale`: one row a law. `rates`: batch and learning rate by the rules beside each other.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.search.laws import DEFAULT, LAWS, MIXTURE, Law, Parametric, beyond
from gptcalc.search.repeated import REPEATED, served
from gptcalc.shown import frame, shown
from gptcalc.units import parse_number

MFU = 0.4
"""The utilization that a budget is turned into FLOP with where none is stated: what Llama 3 405B reached (38 to 43 %, its Table 4)."""

HOUR = 3600


class Optimum(NamedTuple):
    """What one law says. FLOP, parameters, tokens, nats a token; None where the law does not say it.

    `flops` differs from law to law where parameters or tokens were given; `beyond` is how many times outside its data a law was asked,
    None within ten times; `serving` and `repeated` only where they were asked for.
    """

    law: str
    default: bool
    parameters: float
    tokens: float
    tokens_per_parameter: float
    flops: float
    loss: float | None
    counts: str
    fitted: tuple[float, float]
    beyond: float | None
    note: str
    source: str
    granularity: int | None = None
    repeated: dict[str, float] | None = None
    serving: dict[str, float] | None = None


class Rate(NamedTuple):
    """A rule for batch, tokens, and learning rate; None where it gives none."""

    rule: str
    batch_tokens: float | None
    learning_rate: float | None
    fitted: str
    source: str


class Money(NamedTuple):
    """What a budget buys. FLOP, hours, USD per device and hour, seconds on `count` devices."""

    budget: float
    device: str
    price: float
    mfu: float
    peak: float
    device_hours: float
    flops: float
    devices: int | None
    time: float | None


@shown
class Scale(NamedTuple):
    """One optimum a law, the default first; rules of batch and rate for its size; what the money bought, where money was given."""

    optima: list[Optimum]
    rates: list[Rate]
    money: Money | None
    start: str  # which of the four was given
    inputs: dict[str, Any]

    def to_frame(self) -> Any:
        """A pandas DataFrame of the parts; GptcalcError where pandas is not installed."""
        return frame(self)

    @property
    def value(self) -> float:
        """The parameters of the default law's optimum."""
        return self.optima[0].parameters

    def to_list(self) -> list[dict[str, Any]]:
        """The JSON's `result`: a row a law, and with money what it bought in each."""
        bought = {} if self.money is None else {"money": self.money._asdict()}
        rules = {"rates": [one._asdict() for one in self.rates]}
        return [one._asdict() | {"fitted": list(one.fitted)} | (bought | rules if one.default else {}) for one in self.optima]


def scale(
    *,
    flops: Any = None,
    budget: Any = None,
    params: Any = None,
    tokens: Any = None,
    device: str = "h100-80gb",
    count: Any = None,
    price: Any = None,
    mfu: Any = None,
    precision: str = "bf16",
    unique_tokens: Any = None,
    serve_tokens: Any = None,
    experts: bool = False,
) -> Scale:
    """Compute-optimal parameters, tokens and loss by each law, from exactly one of `flops`, `budget`, `params` and `tokens`.

    `budget` (USD) becomes FLOP by the device's price an hour, its dense peak and `mfu`. `unique_tokens`: what there is to train on once.
    `serve_tokens`: what the model will serve after training. `experts`: a law for mixtures of experts beside the dense ones.

    Units: FLOP, parameters, tokens, nats a token, USD, hours, seconds.   Raises: GptcalcError for none or several of the four, and for
    numbers out of bounds.   Source: each law's own.

    >>> [round(one.parameters / 1e9) for one in scale(flops=5.76e23).optima[:2]]
    [72, 68]
    """
    given = {"flops": flops, "budget": budget, "params": params, "tokens": tokens}
    asked = [name for name, value in given.items() if value is not None]
    if len(asked) != 1:
        said = "none of them is" if not asked else f"{' and '.join(asked)} are"
        raise GptcalcError(f"scale starts from one of flops, budget, params and tokens: {said} given", hint="for example --flops 1e24")
    start = asked[0]
    value = _positive(start, given[start])
    unique = None if unique_tokens is None else _positive("unique tokens", unique_tokens)
    serve = None if serve_tokens is None else _positive("serve tokens", serve_tokens)
    if start != "budget" and (count, price, mfu) != (None, None, None):
        raise GptcalcError("count, price and mfu say what a budget buys: they change nothing without one", hint="give --budget 2M")
    money = _bought(value, device, count, price, mfu, precision) if start == "budget" else None
    optima = [_optimum(law, start, money.flops if money else value, unique, serve) for law in LAWS]
    if experts:
        optima.append(_mixture(start, money.flops if money else value))
    best = optima[0]
    inputs = {**given, "unique_tokens": unique, "serve_tokens": serve, "experts": experts} | {start: value}
    if money:
        inputs |= {"device": money.device, "count": money.devices, "price": money.price, "mfu": money.mfu, "precision": precision}
    return Scale(optima, rates(best.parameters, best.tokens, best.flops), money, start, inputs)


def rates(params: float, tokens: float, flops: float) -> list[Rate]:
    """Batch, tokens, and learning rate by four rules.

    Source: each rule's own.

    >>> [round(one.learning_rate, 7) for one in rates(7e9, 2e12, 8.4e22)][0]  # Step law, N = 7e9 and D = 2e12
    0.0010226
    """
    return [
        Rate(
            "step-law-2025",
            0.58 * tokens**0.571,
            1.79 * params**-0.713 * tokens**0.307,
            "60 M to 1 B parameters, up to 100 B tokens",
            "Li et al. 2025 (Step law), arXiv:2503.04715; N without the vocabulary",
        ),
        Rate(
            "deepseek-2024",
            0.2920 * flops**0.3271,
            0.3118 * flops**-0.1250,
            "1e17 to 2e19 FLOP",
            "DeepSeek-AI 2024 (DeepSeek LLM), arXiv:2401.02954, section 3.1",
        ),
        Rate("moonlight-2025", 0.0065 * flops**0.4138, 0.0127 * flops**-0.057, "not read", "Liu et al. 2025 (Moonlight), arXiv:2502.16982"),
    ]


def _positive(name: str, value: Any) -> float:
    number = float(parse_number(value))
    if not 1 <= number <= 1e30:
        raise GptcalcError(f"{name} must be 1 or more, not {value}")
    return number


def _bought(budget: float, device: str, count: Any, price: Any, mfu: Any, precision: str) -> Money:
    from gptcalc.money import cost_of
    from gptcalc.ranges import check_range, exactly, read_range, whole
    from gptcalc.spec.device import load_device
    from gptcalc.time.chip import chip_of

    chip = load_device(device)
    usd = cost_of(exactly(1.0), chip, price=price).inputs.get("price")
    if usd is None:
        raise GptcalcError(f"the catalogue has no price for {chip.name}", hint="give --price USD_PER_HOUR")
    use = check_range(read_range(MFU if mfu is None else mfu, "mfu"), "mfu", upto=1.0)
    peak = chip_of(chip).peak(precision)
    hours = budget / usd.likely
    devices = None if count is None else whole(count, "count")
    time = None if devices is None else hours / devices * HOUR
    return Money(budget, chip.name, usd.likely, use.likely, peak, hours, hours * HOUR * peak * use.likely, devices, time)


def _optimum(law: Law, start: str, value: float, unique: float | None, serve: float | None) -> Optimum:
    if start == "params":
        compute = law.flops_of_params(value)
    elif start == "tokens":
        compute = law.flops_of_tokens(value)
    else:
        compute = value
    params, tokens = law.optimum(compute)
    default = law.name == DEFAULT
    repeated = serving = None
    if default and unique is not None:
        n, d = REPEATED.optimum(compute, unique)
        loss = REPEATED.loss(n, d, unique)
        repeated = {"unique_tokens": unique, "parameters": n, "tokens": d, "epochs": d / unique, "loss": loss}
    if serve is not None and isinstance(law, Parametric):
        serving = {"serve_tokens": serve, **served(law, params, tokens, serve)._asdict()}
    return Optimum(
        law=law.name,
        default=default,
        parameters=params,
        tokens=tokens,
        tokens_per_parameter=tokens / params,
        flops=compute,
        loss=law.loss(params, tokens),
        counts=law.counts,
        fitted=law.fitted,
        beyond=beyond(law, compute),
        note=law.note,
        source=law.source,
        repeated=repeated,
        serving=serving,
    )


def _mixture(start: str, value: float) -> Optimum:
    if start not in ("flops", "budget"):
        raise GptcalcError("the law of experts starts from compute", hint="give --flops or --budget with --experts")
    active, tokens, granularity = MIXTURE.optimum(value)
    return Optimum(
        law=MIXTURE.name,
        default=False,
        parameters=active,
        tokens=tokens,
        tokens_per_parameter=tokens / active,
        flops=value,
        loss=MIXTURE.loss(active, tokens, granularity),
        counts="active parameters of the blocks, of 64 times as many in experts",
        fitted=MIXTURE.fitted,
        beyond=beyond(MIXTURE, value),
        note="",
        source=MIXTURE.source,
        granularity=granularity,
    )
