"""`ServerSpec`: whose code serves a model, what it fuses and which passes over memory it makes. The format: presets/servers/README.md."""

import functools
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.spec.catalogue import bundled_folder, is_path
from gptcalc.spec.device import Positive
from gptcalc.spec.entries import folded
from gptcalc.spec.options import check_word
from gptcalc.spec.reading import read_text, read_yaml, shown
from gptcalc.spec.record import Record, validated
from gptcalc.spec.runtime import Size

CONDITIONS = {"prefill", "decode", "gated", "layernorm", "rmsnorm", "gelu", "gelu_tanh", "relu", "silu", "grouped"}


def _conditions(text: str) -> str:
    for word in text.split():
        if word.removeprefix("!") not in CONDITIONS:
            raise GptcalcError(f"'{word}' is no condition", hint=did_you_mean(word, CONDITIONS))
    return text


class ServerPass(Record):
    """`count` kernels of `bytes` each, read and written; `kind` and `elements` where memory alone does not bound them."""

    kind: str = "pass"
    bytes: Size
    elements: Size | None = None
    count: int = 1
    when: Annotated[str, AfterValidator(_conditions)] = ""


class Engine(Record):
    """How a server shares its passes among requests, and what its processor takes beside the kernels. Seconds, bytes."""

    policy: Literal["mixed", "prompts-first"] = "mixed"  # a chunk of prompts in the pass that decodes, or alone while decoding waits
    step: Annotated[float, Field(ge=0)] = 0.0  # scheduler, sampler and launch of one pass
    sequence: Annotated[float, Field(ge=0)] = 0.0  # the same of each sequence in it: sampling, detokenising
    layer: Annotated[float, Field(ge=0)] = (
        0.0  # the least that a layer takes where kernels are launched one by one: with prompts, or always
    )
    request: Annotated[float, Field(ge=0)] = 0.0  # before a request's first pass: HTTP, tokenizer, queue
    chunk: Annotated[int, Field(gt=0)] = 8192  # the most tokens of a pass
    memory_share: Annotated[float, Field(gt=0, le=1)] = 0.9
    share_of: Literal["memory", "free"] = "memory"  # of all of it, or of what weights and one pass leave
    reserve: Positive = 4e9  # of that share: recorded graphs, messages' buffers, workspaces
    reserves: Literal["growing", "whole"] = "growing"  # cache of a sequence: page by page, or of prompt and answer at once
    page: Annotated[int, Field(gt=0)] = 16  # tokens
    windows: Literal["cut", "whole"] = "cut"  # what no query sees any more: freed, or kept
    cache: dict[str, str] = Field(default={})  # its type by that of the weights, where it is not 16 bits
    one_shot: bool = True  # its own all-reduce for short messages
    most_sequences: Annotated[int, Field(gt=0)] = 2**20
    write: Literal["vllm", "sglang", "trtllm"] | None = None  # whose command line starts it


class ServerSpec(Record):
    """Whose code serves a model, and how it fuses its passes. presets/servers."""

    name: str
    title: str
    title_without_cuda: str = ""  # where CUDA does not drive the device, if another one is true there
    source: str
    graph: bool = False  # captured once: kernels follow each other without the processor
    host: str | None = None  # the runtime of presets/runtimes whose processor time each operation takes
    launching: Annotated[float, Field(ge=0)] = 0.0  # seconds of a layer beside its kernels, where each waits for its launch
    messaging: Annotated[float, Field(ge=0)] = 0.0  # the same of each message between devices
    host_share: Annotated[float, Field(gt=0, le=1)] = 1.0  # of that time: no gradients are recorded
    fused: dict[str, list[str]] = Field(default={})  # matmuls of one input that run as one
    passes: dict[str, list[ServerPass]]  # by kind of row of the operation table, and `cache`
    version: str = ""
    path: str = ""  # of a file of the user's own
    engine: Engine | None = None  # of code that serves many requests at once
    sources: dict[str, str] = Field(default={})


def load_server(name: str) -> ServerSpec:
    """The server of a name, or of a file.

    Raises GptcalcError for a name that no file has, and for a malformed file.

    >>> load_server("graph").fused["gate_up"], load_server("vllm").engine.policy
    (['gate', 'up'], 'mixed')
    """
    if isinstance(name, str) and is_path(name):
        return _read(Path(name), Path(name).stem).model_copy(update={"path": name})
    wanted = folded(name) if isinstance(name, str) else name
    if wanted not in _files():
        check_word("inference runtime named", wanted, server_names())
    return _server(str(wanted))


@functools.cache
def _server(wanted: str) -> ServerSpec:
    return _read(bundled_folder() / "servers" / f"{wanted}.yaml", wanted)


def _read(path: Path, name: str) -> ServerSpec:
    return validated(ServerSpec, {"name": name, **_fields(path, ())}, shown(path))


def _fields(path: Path, below: tuple[str, ...]) -> dict[str, Any]:
    """A file's fields over those of the server that it is `like`."""
    own = dict(read_yaml(read_text(path), shown(path)))
    like = own.pop("like", None)
    if like is None:
        return own
    check_word("server that this one is like", like, [name for name in _files() if name not in below])
    base = _fields(bundled_folder() / "servers" / f"{like}.yaml", (*below, like))
    for name in ("engine", "sources"):
        if isinstance(own.get(name), dict):
            own[name] = {**(base.get(name) or {}), **own[name]}
    return base | own


def _files() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in (bundled_folder() / "servers").glob("*.yaml")))


@functools.cache
def _names() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Code that runs one batch, and servers of many requests."""
    engines = [name for name in _files() if _server(name).engine is not None]
    return tuple(name for name in _files() if name not in engines), tuple(engines)


def server_names() -> tuple[str, ...]:
    """The inference runtimes there are files for: code that runs one batch.

    >>> server_names()
    ('eager', 'fastertransformer', 'graph')
    """
    return _names()[0]


def engine_names() -> tuple[str, ...]:
    """The servers that take many requests at once."""
    return _names()[1]
