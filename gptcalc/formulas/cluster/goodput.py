"""What remains of a long run: failures lose the work since the last checkpoint and the time to restart; checkpoints take time.

N devices fail independently, each once in `mtbf` hours: the run fails once in M = mtbf / N. With a checkpoint of C seconds every
tau = sqrt(2·C·M), the share of time lost is about C/tau + (tau/2 + R)/M, R the time to restart.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.formulas.time.kernels import least
from gptcalc.spec.recipe import PRECISIONS, Recipe

if TYPE_CHECKING:
    from gptcalc.spec.cluster import ClusterSpec
    from gptcalc.spec.model import ModelSpec


class Goodput(NamedTuple):
    """Seconds and bytes; `goodput` is the share of time that goes into steps that count."""

    goodput: Any
    failures: Any
    between_failures: Any
    checkpoint_bytes: Any
    checkpoint_seconds: Any
    interval: Any
    source: str


def checkpoint_bytes(parameters: Any, recipe: Recipe) -> Any:
    """What a checkpoint holds: the weights and, for Adam, fp32 master weights and two moments; 16-bit training keeps all in 16 bits.

    >>> checkpoint_bytes(1_008_038_707_200, Recipe(runtime="megatron", precision="fp16")) / 1e12  # the paper: 13.8 TB
    14.1...
    """
    from gptcalc.spec.runtime import load_runtime

    stored = PRECISIONS[recipe.precision].stored
    master = load_runtime(recipe.runtime).state.master is not None
    moments = {"sgd": 0, "sgd-momentum": 1, "lion": 1, "muon": 1}.get(recipe.optimizer, 2)
    if master:
        return parameters * (2 + 4 + 4 * moments)
    return parameters * stored * (1 + moments)


def goodput_of(model: "ModelSpec", recipe: Recipe, cluster: "ClusterSpec", count: Any, seconds: Any) -> Goodput:
    """The share of a run of `seconds` on `count` devices that is not lost to failures and checkpoints.

    Units: seconds, bytes.   Source: Young 1974, Commun. ACM 17(9); Daly 2006, Future Gener. Comput. Syst. 22(3); constants in
    presets/clusters.
    """
    from gptcalc.formulas.params import params

    r = cluster.reliability
    size = checkpoint_bytes(params(model).value, recipe)
    writing = size / (count * r.checkpoint_bandwidth)
    between = r.mtbf * 3600 / count
    interval = (2 * writing * between) ** 0.5
    lost = least((writing / interval + (interval / 2 + r.restart) / between, 0.99))
    return Goodput(1 - lost, seconds / (1 - lost) / between, between, size, writing, interval, r.source)
