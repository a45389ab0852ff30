"""What is around a language model in a wrapper's config, tensor by tensor: towers that read images or sound, and projectors.

- `table`: which wrapper has what. `vision`, `merging`, `audio`, `projectors`: what each is built of. `defaults`: what classes take where
  a file is silent. `parts`: sizes read, tensors written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.spec.huggingface.family import written
from gptcalc.spec.huggingface.towers.defaults import ABSENT, OF_TYPE, OUTER
from gptcalc.spec.huggingface.towers.parts import Parts, Sizes
from gptcalc.spec.huggingface.towers.pictures import pictures
from gptcalc.spec.huggingface.towers.projectors import Ends
from gptcalc.spec.huggingface.towers.table import AROUND, CHOSEN, TOWERS, Around

NAMES = {"vision_config": "vision tower", "audio_config": "audio tower"}
NAMES |= {"high_res_vision_config": "high-resolution vision tower"}

SAME = (
    {"d_model", "hidden_dim", "hidden_size"},
    {"encoder_layers", "num_layers", "depth", "num_hidden_layers"},
    {"encoder_ffn_dim", "intermediate_size"},
    {"input_dim", "num_mel_bins"},
)
"""Names of one size: a class that has one of them may read another too."""

USUAL = {"llava_onevision": "siglip_vision_model", "mistral3": "pixtral"}
"""The type of a part whose config does not say it, where several are known and it is not the first."""


class Beside(NamedTuple):
    """Fields of `spec.tower.Tower`, the config's keys that they are built of, why there are none; and fields of `spec.images.Images`."""

    towers: tuple[dict[str, Any], ...] = ()
    keys: tuple[str, ...] = ()
    why: str = ""
    images: dict[str, Any] | None = None


def beside(model_type: str, data: Mapping[str, Any], d_model: int, d_ff: int, where: str) -> Beside:
    """What a wrapper has beside its language model of these widths; nothing, and why, where that is not known exactly.

    >>> found = beside("llava", {}, 4096, 11008, "config")
    >>> [tower["name"] for tower in found.towers], found.towers[1]["tensors"]["linear_1/weight"]
    (['vision tower', 'projector'], [1, 1024, 4096])
    """
    around = AROUND.get(model_type)
    if around is None:
        return Beside(why="gptcalc has no reading of its towers yet")
    try:
        return _beside(model_type, around, data, Sizes({"hidden_size": d_model, "intermediate_size": d_ff}, {}, where), where)
    except GptcalcError as error:
        return Beside(why=str(error))


def _beside(model_type: str, around: Around, data: Mapping[str, Any], text: Sizes, where: str) -> Beside:
    parts: dict[str, Sizes] = {}
    found: list[dict[str, Any]] = []
    for key, kinds in around.parts.items():
        given = data.get(key)
        if given is None and key in around.only_if_given:
            continue
        kind = _kind(given, kinds, f"{model_type}.{key}", f"{where}: {key}")
        parts[key] = _sizes(given, kind, f"{model_type}.{key}", f"{where}: {key}")
        tower = Parts()
        TOWERS[kind](tower, parts[key])
        for copy in range(around.copies):
            if tower.tensors:
                name = NAMES[key] if copy == 0 else f"second {NAMES[key]}"
                found.append(_tower(name, kind, tower))
    projector = Parts()
    outer = Sizes(data, OUTER.get(model_type, {}), where)
    around.projector(projector, Ends(outer, parts, text))
    if projector.tensors:
        found.append(_tower("projector", model_type, projector))
    return Beside(tuple(found), (*around.parts, "vision_embed_tokens"), images=_pictures(model_type, outer, parts))


def _pictures(model_type: str, outer: Sizes, parts: dict[str, Sizes]) -> dict[str, Any] | None:
    """None where the file has not what the rule needs: the towers are known all the same."""
    try:
        return pictures(model_type, outer, parts)
    except GptcalcError:
        return None


def _kind(given: object, kinds: tuple[str, ...], place: str, where: str) -> str:
    if given is not None and not isinstance(given, dict):
        raise GptcalcError(f"{where} must be a mapping, not {written(given)}")
    named = (given or {}).get("model_type")
    wrapper = place.partition(".")[0]
    if named is None or wrapper not in CHOSEN:
        return USUAL.get(wrapper, kinds[0])
    if named not in kinds:
        raise GptcalcError(f"{where}: a tower of type {written(named)} is not one that gptcalc knows")
    return str(named)


def _sizes(given: dict[str, Any] | None, kind: str, place: str, where: str) -> Sizes:
    usual = OF_TYPE[kind]
    if given is None:
        return Sizes({}, {**usual, **ABSENT.get(place, {})}, where)
    for names in SAME:
        own = names & usual.keys()
        other = sorted(names & given.keys() - own)
        if len(own) == 1 and other and given[other[0]] != given.get(min(own)):
            raise GptcalcError(f"{where}: {other[0]} in place of {min(own)} is not understood")
    return Sizes(given, usual, where)


def _tower(name: str, kind: str, parts: Parts) -> dict[str, Any]:
    tensors: dict[str, list[int]] = {}
    for path, runs, shape in parts.tensors:
        tensors[path] = [runs, *shape]
    return {"name": name, "kind": kind, "tensors": tensors}
