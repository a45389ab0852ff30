"""Scaling laws: how a fixed amount of compute is best split between parameters and tokens, and the loss that follows.

- `Parametric`: a loss of parameters and tokens, whose optimum follows. `Power`: an optimum fitted as a power of compute, without a loss.
- `LAWS`: those that `scale` shows side by side. `MIXTURE`: the one of mixtures of experts.

Letters: `C` training compute, FLOP; `N` parameters; `D` tokens. C = 6·N·D unless a law counts otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import ClassVar, Protocol

PF_DAY = 8.64e19
"""FLOP of one petaFLOP/s for a day."""

FAR = 10.0
"""So many times outside the compute that a law was fitted on, what it says is an extrapolation that must be marked."""


class Law(Protocol):
    """What `scale` asks of a law. N counts what `counts` says."""

    @property
    def name(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def counts(self) -> str: ...
    @property
    def fitted(self) -> tuple[float, float]: ...
    @property
    def note(self) -> str: ...
    def optimum(self, flops: float) -> tuple[float, float]: ...
    def flops_of_params(self, params: float) -> float: ...
    def flops_of_tokens(self, tokens: float) -> float: ...
    def loss(self, params: float, tokens: float) -> float | None: ...


@dataclass(frozen=True)
class Parametric:
    """L(N, D) = E + A/N^alpha + B/D^beta, and the optimum that follows from it for C = 6·N·D.

    Source: Hoffmann et al. 2022 (Chinchilla), arXiv:2203.15556, equations 2 to 4.

    >>> round(BESIROGLU.optimum(5.76e23)[0] / 1e9)  # billions; Besiroglu et al. print about 20 tokens a parameter at Chinchilla's compute
    72
    """

    name: str
    source: str
    E: float
    A: float
    B: float
    alpha: float
    beta: float
    fitted: tuple[float, float]
    note: str = ""
    counts: ClassVar[str] = "all parameters"

    @property
    def exponent(self) -> float:
        """Of compute in the best N: beta / (alpha + beta)."""
        return self.beta / (self.alpha + self.beta)

    @property
    def _g(self) -> float:
        return float((self.alpha * self.A / (self.beta * self.B)) ** (1 / (self.alpha + self.beta)))

    def optimum(self, flops: float) -> tuple[float, float]:
        """The parameters and tokens of least loss for this compute, FLOP."""
        params = self._g * (flops / 6) ** self.exponent
        return params, flops / (6 * params)

    def flops_of_params(self, params: float) -> float:
        """The compute, FLOP, whose optimum has so many parameters."""
        return float(6 * (params / self._g) ** (1 / self.exponent))

    def flops_of_tokens(self, tokens: float) -> float:
        """The compute, FLOP, whose optimum has so many tokens."""
        return float(6 * (tokens * self._g) ** (1 / (1 - self.exponent)))

    def loss(self, params: float, tokens: float) -> float:
        """Nats a token, on the data that the law was fitted on."""
        return float(self.E + self.A / params**self.alpha + self.B / tokens**self.beta)

    def tokens_of_loss(self, params: float, loss: float) -> float | None:
        """The tokens after which a model of this size reaches a loss; None where it never does."""
        left = loss - self.E - self.A / params**self.alpha
        return float((self.B / left) ** (1 / self.beta)) if left > 0 else None


@dataclass(frozen=True)
class Power:
    """N = k·(C/unit)^a and D = C / (6·N): an optimum that was fitted as a line in logarithms.

    >>> round(KAPLAN.optimum(PF_DAY)[0] / 1e9, 2)
    1.3
    """

    name: str
    source: str
    k: float
    a: float
    fitted: tuple[float, float]
    unit: float = 1.0
    counts: str = "all parameters"
    note: str = ""

    def optimum(self, flops: float) -> tuple[float, float]:
        """The parameters and tokens of least loss for this compute, FLOP."""
        params = self.k * (flops / self.unit) ** self.a
        return params, flops / (6 * params)

    def flops_of_params(self, params: float) -> float:
        """The compute, FLOP, whose optimum has so many parameters."""
        return float(self.unit * (params / self.k) ** (1 / self.a))

    def flops_of_tokens(self, tokens: float) -> float:
        """The compute, FLOP, whose optimum has so many tokens."""
        return float((6 * self.k * tokens / self.unit**self.a) ** (1 / (1 - self.a)))

    def loss(self, params: float, tokens: float) -> None:
        """None: the line says where the least loss is, not what it is."""


@dataclass(frozen=True)
class DeepSeek:
    """M = 0.1715·C^0.5243 and D = C / M, where M is the FLOP a token takes without embeddings: 72·L·d² + 12·L·d·T.

    A law in M needs a shape to name parameters: here L = 30·(d/4096)^1.6630, the line through DeepSeek's 7B (30 layers, 4,096 wide) and
    67B (95, 8,192), at their sequence of 4,096 tokens; N = 12·L·d².

    Source: DeepSeek-AI 2024 (DeepSeek LLM), arXiv:2401.02954, section 3.2, equations 2 to 4.

    >>> law = DeepSeek()
    >>> f"{law.flops_per_token(4.5e23):.3g}"  # theirs: 4.3e11 for the compute of the 67B
    '4.32e+11'
    """

    name: str = "deepseek-2024"
    source: str = "DeepSeek-AI 2024 (DeepSeek LLM), arXiv:2401.02954, section 3.2"
    fitted: tuple[float, float] = (1e17, 3e20)
    counts: str = "without embeddings, in DeepSeek's shapes"
    note: str = "the better the data, the larger the model: exponents 0.450 on their early data, 0.524 here, 0.578 on OpenWebText2"
    k: float = 0.1715
    a: float = 0.5243
    seq: int = 4096

    def flops_per_token(self, flops: float) -> float:
        """M, FLOP a token, forward and backward, of the best model for this compute."""
        return float(self.k * flops**self.a)

    def optimum(self, flops: float) -> tuple[float, float]:
        """The parameters and tokens of least loss for this compute, FLOP."""
        m = self.flops_per_token(flops)
        return self._params(m), flops / m

    def flops_of_params(self, params: float) -> float:
        """The compute, FLOP, whose optimum has so many parameters."""
        width = self._width(lambda d: 12 * self._layers(d) * d**2, params)
        return float(((72 * self._layers(width) * width**2 + 12 * self._layers(width) * width * self.seq) / self.k) ** (1 / self.a))

    def flops_of_tokens(self, tokens: float) -> float:
        """The compute, FLOP, whose optimum has so many tokens."""
        return float((self.k * tokens) ** (1 / (1 - self.a)))

    def loss(self, params: float, tokens: float) -> None:
        """None: the law says where the least loss is, not what it is."""

    def _params(self, m: float) -> float:
        width = self._width(lambda d: 72 * self._layers(d) * d**2 + 12 * self._layers(d) * d * self.seq, m)
        return 12 * self._layers(width) * width**2

    @staticmethod
    def _layers(width: float) -> float:
        return float(30 * (width / 4096) ** (log(95 / 30) / log(2)))

    @staticmethod
    def _width(rising: Callable[[float], float], wanted: float) -> float:
        low, high = 1e-3, 1e9
        for _ in range(200):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if rising(middle) < wanted else (low, middle)
        return low


@dataclass(frozen=True)
class Mixture:
    """Fine-grained mixtures of 64 times as many expert parameters: L = c + (g/G^gamma + a)/N^alpha + b/D^beta, G experts where one was.

    N counts the parameters of the blocks, `active` those that a token passes; the blocks are 64 times as wide as deep, and their FLOP
    include the router's: (12·d²·6 + d·64·G·14)·D·blocks.

    Source: Krajewski et al. 2024, arXiv:2402.07871, equations 9 and 10, Tables 1 and 2.

    >>> round(MIXTURE.loss(1e9, 28.94e9, 16), 2)  # Table 2: 2.491; exponents are printed to three places
    2.47
    """

    name: str = "krajewski-2024"
    source: str = "Krajewski et al. 2024, arXiv:2402.07871, Tables 1 and 2; the range it was fitted on from memory"
    fitted: tuple[float, float] = (1e18, 2e20)
    expansion: int = 64

    def loss(self, active: float, tokens: float, granularity: float) -> float:
        """Nats a token of a mixture with so many active parameters, whose experts are split in so many."""
        total = active * (8 * self.expansion + 4) / 12
        return float(0.47 + (2.1 / granularity**0.58 + 18.1) / total**0.115 + 30.8 / tokens**0.147)

    def flops(self, active: float, tokens: float, granularity: float) -> float:
        """FLOP of the training, the router's included."""
        blocks = (active / (12 * 64**2)) ** (1 / 3)
        width = 64 * blocks
        return float((12 * width**2 * 6 + width * self.expansion * granularity * 14) * tokens * blocks)

    def optimum(self, flops: float) -> tuple[float, float, int]:
        """Active parameters, tokens and granularity of least loss for this compute, FLOP."""
        best = min((self._best(flops, 2**power) for power in range(8)), key=lambda found: found[0])
        return best[1:]

    def _best(self, flops: float, granularity: int) -> tuple[float, float, float, int]:
        def at(log_active: float) -> tuple[float, float, float, int]:
            active = float(10**log_active)
            tokens = flops / self.flops(active, 1.0, granularity)
            return self.loss(active, tokens, granularity), active, tokens, granularity

        return at(minimum(lambda x: at(x)[0], 3.0, 16.0))


