"""Servers under load: what was measured beside what `infer` predicts, run by run."""

from __future__ import annotations

from gptcalc.run.published import Replica


def measured_loads() -> list[Replica]:
    """Mean time per output token and to first token of every run of presets/served; of the latter what the benchmark printed.

    `interval`: within which nine in ten are expected, by kind of model.
    """
    import numpy as np

    from gptcalc.serve.answer import infer
    from gptcalc.spec.served import all_loads

    rows = []
    for one in all_loads():
        prompt, output, concurrency, ttft, tpot = (np.array(column, float) for column in zip(*one.rows, strict=True))
        options = {name: getattr(one, name) for name in ("device", "server", "precision", "tp", "pp", "ep", "attention_dp", "lengths")}
        answer = infer(
            one.model, prompt=np.round(one.mean * prompt), output=np.round(one.mean * output), concurrency=concurrency, **options
        )
        within = {"tpot_ms": answer.factors.tpot - 1, "ttft_ms": answer.factors.ttft - 1}
        found = {"tpot_ms": (1e3 * answer.tpot, tpot), "ttft_ms": (1e3 * answer.steady.ttft_benchmark, ttft)}
        for at, (p, o, n) in enumerate(zip(prompt, output, concurrency, strict=True)):
            run = f"{one.title}, {n:.0f} x {p:.0f} + {o:.0f}"
            for quantity, (predicted, reported) in found.items():
                pair = float(predicted[at]), float(reported[at])
                formula = "the closed loop's steady state, as gptcalc infer --server computes it"
                error = pair[0] / pair[1] - 1
                rows.append(Replica(run, one.title, quantity, *pair, error, None, one.source, "", within[quantity], formula))
    return rows
