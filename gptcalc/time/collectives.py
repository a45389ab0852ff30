"""What a collective operation of n ranks takes: on the fast link inside a node, over the network between nodes, or both at once.

S bytes, as nccl-tests count them: the buffer of one rank for all_reduce and all_to_all, the whole for all_gather and reduce_scatter.
Sizes may be arrays. Seconds.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

from gptcalc.symbols import Quantity, pick
from gptcalc.time.kernels import ceil, least, most, settled

if TYPE_CHECKING:
    from gptcalc.spec.cluster import ClusterSpec
    from gptcalc.spec.device import DeviceSpec


class Network(NamedTuple):
    """A cluster in plain numbers. `costs`: by operation, (ranks, latency, bandwidth, root), ascending; `short`: latency, hop, bandwidth."""

    node: int
    send: float
    costs: dict[str, tuple[tuple[int, float, float, float], ...]]
    short: tuple[float, float, float] | None
    card: float
    share: float
    hop: float
    link: float = 0.0
    rank: float = 0.0


WHOLE = 2**20
"""Bytes from which on a message is sent in pieces: the costs were fitted from here on. A shorter one is one piece."""


def network_of(cluster: "ClusterSpec", device: "DeviceSpec | None" = None, *, reached: float = 1.0) -> Network:
    """The plain form of a cluster. Numbers that were assumed for one link are scaled to that of the `device`; `reached`: of what the
    network gives to collectives, what the software makes of it."""
    link, network = cluster.link, cluster.network
    faster = device.link.bandwidth / link.bandwidth if device is not None and device.link and link.bandwidth else 1.0
    wire = device.link.bandwidth if device is not None and device.link else link.bandwidth or link.send
    costs = {
        name: tuple((n, cost.latency, faster * cost.bandwidth, cost.root / faster**0.5) for n, cost in sorted(by_ranks.items()))
        for name, by_ranks in link.collectives.items()
    }
    short = (link.short.latency, link.short.hop, faster * link.short.bandwidth) if link.short else None
    share = reached * network.share
    return Network(cluster.node, faster * link.send, costs, short, network.bandwidth, share, network.latency, wire, network.rank)


def collective(
    net: Network, operation: str, size: Quantity, n: Quantity, stride: Quantity = 1, crossing: Quantity | None = None
) -> Quantity:
    """Seconds of one collective of `n` ranks that are `stride` devices apart, all such groups of the cluster at once.

    `crossing`: of an exchange, the share of what has to go to other nodes that is sent there, once to each, and copied behind.

    Inside a node latency + f·(n-1)/n·S/B + c·sqrt(S), f = 2 for an all-reduce, else 1; the root, of the pieces that fill the ring, is at
    least that of 1 MiB. A short message goes sooner by the protocol of low latency: a start, f·(n-1) hops, and the bytes, which are
    slower there. A ring through several nodes moves the same through the cards of its ranks in each; of an exchange, what goes to other
    nodes goes through each rank's own card. The slower of the two decides, and the hops between nodes come on top.

    Source: measured constants in presets/clusters; rings: Patarasuk & Yuan 2009, J. Parallel Distrib. Comput. 69(2); protocols: Hu et
    al. 2025, Demystifying NCCL, arXiv:2507.04786. On 8 KiB to 512 MiB in nodes of A100, H100 and B200 the mean error is 4 %.

    >>> from gptcalc.spec.cluster import load_cluster
    >>> net = network_of(load_cluster("dgx-a100"))
    >>> round(collective(net, "all_reduce", 16 * 2**20, 8) * 1e6)  # measured: 216.5 us
    215
    >>> round(collective(net, "all_reduce", 8192, 8) * 1e6, 1)  # measured: 21.3 us
    21.1
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
    slow = pick(nodes > 1, far / (net.card * net.share), 0.0)
    return pick(n > 1, hops + most((fast, slow)), 0.0)


def waiting_of_ranks(net: Network, n: Quantity, stride: Quantity) -> Quantity:
    """Seconds that a collective over several nodes waits for its ranks, one by one: no computing hides them.

    Source: `rank` of presets/clusters.
    """
    return pick(settled(ranks_in_node(net, n, stride) < n), net.rank * n, 0.0)


ONE_SHOT = (8e-6, 0.25)
"""Seconds to start one, and the share of the link that its reads reach. Fitted on Llama 70B with TensorRT-LLM on two to eight B200."""


def one_shot(net: Network, size: Quantity, n: Quantity) -> Quantity:
    """Seconds of the all-reduce of servers for short messages: each of n ranks reads the whole of every other's and adds it up itself.

    Source: the kernel: vLLM, csrc/custom_all_reduce.cuh (`cross_device_reduce_1stage`), and TensorRT-LLM's customAllReduceKernels.
    """
    start, share = ONE_SHOT
    return pick(n <= net.node, start + (n - 1) * size / (share * net.link), float("inf"))


def ranks_in_node(net: Network, n: Quantity, stride: Quantity) -> Quantity:
    """How many ranks of a group stand in one node."""
    return least((n, most((1, net.node // stride))))


def _on_link(net: Network, operation: str, size: Quantity, moved: Quantity, ranks: Quantity) -> Quantity:
    ring = net.short is not None and operation != "all_to_all"  # there each piece goes straight to its rank
    pieces = most((size, WHOLE)) ** 0.5 if ring else size**0.5
    seconds: Quantity = 0.0  # of more ranks than any that was measured: as the most of them
    for number, (n, latency, bandwidth, root) in enumerate(reversed(net.costs[operation])):
        one = latency + moved / bandwidth + root * pieces
        seconds = pick(ranks <= n, one, seconds) if number else one
    if net.short is None or not ring:
        return seconds
    latency, hop, bandwidth = net.short
    hops = (2 if operation == "all_reduce" else 1) * (ranks - 1)
    return least((seconds, latency + hop * hops + moved / bandwidth))


def send(net: Network, size: Quantity, apart: Quantity) -> Quantity:
    """Seconds that one device needs to send to another `apart` devices away, while its neighbours do the same.

    Source: constants in presets/clusters.
    """
    latency, hop, _ = net.short or (0.0, 0.0, 0.0)
    return pick(apart < net.node, latency + hop + size / net.send, net.hop + size / (net.card * net.share))


def log2(n: Quantity) -> Quantity:
    """The binary logarithm of a number or an array."""
    if isinstance(n, int | float):
        return math.log2(n)
    import numpy as np

    return np.log2(n)
