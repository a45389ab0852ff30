"""`Images`: how many tokens a picture is in the language model, and how many patches in the tower, as the wrapper's processor cuts it."""

from math import ceil, floor, sqrt
from typing import Any, Literal, NamedTuple

from pydantic import Field

from gptcalc.errors import GptcalcError
from gptcalc.spec.options import whole_number
from gptcalc.spec.record import Record

MOST_STRETCHED = 200
"""Qwen's processors refuse pictures that are more than so many times as long as they are wide."""


class Picture(NamedTuple):
    """`tokens` of the prompt; `patches` of the tower, in `crops` that see only themselves."""

    tokens: int
    patches: int
    crops: int = 1


class Images(Record):
    """`rule`: every picture alike (fixed); sides rounded to `factor` pixels within an area (area); within a longest side, with a token
    after each row (rows); or cut into `tile`s of one size (tiles, of the nearest aspect ratio; canvas, of the best fitting one).

    `patch`: pixels of a patch's side; `least`, `most`: of the area in pixels, or of the tiles; `tokens`, `extra`: of a tile, and beside.

    >>> Images(rule="area", patch=14, factor=28, least=3136, most=1003520).of(1024, 1024)
    Picture(tokens=1225, patches=4900, crops=1)
    """

    rule: Literal["fixed", "area", "rows", "tiles", "canvas"]
    patch: int = Field(ge=1, le=1024)
    factor: int | None = Field(None, ge=1, le=4096)
    least: int | None = Field(None, ge=1)
    most: int | None = Field(None, ge=1)
    longest: int | None = Field(None, ge=1)
    tile: int | None = Field(None, ge=1, le=65536)
    tokens: int | None = Field(None, ge=1)
    extra: int | None = Field(None, ge=1)
    breaks: bool = False

    def of(self, width: int, height: int) -> Picture:
        """A picture of so many pixels.

        Raises GptcalcError for one that the processor refuses.
        """
        if self.rule == "fixed":
            return Picture(self._of("tokens") + (self.extra or 0), (self._of("tile") // self.patch) ** 2)
        if self.rule == "area":
            return self._area(width, height)
        if self.rule == "rows":
            return self._rows(width, height)
        return self._tiles(width, height) if self.rule == "tiles" else self._canvas(width, height)

    def _of(self, name: str) -> int:
        """A number that the rule needs.

        Raises GptcalcError where it is not given.
        """
        value: int | None = getattr(self, name)
        if value is None:
            raise GptcalcError(f"images: the rule '{self.rule}' needs {name}")
        return value

    def _area(self, width: int, height: int) -> Picture:
        if max(width, height) > MOST_STRETCHED * min(width, height):
            raise GptcalcError(f"a picture of {width} x {height} is more than {MOST_STRETCHED} times as long as it is wide")
        f, least, most = self._of("factor"), self._of("least"), self._of("most")
        rows, columns = max(1, round(height / f)), max(1, round(width / f))
        if rows * columns * f * f > most:
            by = sqrt(width * height / most)
            rows, columns = max(1, floor(height / by / f)), max(1, floor(width / by / f))
        elif rows * columns * f * f < least:
            by = sqrt(least / (width * height))
            rows, columns = ceil(height * by / f), ceil(width * by / f)
        return Picture(rows * columns + (self.extra or 0), rows * columns * (f // self.patch) ** 2)

    def _rows(self, width: int, height: int) -> Picture:
        longest, factor = self._of("longest"), self._of("factor")
        by = max(1.0, height / longest, width / longest)
        if by > 1:
            width, height = max(1, floor(width / by)), max(1, floor(height / by))
        rows, columns = ceil(height / factor), ceil(width / factor)
        return Picture(rows * (columns + self.breaks), rows * columns * (factor // self.patch) ** 2)

    def _tiles(self, width: int, height: int) -> Picture:
        """InternVL: the grid nearest in aspect ratio; of equals the larger while the picture covers over half of it."""
        tile, least, most = self._of("tile"), self._of("least"), self._of("most")
        grids = sorted(
            {(c, r) for c in range(1, most + 1) for r in range(1, most + 1) if least <= c * r <= most},
            key=lambda g: g[0] * g[1],
        )
        best, apart = (1, 1), float("inf")
        for columns, rows in grids:
            difference = abs(width / height - columns / rows)
            larger = difference == apart and width * height > 0.5 * tile**2 * columns * rows
            if difference < apart or larger:
                best, apart = (columns, rows), difference
        tiles = best[0] * best[1]
        crops = tiles + (tiles > 1)
        return Picture(crops * self._of("tokens") + (self.extra or 0), crops * (tile // self.patch) ** 2, crops)

    def _canvas(self, width: int, height: int) -> Picture:
        """Llama 4: the canvas that scales a picture up the least or, where none does, down the least."""
        tile, most = self._of("tile"), self._of("most")
        grids = [(c, r) for c in range(1, most + 1) for r in range(1, most + 1) if c * r <= most]
        scales = {g: min(g[0] * tile / width, g[1] * tile / height) for g in grids}
        up = [scale for scale in scales.values() if scale >= 1]
        chosen = min(up) if up else max(scales.values())
        columns, rows = min((g for g in grids if scales[g] == chosen), key=lambda g: g[0] * g[1])
        tiles = columns * rows
        crops = tiles + (tiles > 1)
        separators = tiles if tiles > 1 else 0
        return Picture(crops * self._of("tokens") + (self.extra or 0) + separators, crops * (tile // self.patch) ** 2, crops)


def pixels(size: str) -> tuple[int, int]:
    """Width and height as people write them.

    Raises GptcalcError for what is no size of a picture.

    >>> pixels("1024x768")
    (1024, 768)
    """
    sides = str(size).lower().replace("×", "x").split("x")
    if len(sides) != 2 or not all(side.strip().isdecimal() and len(side) < 7 and int(side) for side in sides):
        raise GptcalcError(f"'{str(size)[:40]}' is no size of a picture", hint="as 1024x768: width, height, in pixels")
    return int(sides[0]), int(sides[1])


USUAL_SIZE = "1024x1024"


def pictures_of(model: Any, images: object, image_size: str | None) -> tuple[int, Picture] | None:
    """How many pictures go with a prompt, and what each is; None where there are none.

    Raises GptcalcError for a model that reads no pictures, or whose rule is not known, and for what is no number or size.
    """
    if images is None:
        if image_size is not None:
            raise GptcalcError("a size of pictures means nothing without pictures", hint="give --images 1")
        return None
    number = whole_number("images", images)
    if not any("vision" in tower.name or "projector" in tower.name for tower in model.towers):
        raise GptcalcError(f"{model.name} has no tower that gptcalc knows to read pictures with", hint="leave out --images")
    if model.images is None:
        kinds = ", ".join(tower.kind for tower in model.towers)
        raise GptcalcError(f"how many tokens a picture is to {model.name} is not known ({kinds})", hint="add them to the prompt's")
    return number, model.images.of(*pixels(USUAL_SIZE if image_size is None else image_size))
