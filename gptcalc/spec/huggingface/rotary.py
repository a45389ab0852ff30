"""Rotary positions: the base, how many channels of a head turn, and how the angles are stretched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gptcalc.errors import did_you_mean
from gptcalc.spec.huggingface.family import Config, Fields, Handler, Key, written
from gptcalc.spec.huggingface.handlers import nothing
from gptcalc.spec.reading import shown

# Per kind of scaling: the keys it cannot do without, and those that it also reads.
ROPE_KINDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "default": ((), ()),
    "linear": (("factor",), ()),
    "dynamic": (("factor",), ()),
    "yarn": (("factor",), ("attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate")),
    "longrope": (("short_factor", "long_factor"), ("factor", "attention_factor")),
    "llama3": (("factor", "low_freq_factor", "high_freq_factor"), ()),
}
NAMES_THE_CONTEXT = ("yarn", "longrope", "llama3")

# Read by some model's code, and no part of the angles that gptcalc computes
OTHER_KEYS = {"original_max_position_embeddings", "rope_type", "type", "finetuned", "max_position_embeddings", "llama_4_scaling_beta"}
OLD_NAMES = {"su": "longrope"}


def rotary_keys(
    theta: float = 10000.0, *, share: float | None = None, odd_up: bool = False, sections: bool = False, **names: str
) -> dict[str, Key]:
    """The keys that say it: today's `rope_parameters`, and the older `rope_scaling`, `rope_theta` and share of a head's channels.

    `share` is the class's default where it rotates a part of each head; None where it always rotates whole heads. `odd_up`: an odd number
    of channels becomes the next even one. `sections`: channels may turn by the place of a token in an image instead.
    """
    theta_key, share_key = names.get("theta_key", "rope_theta"), names.get("share_key", "partial_rotary_factor")
    return {
        "rope_parameters": Key(None, rope(theta_key, share_key, partly=share is not None, odd_up=odd_up, sections=sections)),
        "rope_scaling": Key(None, nothing),
        theta_key: Key(theta, nothing),
        share_key: Key(1.0 if share is None else share, nothing),
    }


def rope(
    theta_key: str = "rope_theta",
    share_key: str = "partial_rotary_factor",
    *,
    partly: bool = False,
    odd_up: bool = False,
    sections: bool = False,
) -> Handler:
    """The handler of `rope_parameters`."""

    def read(key: str, config: Config) -> Fields:
        given = given_angles(key, config)
        given = _without_sections(key, given, config) if sections else given
        share = _share(config, share_key, given, partly)
        return angles(key, given, config, theta=config[theta_key], share=share, share_key=share_key, odd_up=odd_up)

    return read


def given_angles(key: str, config: Config) -> Mapping[str, Any]:
    """What the file, or else the class, says of the angles, in the order of transformers: `rope_scaling` before `rope_parameters`."""
    old, new = config["rope_scaling"], config.data.get(key)
    given = old or config[key] or {}
    if not isinstance(given, dict):
        raise config.refuse(key, f"must be a mapping, not {written(given)}")
    if old and new and old != new:
        raise config.refuse("rope_scaling", f"and {key} say different things")
    return given


SECTIONS = ("mrope_section", "mrope_interleaved", "interleaved")


def _without_sections(key: str, given: Mapping[str, Any], config: Config) -> Mapping[str, Any]:
    """Some channels turn by a token's time, some by its row and its column in an image: for text all three are its position."""
    widths = given.get("mrope_section")
    if widths is not None and (not isinstance(widths, list) or not all(type(width) is int and width >= 0 for width in widths)):
        raise config.refuse(key, f"has mrope_section {written(widths)}, which must be a list of whole numbers")
    plain = {name: "default" if name in ("rope_type", "type") and value == "mrope" else value for name, value in given.items()}
    return {name: value for name, value in plain.items() if name not in SECTIONS}


