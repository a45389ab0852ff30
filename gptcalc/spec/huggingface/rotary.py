"""Rotary positions: the base, how many channels of a head turn, and how the angles are stretched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gptcalc.errors import did_you_mean
from gptcalc.spec.huggingface.family import Config, Fields, Handler, Key, written
from gptcalc.spec.huggingface.handlers import nothing

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

OF_CLASSES = {"short_mscale": "phimoe", "long_mscale": "phimoe"}
"""Keys that the code of one lineage alone reads, in ways of its own. What no code reads changes no angle."""

STRETCHED = "hunyuan"
"""Whose `dynamic` angles with an `alpha` are plain ones of a larger base, the same at every length."""


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
        theta = config[theta_key]
        return angles(key, given, config, theta=theta, share=share, theta_key=theta_key, share_key=share_key, odd_up=odd_up)

    return read


def given_angles(key: str, config: Config) -> Mapping[str, Any]:
    """What the file, or else the class, says of the angles, in the order of transformers: `rope_scaling` before `rope_parameters`."""
    old, new = config["rope_scaling"], config.data.get(key)
    given = old or config[key] or {}
    if not isinstance(given, dict):
        raise config.refuse(key, f"must be a mapping, not {written(given)}")
    if old and new and old != new:
        raise config.refuse("rope_scaling", f"and {key} say different things")
    config.sources["rope_scaling"] = _source(key, config)
    config.sources["rope_theta"] = _source(key, config) if "rope_theta" in given else "rope_theta"
    return given


def _source(key: str, config: Config) -> str:
    return "rope_scaling" if config.data.get("rope_scaling") else key


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
    theta_key: str = "",
    share_key: str = "partial_rotary_factor",
    odd_up: bool = False,
) -> Fields:
    """The fields of one set of angles, of all layers or of those of one kind."""
    inside = dict(given)
    whole = _source(key, config)
    config.sources["rope_scaling"] = whole
    config.sources["rope_theta"] = whole if "rope_theta" in inside else theta_key or whole
    config.sources["d_rotary"] = whole if "partial_rotary_factor" in inside else share_key
    fields: Fields = {"rope_theta": config.number("rope_theta", inside.pop("rope_theta", theta))}
    inside.pop("partial_rotary_factor", None)
    rotated = _rotated(share, config, share_key)
    if odd_up and rotated % 2 and rotated < config.d_head:
        rotated += 1
        fields["unexecuted"] = (f"the angles of {rotated - 1} channels turn {rotated}",)
    if rotated != config.d_head:
        fields["d_rotary"] = rotated
    alpha = inside.pop("alpha", None) if config.family.model_type.startswith(STRETCHED) else None
    scaling = scaling_of(key, inside, config)
    if scaling and scaling["rope_type"] == "dynamic":
        if rotated < 4:  # the base is raised to R / (R - 2)
            raise config.refuse(key, f"of type 'dynamic' needs 4 rotated channels or more, not {rotated}")
        if alpha:
            base = config.number("rope_theta", fields["rope_theta"])
            return fields | {"rope_theta": base * config.number(key, alpha) ** (rotated / (rotated - 2))}
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
    kind = _kind(inside.get("rope_type", inside.get("type", "default")), key, config)
    if "type" in inside and _kind(inside["type"], key, config) != kind:  # the older name of the other, which alone is read
        config.unread[f"{key}.type"] = ""
    needed, read = ROPE_KINDS[kind]
    for name in inside:
        lineage = OF_CLASSES.get(name)
        if lineage and config.family.model_type.startswith(lineage) and "unexecuted" not in config.family.fixed:
            raise config.refuse(key, f"has the key {name!r}, by which the model's code makes angles that gptcalc does not know")
        if name not in OTHER_KEYS and not any(name in part for both in ROPE_KINDS.values() for part in both):
            config.unread[f"{key}.{name}"] = ""
    for name in needed:
        if inside.get(name) is None:
            raise config.refuse(key, f"of type '{kind}' needs {name!r}", did_you_mean(name, inside))
    if kind == "default":
        return None
    zero_is_none = [name for name in ("mscale", "mscale_all_dim") if inside.get(name) == 0]
    scaling: Fields = {name: inside[name] for name in (*needed, *read) if inside.get(name) is not None and name not in zero_is_none}
    if kind in NAMES_THE_CONTEXT:
        original = config.data.get("original_max_position_embeddings", inside.get("original_max_position_embeddings"))
        scaling["original_max_position_embeddings"] = config.size("max_position_embeddings") if original is None else original
    for name, value in scaling.items():
        _check_number(key, name, value, config)
    return {"rope_type": kind, **scaling}


def _kind(given: object, key: str, config: Config) -> str:
    kind = OLD_NAMES.get(given, given) if isinstance(given, str) else ""
    if kind not in ROPE_KINDS:
        raise config.refuse(key, f"of type {written(given)} is not understood", f"known: {', '.join(ROPE_KINDS)}")
    return kind


def _check_number(key: str, name: str, value: Any, config: Config) -> None:
    if name == "truncate":
        good = isinstance(value, bool)
    else:
        numbers = value if isinstance(value, list) and name in ("short_factor", "long_factor") else [value]
        good = bool(numbers) and all(isinstance(x, int | float) and not isinstance(x, bool) and 0 < x < 1e30 for x in numbers)
    if not good:
        raise config.refuse(key, f"has {name} {written(value)}, which must be {'true or false' if name == 'truncate' else 'above zero'}")
