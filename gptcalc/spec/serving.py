"""The options of `infer`: each once, with its type, its help, its unit and its default.

- `InferOptions`: one batch at a time, as fast as a device can. `LoadOptions`: a server that requests come to. `FleetOptions`: the fewest
  devices that keep a promise. `under_load`: which of the first two a call means.

None is an option that is left out.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated, Literal

from gptcalc.spec.fields import Fields, Option
from gptcalc.spec.plan import LAYOUT, MONEY, SERVING, Array, Device, KeptOptions, Number, StoredOptions, Whole

if TYPE_CHECKING:
    from gptcalc.spec.device import DeviceSpec

LOAD, OUTPUT = "Load", "Output"
SERVERS = "vllm vllm-0.6 sglang trtllm tgi llama.cpp"


class DeployOptions(StoredOptions):
    """How a model is stored and cut over devices, what one request is, and what an hour of a device costs."""

    prompt: Annotated[Whole | None, Option("Tokens of a prompt.", "1024, or what the model reaches", unit="tokens", kind="count")] = None
    output: Annotated[
        Whole | None,
        Option("New tokens, the first from the prefill.", "256, or a quarter of what it reaches", unit="tokens", kind="count"),
    ] = None
    tp: Annotated[
        Whole | None, Option("Tensor parallel size of a replica.", "what --pp leaves of the count", LAYOUT, "devices", "count")
    ] = None
    pp: Annotated[Whole | None, Option("Pipeline stages of a replica.", "1", LAYOUT, "devices", "count")] = None
    price: Annotated["Number | None", Option("USD per device and hour, or a range.", "the catalogue's", MONEY, "USD/h", wants="USD")] = None
    capex: Annotated[float | None, Option("USD of one owned device.", "", MONEY, "USD", "number", "USD")] = None
    amortise: Annotated[str | None, Option("Time that it is written off in.", "4y", MONEY, wants="4y")] = None
    power_price: Annotated[float | None, Option("USD for a kWh.", "", MONEY, "USD/kWh", "number", "USD")] = None


class OneKind(Fields):
    """So many devices of one kind."""

    device: Annotated[
        Device,
        Option(
            "A name: 'gptcalc devices' lists them; or a file. With --rate and --target several, h200,b200.",
            "h100-80gb",
            wants="NAME",
            completes="devices",
        ),
    ] = "h100-80gb"
    count: Annotated[Whole | None, Option("Devices in all.", "one replica's", unit="devices", kind="count")] = None


class InferOptions(OneKind, DeployOptions, KeptOptions):
    """A batch that is served together."""

    batch: Annotated[Whole | None, Option("Sequences that a replica serves at once.", "1", unit="sequences", kind="count")] = None
    runtime: Annotated[
        str | None,
        Option(
            "graph (recorded once, fused: a CUDA graph), eager (transformers), fastertransformer.",
            "graph",
            SERVING,
            wants="NAME",
            completes="servers",
        ),
    ] = None
    block_size: Annotated[int | None, Option("Tokens of a page of the cache.", "1", SERVING, "tokens", "count")] = None
    target: Annotated[str | None, Option("Latencies to keep.", wants="ttft=200ms,tpot=30ms")] = None
    sweep: Annotated[str | None, Option("Throughput against latency.", wants="batch=1..256")] = None


class CrowdOptions(DeployOptions):
    """Whose code serves, how it is set, and what the requests that come have in common."""

    server: Annotated[str | None, Option(f"Whose code: {SERVERS}, or a file.", "vllm", LOAD, wants="NAME", completes="engines")] = None
    rate: Annotated[float | None, Option("Requests that arrive a second, by chance (Poisson).", "", LOAD, "1/s", "number", "R")] = None
    memory_share: Annotated[float | None, Option("Of a device's memory that it takes.", "the server's", LOAD, "", "number", "SHARE")] = None
    chunk: Annotated[int | None, Option("The most tokens of a pass.", "the server's", LOAD, "tokens", "count")] = None
    lengths: Annotated[
        Literal["drawn", "alike"] | None, Option("Whether requests differ in length.", "between the two", LOAD, wants="drawn|alike")
    ] = None
    shared_prefix: Annotated[int | None, Option("Tokens of a prompt that are cached.", "", LOAD, "tokens", "count")] = None
    hit_share: Annotated[float | None, Option("Share of requests that find them.", "1", LOAD, "", "number", "SHARE")] = None
    draft: Annotated[int | None, Option("Tokens that are guessed in each step.", "", LOAD, "tokens", "count")] = None
    accepted: Annotated[float | None, Option("Share of them that is right.", "", LOAD, "", "number", "SHARE")] = None
    ep: Annotated[Whole | None, Option("Expert parallel size.", "1", LAYOUT, "devices", "count")] = None
    attention_dp: Annotated[
        Whole | None, Option("Groups with sequences of their own that share the experts.", "1", LAYOUT, "groups", "count")
    ] = None


class LoadOptions(OneKind, CrowdOptions):
    """A server under load."""

    concurrency: Annotated[
        "Whole | Array | None", Option("Requests in flight; max: as many as fit.", "1", LOAD, "requests", wants="N|max")
    ] = None
    batch: Annotated[Whole | None, Option("Requests in flight in each replica.", "", unit="sequences", kind="count")] = None
    runtime: Annotated[str | None, Option("Code of one batch instead of a server's.", "", SERVING, wants="NAME", completes="servers")] = (
        None
    )
    prefill_pool: Annotated[str | None, Option("Workers that read prompts.", "", LOAD, wants="4x(tp 4)")] = None
    decode_pool: Annotated[str | None, Option("Workers that decode.", "", LOAD, wants="2x(tp 8)")] = None


class FleetOptions(CrowdOptions):
    """The fewest devices for a promise: sizes that are not given are searched."""

    rate: Annotated[float, Option("Requests that arrive a second, by chance (Poisson).", "", LOAD, "1/s", "number", "R")]
    target: Annotated[str, Option("Latencies to keep.", wants="ttft=200ms,tpot=30ms")]
    device: "Device | list[str] | tuple[str, ...] | list[DeviceSpec]" = "h100-80gb"  # said in OneKind
    write: Annotated[str | None, Option("The winner's command line.", "", OUTPUT, wants="vllm|sglang|trtllm")] = None


ONLY_LOADED = tuple(name for name in LoadOptions._fields if name not in InferOptions._fields)


def under_load(given: Collection[str]) -> bool:
    """Whether these options are of a server that requests come to.

    >>> under_load({"batch", "tp"}), under_load({"tp", "concurrency"})
    (False, True)
    """
    return any(name in given for name in ONLY_LOADED)
