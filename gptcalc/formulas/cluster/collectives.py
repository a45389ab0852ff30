"""What a collective operation of n ranks takes: on the fast link inside a node, over the network between nodes, or both at once.

S bytes, as nccl-tests count them: the buffer of one rank for all_reduce and all_to_all, the whole for all_gather and reduce_scatter.
Sizes may be arrays. Seconds.
"""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.formulas.time.kernels import ceil, least, most, pick

if TYPE_CHECKING:
    from gptcalc.spec.cluster import ClusterSpec


class Network(NamedTuple):
    """A cluster in plain numbers. `costs`: by operation, (ranks, latency, bandwidth, root), ascending."""

    node: int
    send: float
    costs: dict[str, tuple[tuple[int, float, float, float], ...]]
    card: float
    share: float
    hop: float


def network_of(cluster: "ClusterSpec") -> Network:
    """The plain form of a cluster."""
    costs = {
        name: tuple((n, cost.latency, cost.bandwidth, cost.root) for n, cost in sorted(by_ranks.items()))
        for name, by_ranks in cluster.link.collectives.items()
    }
    network = cluster.network
    return Network(cluster.node, cluster.link.send, costs, network.bandwidth, network.share, network.latency)


def collective(net: Network, operation: str, size: Any, n: Any, stride: Any = 1, crossing: Any = None) -> Any:
    """Seconds of one collective of `n` ranks that are `stride` devices apart, all such groups of the cluster at once.

    `crossing`: of an exchange, the share of what has to go to other nodes that is sent there, once to each, and copied behind.

    Inside a node latency + f·(n-1)/n·S/B + c·sqrt(S), f = 2 for an all-reduce, else 1. A ring through several nodes moves the same
    through the cards of its ranks in each; of an exchange, what goes to other nodes goes through each rank's own card. The slower decides.

    Source: measured constants in presets/clusters; rings: Patarasuk & Yuan 2009, J. Parallel Distrib. Comput. 69(2).

    >>> from gptcalc.spec.cluster import load_cluster
    >>> net = network_of(load_cluster("dgx-a100"))
    >>> round(collective(net, "all_reduce", 16 * 2**20, 8) * 1e6)  # measured: 216.5 us
    215
    """
    moved = (2 if operation == "all_reduce" else 1) * (n - 1) / n * size
    inside = ranks_in_node(net, n, stride)
    nodes = ceil(n, inside)
    near, far = moved, moved / inside
    if operation == "all_to_all":
        near, far = (inside - 1) / n * size, (n - inside) / n * size
        if crossing is not None:
            near, far = (inside - 1) / inside * size, crossing * far
    fast = pick(inside > 1, _on_link(net, operation, size, near, inside), 0.0)
    hops = (2 if operation == "all_reduce" else 1) * net.hop * log2(nodes)
    slow = pick(nodes > 1, hops + far / (net.card * net.share), 0.0)
    return pick(n > 1, most((fast, slow)), 0.0)


def ranks_in_node(net: Network, n: Any, stride: Any) -> Any:
    """How many ranks of a group stand in one node."""
    return least((n, most((1, net.node // stride))))


def _on_link(net: Network, operation: str, size: Any, moved: Any, ranks: Any) -> Any:
    seconds: Any = None
    for n, latency, bandwidth, root in reversed(net.costs[operation]):
        one = latency + moved / bandwidth + root * size**0.5
        seconds = one if seconds is None else pick(ranks <= n, one, seconds)
    return seconds


def send(net: Network, size: Any, apart: Any) -> Any:
    """Seconds that one device needs to send to another `apart` devices away, while its neighbours do the same.

    Source: bandwidths in presets/clusters.
    """
    return pick(apart < net.node, size / net.send, net.hop + size / (net.card * net.share))


def log2(n: Any) -> Any:
    if isinstance(n, int | float):
        return math.log2(n)
    import numpy as np

    return np.log2(n)
