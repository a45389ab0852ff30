"""A model's own files beside the formula, as a table: the tensors that differ, under the verdict."""

from gptcalc.run.witness import Witness
from gptcalc.show.table import Column, Table, integer
from gptcalc.spec.reading import shown
from gptcalc.units import binary

MOST = 20
"""Differing tensors that are listed; JSON has them all."""


def table(found: Witness) -> Table:
    """What the headers say, and each tensor that is not as the formula has it."""
    compared = found.compared
    told = f"{integer(compared.tensors)} tensors in {compared.files} file{'s' * (compared.files > 1)}"
    differing = len(compared.differences)
    if found.ok:
        headline = f"the files agree: {told}, {integer(compared.parameters)} parameters in {integer(compared.bytes)} bytes"
    elif differing:
        headline = f"the files do not agree: {integer(differing)} of {told} are not as the formula has them"
    else:
        headline = f"the files do not agree: {told} have {integer(compared.bytes)} bytes, and the formula {integer(found.predicted_bytes)}"
    columns = [Column("tensor", fold=True), Column("in the files"), Column("by the formula")]
    rows = [[shown(one.tensor), _shape(one.stored), _shape(one.wanted)] for one in compared.differences[:MOST]]
    types = ", ".join(f"{name} {integer(number)}" for name, number in sorted(compared.types.items()))
    notes = [f"elements by type: {types} ({binary(compared.bytes)}); names as {compared.layout}"]
    notes += [
        f"beside them, no parameters of the language model: {integer(count)} tensors, {integer(size)} elements, {what}"
        for what, (count, size) in compared.beside.items()
    ]
    if compared.packed:
        notes.append(f"{integer(compared.packed)} matrices are packed by their quantization: of these the bytes are compared, no shape")
    if differing > MOST:
        notes.append(f"{integer(differing - MOST)} more differ: -f json has them all")
    return Table(headline, columns, rows, notes, verdict="yes" if found.ok else "no")


def _shape(shape: tuple[int, ...] | None) -> str:
    return "none" if shape is None else " x ".join(map(integer, shape)) or "a scalar"
