"""`ClusterSpec`: how devices are joined: the fast link inside a node or a slice, its collectives as measured, and the network between.

Base units: seconds, bytes, bytes/s. The catalogue is presets/clusters; its README.md says what each field means.
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.spec.catalogue import bundled_folder, files_of, is_path
from gptcalc.spec.device import Positive, load_device
from gptcalc.spec.entries import check_names, entries_of, folded, only
from gptcalc.spec.reading import quoted, read_text, shown
from gptcalc.spec.record import Record, validated

OPERATIONS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")
GENERIC = "generic"


def _complete(costs: dict[str, dict[int, Any]]) -> dict[str, dict[int, Any]]:
    for name in costs:
        if name not in OPERATIONS:
            raise GptcalcError(f"unknown collective '{shown(name)}'", hint=did_you_mean(name, OPERATIONS))
    for name in OPERATIONS:
        if not costs.get(name):
            raise GptcalcError(f"no {name}", hint=f"a cluster needs {', '.join(OPERATIONS)}, each for one number of ranks at least")
        if min(costs[name]) < 2:
            raise GptcalcError(f"{name} of {min(costs[name])} ranks", hint="a collective has two ranks at least")
    return costs


class Cost(Record):
    """What S bytes take: `latency` + moved / `bandwidth` + `root` * sqrt(S), the root for pipelining in pieces."""

    latency: float = Field(ge=0)
    bandwidth: Positive
    root: float = Field(default=0.0, ge=0)


class Short(Record):
    """What S bytes take at low latency: `latency`, `hop` from each rank to the next, moved / `bandwidth`."""

    latency: Positive
    hop: Positive
    bandwidth: Positive


class FastLink(Record):
    """`collectives` by operation and number of ranks; `send` is one rank's bytes/s to one other; `bandwidth`: of the link that all were
    assumed for, where they were not measured."""

    name: str
    send: Positive
    bandwidth: Positive | None = None
    short: Short | None = None
    collectives: Annotated[dict[str, dict[int, Cost]], AfterValidator(_complete)]


class SlowLink(Record):
    """`bandwidth` of one device's share of the network, one direction; `share` of it that a ring of collectives reaches; `rank`: seconds
    that a collective over several nodes takes longer for each of its ranks, which nothing hides."""

    name: str
    bandwidth: Positive
    share: float = Field(gt=0, le=1)
    latency: float = Field(ge=0)
    rank: float = Field(default=3e-6, ge=0)


class Reliability(Record):
    """`mtbf`: hours of one device between failures of anything that stops it; `restart`: seconds from a failure to running again."""

    mtbf: Positive
    restart: Positive
    checkpoint_bandwidth: Positive  # bytes/s of one device to storage
    source: str


class ClusterSpec(Record):
    """What joins devices: a fast link inside a node, a network between nodes. presets/clusters."""

    name: str
    title: str
    devices: tuple[str, ...] = Field(default=(), strict=False)
    node: int  # devices that share the fast link
    link: FastLink
    network: SlowLink
    reliability: Reliability
    sources: dict[str, str] = Field(default={})
    notes: tuple[str, ...] = Field(default=(), strict=False)

    def cost(self, operation: str, ranks: int) -> Cost:
        """What a collective of so many ranks takes on the fast link: as measured of the next larger number of them, else of the largest.

        >>> load_cluster("dgx-a100").cost("all_reduce", 8).bandwidth
        257000000000.0
        """
        measured = self.link.collectives[operation]
        return measured[min((n for n in measured if n >= ranks), default=max(measured))]


def load_cluster(name: str) -> ClusterSpec:
    """The cluster of a name, or of a file that holds one.

    Raises GptcalcError for a name that no preset has, with the nearest ones, and for a malformed preset.

    >>> load_cluster("dgx-a100").node
    8
    """
    if not isinstance(name, str):
        raise GptcalcError(f"no cluster named {quoted(name)}", hint="'gptcalc devices --clusters' lists them")
    if is_path(name):
        text, where = read_text(name), shown(name)
        only(entries_of(text, where, "clusters"), where, "clusters")
        return _clusters(text, Path(name))[0]
    known: list[str] = []
    for cluster in _every():
        if folded(cluster.name) == folded(name):
            return cluster
        known.append(cluster.name)
    hint = did_you_mean(folded(name)[:100], known, otherwise="'gptcalc devices --clusters' lists them")
    raise GptcalcError(f"no cluster named {quoted(name)}", hint=hint)


def cluster_for(device: str) -> ClusterSpec:
    """The cluster that a device usually stands in: the first that names it, else the generic one.

    >>> cluster_for("h100-80gb").name, cluster_for("mi300x").name
    ('dgx-h100', 'generic')
    """
    return next((cluster for cluster in _every() if device in cluster.devices), None) or load_cluster(GENERIC)


def all_clusters() -> list[ClusterSpec]:
    """Every cluster of the catalogue, in the order of their files.

    Raises GptcalcError for a file that is malformed or gives a name that another has.
    """
    found = [(cluster, path) for path in files_of("clusters") for cluster in _clusters(read_text(path), path)]
    check_names((cluster.name, path) for cluster, path in found)
    return [cluster for cluster, _ in found]


def _every() -> Iterator[ClusterSpec]:
    """File by file, so that a broken one of the user's hides none before it."""
    for path in files_of("clusters"):
        yield from _clusters(read_text(path), path)


@functools.lru_cache(maxsize=64)
def _clusters(text: str, path: Path) -> tuple[ClusterSpec, ...]:
    """The clusters of a file's text: kept, since every run on several devices asks for one."""
    where = shown(path)
    found = tuple(validated(ClusterSpec, fields, f"{where}: {shown(fields['name'])}") for fields in entries_of(text, where, "clusters"))
    return found if path.is_relative_to(bundled_folder()) else tuple(_with_known_devices(cluster, where) for cluster in found)


def _with_known_devices(cluster: ClusterSpec, where: str) -> ClusterSpec:
    """With the devices' own names, which aliases stand for: by another name none would be found in its cluster."""
    try:
        return cluster.model_copy(update={"devices": tuple(load_device(name).name for name in cluster.devices)})
    except GptcalcError as error:
        raise GptcalcError(f"{where}: {shown(cluster.name)}.devices: {error}", hint=error.hint) from None
