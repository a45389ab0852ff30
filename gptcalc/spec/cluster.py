"""`ClusterSpec`: how devices are joined: the fast link inside a node or a slice, its collectives as measured, and the network between.

Base units: seconds, bytes, bytes/s. The catalogue is presets/clusters; its README.md says what each field means.
"""

import functools
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.spec.catalogue import bundled_folder, folded
from gptcalc.spec.device import Positive
from gptcalc.spec.model import Record
from gptcalc.spec.options import check_word
from gptcalc.spec.reading import read_text, read_yaml, shown

OPERATIONS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")
GENERIC = "generic"


def _known(costs: dict[str, Any]) -> dict[str, Any]:
    for name in costs:
        if name not in OPERATIONS:
            raise GptcalcError(f"unknown collective '{name}'", hint=did_you_mean(name, OPERATIONS))
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
    collectives: Annotated[dict[str, dict[int, Cost]], AfterValidator(_known)]


class SlowLink(Record):
    """`bandwidth` of one device's share of the network, one direction; `share` of it that a ring of collectives reaches."""

    name: str
    bandwidth: Positive
    share: float = Field(gt=0, le=1)
    latency: float = Field(ge=0)


class Reliability(Record):
    """`mtbf`: hours of one device between failures of anything that stops it; `restart`: seconds from a failure to running again."""

    mtbf: Positive
    restart: Positive
    checkpoint_bandwidth: Positive  # bytes/s of one device to storage
    source: str


class ClusterSpec(Record):
    name: str
    title: str
    devices: tuple[str, ...] = Field(default=(), strict=False)
    node: int  # devices that share the fast link
    link: FastLink
    network: SlowLink
    reliability: Reliability
    sources: dict[str, str] = Field(default={})
    notes: tuple[str, ...] = Field(default=(), strict=False)


def load_cluster(name: str) -> ClusterSpec:
    """The cluster of a name.

    Raises GptcalcError for a name that no preset has, with the nearest ones, and for a malformed preset.

    >>> load_cluster("dgx-a100").node
    8
    """
    known = {cluster.name: cluster for cluster in all_clusters()}
    check_word("cluster named", folded(name) if isinstance(name, str) else name, known)
    return known[folded(name)]


def cluster_for(device: str) -> ClusterSpec:
    """The cluster that a device usually stands in: the first that names it, else the generic one.

    >>> cluster_for("h100-80gb").name, cluster_for("mi300x").name
    ('dgx-h100', 'generic')
    """
    return next((cluster for cluster in all_clusters() if device in cluster.devices), load_cluster(GENERIC))


@functools.cache
def all_clusters() -> tuple[ClusterSpec, ...]:
    """Every cluster of the catalogue, in the order of their files.

    Raises GptcalcError for a malformed file.
    """
    return tuple(cluster for path in sorted((bundled_folder() / "clusters").glob("*.yaml")) for cluster in _clusters(path))


def _clusters(path: Path) -> list[ClusterSpec]:
    data = read_yaml(read_text(path), shown(path))
    shared, found = data.get("shared", {}), []
    for name, fields in data["clusters"].items():
        try:
            found.append(ClusterSpec.model_validate({"name": name, **shared, **fields}))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise GptcalcError(f"{shown(path)}: {name}.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return found