def minimum(of: Callable[[float], float], low: float, high: float) -> float:
    """Where a function of one valley is least, by golden sections.

    >>> round(minimum(lambda x: (x - 2) ** 2, 0.0, 5.0), 6)
    2.0
    """
    golden = (5**0.5 - 1) / 2
    a, b = high - golden * (high - low), low + golden * (high - low)
    at_a, at_b = of(a), of(b)
    for _ in range(100):
        if at_a < at_b:
            high, b, at_b = b, a, at_a
            a = high - golden * (high - low)
            at_a = of(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + golden * (high - low)
            at_b = of(b)
    return (low + high) / 2


CHINCHILLA = "Hoffmann et al. 2022 (Chinchilla), arXiv:2203.15556"
CHINCHILLA_RANGE = (6e18, 3e21)
"""FLOP of the nine IsoFLOP profiles (section 3.2); approaches 1 and 3 are of the same runs."""

BESIROGLU = Parametric(
    "besiroglu-2024",
    "Besiroglu et al. 2024, arXiv:2404.10102, Table 1",
    E=1.8172,
    A=482.01,
    B=2085.43,
    alpha=0.3478,
    beta=0.3658,
    fitted=CHINCHILLA_RANGE,
    note="Chinchilla's approach 3, fitted again on the points of its figure: it agrees with approaches 1 and 2",
)
HOFFMANN_3 = Parametric(
    "chinchilla-3",
    f"{CHINCHILLA}, approach 3; exponents as its source text has them",
    E=1.6934,
    A=406.4,
    B=410.7,
    alpha=0.3392,
    beta=0.2849,
    fitted=CHINCHILLA_RANGE,
    note="the printed 0.34 and 0.28 are rounded too far: they move a 70B model from 4.6T tokens to 7.7T",
)
HOFFMANN_1 = Power(
    "chinchilla-1",
    f"{CHINCHILLA}, approach 1: the line through Table 3's smallest and largest row",
    k=4e8 / 1.92e19 ** (log(1e13 / 4e8) / log(1.3e28 / 1.92e19)),
    a=log(1e13 / 4e8) / log(1.3e28 / 1.92e19),
    fitted=CHINCHILLA_RANGE,
    note="the least loss over training curves",
)
HOFFMANN_2 = Power(
    "chinchilla-2",
    f"{CHINCHILLA}, approach 2: the line through Table A3's smallest and largest row",
    k=4e8 / 1.84e19 ** (log(1e13 / 4e8) / log(1.75e28 / 1.84e19)),
    a=log(1e13 / 4e8) / log(1.75e28 / 1.84e19),
    fitted=CHINCHILLA_RANGE,
    note="the valleys of IsoFLOP profiles",
)
LLAMA3 = Power(
    "llama3-2024",
    "Llama Team 2024 (The Llama 3 Herd of Models), arXiv:2407.21783, section 3.2.1: D = 0.299·C^0.537, the figure's constants",
    k=1 / (6 * 0.299),
    a=1 - 0.537,
    fitted=(6e18, 1e22),
    note="the text's rounded 0.29 and 0.53 would give 37 % fewer tokens than the 16.55T it prints for 3.8e25",
)
KAPLAN = Power(
    "kaplan-2020",
    "Kaplan et al. 2020, arXiv:2001.08361, Table 6: N = 1.3e9·C^0.73, C in PF-days",
    k=1.3e9,
    a=0.73,
    fitted=(6 * 768 * 22e6, 6 * 1.5e9 * 23e9),
    unit=PF_DAY,
    counts="without embeddings",
    note="history: one learning-rate schedule for all lengths, no embeddings, no last layer (Porian et al. 2024, arXiv:2406.19146)",
)
DEEPSEEK = DeepSeek()
MIXTURE = Mixture()

DEFAULT = BESIROGLU.name
LAWS: tuple[Law, ...] = (BESIROGLU, HOFFMANN_1, HOFFMANN_2, HOFFMANN_3, LLAMA3, DEEPSEEK, KAPLAN)


def beyond(law: Law | Mixture, flops: float) -> float | None:
    """How many times the compute is outside the range that a law was fitted on; None within ten times.

    >>> round(beyond(BESIROGLU, 3e25)), beyond(BESIROGLU, 1e22)
    (10000, None)
    """
    low, high = law.fitted
    times = max(flops / high, low / flops)
    return times if times > FAR else None
