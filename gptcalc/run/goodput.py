"""What remains of a long run: failures lose the work since the last checkpoint and the time to restart; checkpoints take time.

N devices fail independently, each once in `mtbf` hours: the run fails once in M = mtbf / N. With a checkpoint of C seconds every
tau = sqrt(2·C·M), the share of time lost is about C/tau + (tau/2 + R)/M, R the time to restart.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.spec.recipe import PRECISIONS, Layout, Recipe
from gptcalc.symbols import Quantity
from gptcalc.time.kernels import least

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


def checkpoint_bytes(model: "ModelSpec | int", recipe: Recipe) -> int:
    """What a checkpoint holds: the weights and the optimizer's states, fp32 master weights among them, as training holds them.

    Of a number of parameters as of one vector of that many.

    Units: bytes.   Source: the states, `footprint.states`.

    >>> from gptcalc.spec.files import load_model
    >>> gpt2 = load_model("gpt2")
    >>> [round(checkpoint_bytes(gpt2, Recipe(optimizer=name)) / 124439808, 2) for name in ("adamw", "adamw-8bit", "sgd")]
    [12.0, 6.04, 4.0]
    """
    from gptcalc.footprint.states import Weight, bytes_per_weight, states_of, weights_of
    from gptcalc.spec.runtime import load_runtime
    from gptcalc.spec.shape import shape_of
    from gptcalc.symbols import ceiling
    from gptcalc.table.operations import operations

    state, precision = load_runtime(recipe.runtime).state, PRECISIONS[recipe.precision]
    if isinstance(model, int):
        weights = [Weight("parameters", 1, (model,), trained=True)]
    else:
        rows = operations(shape_of(model), 1, 1, 1)
        weights = weights_of(rows, recipe._replace(layout=Layout()), [row.path for row in rows])
    size: int = sum(states_of(weights, recipe, precision, state, 1).values())
    for weight in weights:
        numerator, denominator = bytes_per_weight(weight, precision, state.weights)
        size = size + ceiling(numerator * weight.total, denominator)
    return size


def goodput_of(model: "ModelSpec", recipe: Recipe, cluster: "ClusterSpec", count: Quantity, seconds: Quantity) -> Goodput:
    """The share of a run of `seconds` on `count` devices that is not lost to failures and checkpoints.

    Units: seconds, bytes.   Source: Young 1974, Commun. ACM 17(9); Daly 2006, Future Gener. Comput. Syst. 22(3); constants in
    presets/clusters.
    """
    r = cluster.reliability
    size = checkpoint_bytes(model, recipe)
    writing = size / (count * r.checkpoint_bandwidth)
    between = r.mtbf * 3600 / count
    interval = (2 * writing * between) ** 0.5
    lost = least((writing / interval + (interval / 2 + r.restart) / between, 0.99))
    return Goodput(1 - lost, seconds / (1 - lost) / between, between, size, writing, interval, r.source)
