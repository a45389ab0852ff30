"""What changes a compute-optimal size: tokens that are seen more than once, and tokens that are served after training.

- `Repeated`: the loss where unique tokens run out (Muennighoff 2023).
- `served`: the cheapest model of a quality once the tokens that it will serve are counted (Sardana 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log10
from typing import NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.search.laws import Parametric, minimum


@dataclass(frozen=True)
class Repeated:
    """L = E + A/N'^alpha + B/D'^alpha, where repeated tokens and the parameters beyond what they can teach count for ever less.

    D' = U·(1 + R_D·(1 - exp(-r/R_D))), r = D/U - 1 epochs beyond the first; N' alike, from the size that is best for U tokens alone.

    Source: Muennighoff et al. 2023, arXiv:2305.16264, equations 5 and 6; constants of the authors' code.

    >>> REPEATED.loss(6.34e9, 242e9, 25e9)
    2.2256440889984477
    """

    log_a: float = 6.255414
    log_b: float = 7.3049974
    log_e: float = 0.6254804
    alpha: float = 0.3526596
    r_d: float = 15.387756
    r_n: float = 5.309743
    source: str = "Muennighoff et al. 2023, arXiv:2305.16264"

    def loss(self, params: float, tokens: float, unique: float) -> float:
        """Nats a token (on C4) of so many parameters trained on so many tokens, `unique` of them different."""
        seen = min(tokens, unique)
        enough = min(params, self._best_params(seen))
        data = seen + seen * self.r_d * (1 - exp(-(tokens / seen - 1) / self.r_d))
        model = enough + enough * self.r_n * (1 - exp(-(params / enough - 1) / self.r_n))
        return float(exp(self.log_e) + exp(self.log_a) / model**self.alpha + exp(self.log_b) / data**self.alpha)

    def optimum(self, flops: float, unique: float) -> tuple[float, float]:
        """The parameters and tokens of least loss for a compute, FLOP, and so many unique tokens."""
        log_params = minimum(lambda x: self.loss(10**x, flops / (6 * 10**x), unique), log10(flops) / 2 - 8, log10(flops) / 2 + 8)
        return 10**log_params, flops / (6 * 10**log_params)

    def _best_params(self, unique: float) -> float:
        g = (exp(self.log_a) / exp(self.log_b)) ** (1 / (2 * self.alpha))
        return float(unique * g**2)


REPEATED = Repeated()


class Served(NamedTuple):
    """The cheapest model of the same loss over its training and its serving; FLOP."""

    params: float
    tokens: float
    flops: float
    saved: float  # of the FLOP of the training-optimal model of that loss


def served(law: Parametric, params: float, tokens: float, serve_tokens: float) -> Served:
    """The model as good as one of `params` on `tokens` that takes the least FLOP to train and to serve: 6·N·D + 2·N·served.

    Raises GptcalcError where the loss cannot be reached with fewer parameters at all.

    Source: Sardana et al. 2023, arXiv:2401.00448, equation 3.

    >>> law = Parametric("chinchilla-3", "finer exponents", 1.69, 406.4, 410.7, 0.336, 0.283, (6e18, 3e21))
    >>> cheapest = served(law, 13e9, 577e9, 2e12)  # the paper: 7B on 2.1 times the tokens saves 17 %
    >>> round(cheapest.params / 1e9), round(cheapest.tokens / 577e9, 1), round(cheapest.saved, 2)
    (7, 2.2, 0.17)
    """
    loss = law.loss(params, tokens)

    def cost(log_params: float) -> float:
        n = 10**log_params
        needed = law.tokens_of_loss(n, loss)
        return float("inf") if needed is None else 6 * n * needed + 2 * n * serve_tokens

    least = log10((law.A / (loss - law.E)) ** (1 / law.alpha))
    found = minimum(cost, least + 1e-9, max(log10(params), least) + 1)
    needed = law.tokens_of_loss(10**found, loss)
    if needed is None:
        raise GptcalcError(f"no smaller model reaches a loss of {loss:.3f} by {law.name}")
    whole = cost(found)
    return Served(10**found, needed, whole, 1 - whole / (6 * params * tokens + 2 * params * serve_tokens))
