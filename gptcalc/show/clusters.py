"""`devices --clusters` as tables: how devices are joined, at a glance; and one cluster with the source of every value."""

from typing import Any

from gptcalc.show.table import Column, Table, integer
from gptcalc.spec.cluster import OPERATIONS, ClusterSpec
from gptcalc.units import short


def row(cluster: ClusterSpec) -> dict[str, Any]:
    """A cluster as JSON has it, base units; `all_reduce_bandwidth` is that of a whole node."""
    return cluster.model_dump(mode="json") | {"all_reduce_bandwidth": cluster.cost("all_reduce", cluster.node).bandwidth}


def table(clusters: list[ClusterSpec]) -> Table:
    columns = [
        Column("name"),
        Column("title", fold=True, drop=3),
        Column("devices", fold=True),
        Column("node", integer, right=True),
        Column("fast link", fold=True, drop=1),
        Column("all-reduce", rate, right=True),
        Column("network", rate, right=True),
        Column("reached", share, right=True, drop=2),
    ]
    body = [
        [
            one.name,
            one.title,
            ", ".join(one.devices),
            one.node,
            one.link.name,
            one.cost("all_reduce", one.node).bandwidth,
            one.network.bandwidth,
            one.network.share,
        ]
        for one in clusters
    ]
    notes = [
        "node: devices that share the fast link; all-reduce: of all of them, large messages, as nccl-tests count bus bandwidth",
        "network: of one device, in one direction; reached: what rings of collectives have of it",
        "a device stands in the first cluster that names it, else in generic; train --cluster NAME puts it into another",
        "next: gptcalc devices --clusters NAME",
    ]
    return Table(_count(len(clusters)), columns, body, notes)


def rate(bandwidth: float) -> str:
    return short(bandwidth, "B/s")


def share(part: float) -> str:
    return f"{100 * part:g} %"


VALUES = [Column("value of", fold=True), Column("", str, right=True, fold=True), Column("source", fold=True)]


def detail(cluster: ClusterSpec) -> Table:
    """Every value of one cluster with its source."""
    return Table(f"{cluster.name}: {cluster.title}", VALUES, _values(cluster), [FORMULA, *(f"note: {note}" for note in cluster.notes)])


def sources(clusters: list[ClusterSpec]) -> Table:
    """Every value of every cluster with its source."""
    rows = [[cluster.name, *row] for cluster in clusters for row in _values(cluster)]
    notes = [FORMULA, *(f"{cluster.name}: {note}" for cluster in clusters for note in cluster.notes)]
    return Table(f"{_count(len(clusters))}, each value with its source", [Column("cluster"), *VALUES], rows, notes)


FORMULA = "a collective of n ranks on the fast link: latency + f*(n-1)/n * S / bandwidth + root*sqrt(S), f = 2 for all_reduce, else 1"


def _count(n: int) -> str:
    return f"{n} cluster{'s' if n > 1 else ''}"


def _values(cluster: ClusterSpec) -> list[list[Any]]:
    link, network, reliability = cluster.link, cluster.network, cluster.reliability
    rows: list[list[Any]] = [
        ["devices", ", ".join(cluster.devices) or "any", cluster.sources.get("devices", "")],
        ["node", f"{cluster.node:,} devices", cluster.sources.get("node", "")],
        [f"link {link.name}, one to one", rate(link.send), cluster.sources.get("link", "")],
    ]
    for operation in OPERATIONS:
        for ranks, cost in sorted(link.collectives[operation].items()):
            root = f", root {1e9 * cost.root:g} ns" if cost.root else ""
            text = f"{rate(cost.bandwidth)}, latency {1e6 * cost.latency:g} us{root}"
            rows.append([f"{operation}, {ranks:,} ranks", text, cluster.sources.get(operation, "as the link's")])
    rows += [
        [f"network {network.name}", f"{rate(network.bandwidth)}, {share(network.share)} reached", cluster.sources.get("network", "")],
        ["network, a hop", f"{1e6 * network.latency:g} us", cluster.sources.get("latency", "assumed")],
        ["failure of one device", f"every {reliability.mtbf:,.0f} hours", reliability.source],
        ["restart after a failure", f"{reliability.restart:,.0f} s", "as above"],
        ["checkpoint, of one device", rate(reliability.checkpoint_bandwidth), "as above"],
    ]
    return rows