def _share(config: Config, share_key: str, given: Mapping[str, Any], partly: bool) -> Any:
    share = given.get("partial_rotary_factor", config[share_key])  # what stands inside before what stands beside
    share = 1.0 if share is None and not partly else share
    if not partly and config.number(share_key, share) != 1:
        raise config.refuse(share_key, f"{written(share)} is not understood: the model's code rotates whole heads")
    return share


def angles(
    key: str,
    given: Mapping[str, Any],
    config: Config,
    *,
    theta: Any,
    share: Any = 1.0,
    share_key: str = "partial_rotary_factor",
    odd_up: bool = False,
) -> Fields:
    """The fields of one set of angles, of all layers or of those of one kind."""
    inside = dict(given)
    fields: Fields = {"rope_theta": config.number("rope_theta", inside.pop("rope_theta", theta))}
    inside.pop("partial_rotary_factor", None)
    rotated = _rotated(share, config, share_key)
    if odd_up and rotated % 2 and rotated < config.d_head:
        rotated += 1
        fields["unexecuted"] = (f"the angles of {rotated - 1} channels turn {rotated}",)
    if rotated != config.d_head:
        fields["d_rotary"] = rotated
    scaling = scaling_of(key, inside, config)
    if scaling and scaling["rope_type"] == "dynamic" and rotated < 4:  # the base is raised to R / (R - 2)
        raise config.refuse(key, f"of type 'dynamic' needs 4 rotated channels or more, not {rotated}")
    return {**fields, "rope_scaling": scaling} if scaling else fields


def _rotated(share: Any, config: Config, share_key: str) -> int:
    """How many channels of a head are rotated."""
    fraction = config.number(share_key, share)
    rotated = int(config.d_head * fraction)
    if rotated < 1:
        key = "hidden_size" if fraction == 1 else share_key
        raise config.refuse(key, f"leaves no channel of a head of {config.d_head} to rotate")
    return rotated


def scaling_of(key: str, inside: Mapping[str, Any], config: Config) -> Fields | None:
    """The scaling in full, with the length that transformers fills in; None where the angles are the plain ones."""
    kind = inside.get("rope_type", inside.get("type", "default"))
    kind = OLD_NAMES.get(kind, kind) if isinstance(kind, str) else kind
    if not isinstance(kind, str) or kind not in ROPE_KINDS or OLD_NAMES.get(inside.get("type", kind), inside.get("type", kind)) != kind:
        raise config.refuse(key, f"of type {written(kind)} is not understood", f"known: {', '.join(ROPE_KINDS)}")
    needed, read = ROPE_KINDS[kind]
    for name in inside:
        if name not in OTHER_KEYS and name not in needed and name not in read:
            known = {*needed, *read, *OTHER_KEYS}
            raise config.refuse(key, f"has the key {shown(name)!r}, which is not understood for type '{kind}'", did_you_mean(name, known))
    for name in needed:
        if inside.get(name) is None:
            raise config.refuse(key, f"of type '{kind}' needs {name!r}")
    if kind == "default":
        return None
    scaling: Fields = {name: inside[name] for name in (*needed, *read) if inside.get(name) is not None}
    if kind in NAMES_THE_CONTEXT:
        original = config.data.get("original_max_position_embeddings", inside.get("original_max_position_embeddings"))
        scaling["original_max_position_embeddings"] = config.size("max_position_embeddings") if original is None else original
    for name, value in scaling.items():
        _check_number(key, name, value, config)
    return {"rope_type": kind, **scaling}


def _check_number(key: str, name: str, value: Any, config: Config) -> None:
    if name == "truncate":
        good = isinstance(value, bool)
    else:
        numbers = value if isinstance(value, list) and name in ("short_factor", "long_factor") else [value]
        good = bool(numbers) and all(isinstance(x, int | float) and not isinstance(x, bool) and 0 < x < 1e30 for x in numbers)
    if not good:
        raise config.refuse(key, f"has {name} {written(value)}, which must be {'true or false' if name == 'truncate' else 'above zero'}")
