"""`Served`: runs of servers under load that were measured. presets/served, one source a file."""

from typing import Literal

from pydantic import Field

from gptcalc.spec.catalogue import bundled_folder
from gptcalc.spec.reading import read_text, read_yaml, shown
from gptcalc.spec.record import Record, validated


class Served(Record):
    """One layout of one server; `rows` are prompt, output, requests in flight, and the mean times to first and per output token in ms."""

    source: str
    left_out: str = ""
    model: str
    device: str
    server: str
    precision: str
    tp: int
    pp: int
    ep: int
    attention_dp: int
    lengths: Literal["drawn", "alike"]
    rows: list[tuple[int, int, int, float, float]] = Field(strict=False)

    @property
    def mean(self) -> float:
        """The mean length over the one that is named."""
        return 0.9 if self.lengths == "drawn" else 1.0

    @property
    def title(self) -> str:
        """What ran where, in short."""
        sizes = {"tp": self.tp, "pp": self.pp, "ep": self.ep, "attention dp": self.attention_dp}
        layout = "".join(f", {name} {size}" for name, size in sizes.items() if size > 1)
        return f"{self.server}, {self.model}, {self.precision}, {self.device}{layout}"


def all_loads() -> list[Served]:
    """Every measured run of servers under load.

    Raises GptcalcError for a malformed file.

    >>> sum(len(one.rows) for one in all_loads()) > 1000
    True
    """
    found = []
    for path in sorted((bundled_folder() / "served").glob("*.yaml")):
        data = dict(read_yaml(read_text(path), shown(path)))
        groups = data.pop("groups")
        data.pop("columns", None)
        found += [validated(Served, {**data, **group, "rows": [tuple(row) for row in group["rows"]]}, shown(path)) for group in groups]
    return found
