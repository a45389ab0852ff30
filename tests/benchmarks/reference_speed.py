"""The NumPy forward pass against its own bare matrix products: GPT-2 124M, one sequence of 1,024 tokens, float32. Wanted: at most 1.5x.

The bare products write into arrays that are already there; the forward pass returns 206 MB of logits in fresh memory, whose first touch
takes from 0.03 s to 0.4 s on a virtual machine: the second row has it too. The minimum of several rounds on an idle machine is the figure
that means something.

python tests/benchmarks/reference_speed.py [rounds]
"""

import sys
import time
from collections.abc import Callable

import numpy as np

from gptcalc.reference.forward import forward
from gptcalc.reference.tally import Tally
from gptcalc.reference.weights import random_weights
from gptcalc.spec.model import ModelSpec, parse_model

GPT2 = {"name": "gpt2", "n_layer": 12, "d_model": 768, "n_head": 12, "vocab_size": 50257, "n_ctx": 1024}
T = 1024


def bare_matmuls(spec: ModelSpec, *, fresh: bool = False) -> Callable[[], None]:
    """Every matrix product of the pass, and nothing else, into arrays that are there (but for logits that are `fresh`)."""
    d, H, V = spec.d_model, spec.n_head, spec.vocab_size

    def random(*shape: int) -> np.ndarray:
        return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)

    x, inner, logits = random(T, d), random(T, 4 * d), random(T, V)
    square, up, down, head = random(d, d), random(d, 4 * d), random(4 * d, d), random(d, V)
    q, k, v, scores = random(H, T, d // H), random(H, d // H, T), random(H, T, d // H), random(H, T, T)
    out, mixed, wide = random(T, d), random(H, T, d // H), random(T, 4 * d)

    def run() -> None:
        for _ in range(spec.n_layer):
            for _ in range(4):  # query, key, value, output
                np.matmul(x, square, out=out)
            np.matmul(q, k, out=scores)
            np.matmul(scores, v, out=mixed)
            np.matmul(x, up, out=wide)
            np.matmul(inner, down, out=out)
        np.matmul(x, head, out=None if fresh else logits)

    return run


def main(rounds: int) -> None:
    spec = parse_model(GPT2)
    weights = random_weights(spec, seed=0)
    tokens = np.random.default_rng(0).integers(spec.vocab_size, size=(1, T))
    contestants = {
        "bare matmuls": bare_matmuls(spec),
        "... logits fresh": bare_matmuls(spec, fresh=True),
        "forward": lambda: forward(spec, weights, tokens),
        "forward, counted": lambda: forward(spec, weights, tokens, Tally()),
    }
    best = dict.fromkeys(contestants, float("inf"))
    for _ in range(rounds):  # interleaved, so that a busy machine slows all of them
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    for name, seconds in best.items():
        print(f"{name:18} {seconds:6.3f} s  {seconds / best['bare matmuls']:.2f}x")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
