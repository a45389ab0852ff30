"""`ServerSpec`: whose code serves a model, what it fuses and which passes over memory it makes. The format: presets/servers/README.md."""

import functools
from typing import Annotated

from pydantic import AfterValidator, Field

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.spec.catalogue import bundled_folder
from gptcalc.spec.entries import folded
from gptcalc.spec.options import check_word
from gptcalc.spec.reading import read_text, read_yaml, shown
from gptcalc.spec.record import Record, validated
from gptcalc.spec.runtime import Size

CONDITIONS = {"prefill", "decode", "gated", "layernorm", "rmsnorm", "gelu", "gelu_tanh", "relu", "silu"}


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


class ServerSpec(Record):
    name: str
    title: str
    title_without_cuda: str = ""  # where CUDA does not drive the device, if another one is true there
    source: str
    graph: bool = False  # captured once: kernels follow each other without the processor
    host: str | None = None  # the runtime of presets/runtimes whose processor time each operation takes
    fused: dict[str, list[str]] = Field(default={})  # matmuls of one input that run as one
    passes: dict[str, list[ServerPass]]  # by kind of row of the operation table, and `cache`


def load_server(name: str) -> ServerSpec:
    """The server of a name.

    Raises GptcalcError for a name that no file has, and for a malformed file.

    >>> load_server("graph").fused["gate_up"]
    ['gate', 'up']
    """
    check_word("inference runtime named", folded(name) if isinstance(name, str) else name, server_names())
    return _server(folded(name))


@functools.cache
def _server(wanted: str) -> ServerSpec:
    path = bundled_folder() / "servers" / f"{wanted}.yaml"
    return validated(ServerSpec, {"name": wanted, **read_yaml(read_text(path), shown(path))}, shown(path))


def server_names() -> tuple[str, ...]:
    """The inference runtimes there are files for."""
    return tuple(sorted(path.stem for path in (bundled_folder() / "servers").glob("*.yaml")))
