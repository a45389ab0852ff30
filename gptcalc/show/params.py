"""`params` as a table: the tree with its shares and formulas, under the total."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gptcalc.choices import BYTES_PER_WEIGHT
from gptcalc.errors import GptcalcError
from gptcalc.node import Node
from gptcalc.show.storage import widths
from gptcalc.show.table import Column, Label, Table, Verdict, bar, formula, integer, percent, signed_percent, small
from gptcalc.show.tree import block_labels, branches, derivation, legend
from gptcalc.spec.model import ModelSpec
from gptcalc.spec.shape import shape_of
from gptcalc.table.params import views
from gptcalc.units import binary, short

if TYPE_CHECKING:
    from gptcalc.run.witness import Witness

WHAT = {"parameters": "", "non_embedding": " without embeddings", "active": " active"}


class Answer(NamedTuple):
    """Everything that `params` tells about one model. `counted` holds the reference's own counts by tensor, where asked for; `typed` is
    how the user named the model, and `files` what its own files hold, where these were looked at."""

    model: ModelSpec
    node: Node[int]
    precision: str
    counted: dict[str, int] | None
    typed: str
    files: Witness | None = None

    def result(self) -> dict[str, Any]:
        result = self.node.to_dict()
        result["views"] = self._views()
        if self.model.towers:
            result["language_model"] = result["views"]["language_model"]
        result |= {"left_out": list(self.model.left_out), "unread": list(self.model.unread)}
        result["bytes"] = self._bytes(self.node.value)
        if self.model.quantization:
            stored = self._stored()
            result |= {"stored_bytes": stored} if isinstance(stored, int) else {}
            result["quantization"] = self.model.quantization.said
        result["published"] = [
            printed.model_dump() | {"difference": self._compared(printed.quantity) / printed.value - 1}
            for printed in self.model.published
            if printed.quantity != "training_flops"
        ]
        if self.counted is not None:
            result["counted"] = {"total": sum(self.counted.values()), **self.counted}
        if self.files is not None:
            result["checkpoint"] = self.files.to_dict()
        return result

    def tables(self, depth: int, explain: bool) -> list[Table]:
        total = self.node.value
        headline = f"{self.model.name}: {integer(total)} parameters ({short(total)})"
        if self.model.towers:
            towers = ", ".join(f"{tower.name} {integer(tower.parameters)}" for tower in self.model.towers)
            headline += f": language model {integer(self._views()['language_model'])}, {towers}"
        letters = shape_of(self.model).letters
        if explain:
            return [derivation(headline, self.node, letters, self._notes())._replace(legend=legend(letters, self.node))]
        columns = [
            Column("part"),
            Column("parameters", integer, right=True),
            *([Column("counted", integer, right=True)] if self.counted is not None else []),
            Column("share", percent, right=True, drop=1, style=small),
            Column("", bar, drop=3, drawn=True, style="cyan"),
            Column(f"in {self.precision}", binary, right=True, drop=4),
            Column("formula", formula, fold=True, drop=2, style="dim"),
        ]
        rows = []
        for path, label, node in branches(self.node, depth, block_labels(shape_of(self.model))):
            if path == "head" and self.model.tied:
                label = Label.of(f"{label} (weight tied: counted above)", path)
            counted = [self._counted_below(path)] if self.counted is not None else []
            rows.append([label, node.value, *counted, node.value / total, node.value / total, self._bytes(node.value), node.formula])
        if self.model.tied and not any(path == "head" for path, _ in self.node.walk()):
            rows.insert(-1, ["head (tied)", 0, *([0] if self.counted is not None else []), 0.0, None, 0, ""])
        last, known = frozenset({len(rows) - 1}), legend(letters, self.node)
        return [Table(headline, columns, rows, self._notes(), bold=last, verdict=self._verdict(), legend=known), *self._files()]

    def _files(self) -> list[Table]:
        if self.files is None:
            return []
        from gptcalc.show.witness import table

        return [table(self.files)]

    def _verdict(self) -> Verdict:
        if self.counted is None:
            return ""
        return "yes" if self.as_counted else "no"

    @property
    def as_counted(self) -> bool:
        """Whether the reference counts the language model's tensors as the formulas do, where it was asked."""
        names = {tower.name for tower in self.model.towers}
        leaves = {path: leaf.value for path, leaf in self.node.leaves() if path.partition("/")[0] not in names}
        return self.counted in (None, leaves)

    def _notes(self) -> list[str]:
        found = self._views()
        notes = []
        if found["active"] < found["total"]:
            notes.append(f"active: {integer(found['active'])} ({short(found['active'])}), what one token meets: its experts only")
        if "multi_token_prediction" in found:
            notes.append(f"beside the total: {integer(found['multi_token_prediction'])} of multi-token prediction")
        bytes_ = binary(self._bytes(self.node.value))
        notes.append(f"without embeddings (Kaplan): {integer(found['non_embedding'])}   in {self.precision}: {bytes_}")
        if self.model.quantization:
            method, bits = self.model.quantization.method, widths(self.model.quantization.said)
            stored = self._stored()
            size = f"{integer(stored)} bytes ({binary(stored)})" if isinstance(stored, int) else f"not counted ({stored})"
            each = "a weight, each tensor by its own type" if self.model.quantization.tensors else "a quantized weight, the rest in 16"
            notes.append(f"as stored: {size}, {method}: {bits} bits {each}")
        for printed in self.model.published:
            if printed.quantity != "training_flops":
                difference = self._compared(printed.quantity) / printed.value - 1
                what = WHAT[printed.quantity]
                note = f". {printed.note}" if printed.note else ""
                notes.append(f"published{what}: {integer(printed.value)} (here {signed_percent(difference)}), {printed.source}{note}")
        notes += [f"note: {note}" for note in self.model.notes]
        if self.counted is None:
            notes.append(f"next: gptcalc params {self.typed} --explain (each formula), --check (counted); gptcalc flops {self.typed}")
        return notes

    def _stored(self) -> int | GptcalcError:
        """The bytes of its quantized file, or why they cannot be told."""
        from gptcalc.footprint.quantized import stored_bytes  # here: few models are quantized, and all others need not wait

        try:
            return int(stored_bytes(self.model).value)
        except GptcalcError as error:
            return error

    def _compared(self, quantity: str) -> int:
        return self._views()["total" if quantity == "parameters" else quantity]

    def _views(self) -> dict[str, int]:
        return views(self.node, self.model)

    def _bytes(self, parameters: int) -> float:
        size = parameters * BYTES_PER_WEIGHT[self.precision]
        return int(size) if size == int(size) else size

    def _counted_below(self, path: str) -> int:
        assert self.counted is not None
        return sum(count for place, count in self.counted.items() if not path or place == path or place.startswith(f"{path}/"))
