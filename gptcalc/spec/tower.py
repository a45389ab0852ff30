"""`Tower`: what stands around a language model and reads images or sound for it, tensor by tensor."""

from math import prod

from pydantic import Field, field_validator

from gptcalc.errors import GptcalcError
from gptcalc.spec.reading import shown
from gptcalc.spec.record import Record


class Tower(Record):
    """One part around a language model, such as its vision tower or its projector.

    `tensors`: for each, how many layers have it, and its shape.

    >>> Tower(name="projector", kind="llava", tensors={"linear_1/weight": [1, 1024, 4096], "linear_1/bias": [1, 4096]}).parameters
    4198400
    """

    name: str = Field(min_length=1, max_length=60)
    kind: str = ""  # the type of its config
    tensors: dict[str, list[int]] = Field(min_length=1, max_length=2000)

    @field_validator("name")
    @classmethod
    def _one_part(cls, name: str) -> str:
        if "/" in name or not name.isprintable() or name in LANGUAGE_MODEL:
            raise GptcalcError(f"a tower's name is that of one part beside the language model's, not {shown(name)}")
        return name

    @field_validator("tensors")
    @classmethod
    def _sizes(cls, tensors: dict[str, list[int]]) -> dict[str, list[int]]:
        for path, sizes in tensors.items():
            if len(sizes) < 2 or min(sizes) < 1 or max(sizes) > LARGEST or not path.isprintable() or not path.strip("/"):
                raise GptcalcError(
                    f"tensor '{shown(path)}' of a tower needs the number of its layers and its shape, not {shown(str(sizes))}"
                )
        return tensors

    @property
    def parameters(self) -> int:
        return sum(map(prod, self.tensors.values()))


LANGUAGE_MODEL = ("embedding", "block", "final_norm", "head")
"""Parts of the language model."""

LARGEST = 2**40
"""Of a size."""
