"""How far a predicted time may be off: what was measured like it, and what was not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.serve.recur import recurrent
from gptcalc.serve.request import Request
from gptcalc.serve.work import Work

if TYPE_CHECKING:
    from gptcalc.serve.demand import Demand
    from gptcalc.serve.replica import Worker

UNMEASURED = 0.25
"""The share for what was not measured on an NVIDIA GPU. Compared, and nothing fitted on it: Mixtral at gpt-fast (its README; one to eight
A100s, bf16 and int8) within 17 %; vLLM with Qwen2.5-7B and -32B (Qwen's speed benchmark, one and two A100s) within 22 %."""

SEVERAL_DEVICES = 0.45
"""The same of devices that work on one token together: gpt-fast on two to eight A100s is within 17 %, FasterTransformer's GPT-20B (its
gpt_guide.md; whole requests in fp16) is predicted 19 % too fast on two A100s as a rule, 28 % on four, 36 % on eight, 44 % at worst; on one
it is within 13 %."""

EAGER = 2.0
"""The factor each way of code that Python starts: transformers 4.46 with Qwen2.5-0.5B to -32B on one A100 (Qwen's speed benchmark) took
0.93 to 1.81 times the predicted time; longer the longer its prompts."""


RECURRENCE = 4.0
"""How many times its bound a recurrence may take. Assumed: no kernel of one was measured, and none is known to reach its bound."""


class Certainty(NamedTuple):
    """The `share` (of predicted over measured, less one) within which nine in ten are, or others are expected; or a `factor` each way.
    `lacking`: what was not measured."""

    share: float | None
    factor: float | None
    lacking: tuple[str, ...]

    def around(self, seconds: Any) -> list[Any]:
        """The least and the most that a time may be.

        >>> Certainty(0.25, None, ()).around(0.4), Certainty(None, 2.0, ()).around(0.5)
        ([0.32, 0.5333333333333333], [0.25, 1.0])
        """
        if self.share is not None:
            return [seconds / (1 + self.share), seconds / (1 - self.share)]
        assert self.factor is not None
        return [seconds / self.factor, seconds * self.factor]

    @property
    def text(self) -> str:
        """What is said of it.

        >>> Certainty(0.25, None, ("int4 weights", "tensor parallelism")).text
        'expected within 25 %; not measured: int4 weights, tensor parallelism'
        """
        if not self.lacking and self.share is not None:
            return f"nine in ten measured times are within {100 * self.share:.0f} %"
        within = f"a factor of {self.factor:g} each way" if self.share is None else f"{100 * self.share:.0f} %"
        return f"expected within {within}" + (f"; not measured: {', '.join(self.lacking)}" if self.lacking else "")


def certainty_of(r: Request, work: Work, recurring: float = 0.0) -> Certainty:
    """Measured were dense decoders in 16 bits, each as one CUDA graph on one device: `serving_spread` in presets/devices. `recurring` is
    the share of recurrences in a predicted time."""
    device, kinds = r.device, [kind.switches for _, kind in work.shape.blocks]
    lacking = [] if device.serves_as_measured else [device.name]
    lacking += ["mixtures of experts"] * any(kind.experts for kind in kinds) + ["latent attention"] * any(kind.latent for kind in kinds)
    lacking += ["recurrences"] * recurrent(work)
    lacking += ["towers of images"] * (work.seen is not None)
    lacking += ["weights as stored"] if work.file else [f"{r.precision} weights"] * (r.precision not in ("bf16", "fp16"))
    lacking += [f"a cache in {work.kv}"] * (work.kv not in ("bf16", "fp16") and r.precision in ("bf16", "fp16"))
    lacking += ["tensor parallelism"] * (r.tp > 1) + ["pipelines"] * (r.pp > 1)
    several = SEVERAL_DEVICES if r.tp * r.pp > 1 else 0.0
    eager = 1.0 if work.server.graph else EAGER
    if device.unmeasured_factor is not None or eager > 1:
        return Certainty(None, max(device.unmeasured_factor or 1.0, eager, round(1 / (1 - several), 1)), tuple(lacking))
    if not lacking:
        return Certainty(device.constants["serving_spread"].value, None, ())
    share = max(several, UNMEASURED)
    longer = 1 + (RECURRENCE - 1) * recurring
    return Certainty(share + (1 - share) * (1 - 1 / longer), None, tuple(lacking))


class Factors(NamedTuple):
    """Factors each way within which nine in ten measured means are; `measured`: whether rows of that kind were among them."""

    tpot: float
    ttft: float
    measured: bool
    text: str


LOADED = {"dense": (1.2, 2.3), "experts": (1.4, 4.2)}
"""Of models without experts and with: time per token, time to first token. Nine in ten of 1,210 runs of vLLM, SGLang and TensorRT-LLM on
H100, H200 and B200 (presets/served) are within, each table (a server with one model on one device) predicted with the constants of its
server that were fitted on the server's other tables: tests/benchmarks/serving_left_out.py. `gptcalc replicate loads` shows each run."""

MEASURED_ON = ("h100-80gb", "h200", "b200")
MEASURED_SERVERS = ("vllm", "sglang", "trtllm")
ELSEWHERE = 1.25
"""How much wider: other chips, other servers and other versions of them."""


def factors_of(d: Demand, replica: Worker) -> Factors:
    """Of a server under load."""
    experts = any(kind.switches.experts for _, kind in replica.work.shape.blocks)
    kind = "experts" if experts else "dense"
    measured = d.device.name in MEASURED_ON and d.server.name in MEASURED_SERVERS and not recurrent(replica.work)
    wider = (1.0 if measured else ELSEWHERE) * (d.device.unmeasured_factor or 1.0)
    tpot, ttft = (wider * factor for factor in LOADED[kind])
    of = ("mixtures of experts" if experts else "dense models") + ", none of them recurrent" * recurrent(replica.work)
    said = "nine in ten measured" if measured else "not measured there; expected"
    text = f"{said}: time per token within a factor of {tpot:.2g} each way, time to first token {ttft:.2g} ({of})"
    return Factors(tpot, ttft, measured, text)
